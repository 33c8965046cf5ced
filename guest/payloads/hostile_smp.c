/* SPDX-License-Identifier: BSD-3-Clause */
/* Two vCPUs write the registers of one device. See hostile.h. */
#include "guest/payloads/hostile.h"
#include "guest/payloads/smp.h"

#define RACE_ROUNDS 60

static struct vio_dev *raced;
static volatile bool race_over, race_ended;
static volatile uint32_t race_writes;

/* The other vCPU: what the transport has to put in order. */
static void race_main(void)
{
	static const struct {
		uint32_t reg, value;
	} writes[] = {
		{ VIRTIO_MMIO_STATUS, 0 },
		{ VIRTIO_MMIO_QUEUE_SEL, 0 },
		{ VIRTIO_MMIO_STATUS, VIO_STATUS_LIVE | 0x10 },
		{ VIRTIO_MMIO_QUEUE_READY, 0 },
		{ VIRTIO_MMIO_QUEUE_SEL, 0xffffffff },
		{ VIRTIO_MMIO_STATUS, VIO_STATUS_LIVE },
		{ VIRTIO_MMIO_INTERRUPT_ACK, 3 },
	};

	for (uint32_t i = 0; !race_over; i = (i + 1) % ARRAY_SIZE(writes)) {
		vio_write(raced, writes[i].reg, writes[i].value);
		race_writes++;
	}
	race_ended = true;
}

static const char *two_vcpus(struct vio_dev *dev)
{
	struct deadline d;

	raced = dev;
	race_over = race_ended = false;
	race_writes = 0;
	if (!smp_start(race_main))
		return "the second CPU does not start";
	for (int i = 0; i < RACE_ROUNDS; i++) {
		if (hostile_start(dev, dev->features))
			hostile_fly(dev);
	}
	race_over = true;
	/* Its last write may wait for the host; one that never ends is seen. */
	d = deadline_in(VIO_WAIT_S);
	while (!race_ended) {
		if (deadline_over(&d))
			return "a write of the second CPU does not end";
	}
	return race_writes > RACE_ROUNDS ? NULL : "the second CPU was stopped";
}

const struct hostile_case hostile_smp_cases[] = {
	{ "two-vcpus", 0, two_vcpus },
	{ "two-vcpus-suspend", VIO_BIT(43), two_vcpus },
	{ 0 },
};
