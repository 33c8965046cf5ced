/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --vhost-user: devices whose back end is somebody else's process (virtiofsd,
 * or torpor-device started by hand). For each type, what the VMM has to add to
 * a back end that serves data queues and no more; docs/vhost-user.md has it in
 * words. Main thread.
 */
#include <assert.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/unix_socket.h"
#include "vmm/vm/device.h"

/* For a place in the queue of a back end that listens and does not accept. */
#define CONNECT_S 5

/*
 * Back ends refuse to be asked for more than they know, so only for what
 * drivers need: a disk's up to write zeroes, a card's up to its MTU.
 */
#define BLK_CONFIG_BYTES 60U
#define NET_CONFIG_BYTES 12U
#define NET_F_NOTF_COAL	 53 /* not in every header */

/* What needs the control queue, other queues, or config space beyond that. */
#define NET_HIDDEN                                                       \
	(BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_MTU) | \
	 BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |         \
	 BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | \
	 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_MQ) |       \
	 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(NET_F_NOTF_COAL) |        \
	 BIT(VIRTIO_NET_F_HASH_REPORT) | BIT(VIRTIO_NET_F_RSS) |         \
	 BIT(VIRTIO_NET_F_STANDBY) | BIT(VIRTIO_NET_F_SPEED_DUPLEX))

/* A device of a type, but for what is not 0 here. */
struct foreign_kind {
	const char *option; /* whose devices are of this type too */
	enum virtio_type_index type;
	uint16_t nr_queues;
	uint16_t config_size;
	enum frontend_config config_from;
	uint32_t input_rings;
	uint64_t hidden, ours; /* features */
};

static const struct foreign_kind kinds[] = {
	[FOREIGN_BLK] = {
		.option = "block",
		.type = VIRTIO_TYPE_BLK,
		.config_size = BLK_CONFIG_BYTES,
		.config_from = FRONTEND_CONFIG_THEIRS,
		.hidden = BIT(VIRTIO_BLK_F_MQ),
	},
	[FOREIGN_CONSOLE] = {
		.option = "console",
		.type = VIRTIO_TYPE_CONSOLE,
		.config_from = FRONTEND_CONFIG_OURS_IF_NONE,
		.input_rings = BIT(0),
		.hidden = BIT(VIRTIO_CONSOLE_F_MULTIPORT),
	},
	[FOREIGN_FS] = {
		/* With as many request queues as are asked for. */
		.option = "shared-dir",
		.type = VIRTIO_TYPE_FS,
		.config_from = FRONTEND_CONFIG_THEIRS,
		.hidden = BIT(0), /* notification queue */
	},
	[FOREIGN_NET] = {
		.option = "net",
		.type = VIRTIO_TYPE_NET,
		.nr_queues = 2, /* no control queue */
		.config_size = NET_CONFIG_BYTES,
		.config_from = FRONTEND_CONFIG_OURS_IF_NONE,
		.input_rings = BIT(0),
		.hidden = NET_HIDDEN,
		.ours = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS),
	},
	[FOREIGN_RNG] = {
		.option = "rng",
		.type = VIRTIO_TYPE_RNG,
		.input_rings = BIT(0),
	},
};

static struct virtio_type type_of(const struct foreign_kind *kind,
				  const struct foreign_config *cfg)
{
	struct virtio_type type = virtio_types[kind->type];

	if (kind->nr_queues)
		type.nr_queues = kind->nr_queues;
	if (cfg->queues)
		type.nr_queues = (uint16_t)(1 + cfg->queues);
	if (kind->config_size)
		type.config_size = kind->config_size;
	if (cfg->queue_size)
		type.queue_size = cfg->queue_size;
	return type;
}

static int connect_to(const char *path, struct err *err)
{
	const struct timeval limit = { .tv_sec = CONNECT_S };
	struct sockaddr_un addr;
	_cleanup_fd_ int fd = -1;

	if (unix_address(&addr, "%s", path) < 0)
		return err_usage(
			err, -ENAMETOOLONG,
			"--vhost-user socket=%.80s...: at most %zu bytes", path,
			sizeof(addr.sun_path) - 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return err_set_errno(err, -errno, "--vhost-user: socket");
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_usage_errno(
			err, -errno,
			"--vhost-user socket=%s: cannot connect; "
			"start the back end first",
			path);
	return TAKE_FD(fd);
}

/* Config space, if it is the VMM's. */
static int make_config(struct vm_device *dev, const struct foreign_config *cfg,
		       struct err *err)
{
	struct virtio_net_config net = { .status = VIRTIO_NET_S_LINK_UP };
	struct virtio_fs_config fs = { 0 };
	int r;

	static_assert(sizeof(fs) <= sizeof(dev->foreign_config), "room");
	static_assert(NET_CONFIG_BYTES <= sizeof(dev->foreign_config), "room");
	dev->foreign.config = dev->foreign_config;
	if (cfg->type == FOREIGN_FS && cfg->tag[0]) {
		dev->foreign.fe.config_from = FRONTEND_CONFIG_OURS;
		memcpy(fs.tag, cfg->tag, strlen(cfg->tag));
		fs.num_request_queues = cfg->queues ? cfg->queues : 1;
		memcpy(dev->foreign_config, &fs, sizeof(fs));
	} else if (cfg->type == FOREIGN_NET) {
		if (cfg->mac.set)
			dev->foreign.fe.config_from = FRONTEND_CONFIG_OURS;
		r = vm_device_mac(&cfg->mac, net.mac, err);
		if (r < 0)
			return r;
		memcpy(dev->foreign_config, &net, NET_CONFIG_BYTES);
	}
	return 0;
}

/* The number after those of the same type before it; -1: it is the only rng. */
static int number_of(const struct vm_config *cfg, unsigned int i)
{
	enum foreign_type type = cfg->foreigns[i].type;
	unsigned int n = config_count_devices(cfg, kinds[type].option);

	for (unsigned int j = 0; j < i; j++)
		n += cfg->foreigns[j].type == type;
	return type == FOREIGN_RNG && n == 0 ? -1 : (int)n;
}

int vm_vhost_user_create(struct vm *vm, const struct vm_device_option *option,
			 unsigned int i, struct err *err)
{
	const struct foreign_config *cfg = &vm->cfg->foreigns[i];
	const struct foreign_kind *kind = &kinds[cfg->type];
	const struct virtio_type type = type_of(kind, cfg);
	struct vm_device *dev;
	_cleanup_fd_ int fd = -1;
	int r;

	dev = vm_device_new(vm, option, kind->type, number_of(vm->cfg, i), err);
	if (!dev)
		return -ENOSPC;
	fd = connect_to(cfg->socket, err);
	if (fd < 0)
		return fd;
	dev->foreign = (struct virtio_mmio_foreign){
		.fe = { .config_from = kind->config_from,
			.input_rings = kind->input_rings },
		.features_hidden = kind->hidden,
		.features_ours = kind->ours,
		.min_queues = cfg->type == FOREIGN_FS ? type.nr_queues : 0,
	};
	dev->plan.suspend = cfg->suspend;
	r = make_config(dev, cfg, err);
	return r < 0 ? r : vm_device_attach(vm, dev, &type, TAKE_FD(fd), err);
}
