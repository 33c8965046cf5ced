/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading of bzImages, initrd and command line, with images made here: each
 * refusal, truncation at every length, and what a guest finds in its memory
 * afterwards.
 */
#define _GNU_SOURCE
#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/x86_64/layout.h"
#include "tests/lib/loader_rig.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem.h"

#define PREF 0x1000000ULL /* 16 MiB, as Linux has it */

TestSuite(loader, .init = loader_setup, .fini = loader_teardown,
	  .timeout = 240);

/* --- bzImage --- */

#define CODE_OFFSET 1024 /* setup_sects 1 */
#define CODE_BYTES  1024

static struct setup_header *bz_header(void)
{
	return (struct setup_header *)(loader.kernel.data + 0x1f1);
}

static void make_bzimage(void)
{
	struct setup_header *h = bz_header();

	memset(loader.kernel.data, 0, sizeof(loader.kernel.data));
	*h = (struct setup_header){
		.setup_sects = 1,
		.boot_flag = 0xaa55,
		.jump = 0xeb | 0x66 << 8,
		.header = 0x53726448,
		.version = 0x020f,
		.loadflags = LOADED_HIGH,
		.syssize = CODE_BYTES / 16,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 2 * MIB,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = PREF,
		.init_size = 8 * MIB,
	};
	for (size_t i = 0; i < CODE_BYTES; i++)
		loader.kernel.data[CODE_OFFSET + i] = (uint8_t)(i * 7 + 1);
	loader.kernel.len = CODE_OFFSET + CODE_BYTES;
}

Test(loader, bzimage_goes_to_its_preferred_address)
{
	make_bzimage();
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	cr_assert(eq(int, (int)loader.entry.mode, ARCH_ENTRY_LINUX64));
	cr_assert(eq(u64, loader.entry.rip, PREF + 0x200));
	cr_assert(eq(int,
		     memcmp(ram_at(PREF, CODE_BYTES),
			    loader.kernel.data + CODE_OFFSET, CODE_BYTES),
		     0));
}

Test(loader, zero_page_says_what_the_kernel_needs)
{
	const struct boot_params *bp;

	make_bzimage();
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	bp = zero_page();
	cr_assert(eq(u8, bp->hdr.type_of_loader, 0xff));
	cr_assert(eq(u32, bp->hdr.cmd_line_ptr, LAYOUT_CMDLINE));
	cr_assert(eq(int, strcmp(ram_at(LAYOUT_CMDLINE, 16), "console=ttyS0"),
		     0));
	cr_assert(eq(u64, bp->acpi_rsdp_addr, LAYOUT_ACPI_BASE));
	cr_assert(
		eq(int, memcmp(ram_at(LAYOUT_ACPI_BASE, 8), "RSD PTR ", 8), 0));
	cr_assert(eq(u32, bp->hdr.ramdisk_size, 0));
	cr_assert(eq(u32, bp->hdr.code32_start, PREF));
	cr_assert(eq(u64, bp->hdr.pref_address, PREF));
	cr_assert(eq(u32, bp->hdr.init_size, 8 * MIB));
	cr_assert(eq(u8, bp->sentinel, 0));
	cr_assert(eq(u8, bp->e820_entries, 4));
	cr_assert(eq(u64, bp->e820_table[0].size, LAYOUT_EBDA));
	cr_assert(eq(u64, bp->e820_table[2].addr, LAYOUT_KERNEL));
	cr_assert(eq(u64, bp->e820_table[2].size, RAM_BYTES - MIB));
}

Test(loader, cpu_tables_map_the_first_4_gib)
{
	const uint64_t *pml4, *pdpt, *pd, *gdt;

	make_bzimage();
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	pml4 = ram_at(LAYOUT_PAGE_TABLES, 6 * 4096);
	pdpt = ram_at(pml4[0] & ~0xfffULL, 4096);
	for (uint64_t i = 0; i < 2048; i++) {
		pd = ram_at(pdpt[i / 512] & ~0xfffULL, 4096);
		cr_assert(eq(u64, pd[i % 512], i << 21 | 0x83));
	}
	gdt = ram_at(LAYOUT_BOOT_GDT, 0x38);
	cr_assert(eq(u64, gdt[0], 0));
	cr_assert(eq(u64, gdt[2], 0x00af9b000000ffff));
	cr_assert(eq(u64, gdt[3], 0x00cf93000000ffff));
}

Test(loader, relocatable_bzimage_without_a_preference_goes_low)
{
	make_bzimage();
	bz_header()->pref_address = 0;
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	cr_assert(eq(u64, loader.entry.rip, 2 * MIB + 0x200));
}

Test(loader, setup_sects_zero_means_four)
{
	make_bzimage();
	bz_header()->setup_sects = 0;
	memmove(loader.kernel.data + 5 * 512, loader.kernel.data + CODE_OFFSET,
		CODE_BYTES);
	loader.kernel.len = 5 * 512 + CODE_BYTES;
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	cr_assert(eq(int,
		     memcmp(ram_at(PREF, CODE_BYTES),
			    loader.kernel.data + 5 * 512, CODE_BYTES),
		     0));
}

Test(loader, bzimage_truncated_anywhere_is_refused)
{
	make_bzimage();
	/* The last 15 bytes may be padding. */
	for (size_t len = 0; len <= CODE_OFFSET + CODE_BYTES - 16; len++) {
		int r;

		loader.kernel.len = len;
		r = load();
		cr_assert(lt(int, r, 0), "length %zu", len);
		cr_assert(ne(ptr, strstr(loader.err.msg, loader.kernel.path),
			     NULL),
			  "%s", loader.err.msg);
	}
}

Test(loader, bzimage_may_lack_its_padding)
{
	make_bzimage();
	loader.kernel.len -= 15;
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
}

struct bz_case {
	const char *name;
	void (*spoil)(struct setup_header *h);
	int code;
	const char *text; /* in the message */
};

static void spoil_magic(struct setup_header *h)
{
	h->header++;
}

static void spoil_boot_flag(struct setup_header *h)
{
	h->boot_flag = 0;
}

static void spoil_version(struct setup_header *h)
{
	h->version = 0x020b;
}

static void spoil_jump(struct setup_header *h)
{
	h->jump = 0xeb | 0x61 << 8;
}

static void spoil_64(struct setup_header *h)
{
	h->xloadflags = 0;
}

static void spoil_syssize(struct setup_header *h)
{
	h->syssize = 0x200 / 16;
}

static void spoil_syssize_max(struct setup_header *h)
{
	h->syssize = UINT32_MAX;
}

static void spoil_sects(struct setup_header *h)
{
	h->setup_sects = 255;
}

static void spoil_init_size(struct setup_header *h)
{
	h->init_size = UINT32_MAX;
}

static void spoil_pref(struct setup_header *h)
{
	h->pref_address = UINT64_MAX - 10;
}

static void spoil_pref_beyond(struct setup_header *h)
{
	h->pref_address = RAM_BYTES - MIB;
}

static void spoil_relocatable(struct setup_header *h)
{
	h->pref_address = 0x10000;
	h->relocatable_kernel = 0;
}

static void spoil_alignment_zero(struct setup_header *h)
{
	h->pref_address = 0;
	h->kernel_alignment = 0;
}

static void spoil_alignment_odd(struct setup_header *h)
{
	h->pref_address = 0;
	h->kernel_alignment = 3 << 20;
}

static void spoil_alignment_huge(struct setup_header *h)
{
	h->pref_address = 0;
	h->kernel_alignment = 1U << 31;
}

static const struct bz_case bz_cases[] = {
	{ "magic", spoil_magic, -ENOEXEC, "neither a bzImage nor an ELF" },
	{ "boot flag", spoil_boot_flag, -EINVAL, "boot flag" },
	{ "version", spoil_version, -EINVAL, "protocol 2.11" },
	{ "jump", spoil_jump, -EINVAL, "header is too short" },
	{ "32-bit", spoil_64, -EINVAL, "no 64-bit entry" },
	{ "no code", spoil_syssize, -EINVAL, "no code" },
	{ "huge code", spoil_syssize_max, -ENOMEM, "--mem" },
	{ "setup sectors", spoil_sects, -EINVAL, "truncated" },
	{ "init size", spoil_init_size, -ENOMEM, "--mem" },
	{ "address wraps", spoil_pref, -ENOMEM, "--mem" },
	{ "address beyond", spoil_pref_beyond, -ENOMEM, "--mem" },
	{ "fixed below", spoil_relocatable, -EINVAL, "not relocatable" },
	{ "alignment 0", spoil_alignment_zero, -EINVAL, "alignment" },
	{ "alignment odd", spoil_alignment_odd, -EINVAL, "alignment" },
	{ "alignment huge", spoil_alignment_huge, -EINVAL, "alignment" },
};

Test(loader, bad_bzimage_is_refused_with_its_reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(bz_cases); i++) {
		const struct bz_case *c = &bz_cases[i];
		int r;

		make_bzimage();
		c->spoil(bz_header());
		r = load();
		cr_assert(eq(int, r, c->code), "%s: %s", c->name,
			  loader.err.msg);
		cr_assert(ne(ptr, strstr(loader.err.msg, c->text), NULL),
			  "%s: %s", c->name, loader.err.msg);
	}
}

/* --- files, initrd, command line --- */

Test(loader, initrd_goes_as_high_as_it_can)
{
	const struct boot_params *bp;

	make_bzimage();
	file_write(&loader.kernel);
	loader.initrd.len = 4097;
	memset(loader.initrd.data, 0xa5, loader.initrd.len);
	file_write(&loader.initrd);
	cr_assert(eq(int, load_with(loader.initrd.path, NULL), 0), "%s",
		  loader.err.msg);
	bp = zero_page();
	cr_assert(eq(u32, bp->hdr.ramdisk_image, RAM_BYTES - 0x2000));
	cr_assert(eq(u32, bp->hdr.ramdisk_size, 4097));
	cr_assert(eq(int,
		     memcmp(ram_at(RAM_BYTES - 0x2000, 4097),
			    loader.initrd.data, 4097),
		     0));
}

Test(loader, initrd_respects_the_kernels_limit)
{
	make_bzimage();
	bz_header()->initrd_addr_max = 0x1ffffff;
	file_write(&loader.kernel);
	loader.initrd.len = 100;
	file_write(&loader.initrd);
	cr_assert(eq(int, load_with(loader.initrd.path, NULL), 0), "%s",
		  loader.err.msg);
	cr_assert(eq(u32, zero_page()->hdr.ramdisk_image, 0x1fff000));
}

Test(loader, initrd_that_meets_the_kernel_is_refused)
{
	/* The kernel ends at 24 MiB: no room, too little, just enough. */
	static const uint32_t limits[] = { 0, 23 * MIB, 24 * MIB - 1,
					   24 * MIB + 4095, 24 * MIB + 8191 };

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		int r;

		make_bzimage();
		bz_header()->initrd_addr_max = limits[i];
		file_write(&loader.kernel);
		loader.initrd.len = 8192;
		file_write(&loader.initrd);
		r = load_with(loader.initrd.path, NULL);
		cr_assert(eq(int, r, i == 4 ? 0 : -ENOMEM), "case %zu", i);
		cr_assert(eq(int, loader.err.usage, r < 0));
		if (r < 0)
			cr_assert(ne(ptr,
				     strstr(loader.err.msg, "does not fit"),
				     NULL));
	}
}

Test(loader, initrd_problems_name_the_initrd)
{
	make_bzimage();
	file_write(&loader.kernel);
	cr_assert(eq(int, load_with("/nonexistent/initrd", NULL), -ENOENT));
	cr_assert(ne(ptr,
		     strstr(loader.err.msg, "initrd '/nonexistent/initrd'"),
		     NULL));
	loader.initrd.len = 0;
	file_write(&loader.initrd);
	cr_assert(eq(int, load_with(loader.initrd.path, NULL), -EINVAL));
	cr_assert(ne(ptr, strstr(loader.err.msg, "is empty"), NULL));
}

Test(loader, command_line_of_exactly_the_limit_fits)
{
	static char line[ARCH_CMDLINE_MAX + 2];

	make_bzimage();
	file_write(&loader.kernel);
	memset(line, 'x', 2047);
	cr_assert(eq(int, load_with(NULL, line), 0), "%s", loader.err.msg);
	line[2047] = 'x';
	cr_assert(eq(int, load_with(NULL, line), -E2BIG));
	cr_assert(ne(ptr, strstr(loader.err.msg, "2048 bytes"), NULL), "%s",
		  loader.err.msg);

	/* What a kernel claims does not make our own buffer longer. */
	bz_header()->cmdline_size = UINT32_MAX;
	file_write(&loader.kernel);
	memset(line, 'x', ARCH_CMDLINE_MAX);
	cr_assert(eq(int, load_with(NULL, line), -E2BIG));
	line[ARCH_CMDLINE_MAX - 1] = '\0';
	cr_assert(eq(int, load_with(NULL, line), 0), "%s", loader.err.msg);
}

Test(loader, kernel_file_problems_are_told_apart)
{
	char path[] = "/tmp/torpor-loader-XXXXXX";

	cr_assert(ne(ptr, mkdtemp(path), NULL));
	(void)snprintf(loader.kernel.path, sizeof(loader.kernel.path), "%s",
		       path);
	cr_assert(eq(int, load_with(NULL, NULL), -EISDIR));
	cr_assert(ne(ptr, strstr(loader.err.msg, "regular file"), NULL));

	(void)snprintf(loader.kernel.path, sizeof(loader.kernel.path), "%s/k",
		       path);
	cr_assert(eq(int, load_with(NULL, NULL), -ENOENT));
	cr_assert(ne(ptr, strstr(loader.err.msg, "cannot be opened"), NULL));

	/* Nobody writes to the FIFO, and nobody waits for it. */
	cr_assert(eq(int, mkfifo(loader.kernel.path, 0600), 0));
	cr_assert(eq(int, load_with(NULL, NULL), -EINVAL));
	cr_assert(ne(ptr, strstr(loader.err.msg, "regular file"), NULL));
	cr_assert(eq(int, unlink(loader.kernel.path), 0));
	cr_assert(eq(int, rmdir(path), 0));
}

Test(loader, text_is_not_a_kernel)
{
	loader.kernel.len = (size_t)snprintf((char *)loader.kernel.data,
					     sizeof(loader.kernel.data),
					     "#!/bin/sh\necho hello\n");
	cr_assert(eq(int, load(), -ENOEXEC));
	cr_assert(ne(ptr,
		     strstr(loader.err.msg, "neither a bzImage nor an ELF"),
		     NULL));
}

Test(loader, memory_too_small_to_boot_is_refused)
{
	const struct arch_config cfg = {
		.kernel_path = "/nonexistent",
		.mem_bytes = MIB,
		.nr_vcpus = 1,
	};

	cr_assert(eq(int,
		     arch_load(&cfg, &loader.gm, &loader.entry, &loader.err),
		     -ENOMEM));
	cr_assert(ne(ptr, strstr(loader.err.msg, "--mem"), NULL));
}

/* The kernels of this distribution, where they are installed. */
Test(loader, distribution_kernels_load)
{
	glob_t found;

	if (glob("/boot/vmlinuz-*", 0, NULL, &found) != 0)
		cr_skip_test("no kernel in /boot");
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const struct arch_config cfg = {
			.kernel_path = found.gl_pathv[i],
			.cmdline = "quiet",
			.mem_bytes = 512 * MIB,
			.nr_vcpus = 1,
		};
		struct gmem_region region = { .size = 512 * MIB };
		struct gmem big = { 0 };

		region.fd = fd_memfd_sealed("ram", region.size, 0);
		cr_assert(ge(int, region.fd, 0));
		cr_assert(eq(int, gmem_add(&big, &region), 0));
		cr_assert(eq(int,
			     arch_load(&cfg, &big, &loader.entry, &loader.err),
			     0),
			  "%s", loader.err.msg);
		cr_assert(eq(u64, loader.entry.rip % 0x200, 0));
		gmem_finish(&big);
	}
	globfree(&found);
}
