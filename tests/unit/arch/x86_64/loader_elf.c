/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading of ELF kernels, Linux and PVH, with images made here: each refusal,
 * truncation at every length, and what a guest finds in its memory afterwards.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "tests/lib/loader_rig.h"

TestSuite(loader_elf, .init = loader_setup, .fini = loader_teardown,
	  .timeout = 240);

#define ELF_GPA	   (2 * MIB)
#define SEG_BYTES  64
#define NOTE_BYTES 20

static Elf64_Phdr *phdr64(unsigned int i)
{
	return (Elf64_Phdr *)(loader.kernel.data + sizeof(Elf64_Ehdr)) + i;
}

/* One segment of 64 bytes (256 in memory) at the end of the file. */
static void make_elf64(void)
{
	Elf64_Ehdr *eh = (Elf64_Ehdr *)loader.kernel.data;
	size_t offset = sizeof(*eh) + 2 * sizeof(Elf64_Phdr) + NOTE_BYTES;

	memset(loader.kernel.data, 0, sizeof(loader.kernel.data));
	*eh = (Elf64_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = ELF_GPA + 16,
		.e_phoff = sizeof(*eh),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	*phdr64(0) = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offset,
		.p_paddr = ELF_GPA,
		.p_filesz = SEG_BYTES,
		.p_memsz = 256,
	};
	*phdr64(1) = (Elf64_Phdr){
		.p_type = PT_NULL,
		.p_offset = offset - NOTE_BYTES,
		.p_filesz = NOTE_BYTES,
		.p_align = 4,
	};
	memset(loader.kernel.data + offset, 0x90, SEG_BYTES);
	loader.kernel.len = offset + SEG_BYTES;
}

/* Header, "Xen", and a 32-bit entry. */
static void put_note(uint8_t *p, uint32_t pvh_entry)
{
	const Elf64_Nhdr nh = { 4, 4, 18 };

	memcpy(p, &nh, sizeof(nh));
	memcpy(p + 12, "Xen", 4);
	memcpy(p + 16, &pvh_entry, 4);
}

static uint8_t *note(void)
{
	return loader.kernel.data + phdr64(1)->p_offset;
}

static void make_pvh64(void)
{
	make_elf64();
	phdr64(1)->p_type = PT_NOTE;
	put_note(note(), ELF_GPA + 32);
}

static void make_pvh32(void)
{
	Elf32_Ehdr *eh = (Elf32_Ehdr *)loader.kernel.data;
	Elf32_Phdr *ph = (Elf32_Phdr *)(eh + 1);
	uint32_t offset = sizeof(*eh) + 2 * sizeof(*ph) + NOTE_BYTES;

	memset(loader.kernel.data, 0, sizeof(loader.kernel.data));
	*eh = (Elf32_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(*eh),
		.e_phentsize = sizeof(*ph),
		.e_phnum = 2,
	};
	ph[0] = (Elf32_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offset,
		.p_paddr = ELF_GPA,
		.p_filesz = SEG_BYTES,
		.p_memsz = 256,
	};
	ph[1] = (Elf32_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offset - NOTE_BYTES,
		.p_filesz = NOTE_BYTES,
		.p_align = 4,
	};
	put_note(loader.kernel.data + offset - NOTE_BYTES, ELF_GPA + 48);
	memset(loader.kernel.data + offset, 0x90, SEG_BYTES);
	loader.kernel.len = offset + SEG_BYTES;
}

Test(loader_elf, elf64_without_a_note_is_entered_as_linux)
{
	const uint8_t *p;

	make_elf64();
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	cr_assert(eq(int, (int)loader.entry.mode, ARCH_ENTRY_LINUX64));
	cr_assert(eq(u64, loader.entry.rip, ELF_GPA + 16));
	p = ram_at(ELF_GPA, 256);
	for (size_t i = 0; i < 256; i++)
		cr_assert(eq(u8, p[i], i < SEG_BYTES ? 0x90 : 0));
	cr_assert(eq(u32, zero_page()->hdr.header, 0x53726448));
	cr_assert(eq(u64, zero_page()->acpi_rsdp_addr, LAYOUT_ACPI_BASE));
}

/* Linux copies COMMAND_LINE_SIZE bytes, NUL or none. */
Test(loader_elf, a_command_line_that_linux_cuts_is_refused)
{
	static void (*const makers[])(void) = { make_elf64, make_pvh64,
						make_pvh32 };
	static char line[2049];

	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		makers[i]();
		file_write(&loader.kernel);
		memset(line, 'x', 2048);
		cr_assert(eq(int, load_with(NULL, line), -E2BIG));
		cr_assert(loader.err.usage);
		line[2047] = '\0';
		cr_assert(eq(int, load_with(NULL, line), 0), "%s",
			  loader.err.msg);
	}
}

/* F000:FFF0 in real mode. */
Test(loader_elf, a_reset_by_firmware_is_a_reset)
{
	static const uint8_t reset[] = { 0xb0, 0xfe, 0xe6, 0x64 };

	make_elf64();
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	cr_assert(zero(int, memcmp(ram_at(0xffff0, sizeof(reset)), reset,
				   sizeof(reset))));
}

Test(loader_elf, pvh_elf64_is_entered_at_its_note)
{
	const uint8_t *info;
	uint64_t value;
	uint32_t magic;

	make_pvh64();
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	cr_assert(eq(int, (int)loader.entry.mode, ARCH_ENTRY_PVH));
	cr_assert(eq(u64, loader.entry.rip, ELF_GPA + 32));
	info = ram_at(LAYOUT_PVH_INFO, 56);
	memcpy(&magic, info, 4);
	cr_assert(eq(u32, magic, 0x336ec578));
	memcpy(&value, info + 24, 8);
	cr_assert(eq(u64, value, LAYOUT_CMDLINE));
	memcpy(&value, info + 32, 8);
	cr_assert(eq(u64, value, LAYOUT_ACPI_BASE));
	memcpy(&value, info + 40, 8);
	cr_assert(ge(u64, value, LAYOUT_PVH_INFO + 56));
	cr_assert(eq(u8, info[48], 4)); /* entries */
}

Test(loader_elf, pvh_elf32_is_entered_at_its_note)
{
	make_pvh32();
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	cr_assert(eq(int, (int)loader.entry.mode, ARCH_ENTRY_PVH));
	cr_assert(eq(u64, loader.entry.rip, ELF_GPA + 48));
}

Test(loader_elf, pvh_note_may_be_64_bits_and_come_second)
{
	const Elf64_Nhdr other = { 4, 3, 1 };
	const Elf64_Nhdr pvh = { 4, 8, 18 };
	const uint64_t address = ELF_GPA + 8;
	uint8_t *p;

	make_pvh64();
	/* After the segment: there is room. */
	phdr64(1)->p_offset = loader.kernel.len;
	phdr64(1)->p_filesz = 20 + 24;
	p = loader.kernel.data + loader.kernel.len;
	memcpy(p, &other, sizeof(other));
	memcpy(p + 12, "GNU", 4);
	memcpy(p + 20, &pvh, sizeof(pvh));
	memcpy(p + 32, "Xen", 4);
	memcpy(p + 36, &address, 8);
	loader.kernel.len += 20 + 24;
	cr_assert(eq(int, load(), 0), "%s", loader.err.msg);
	cr_assert(eq(u64, loader.entry.rip, address));
}

Test(loader_elf, initrd_of_a_pvh_kernel_is_a_module)
{
	const uint8_t *info;
	uint64_t modlist, gpa, size;

	make_pvh32();
	file_write(&loader.kernel);
	loader.initrd.len = 5000;
	memset(loader.initrd.data, 0x5a, loader.initrd.len);
	file_write(&loader.initrd);
	cr_assert(eq(int, load_with(loader.initrd.path, ""), 0), "%s",
		  loader.err.msg);
	info = ram_at(LAYOUT_PVH_INFO, 56);
	cr_assert(eq(u8, info[12], 1));
	memcpy(&modlist, info + 16, 8);
	memcpy(&gpa, ram_at(modlist, 16), 8);
	memcpy(&size, (uint8_t *)ram_at(modlist, 16) + 8, 8);
	cr_assert(eq(u64, gpa, RAM_BYTES - 0x2000));
	cr_assert(eq(u64, size, 5000));
	cr_assert(eq(int, memcmp(ram_at(gpa, size), loader.initrd.data, size),
		     0));
}

static void check_truncations(void)
{
	size_t full = loader.kernel.len;

	for (size_t len = 0; len < full; len++) {
		loader.kernel.len = len;
		cr_assert(lt(int, load(), 0), "length %zu", len);
		cr_assert(ne(ptr, strstr(loader.err.msg, loader.kernel.path),
			     NULL),
			  "%s", loader.err.msg);
	}
}

Test(loader_elf, elf64_truncated_anywhere_is_refused)
{
	make_elf64();
	check_truncations();
}

Test(loader_elf, pvh_elf64_truncated_anywhere_is_refused)
{
	make_pvh64();
	check_truncations();
}

Test(loader_elf, pvh_elf32_truncated_anywhere_is_refused)
{
	make_pvh32();
	check_truncations();
}

struct elf_case {
	const char *name;
	void (*spoil)(Elf64_Ehdr *eh, Elf64_Phdr *ph);
	const char *text;
};

static void elf_class(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_ident[EI_CLASS] = 3;
}

static void elf_endian(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_ident[EI_DATA] = ELFDATA2MSB;
}

static void elf_version(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_ident[EI_VERSION] = 2;
}

static void elf_machine(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_machine = EM_AARCH64;
}

static void elf_type(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_type = ET_DYN;
}

static void elf_phentsize(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_phentsize = 32;
}

static void elf_phnum(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_phnum = 0xffff;
}

static void elf_phoff_beyond(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_phoff = UINT64_MAX - 8;
	eh->e_phnum = 1;
}

static void elf_no_segments(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_phnum = 0;
}

static void elf_entry(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	eh->e_entry = ELF_GPA + 256;
}

static void elf_filesz(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	ph->p_memsz = SEG_BYTES - 1;
}

static void elf_low(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	ph->p_paddr = LAYOUT_ZERO_PAGE;
	eh->e_entry = LAYOUT_ZERO_PAGE;
}

static void elf_outside(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	ph->p_paddr = eh->e_entry = RAM_BYTES - SEG_BYTES;
}

static void elf_hole(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	ph->p_paddr = eh->e_entry = LAYOUT_VIRTIO_BASE;
}

static void elf_wraps(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	ph->p_memsz = UINT64_MAX - ELF_GPA + 1;
}

static void elf_offset_wraps(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	ph->p_offset = UINT64_MAX - 8;
}

static void elf_overlap(Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	ph[1] = ph[0];
	ph[1].p_paddr += 255;
}

static const struct elf_case elf_cases[] = {
	{ "class", elf_class, "class" },
	{ "endian", elf_endian, "little-endian" },
	{ "version", elf_version, "little-endian ELF 1" },
	{ "machine", elf_machine, "another machine" },
	{ "type", elf_type, "static executable" },
	{ "phentsize", elf_phentsize, "unknown size" },
	{ "phnum", elf_phnum, "too many" },
	{ "phoff beyond", elf_phoff_beyond, "truncated" },
	{ "no segments", elf_no_segments, "in no segment" },
	{ "entry", elf_entry, "in no segment" },
	{ "filesz", elf_filesz, "larger in the file" },
	{ "low", elf_low, "below 1 MiB" },
	{ "outside", elf_outside, "--mem" },
	{ "hole", elf_hole, "--mem" },
	{ "wraps", elf_wraps, "--mem" },
	{ "offset wraps", elf_offset_wraps, "truncated" },
	{ "overlap", elf_overlap, "overlap" },
};

Test(loader_elf, bad_elf_is_refused_with_its_reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(elf_cases); i++) {
		const struct elf_case *c = &elf_cases[i];

		make_elf64();
		c->spoil((Elf64_Ehdr *)loader.kernel.data, phdr64(0));
		cr_assert(lt(int, load(), 0), "%s", c->name);
		cr_assert(ne(ptr, strstr(loader.err.msg, c->text), NULL),
			  "%s: %s", c->name, loader.err.msg);
	}
}

struct note_case {
	uint32_t namesz, descsz;
	uint64_t filesz;
	const char *text;
};

static const struct note_case note_cases[] = {
	{ 4, 5, NOTE_BYTES, "runs past" },
	{ UINT32_MAX, 4, NOTE_BYTES, "runs past" },
	{ 4, UINT32_MAX, NOTE_BYTES, "runs past" },
	{ 4, 2, NOTE_BYTES, "wrong size" },
	{ 4, 4, 65537, "too long" },
	{ 4, 4, UINT64_MAX, "too long" },
};

Test(loader_elf, bad_notes_are_refused_with_their_reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(note_cases); i++) {
		const struct note_case *c = &note_cases[i];

		make_pvh64();
		memcpy(note(), &c->namesz, 4);
		memcpy(note() + 4, &c->descsz, 4);
		phdr64(1)->p_filesz = c->filesz;
		cr_assert(eq(int, load(), -EINVAL), "case %zu", i);
		cr_assert(ne(ptr, strstr(loader.err.msg, c->text), NULL),
			  "%zu: %s", i, loader.err.msg);
	}
}

Test(loader_elf, pvh_entry_outside_the_segments_is_refused)
{
	make_pvh64();
	put_note(note(), ELF_GPA - 1);
	cr_assert(eq(int, load(), -EINVAL));
	cr_assert(ne(ptr, strstr(loader.err.msg, "in no segment"), NULL));
}

Test(loader_elf, elf32_without_a_note_is_refused)
{
	make_pvh32();
	((Elf32_Phdr *)(loader.kernel.data + sizeof(Elf32_Ehdr)))[1].p_type =
		PT_NULL;
	cr_assert(eq(int, load(), -EINVAL));
	cr_assert(ne(ptr, strstr(loader.err.msg, "no PVH entry note"), NULL));
}

struct elf32_case {
	size_t offset; /* of a 16-bit field of the header */
	uint16_t value;
	const char *text;
};

static const struct elf32_case elf32_cases[] = {
	{ offsetof(Elf32_Ehdr, e_machine), EM_ARM, "another machine" },
	{ offsetof(Elf32_Ehdr, e_type), ET_REL, "static executable" },
	{ offsetof(Elf32_Ehdr, e_phentsize), 56, "unknown size" },
};

Test(loader_elf, bad_elf32_header_is_refused_with_its_reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(elf32_cases); i++) {
		const struct elf32_case *c = &elf32_cases[i];

		make_pvh32();
		memcpy(loader.kernel.data + c->offset, &c->value, 2);
		cr_assert(eq(int, load(), -EINVAL));
		cr_assert(ne(ptr, strstr(loader.err.msg, c->text), NULL),
			  "%zu: %s", i, loader.err.msg);
	}
}
