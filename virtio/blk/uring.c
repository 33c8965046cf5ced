/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring engine of the block device. Loop thread only.
 *
 * The ring is made once, before the jail closes, and lives as long as the
 * device (ring.h). While no request is in flight it costs nothing; what
 * would is the io-wq workers, which wake up every 5 s for as long as the
 * thread lives whose requests they did. A VM asleep shall have no wake-ups: so
 * a stop asks for another thread (end_thread), and the workers end with the
 * old one.
 *
 * The loop polls the ring's own fd rather than an eventfd: that needs no read
 * to reset it, and nothing at all for what finished inside io_uring_enter(),
 * as a page cache hit does.
 *
 * System calls, for the seccomp policy:
 *   create:  blk_ring_open()
 *   start:   epoll_ctl
 *   request: io_uring_enter; poll (no fds) where the kernel has no memory
 *   stop:    epoll_ctl
 *   destroy: munmap, close
 *   memory:  brk, mmap, munmap (malloc of large or unaligned requests)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "virtio/blk/blk.h"
#include "virtio/blk/ring.h"
#include "vmm/base/log.h"

#define RETRY_NS 1000000ULL /* kernel out of memory: try again */

struct blk_engine {
	struct virtio_blk *blk;
	struct io_uring ring;
	struct loop_source src;
	struct loop_timer retry;
	unsigned int queued;	/* SQEs not yet given to the kernel */
	unsigned int in_kernel; /* given and not yet reaped */
};

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

	e->blk->progress(e->blk);
}

static void on_ring(struct loop_source *src, uint32_t events)
{
	struct blk_engine *e = container_of(src, struct blk_engine, src);

	reap(e);
	e->blk->progress(e->blk);
}

static int uring_create(struct virtio_blk *blk, struct blk_engine **ret)
{
	struct blk_engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->blk = blk;
	e->src.fd = -1;
	r = blk_ring_open(&e->ring, BLK_DEPTH);
	if (r < 0) {
		free(e);
		return r;
	}
	*ret = e;
	return 0;
}

static void uring_destroy(struct blk_engine *e)
{
	io_uring_queue_exit(&e->ring);
	free(e);
}

static int uring_start(struct blk_engine *e)
{
	return loop_add(e->blk->dev.loop, &e->src, e->ring.ring_fd, EPOLLIN,
			on_ring);
}

static void uring_submit(struct blk_engine *e, struct blk_request *req)
{
	/* Never NULL: each request in flight has one SQE at most. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);

	switch (req->op) {
	case BLK_OP_READ:
		io_uring_prep_readv(sqe, e->blk->fd, req->iov, req->nr_iov,
				    req->offset);
		break;
	case BLK_OP_WRITE:
		io_uring_prep_writev(sqe, e->blk->fd, req->iov, req->nr_iov,
				     req->offset);
		break;
	case BLK_OP_SYNC:
		io_uring_prep_fsync(sqe, e->blk->fd, IORING_FSYNC_DATASYNC);
		break;
	case BLK_OP_FALLOCATE:
		io_uring_prep_fallocate(sqe, e->blk->fd, req->mode,
					(off_t)req->offset, (off_t)req->len);
		break;
	}
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
	/* wait() submits too, and then 0 is not a failure. */
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
	loop_timer_cancel(e->blk->dev.loop, &e->retry);
	loop_remove(e->blk->dev.loop, &e->src);
	/* With it end the workers: they are the thread's, not the ring's. */
	e->blk->dev.end_thread = true;
}

const struct blk_engine_ops blk_uring_ops = {
	.name = "uring",
	.create = uring_create,
	.destroy = uring_destroy,
	.start = uring_start,
	.submit = uring_submit,
	.commit = uring_commit,
	.wait = uring_wait,
	.stop = uring_stop,
};
