/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest of tests/bench/counts.sh: starts a disk, a network card, a
 * console and an entropy device, has each do something, then reads the disk
 * and receives packets many times between markers. At a marker it prints a
 * line and waits for a byte on COM1; between two it exits for nothing but the
 * requests. The words virtio-base, -stride and -slots find the devices under
 * other VMMs. Words: n=TIMES (200).
 */
#include "guest/payloads/virtio.h"

#define SECTOR	   512U
#define NET_RX	   0
#define NET_TX	   1
#define NET_HDR	   12U
#define ETH_MIN	   60U
#define RX_BYTES   2048U
#define RX_BUFFERS 64U

static uint64_t times;
static struct vio_dev *disk, *net, *console, *rng;
static uint8_t frame[NET_HDR + ETH_MIN];

static void marker(const char *what, const char *name)
{
	print("%s %s n=%lu\n", what, name, times);
	(void)serial_getc();
}

/* What an interrupt handler does, once a request. */
static void acknowledge(struct vio_dev *dev)
{
	uint32_t bits = vio_read(dev, VIRTIO_MMIO_INTERRUPT_STATUS);

	if (bits)
		vio_write(dev, VIRTIO_MMIO_INTERRUPT_ACK, bits);
}

static void wait_used(struct vio_queue *q, uint16_t want)
{
	const volatile uint16_t *used = &q->used->idx;

	/* There may be more already. */
	while ((int16_t)(*used - want) < 0)
		barrier();
	q->last_used = want;
}

/* Kicks unless the device said that it is looking anyway. */
static void notify(struct vio_dev *dev, struct vio_queue *q)
{
	const volatile uint16_t *flags = &q->used->flags;

	if (!(*flags & VRING_USED_F_NO_NOTIFY))
		vio_kick(dev, q->index);
}

static void phase_blk(void)
{
	static struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN };
	static uint8_t data[SECTOR];
	static volatile uint8_t status;
	const struct vio_buf bufs[3] = { { &hdr, sizeof(hdr) },
					 { data, sizeof(data) },
					 { &status, 1 } };
	struct vio_queue *q = &disk->queues[0];
	uint64_t ok = 0;

	vio_chain_set(q, 0, bufs, 1, 2);
	marker("READY", "blk");
	for (uint64_t i = 0; i < times; i++) {
		status = 0xa5;
		vio_publish(q, 0);
		notify(disk, q);
		wait_used(q, q->avail_idx);
		acknowledge(disk);
		ok += status == VIRTIO_BLK_S_OK;
	}
	marker("END", "blk");
	check_eq("blk", ok, times);
}

/* A ring full of buffers, each given back as soon as it was used. */
static void phase_net(void)
{
	struct vio_queue *q = &net->queues[NET_RX];
	uint8_t *received = vio_alloc(RX_BUFFERS * RX_BYTES);
	uint64_t packets = 0;

	for (uint16_t i = 0; i < RX_BUFFERS; i++) {
		const struct vio_buf in = { received + i * RX_BYTES, RX_BYTES };

		vio_chain_set(q, i, &in, 0, 1);
		vio_publish(q, i);
	}
	vio_kick(net, NET_RX);
	marker("READY", "net");
	while (packets < times) {
		uint32_t head;

		wait_used(q, (uint16_t)(q->last_used + 1));
		head = q->used->ring[(q->last_used - 1) & (q->size - 1)].id;
		acknowledge(net);
		vio_publish(q, (uint16_t)head);
		notify(net, q);
		packets++;
	}
	marker("END", "net");
}

static bool start_devices(void)
{
	vio_probe();
	disk = vio_find(VIRTIO_ID_BLOCK, 0);
	net = vio_find(VIRTIO_ID_NET, 0);
	console = vio_find(VIRTIO_ID_CONSOLE, 0);
	rng = vio_find(VIRTIO_ID_RNG, 0);
	return disk && net && console && rng && vio_start(disk, 0, 1) &&
	       vio_start(net, 0, 2) && vio_start(console, 0, 2) &&
	       vio_start(rng, 0, 1);
}

/* A request of each, so that each has touched what it works with. */
static bool use_devices(void)
{
	static uint8_t sector[SECTOR], random[16];
	static const char hello[] = "hello\n";
	const struct vio_buf to_console = { hello, sizeof(hello) - 1 };
	const struct vio_buf to_net = { frame, sizeof(frame) };
	const struct vio_buf from_rng = { random, sizeof(random) };

	memset(frame + NET_HDR, 0xff, 6);
	return vio_blk_request(disk, VIRTIO_BLK_T_IN, 0, sector, SECTOR) ==
		       VIRTIO_BLK_S_OK &&
	       vio_request(console, 1, &to_console, 1, 0, NULL) &&
	       vio_request(rng, 0, &from_rng, 0, 1, NULL) &&
	       vio_request(net, NET_TX, &to_net, 1, 0, NULL);
}

void payload_main(void)
{
	times = param_u64("n", 200);
	if (!start_devices() || !use_devices()) {
		print("FAIL a device is not there or does not answer\n");
		return;
	}
	marker("READY", "memory");
	phase_blk();
	phase_net();
	done();
}
