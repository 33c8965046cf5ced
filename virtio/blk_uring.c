/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring engine of the block device. Loop thread only.
 *
 * The ring is restricted to what a disk needs before it is enabled: READV,
 * WRITEV, FSYNC and FALLOCATE on the one registered file. It exists only
 * between start and stop, because an idle io-wq worker wakes up every 5 s and
 * a VM asleep shall have no wake-ups. Up to Linux 6.1 at least the last worker
 * lives as long as the thread that submitted, so that changes too (end_thread).
 *
 * The loop polls the ring's own fd rather than an eventfd: that needs no read
 * to reset it, and nothing at all for what finished inside io_uring_enter(),
 * as a page cache hit does.
 *
 * System calls, for the seccomp policy:
 *   start:   io_uring_setup, io_uring_register, mmap, madvise, epoll_ctl
 *   request: io_uring_enter; poll (no fds) where the kernel has no memory
 *   stop:    io_uring_register (unregister files), epoll_ctl, munmap, close
 *   memory:  brk, mmap, munmap (malloc of large or unaligned requests)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>

#include "virtio/backend.h"
#include "virtio/blk.h"
#include "vmm/base/log.h"

#define IMAGE_SLOT   0		/* index of the registered file */
#define RETRY_NS     1000000ULL /* kernel out of memory: try again */
#define MAX_WORKERS  4U
#define RESTRICTIONS 6U

struct blk_engine {
	struct virtio_blk *blk;
	struct io_uring ring;
	struct loop_source src;
	struct loop_timer retry;
	unsigned int queued;	/* SQEs not yet given to the kernel */
	unsigned int in_kernel; /* given and not yet reaped */
};

static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction res[RESTRICTIONS] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_FSYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_FALLOCATE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
		  .sqe_flags = IOSQE_FIXED_FILE },
		/* At the end, to let go of the image at once. */
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_UNREGISTER_FILES },
	};

	return io_uring_register_restrictions(ring, res, RESTRICTIONS);
}

static int ring_open(struct io_uring *ring, int fd)
{
	struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED };
	unsigned int workers[2] = { MAX_WORKERS, MAX_WORKERS };
	int r;

	r = io_uring_queue_init_params(BLK_DEPTH, ring, &params);
	if (r < 0)
		return r;
	r = io_uring_register_files(ring, &fd, 1);
	if (r < 0)
		goto fail;
	/* Only a bound: kernels before 5.15 do not know it. */
	(void)io_uring_register_iowq_max_workers(ring, workers);
	r = restrict_ring(ring);
	if (r < 0)
		goto fail;
	r = io_uring_enable_rings(ring);
	if (r < 0)
		goto fail;
	return 0;

fail:
	io_uring_queue_exit(ring);
	return r;
}

/* Calls back for every step that is done. */
static void reap(struct blk_engine *e)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&e->ring, &cqe) == 0) {
		struct blk_request *req = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&e->ring, cqe);
		e->in_kernel--;
		/* Interrupted before it began: the same step again. */
		if (result == -EINTR || result == -EAGAIN)
			e->blk->engine_ops->submit(e, req);
		else
			blk_request_done(req, result);
	}
}

static void on_retry(struct loop_timer *timer)
{
	struct blk_engine *e = container_of(timer, struct blk_engine, retry);

	e->blk->engine_ops->commit(e);
	blk_progress(e->blk);
}

static void on_ring(struct loop_source *src, uint32_t events)
{
	struct blk_engine *e = container_of(src, struct blk_engine, src);

	reap(e);
	e->blk->engine_ops->commit(e);
	blk_progress(e->blk);
}

static int uring_start(struct virtio_blk *blk, struct blk_engine **ret)
{
	struct blk_engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->blk = blk;
	e->src.fd = -1;
	r = ring_open(&e->ring, blk->fd);
	if (r < 0)
		goto fail;
	r = loop_add(blk->dev.loop, &e->src, e->ring.ring_fd, EPOLLIN, on_ring);
	if (r < 0)
		goto fail_ring;
	*ret = e;
	return 0;

fail_ring:
	io_uring_queue_exit(&e->ring);
fail:
	free(e);
	return r;
}

static void uring_submit(struct blk_engine *e, struct blk_request *req)
{
	/* Never NULL: each request in flight has one SQE at most. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);

	switch (req->op) {
	case BLK_OP_READ:
		io_uring_prep_readv(sqe, IMAGE_SLOT, req->iov, req->nr_iov,
				    req->offset);
		break;
	case BLK_OP_WRITE:
		io_uring_prep_writev(sqe, IMAGE_SLOT, req->iov, req->nr_iov,
				     req->offset);
		break;
	case BLK_OP_SYNC:
		io_uring_prep_fsync(sqe, IMAGE_SLOT, IORING_FSYNC_DATASYNC);
		break;
	case BLK_OP_FALLOCATE:
		io_uring_prep_fallocate(sqe, IMAGE_SLOT, req->mode,
					(off_t)req->offset, (off_t)req->len);
		break;
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, req);
	e->queued++;
}

/* Return: false if the kernel took nothing. */
static bool count_submitted(struct blk_engine *e, int r)
{
	static struct log_limit limit;

	if (r == -EINTR)
		return true;
	if (r < 0) {
		log_limited(&limit, "io_uring_enter: error %d", -r);
		return false;
	}
	/* wait() submits too, and then 0 is no failure. */
	e->queued -= MIN((unsigned int)r, e->queued);
	e->in_kernel += (unsigned int)r;
	return true;
}

static void uring_commit(struct blk_engine *e)
{
	while (e->queued) {
		if (!count_submitted(e, io_uring_submit(&e->ring))) {
			loop_timer_set(e->blk->dev.loop, &e->retry, RETRY_NS,
				       on_retry);
			return;
		}
		reap(e);
	}
}

static void uring_wait(struct blk_engine *e)
{
	struct io_uring_cqe *cqe;
	bool taken = true;

	if (e->queued)
		taken = count_submitted(e, io_uring_submit(&e->ring));
	if (e->in_kernel)
		(void)io_uring_wait_cqe(&e->ring, &cqe);
	else if (!taken)
		(void)poll(NULL, 0, RETRY_NS / 1000000);
	reap(e);
}

static void uring_stop(struct blk_engine *e)
{
	if (!e)
		return;
	loop_timer_cancel(e->blk->dev.loop, &e->retry);
	loop_remove(e->blk->dev.loop, &e->src);
	/*
	 * The kernel takes a closed ring down later, from a work queue, and
	 * with it the reference to the image and its lock: drop that first.
	 */
	(void)io_uring_unregister_files(&e->ring);
	io_uring_queue_exit(&e->ring);
	/* Up to Linux 6.1 at least, a worker outlives its last ring. */
	e->blk->dev.end_thread = true;
	free(e);
}

const struct blk_engine_ops blk_uring_ops = {
	.name = "uring",
	.start = uring_start,
	.submit = uring_submit,
	.commit = uring_commit,
	.wait = uring_wait,
	.stop = uring_stop,
};
