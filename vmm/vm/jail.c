/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM takes from itself what it needs no more once everything is made: see
 * sandbox/jail.h. What it still opens are its images, for a device's process
 * that is made anew; what it still removes are its sockets and its links.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/jail.h"
#include "vmm/base/fd.h"
#include "vmm/config/config.h"
#include "vmm/vm/device.h"
#include "vmm/vm/vm.h"

#define CAP(cap) (1ULL << (cap))

/* Directories: of control socket, vsock, serial port, consoles. */
#define MAX_DIRS  (3 + CONFIG_MAX_CONSOLES)
#define MAX_PATHS (LAYOUT_MAX_VIRTIO + MAX_DIRS)

struct paths {
	struct landlock_path all[MAX_PATHS];
	unsigned int nr;
	int dirs[MAX_DIRS]; /* ours */
	unsigned int nr_dirs;
	uint64_t caps;
};

/* May root without capabilities use it? @want: bits of rwx. */
static bool root_may(int fd, unsigned int want)
{
	struct stat st;
	unsigned int shift = 0;

	if (fstat(fd, &st) < 0)
		return true;
	if (st.st_uid == 0)
		shift = 6;
	else if (st.st_gid == getegid())
		shift = 3;
	return (st.st_mode >> shift & want) == want;
}

static void add(struct paths *paths, int fd, uint32_t may, unsigned int want)
{
	paths->all[paths->nr++] = (struct landlock_path){ fd, may };
	/* What belongs to somebody else, root uses by this one alone. */
	if (geteuid() == 0 && !root_may(fd, want))
		paths->caps |= CAP(CAP_DAC_OVERRIDE);
}

/* The directory of @path, where it is to be removed; NULL: none is. */
static void add_dir_of(struct paths *paths, const char *path)
{
	_cleanup_free_ char *copy = path ? strdup(path) : NULL;
	int fd;

	if (!copy)
		return;
	fd = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* It is gone already: nothing of it will have to be removed. */
	if (fd < 0)
		return;
	paths->dirs[paths->nr_dirs++] = fd;
	add(paths, fd, LANDLOCK_MAY_REMOVE, 3);
}

static const char *link_of(const struct char_config *cfg)
{
	return cfg->type == CHAR_PTY ? cfg->path : NULL;
}

static void gather(const struct vm *vm, struct paths *paths)
{
	const struct vm_config *cfg = vm->cfg;

	for (unsigned int i = 0; i < vm->nr_virtio; i++) {
		const struct vm_virtio *dev = &vm->virtio[i];

		if (!dev->has_image)
			continue;
		if (dev->image.ro)
			add(paths, dev->image.path_fd, LANDLOCK_MAY_READ, 4);
		else
			add(paths, dev->image.path_fd,
			    LANDLOCK_MAY_READ | LANDLOCK_MAY_WRITE, 6);
	}
	for (unsigned int i = 0; i < vm->nr_virtio; i++) {
		if (vm->virtio[i].vsock)
			add_dir_of(paths, vm->virtio[i].vsock->path);
	}
	add_dir_of(paths, cfg->socket);
	add_dir_of(paths, link_of(&cfg->serial));
	for (unsigned int i = 0; i < cfg->nr_consoles; i++)
		add_dir_of(paths, link_of(&cfg->consoles[i]));
	/* A hung device has ids of its own there, in no namespace of ours. */
	if (cfg->sandbox == SANDBOX_WEAK)
		paths->caps |= CAP(CAP_KILL);
}

int vm_jail_rights(struct vm *vm, struct err *err)
{
	struct paths paths = { .nr = 0 };
	int r;

	if (vm->cfg->sandbox == SANDBOX_OFF)
		return 0;
	gather(vm, &paths);
	r = spawner_seal(vm->spawner);
	if (r == 0)
		r = jail_vmm_rights(paths.all, paths.nr, paths.caps);
	while (paths.nr_dirs > 0)
		fd_close(&paths.dirs[--paths.nr_dirs]);
	if (r == 0)
		r = jail_vcpu_prepare(&vm->vcpu_jail);
	return r < 0 ? err_set_errno(err, r, "narrow the VMM") : 0;
}

int vm_jail_vcpu(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->set->ctx;

	return vm->vcpu_jail.insns ? jail_vcpu(&vm->vcpu_jail) : 0;
}

int vm_jail_main(struct vm *vm, struct err *err)
{
	int r = vm->cfg->sandbox == SANDBOX_OFF
			? 0
			: jail_vmm(vm->cfg->vsock.cid != 0);

	jail_program_free(&vm->vcpu_jail);
	return r < 0 ? err_set_errno(err, r, "seccomp filter of the VMM") : 0;
}
