/* SPDX-License-Identifier: BSD-3-Clause */
/* The code of each device type; only processes of devices have it. */
#include "virtio/device.h"

#define TYPE_OPS(NAME, name, ...) [VIRTIO_TYPE_##NAME] = &virtio_##name##_ops,

const struct virtio_dev_ops *const virtio_type_ops[VIRTIO_NR_TYPES] = {
	VIRTIO_TYPES(TYPE_OPS)
};
