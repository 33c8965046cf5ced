/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/mmio/queue.h"

struct virtio_mmio_queue *mmio_queue_selected(struct virtio_mmio *dev)
{
	return dev->queue_sel < dev->nr_queues ? &dev->queues[dev->queue_sel]
					       : NULL;
}

static bool power_of_2(uint32_t n)
{
	return n && !(n & (n - 1));
}

bool mmio_queue_valid(const struct virtio_mmio *dev,
		      const struct virtio_mmio_queue *q)
{
	void *hva;

	return power_of_2(q->size) && q->size <= dev->queue_size_max &&
	       !(q->desc_gpa & 15) && !(q->driver_gpa & 1) &&
	       !(q->device_gpa & 3) &&
	       !gmem_span(dev->gm, q->desc_gpa, 16ULL * q->size, &hva) &&
	       !gmem_span(dev->gm, q->driver_gpa, 6 + 2ULL * q->size, &hva) &&
	       !gmem_span(dev->gm, q->device_gpa, 6 + 8ULL * q->size, &hva);
}

void mmio_set_half(uint64_t *field, bool high, uint32_t value)
{
	unsigned int shift = high ? 32 : 0;

	*field = (*field & ~(0xffffffffULL << shift)) | (uint64_t)value
								<< shift;
}

void mmio_queue_write(struct virtio_mmio *dev, uint32_t offset, uint32_t value)
{
	struct virtio_mmio_queue *q = mmio_queue_selected(dev);

	if (!q || q->ready)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		q->size = value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		mmio_set_half(&q->desc_gpa, offset & 4, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		mmio_set_half(&q->driver_gpa, offset & 4, value);
		break;
	default:
		mmio_set_half(&q->device_gpa, offset & 4, value);
		break;
	}
}
