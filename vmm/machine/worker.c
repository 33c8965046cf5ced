/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/machine/worker.h"

#include <errno.h>
#include <time.h>

#define STACK_BYTES (64UL * 1024)
#define END_WAIT_S  1

static void on_done(struct mailbox_item *item)
{
	struct worker_job *job = container_of(item, struct worker_job, item);

	job->pending = false;
	job->done(job);
}

/* NULL: the thread shall end. */
static struct worker_job *next(struct worker *w)
{
	struct worker_job *job;

	while (w->state == WORKER_RUNS && !w->head)
		(void)pthread_cond_wait(&w->changed, &w->lock);
	if (w->state == WORKER_ENDS)
		return NULL;
	job = w->head;
	w->head = job->next;
	if (!w->head)
		w->tail = &w->head;
	return job;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct worker_job *job;
	int r = 0;

	(void)pthread_setname_np(pthread_self(), "files");
	if (w->begin)
		r = w->begin(w->ctx);
	(void)pthread_mutex_lock(&w->lock);
	w->error = r;
	w->state = r < 0 ? WORKER_ENDS : WORKER_RUNS;
	(void)pthread_cond_broadcast(&w->changed);
	while ((job = next(w))) {
		(void)pthread_mutex_unlock(&w->lock);
		job->run(job);
		(void)pthread_mutex_lock(&w->lock);
		/* After worker_stop() nobody is there to be told. */
		if (w->state == WORKER_RUNS)
			mailbox_post(w->mb, &job->item);
	}
	(void)pthread_mutex_unlock(&w->lock);
	return NULL;
}

int worker_start(struct worker *w, struct mailbox *mb, int (*begin)(void *ctx),
		 void *ctx)
{
	pthread_attr_t attr;
	int r;

	*w = (struct worker){ .mb = mb, .begin = begin, .ctx = ctx };
	w->tail = &w->head;
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->changed, NULL);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = -pthread_create(&w->thread, &attr, worker_main, w);
	(void)pthread_attr_destroy(&attr);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&w->lock);
	while (w->state == WORKER_BEGINS)
		(void)pthread_cond_wait(&w->changed, &w->lock);
	r = w->error;
	(void)pthread_mutex_unlock(&w->lock);
	w->started = r == 0;
	if (r < 0)
		(void)pthread_join(w->thread, NULL);
	return r;
}

void worker_submit(struct worker *w, struct worker_job *job)
{
	job->pending = true;
	job->item = (struct mailbox_item){ .fn = on_done };
	job->next = NULL;
	(void)pthread_mutex_lock(&w->lock);
	*w->tail = job;
	w->tail = &job->next;
	(void)pthread_cond_signal(&w->changed);
	(void)pthread_mutex_unlock(&w->lock);
}

bool worker_stop(struct worker *w)
{
	struct timespec end;

	if (!w->started)
		return true;
	(void)pthread_mutex_lock(&w->lock);
	w->state = WORKER_ENDS;
	(void)pthread_cond_signal(&w->changed);
	(void)pthread_mutex_unlock(&w->lock);
	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += END_WAIT_S;
	w->started = false;
	if (pthread_timedjoin_np(w->thread, NULL, &end) != 0) {
		(void)pthread_detach(w->thread);
		return false;
	}
	(void)pthread_cond_destroy(&w->changed);
	(void)pthread_mutex_destroy(&w->lock);
	return true;
}
