/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device types torpor-device can be, each defined in its own file. The
 * first word of the command line picks one, see virtio_role_find().
 */
#ifndef TORPOR_VIRTIO_ROLES_H
#define TORPOR_VIRTIO_ROLES_H

#include "virtio/device.h"

extern const struct virtio_role virtio_blk_role;
extern const struct virtio_role virtio_console_role;
extern const struct virtio_role virtio_fs_role;
extern const struct virtio_role virtio_net_role;
extern const struct virtio_role virtio_rng_role;
extern const struct virtio_role virtio_vsock_role;

#endif
