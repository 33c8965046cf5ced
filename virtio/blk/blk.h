/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the block device, shared by its parts: device.c (role, config
 * space, ring), request.c (what a request does, step by step) and two
 * engines that do the host's I/O. All of it runs on the device process's loop
 * thread; an engine's own threads see one request at a time and no ring.
 * Spec: virtio 1.x, 5.2.
 */
#ifndef TORPOR_VIRTIO_BLK_BLK_H
#define TORPOR_VIRTIO_BLK_BLK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/device.h"

#define BLK_SECTOR	    512U
#define BLK_DEPTH	    64U /* requests in flight, no more */
#define BLK_INLINE_IOV	    8U	/* more are allocated */
#define BLK_DISCARD_SEGS    32U
#define BLK_DISCARD_SECTORS (4U << 20) /* of one segment: 2 GiB */
/* Few, because a file that cannot do it is written with zeroes. */
#define BLK_ZEROES_SEGS	   1U
#define BLK_ZEROES_SECTORS (256U << 10) /* 128 MiB */
#define BLK_BOUNCE_BYTES   (64U << 10)
#define BLK_DIRECT_ALIGN   4096U /* always good enough for O_DIRECT */

struct virtio_blk;
struct blk_engine;

/* One step for an engine. */
enum blk_op {
	BLK_OP_READ,	  /* offset, iov */
	BLK_OP_WRITE,	  /* offset, iov */
	BLK_OP_SYNC,	  /* fdatasync */
	BLK_OP_FALLOCATE, /* offset, len, mode */
};

/* A request of the driver, from pop to push. */
struct blk_request {
	struct virtio_blk *blk;
	struct blk_request *next; /* in the free list or an engine's list */

	/* The step in hand: set by request.c, read by the engine. */
	enum blk_op op;
	int mode;	     /* fallocate */
	uint64_t offset;     /* bytes */
	uint64_t len;	     /* fallocate, bytes */
	struct iovec *iov;   /* of this step */
	unsigned int nr_iov; /* <= IOV_MAX */
	int result;	     /* threads engine: bytes or -errno */

	/* The request. */
	uint32_t type;	 /* VIRTIO_BLK_T_*, the private copy */
	uint16_t head;	 /* in the ring */
	uint8_t *status; /* in guest memory */
	uint64_t room;	 /* writable bytes before the status byte */
	uint64_t start;	 /* bytes into the image */
	uint64_t total;	 /* bytes to transfer */
	uint64_t done;	 /* bytes transferred */
	bool syncing;	 /* the last step, of a write that must be stable */

	/* READ and WRITE: the guest's buffers, consumed from the front. */
	struct iovec *data;
	unsigned int nr_data;
	struct iovec inline_iov[BLK_INLINE_IOV];
	uint8_t *bounce; /* BLK_BOUNCE_BYTES, or NULL */
	struct iovec bounce_iov;

	/* DISCARD and WRITE_ZEROES: private copy of the segments. */
	struct virtio_blk_discard_write_zeroes *segs;
	unsigned int nr_segs, seg;
};

/* create, { start, submit .. wait, stop }, destroy */
struct blk_engine_ops {
	const char *name;
	/*
	 * Before the jail is closed: makes what cannot be made later. Return:
	 * 0 and *ret; -ENOSYS, -EPERM or another -errno if the host does not
	 * offer what it needs.
	 */
	int (*create)(struct virtio_blk *blk, struct blk_engine **ret);
	/* Stopped, or never started. Frees @engine. */
	void (*destroy)(struct blk_engine *engine);
	/* Begins serving blk->fd. Return: 0 or -errno, and is stopped. */
	int (*start)(struct blk_engine *engine);
	/* Takes a step; it begins at commit(), at the latest. Cannot fail. */
	void (*submit)(struct blk_engine *engine, struct blk_request *req);
	/*
	 * Begins all that was submitted and calls blk_request_done() for what
	 * is finished. For what finishes later the engine does so from the
	 * loop, and then calls blk->progress().
	 */
	void (*commit)(struct blk_engine *engine);
	/* Blocks until at least one step in hand is done. */
	void (*wait)(struct blk_engine *engine);
	/* Nothing is in hand. Releases what costs while idle. */
	void (*stop)(struct blk_engine *engine);
};

extern const struct blk_engine_ops blk_uring_ops;
extern const struct blk_engine_ops blk_threads_ops;

struct virtio_blk {
	struct virtio_dev dev;
	int fd; /* owned */
	bool ro, direct, may_unmap;
	char id[VIRTIO_BLK_ID_BYTES]; /* NUL padded, not terminated */
	uint64_t capacity;	      /* bytes, multiple of the block size */
	uint32_t block_size;	      /* logical, bytes */
	uint32_t mem_align;	      /* of buffers for O_DIRECT; 1 = any */
	bool no_punch, no_zero_range; /* found out: not supported */

	const struct blk_engine_ops *engine_ops;
	struct blk_engine *engine; /* never NULL */
	bool serving;		   /* it is started */
	/* Called by it from the loop when steps are done, or to try again. */
	void (*progress)(struct virtio_blk *blk);

	unsigned int in_flight;
	bool pushed;	/* used entries not signalled yet */
	bool quiescing; /* take no more requests */
	struct blk_request *free;
	struct blk_request requests[BLK_DEPTH];
	struct iovec iov[VIRTQ_MAX_CHAIN]; /* of the chain being parsed */
};

struct blk_config {
	int fd; /* image; owned by the device after success */
	bool ro, direct, nodiscard;
	const char *id; /* or NULL */
	/* The first that the host offers is used; NULL-terminated. */
	const struct blk_engine_ops *engines[3];
};

/* Makes the device. Return: 0 and *ret, -EINVAL bad id, or -errno. */
int blk_create(struct loop *loop, const struct blk_config *cfg,
	       struct virtio_blk **ret) must_check;

/* Parses a chain just taken and begins it; may finish it at once. */
void blk_request_begin(struct virtio_blk *blk, const struct virtq_chain *chain);
/*
 * Engine: the step of @req is done, @result bytes or -errno. It may submit
 * the next one, which begins with blk->progress() or with the next commit().
 */
void blk_request_done(struct blk_request *req, int64_t result);

#endif
