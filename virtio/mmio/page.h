/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the driver reads of a virtio-mmio device: the register page. The true
 * state is in struct virtio_mmio; these write it out. Main loop.
 */
#ifndef TORPOR_VIRTIO_MMIO_PAGE_H
#define TORPOR_VIRTIO_MMIO_PAGE_H

#include "virtio/mmio/mmio.h"

/* What never changes, once. */
void mmio_page_init(struct virtio_mmio *dev, uint32_t device_id);

/* One store: a reader sees the old status or the new one. */
void mmio_publish_status(struct virtio_mmio *dev, uint32_t status);
/* The word that DeviceFeaturesSel chooses. */
void mmio_publish_features(struct virtio_mmio *dev);
/* Of the queue that QueueSel chooses. */
void mmio_publish_queue(struct virtio_mmio *dev);
/*
 * Config space as the back end last gave it, with a new ConfigGeneration if it
 * differs; @notify a live driver.
 */
void mmio_publish_config(struct virtio_mmio *dev, bool notify);
/* Configuration change notification, used buffer one (virtio 4.2.3.4). */
void mmio_raise_config(struct virtio_mmio *dev);
void mmio_raise_used(struct virtio_mmio *dev);

#endif
