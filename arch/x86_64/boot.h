/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pieces of arch_load(): one loader a kernel format, one writer a boot
 * protocol, and the CPU tables both need. Main thread, before the guest runs.
 *
 * Specs: Linux Documentation/x86/boot.rst; ELF gABI; the x86 HVM direct boot
 * ABI (PVH) of Xen.
 */
#ifndef TORPOR_ARCH_X86_64_BOOT_H
#define TORPOR_ARCH_X86_64_BOOT_H

#include <asm/bootparam.h>
#include <stdint.h>

#include "arch/arch.h"
#include "arch/x86_64/image.h"

/* Selectors in the table at LAYOUT_BOOT_GDT. The first two are ABI. */
#define BOOT_SEL_CODE64 0x10
#define BOOT_SEL_DATA	0x18
#define BOOT_SEL_CODE32 0x20
#define BOOT_SEL_TSS	0x28 /* 16 bytes */
#define BOOT_GDT_BYTES	0x38

/*
 * An ELF has no header that tells how long a command line it takes: Linux's
 * COMMAND_LINE_SIZE on x86, without the NUL. It copies as much whatever is
 * there, so a longer one has no end.
 */
#define BOOT_ELF_CMDLINE_MAX 2047U

/* A kernel in guest memory, before it is told about its surroundings. */
struct boot_kernel {
	struct arch_entry entry;
	uint64_t end;		 /* first gpa it does not use */
	uint64_t initrd_end_max; /* the initrd must end here or below */
	uint64_t cmdline_max;	 /* bytes without the NUL */
	struct setup_header hdr; /* bzImage: of the file, else zero */
};

struct boot_initrd {
	uint64_t gpa;
	uint64_t size; /* 0 = none */
};

/* Loads a bzImage (boot protocol 2.12 or later, 64-bit entry). */
int bzimage_load(const struct image *img, const struct gmem *gm,
		 uint64_t mem_bytes, struct boot_kernel *ret,
		 struct err *err) must_check;

/*
 * Loads an ELF executable: one with a PVH note (ELF64 or ELF32) is entered
 * there, an ELF64 without at e_entry by the 64-bit Linux protocol.
 */
int elf_load(const struct image *img, const struct gmem *gm, uint64_t mem_bytes,
	     struct boot_kernel *ret, struct err *err) must_check;

/*
 * struct boot_params at LAYOUT_ZERO_PAGE; the command line is in place.
 * 0 or -EFAULT.
 */
int zero_page_write(const struct gmem *gm, const struct arch_config *cfg,
		    const struct boot_kernel *kernel,
		    const struct boot_initrd *initrd) must_check;

/* struct hvm_start_info at LAYOUT_PVH_INFO. 0 or -EFAULT. */
int pvh_write(const struct gmem *gm, const struct arch_config *cfg,
	      const struct boot_initrd *initrd) must_check;

/*
 * GDT, identity page tables of the first 4 GiB, and what stands in for firmware
 * at the reset vector. 0 or -EFAULT.
 */
int boot_tables_write(const struct gmem *gm) must_check;

#endif
