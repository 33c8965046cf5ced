/* SPDX-License-Identifier: BSD-3-Clause */
/* The devices of the configuration, made in the order of the options' table. */
#include <errno.h>
#include <sys/mman.h>

#include "vmm/base/fd.h"
#include "vmm/machine/kvm.h"
#include "vmm/vm/device.h"

/* One read-only memslot spans the pages: reads do not exit, writes do. */
static int map_pages(struct vm *vm, unsigned int nr)
{
	struct kvm_userspace_memory_region slot = {
		.slot = ARCH_MAX_RAM_RANGES,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = vm->devices[0].slot.gpa,
		.memory_size = nr * (uint64_t)VIRTIO_REGPAGE_SIZE,
		.userspace_addr = (uint64_t)(uintptr_t)vm->pages,
	};

	return nr ? kvm_set_memory(vm->vm_fd, &slot) : 0;
}

/* Makes number @i of @option. */
static int create(struct vm *vm, const struct vm_device_option *option,
		  unsigned int i, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	struct vm_device *dev;
	int r;

	if (option->create)
		return option->create(vm, option, i, err);
	dev = vm_device_new(vm, option, option->type,
			    option->single ? -1 : (int)i, err);
	if (!dev)
		return -ENOSPC;
	r = option->open(dev, &fd, err);
	return r < 0 ? r : vm_device_start(vm, dev, err);
}

static int create_all(struct vm *vm, struct err *err)
{
	int r = 0;

	for (const struct vm_device_option *o = vm_device_options; o->option;
	     o++) {
		unsigned int n = config_count_devices(vm->cfg, o->option);

		for (unsigned int i = 0; i < n && r == 0; i++)
			r = create(vm, o, i, err);
	}
	return r;
}

int vm_devices_create(struct vm *vm, struct err *err)
{
	unsigned int nr = config_count_devices(vm->cfg, NULL);
	int r;

	if (nr == 0)
		return 0;
	/* A reservation; each device's memfd is mapped over its part. */
	vm->pages = mmap(NULL, (size_t)nr * VIRTIO_REGPAGE_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->pages == MAP_FAILED) {
		vm->pages = NULL;
		return err_set_errno(err, -errno, "register pages");
	}
	r = create_all(vm, err);
	if (r < 0)
		return r;
	r = map_pages(vm, nr);
	return r < 0 ? err_set_errno(err, r, "KVM: read-only memory") : 0;
}
