/* SPDX-License-Identifier: BSD-3-Clause */
/* VIRTIO_F_SUSPEND misused, as in virtio 1.4 and as in its draft. */
#include "guest/payloads/hostile.h"

#define V14   VIO_BIT(43)
#define DRAFT VIO_BIT(42)

#define SUSPEND	      0x10U
#define LIVE_SUSPEND  (VIO_STATUS_LIVE | SUSPEND)
#define STORM	      100
#define DRIVER_OK_BIT VIRTIO_CONFIG_S_DRIVER_OK

static bool is_draft(const struct vio_dev *dev)
{
	return dev->features & DRAFT;
}

static uint32_t suspended(const struct vio_dev *dev)
{
	return is_draft(dev) ? LIVE_SUSPEND : LIVE_SUSPEND & ~DRIVER_OK_BIT;
}

/* Writes Status until it reads @want. */
static bool write_until(struct vio_dev *dev, uint32_t value, uint32_t want)
{
	struct deadline d = deadline_in(VIO_WAIT_S);

	vio_write(dev, VIRTIO_MMIO_STATUS, value);
	while (vio_status(dev) != want) {
		if (deadline_over(&d) ||
		    vio_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET)
			return false;
	}
	return true;
}

static bool go_down(struct vio_dev *dev)
{
	return write_until(dev, LIVE_SUSPEND, suspended(dev));
}

static bool go_up(struct vio_dev *dev)
{
	return write_until(dev, is_draft(dev) ? VIO_STATUS_LIVE : LIVE_SUSPEND,
			   VIO_STATUS_LIVE);
}

static uint16_t used_idx(struct vio_dev *dev)
{
	return *(volatile uint16_t *)&hostile_queue(dev)->used->idx;
}

static const char *not_negotiated(struct vio_dev *dev)
{
	vio_write(dev, VIRTIO_MMIO_STATUS, LIVE_SUSPEND);
	if (vio_status(dev) != VIO_STATUS_LIVE)
		return "suspended without the feature";
	return hostile_expect_works(dev);
}

static const char *too_early(struct vio_dev *dev)
{
	if (!vio_begin(dev, dev->features))
		return "handshake";
	vio_write(dev, VIRTIO_MMIO_STATUS, VIO_STATUS_DRIVING | SUSPEND);
	return vio_status(dev) == VIO_STATUS_DRIVING ? NULL : "status changed";
}

static const char *after_failed(struct vio_dev *dev)
{
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  VIO_STATUS_LIVE | VIRTIO_CONFIG_S_FAILED);
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  LIVE_SUSPEND | VIRTIO_CONFIG_S_FAILED);
	return vio_status(dev) & SUSPEND ? "suspended after FAILED" : NULL;
}

static const char *twice(struct vio_dev *dev)
{
	if (!go_down(dev))
		return "does not suspend";
	vio_write(dev, VIRTIO_MMIO_STATUS, suspended(dev));
	if (vio_status(dev) != suspended(dev))
		return "suspended twice is another status";
	if (!go_up(dev))
		return "does not resume";
	/* The same write again: in 1.4 that is the next suspend. */
	if (is_draft(dev) ? !go_up(dev) : !go_down(dev) || !go_up(dev))
		return "does not go on";
	return hostile_expect_works(dev);
}

/* What is made available while it is suspended is as if it came afterwards. */
static const char *used_while_suspended(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);
	uint32_t len;

	if (!go_down(dev))
		return "does not suspend";
	hostile_good_chain(dev);
	vio_publish(q, 0);
	for (int i = 0; i < 100; i++)
		vio_kick(dev, target->queue);
	vio_write(dev, VIRTIO_MMIO_QUEUE_NUM, 1);
	vio_write(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
	if (used_idx(dev) != 0)
		return "used while suspended";
	if (!go_up(dev))
		return "does not resume";
	if (!vio_wait_used(dev, q, NULL, &len))
		return "not used after the resume";
	return target->good(len) ? NULL : "not done";
}

static const char *in_flight(struct vio_dev *dev)
{
	uint16_t used;

	hostile_fly(dev);
	if (!go_down(dev))
		return "does not suspend";
	used = used_idx(dev);
	for (int i = 0; i < 200; i++)
		vio_kick(dev, target->queue);
	if (used != used_idx(dev))
		return "used after it was acknowledged";
	return go_up(dev) ? NULL : "does not resume";
}

static const char *reset_while_suspended(struct vio_dev *dev)
{
	uint64_t features = dev->features;

	for (int i = 0; i < 10; i++) {
		hostile_fly(dev);
		if (i % 2 == 0)
			vio_write(dev, VIRTIO_MMIO_STATUS, LIVE_SUSPEND);
		else if (!go_down(dev))
			return "does not suspend";
		if (!hostile_start(dev, features))
			return "does not start again at once";
	}
	return hostile_expect_works(dev);
}

static const char *storm(struct vio_dev *dev)
{
	struct deadline d = deadline_in(VIO_WAIT_S);

	for (int i = 0; i < STORM; i++) {
		vio_write(dev, VIRTIO_MMIO_STATUS, LIVE_SUSPEND);
		vio_write(dev, VIRTIO_MMIO_STATUS, VIO_STATUS_LIVE);
	}
	/* In 1.4 the last suspend may come still: it cannot be taken back. */
	hostile_good_chain(dev);
	vio_publish(hostile_queue(dev), 0);
	vio_kick(dev, target->queue);
	while (used_idx(dev) == 0) {
		if (deadline_over(&d))
			return "does not resume";
		if (vio_status(dev) == suspended(dev))
			vio_write(dev, VIRTIO_MMIO_STATUS,
				  is_draft(dev) ? VIO_STATUS_LIVE
						: LIVE_SUSPEND);
	}
	return NULL;
}

static const char *unready_while_suspended(struct vio_dev *dev)
{
	if (!go_down(dev))
		return "does not suspend";
	vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, target->queue);
	vio_write(dev, VIRTIO_MMIO_QUEUE_READY, 0);
	if (vio_read(dev, VIRTIO_MMIO_QUEUE_READY) != 0)
		return "still ready";
	vio_write(dev, VIRTIO_MMIO_QUEUE_READY, 1);
	if (vio_read(dev, VIRTIO_MMIO_QUEUE_READY) != 0)
		return "ready while suspended";
	return go_up(dev) ? NULL : "does not resume";
}

static const char *both_dialects(struct vio_dev *dev)
{
	if (~vio_offered(dev) & (V14 | DRAFT))
		return hostile_skip;
	vio_reset(dev);
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	vio_set_features(dev, V14 | DRAFT | VIO_BIT(VIRTIO_F_VERSION_1));
	vio_write(dev, VIRTIO_MMIO_STATUS, VIO_STATUS_DRIVING);
	return vio_status(dev) & VIRTIO_CONFIG_S_FEATURES_OK
		       ? "FEATURES_OK with both dialects"
		       : NULL;
}

const struct hostile_case hostile_suspend_cases[] = {
	{ "both-dialects", 0, both_dialects },
	{ "suspend-in-flight", V14, in_flight },
	{ "suspend-in-flight-draft", DRAFT, in_flight },
	{ "suspend-not-negotiated", 0, not_negotiated },
	{ "suspend-too-early", V14, too_early },
	{ "suspend-after-failed", V14, after_failed },
	{ "suspend-twice", V14, twice },
	{ "suspend-twice-draft", DRAFT, twice },
	{ "used-while-suspended", V14, used_while_suspended },
	{ "used-while-suspended-draft", DRAFT, used_while_suspended },
	{ "reset-while-suspended", V14, reset_while_suspended },
	{ "reset-while-suspended-draft", DRAFT, reset_while_suspended },
	{ "suspend-storm", V14, storm },
	{ "abort-storm-draft", DRAFT, storm },
	{ "unready-while-suspended", V14, unready_while_suspended },
	{ 0 },
};
