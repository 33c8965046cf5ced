/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM takes from itself what it needs no more once everything is made: see
 * sandbox/jail.h. Its worker still opens its images, for another process of a
 * device; the main thread still removes its sockets and its links.
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
#include "vmm/vm/jail.h"
#include "vmm/vm/vfio.h"

#define CAP(cap) (1ULL << (cap))

/* Directories: of control socket, serial port, one for each device. */
#define MAX_DIRS  (2 + ARCH_MAX_VIRTIO)
#define MAX_PATHS (ARCH_MAX_VIRTIO + MAX_DIRS)

struct vm_paths {
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

static void add(struct vm_paths *paths, int fd, uint32_t may, unsigned int want)
{
	paths->all[paths->nr++] = (struct landlock_path){ fd, may };
	/* What belongs to somebody else, root uses by this one alone. */
	if (geteuid() == 0 && !root_may(fd, want))
		paths->caps |= CAP(CAP_DAC_OVERRIDE);
}

void vm_paths_keep_file(struct vm_paths *paths, int fd, bool ro)
{
	if (ro)
		add(paths, fd, LANDLOCK_MAY_READ, 4);
	else
		add(paths, fd, LANDLOCK_MAY_READ | LANDLOCK_MAY_WRITE, 6);
}

void vm_paths_keep_dir_of(struct vm_paths *paths, const char *path)
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

static void gather(const struct vm *vm, struct vm_paths *paths)
{
	const struct vm_config *cfg = vm->cfg;

	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		const struct vm_device *dev = &vm->devices[i];

		if (dev->option->keep)
			dev->option->keep(dev, paths);
	}
	vm_paths_keep_dir_of(paths, cfg->socket);
	vm_paths_keep_dir_of(paths, char_fd_link(&cfg->serial));
	/* A hung device has ids of its own there, in no namespace of ours. */
	if (cfg->sandbox == SANDBOX_WEAK)
		paths->caps |= CAP(CAP_KILL);
}

int vm_jail_rights(struct vm *vm, struct err *err)
{
	struct vm_paths paths = { .nr = 0 };
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
		r = jail_vcpu_prepare(&vm->vcpu_jail, vm->vfio != NULL);
	if (r == 0)
		r = jail_files_prepare(&vm->files_jail,
				       vm_vfio_needs_worker(vm));
	return r < 0 ? err_set_errno(err, r, "narrow the VMM") : 0;
}

int vm_jail_vcpu(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->set->ctx;

	return vm->vcpu_jail.insns ? jail_thread(&vm->vcpu_jail) : 0;
}

int vm_jail_files(void *ctx)
{
	struct vm *vm = ctx;

	return vm->files_jail.insns ? jail_thread(&vm->files_jail) : 0;
}

int vm_jail_main(struct vm *vm, struct err *err)
{
	bool connects = false;
	int r = 0;

	for (unsigned int i = 0; i < vm->nr_devices; i++)
		connects |= vm->devices[i].option->connects;
	if (vm->cfg->sandbox != SANDBOX_OFF)
		r = jail_vmm(connects);
	jail_program_free(&vm->vcpu_jail);
	jail_program_free(&vm->files_jail);
	return r < 0 ? err_set_errno(err, r, "seccomp filter of the VMM") : 0;
}
