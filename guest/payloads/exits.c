/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does one thing many times between two markers, so that a test which watches
 * the exit counters from outside learns what the thing costs. For each phase
 * it prints "READY name", waits for a byte on COM1, does it, prints "END name"
 * and waits for a byte again. In a phase it touches nothing else: a disk
 * request is waited for in memory. Words: n=TIMES (1000).
 */
#include "guest/payloads/virtio.h"

#define SECTOR 512U

static uint64_t times;

static void marker(const char *what, const char *name)
{
	print("%s %s n=%lu\n", what, name, times);
	(void)serial_getc();
}

static void phase_reads(struct vio_dev *dev, const char *name, uint32_t reg)
{
	marker("READY", name);
	for (uint64_t i = 0; i < times; i++)
		(void)vio_read(dev, reg);
	marker("END", name);
}

static void phase_blk(struct vio_dev *dev)
{
	static struct virtio_blk_outhdr hdr;
	static uint8_t data[SECTOR];
	static volatile uint8_t status;
	const struct vio_buf bufs[3] = { { &hdr, sizeof(hdr) },
					 { data, sizeof(data) },
					 { &status, 1 } };
	struct vio_queue *q = &dev->queues[0];
	const volatile uint16_t *used = &q->used->idx;
	uint64_t ok = 0;

	hdr.type = VIRTIO_BLK_T_IN;
	vio_chain_set(q, 0, bufs, 1, 2);
	marker("READY", "blk-reads");
	for (uint64_t i = 0; i < times; i++) {
		status = 0xa5;
		vio_publish(q, 0);
		vio_kick(dev, 0);
		while (*used != q->avail_idx)
			barrier();
		vio_write(dev, VIRTIO_MMIO_INTERRUPT_ACK,
			  VIRTIO_MMIO_INT_VRING);
		ok += status == VIRTIO_BLK_S_OK;
	}
	marker("END", "blk-reads");
	check_eq("blk-reads", ok, times);
}

void payload_main(void)
{
	struct vio_dev *dev;

	times = param_u64("n", 1000);
	vio_probe();
	dev = vio_find(VIRTIO_ID_BLOCK, 0);
	if (!dev || !vio_start(dev, 0, 1)) {
		result("blk", "no disk, or it does not start");
		done();
		return;
	}
	phase_reads(dev, "magic", VIRTIO_MMIO_MAGIC_VALUE);
	phase_reads(dev, "interrupt-status", VIRTIO_MMIO_INTERRUPT_STATUS);
	phase_reads(dev, "status", VIRTIO_MMIO_STATUS);
	phase_reads(dev, "config-generation", VIRTIO_MMIO_CONFIG_GENERATION);
	phase_reads(dev, "config-space", VIRTIO_MMIO_CONFIG);
	phase_blk(dev);
	done();
}
