/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's side of a split virtqueue (virtio 1.x, 2.7), with indirect
 * descriptors and event index. One thread per device uses it. The driver is
 * hostile: every field is fetched once into private memory and checked there,
 * chains are bounded, and a ring that breaks the rules is marked broken, after
 * which every call is a no-op and the owner raises DEVICE_NEEDS_RESET through
 * the ring's error eventfd.
 */
#ifndef TORPOR_VIRTIO_VIRTQ_H
#define TORPOR_VIRTIO_VIRTQ_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/regpage.h"
#include "vmm/base/gmem.h"

#define VIRTQ_MAX_SIZE 1024U /* entries; we offer at most this */
#define VIRTQ_MAX_CHAIN                                      \
	1024U /* descriptors of one chain, indirect included \
	       */

/*
 * One request as the driver made it: readable buffers first, then writable.
 * iov points into guest memory, whose contents may change at any moment.
 */
struct virtq_chain {
	uint16_t head;	   /* descriptor index, names the chain in used */
	uint16_t nr_out;   /* device-readable entries, iov[0 .. nr_out) */
	uint16_t nr_in;	   /* device-writable entries after them */
	uint64_t len_out;  /* bytes readable */
	uint64_t len_in;   /* bytes writable */
	struct iovec *iov; /* @max_iov entries of the caller */
};

struct virtq {
	const struct gmem *gm;
	struct virtio_regpage *page; /* InterruptStatus; NULL if relayed */
	uint16_t size;		     /* power of 2; 0 = not set up */
	bool running;		     /* between start and stop */
	bool broken;
	bool event_idx; /* VIRTIO_RING_F_EVENT_IDX negotiated */
	bool indirect;	/* VIRTIO_RING_F_INDIRECT_DESC negotiated */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t last_avail; /* next avail entry to take, free running */
	uint16_t used_idx;   /* next used entry to write, free running */
	uint16_t signalled;  /* used_idx at the last decision to signal */
	uint16_t in_flight;  /* chains taken and not yet pushed */
	uint16_t held;	     /* of them, those that outlast a stop */
	uint64_t head_busy[VIRTQ_MAX_SIZE / 64]; /* bit per head in flight */
	int kick_fd;				 /* owned; -1 = none */
	int call_fd;				 /* owned; -1 = none */
	int err_fd;				 /* owned; -1 = none */
};

void virtq_init(struct virtq *vq);
/* Closes the fds and forgets the ring. */
void virtq_finish(struct virtq *vq);

/**
 * virtq_setup() - attach to ring memory
 * @desc_gpa, @avail_gpa, @used_gpa: guest physical, bytes
 *
 * Return: 0; -EINVAL size not a power of 2 in 1..VIRTQ_MAX_SIZE, or an address
 * misaligned (16, 2, 4); -EFAULT an area not inside one RAM region.
 */
int virtq_setup(struct virtq *vq, const struct gmem *gm, uint16_t size,
		uint64_t desc_gpa, uint64_t avail_gpa,
		uint64_t used_gpa) must_check;

/* The same for areas already translated and checked by the caller. */
int virtq_setup_hva(struct virtq *vq, const struct gmem *gm, uint16_t size,
		    void *desc, void *avail, void *used) must_check;

/*
 * Begin at @base (next avail index); used_idx is read from the ring. If another
 * process used the last entries, the next virtq_signal() signals them to the
 * driver, if it wants an interrupt.
 */
void virtq_start(struct virtq *vq, uint16_t base, bool event_idx,
		 bool indirect);
/*
 * Stop. Only held chains may be in flight. Return: the base to restart from:
 * the used index plus the number of held chains. After a restart from there
 * they are in flight again; after a restart from elsewhere they are forgotten.
 */
uint16_t virtq_stop(struct virtq *vq);
/* Before a stop: all @n chains in flight will be completed after it. */
void virtq_hold(struct virtq *vq, unsigned int n);

/**
 * virtq_pop() - take the next chain
 * @chain: filled in; chain->iov is set to @iov
 * @iov: room for @max_iov entries, at least VIRTQ_MAX_CHAIN for "any chain"
 *
 * Return: 1 a chain was taken; 0 none available; -EPROTO the ring is broken
 * (now or before; err_fd has been signalled); -ENOBUFS the chain needs more
 * than
 * @max_iov entries: it was taken, chain->head is valid, and the caller pushes
 *	it.
 */
int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov,
	      unsigned int max_iov) must_check;

/*
 * Fetches the buffers of a chain again that was in flight over a stop: memory
 * and its mapping may have changed. Return: as virtq_pop(), not 0.
 */
int virtq_refetch(struct virtq *vq, uint16_t head, struct virtq_chain *chain,
		  struct iovec *iov, unsigned int max_iov) must_check;

/* Gives back the last @n chains taken, unused, in reverse order. */
void virtq_unpop(struct virtq *vq, const uint16_t *heads, unsigned int n);

/* Marks the chain used with @len bytes written; visible to the driver. */
void virtq_push(struct virtq *vq, uint16_t head, uint32_t len);
/*
 * Several used entries that become visible together (net mergeable buffers):
 * virtq_fill() @n-th from 0, then virtq_flush() with their number.
 */
void virtq_fill(struct virtq *vq, uint16_t head, uint32_t len, uint16_t n);
void virtq_flush(struct virtq *vq, uint16_t n);

/*
 * After pushes: raise the used-buffer interrupt if the driver wants it.
 * ORs InterruptStatus bit 0 and then always writes the call eventfd.
 * Return: true if it was raised.
 */
bool virtq_signal(struct virtq *vq);
/*
 * For a long ring: signals the entries used so far, and kicks the ring itself
 * in the loop's next turn.
 */
void virtq_requeue_kick(struct virtq *vq);

/*
 * Ask the driver to kick, or not to (a hint). virtq_enable_kick() returns true
 * if chains became available meanwhile: process them before sleeping.
 */
bool virtq_enable_kick(struct virtq *vq) must_check;
void virtq_disable_kick(struct virtq *vq);

bool virtq_has_work(const struct virtq *vq);

/* Marks the ring broken, with the reason, and signals err_fd, once. */
void virtq_break(struct virtq *vq, const char *why);

#endif
