/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/mmio/page.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "virtio/mmio/queue.h"
#include "vmm/base/fd.h"

#define VIRTIO_MAGIC  0x74726976U /* "virt" */
#define VIRTIO_VENDOR 0x52505254U /* "TRPR" */

static void page_set(struct virtio_mmio *dev, uint32_t offset, uint32_t value)
{
	uint32_t *reg = (uint32_t *)(void *)(dev->page->bytes + offset);

	/* One store, so that a reader never sees half of it. */
	__atomic_store_n(reg, value, __ATOMIC_SEQ_CST);
}

void mmio_publish_status(struct virtio_mmio *dev, uint32_t status)
{
	dev->status = status;
	page_set(dev, VIRTIO_MMIO_STATUS, status);
}

void mmio_publish_features(struct virtio_mmio *dev)
{
	uint32_t word = 0;

	if (dev->device_sel < 2)
		word = (uint32_t)(dev->offered >> (32 * dev->device_sel));
	page_set(dev, VIRTIO_MMIO_DEVICE_FEATURES, word);
}

void mmio_publish_queue(struct virtio_mmio *dev)
{
	const struct virtio_mmio_queue *q = mmio_queue_selected(dev);

	page_set(dev, VIRTIO_MMIO_QUEUE_NUM_MAX, q ? dev->queue_size_max : 0);
	page_set(dev, VIRTIO_MMIO_QUEUE_READY, q && q->ready);
}

static void raise_irq(struct virtio_mmio *dev, uint32_t bits)
{
	regpage_raise(dev->page, bits);
	/* Not the one the process has: see fd_event_signal(). */
	fd_event_signal(dev->irq_fd);
}

void mmio_raise_config(struct virtio_mmio *dev)
{
	raise_irq(dev, VIRTIO_MMIO_INT_CONFIG);
}

void mmio_raise_used(struct virtio_mmio *dev)
{
	raise_irq(dev, VIRTIO_MMIO_INT_VRING);
}

/*
 * No order of stores makes a change of several words safe for a reader that
 * does not exit, so no vCPU is in guest mode while it is written. Cheap when
 * nothing differs, which is the rule.
 */
void mmio_publish_config(struct virtio_mmio *dev, bool notify)
{
	if (!memcmp(dev->config, dev->fe.config, dev->config_size))
		return;
	memcpy(dev->config, dev->fe.config, dev->config_size);
	dev->ops->hold(dev);
	memcpy(dev->page->bytes + VIRTIO_MMIO_CONFIG, dev->config,
	       dev->config_size);
	page_set(dev, VIRTIO_MMIO_CONFIG_GENERATION, ++dev->generation);
	dev->ops->release(dev);
	if (notify && dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		mmio_raise_config(dev);
}

void mmio_page_init(struct virtio_mmio *dev, uint32_t device_id)
{
	page_set(dev, VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MAGIC);
	page_set(dev, VIRTIO_MMIO_VERSION, 2);
	page_set(dev, VIRTIO_MMIO_DEVICE_ID, device_id);
	page_set(dev, VIRTIO_MMIO_VENDOR_ID, VIRTIO_VENDOR);
	/* No shared memory region: length and base are all ones. */
	page_set(dev, VIRTIO_MMIO_SHM_LEN_LOW, UINT32_MAX);
	page_set(dev, VIRTIO_MMIO_SHM_LEN_HIGH, UINT32_MAX);
	page_set(dev, VIRTIO_MMIO_SHM_BASE_LOW, UINT32_MAX);
	page_set(dev, VIRTIO_MMIO_SHM_BASE_HIGH, UINT32_MAX);
	mmio_publish_queue(dev);
}
