/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls from vCPU threads to the main loop. What only the main loop may touch
 * (vhost-user, transports, the coordinator's devices) is reached by posting an
 * item; mailbox_call() also waits for its completion, which may come later
 * than the item's function returns. Items are owned by the poster.
 */
#ifndef TORPOR_VMM_MACHINE_MAILBOX_H
#define TORPOR_VMM_MACHINE_MAILBOX_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "vmm/base/loop.h"

struct mailbox_item {
	/* Runs on the main loop. */
	void (*fn)(struct mailbox_item *item);
	struct mailbox_item *next;
	bool queued;
	const char *what; /* it is about, for the loop's watchdog; or NULL */
	sem_t *done; /* of the caller that waits, NULL for mailbox_post() */
};

struct mailbox {
	pthread_mutex_t lock;
	struct loop *loop;
	struct loop_source src;
	int event_fd;
	struct mailbox_item *head, **tail;
	bool closed;
};

int mailbox_init(struct mailbox *mb, struct loop *loop) must_check;
void mailbox_finish(struct mailbox *mb);

/* Runs item->fn soon, once however often it was posted meanwhile. */
void mailbox_post(struct mailbox *mb, struct mailbox_item *item);
/* Runs item->fn and waits for mailbox_complete(). Not from the main loop. */
void mailbox_call(struct mailbox *mb, struct mailbox_item *item);
/* Lets the caller of mailbox_call() go on. Main loop. */
void mailbox_complete(struct mailbox_item *item);
/* From now on calls return at once, undone: the VM is ending. Main loop. */
void mailbox_close(struct mailbox *mb);

#endif
