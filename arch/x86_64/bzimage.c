/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "arch/x86_64/boot.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory_map.h"

#define SECTOR		512U
#define HDR_OFFSET	0x1f1U
#define JUMP_TARGET	0x202U /* of a jump by 0 bytes; the header ends there */
#define VERSION_MIN	0x020cU /* 2.12: xloadflags */
#define BOOT_FLAG	0xaa55U
#define SETUP_SECTS_OLD 4U /* what 0 means */
#define SYSSIZE_UNIT	16U
#define ENTRY64		0x200U /* from the load address */
#define ALIGNMENT_MAX	(1U << 30)

/* The fields from setup_sects to init_size: what version 2.12 promises. */
#define HDR_BYTES_MIN (offsetof(struct setup_header, init_size) + 4)

static int malformed(const struct image *img, struct err *err, const char *what)
{
	return err_usage(
		err, -EINVAL,
		"kernel '%s' is not a valid bzImage: %s; use a kernel's "
		"arch/x86/boot/bzImage or a distribution's vmlinuz",
		img->path, what);
}

static int read_header(const struct image *img, struct setup_header *hdr,
		       struct err *err)
{
	struct setup_header h = { 0 };
	uint64_t len;
	int r = image_read(img, HDR_OFFSET, &h, HDR_BYTES_MIN, "setup header",
			   err);

	if (r < 0)
		return r;
	if (h.boot_flag != BOOT_FLAG)
		return malformed(img, err, "its boot flag is not 0xaa55");
	if (h.version < VERSION_MIN)
		return err_usage(
			err, -EINVAL,
			"kernel '%s' speaks boot protocol %u.%02u, 2.12 "
			"is needed; use Linux 3.8 or later",
			img->path, h.version >> 8, h.version & 0xff);
	/* The jump at 0x200 leaps over the header and so tells its length. */
	len = JUMP_TARGET + (h.jump >> 8) - HDR_OFFSET;
	if (len < HDR_BYTES_MIN)
		return malformed(img, err, "its setup header is too short");
	len = MIN(len, (uint64_t)sizeof(h));
	r = image_read(img, HDR_OFFSET, &h, len, "setup header", err);
	if (r < 0)
		return r;
	if (!(h.xloadflags & XLF_KERNEL_64))
		return err_usage(err, -EINVAL,
				 "kernel '%s' has no 64-bit entry point; use a "
				 "64-bit (x86_64) kernel",
				 img->path);
	*hdr = h;
	return 0;
}

/*
 * Where to load. A relocatable kernel loaded below pref_address moves itself
 * there, so that RAM must reach beyond pref_address + init_size anyhow: that
 * is the address to use, unless it makes no sense.
 */
static int choose_address(const struct image *img,
			  const struct setup_header *hdr, uint64_t *ret,
			  struct err *err)
{
	uint32_t align = hdr->kernel_alignment;

	if (hdr->pref_address >= LAYOUT_KERNEL) {
		*ret = hdr->pref_address;
		return 0;
	}
	if (!hdr->relocatable_kernel)
		return err_usage(
			err, -EINVAL,
			"kernel '%s' is not relocatable and wants to be "
			"at 0x%" PRIx64 ", below 1 MiB; build it with "
			"CONFIG_RELOCATABLE=y",
			img->path, (uint64_t)hdr->pref_address);
	if (align == 0 || (align & (align - 1)) || align > ALIGNMENT_MAX)
		return malformed(img, err,
				 "its alignment is not a power of two");
	*ret = ((uint64_t)LAYOUT_KERNEL + align - 1) & ~((uint64_t)align - 1);
	return 0;
}

int bzimage_load(const struct image *img, const struct gmem *gm,
		 uint64_t mem_bytes, struct boot_kernel *ret, struct err *err)
{
	uint64_t low_end = memory_map_low_end(mem_bytes);
	struct setup_header hdr = { 0 };
	uint64_t offset, len, used, gpa = 0;
	int r = read_header(img, &hdr, err);

	if (r < 0)
		return r;
	offset = (hdr.setup_sects ? hdr.setup_sects : SETUP_SECTS_OLD) + 1;
	offset *= SECTOR;
	len = (uint64_t)hdr.syssize * SYSSIZE_UNIT;
	if (len <= ENTRY64)
		return malformed(img, err, "it says that it has no code");
	/* syssize is rounded up, the file need not be padded. */
	if (img->size > offset && img->size - offset < len &&
	    len - (img->size - offset) < SYSSIZE_UNIT)
		len = img->size - offset;

	r = choose_address(img, &hdr, &gpa, err);
	if (r < 0)
		return r;
	used = MAX(len, (uint64_t)hdr.init_size);
	if (gpa > low_end || used > low_end - gpa)
		return err_usage(err, -ENOMEM,
				 "kernel '%s' needs %" PRIu64
				 " bytes of memory "
				 "at 0x%" PRIx64 " and the guest's ends at "
				 "0x%" PRIx64 "; raise --mem",
				 img->path, used, gpa, low_end);
	r = image_load(img, offset, len, gm, gpa, "protected-mode code", err);
	if (r < 0)
		return r;
	hdr.code32_start = (uint32_t)gpa;
	*ret = (struct boot_kernel){
		.entry = { ARCH_ENTRY_LINUX64, gpa + ENTRY64 },
		.end = gpa + used,
		.initrd_end_max = (uint64_t)hdr.initrd_addr_max + 1,
		.cmdline_max = hdr.cmdline_size,
		.hdr = hdr,
	};
	return 0;
}
