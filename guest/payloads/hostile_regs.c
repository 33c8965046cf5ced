/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers misused. See hostile.h. */
#include "guest/payloads/hostile.h"

#define ACK_DRIVER (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)

static const char *unless(bool ok, const char *why)
{
	return ok ? NULL : why;
}

/* Up to FEATURES_OK, the queue programmed well but not enabled. */
static bool begin_unready(struct vio_dev *dev)
{
	if (!vio_begin(dev, target->features))
		return false;
	vio_queue_program(dev, target->queue, 8);
	return true;
}

static bool takes_ready(struct vio_dev *dev, uint32_t value)
{
	vio_write(dev, VIRTIO_MMIO_QUEUE_READY, value);
	return vio_read(dev, VIRTIO_MMIO_QUEUE_READY) != 0;
}

static const char *bad_sizes(struct vio_dev *dev)
{
	uint32_t max;

	vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, target->queue);
	max = vio_read(dev, VIRTIO_MMIO_QUEUE_NUM_MAX);
	const uint32_t sizes[] = { 0,	      3,	max + 1,   max * 2,
				   65536 + 8, 1U << 31, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (!begin_unready(dev))
			return "handshake";
		vio_write(dev, VIRTIO_MMIO_QUEUE_NUM, sizes[i]);
		if (takes_ready(dev, 1))
			return "took a queue size it must refuse";
	}
	return NULL;
}

static const char *bad_addresses(struct vio_dev *dev)
{
	const struct {
		uint32_t reg, lo, hi;
	} bad[] = {
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, 0x200008, 0 },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x200001, 0 },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, 0x200002, 0 },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, 0xfffffff0, 0xffffffff },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0xfffffffe, 0xffffffff },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, 0xfffffffc, 0xffffffff },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, LAYOUT_VIRTIO_BASE, 0 },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, LAYOUT_LAPIC, 0 },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)runtime_ram_end() - 4,
		  0 },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)runtime_ram_end() - 16,
		  0 },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, 0, 0x00100000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (!begin_unready(dev))
			return "handshake";
		vio_write(dev, bad[i].reg, bad[i].lo);
		vio_write(dev, bad[i].reg + 4, bad[i].hi);
		if (takes_ready(dev, 1))
			return "took a ring address it must refuse";
	}
	return NULL;
}

static const char *overlapping_rings(struct vio_dev *dev)
{
	struct vio_queue *q = hostile_queue(dev);

	if (!begin_unready(dev))
		return "handshake";
	vio_write(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		  (uint32_t)(uint64_t)q->desc);
	vio_write(dev, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)(uint64_t)q->desc);
	(void)takes_ready(dev, 1);
	vio_write(dev, VIRTIO_MMIO_STATUS, VIO_STATUS_LIVE);
	hostile_good_chain(dev);
	for (int i = 0; i < 8; i++)
		vio_kick(dev, target->queue);
	return NULL; /* whatever it does, it must come back */
}

static const char *rewritten_while_ready(struct vio_dev *dev)
{
	vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, target->queue);
	vio_write(dev, VIRTIO_MMIO_QUEUE_NUM, 1);
	for (uint32_t reg = VIRTIO_MMIO_QUEUE_DESC_LOW;
	     reg <= VIRTIO_MMIO_QUEUE_USED_HIGH; reg += 4)
		vio_write(dev, reg, 0xdeadbeef);
	return hostile_expect_works(dev);
}

static const char *ready_too_early(struct vio_dev *dev)
{
	vio_reset(dev);
	vio_write(dev, VIRTIO_MMIO_STATUS, ACK_DRIVER);
	vio_queue_program(dev, target->queue, 8);
	return unless(!takes_ready(dev, 1), "ready before FEATURES_OK");
}

static const char *ready_too_late(struct vio_dev *dev)
{
	if (!begin_unready(dev))
		return "handshake";
	vio_write(dev, VIRTIO_MMIO_STATUS, VIO_STATUS_LIVE);
	return unless(!takes_ready(dev, 1), "ready after DRIVER_OK");
}

static const char *ready_2(struct vio_dev *dev)
{
	if (!begin_unready(dev))
		return "handshake";
	return unless(!takes_ready(dev, 2), "took QueueReady 2");
}

static const char *driver_ok_first(struct vio_dev *dev)
{
	vio_reset(dev);
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  ACK_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
	return unless(!(vio_status(dev) & VIRTIO_CONFIG_S_DRIVER_OK),
		      "live without FEATURES_OK");
}

static const char *features_ok_first(struct vio_dev *dev)
{
	vio_reset(dev);
	vio_set_features(dev, VIO_BIT(VIRTIO_F_VERSION_1));
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_FEATURES_OK);
	return unless(!(vio_status(dev) & VIRTIO_CONFIG_S_FEATURES_OK),
		      "FEATURES_OK without DRIVER");
}

static const char *failed_goes_live(struct vio_dev *dev)
{
	if (!begin_unready(dev))
		return "handshake";
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  VIO_STATUS_DRIVING | VIRTIO_CONFIG_S_FAILED);
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  VIO_STATUS_LIVE | VIRTIO_CONFIG_S_FAILED);
	return unless(!(vio_status(dev) & VIRTIO_CONFIG_S_DRIVER_OK),
		      "live after FAILED");
}

static bool features_ok(struct vio_dev *dev, uint64_t features, uint32_t word2)
{
	vio_reset(dev);
	vio_write(dev, VIRTIO_MMIO_STATUS, ACK_DRIVER);
	vio_set_features(dev, features);
	vio_write(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	vio_write(dev, VIRTIO_MMIO_DRIVER_FEATURES, word2);
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  ACK_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	return vio_status(dev) & VIRTIO_CONFIG_S_FEATURES_OK;
}

static const char *bad_features(struct vio_dev *dev)
{
	const uint64_t v1 = VIO_BIT(VIRTIO_F_VERSION_1);
	uint64_t missing = ~vio_offered(dev);

	if (features_ok(dev, 0, 0))
		return "FEATURES_OK without VERSION_1";
	if (features_ok(dev, v1 | (missing & -missing), 0))
		return "FEATURES_OK with a bit not offered";
	if (features_ok(dev, v1 | VIO_BIT(63), 0))
		return "FEATURES_OK with bit 63";
	if (features_ok(dev, v1, 1))
		return "FEATURES_OK with bit 64";
	return unless(features_ok(dev, v1, 0), "no FEATURES_OK at all");
}

static const char *features_too_late(struct vio_dev *dev)
{
	vio_set_features(dev, 0);
	if (vio_status(dev) != VIO_STATUS_LIVE)
		return "status changed";
	return hostile_expect_works(dev);
}

static const char *status_bits(struct vio_dev *dev)
{
	static const uint32_t writes[] = { 0x04, 0x01, 0x0e,
					   0x20, 0x40, 0xffffff00 };

	for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
		vio_write(dev, VIRTIO_MMIO_STATUS, writes[i]);
		if ((vio_status(dev) & ~0x80U) != VIO_STATUS_LIVE)
			return "status bits cleared or invented";
	}
	return hostile_expect_works(dev);
}

static const char *stray_kicks(struct vio_dev *dev)
{
	vio_reset(dev);
	for (uint32_t i = 0; i < 64; i++)
		vio_kick(dev, i % 4 ? i : target->queue);
	if (!begin_unready(dev))
		return "handshake";
	for (uint32_t i = 0; i < 64; i++)
		vio_kick(dev, target->queue);
	vio_kick(dev, 0xffffffff);
	vio_kick(dev, 0x10000);
	return unless(vio_status(dev) == VIO_STATUS_DRIVING, "status changed");
}

static const char *kick_storm(struct vio_dev *dev)
{
	for (uint32_t i = 0; i < 2000; i++)
		vio_kick(dev, target->queue);
	return hostile_expect_works(dev);
}

static const char *acknowledge_all(struct vio_dev *dev)
{
	vio_write(dev, VIRTIO_MMIO_INTERRUPT_ACK, 0xffffffff);
	if (vio_read(dev, VIRTIO_MMIO_INTERRUPT_STATUS) != 0)
		return "interrupt status not clear";
	return hostile_expect_works(dev);
}

static void write_odd_widths(uint64_t at)
{
	*(volatile uint8_t *)at = 0;
	*(volatile uint16_t *)at = 0;
	*(volatile uint64_t *)at = 0;
	mmio_write32(at + 1, 0);
	mmio_write32(at + 2, 0);
}

static const char *odd_accesses(struct vio_dev *dev)
{
	uint64_t end = param_u64("virtio-stride", LAYOUT_VIRTIO_STRIDE);
	uint64_t sum = 0;

	write_odd_widths(dev->base + VIRTIO_MMIO_STATUS);
	write_odd_widths(dev->base + VIRTIO_MMIO_QUEUE_READY - 4);
	write_odd_widths(dev->base + VIRTIO_MMIO_MAGIC_VALUE);
	if (vio_status(dev) != VIO_STATUS_LIVE)
		return "a write of another width took effect";
	for (uint64_t at = 0; at + 8 <= end; at += end > 512 ? 68 : 12) {
		sum += mmio_read8(dev->base + at + 1);
		sum += mmio_read16(dev->base + at + 1);
		sum += *(volatile uint64_t *)(dev->base + at);
	}
	for (uint64_t at = 0x104; at < end; at += end / 16)
		mmio_write32(dev->base + at, (uint32_t)sum);
	/* Half in ConfigGeneration, half in config space. */
	*(volatile uint64_t *)(dev->base + 0xfc) = ~0ULL;
	*(volatile uint32_t *)(dev->base + end - 4) = 1;
	return hostile_expect_works(dev);
}

static const char *read_only_registers(struct vio_dev *dev)
{
	static const uint32_t regs[] = {
		VIRTIO_MMIO_MAGIC_VALUE,      VIRTIO_MMIO_VERSION,
		VIRTIO_MMIO_DEVICE_ID,	      VIRTIO_MMIO_VENDOR_ID,
		VIRTIO_MMIO_DEVICE_FEATURES,  VIRTIO_MMIO_QUEUE_NUM_MAX,
		VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_CONFIG_GENERATION
	};

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		uint32_t before = vio_read(dev, regs[i]);

		vio_write(dev, regs[i], ~before);
		if (vio_read(dev, regs[i]) != before)
			return "a read-only register took a write";
	}
	return hostile_expect_works(dev);
}

static void mark(void)
{
	for (uint32_t i = 0; i < HOSTILE_SLOTS; i++)
		*(volatile uint64_t *)(hostile_data + i * 4096) = 0x6d61726b;
}

/* But for slot 0, in which a good request may have been answered since. */
static bool marked(void)
{
	for (uint32_t i = 1; i < HOSTILE_SLOTS; i++) {
		if (*(volatile uint64_t *)(hostile_data + i * 4096) !=
		    0x6d61726b)
			return false;
	}
	return true;
}

static const char *reset_in_flight(struct vio_dev *dev)
{
	for (int round = 0; round < 4; round++) {
		hostile_fly(dev);
		if (!vio_reset(dev))
			return "reset did not read 0";
		mark();
		if (!hostile_start(dev, 0))
			return "no start after it";
		if (hostile_expect_works(dev))
			return "no answer after it";
		if (!marked())
			return "memory was written after the reset";
	}
	return NULL;
}

static const char *unready_in_flight(struct vio_dev *dev)
{
	uint16_t used;

	hostile_fly(dev);
	vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, target->queue);
	vio_write(dev, VIRTIO_MMIO_QUEUE_READY, 0);
	if (vio_read(dev, VIRTIO_MMIO_QUEUE_READY) != 0)
		return "still ready";
	mark();
	used = *(volatile uint16_t *)&hostile_queue(dev)->used->idx;
	for (int i = 0; i < 200; i++)
		vio_kick(dev, target->queue);
	if (used != *(volatile uint16_t *)&hostile_queue(dev)->used->idx)
		return "the ring was used afterwards";
	return unless(marked(), "memory was written afterwards");
}

static const char *reset_storm(struct vio_dev *dev)
{
	for (int i = 0; i < 50; i++) {
		if (!hostile_start(dev, 0))
			return "no start";
		if (i % 2)
			hostile_fly(dev);
	}
	return NULL;
}

const struct hostile_case hostile_reg_cases[] = {
	{ "bad-queue-sizes", 0, bad_sizes },
	{ "bad-ring-addresses", 0, bad_addresses },
	{ "overlapping-rings", 0, overlapping_rings },
	{ "rewritten-while-ready", 0, rewritten_while_ready },
	{ "ready-before-features-ok", 0, ready_too_early },
	{ "ready-after-driver-ok", 0, ready_too_late },
	{ "ready-2", 0, ready_2 },
	{ "driver-ok-without-features-ok", 0, driver_ok_first },
	{ "features-ok-before-driver", 0, features_ok_first },
	{ "failed-then-driver-ok", 0, failed_goes_live },
	{ "bad-features", 0, bad_features },
	{ "features-after-features-ok", 0, features_too_late },
	{ "status-bits", 0, status_bits },
	{ "stray-kicks", 0, stray_kicks },
	{ "kick-storm", 0, kick_storm },
	{ "acknowledge-all", 0, acknowledge_all },
	{ "odd-accesses", 0, odd_accesses },
	{ "read-only-registers", 0, read_only_registers },
	{ "reset-in-flight", 0, reset_in_flight },
	{ "reset-storm", 0, reset_storm },
	{ "queue-not-ready-in-flight", 0, unready_in_flight },
	{ 0 },
};
