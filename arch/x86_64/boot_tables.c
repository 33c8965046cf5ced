/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <string.h>

#include "arch/x86_64/boot.h"
#include "arch/x86_64/layout.h"

#define PAGE_BYTES	    0x1000ULL
#define NR_PAGE_DIRECTORIES 4U /* 1 GiB each */
#define ENTRIES		    512U

#define PTE_PRESENT (1ULL << 0)
#define PTE_WRITE   (1ULL << 1)
#define PTE_LARGE   (1ULL << 7)

_Static_assert(LAYOUT_BOOT_GDT + BOOT_GDT_BYTES <= LAYOUT_PVH_INFO,
	       "the GDT ends before the PVH information");

static int write_gdt(const struct gmem *gm)
{
	/* Flat 4 GiB segments, accessed; the TSS is busy, as TR needs it. */
	static const uint64_t gdt[BOOT_GDT_BYTES / 8] = {
		[BOOT_SEL_CODE64 / 8] = 0x00af9b000000ffff,
		[BOOT_SEL_DATA / 8] = 0x00cf93000000ffff,
		[BOOT_SEL_CODE32 / 8] = 0x00cf9b000000ffff,
		[BOOT_SEL_TSS / 8] = 0x00008b0000000067,
	};
	void *hva;
	int r = gmem_span(gm, LAYOUT_BOOT_GDT, sizeof(gdt), &hva);

	if (r < 0)
		return r;
	memcpy(hva, gdt, sizeof(gdt));
	return 0;
}

static int write_page_tables(const struct gmem *gm)
{
	const uint64_t pdpt = LAYOUT_PAGE_TABLES + PAGE_BYTES;
	const uint64_t pd = pdpt + PAGE_BYTES;
	uint64_t *table;
	void *hva;
	int r = gmem_span(gm, LAYOUT_PAGE_TABLES,
			  (2 + NR_PAGE_DIRECTORIES) * PAGE_BYTES, &hva);

	if (r < 0)
		return r;
	table = hva;
	table[0] = pdpt | PTE_PRESENT | PTE_WRITE;
	table += ENTRIES;
	for (unsigned int i = 0; i < NR_PAGE_DIRECTORIES; i++)
		table[i] = (pd + i * PAGE_BYTES) | PTE_PRESENT | PTE_WRITE;
	table += ENTRIES;
	for (uint64_t i = 0; i < (uint64_t)NR_PAGE_DIRECTORIES * ENTRIES; i++)
		table[i] = i << 21 | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
	return 0;
}

/*
 * A guest that resets the machine by its firmware (Linux: reboot=b) jumps here
 * in real mode. There is no firmware, but a reset line.
 */
static int write_reset_vector(const struct gmem *gm)
{
	static const uint8_t code[] = {
		0xb0, 0xfe,		     /* mov $0xfe, %al */
		0xe6, LAYOUT_PORT_I8042_CMD, /* out %al, $0x64 */
		0xf4,			     /* 1: hlt */
		0xeb, 0xfd,		     /* jmp 1b */
	};
	void *hva;
	int r;

	static_assert(sizeof(code) <= LAYOUT_KERNEL - LAYOUT_RESET_VECTOR,
		      "up to 1 MiB");
	r = gmem_span(gm, LAYOUT_RESET_VECTOR, sizeof(code), &hva);
	if (r < 0)
		return r;
	memcpy(hva, code, sizeof(code));
	return 0;
}

int boot_tables_write(const struct gmem *gm)
{
	int r = write_gdt(gm);

	if (r == 0)
		r = write_page_tables(gm);
	return r < 0 ? r : write_reset_vector(gm);
}
