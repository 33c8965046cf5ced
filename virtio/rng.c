/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entropy device (virtio 1.x, 5.4): fills buffers from getrandom(). Every
 * request is served at once, so nothing is ever in flight. Loop thread only.
 */
#include <errno.h>
#include <sys/random.h>

#include "virtio/device.h"
#include "virtio/turn.h"
#include "vmm/base/fd.h"

/* A larger buffer is filled in part, which the text allows. */
#define RNG_MAX_BYTES (64U << 10)
/* Bytes of one turn of the loop, so that a greedy guest delays no message. */
#define RNG_TURN_BYTES (256U << 10)

struct virtio_rng {
	struct virtio_dev dev;
};

/* Return: bytes written to the buffers. */
static uint32_t rng_fill(const struct virtq_chain *c)
{
	uint32_t done = 0;

	for (unsigned int i = 0; i < c->nr_in && done < RNG_MAX_BYTES; i++) {
		const struct iovec *iov = &c->iov[c->nr_out + i];
		size_t want = MIN(iov->iov_len, (size_t)RNG_MAX_BYTES - done);
		size_t have = 0;

		while (have < want) {
			ssize_t n = getrandom((uint8_t *)iov->iov_base + have,
					      want - have, 0);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return done;
			have += (size_t)n;
			done += (uint32_t)n;
		}
	}
	return done;
}

static bool rng_serve(struct virtio_dev *dev, struct virtq *vq,
		      const struct virtq_chain *chain, struct turn *turn)
{
	uint32_t len = rng_fill(chain);

	virtq_push(vq, chain->head, len);
	if (!len)
		virtq_break(vq, "no room for random bytes");
	return len > 0;
}

static void rng_kick(struct virtio_dev *dev, unsigned int queue)
{
	struct turn turn = turn_begin(RNG_QUEUE_SIZE, RNG_TURN_BYTES);

	virtq_serve(dev, &dev->queues[queue], &turn, rng_serve);
}

static void rng_stop_queue(struct virtio_dev *dev, unsigned int queue)
{
}

static int rng_create(struct loop *loop, char *const *args, const int *fds,
		      struct virtio_dev **ret_dev)
{
	struct virtio_rng *rng;

	/* No words, no back end. */
	if (args[0])
		return -EINVAL;
	rng = calloc(1, sizeof(*rng));
	if (!rng)
		return -ENOMEM;
	virtio_dev_init(&rng->dev, &virtio_rng_ops, loop);
	*ret_dev = &rng->dev;
	return 0;
}

static void rng_destroy(struct virtio_dev *dev)
{
	if (dev)
		free(container_of(dev, struct virtio_rng, dev));
}

const struct virtio_dev_ops virtio_rng_ops = {
	.type = &virtio_types[VIRTIO_TYPE_RNG],
	.create = rng_create,
	.destroy = rng_destroy,
	.kick = rng_kick,
	.stop_queue = rng_stop_queue,
};
