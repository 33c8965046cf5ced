/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the loader tests share: guest memory, image files made in memory, and
 * arch_load() on them. One test program includes it, in one file.
 */
#ifndef TORPOR_TESTS_UNIT_LOADER_FIXTURE_H
#define TORPOR_TESTS_UNIT_LOADER_FIXTURE_H

#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/arch.h"
#include "arch/x86_64/layout.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem.h"

#define MIB	  (1ULL << 20)
#define RAM_BYTES (64 * MIB)

static struct gmem gm;
static struct err err;
static struct arch_entry entry;

/* A file of our own making, reached by path. */
struct file {
	int fd;
	char path[32];
	_Alignas(8) uint8_t data[8192];
	size_t len;
};

static struct file kernel = { .fd = -1 }, initrd = { .fd = -1 };

static inline void setup(void)
{
	struct gmem_region region = { .size = RAM_BYTES };

	region.fd = fd_memfd_sealed("ram", RAM_BYTES, 0);
	cr_assert(ge(int, region.fd, 0));
	cr_assert(eq(int, gmem_add(&gm, &region), 0));
}

static inline void teardown(void)
{
	gmem_finish(&gm);
	fd_close(&kernel.fd);
	fd_close(&initrd.fd);
}

static inline void file_write(struct file *f)
{
	fd_close(&f->fd);
	f->fd = memfd_create("image", MFD_CLOEXEC);
	cr_assert(ge(int, f->fd, 0));
	cr_assert(eq(int, fd_write_all(f->fd, f->data, f->len), 0));
	(void)snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->fd);
}

static inline int load_with(const char *initrd_path, const char *cmdline)
{
	const struct arch_config cfg = {
		.kernel_path = kernel.path,
		.initrd_path = initrd_path,
		.cmdline = cmdline,
		.mem_bytes = RAM_BYTES,
		.nr_vcpus = 1,
	};

	err = (struct err){ .msg = "" };
	return arch_load(&cfg, &gm, &entry, &err);
}

static inline int load(void)
{
	file_write(&kernel);
	return load_with(NULL, "console=ttyS0");
}

static inline void *at(uint64_t gpa, uint64_t len)
{
	void *hva = NULL;

	cr_assert(eq(int, gmem_span(&gm, gpa, len, &hva), 0));
	return hva;
}

static inline struct boot_params *zero_page(void)
{
	return at(LAYOUT_ZERO_PAGE, sizeof(struct boot_params));
}

#endif
