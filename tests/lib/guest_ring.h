/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other side of a device, for unit tests: guest RAM in a memfd, a driver's
 * ring operations on it, and a small vhost-user front end that talks over a
 * socketpair to a back end in the same process, whose loop it turns while it
 * waits. Failures end the test by cr_assert. One thread.
 *
 * A test of a device:
 *
 *	struct front f;
 *	char *const args[] = { "path=/tmp/x", NULL };
 *
 *	front_init(&f);
 *	cr_assert(zero(int, role->create(&f.loop, args, &dev)));
 *	front_connect(&f, dev);
 *	front_negotiate(&f, 1ULL << VIRTIO_F_VERSION_1);
 *	front_start_all(&f, 2);
 *	head = guest_ring_add(&f.ring[0], bufs, 2);
 *	len = front_wait_used(&f, 0, head);
 *	base = front_stop(&f, 0);
 *	front_finish(&f);
 *	role->destroy(dev);
 */
#ifndef TORPOR_TESTS_GUEST_RING_H
#define TORPOR_TESTS_GUEST_RING_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/devctl.h"
#include "virtio/device.h"
#include "virtio/vhost_user/backend.h"
#include "virtio/vhost_user/vhost_user.h"

/* RAM starts here, so that address 0 is never valid. */
#define GUEST_RAM_GPA 0x100000ULL

/* --- guest memory --- */

struct guest {
	int memfd;
	uint8_t *ram;	/* mapped, the whole memfd */
	uint64_t size;	/* bytes */
	uint64_t used;	/* bytes handed out by guest_alloc() */
	struct gmem gm; /* the same as a device sees it, other mapping */
};

void guest_init(struct guest *g, uint64_t size);
void guest_finish(struct guest *g);
/* Zeroed memory. Return: its address (gpa). */
uint64_t guest_alloc(struct guest *g, uint64_t size, uint64_t align);
/* Where the test reads and writes it; gpa must be in RAM. */
void *guest_ptr(const struct guest *g, uint64_t gpa);

/* --- driver side of a split ring --- */

struct guest_buf {
	uint64_t gpa;
	uint32_t len;
	bool in; /* the device writes it */
};

struct guest_ring {
	struct guest *g;
	uint16_t size;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next_desc; /* descriptors are handed out round robin */
	uint16_t avail_idx;
	uint16_t last_used;
	int kick_fd, call_fd, err_fd; /* eventfds, owned */
};

void guest_ring_init(struct guest_ring *r, struct guest *g, uint16_t size);
void guest_ring_finish(struct guest_ring *r);

/* Writes one descriptor, anything goes. */
void guest_ring_desc(struct guest_ring *r, uint16_t i, uint64_t addr,
		     uint32_t len, uint16_t flags, uint16_t next);
/* Puts @head into the available ring and moves the index. */
void guest_ring_avail(struct guest_ring *r, uint16_t head);
/* Adds and makes available a chain of @n buffers. Return: its head. */
uint16_t guest_ring_add(struct guest_ring *r, const struct guest_buf *bufs,
			unsigned int n);
/* The same through an indirect table. */
uint16_t guest_ring_add_indirect(struct guest_ring *r,
				 const struct guest_buf *bufs, unsigned int n);
void guest_ring_kick(struct guest_ring *r);
/*
 * Next used entry. Return: false if there is none; the device has then been
 * asked to signal the next one.
 */
bool guest_ring_reap(struct guest_ring *r, uint16_t *ret_head,
		     uint32_t *ret_len);

/* --- vhost-user front end --- */

struct front {
	struct loop loop; /* the device's */
	struct virtio_dev *dev;
	struct backend *be;
	struct guest g; /* 16 MiB */
	struct guest_ring ring[VIRTIO_DEV_MAX_QUEUES];
	unsigned int nr_rings; /* initialised ones */
	int sock;	       /* our end of the vhost-user socket */
	int ctl;	       /* our end of the control channel */
	int wake_fd;	       /* our copy of the wake eventfd */
	int regpage_fd;
	struct virtio_regpage *page;
	uint64_t features; /* offered by the device */
	uint64_t protocol; /* offered protocol features */
	uint32_t generation;
};

/* Memory and loop; then the test creates its device on f->loop. */
void front_init(struct front *f);
/* Back end with control channel, register page and wake eventfd. */
void front_connect(struct front *f, struct virtio_dev *dev);
/* Ends the back end and frees everything but the device. */
void front_finish(struct front *f);

/*
 * Owner, features (bit 30 is added), protocol features (all offered) and
 * memory table.
 */
void front_negotiate(struct front *f, uint64_t features);

/* Turns the device's loop until @fd is readable; 10 s at most. */
void front_wait_fd(struct front *f, int fd);
/* Turns the loop until nothing is pending. */
void front_settle(struct front *f);

/* Raw messages. hdr.request and hdr.size are the caller's. */
void front_send(struct front *f, const struct vhost_user_msg *msg,
		const int *fds, unsigned int nr_fds);
/* Return: false if the back end has closed the connection. */
bool front_recv(struct front *f, struct vhost_user_msg *msg);
/* Sends with NEED_REPLY. Return: the acknowledgement, 0 is good. */
uint64_t front_request(struct front *f, struct vhost_user_msg *msg,
		       const int *fds, unsigned int nr_fds);
uint64_t front_get_u64(struct front *f, uint32_t request);

/* Makes ring @queue (of the device's queue_size) if needed and starts it. */
void front_start(struct front *f, unsigned int queue);
/* The same from the index that front_stop() has returned. */
void front_start_at(struct front *f, unsigned int queue, uint16_t base);
void front_start_all(struct front *f, unsigned int nr);
/* GET_VRING_BASE. Return: the base. The ring may be started again. */
uint16_t front_stop(struct front *f, unsigned int queue);
/* Back to size, addresses and indexes 0, as a driver does after a reset. */
void front_ring_reset(struct front *f, unsigned int queue);

/* Kicks and turns the loop until @head is used. Return: used length. */
uint32_t front_wait_used(struct front *f, unsigned int queue, uint16_t head);
/* Reads config space through GET_CONFIG. Return: false if refused. */
bool front_get_config(struct front *f, uint32_t off, void *buf, uint32_t len);
bool front_set_config(struct front *f, uint32_t off, const void *buf,
		      uint32_t len);
/* Waits for DEVCTL_CONFIG_CHANGED, answers as if it had read it. */
void front_publish_config(struct front *f);
/* DEVCTL_WAKE_ARM, waits for the acknowledgement. */
void front_wake_arm(struct front *f, bool armed);

#endif
