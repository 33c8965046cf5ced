/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the transport share; see virtio/mmio/mmio.h. Main loop. */
#ifndef TORPOR_VIRTIO_MMIO_INTERNAL_H
#define TORPOR_VIRTIO_MMIO_INTERNAL_H

#include <linux/virtio_config.h>

#include "virtio/mmio/mmio.h"

/* Bit of Device Status (virtio 1.4, 2.1; the same in the draft). */
#define MMIO_S_SUSPEND 0x10U

/* Until when a register write keeps its vCPU. */
enum mmio_write {
	MMIO_WRITE_DONE,
	MMIO_WRITE_AWAITS_OP,	 /* the end of the operation in progress */
	MMIO_WRITE_AWAITS_DRAIN, /* SUSPEND: for a moment, see suspend.c */
};

/* The driver has set it up and not reset it since. */
static inline bool mmio_is_up(const struct virtio_mmio *dev)
{
	return dev->status & (VIRTIO_CONFIG_S_DRIVER_OK | MMIO_S_SUSPEND);
}

static inline bool mmio_is_suspended(const struct virtio_mmio *dev)
{
	return dev->status & MMIO_S_SUSPEND;
}

/* The dead process may still have I/O in flight; virtio_mmio_fenced() ends it.
 */
static inline bool mmio_awaits_fence(const struct virtio_mmio *dev)
{
	return dev->life == VIRTIO_MMIO_DYING ||
	       dev->life == VIRTIO_MMIO_REPLACING;
}

/* Between quiesce and restart the driver's writes wait. */
static inline bool mmio_is_frozen(const struct virtio_mmio *dev)
{
	return dev->run == VIRTIO_MMIO_QUIESCING ||
	       dev->run == VIRTIO_MMIO_QUIESCED || dev->run == VIRTIO_MMIO_HELD;
}

/*
 * A file calls files above it in this list, and none below:
 *
 *	page.c, queue.c	   register page, registers of a queue
 *	state.c		   states of the device and their transitions
 *	foreign.c	   what an external back end needs
 *	op.c		   operations of the back end, one at a time
 *	quiesce.c	   the VMM stops the device
 *	suspend.c	   the driver stops the device
 *	respawn.c	   the process of a suspended device dies
 *	transport.c	   registers, what is pending, set-up and end
 */

/* --- state.c --- */
/* They assert that the drawing in mmio.h has the transition. */
void mmio_set_life(struct virtio_mmio *dev, enum virtio_mmio_life life);
void mmio_set_run(struct virtio_mmio *dev, enum virtio_mmio_run run);
/* The driver has resumed or reset it: RESPAWNED becomes ALIVE. */
void mmio_was_of_use(struct virtio_mmio *dev);
/* Does any ring run in the back end? */
bool mmio_any_started(const struct virtio_mmio *dev);
/* DEVICE_NEEDS_RESET: the device does nothing more until Status 0. */
void mmio_needs_reset(struct virtio_mmio *dev, const char *why);
/* Completes *@item, if there is one, and leaves NULL. */
void mmio_let_go(struct mailbox_item **item);
/* It has failed, or was reset: nobody waits for its suspend any more. */
void mmio_forget_suspend(struct virtio_mmio *dev);

/* --- foreign.c --- */
/* The call eventfd of a foreign back end. Return: 0 or -errno. */
int mmio_foreign_init(struct virtio_mmio *dev) must_check;
void mmio_foreign_finish(struct virtio_mmio *dev);
/* Rings were stopped or started: whoever waits for an interrupt gets it. */
void mmio_foreign_op_ends(struct virtio_mmio *dev, enum virtio_mmio_op op);
/* Before the handshake; and after it: 0, or what it lacks in dev->refused. */
void mmio_foreign_prepare(struct virtio_mmio *dev);
int mmio_foreign_check(struct virtio_mmio *dev, int r);
/* Features of the guest's that the back end knows nothing of. */
uint64_t mmio_foreign_ours(const struct virtio_mmio *dev);

/* --- op.c --- */
/*
 * No other operation may begin before mmio_op_end(), which calls @done unless
 * it is NULL. dev->op_item is the write that waits for the end.
 */
void mmio_op_begin(struct virtio_mmio *dev, enum virtio_mmio_op op,
		   void (*done)(struct virtio_mmio *dev, int r));
void mmio_op_end(struct virtio_mmio *dev, int r);
/* Ends it, as the back end has answered; for the front end's calls. */
void mmio_op_answered(struct frontend *fe, int r);
/* If the process dies, the operation ends with virtio_mmio_fenced(). */
bool mmio_op_needs_fence(const struct virtio_mmio *dev);
/* Goes on with what waits, unless an operation is in progress. */
void mmio_run_pending(struct virtio_mmio *dev);
/* Start every ready ring, stop every ring; as @op. */
void mmio_start_rings(struct virtio_mmio *dev, enum virtio_mmio_op op,
		      void (*done)(struct virtio_mmio *dev, int r));
void mmio_stop_rings(struct virtio_mmio *dev, enum virtio_mmio_op op,
		     void (*done)(struct virtio_mmio *dev, int r));
/* Negotiates with the back end, as @op. */
void mmio_handshake(struct virtio_mmio *dev, enum virtio_mmio_op op,
		    void (*done)(struct virtio_mmio *dev, int r));

/* --- suspend.c --- */
/* At most one of the two dialects has been accepted. */
bool mmio_suspend_features_ok(const struct virtio_mmio *dev);
/* Is the back end being stopped or started for the driver's SUSPEND? */
bool mmio_suspend_moving(const struct virtio_mmio *dev);
/* A write of Status, not 0, to a device that is up. */
enum mmio_write mmio_suspend_write(struct virtio_mmio *dev, uint32_t value);
/*
 * No operation is in progress: goes on with the way down, or up. Return:
 * whether one is now, or the status has changed.
 */
bool mmio_suspend_begin_drain(struct virtio_mmio *dev);
bool mmio_suspend_begin_resume(struct virtio_mmio *dev);
/* A Status 0 waits for its end: the device goes nowhere else from here. */
void mmio_suspend_reset_waits(struct virtio_mmio *dev);

/* --- respawn.c --- */
/* Return: whether another process replaces the dead one; it is counted. */
bool mmio_respawn_begin(struct virtio_mmio *dev);
/* It was REPLACING, and is FENCED or LOST. */
void mmio_respawn_fenced(struct virtio_mmio *dev);

#endif
