/* SPDX-License-Identifier: BSD-3-Clause */
/* The facts of each device type; the VMM has them without its code. */
#include "virtio/types.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>

#define TYPE_FACTS(NAME, type, device_id, queues, entries, ...) \
	[VIRTIO_TYPE_##NAME] = { .name = #type,                 \
				 .id = (device_id),             \
				 .nr_queues = (queues),         \
				 .queue_size = (entries),       \
				 __VA_ARGS__ },

const struct virtio_type virtio_types[VIRTIO_NR_TYPES] = { VIRTIO_TYPES(
	TYPE_FACTS) };
