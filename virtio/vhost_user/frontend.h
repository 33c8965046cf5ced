/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user front end: the VMM's side of one device's socket. Main loop
 * only, never blocks; every operation has a deadline. Operations are started
 * one at a time; done() is called once for each, from the loop, never from
 * inside the call that started it. A peer that dies, breaks the protocol or
 * misses the deadline fails the operation with -EIO and then fails the whole
 * front end: on_failed(), after which every operation fails with -EIO.
 */
#ifndef TORPOR_VIRTIO_VHOST_USER_FRONTEND_H
#define TORPOR_VIRTIO_VHOST_USER_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/vhost_user/vhost_user.h"
#include "vmm/base/gmem.h"
#include "vmm/base/loop.h"

#define FRONTEND_MAX_RINGS   8
#define FRONTEND_MAX_PENDING 64

/* Where config space comes from. */
enum frontend_config {
	FRONTEND_CONFIG_THEIRS, /* GET_CONFIG */
	FRONTEND_CONFIG_OURS,
	FRONTEND_CONFIG_OURS_IF_NONE, /* if the back end has no GET_CONFIG */
};

/*
 * A back end that is not a process of ours. What it says on a stop is not taken
 * for where the ring is, see virtio/vhost_user/frontend_drain.c.
 */
struct frontend_foreign {
	enum frontend_config config_from;
	uint32_t input_rings; /* mask: may keep buffers for what is to come */
};

struct frontend_ring {
	uint16_t size; /* entries */
	uint16_t base; /* next available index; set by a stop */
	uint64_t desc_gpa, avail_gpa, used_gpa;
	int kick_fd, call_fd, err_fd; /* borrowed */
	bool started;
};

struct frontend {
	struct loop *loop;
	struct loop_source src;
	struct loop_timer timer;
	const struct gmem *gm; /* all guest RAM, borrowed */
	int fd;		       /* owned */
	uint64_t deadline_ns;  /* for one operation */
	void (*on_failed)(struct frontend *fe, const char *why);

	const struct frontend_foreign *foreign; /* NULL: ours; borrowed */
	/*
	 * Before a ring starts: rings[ring].kick_fd is to be one that nobody
	 * has yet, with a kick in it. NULL where a ring that starts is looked
	 * at unasked.
	 */
	int (*renew_kick)(struct frontend *fe, uint32_t ring);

	uint64_t features;	    /* offered by the back end */
	uint64_t protocol_features; /* negotiated */
	uint8_t config[VHOST_USER_CONFIG_MAX];
	uint32_t config_size; /* bytes */
	bool config_ours;     /* never asked for */
	uint64_t queue_num;   /* of a foreign one; 0: has not told */
	struct frontend_ring rings[FRONTEND_MAX_RINGS];

	/* The operation in progress. */
	void (*done)(struct frontend *fe, int r);
	int (*next)(struct frontend *fe); /* continues after the replies */
	int result;
	bool busy, failed, send_failed;
	bool draining;	       /* replies are there, requests not yet */
	uint32_t stopping;     /* mask of rings */
	uint64_t drain_end_ns; /* BOOTTIME */
	uint64_t messages;     /* sent so far */
	struct {
		uint32_t request, ring;
	} pending[FRONTEND_MAX_PENDING]; /* replies to come, in order */
	unsigned int nr_pending;
	struct vhost_user_msg rx;
	size_t rx_len; /* bytes of it received */
};

/* @fd is owned on success. */
int frontend_init(struct frontend *fe, struct loop *loop, int fd,
		  const struct gmem *gm, uint64_t deadline_ns) must_check;
void frontend_finish(struct frontend *fe);

/*
 * Negotiates, sends the memory table, reads @config_size bytes of config; or
 * leaves fe->config, which may be filled before, as it is. Of a foreign back
 * end: -ENODATA it should have a config space and has none.
 */
void frontend_handshake(struct frontend *fe, uint32_t config_size,
			void (*done)(struct frontend *fe, int r));
/*
 * Starts the rings of @mask, whose size, base and addresses are set, with the
 * driver's @features. -EFAULT: a ring is not in RAM.
 */
void frontend_start(struct frontend *fe, uint64_t features, uint32_t mask,
		    void (*done)(struct frontend *fe, int r));
/*
 * Stops the rings of @mask that run. All GET_VRING_BASE go out in one write;
 * when done, nothing of them is in flight and rings[].base is where to go on.
 */
void frontend_stop(struct frontend *fe, uint32_t mask,
		   void (*done)(struct frontend *fe, int r));
/*
 * Stops every ring and resets the device where the back end has a message for
 * it, so that what the driver configured is forgotten; reads config space.
 */
void frontend_reset(struct frontend *fe,
		    void (*done)(struct frontend *fe, int r));
/* The driver wrote config space; then reads all of it back. */
void frontend_set_config(struct frontend *fe, uint32_t offset, const void *data,
			 uint32_t len,
			 void (*done)(struct frontend *fe, int r));
/* Reads config space again. */
void frontend_get_config(struct frontend *fe,
			 void (*done)(struct frontend *fe, int r));

#endif
