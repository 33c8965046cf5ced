/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread engine of the block device, for hosts without io_uring: a few
 * threads with small stacks do preadv and pwritev. They exist only between
 * start and stop. A thread sees one request at a time and touches neither ring
 * nor loop; finished requests go back to the loop thread by a list and an
 * eventfd.
 *
 * System calls, for the seccomp policy:
 *   create:  eventfd2
 *   start:   clone3 (or clone) with CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|
 *	      SETTLS|PARENT_SETTID|CHILD_CLEARTID, mmap, mprotect,
 *	      rt_sigprocmask, epoll_ctl; in the thread set_robust_list, rseq
 *   request: preadv, pwritev, fdatasync, fallocate, futex, write and read of
 *	      the eventfd
 *   stop:    futex, epoll_ctl, munmap; in the thread madvise, exit
 *   memory:  brk, mmap, munmap (malloc of large or unaligned requests)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "virtio/blk/blk.h"
#include "vmm/base/fd.h"

#define NR_THREADS  4U
#define STACK_BYTES (64U << 10)

struct list {
	struct blk_request *head;
	struct blk_request **tail;
};

struct blk_engine {
	struct virtio_blk *blk;
	struct loop_source src;
	int done_fd; /* eventfd: done has become non-empty */

	pthread_mutex_t lock; /* all below */
	pthread_cond_t work;  /* todo or stopping */
	pthread_cond_t ready; /* done, for wait() */
	struct list todo, done;
	bool stopping, waiting;

	/* Loop thread only. */
	struct list batch; /* submitted, not committed */
	unsigned int nr_batch;
	unsigned int in_hand;
	unsigned int nr_threads;
	pthread_t threads[NR_THREADS];
};

static void list_init(struct list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void list_add(struct list *l, struct blk_request *req)
{
	req->next = NULL;
	*l->tail = req;
	l->tail = &req->next;
}

static struct blk_request *list_take(struct list *l)
{
	struct blk_request *req = l->head;

	if (!req)
		return NULL;
	l->head = req->next;
	if (!l->head)
		l->tail = &l->head;
	return req;
}

/* Moves all of @from behind @to. */
static void list_splice(struct list *to, struct list *from)
{
	if (!from->head)
		return;
	*to->tail = from->head;
	to->tail = from->tail;
	list_init(from);
}

static int perform(const struct blk_request *req, int fd)
{
	ssize_t n = 0;

	do {
		switch (req->op) {
		case BLK_OP_READ:
			n = preadv(fd, req->iov, (int)req->nr_iov,
				   (off_t)req->offset);
			break;
		case BLK_OP_WRITE:
			n = pwritev(fd, req->iov, (int)req->nr_iov,
				    (off_t)req->offset);
			break;
		case BLK_OP_SYNC:
			n = fdatasync(fd);
			break;
		case BLK_OP_FALLOCATE:
			n = fallocate(fd, req->mode, (off_t)req->offset,
				      (off_t)req->len);
			break;
		}
	} while (n < 0 && errno == EINTR);
	/* At most 0x7ffff000 bytes in one call. */
	return n < 0 ? -errno : (int)n;
}

static void *worker(void *arg)
{
	struct blk_engine *e = arg;
	struct blk_request *req;

	(void)pthread_mutex_lock(&e->lock);
	for (;;) {
		bool first;

		while (!(req = list_take(&e->todo)) && !e->stopping)
			(void)pthread_cond_wait(&e->work, &e->lock);
		if (!req)
			break;
		(void)pthread_mutex_unlock(&e->lock);
		req->result = perform(req, e->blk->fd);
		(void)pthread_mutex_lock(&e->lock);
		first = !e->done.head;
		list_add(&e->done, req);
		if (e->waiting)
			(void)pthread_cond_signal(&e->ready);
		else if (first)
			fd_event_signal(e->done_fd);
	}
	(void)pthread_mutex_unlock(&e->lock);
	return NULL;
}

static void complete(struct blk_engine *e, struct list *done)
{
	struct blk_request *req;

	while ((req = list_take(done))) {
		e->in_hand--;
		blk_request_done(req, req->result);
	}
}

static void on_done(struct loop_source *src, uint32_t events)
{
	struct blk_engine *e = container_of(src, struct blk_engine, src);
	struct list done;

	list_init(&done);
	(void)fd_event_drain(e->done_fd);
	(void)pthread_mutex_lock(&e->lock);
	list_splice(&done, &e->done);
	(void)pthread_mutex_unlock(&e->lock);
	complete(e, &done);
	e->blk->progress(e->blk);
}

/* Also of one whose threads are only partly there. */
static void threads_stop(struct blk_engine *e)
{
	(void)pthread_mutex_lock(&e->lock);
	e->stopping = true;
	(void)pthread_cond_broadcast(&e->work);
	(void)pthread_mutex_unlock(&e->lock);
	for (unsigned int i = 0; i < e->nr_threads; i++)
		(void)pthread_join(e->threads[i], NULL);
	e->nr_threads = 0;
	e->stopping = false;
	loop_remove(e->blk->dev.loop, &e->src);
}

static void threads_destroy(struct blk_engine *e)
{
	fd_close(&e->done_fd);
	(void)pthread_cond_destroy(&e->work);
	(void)pthread_cond_destroy(&e->ready);
	(void)pthread_mutex_destroy(&e->lock);
	free(e);
}

static int create_threads(struct blk_engine *e)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* Signals are the loop thread's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	while (e->nr_threads < NR_THREADS) {
		r = pthread_create(&e->threads[e->nr_threads], &attr, worker,
				   e);
		if (r)
			break;
		e->nr_threads++;
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	/* One is enough to go on with. */
	return e->nr_threads ? 0 : -r;
}

static int threads_create(struct virtio_blk *blk, struct blk_engine **ret)
{
	struct blk_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->done_fd = fd_event_create();
	if (e->done_fd < 0) {
		int r = e->done_fd;

		free(e);
		return r;
	}
	e->blk = blk;
	e->src.fd = -1;
	list_init(&e->todo);
	list_init(&e->done);
	list_init(&e->batch);
	(void)pthread_mutex_init(&e->lock, NULL);
	(void)pthread_cond_init(&e->work, NULL);
	(void)pthread_cond_init(&e->ready, NULL);
	*ret = e;
	return 0;
}

static int threads_start(struct blk_engine *e)
{
	int r = loop_add(e->blk->dev.loop, &e->src, e->done_fd, EPOLLIN,
			 on_done);

	if (r >= 0)
		r = create_threads(e);
	if (r < 0)
		threads_stop(e);
	return r;
}

static void threads_submit(struct blk_engine *e, struct blk_request *req)
{
	list_add(&e->batch, req);
	e->nr_batch++;
}

static void threads_commit(struct blk_engine *e)
{
	unsigned int n = e->nr_batch;

	if (!n)
		return;
	(void)pthread_mutex_lock(&e->lock);
	list_splice(&e->todo, &e->batch);
	(void)pthread_mutex_unlock(&e->lock);
	e->nr_batch = 0;
	e->in_hand += n;
	if (n >= NR_THREADS)
		(void)pthread_cond_broadcast(&e->work);
	else
		while (n-- > 0)
			(void)pthread_cond_signal(&e->work);
}

static void threads_wait(struct blk_engine *e)
{
	struct list done;

	threads_commit(e);
	if (!e->in_hand)
		return;
	list_init(&done);
	(void)pthread_mutex_lock(&e->lock);
	e->waiting = true;
	while (!e->done.head)
		(void)pthread_cond_wait(&e->ready, &e->lock);
	e->waiting = false;
	list_splice(&done, &e->done);
	(void)pthread_mutex_unlock(&e->lock);
	complete(e, &done);
}

const struct blk_engine_ops blk_threads_ops = {
	.name = "threads",
	.create = threads_create,
	.destroy = threads_destroy,
	.start = threads_start,
	.submit = threads_submit,
	.commit = threads_commit,
	.wait = threads_wait,
	.stop = threads_stop,
};
