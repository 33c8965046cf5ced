/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One thread for what may block for as long as a file system likes: the main
 * loop submits a job, the thread runs it, and its end comes back through the
 * mailbox. Jobs run one after the other. One that hangs holds up those behind
 * it, and nobody else: who submits one has a deadline of its own.
 */
#ifndef TORPOR_VMM_MACHINE_WORKER_H
#define TORPOR_VMM_MACHINE_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include "vmm/machine/mailbox.h"

struct worker_job {
	void (*run)(struct worker_job *job);  /* on the thread; may block */
	void (*done)(struct worker_job *job); /* on the main loop */
	/* Submitted, and done() has not been called. Main loop. */
	bool pending;
	struct mailbox_item item;
	struct worker_job *next;
};

struct worker {
	pthread_t thread;
	bool started;
	struct mailbox *mb;
	/* As the thread begins, to narrow it. Return: 0 or -errno. */
	int (*begin)(void *ctx);
	void *ctx;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t changed;
	struct worker_job *head, **tail;
	enum {
		WORKER_BEGINS,
		WORKER_RUNS,
		WORKER_ENDS
	} state;
	int error; /* begin()'s, while it is WORKER_ENDS */
};

/**
 * worker_start() - make the thread
 * @mb: where jobs end; outlives the worker
 * @begin: may be NULL
 *
 * Return: 0 or -errno, also that of @begin.
 */
int worker_start(struct worker *w, struct mailbox *mb, int (*begin)(void *ctx),
		 void *ctx) must_check;

/* Main loop. @job: not pending; stays where it is until done() was called. */
void worker_submit(struct worker *w, struct worker_job *job);

/**
 * worker_stop() - end the thread; no done() is called any more
 *
 * Also one that is not started. Waits for the job that runs, but a second at
 * most. Return: true; false if the thread hangs in a job: what that uses must
 * stay until the process ends, @w included.
 */
bool worker_stop(struct worker *w) must_check;

#endif
