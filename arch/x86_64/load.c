/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "arch/x86_64/acpi.h"
#include "arch/x86_64/boot.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory_map.h"

#define PAGE_MASK	     0xfffULL
#define BZIMAGE_MAGIC_OFFSET 0x202U
#define BZIMAGE_MAGIC	     "HdrS"

_Static_assert(ARCH_MAX_VIRTIO == LAYOUT_MAX_VIRTIO, "one GPE each");

static int load_kernel(const struct arch_config *cfg, const struct gmem *gm,
		       struct boot_kernel *ret, struct err *err)
{
	_cleanup_image_ struct image img = { .fd = -1 };
	uint8_t start[BZIMAGE_MAGIC_OFFSET + 4] = { 0 };
	int r = image_open(&img, "kernel", cfg->kernel_path, err);

	if (r < 0)
		return r;
	r = image_read(&img, 0, start, MIN(img.size, (uint64_t)sizeof(start)),
		       "first sector", err);
	if (r < 0)
		return r;
	if (memcmp(start, ELFMAG, SELFMAG) == 0)
		return elf_load(&img, gm, cfg->mem_bytes, ret, err);
	if (memcmp(start + BZIMAGE_MAGIC_OFFSET, BZIMAGE_MAGIC, 4) == 0)
		return bzimage_load(&img, gm, cfg->mem_bytes, ret, err);
	return err_usage(
		err, -ENOEXEC,
		"kernel '%s' is neither a bzImage nor an ELF file; give "
		"a complete, uncompressed vmlinuz, bzImage or vmlinux",
		cfg->kernel_path);
}

/* As high as possible: kernels decompress and grow upwards from below. */
static int load_initrd(const struct arch_config *cfg, const struct gmem *gm,
		       const struct boot_kernel *kernel,
		       struct boot_initrd *ret, struct err *err)
{
	_cleanup_image_ struct image img = { .fd = -1 };
	uint64_t end, room, gpa;
	int r;

	*ret = (struct boot_initrd){ 0 };
	if (!cfg->initrd_path)
		return 0;
	r = image_open(&img, "initrd", cfg->initrd_path, err);
	if (r < 0)
		return r;
	end = MIN(kernel->initrd_end_max, memory_map_low_end(cfg->mem_bytes));
	room = end > kernel->end ? end - kernel->end : 0;
	gpa = img.size <= room ? (end - img.size) & ~PAGE_MASK : 0;
	if (gpa < kernel->end)
		return err_usage(err, -ENOMEM,
				 "initrd '%s' (%" PRIu64 " bytes) does not fit "
				 "between the kernel's end at 0x%" PRIx64
				 " and 0x%" PRIx64 "; raise --mem",
				 img.path, img.size, kernel->end, end);
	r = image_load(&img, 0, img.size, gm, gpa, "content", err);
	if (r < 0)
		return r;
	*ret = (struct boot_initrd){ .gpa = gpa, .size = img.size };
	return 0;
}

_Static_assert(LAYOUT_CMDLINE + ARCH_CMDLINE_MAX <= LAYOUT_EBDA,
	       "the command line is in low RAM");

static int write_cmdline(const struct arch_config *cfg, const struct gmem *gm,
			 const struct boot_kernel *kernel, struct err *err)
{
	const char *cmdline = cfg->cmdline ? cfg->cmdline : "";
	uint64_t max = MIN(kernel->cmdline_max, ARCH_CMDLINE_MAX - 1ULL);
	size_t len = strlen(cmdline);
	void *hva;

	if (len > max)
		return err_usage(
			err, -E2BIG,
			"kernel command line has %zu bytes, kernel '%s' "
			"takes %" PRIu64 "; shorten --params (the "
			"length counts the console= and panic= that "
			"are added where it has none)",
			len, cfg->kernel_path, max);
	if (gmem_span(gm, LAYOUT_CMDLINE, len + 1, &hva) < 0)
		return -EFAULT;
	memcpy(hva, cmdline, len + 1);
	return 0;
}

static int write_structures(const struct arch_config *cfg,
			    const struct gmem *gm,
			    const struct boot_kernel *kernel,
			    const struct boot_initrd *initrd)
{
	int r = boot_tables_write(gm);

	if (r < 0)
		return r;
	if (kernel->entry.mode == ARCH_ENTRY_PVH)
		r = pvh_write(gm, cfg, initrd);
	else
		r = zero_page_write(gm, cfg, kernel, initrd);
	return r < 0 ? r : acpi_write(cfg, gm);
}

int arch_load(const struct arch_config *cfg, const struct gmem *gm,
	      struct arch_entry *ret_entry, struct err *err)
{
	struct boot_kernel kernel = { 0 };
	struct boot_initrd initrd = { 0 };
	int r;

	assert(cfg->nr_vcpus >= 1 && cfg->nr_vcpus <= ARCH_MAX_VCPUS);
	assert(cfg->nr_virtio <= LAYOUT_MAX_VIRTIO);
	if (cfg->mem_bytes < MEMORY_MAP_MIN_RAM)
		return err_usage(err, -ENOMEM,
				 "guest memory of %" PRIu64
				 " bytes is too small "
				 "to boot; raise --mem",
				 cfg->mem_bytes);
	r = load_kernel(cfg, gm, &kernel, err);
	if (r < 0)
		return r;
	r = load_initrd(cfg, gm, &kernel, &initrd, err);
	if (r < 0)
		return r;
	r = write_cmdline(cfg, gm, &kernel, err);
	if (r < 0)
		return r;
	r = write_structures(cfg, gm, &kernel, &initrd);
	if (r < 0)
		return err_set_errno(err, r,
				     "write boot tables to guest "
				     "memory");
	*ret_entry = kernel.entry;
	return 0;
}
