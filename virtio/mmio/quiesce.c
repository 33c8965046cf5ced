/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM stops a device and starts it again, for a sleep or a pause, without
 * its driver; see virtio/mmio/mmio.h.
 */
#include "virtio/mmio/internal.h"

static void tell_moved(struct virtio_mmio *dev, int r)
{
	void (*moved)(struct virtio_mmio * dev, int r) = dev->moved;

	dev->moved = NULL;
	if (moved)
		moved(dev, r);
}

static void restarted(struct virtio_mmio *dev, int r)
{
	if (r < 0)
		mmio_needs_reset(dev, "it did not come back");
	/* Or it is to stop again, whose answer comes later. */
	if (!dev->quiesce_wanted)
		tell_moved(dev, r);
}

static void quiesced(struct virtio_mmio *dev, int r)
{
	bool restart = dev->restart_wanted;

	dev->restart_wanted = false;
	dev->quiesced = r == 0 && !restart;
	if (!restart)
		tell_moved(dev, r);
	else if (r == 0 && virtio_mmio_is_live(dev))
		mmio_start_rings(dev, VIRTIO_OP_RESTART, restarted);
}

void virtio_mmio_quiesce(struct virtio_mmio *dev,
			 void (*moved)(struct virtio_mmio *dev, int r))
{
	dev->moved = moved;
	dev->frozen = true;
	if (dev->op == VIRTIO_OP_QUIESCE) { /* still, from the last time */
		dev->restart_wanted = false;
		return;
	}
	if (dev->op != VIRTIO_OP_NONE) {
		dev->quiesce_wanted = true;
		return;
	}
	if (dev->dead || !mmio_any_started(dev)) {
		tell_moved(dev, 0);
		return;
	}
	mmio_stop_rings(dev, VIRTIO_OP_QUIESCE, quiesced);
}

void virtio_mmio_restart(struct virtio_mmio *dev,
			 void (*moved)(struct virtio_mmio *dev, int r))
{
	bool was_quiesced;

	dev->moved = moved;
	dev->frozen = false;
	dev->quiesce_wanted = false;
	if (dev->op == VIRTIO_OP_RESTART) /* still, from the last time */
		return;
	if (dev->op == VIRTIO_OP_QUIESCE) {
		dev->restart_wanted = true;
		tell_moved(dev, 0);
		return;
	}
	was_quiesced = dev->quiesced;
	dev->quiesced = false;
	if (!dev->dead && was_quiesced && virtio_mmio_is_live(dev)) {
		mmio_start_rings(dev, VIRTIO_OP_RESTART, restarted);
		return;
	}
	tell_moved(dev, 0);
	mmio_run_pending(dev);
}

void virtio_mmio_forget_move(struct virtio_mmio *dev)
{
	dev->moved = NULL;
}
