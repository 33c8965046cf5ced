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
#include "vmm/vm/shared_dir.h"

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

/* The lock would say it too, but not of whom. */
static int image_not_twice(struct vm *vm, unsigned int i, struct err *err)
{
	const struct block_config *cfg = vm->cfg->blocks;

	for (unsigned int k = 0; k < i; k++) {
		/* The disks are the first devices, in their order. */
		if ((cfg[k].ro && cfg[i].ro) ||
		    !disk_image_same(&vm->virtio[k].image,
				     &vm->virtio[i].image))
			continue;
		return err_usage(
			err, -EINVAL,
			"--block '%s': the same image as --block '%s'; "
			"leave one out, or make both read-only (,ro)",
			cfg[i].path, cfg[k].path);
	}
	return 0;
}

/* The first description of @dev's image, locked. Return: fd or -errno. */
static int open_image(struct vm *vm, unsigned int i, struct vm_virtio *dev,
		      struct err *err)
{
	const struct block_config *cfg = &vm->cfg->blocks[i];
	_cleanup_fd_ int fd = -1;
	char name[PATH_MAX + 16];
	int r;

	r = disk_image_init(&dev->image, cfg->path, cfg->ro, cfg->o_direct,
			    err);
	if (r < 0)
		return r;
	dev->has_image = true;
	r = image_not_twice(vm, i, err);
	if (r < 0)
		return r;
	fd = r = disk_image_open(&dev->image, cfg->path, err);
	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "--block '%s'", cfg->path);
	r = blk_image_check(fd, name, cfg->raw, cfg->ro, err);
	return r < 0 ? r : TAKE_FD(fd);
}

static int create_blk(struct vm *vm, unsigned int i, struct err *err)
{
	const struct block_config *cfg = &vm->cfg->blocks[i];
	struct vm_virtio *dev = vm_virtio_new(vm, VIRTIO_TYPE_BLK, (int)i, err);
	_cleanup_fd_ int fd = -1;

	if (!dev)
		return -ENOSPC;
	fd = open_image(vm, i, dev, err);
	if (fd < 0)
		return fd;
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
	add_fd(&dev->plan, fd);
	return vm_virtio_spawn(vm, dev, err);
}

static int create_net(struct vm *vm, unsigned int i, struct err *err)
{
	const struct config_net *cfg = &vm->cfg->nets[i];
	struct vm_virtio *dev = vm_virtio_new(vm, VIRTIO_TYPE_NET, (int)i, err);
	uint8_t mac[MAC_BYTES];
	int r, mtu, tap = cfg->tap_fd;

	if (!dev)
		return -ENOSPC;
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
	r = vm_virtio_mac(&cfg->mac, mac, err);
	if (r < 0)
		return r;
	mac_format(mac, dev->mac);
	dev->plan.suspend = cfg->suspend;
	/* The first: see keep_mac(). */
	add_word(&dev->plan, "mac=%s", dev->mac);
	if (cfg->wake_unicast)
		add_word(&dev->plan, "wake=unicast");
	mtu = net_tap_mtu_told(net_tap_mtu(tap));
	if (mtu)
		add_word(&dev->plan, "mtu=%d", mtu);
	add_fd(&dev->plan, tap);
	return vm_virtio_spawn(vm, dev, err);
}

static int create_console(struct vm *vm, unsigned int i, struct err *err)
{
	struct vm_virtio *dev =
		vm_virtio_new(vm, VIRTIO_TYPE_CONSOLE, (int)i, err);
	struct char_fd *fd = &vm->console_fds[i];
	int r;

	if (!dev)
		return -ENOSPC;
	r = char_fd_open(&vm->cfg->consoles[i], "--console", fd, err);
	if (r < 0)
		return r;
	dev->plan.suspend = vm->cfg->consoles[i].suspend;
	add_fd(&dev->plan, fd->in);
	add_fd(&dev->plan, fd->out);
	return vm_virtio_spawn(vm, dev, err);
}

static int create_fs(struct vm *vm, unsigned int i, struct err *err)
{
	const struct share_config *cfg = &vm->cfg->shares[i];
	struct vm_virtio *dev = vm_virtio_new(vm, VIRTIO_TYPE_FS, (int)i, err);
	_cleanup_fd_ int fd = -1;
	char path[PATH_MAX];
	int r;

	if (!dev)
		return -ENOSPC;
	fd = shared_dir_open(cfg->path, path, err);
	if (fd < 0)
		return fd;
	dev->plan.suspend = cfg->suspend;
	add_word(&dev->plan, "tag=%s", cfg->tag);
	add_word(&dev->plan, "cache=%s", fs_cache_words[cfg->cache]);
	if (cfg->timeout_set)
		add_word(&dev->plan, "timeout=%llu",
			 (unsigned long long)cfg->timeout_s);
	if (cfg->writeback)
		add_word(&dev->plan, "writeback");
	if (cfg->locks)
		add_word(&dev->plan, "locks");
	if (cfg->suid)
		add_word(&dev->plan, "suid");
	if (cfg->reserved)
		add_word(&dev->plan, "reserved");
	/* Only a jail with a root of its own needs it. */
	if (vm->cfg->sandbox == SANDBOX_FULL)
		add_word(&dev->plan, "proc");
	add_fd(&dev->plan, fd);
	dev->plan.req.share = path;
	r = vm_virtio_spawn(vm, dev, err);
	dev->plan.req.share = NULL;
	return r;
}

static int create_rng(struct vm *vm, struct err *err)
{
	struct vm_virtio *dev = vm_virtio_new(vm, VIRTIO_TYPE_RNG, -1, err);

	if (!dev)
		return -ENOSPC;
	dev->plan.suspend = vm->cfg->rng_suspend;
	return vm_virtio_spawn(vm, dev, err);
}

static int create_vsock(struct vm *vm, struct err *err)
{
	const struct vm_config *cfg = vm->cfg;
	struct vm_virtio *dev = vm_virtio_new(vm, VIRTIO_TYPE_VSOCK, -1, err);
	char path[PATH_MAX];
	int r;

	if (!dev)
		return -ENOSPC;
	dev->vsock = malloc(sizeof(*dev->vsock));
	if (!dev->vsock)
		return err_set_errno(err, -ENOMEM, "device %s", dev->name);
	config_vsock_path(cfg, path, sizeof(path));
	r = vsock_socket_open(dev->vsock, &vm->loop, path, err);
	if (r < 0)
		return r;
	dev->plan.suspend = cfg->vsock.suspend;
	add_word(&dev->plan, "cid=%u", cfg->vsock.cid);
	add_fd(&dev->plan, dev->vsock->stream.fd);
	add_fd(&dev->plan, dev->vsock->seqpacket.fd);
	/* The channel is made for each process, see device.c. */
	add_fd(&dev->plan, -1);
	return vm_virtio_spawn(vm, dev, err);
}

unsigned int vm_devices_count(const struct vm_config *cfg)
{
	return cfg->nr_blocks + cfg->nr_nets + cfg->nr_consoles +
	       cfg->nr_shares + cfg->nr_foreigns + (cfg->vsock.cid != 0) +
	       cfg->rng;
}

int vm_devices_create(struct vm *vm, struct err *err)
{
	const struct vm_config *cfg = vm->cfg;
	int r = 0;

	for (unsigned int i = 0; i < cfg->nr_blocks && r == 0; i++)
		r = create_blk(vm, i, err);
	for (unsigned int i = 0; i < cfg->nr_nets && r == 0; i++)
		r = create_net(vm, i, err);
	for (unsigned int i = 0; i < cfg->nr_consoles && r == 0; i++)
		r = create_console(vm, i, err);
	for (unsigned int i = 0; i < cfg->nr_shares && r == 0; i++)
		r = create_fs(vm, i, err);
	if (r == 0 && cfg->vsock.cid)
		r = create_vsock(vm, err);
	for (unsigned int i = 0; i < cfg->nr_foreigns && r == 0; i++)
		r = vm_vhost_user_create(vm, i, err);
	/*
	 * Last: Linux stops the last one first, and one that was stopped shows
	 * that the guest came back when the next refuses.
	 */
	if (r == 0 && cfg->rng)
		r = create_rng(vm, err);
	return r;
}
