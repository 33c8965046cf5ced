/* SPDX-License-Identifier: BSD-3-Clause */
/* See virtio.h. */
#include "guest/payloads/virtio.h"

#define MAGIC	       0x74726976U
#define PAGE	       4096U
#define AVAIL_OFFSET   PAGE
#define USED_OFFSET    (2 * PAGE)
#define QUEUE_BYTES    (3 * PAGE)
#define UNKNOWN_STATUS 0xa5

struct blk_frame {
	struct virtio_blk_outhdr hdr;
	volatile uint8_t status;
};

static struct vio_dev devs[VIO_MAX_DEVS];
static unsigned int nr_devs;
static uint64_t alloc_next;

void *vio_alloc(size_t len)
{
	uint64_t at = alloc_next ? alloc_next : runtime_free_start();

	len = (len + PAGE - 1) & ~(size_t)(PAGE - 1);
	alloc_next = at + len;
	zero_pages((void *)at, len);
	return (void *)at;
}

static void queues_alloc(struct vio_dev *dev)
{
	uint8_t *mem = vio_alloc(VIO_MAX_QUEUES * QUEUE_BYTES);

	for (uint32_t i = 0; i < VIO_MAX_QUEUES; i++, mem += QUEUE_BYTES) {
		dev->queues[i] = (struct vio_queue){
			.index = i,
			.desc = (struct vring_desc *)mem,
			.avail = (struct vring_avail *)(mem + AVAIL_OFFSET),
			.used = (struct vring_used *)(mem + USED_OFFSET),
		};
	}
}

unsigned int vio_probe(void)
{
	uint64_t base = param_u64("virtio-base", LAYOUT_VIRTIO_BASE);
	uint64_t stride = param_u64("virtio-stride", LAYOUT_VIRTIO_STRIDE);
	uint64_t slots = param_u64("virtio-slots", VIO_MAX_DEVS);

	for (uint32_t i = 0; i < slots && nr_devs < VIO_MAX_DEVS; i++) {
		struct vio_dev *dev = &devs[nr_devs];

		*dev = (struct vio_dev){ .base = base + i * stride, .slot = i };
		if (vio_read(dev, VIRTIO_MMIO_MAGIC_VALUE) != MAGIC)
			continue;
		dev->id = vio_read(dev, VIRTIO_MMIO_DEVICE_ID);
		if (dev->id == 0)
			continue;
		queues_alloc(dev);
		nr_devs++;
	}
	return nr_devs;
}

struct vio_dev *vio_nth(unsigned int index)
{
	return index < nr_devs ? &devs[index] : NULL;
}

struct vio_dev *vio_find(uint32_t id, unsigned int nth)
{
	for (unsigned int i = 0; i < nr_devs; i++) {
		if (devs[i].id == id && nth-- == 0)
			return &devs[i];
	}
	return NULL;
}

uint64_t vio_offered(const struct vio_dev *dev)
{
	uint64_t features;

	vio_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = vio_read(dev, VIRTIO_MMIO_DEVICE_FEATURES);
	vio_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features << 32 | vio_read(dev, VIRTIO_MMIO_DEVICE_FEATURES);
}

void vio_set_features(const struct vio_dev *dev, uint64_t features)
{
	vio_write(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	vio_write(dev, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
	vio_write(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	vio_write(dev, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
}

uint64_t vio_config64(const struct vio_dev *dev, uint32_t offset)
{
	uint64_t at = dev->base + VIRTIO_MMIO_CONFIG + offset;

	return mmio_read32(at) | (uint64_t)mmio_read32(at + 4) << 32;
}

uint16_t vio_config16(const struct vio_dev *dev, uint32_t offset)
{
	return mmio_read16(dev->base + VIRTIO_MMIO_CONFIG + offset);
}

bool vio_reset(struct vio_dev *dev)
{
	vio_write(dev, VIRTIO_MMIO_STATUS, 0);
	return vio_status(dev) == 0;
}

bool vio_begin(struct vio_dev *dev, uint64_t wanted)
{
	const uint32_t driver =
		VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	if (!vio_reset(dev))
		return false;
	vio_write(dev, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	vio_write(dev, VIRTIO_MMIO_STATUS, driver);
	dev->features =
		vio_offered(dev) & (wanted | VIO_BIT(VIRTIO_F_VERSION_1));
	vio_set_features(dev, dev->features);
	vio_write(dev, VIRTIO_MMIO_STATUS,
		  driver | VIRTIO_CONFIG_S_FEATURES_OK);
	return vio_status(dev) == VIO_STATUS_DRIVING;
}

void vio_queue_program(struct vio_dev *dev, uint32_t index, uint16_t size)
{
	struct vio_queue *q = &dev->queues[index];
	const uint64_t gpas[3] = { (uint64_t)q->desc, (uint64_t)q->avail,
				   (uint64_t)q->used };
	static const uint32_t regs[3] = { VIRTIO_MMIO_QUEUE_DESC_LOW,
					  VIRTIO_MMIO_QUEUE_AVAIL_LOW,
					  VIRTIO_MMIO_QUEUE_USED_LOW };

	q->size = size;
	q->avail_idx = q->last_used = 0;
	q->avail->flags = q->avail->idx = 0;
	q->used->flags = q->used->idx = 0;
	vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, index);
	vio_write(dev, VIRTIO_MMIO_QUEUE_NUM, size);
	for (int i = 0; i < 3; i++) {
		vio_write(dev, regs[i], (uint32_t)gpas[i]);
		vio_write(dev, regs[i] + 4, (uint32_t)(gpas[i] >> 32));
	}
}

bool vio_queue_enable(struct vio_dev *dev, uint32_t index)
{
	uint32_t max;

	vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, index);
	max = vio_read(dev, VIRTIO_MMIO_QUEUE_NUM_MAX);
	if (max == 0)
		return false;
	if (max > VIO_RING_ENTRIES)
		max = VIO_RING_ENTRIES;
	vio_queue_program(dev, index, (uint16_t)max);
	vio_write(dev, VIRTIO_MMIO_QUEUE_READY, 1);
	return vio_read(dev, VIRTIO_MMIO_QUEUE_READY) == 1;
}

bool vio_start(struct vio_dev *dev, uint64_t wanted, uint32_t nr_queues)
{
	if (!vio_begin(dev, wanted))
		return false;
	for (uint32_t i = 0; i < nr_queues; i++) {
		if (!vio_queue_enable(dev, i))
			return false;
	}
	vio_write(dev, VIRTIO_MMIO_STATUS, VIO_STATUS_LIVE);
	return vio_status(dev) == VIO_STATUS_LIVE;
}

bool vio_suspend(struct vio_dev *dev)
{
	struct deadline d = deadline_in(VIO_WAIT_S);

	vio_write(dev, VIRTIO_MMIO_STATUS, VIO_STATUS_LIVE | VIO_S_SUSPEND);
	while (vio_status(dev) != VIO_STATUS_SUSPENDED) {
		if (deadline_over(&d))
			return false;
	}
	return true;
}

bool vio_resume(struct vio_dev *dev)
{
	if (vio_status(dev) != VIO_STATUS_SUSPENDED)
		return false;
	vio_write(dev, VIRTIO_MMIO_STATUS, VIO_STATUS_LIVE | VIO_S_SUSPEND);
	return vio_status(dev) == VIO_STATUS_LIVE;
}

void vio_desc_set(struct vio_queue *q, uint16_t i, const volatile void *addr,
		  uint32_t len, uint16_t flags, uint16_t next)
{
	q->desc[i] = (struct vring_desc){
		.addr = (uint64_t)addr, .len = len, .flags = flags, .next = next
	};
}

void vio_chain_set(struct vio_queue *q, uint16_t i, const struct vio_buf *bufs,
		   unsigned int n_out, unsigned int n_in)
{
	for (unsigned int n = 0; n < n_out + n_in; n++, i++) {
		uint16_t flags = n < n_out ? 0 : VRING_DESC_F_WRITE;

		if (n + 1 < n_out + n_in)
			flags |= VRING_DESC_F_NEXT;
		vio_desc_set(q, i, bufs[n].addr, bufs[n].len, flags,
			     (uint16_t)(i + 1));
	}
}

void vio_publish(struct vio_queue *q, uint16_t head)
{
	q->avail->ring[q->avail_idx & (q->size - 1)] = head;
	q->avail_idx++;
	/* Descriptors and ring entry before the index; x86 keeps stores. */
	barrier();
	*(volatile uint16_t *)&q->avail->idx = q->avail_idx;
	barrier_full();
}

void vio_kick(const struct vio_dev *dev, uint32_t queue)
{
	vio_write(dev, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

bool vio_wait_used(struct vio_dev *dev, struct vio_queue *q, uint32_t *ret_id,
		   uint32_t *ret_len)
{
	struct deadline d = deadline_in(VIO_WAIT_S);
	const volatile uint16_t *idx = &q->used->idx;
	const struct vring_used_elem *elem;

	while (*idx == q->last_used) {
		if (deadline_over(&d) ||
		    (vio_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET))
			return false;
	}
	barrier();
	elem = &q->used->ring[q->last_used & (q->size - 1)];
	q->last_used++;
	if (ret_id)
		*ret_id = elem->id;
	if (ret_len)
		*ret_len = elem->len;
	vio_write(dev, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	return true;
}

bool vio_request(struct vio_dev *dev, uint32_t queue,
		 const struct vio_buf *bufs, unsigned int n_out,
		 unsigned int n_in, uint32_t *ret_len)
{
	struct vio_queue *q = &dev->queues[queue];
	uint32_t id;

	vio_chain_set(q, 0, bufs, n_out, n_in);
	vio_publish(q, 0);
	vio_kick(dev, queue);
	return vio_wait_used(dev, q, &id, ret_len) && id == 0;
}

bool vio_wait_needs_reset(const struct vio_dev *dev)
{
	struct deadline d = deadline_in(VIO_WAIT_S);

	while (!(vio_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		if (deadline_over(&d))
			return false;
	}
	return true;
}

uint8_t vio_blk_request(struct vio_dev *dev, uint32_t type, uint64_t sector,
			void *data, uint32_t len)
{
	static struct blk_frame frame;
	bool to_device = type == VIRTIO_BLK_T_OUT ||
			 type == VIRTIO_BLK_T_DISCARD ||
			 type == VIRTIO_BLK_T_WRITE_ZEROES;
	struct vio_buf bufs[3] = { { &frame.hdr, sizeof(frame.hdr) } };
	unsigned int n = 1;

	frame.hdr =
		(struct virtio_blk_outhdr){ .type = type, .sector = sector };
	frame.status = UNKNOWN_STATUS;
	if (len)
		bufs[n++] = (struct vio_buf){ data, len };
	bufs[n++] = (struct vio_buf){ &frame.status, 1 };
	if (!vio_request(dev, 0, bufs, len && to_device ? 2 : 1,
			 len && !to_device ? 2 : 1, NULL))
		return VIO_BLK_NO_ANSWER;
	return frame.status;
}
