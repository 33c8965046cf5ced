/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of device types. */
#include "virtio/roles.h"

#include <string.h>

const struct virtio_role *virtio_role_find(const char *name)
{
	static const struct virtio_role *const roles[] = {
		&virtio_blk_role, &virtio_console_role, &virtio_fs_role,
		&virtio_net_role, &virtio_rng_role,	&virtio_vsock_role,
	};

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		if (!strcmp(roles[i]->ops->name, name))
			return roles[i];
	}
	return NULL;
}
