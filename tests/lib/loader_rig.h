/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the loader tests share: guest memory, image files made in memory, and
 * arch_load() on them. One thread; failures end the test.
 */
#ifndef TORPOR_TESTS_LIB_LOADER_RIG_H
#define TORPOR_TESTS_LIB_LOADER_RIG_H

#include <asm/bootparam.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"
#include "vmm/base/err.h"
#include "vmm/base/gmem.h"

#define MIB	  (1ULL << 20)
#define RAM_BYTES (64 * MIB)

/* A file of our own making, reached by path. */
struct file {
	int fd;
	char path[32];
	_Alignas(8) uint8_t data[8192];
	size_t len;
};

struct loader_rig {
	struct gmem gm;
	struct err err;
	struct arch_entry entry;
	struct file kernel, initrd;
};

extern struct loader_rig loader;

void loader_setup(void);
void loader_teardown(void);
void file_write(struct file *f);
int load_with(const char *initrd_path, const char *cmdline);
int load(void);
void *ram_at(uint64_t gpa, uint64_t len);
struct boot_params *zero_page(void);

#endif
