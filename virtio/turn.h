/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device does at one ring before its loop looks at everything else: its
 * other rings, its vhost-user socket, a stop. A guest chooses how many requests
 * there are, how long each is and into how many buffers it is cut, so a turn is
 * bounded in all three. What is left waits for the loop's next turn.
 */
#ifndef TORPOR_VIRTIO_TURN_H
#define TORPOR_VIRTIO_TURN_H

#include "virtio/device.h"

#define TURN_NS		  2000000ULL /* the host may be slow, too */
#define TURN_DESCRIPTORS  4096U
#define TURN_CLOCK_PERIOD 16U /* requests from one look at it to the next */

struct turn {
	unsigned int requests, descriptors; /* left */
	uint64_t bytes;			    /* left */
	uint64_t end_ns;
};

static inline struct turn turn_begin(unsigned int requests, uint64_t bytes)
{
	return (struct turn){ .requests = requests,
			      .descriptors = TURN_DESCRIPTORS,
			      .bytes = bytes,
			      .end_ns = time_boot_ns() + TURN_NS };
}

static inline bool turn_over(const struct turn *t)
{
	return !t->requests || !t->descriptors || !t->bytes;
}

/*
 * For requests that may take long each. The first look that finds the time
 * over ends the turn. Return: whether it is over.
 */
static inline bool turn_time_over(struct turn *t)
{
	if (time_boot_ns() >= t->end_ns)
		t->requests = 0;
	return turn_over(t);
}

/* One request is done. Return: whether there is time for another. */
static inline bool turn_goes_on(struct turn *t, const struct virtq_chain *c)
{
	unsigned int descriptors = (unsigned int)c->nr_out + c->nr_in;
	uint64_t bytes = c->len_out + c->len_in;

	t->descriptors -= MIN(t->descriptors, descriptors);
	t->bytes -= MIN(t->bytes, bytes);
	if (t->requests && --t->requests % TURN_CLOCK_PERIOD == 0)
		return !turn_time_over(t);
	return !turn_over(t);
}

/**
 * virtq_serve() - takes chains until there is none, or the turn is over
 * @turn: what is left then waits for the next turn
 * @serve: does what a chain asks for and pushes it, or gives it back. A chain
 *	of more than VIRTQ_MAX_CHAIN buffers comes with none. Return: false:
 *	takes no more, until it is called again for another reason
 *
 * Asks for kicks when the ring is empty; signals what was done.
 */
void virtq_serve(struct virtio_dev *dev, struct virtq *vq, struct turn *turn,
		 bool (*serve)(struct virtio_dev *dev, struct virtq *vq,
			       const struct virtq_chain *chain,
			       struct turn *turn));

#endif
