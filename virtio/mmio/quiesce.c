/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM stops a device and starts it again, for a sleep or a pause, without
 * its driver; see virtio/mmio/mmio.h.
 */
#include "virtio/mmio/internal.h"

static void move_end(struct virtio_mmio *dev, int r)
{
	void (*on_moved)(struct virtio_mmio * dev, int r) = dev->on_moved;

	dev->on_moved = NULL;
	if (on_moved)
		on_moved(dev, r);
}

static void restarted(struct virtio_mmio *dev, int r)
{
	if (r < 0)
		mmio_needs_reset(dev, "it did not come back");
	/* It is to stop again, whose answer comes later. */
	if (dev->run == VIRTIO_MMIO_QUIESCING)
		return;
	mmio_set_run(dev, VIRTIO_MMIO_RUNNING);
	move_end(dev, r);
}

static void quiesced(struct virtio_mmio *dev, int r)
{
	if (dev->run == VIRTIO_MMIO_QUIESCING) {
		mmio_set_run(dev,
			     r == 0 ? VIRTIO_MMIO_QUIESCED : VIRTIO_MMIO_HELD);
		move_end(dev, r);
	} else if (r == 0 && virtio_mmio_is_live(dev)) {
		mmio_start_rings(dev, VIRTIO_OP_RESTART, restarted);
	} else {
		mmio_set_run(dev, VIRTIO_MMIO_RUNNING);
	}
}

void virtio_mmio_quiesce(struct virtio_mmio *dev,
			 void (*on_moved)(struct virtio_mmio *dev, int r))
{
	dev->on_moved = on_moved;
	/* Its end is waited for, be it a quiesce of the last time. */
	if (dev->op != VIRTIO_OP_NONE) {
		mmio_set_run(dev, VIRTIO_MMIO_QUIESCING);
		return;
	}
	if (!virtio_mmio_is_dead(dev) && mmio_any_started(dev)) {
		mmio_set_run(dev, VIRTIO_MMIO_QUIESCING);
		mmio_stop_rings(dev, VIRTIO_OP_QUIESCE, quiesced);
		return;
	}
	if (dev->run != VIRTIO_MMIO_QUIESCED)
		mmio_set_run(dev, VIRTIO_MMIO_HELD);
	move_end(dev, 0);
}

void virtio_mmio_restart(struct virtio_mmio *dev,
			 void (*on_moved)(struct virtio_mmio *dev, int r))
{
	dev->on_moved = on_moved;
	if (dev->op == VIRTIO_OP_RESTART) { /* still, from the last time */
		mmio_set_run(dev, VIRTIO_MMIO_RESTARTING);
		return;
	}
	if (dev->op == VIRTIO_OP_QUIESCE) {
		mmio_set_run(dev, VIRTIO_MMIO_RESTARTING);
		move_end(dev, 0);
		return;
	}
	if (dev->run == VIRTIO_MMIO_QUIESCED && !virtio_mmio_is_dead(dev) &&
	    virtio_mmio_is_live(dev)) {
		mmio_set_run(dev, VIRTIO_MMIO_RESTARTING);
		mmio_start_rings(dev, VIRTIO_OP_RESTART, restarted);
		return;
	}
	mmio_set_run(dev, VIRTIO_MMIO_RUNNING);
	move_end(dev, 0);
	mmio_run_pending(dev);
}

void virtio_mmio_abandon_move(struct virtio_mmio *dev)
{
	dev->on_moved = NULL;
}
