/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls from vCPU threads to the main loop. A vCPU thread posts an item to
 * reach state that only the main loop may touch (vhost-user, transports, the
 * coordinator's devices). mailbox_call() also waits for its completion, which
 * may come after the item's function returns. The poster owns the item.
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
	const char *what; /* its subject, for the loop's watchdog; or NULL */
	sem_t *done;	  /* of the waiting caller; NULL for mailbox_post() */
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
/* Releases the caller of mailbox_call(). Main loop. */
void mailbox_complete(struct mailbox_item *item);
/*
 * From now on calls return at once, not executed: the VM is ending. Main loop.
 */
void mailbox_close(struct mailbox *mb);

#endif
