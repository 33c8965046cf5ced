/* SPDX-License-Identifier: BSD-3-Clause */
/* The facts of each device type; the VMM has them without its code. */
#include "virtio/types.h"

#define TYPE_FACTS(NAME, type, device_id, queues, entries, ...) \
	[VIRTIO_TYPE_##NAME] = { .name = #type,                 \
				 .id = (device_id),             \
				 .nr_queues = (queues),         \
				 .queue_size = (entries),       \
				 __VA_ARGS__ },

const struct virtio_type virtio_types[VIRTIO_NR_TYPES] = { VIRTIO_TYPES(
	TYPE_FACTS) };
