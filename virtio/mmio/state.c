/* SPDX-License-Identifier: BSD-3-Clause */
/* States of the device, their transitions, and what a fault does to them. */
#include <assert.h>

#include "virtio/mmio/internal.h"
#include "virtio/mmio/page.h"
#include "vmm/base/log.h"

#define STATE_BIT(n) (1U << (n))

void mmio_set_life(struct virtio_mmio *dev, enum virtio_mmio_life life)
{
	static const uint8_t next[] = {
		[VIRTIO_MMIO_ALIVE] = STATE_BIT(VIRTIO_MMIO_DYING) |
				      STATE_BIT(VIRTIO_MMIO_REPLACING),
		[VIRTIO_MMIO_DYING] = STATE_BIT(VIRTIO_MMIO_FENCED) |
				      STATE_BIT(VIRTIO_MMIO_LOST),
		[VIRTIO_MMIO_FENCED] = STATE_BIT(VIRTIO_MMIO_RESPAWNING),
		[VIRTIO_MMIO_LOST] = STATE_BIT(VIRTIO_MMIO_FENCED),
		[VIRTIO_MMIO_REPLACING] = STATE_BIT(VIRTIO_MMIO_FENCED) |
					  STATE_BIT(VIRTIO_MMIO_LOST),
		[VIRTIO_MMIO_RESPAWNING] = STATE_BIT(VIRTIO_MMIO_RESPAWNED) |
					   STATE_BIT(VIRTIO_MMIO_DYING),
		[VIRTIO_MMIO_RESPAWNED] = STATE_BIT(VIRTIO_MMIO_ALIVE) |
					  STATE_BIT(VIRTIO_MMIO_DYING),
	};

	assert(next[dev->life] & STATE_BIT(life));
	dev->life = life;
}

void mmio_set_run(struct virtio_mmio *dev, enum virtio_mmio_run run)
{
	static const uint8_t next[] = {
		[VIRTIO_MMIO_RUNNING] = STATE_BIT(VIRTIO_MMIO_QUIESCING) |
					STATE_BIT(VIRTIO_MMIO_HELD),
		[VIRTIO_MMIO_QUIESCING] = STATE_BIT(VIRTIO_MMIO_QUIESCED) |
					  STATE_BIT(VIRTIO_MMIO_HELD) |
					  STATE_BIT(VIRTIO_MMIO_RESTARTING) |
					  STATE_BIT(VIRTIO_MMIO_RUNNING),
		[VIRTIO_MMIO_QUIESCED] = STATE_BIT(VIRTIO_MMIO_RESTARTING) |
					 STATE_BIT(VIRTIO_MMIO_RUNNING),
		[VIRTIO_MMIO_HELD] = STATE_BIT(VIRTIO_MMIO_QUIESCING) |
				     STATE_BIT(VIRTIO_MMIO_RUNNING),
		[VIRTIO_MMIO_RESTARTING] = STATE_BIT(VIRTIO_MMIO_QUIESCING) |
					   STATE_BIT(VIRTIO_MMIO_RUNNING),
	};

	/* The coordinator may ask for the same twice. */
	assert(run == dev->run || next[dev->run] & STATE_BIT(run));
	dev->run = run;
}

void mmio_was_of_use(struct virtio_mmio *dev)
{
	if (dev->life == VIRTIO_MMIO_RESPAWNED)
		mmio_set_life(dev, VIRTIO_MMIO_ALIVE);
}

bool virtio_mmio_is_live(const struct virtio_mmio *dev)
{
	return dev->status & VIRTIO_CONFIG_S_DRIVER_OK &&
	       !(dev->status & (VIRTIO_CONFIG_S_NEEDS_RESET | MMIO_S_SUSPEND));
}

bool mmio_any_started(const struct virtio_mmio *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		if (dev->fe.rings[i].started)
			return true;
	}
	return false;
}

void mmio_let_go(struct mailbox_item **item)
{
	struct mailbox_item *waits = *item;

	*item = NULL;
	if (waits)
		mailbox_complete(waits);
}

void mmio_forget_suspend(struct virtio_mmio *dev)
{
	loop_timer_cancel(dev->loop, &dev->suspend.timer);
	dev->suspend.wanted = false;
	dev->suspend.stopped = false;
	dev->suspend.reset_waits = false;
	mmio_let_go(&dev->suspend.item);
}

void mmio_needs_reset(struct virtio_mmio *dev, const char *why)
{
	static struct log_limit limit;

	if (dev->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	log_limited(&limit, "%s needs reset: %s", dev->name, why);
	mmio_publish_status(dev, dev->status | VIRTIO_CONFIG_S_NEEDS_RESET);
	/* A suspended one must not notify; its driver looks when it resumes. */
	if (!mmio_is_suspended(dev) && mmio_is_up(dev))
		mmio_raise_config(dev);
	mmio_forget_suspend(dev);
	dev->break_wanted = true;
}
