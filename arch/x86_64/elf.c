/* SPDX-License-Identifier: BSD-3-Clause */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "arch/x86_64/boot.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory_map.h"

#define MAX_SEGMENTS	  64U
#define MAX_NOTE_BYTES	  65536U
#define NOTE_PHYS32_ENTRY 18U /* XEN_ELFNOTE_PHYS32_ENTRY */

/* A program header of either class. */
struct segment {
	uint32_t type;
	uint64_t offset;
	uint64_t gpa;
	uint64_t filesz;
	uint64_t memsz;
	uint64_t align;
};

struct elf {
	const struct image *img;
	bool is64;
	uint64_t entry;
	uint64_t phoff;
	unsigned int phentsize;
	unsigned int nr;
	struct segment segs[MAX_SEGMENTS];
};

static int malformed(const struct elf *elf, struct err *err, const char *what)
{
	return err_usage(err, -EINVAL,
			 "kernel '%s' is not a bootable ELF: %s; use an x86-64 "
			 "vmlinux or an executable with a PVH entry note",
			 elf->img->path, what);
}

/* What headers of both widths have to say. */
static int check_ehdr(const struct elf *elf, unsigned int type,
		      size_t phentsize, size_t known, struct err *err)
{
	if (type != ET_EXEC)
		return malformed(elf, err, "it is not a static executable");
	if (phentsize != known)
		return malformed(elf, err,
				 "its program headers have an "
				 "unknown size");
	return 0;
}

static int read_ehdr64(struct elf *elf, struct err *err)
{
	Elf64_Ehdr eh;
	int r = image_read(elf->img, 0, &eh, sizeof(eh), "ELF header", err);

	if (r < 0)
		return r;
	if (eh.e_machine != EM_X86_64)
		return malformed(elf, err, "it is for another machine");
	r = check_ehdr(elf, eh.e_type, eh.e_phentsize, sizeof(Elf64_Phdr), err);
	if (r < 0)
		return r;
	elf->entry = eh.e_entry;
	elf->phoff = eh.e_phoff;
	elf->phentsize = eh.e_phentsize;
	elf->nr = eh.e_phnum;
	return 0;
}

static int read_ehdr32(struct elf *elf, struct err *err)
{
	Elf32_Ehdr eh;
	int r = image_read(elf->img, 0, &eh, sizeof(eh), "ELF header", err);

	if (r < 0)
		return r;
	if (eh.e_machine != EM_386 && eh.e_machine != EM_X86_64)
		return malformed(elf, err, "it is for another machine");
	r = check_ehdr(elf, eh.e_type, eh.e_phentsize, sizeof(Elf32_Phdr), err);
	if (r < 0)
		return r;
	elf->entry = eh.e_entry;
	elf->phoff = eh.e_phoff;
	elf->phentsize = eh.e_phentsize;
	elf->nr = eh.e_phnum;
	return 0;
}

static int read_segment(struct elf *elf, unsigned int i, struct err *err)
{
	struct segment *seg = &elf->segs[i];
	union {
		Elf64_Phdr p64;
		Elf32_Phdr p32;
	} ph;
	int r;

	/* Cannot wrap: the one before this one was inside the file. */
	r = image_read(elf->img, elf->phoff + (uint64_t)i * elf->phentsize, &ph,
		       elf->phentsize, "program header", err);
	if (r < 0)
		return r;
	if (elf->is64)
		*seg = (struct segment){ ph.p64.p_type,	 ph.p64.p_offset,
					 ph.p64.p_paddr, ph.p64.p_filesz,
					 ph.p64.p_memsz, ph.p64.p_align };
	else
		*seg = (struct segment){ ph.p32.p_type,	 ph.p32.p_offset,
					 ph.p32.p_paddr, ph.p32.p_filesz,
					 ph.p32.p_memsz, ph.p32.p_align };
	return 0;
}

static int read_headers(struct elf *elf, struct err *err)
{
	uint8_t ident[EI_NIDENT];
	int r = image_read(elf->img, 0, ident, sizeof(ident), "ELF header",
			   err);

	if (r < 0)
		return r;
	if (ident[EI_DATA] != ELFDATA2LSB || ident[EI_VERSION] != EV_CURRENT)
		return malformed(elf, err, "it is not little-endian ELF 1");
	if (ident[EI_CLASS] != ELFCLASS64 && ident[EI_CLASS] != ELFCLASS32)
		return malformed(elf, err, "its class is neither 32 nor 64");
	elf->is64 = ident[EI_CLASS] == ELFCLASS64;
	r = elf->is64 ? read_ehdr64(elf, err) : read_ehdr32(elf, err);
	if (r < 0)
		return r;
	if (elf->nr > MAX_SEGMENTS)
		return malformed(elf, err, "it has too many program headers");
	for (unsigned int i = 0; i < elf->nr; i++) {
		r = read_segment(elf, i, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool overlap(const struct segment *a, const struct segment *b)
{
	return a->gpa < b->gpa + b->memsz && b->gpa < a->gpa + a->memsz;
}

static int check_segment(const struct elf *elf, unsigned int i,
			 uint64_t low_end, struct err *err)
{
	const struct segment *seg = &elf->segs[i];

	if (seg->filesz > seg->memsz)
		return malformed(elf, err,
				 "a segment is larger in the file than in "
				 "memory");
	if (seg->gpa < LAYOUT_KERNEL)
		return malformed(elf, err, "a segment lies below 1 MiB");
	if (seg->gpa > low_end || seg->memsz > low_end - seg->gpa)
		return err_usage(err, -ENOMEM,
				 "kernel '%s' has a segment of %" PRIu64
				 " bytes at 0x%" PRIx64
				 " and the guest's memory "
				 "ends at 0x%" PRIx64 "; raise --mem",
				 elf->img->path, seg->memsz, seg->gpa, low_end);
	for (unsigned int j = 0; j < i; j++) {
		const struct segment *other = &elf->segs[j];

		if (other->type == PT_LOAD && other->memsz > 0 &&
		    overlap(seg, other))
			return malformed(elf, err, "its segments overlap");
	}
	return 0;
}

/* All segments are checked before the first is loaded. */
static int load_segments(const struct elf *elf, const struct gmem *gm,
			 uint64_t low_end, uint64_t *ret_end, struct err *err)
{
	uint64_t end = 0;
	int r;

	for (unsigned int i = 0; i < elf->nr; i++) {
		const struct segment *seg = &elf->segs[i];

		if (seg->type != PT_LOAD || seg->memsz == 0)
			continue;
		r = check_segment(elf, i, low_end, err);
		if (r < 0)
			return r;
		end = MAX(end, seg->gpa + seg->memsz);
	}
	if (end == 0)
		return malformed(elf, err, "it has nothing to load");
	for (unsigned int i = 0; i < elf->nr; i++) {
		const struct segment *seg = &elf->segs[i];

		if (seg->type != PT_LOAD || seg->memsz == 0)
			continue;
		/* RAM is zero: what memsz adds needs no writing. */
		r = image_load(elf->img, seg->offset, seg->filesz, gm, seg->gpa,
			       "segment", err);
		if (r < 0)
			return r;
	}
	*ret_end = end;
	return 0;
}

static uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/* @buf: a PT_NOTE segment. Return: 1 and *ret if found, 0, -EINVAL. */
static int find_note(const struct elf *elf, const uint8_t *buf, uint64_t size,
		     uint64_t align, uint64_t *ret, struct err *err)
{
	uint64_t pos = 0;

	while (size - pos >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr nh; /* the same in both classes */
		uint64_t name, desc;

		memcpy(&nh, buf + pos, sizeof(nh));
		name = pos + sizeof(nh);
		desc = align_up(name + nh.n_namesz, align);
		if (desc > size || nh.n_descsz > size - desc)
			return malformed(elf, err,
					 "a note runs past its "
					 "segment");
		if (nh.n_type == NOTE_PHYS32_ENTRY && nh.n_namesz == 4 &&
		    memcmp(buf + name, "Xen", 4) == 0) {
			if (nh.n_descsz != 4 && nh.n_descsz != 8)
				return malformed(elf, err,
						 "its PVH entry note has a "
						 "wrong size");
			*ret = 0;
			memcpy(ret, buf + desc, nh.n_descsz);
			return 1;
		}
		/* The last note's padding may be missing. */
		pos = MIN(align_up(desc + nh.n_descsz, align), size);
	}
	return 0;
}

static int find_pvh_entry(const struct elf *elf, uint64_t *ret, struct err *err)
{
	for (unsigned int i = 0; i < elf->nr; i++) {
		const struct segment *seg = &elf->segs[i];
		_cleanup_free_ uint8_t *buf = NULL;
		int r;

		if (seg->type != PT_NOTE || seg->filesz == 0)
			continue;
		if (seg->filesz > MAX_NOTE_BYTES)
			return malformed(elf, err, "its notes are too long");
		buf = malloc(seg->filesz);
		if (!buf)
			return err_set_errno(err, -ENOMEM, "kernel '%s'",
					     elf->img->path);
		r = image_read(elf->img, seg->offset, buf, seg->filesz, "notes",
			       err);
		if (r < 0)
			return r;
		r = find_note(elf, buf, seg->filesz, seg->align == 8 ? 8 : 4,
			      ret, err);
		if (r != 0)
			return r;
	}
	return 0;
}

static bool entry_is_loaded(const struct elf *elf, uint64_t entry)
{
	for (unsigned int i = 0; i < elf->nr; i++) {
		const struct segment *seg = &elf->segs[i];

		if (seg->type == PT_LOAD && entry >= seg->gpa &&
		    entry - seg->gpa < seg->memsz)
			return true;
	}
	return false;
}

int elf_load(const struct image *img, const struct gmem *gm, uint64_t mem_bytes,
	     struct boot_kernel *ret, struct err *err)
{
	uint64_t low_end = memory_map_low_end(mem_bytes);
	struct elf elf = { .img = img };
	uint64_t end = 0;
	int pvh;
	int r = read_headers(&elf, err);

	if (r < 0)
		return r;
	pvh = find_pvh_entry(&elf, &elf.entry, err);
	if (pvh < 0)
		return pvh;
	if (!pvh && !elf.is64)
		return malformed(&elf, err,
				 "it is 32-bit and has no PVH entry note");
	if (!entry_is_loaded(&elf, elf.entry))
		return malformed(&elf, err, "its entry point is in no segment");
	r = load_segments(&elf, gm, low_end, &end, err);
	if (r < 0)
		return r;
	*ret = (struct boot_kernel){
		.entry = { pvh ? ARCH_ENTRY_PVH : ARCH_ENTRY_LINUX64,
			   elf.entry },
		.end = end,
		.initrd_end_max = low_end,
		.cmdline_max = BOOT_ELF_CMDLINE_MAX,
	};
	return 0;
}
