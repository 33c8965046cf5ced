/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process that dies while its driver has the device suspended had nothing in
 * flight. If the device type keeps no state outside the rings (blk, net,
 * console, rng), another process takes its place, unseen by the driver. See
 * virtio/mmio/mmio.h.
 */
#include <errno.h>
#include <string.h>

#include "virtio/mmio/internal.h"
#include "virtio/mmio/page.h"
#include "vmm/base/log.h"

/*
 * Bounds the replacements: if the process dies on each suspend, the guest could
 * otherwise make us start one as fast as it can suspend.
 */
static bool draw_respawn(struct virtio_mmio *dev)
{
	uint64_t now = time_boot_ns();

	while (dev->respawns_used > 0 && now >= dev->respawn_back_ns) {
		dev->respawns_used--;
		dev->respawn_back_ns += VIRTIO_MMIO_RESPAWN_BACK_NS;
	}
	if (dev->respawns_used == VIRTIO_MMIO_MAX_RESPAWNS) {
		log_warn("%s: its process dies too often and is not replaced",
			 dev->name);
		return false;
	}
	if (dev->respawns_used++ == 0)
		dev->respawn_back_ns = now + VIRTIO_MMIO_RESPAWN_BACK_NS;
	return true;
}

bool mmio_respawn_begin(struct virtio_mmio *dev)
{
	/* A replacement that dies before the resume would do so for ever. */
	return dev->ops->respawn && dev->life == VIRTIO_MMIO_ALIVE &&
	       mmio_is_suspended(dev) &&
	       !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET) &&
	       draw_respawn(dev);
}

static void give_up(struct virtio_mmio *dev, const char *why)
{
	if (mmio_is_up(dev))
		mmio_needs_reset(dev, why);
}

void mmio_respawn_fenced(struct virtio_mmio *dev)
{
	if (dev->life == VIRTIO_MMIO_LOST)
		give_up(dev, "its dead process still has I/O in flight");
	else if (dev->ops->respawn(dev) < 0)
		give_up(dev, "its process could not be replaced");
	mmio_run_pending(dev);
}

static void respawned(struct virtio_mmio *dev, int r)
{
	uint64_t wanted = dev->acked & ~VIRTIO_MMIO_SUSPEND_BOTH;

	if (dev->life != VIRTIO_MMIO_RESPAWNING) /* it has died meanwhile */
		return;
	mmio_set_life(dev, VIRTIO_MMIO_RESPAWNED);
	if (r < 0) {
		give_up(dev, "its new process did not answer");
	} else if (!mmio_is_up(dev)) { /* reset meanwhile */
		mmio_publish_config(dev, false);
	} else if (wanted & ~dev->fe.features) {
		give_up(dev, "its new process is another device");
	} else {
		/* Told on resume, if it is not what the driver knows. */
		dev->config_refresh_wanted = true;
	}
}

int virtio_mmio_respawn(struct virtio_mmio *dev, int vhost_fd)
{
	struct frontend old = dev->fe;
	int r;

	frontend_finish(&dev->fe);
	r = frontend_init(&dev->fe, dev->loop, vhost_fd, dev->gm,
			  old.deadline_ns);
	dev->fe.on_failed = old.on_failed;
	dev->fe.messages = old.messages;
	memcpy(dev->fe.config, old.config, sizeof(old.config));
	/* Where each ring was stopped. */
	memcpy(dev->fe.rings, old.rings, sizeof(old.rings));
	if (r < 0)
		return r;
	mmio_set_life(dev, VIRTIO_MMIO_RESPAWNING);
	dev->used = false;
	mmio_handshake(dev, VIRTIO_OP_RESPAWN, respawned);
	return 0;
}
