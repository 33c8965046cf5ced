/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk whose process is killed with a read and a write in flight. Says
 * SUBMITTED, waits until the device needs a reset, resets it, and says RESET
 * once Status reads 0: from then on neither the buffers nor the rings may
 * change any more, for as many seconds as the word watch=S says (8). Says
 * whether the read came in late, between death and reset: only then has the
 * test tested something.
 */
#include "guest/payloads/virtio.h"

#define BLOCK	      4096U
#define SECTOR	      512U
#define READ_SECTOR   0U
#define WRITE_SECTOR  64U
#define PATTERN_READ  0x11
#define PATTERN_WRITE 0x22
#define DEATH_S	      60

struct request {
	struct virtio_blk_outhdr hdr;
	volatile uint8_t status;
	uint8_t *data;
};

static struct request requests[2];
static uint8_t *before; /* what the data of the read was at the reset */

static void submit(struct vio_dev *dev, unsigned int i, uint32_t type,
		   uint64_t sector, int pattern)
{
	struct request *r = &requests[i];
	const struct vio_buf bufs[3] = { { &r->hdr, sizeof(r->hdr) },
					 { r->data, BLOCK },
					 { &r->status, 1 } };
	bool out = type == VIRTIO_BLK_T_OUT;

	r->hdr = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	r->status = 0xa5;
	memset(r->data, pattern, BLOCK);
	vio_chain_set(&dev->queues[0], (uint16_t)(i * 4), bufs, out ? 2 : 1,
		      out ? 1 : 2);
	vio_publish(&dev->queues[0], (uint16_t)(i * 4));
}

static const char *await_death(struct vio_dev *dev)
{
	struct deadline d = deadline_in(DEATH_S);

	while (!(vio_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		if (deadline_over(&d))
			return "no DEVICE_NEEDS_RESET";
	}
	return NULL;
}

/* A difference somewhere in the page: a few words of it, in turn. */
static bool changed(unsigned int turn)
{
	const volatile uint64_t *now = (void *)requests[0].data;
	const uint64_t *then = (void *)before;
	unsigned int at = turn % (BLOCK / 64) * 8;

	return now[at] != then[at] || now[at + 7] != then[at + 7];
}

static const char *watch(const struct vio_dev *dev)
{
	struct deadline d = deadline_in((uint32_t)param_u64("watch", 8));
	const volatile uint16_t *used = &dev->queues[0].used->idx;
	uint16_t used_then = *used;
	const uint8_t status_then[2] = { requests[0].status,
					 requests[1].status };

	for (unsigned int turn = 0; !deadline_over(&d); turn++) {
		if (changed(turn))
			return "guest memory changed after the reset";
		if (*used != used_then ||
		    requests[0].status != status_then[0] ||
		    requests[1].status != status_then[1])
			return "a request was answered after the reset";
	}
	return memcmp(requests[0].data, before, BLOCK)
		       ? "guest memory changed after the reset"
		       : NULL;
}

void payload_main(void)
{
	struct vio_dev *dev;
	const char *why;

	requests[0].data = vio_alloc(BLOCK);
	requests[1].data = vio_alloc(BLOCK);
	before = vio_alloc(BLOCK);
	vio_probe();
	dev = vio_find(VIRTIO_ID_BLOCK, 0);
	if (!dev || !vio_start(dev, 0, 1)) {
		result("disk", "missing, or does not start");
		done();
		return;
	}
	submit(dev, 0, VIRTIO_BLK_T_IN, READ_SECTOR, PATTERN_READ);
	submit(dev, 1, VIRTIO_BLK_T_OUT, WRITE_SECTOR, PATTERN_WRITE);
	vio_kick(dev, 0);
	print("SUBMITTED\n");
	why = await_death(dev);
	result("needs-reset", why);
	print("%s\n",
	      requests[0].data[0] == PATTERN_READ ? "IN-FLIGHT" : "FINISHED");
	vio_write(dev, VIRTIO_MMIO_STATUS, 0);
	check("status-reads-0", vio_status(dev) == 0);
	memcpy(before, requests[0].data, BLOCK);
	print("RESET read=%s\n", before[0] == PATTERN_READ ? "never" : "late");
	result("nothing-changes-after-the-reset", why ? why : watch(dev));
	done();
}
