/* SPDX-License-Identifier: BSD-3-Clause */
/* What each virtio device of the configuration is and is given. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "virtio/blk/image.h"
#include "virtio/net/tap.h"
#include "vmm/base/fd.h"
#include "vmm/vm/device.h"
#include "vmm/vm/disk_image.h"
#include "vmm/vm/shared_dir.h"
#include "vmm/vm/vsock_socket.h"

static void add_word(struct device_plan *plan, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add_word(struct device_plan *plan, const char *fmt, ...)
{
	char *word = plan->words[plan->nr_words];
	va_list ap;

	assert(plan->nr_words + 1 < SPAWN_MAX_ARGS);
	va_start(ap, fmt);
	(void)vsnprintf(word, sizeof(plan->words[0]), fmt, ap);
	va_end(ap);
	plan->req.args[plan->nr_words++] = word;
}

static void add_fd(struct device_plan *plan, int fd)
{
	plan->req.backend_fds[plan->req.nr_backend_fds++] = fd;
}

/* ----------------------------------------------------------------- block */

static struct disk_image *image_of(const struct vm_device *dev)
{
	return dev->backend;
}

/* The lock would say it too, but not of whom. */
static int image_not_twice(const struct vm_device *dev, struct err *err)
{
	const struct vm *vm = dev->vm;
	const struct block_config *cfg = vm->cfg->blocks;
	int i = dev->number;

	for (int k = 0; k < i; k++) {
		/* Disks are the first devices, in their order. */
		if ((cfg[k].ro && cfg[i].ro) ||
		    !disk_image_same(image_of(&vm->devices[k]), image_of(dev)))
			continue;
		return err_usage(
			err, -EINVAL,
			"--block '%s': the same image as --block '%s'; "
			"leave one out, or make both read-only (,ro)",
			cfg[i].path, cfg[k].path);
	}
	return 0;
}

/* The first description of the image, locked. Return: fd or -errno. */
static int open_image(struct vm_device *dev, const struct block_config *cfg,
		      struct err *err)
{
	struct disk_image *image = malloc(sizeof(*image));
	_cleanup_fd_ int fd = -1;
	char name[PATH_MAX + 16];
	int r;

	if (!image)
		return err_set_errno(err, -ENOMEM, "device %s", dev->name);
	r = disk_image_init(image, cfg->path, cfg->ro, cfg->o_direct, err);
	if (r < 0) {
		free(image);
		return r;
	}
	dev->backend = image;
	r = image_not_twice(dev, err);
	if (r < 0)
		return r;
	fd = r = disk_image_open(image, cfg->path, err);
	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "--block '%s'", cfg->path);
	r = blk_image_check(fd, name, cfg->raw, cfg->ro, err);
	return r < 0 ? r : TAKE_FD(fd);
}

static int blk_open(struct vm_device *dev, int *ret_fd, struct err *err)
{
	const struct block_config *cfg = &dev->vm->cfg->blocks[dev->number];
	int r = open_image(dev, cfg, err);

	if (r < 0)
		return r;
	*ret_fd = r;
	dev->plan.suspend = cfg->suspend;
	if (cfg->ro)
		add_word(&dev->plan, "ro");
	if (cfg->o_direct)
		add_word(&dev->plan, "direct");
	if (!cfg->sparse)
		add_word(&dev->plan, "nodiscard");
	if (cfg->id[0])
		add_word(&dev->plan, "id=%s", cfg->id);
	add_word(&dev->plan, "engine=%s", blk_engine_words[cfg->engine]);
	add_fd(&dev->plan, *ret_fd);
	return 0;
}

/* A description of its own, as the fence of the next death needs. */
static int blk_fenced(struct vm_device *dev, int *ret_fd)
{
	struct err err;
	int r = disk_image_fenced(image_of(dev));

	if (r != 1)
		return r;
	*ret_fd = disk_image_open(image_of(dev), dev->name, &err);
	return *ret_fd < 0 ? *ret_fd : 1;
}

static int blk_reopen(struct vm_device *dev, int *ret_fd, struct err *err)
{
	*ret_fd = dev->plan.req.backend_fds[0] = TAKE_FD(dev->fence.fd);
	return 0;
}

static void blk_destroy(struct vm_device *dev)
{
	if (dev->backend)
		disk_image_finish(image_of(dev));
	free(dev->backend);
}

static void blk_keep(const struct vm_device *dev, struct vm_paths *paths)
{
	vm_paths_keep_file(paths, image_of(dev)->path_fd, image_of(dev)->ro);
}

/* ------------------------------------------------------------------- net */

static int net_open(struct vm_device *dev, int *ret_fd, struct err *err)
{
	const struct config_net *cfg = &dev->vm->cfg->nets[dev->number];
	uint8_t mac[MAC_BYTES];
	int r, mtu, tap = cfg->tap_fd;

	if (cfg->tap_name) {
		r = net_tap_open(cfg->tap_name, err);
		if (r < 0)
			return r;
		tap = dev->plan.kept_fds[0] = r;
	} else {
		r = net_tap_check(tap, err);
		if (r < 0)
			return r;
	}
	r = vm_device_mac(&cfg->mac, mac, err);
	if (r < 0)
		return r;
	mac_format(mac, dev->mac);
	dev->plan.suspend = cfg->suspend;
	/* The first: see net_reopen(). */
	add_word(&dev->plan, "mac=%s", dev->mac);
	if (cfg->wake_unicast)
		add_word(&dev->plan, "wake=unicast");
	mtu = net_tap_mtu_told(net_tap_mtu(tap));
	if (mtu)
		add_word(&dev->plan, "mtu=%d", mtu);
	add_fd(&dev->plan, tap);
	return 0;
}

/* The address of a NIC is the one its driver has set, not our first one. */
static int net_reopen(struct vm_device *dev, int *ret_fd, struct err *err)
{
	const uint8_t *mac = dev->mmio.config;
	char text[MAC_TEXT_BYTES];

	/* A captured process may have made up a group address. */
	if (mac_is_group(mac))
		return 0;
	mac_format(mac, text);
	(void)snprintf(dev->plan.words[0], sizeof(dev->plan.words[0]), "mac=%s",
		       text);
	return 0;
}

/* --------------------------------------------------------------- console */

static const struct char_config *console_config(const struct vm_device *dev)
{
	return &dev->vm->cfg->consoles[dev->number];
}

static int console_open(struct vm_device *dev, int *ret_fd, struct err *err)
{
	const struct char_config *cfg = console_config(dev);
	struct char_fd *fd = malloc(sizeof(*fd));
	int r;

	if (!fd)
		return err_set_errno(err, -ENOMEM, "device %s", dev->name);
	*fd = (struct char_fd)CHAR_FD_NONE;
	dev->backend = fd;
	r = char_fd_open(cfg, "--console", dev->vm->cfg->sandbox, fd, err);
	if (r < 0)
		return r;
	dev->plan.suspend = cfg->suspend;
	add_fd(&dev->plan, fd->in);
	add_fd(&dev->plan, fd->out);
	return 0;
}

static void console_destroy(struct vm_device *dev)
{
	if (dev->backend)
		char_fd_close(console_config(dev), dev->backend);
	free(dev->backend);
}

static void console_keep(const struct vm_device *dev, struct vm_paths *paths)
{
	vm_paths_keep_dir_of(paths, char_fd_link(console_config(dev)));
}

/* ------------------------------------------------------------ shared-dir */

static int fs_open(struct vm_device *dev, int *ret_fd, struct err *err)
{
	const struct share_config *cfg = &dev->vm->cfg->shares[dev->number];
	struct device_plan *plan = &dev->plan;
	char path[PATH_MAX];
	int r = shared_dir_open(cfg->path, path, err);

	if (r < 0)
		return r;
	*ret_fd = r;
	plan->req.share = dev->backend = strdup(path);
	if (!dev->backend)
		return err_set_errno(err, -ENOMEM, "device %s", dev->name);
	plan->suspend = cfg->suspend;
	add_word(plan, "tag=%s", cfg->tag);
	add_word(plan, "cache=%s", fs_cache_words[cfg->cache]);
	if (cfg->timeout_set)
		add_word(plan, "timeout=%llu",
			 (unsigned long long)cfg->timeout_s);
	if (cfg->writeback)
		add_word(plan, "writeback");
	if (cfg->locks)
		add_word(plan, "locks");
	if (cfg->suid)
		add_word(plan, "suid");
	if (cfg->reserved)
		add_word(plan, "reserved");
	/* Only a jail with a root of its own needs it. */
	if (dev->vm->cfg->sandbox == SANDBOX_FULL)
		add_word(plan, "proc");
	add_fd(plan, *ret_fd);
	return 0;
}

static void fs_destroy(struct vm_device *dev)
{
	free(dev->backend);
}

/* ----------------------------------------------------------------- vsock */

/* The channel is each process's own. */
static int vsock_reopen(struct vm_device *dev, int *ret_fd, struct err *err)
{
	int r = vsock_socket_dials(dev->backend, err);

	if (r < 0)
		return r;
	*ret_fd = dev->plan.req.backend_fds[2] = r;
	return 0;
}

static int vsock_open(struct vm_device *dev, int *ret_fd, struct err *err)
{
	const struct vm_config *cfg = dev->vm->cfg;
	struct vsock_socket *sock = malloc(sizeof(*sock));
	char path[PATH_MAX];
	int r;

	if (!sock)
		return err_set_errno(err, -ENOMEM, "device %s", dev->name);
	dev->backend = sock;
	config_vsock_path(cfg, path, sizeof(path));
	r = vsock_socket_open(sock, &dev->vm->loop, path, err);
	if (r < 0)
		return r;
	dev->cid = cfg->vsock.cid;
	dev->plan.suspend = cfg->vsock.suspend;
	add_word(&dev->plan, "cid=%u", cfg->vsock.cid);
	add_fd(&dev->plan, sock->stream.fd);
	add_fd(&dev->plan, sock->seqpacket.fd);
	add_fd(&dev->plan, -1);
	return vsock_reopen(dev, ret_fd, err);
}

/* So that who connects is told, and does not wait for nobody. */
static void vsock_lost(struct vm_device *dev)
{
	vsock_socket_close(dev->backend);
}

static void vsock_destroy(struct vm_device *dev)
{
	if (dev->backend)
		vsock_socket_close(dev->backend);
	free(dev->backend);
}

static void vsock_keep(const struct vm_device *dev, struct vm_paths *paths)
{
	const struct vsock_socket *sock = dev->backend;

	vm_paths_keep_dir_of(paths, sock->path);
}

/* ------------------------------------------------------------------- rng */

static int rng_open(struct vm_device *dev, int *ret_fd, struct err *err)
{
	dev->plan.suspend = dev->vm->cfg->rng_suspend;
	return 0;
}

/* ------------------------------------------------------------- the table */

const struct vm_device_option vm_device_options[] = {
	{ .option = "block",
	  .type = VIRTIO_TYPE_BLK,
	  .open = blk_open,
	  .reopen = blk_reopen,
	  .fenced = blk_fenced,
	  .destroy = blk_destroy,
	  .keep = blk_keep },
	{ .option = "net",
	  .type = VIRTIO_TYPE_NET,
	  .open = net_open,
	  .reopen = net_reopen },
	{ .option = "console",
	  .type = VIRTIO_TYPE_CONSOLE,
	  .open = console_open,
	  .destroy = console_destroy,
	  .keep = console_keep },
	{ .option = "shared-dir",
	  .type = VIRTIO_TYPE_FS,
	  .open = fs_open,
	  .destroy = fs_destroy },
	{ .option = "vsock",
	  .type = VIRTIO_TYPE_VSOCK,
	  .single = true,
	  .connects = true,
	  .open = vsock_open,
	  .reopen = vsock_reopen,
	  .lost = vsock_lost,
	  .destroy = vsock_destroy,
	  .keep = vsock_keep },
	{ .option = "vhost-user", .create = vm_vhost_user_create },
	/*
	 * Last: Linux stops the last one first, and one that was stopped shows
	 * that the guest came back when the next refuses.
	 */
	{ .option = "rng",
	  .type = VIRTIO_TYPE_RNG,
	  .single = true,
	  .open = rng_open },
	{ NULL },
};
