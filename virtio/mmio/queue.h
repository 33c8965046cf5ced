/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registers of the selected virtqueue (virtio 1.x, 4.2.2): part of the
 * transport, virtio/mmio/transport.c, and like it on the main loop.
 */
#ifndef TORPOR_VIRTIO_MMIO_QUEUE_H
#define TORPOR_VIRTIO_MMIO_QUEUE_H

#include "virtio/mmio/mmio.h"

/* The queue that QueueSel names; NULL if there is none. */
struct virtio_mmio_queue *mmio_queue_selected(struct virtio_mmio *dev);
/* May it become ready: size, alignment, all three areas inside RAM. */
bool mmio_queue_valid(const struct virtio_mmio *dev,
		      const struct virtio_mmio_queue *q);
/* A write of QueueSize or an address; ignored once the queue is ready. */
void mmio_queue_write(struct virtio_mmio *dev, uint32_t offset, uint32_t value);
/* Half of a 64-bit register. */
void mmio_set_half(uint64_t *field, bool high, uint32_t value);

#endif
