/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starts a disk, a network card, a console and an entropy device, then waits
 * until the one named by the word victim=blk0|net0|console0|rng needs a reset
 * because its process was killed, and has each of the others answer a request.
 */
#include "guest/payloads/virtio.h"

#define SECTOR	   512U
#define TX_BYTES   72U
#define VICTIM_MAX 16
#define KILLED_S   30 /* time for a test to kill it */

struct role {
	const char *name;
	uint32_t id;
	uint32_t nr_queues;
};

static const struct role roles[] = {
	{ "blk0", VIRTIO_ID_BLOCK, 1 },
	{ "net0", VIRTIO_ID_NET, 2 },
	{ "console0", VIRTIO_ID_CONSOLE, 2 },
	{ "rng", VIRTIO_ID_RNG, 1 },
};

static uint8_t data[SECTOR];

static bool answers(struct vio_dev *dev)
{
	const struct vio_buf out = { data, TX_BYTES }, in = { data, 16 };

	switch (dev->id) {
	case VIRTIO_ID_BLOCK:
		return vio_blk_request(dev, VIRTIO_BLK_T_IN, 0, data, SECTOR) ==
		       VIRTIO_BLK_S_OK;
	case VIRTIO_ID_RNG:
		return vio_request(dev, 0, &in, 0, 1, NULL);
	default:
		memset(data, 0, TX_BYTES);
		return vio_request(dev, 1, &out, 1, 0, NULL);
	}
}

static const char *await_death(struct vio_dev *dev)
{
	struct deadline d = deadline_in(KILLED_S);

	while (!(vio_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		if (deadline_over(&d))
			return "no DEVICE_NEEDS_RESET";
	}
	while (!(vio_read(dev, VIRTIO_MMIO_INT_STATUS_REG) &
		 VIRTIO_INT_CONFIG)) {
		if (deadline_over(&d))
			return "no configuration change interrupt";
	}
	return NULL;
}

void payload_main(void)
{
	struct vio_dev *devs[ARRAY_SIZE(roles)], *victim = NULL;
	char name[VICTIM_MAX] = "";

	(void)param_get("victim", name, sizeof(name));
	vio_probe();
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		devs[i] = vio_find(roles[i].id, 0);
		if (!devs[i] || !vio_start(devs[i], 0, roles[i].nr_queues)) {
			result(roles[i].name, "missing, or does not start");
			done();
			return;
		}
		if (memcmp(name, roles[i].name, strlen(roles[i].name) + 1) == 0)
			victim = devs[i];
	}
	print("READY victim=%s\n", name);
	result("needs-reset", victim ? await_death(victim) : "no such device");
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		if (devs[i] != victim)
			check(roles[i].name, answers(devs[i]));
	}
	/* It does not come back, and says so: no reset is pretended. */
	check("stays-broken", victim && !vio_start(victim, 0, 1));
	done();
}
