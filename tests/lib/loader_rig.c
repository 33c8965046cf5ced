/* SPDX-License-Identifier: BSD-3-Clause */
/* See loader_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/loader_rig.h"

#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <sys/mman.h>

#include "arch/arch.h"
#include "arch/x86_64/layout.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem.h"

struct loader_rig loader = { .kernel.fd = -1, .initrd.fd = -1 };

void loader_setup(void)
{
	struct gmem_region region = { .size = RAM_BYTES };

	region.fd = fd_memfd_sealed("ram", RAM_BYTES, 0);
	cr_assert(ge(int, region.fd, 0));
	cr_assert(eq(int, gmem_add(&loader.gm, &region), 0));
}

void loader_teardown(void)
{
	gmem_finish(&loader.gm);
	fd_close(&loader.kernel.fd);
	fd_close(&loader.initrd.fd);
}

void file_write(struct file *f)
{
	fd_close(&f->fd);
	f->fd = memfd_create("image", MFD_CLOEXEC);
	cr_assert(ge(int, f->fd, 0));
	cr_assert(eq(int, fd_write_all(f->fd, f->data, f->len), 0));
	(void)snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->fd);
}

int load_with(const char *initrd_path, const char *cmdline)
{
	const struct arch_config cfg = {
		.kernel_path = loader.kernel.path,
		.initrd_path = initrd_path,
		.cmdline = cmdline,
		.mem_bytes = RAM_BYTES,
		.nr_vcpus = 1,
	};

	loader.err = (struct err){ .msg = "" };
	return arch_load(&cfg, &loader.gm, &loader.entry, &loader.err);
}

int load(void)
{
	file_write(&loader.kernel);
	return load_with(NULL, "console=ttyS0");
}

void *ram_at(uint64_t gpa, uint64_t len)
{
	void *hva = NULL;

	cr_assert(eq(int, gmem_span(&loader.gm, gpa, len, &hva), 0));
	return hva;
}

struct boot_params *zero_page(void)
{
	return ram_at(LAYOUT_ZERO_PAGE, sizeof(struct boot_params));
}
