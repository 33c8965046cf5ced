/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device types, one row each, so that a type's process serves the same as
 * the VMM offers to the guest. A new type begins with its row.
 */
#ifndef TORPOR_VIRTIO_TYPES_H
#define TORPOR_VIRTIO_TYPES_H

#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stdint.h>

struct virtio_type {
	const char *name; /* "blk": also the role of its process */
	uint32_t id;	  /* VIRTIO_ID_* */
	uint16_t nr_queues;
	uint16_t queue_size;  /* entries of each */
	uint16_t config_size; /* bytes of config space */
	/* Linux' driver refuses to sleep unless it can suspend the device. */
	bool vetoes;
	/* It keeps no state outside its rings. */
	bool respawns;
};

/*
 * TYPE(NAME, name, id, nr_queues, queue_size, other members...). Each row also
 * makes VIRTIO_TYPE_NAME, the index in virtio_types[]; NAME_NR_QUEUES and
 * NAME_QUEUE_SIZE; and declarations: virtio_name_ops (virtio/device.h), its
 * option's config_name (vmm/config/options.h) and, for the tests,
 * contract_name[] (tests/contract/subject.h).
 *
 * Queues: console receive, transmit of port 0; fs high priority, requests; net
 * receive, transmit, control; vsock receive, transmit, event. The connections
 * of a vsock device are lost with its process, and the new process reports
 * that.
 */
#define VIRTIO_TYPES(TYPE)                                                   \
	TYPE(BLK, blk, VIRTIO_ID_BLOCK, 1, 256,                              \
	     .config_size = sizeof(struct virtio_blk_config),                \
	     .respawns = true)                                               \
	TYPE(CONSOLE, console, VIRTIO_ID_CONSOLE, 2, 64,                     \
	     .config_size = sizeof(struct virtio_console_config),            \
	     .respawns = true)                                               \
	TYPE(FS, fs, VIRTIO_ID_FS, 2, 512,                                   \
	     .config_size = sizeof(struct virtio_fs_config), .vetoes = true) \
	TYPE(NET, net, VIRTIO_ID_NET, 3, 256,                                \
	     .config_size = sizeof(struct virtio_net_config),                \
	     .respawns = true)                                               \
	TYPE(RNG, rng, VIRTIO_ID_RNG, 1, 64, .respawns = true)               \
	TYPE(VSOCK, vsock, VIRTIO_ID_VSOCK, 3, 256,                          \
	     .config_size = sizeof(struct virtio_vsock_config),              \
	     .respawns = true)

#define VIRTIO_TYPE_INDEX(NAME, ...) VIRTIO_TYPE_##NAME,
enum virtio_type_index {
	VIRTIO_TYPES(VIRTIO_TYPE_INDEX) VIRTIO_NR_TYPES
};

#define VIRTIO_TYPE_QUEUES(NAME, name, id, nr_queues, queue_size, ...) \
	NAME##_NR_QUEUES = (nr_queues), NAME##_QUEUE_SIZE = (queue_size),
enum {
	VIRTIO_TYPES(VIRTIO_TYPE_QUEUES)
};

extern const struct virtio_type virtio_types[VIRTIO_NR_TYPES];

#endif
