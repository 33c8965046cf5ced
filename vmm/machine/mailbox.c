/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/machine/mailbox.h"

#include <errno.h>
#include <time.h>

#include "vmm/base/fd.h"

/* A turn: vCPUs that write without end must not keep the loop from others. */
#define MAX_ITEMS_A_TURN 64U

static struct mailbox_item *take(struct mailbox *mb)
{
	struct mailbox_item *item;

	(void)pthread_mutex_lock(&mb->lock);
	item = mb->head;
	if (item) {
		mb->head = item->next;
		if (!mb->head)
			mb->tail = &mb->head;
		item->queued = false;
	}
	(void)pthread_mutex_unlock(&mb->lock);
	return item;
}

static void on_event(struct loop_source *src, uint32_t events)
{
	struct mailbox *mb = container_of(src, struct mailbox, src);
	struct mailbox_item *item;

	(void)fd_event_drain(mb->event_fd);
	for (unsigned int i = 0; i < MAX_ITEMS_A_TURN; i++) {
		item = take(mb);
		if (!item)
			return;
		loop_doing(mb->loop, item->what);
		item->fn(item);
	}
	/* Those that found the list not empty have not signalled. */
	fd_event_signal(mb->event_fd);
}

int mailbox_init(struct mailbox *mb, struct loop *loop)
{
	int r;

	*mb = (struct mailbox){ .loop = loop, .src.fd = -1 };
	mb->tail = &mb->head;
	(void)pthread_mutex_init(&mb->lock, NULL);
	r = mb->event_fd = fd_event_create();
	if (r >= 0)
		r = loop_add(loop, &mb->src, mb->event_fd, EPOLLIN, on_event);
	if (r < 0)
		mailbox_finish(mb);
	return r;
}

void mailbox_finish(struct mailbox *mb)
{
	if (!mb->loop)
		return;
	loop_remove(mb->loop, &mb->src);
	fd_close(&mb->event_fd);
	(void)pthread_mutex_destroy(&mb->lock);
	mb->loop = NULL;
}

static bool enqueue(struct mailbox *mb, struct mailbox_item *item)
{
	bool closed, was_empty = false;

	(void)pthread_mutex_lock(&mb->lock);
	closed = mb->closed;
	if (!closed && !item->queued) {
		was_empty = !mb->head;
		item->queued = true;
		item->next = NULL;
		*mb->tail = item;
		mb->tail = &item->next;
	}
	(void)pthread_mutex_unlock(&mb->lock);
	if (was_empty)
		fd_event_signal(mb->event_fd);
	return !closed;
}

void mailbox_post(struct mailbox *mb, struct mailbox_item *item)
{
	(void)enqueue(mb, item);
}

/*
 * A kick interrupts the wait, but the call has to finish. Meanwhile this is who
 * looks whether the loop still turns, once a second as long as it does not:
 * an item may rightly wait for longer, for a device or for the end of a pause,
 * and then nobody wakes up for it.
 */
static void wait_for(struct mailbox *mb, sem_t *done)
{
	struct timespec ts;
	bool held = true;

	while (held) {
		/* Its clock. When that is set it looks too early, or late. */
		(void)clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec++;
		if (sem_timedwait(done, &ts) == 0)
			return;
		if (errno != EINTR)
			held = loop_look(mb->loop);
	}
	while (sem_wait(done) < 0 && errno == EINTR)
		;
}

void mailbox_call(struct mailbox *mb, struct mailbox_item *item)
{
	sem_t done;

	(void)sem_init(&done, 0, 0);
	item->done = &done;
	if (enqueue(mb, item))
		wait_for(mb, &done);
	(void)sem_destroy(&done);
}

void mailbox_complete(struct mailbox_item *item)
{
	sem_t *done = item->done;

	item->done = NULL;
	if (done)
		(void)sem_post(done);
}

void mailbox_close(struct mailbox *mb)
{
	struct mailbox_item *item;

	(void)pthread_mutex_lock(&mb->lock);
	mb->closed = true;
	(void)pthread_mutex_unlock(&mb->lock);
	while ((item = take(mb)))
		mailbox_complete(item);
}
