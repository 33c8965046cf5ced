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

/* --- transport.c --- */
/* DEVICE_NEEDS_RESET: the device does nothing more until Status 0. */
void mmio_needs_reset(struct virtio_mmio *dev, const char *why);
/* Does any ring run in the back end? */
bool mmio_any_started(const struct virtio_mmio *dev);
/* Start every ready ring, stop every ring; as @op, which ends in op_done(). */
void mmio_start_rings(struct virtio_mmio *dev, enum virtio_mmio_op op);
void mmio_stop_rings(struct virtio_mmio *dev, enum virtio_mmio_op op);
/* Negotiates with the back end, as @op. */
void mmio_handshake(struct virtio_mmio *dev, enum virtio_mmio_op op);
/* Goes on with what waits, unless an operation is in progress. */
void mmio_next_work(struct virtio_mmio *dev);

/* --- foreign.c --- */
/* The call eventfd of a foreign back end. Return: 0 or -errno. */
int mmio_relay_init(struct virtio_mmio *dev) must_check;
void mmio_relay_finish(struct virtio_mmio *dev);
/* Rings were stopped or started: whoever waits for an interrupt gets it. */
void mmio_relay_moved(struct virtio_mmio *dev, enum virtio_mmio_op op);
/* Before the handshake; and after it: 0, or what it lacks in dev->refused. */
void mmio_foreign_prepare(struct virtio_mmio *dev);
int mmio_foreign_check(struct virtio_mmio *dev, int r);
/* Features of the guest's that the back end knows nothing of. */
uint64_t mmio_foreign_ours(const struct virtio_mmio *dev);

/* --- quiesce.c --- */
/* VIRTIO_OP_QUIESCE, VIRTIO_OP_RESTART has ended. */
void mmio_quiesce_done(struct virtio_mmio *dev, int r);
void mmio_restart_done(struct virtio_mmio *dev, int r);

/* --- respawn.c --- */
/* The process has died. Return: whether another will take its place. */
bool mmio_respawn_begin(struct virtio_mmio *dev);
/* Nothing of it is in flight any more, or (not @ok) that will not be sure. */
void mmio_respawn_fenced(struct virtio_mmio *dev, bool ok);
/* VIRTIO_OP_RESPAWN has ended. */
void mmio_respawn_done(struct virtio_mmio *dev, int r);

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
bool mmio_suspend_go_down(struct virtio_mmio *dev);
bool mmio_suspend_go_up(struct virtio_mmio *dev);
/* VIRTIO_OP_SUSPEND or _RESUME has ended. */
void mmio_suspend_done(struct virtio_mmio *dev, enum virtio_mmio_op op, int r);
/* A Status 0 waits for its end: the device goes nowhere else from here. */
void mmio_suspend_reset_waits(struct virtio_mmio *dev);
/* It has failed, or was reset: nobody waits for it. */
void mmio_suspend_forget(struct virtio_mmio *dev);

#endif
