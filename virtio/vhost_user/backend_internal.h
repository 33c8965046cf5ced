/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the vhost-user back end, shared by its parts: backend.c (life
 * cycle, message stream, control channel), backend_request.c (what a message
 * does) and backend_ring.c (when a ring and the device run). Loop thread only.
 */
#ifndef TORPOR_VIRTIO_VHOST_USER_BACKEND_INTERNAL_H
#define TORPOR_VIRTIO_VHOST_USER_BACKEND_INTERNAL_H

#include "virtio/vhost_user/backend.h"
#include "virtio/vhost_user/vhost_user.h"
#include "vmm/base/log.h"

struct backend_ring {
	struct loop_source kick_src;
	struct backend *be;
	uint16_t num;  /* entries; 0 = not told */
	uint16_t base; /* next avail index while it does not run */
	bool has_addr;
	bool enabled;
	uint64_t desc_user, avail_user, used_user;
};

struct backend {
	struct virtio_dev *dev;
	struct virtio_dev_host host; /* what dev sees of us */
	struct loop *loop;
	int vhost_fd;
	int ctl_fd;
	int wake_fd;
	struct virtio_regpage *page; /* NULL: interrupts are relayed */
	struct loop_source vhost_src;
	struct loop_source ctl_src;
	uint64_t features; /* as set, with bit 30 */
	uint64_t protocol; /* as set */
	struct backend_ring rings[VIRTIO_DEV_MAX_QUEUES];
	bool failed; /* since the last stop: every ring is broken */
	bool closed; /* the connection has ended */
	bool spoken_to;

	/* The message being received and the fds that came with it. */
	struct vhost_user_msg msg;
	size_t have; /* bytes of it */
	int fds[VHOST_USER_MEM_MAX];
	size_t nr_fds;

	bool thread_can_change;
	bool answer_held; /* until the thread has changed */
	int answer_result;

	bool armed; /* DEVCTL_WAKE_ARM */
	bool woken; /* the wake eventfd was written since then */
	bool has_generation;
	uint32_t generation;

	/* Changes of dev->config: their number, told of, seen by the driver. */
	uint32_t config_changes, config_told, config_published;

	struct log_limit peer_limit;
	struct log_limit ctl_limit;
	uint8_t config_initial[sizeof(((struct virtio_dev *)0)->config)];
};

/* --- backend_ring.c --- */

/* Starts or stops a ring as its state says. Return: 0 or -errno. */
int backend_ring_update(struct backend *be, unsigned int i) must_check;
/* All rings, after a change of memory. Return: the first failure. */
int backend_rings_update(struct backend *be) must_check;
/* Where the ring is in memory. Return: 0 or -errno. */
int backend_ring_resolve(struct backend *be, unsigned int i) must_check;
/* Stops a ring; waits until nothing is in flight on it. Idempotent. */
void backend_ring_halt(struct backend *be, unsigned int i);
/* All rings, and then the device. */
void backend_rings_halt(struct backend *be);
/* Halts a ring and forgets all that was ever set about it. */
void backend_ring_forget(struct backend *be, unsigned int i);
/* Stops the device if no ring runs. */
void backend_stop_if_idle(struct backend *be);
bool backend_any_running(const struct backend *be);

/* --- backend_request.c --- */

#define BACKEND_REPLY 1

/*
 * Runs the message in be->msg. Fds it keeps are taken out of be->fds.
 * Return: 0; BACKEND_REPLY: be->msg has become the reply; -errno.
 */
int backend_request_run(struct backend *be) must_check;

#endif
