/* SPDX-License-Identifier: BSD-3-Clause */
/* See vmm/vm/memory.h. */
#define _GNU_SOURCE
#include "vmm/vm/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/machine/kvm.h"

#define MIB (1024ULL * 1024)

int vm_memory_create(struct vm *vm, struct err *err)
{
	struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES];
	uint64_t bytes = vm->cfg->mem_mib * MIB, offset = 0;
	unsigned int nr = arch_ram_ranges(bytes, ranges);
	int r;

	r = vm->ram_fd = fd_memfd_sealed("guest-ram", bytes,
					 vm->cfg->hugepages ? MFD_HUGETLB : 0);
	for (unsigned int i = 0; i < nr && r >= 0; i++) {
		struct gmem_region region = { .gpa = ranges[i].gpa,
					      .size = ranges[i].size,
					      .fd_offset = offset };

		region.fd = r = dup(vm->ram_fd);
		if (r < 0)
			break;
		r = gmem_add(&vm->gm, &region);
		if (r < 0)
			fd_close(&region.fd);
		offset += ranges[i].size;
	}
	if (r == -EFBIG)
		return err_usage(err, r,
				 "--mem %llu: more than the file size limit "
				 "(ulimit -f); raise that limit",
				 (unsigned long long)vm->cfg->mem_mib);
	if (r < 0)
		return err_set_errno(
			err, r, "--mem %llu: cannot get guest memory%s",
			(unsigned long long)vm->cfg->mem_mib,
			vm->cfg->hugepages ? "; --hugepages needs that much in "
					     "/proc/sys/vm/nr_hugepages"
					   : "");
	return 0;
}

int vm_memory_connect(struct vm *vm, struct err *err)
{
	for (unsigned int i = 0; i < vm->gm.nr; i++) {
		const struct gmem_region *reg = &vm->gm.regions[i];
		const struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = reg->gpa,
			.memory_size = reg->size,
			.userspace_addr = (uint64_t)(uintptr_t)reg->hva,
		};
		int r = kvm_set_memory(vm->vm_fd, &slot);

		if (r < 0)
			return err_set_errno(err, r, "KVM: guest memory");
		/* A crash of ours must not put the guest's secrets on disk. */
		(void)madvise(reg->hva, reg->size, MADV_DONTDUMP);
	}
	return 0;
}

void vm_memory_destroy(struct vm *vm)
{
	gmem_finish(&vm->gm);
	fd_close(&vm->ram_fd);
}
