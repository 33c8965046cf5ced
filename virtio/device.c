/* SPDX-License-Identifier: BSD-3-Clause */
/* What devices of all types have in common. */
#include "virtio/device.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

const int virtio_no_fds[VIRTIO_DEV_MAX_FDS] = { -1, -1, -1, -1 };

void virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_ops *ops,
		     struct loop *loop)
{
	dev->ops = ops;
	dev->loop = loop;
	dev->nr_queues = ops->type->nr_queues;
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		virtq_init(&dev->queues[i]);
	dev->features_offered = BIT(VIRTIO_F_VERSION_1) |
				BIT(VIRTIO_RING_F_INDIRECT_DESC) |
				BIT(VIRTIO_RING_F_EVENT_IDX);
}
