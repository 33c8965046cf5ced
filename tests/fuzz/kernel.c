/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel and initrd files: loaded into guest memory that ends where the
 * sanitizer sees it. The first bytes of the input choose memory size, initrd
 * and command line, the rest is the kernel.
 */
#define _GNU_SOURCE
#include <asm/bootparam.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/arch.h"
#include "arch/x86_64/layout.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/fd.h"

#define MIB	(1ULL << 20)
#define MAX_MIB 32U

static const uint8_t mib_of[] = { 2, 3, 16, MAX_MIB };
static struct gmem memories[ARRAY_SIZE(mib_of)];

void fuzz_setup(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(mib_of); i++) {
		struct gmem_region region = { .size = mib_of[i] * MIB,
					      .fd = -1 };

		region.hva = calloc(1, region.size);
		fuzz_check(region.hva);
		fuzz_check(gmem_add(&memories[i], &region) == 0);
	}
}

static int file_of(const void *data, size_t len, char path[40])
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	fuzz_check(fd >= 0 && fd_write_all(fd, data, len) == 0);
	(void)snprintf(path, 40, "/proc/self/fd/%d", fd);
	return fd;
}

void fuzz_one(struct fuzz_in *in)
{
	static const struct arch_virtio_slot slots[2] = {
		{ LAYOUT_VIRTIO_BASE, 16 },
		{ LAYOUT_VIRTIO_BASE + LAYOUT_VIRTIO_STRIDE, 17 },
	};
	static char cmdline[ARCH_CMDLINE_MAX + 16];
	char kernel_path[40], initrd_path[40];
	uint8_t how = fuzz_u8(in);
	size_t params = fuzz_u8(in) * 256U;
	const struct gmem *gm = &memories[how % 4];
	struct arch_config cfg = { .kernel_path = kernel_path,
				   .cmdline = cmdline,
				   .mem_bytes = gm->regions[0].size,
				   .nr_vcpus = 1 + (how >> 5),
				   .virtio = slots,
				   .nr_virtio = how >> 3 & 1 ? 2 : 0,
				   .nr_ioapic_pins = 24,
				   .invariant_tsc = -1 };
	struct arch_entry entry = { 0 };
	struct err err = { "" };
	int initrd = -1, kernel, r;

	memset(cmdline, 'x', params);
	cmdline[params] = '\0';
	if (how & 4) {
		initrd = file_of(cmdline, 1 + params, initrd_path);
		/* Perhaps larger than all memory. */
		if (how & 16)
			(void)!ftruncate(initrd, (off_t)(params * 1024));
		cfg.initrd_path = initrd_path;
	}
	kernel = file_of(in->data, in->len, kernel_path);
	r = arch_load(&cfg, gm, &entry, &err);
	fuzz_check(r <= 0);
	if (r < 0)
		fuzz_check(err.msg[0]);
	else
		fuzz_check(entry.rip < cfg.mem_bytes);
	fd_close(&kernel);
	fd_close(&initrd);
}

/* ------------------------------------------------------------------ seeds */

static void seed_bzimage(void)
{
	uint8_t buf[2 + 3072] = { 2, 0 };
	struct setup_header h = {
		.setup_sects = 1,
		.boot_flag = 0xaa55,
		.jump = 0xeb | 0x66 << 8,
		.header = 0x53726448,
		.version = 0x020f,
		.loadflags = LOADED_HIGH,
		.syssize = 64,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.min_alignment = 21,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = MIB,
		.init_size = 0x100000,
	};

	memcpy(buf + 2 + 0x1f1, &h, sizeof(h));
	for (unsigned int how = 0; how < 4; how++) {
		buf[0] = (uint8_t)(2 + (how & 1) * 4 + (how & 2) * 4);
		fuzz_seed(buf, sizeof(buf));
	}
}

static void seed_elf(bool pvh)
{
	struct {
		uint8_t how[2];
		Elf64_Ehdr eh;
		Elf64_Phdr ph[2];
		Elf64_Nhdr note;
		char name[4];
		uint32_t entry;
		uint8_t text[64];
	} __attribute__((packed)) f = {
		.how = { 2, 0 },
		.eh = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3,
				     ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = MIB,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2 },
		.note = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.name = "Xen",
		.entry = MIB,
	};
	const uint32_t base = sizeof(f.how);

	f.ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
				.p_offset = (char *)f.text - (char *)&f - base,
				.p_vaddr = MIB,
				.p_paddr = MIB,
				.p_filesz = sizeof(f.text),
				.p_memsz = 4096,
				.p_align = 4096 };
	f.ph[1] = (Elf64_Phdr){ .p_type = pvh ? PT_NOTE : PT_NULL,
				.p_offset = (char *)&f.note - (char *)&f - base,
				.p_filesz = 20,
				.p_memsz = 20,
				.p_align = 4 };
	fuzz_seed(&f, sizeof(f));
}

void fuzz_seeds(void)
{
	seed_bzimage();
	seed_elf(false);
	seed_elf(true);
}
