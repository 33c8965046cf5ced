/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starts a disk, a network card, a console and an entropy device, then waits
 * until the one named by the word victim=blk0|net0|console0|rng needs a reset
 * because its process was killed, and has each of the others answer a request.
 *
 * With the word suspended=1: gives the network card another address, suspends
 * it, says so, waits for a byte on the serial port, and resumes it.
 */
#include <linux/virtio_net.h>

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
	while (!(vio_read(dev, VIRTIO_MMIO_INTERRUPT_STATUS) &
		 VIRTIO_MMIO_INT_CONFIG)) {
		if (deadline_over(&d))
			return "no configuration change interrupt";
	}
	return NULL;
}

/* --- the card, suspended --- */

#define V14	  VIO_BIT(43)
#define SUSPEND	  (VIO_STATUS_LIVE | 0x10U)
#define SUSPENDED (SUSPEND & ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK)
#define HAS_ADDR                                                           \
	(V14 | VIO_BIT(VIRTIO_NET_F_MAC) | VIO_BIT(VIRTIO_NET_F_CTRL_VQ) | \
	 VIO_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))

static const uint8_t address[6] = { 2, 0, 0x11, 0x22, 0x33, 0x44 };

static bool has_address(const struct vio_dev *dev)
{
	for (uint32_t i = 0; i < sizeof(address); i++) {
		if (mmio_read8(dev->base + VIRTIO_MMIO_CONFIG + i) !=
		    address[i])
			return false;
	}
	return true;
}

static bool set_address(struct vio_dev *dev)
{
	static volatile uint8_t ack = 0xa5;
	const struct vio_buf bufs[2] = { { data, 2 + sizeof(address) },
					 { &ack, 1 } };

	data[0] = VIRTIO_NET_CTRL_MAC;
	data[1] = VIRTIO_NET_CTRL_MAC_ADDR_SET;
	memcpy(data + 2, address, sizeof(address));
	return vio_request(dev, 2, bufs, 1, 1, NULL) && ack == VIRTIO_NET_OK;
}

static bool status_becomes(struct vio_dev *dev, uint32_t want)
{
	struct deadline d = deadline_in(VIO_WAIT_S);

	vio_write(dev, VIRTIO_MMIO_STATUS, SUSPEND);
	while (vio_status(dev) != want) {
		if (deadline_over(&d))
			return false;
	}
	return true;
}

static void card_suspended(void)
{
	struct vio_dev *dev = vio_find(VIRTIO_ID_NET, 0);

	if (!dev || !vio_start(dev, HAS_ADDR, 3)) {
		result("card", "missing, or does not start");
		done();
		return;
	}
	/* Not a moment later. */
	check("address-is-set", set_address(dev) && has_address(dev));
	check("suspends", status_becomes(dev, SUSPENDED));
	print("READY suspended\n");
	(void)serial_getc();
	check("resumes", status_becomes(dev, VIO_STATUS_LIVE));
	check("answers", answers(dev));
	check("address-is-kept", has_address(dev));
	done();
}

void payload_main(void)
{
	struct vio_dev *devs[ARRAY_SIZE(roles)], *victim = NULL;
	char name[VICTIM_MAX] = "";

	(void)param_get("victim", name, sizeof(name));
	vio_probe();
	if (param_u64("suspended", 0)) {
		card_suspended();
		return;
	}
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
