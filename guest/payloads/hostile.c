/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs the cases of hostile.h: for each it starts the device, does the bad
 * thing, looks at the answer, then resets and has one good request answered.
 * Word: only=PREFIX runs the cases whose name begins so. The first writable
 * disk is written to.
 */
#include "guest/payloads/hostile.h"

#define SCRATCH (128U << 10)

struct hostile_blk blk;

void hostile_good_chain(struct vio_dev *dev)
{
	const struct vio_buf bufs[3] = { { &blk.hdr, sizeof(blk.hdr) },
					 { blk.data, SECTOR },
					 { &blk.status, 1 } };

	blk.hdr = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	blk.status = 0xa5;
	vio_chain_set(&dev->queues[0], 0, bufs, 1, 2);
}

const char *hostile_expect_reset(struct vio_dev *dev, uint16_t head)
{
	struct deadline d = deadline_in(VIO_WAIT_S);

	vio_publish(&dev->queues[0], head);
	vio_kick(dev, 0);
	if (!vio_wait_needs_reset(dev))
		return "no DEVICE_NEEDS_RESET";
	while (!(vio_read(dev, VIRTIO_MMIO_INT_STATUS_REG) &
		 VIRTIO_INT_CONFIG)) {
		if (deadline_over(&d))
			return "no configuration change interrupt";
	}
	return NULL;
}

const char *hostile_expect_works(struct vio_dev *dev)
{
	struct vio_queue *q = &dev->queues[0];

	hostile_good_chain(dev);
	vio_publish(q, 0);
	vio_kick(dev, 0);
	if (!vio_wait_used(dev, q, NULL, NULL))
		return "no answer to a good request";
	return blk.status == VIRTIO_BLK_S_OK ? NULL : "good request failed";
}

static uint32_t queues_of(const struct vio_dev *dev, uint64_t features)
{
	switch (dev->id) {
	case VIRTIO_ID_NET:
		return features & VIO_BIT(17) ? 3 : 2; /* control queue */
	case VIRTIO_ID_CONSOLE:
		return 2;
	default:
		return 1;
	}
}

/* Resets and has one good request answered. */
static const char *recover(struct vio_dev *dev)
{
	const struct vio_buf out = { blk.data, 72 }, in = { blk.data, 16 };

	if (!vio_start(dev, 0, queues_of(dev, 0)))
		return "does not start again";
	if (vio_read(dev, VIRTIO_MMIO_INT_STATUS_REG) & VIRTIO_INT_CONFIG)
		return "interrupt status survived the reset";
	memset(blk.data, 0, 72);
	switch (dev->id) {
	case VIRTIO_ID_BLOCK:
		return hostile_expect_works(dev);
	case VIRTIO_ID_RNG:
		return vio_request(dev, 0, &in, 0, 1, NULL) ? NULL
							    : "no answer";
	default:
		return vio_request(dev, 1, &out, 1, 0, NULL) ? NULL
							     : "no answer";
	}
}

static bool selected(const char *name)
{
	char only[48];

	return !param_get("only", only, sizeof(only)) ||
	       memcmp(name, only, strlen(only)) == 0;
}

static void run_case(struct vio_dev *dev, const struct hostile_case *c)
{
	const char *why, *after;

	if (!selected(c->name))
		return;
	if ((vio_offered(dev) & c->features) != c->features) {
		skip(c->name, "feature not offered");
		return;
	}
	if (!vio_start(dev, c->features, queues_of(dev, c->features))) {
		result(c->name, "does not start");
		return;
	}
	why = c->run(dev);
	after = recover(dev);
	result(c->name, why ? why : after);
}

static void run_cases(uint32_t id, const struct hostile_case *cases)
{
	struct vio_dev *dev = vio_find(id, 0);

	for (; cases->run; cases++) {
		if (dev)
			run_case(dev, cases);
		else
			skip(cases->name, "no such device");
	}
}

void payload_main(void)
{
	blk.data = vio_alloc(SCRATCH);
	print("DEVICES found=%u\n", vio_probe());
	run_cases(VIRTIO_ID_BLOCK, hostile_ring_cases);
	run_cases(VIRTIO_ID_BLOCK, hostile_reg_cases);
	run_cases(VIRTIO_ID_BLOCK, hostile_blk_cases);
	run_cases(VIRTIO_ID_NET, hostile_net_cases);
	run_cases(VIRTIO_ID_CONSOLE, hostile_console_cases);
	run_cases(VIRTIO_ID_RNG, hostile_rng_cases);
	done();
}
