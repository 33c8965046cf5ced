/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "arch/arch.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory_map.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static const uint64_t sizes[] = { 2 * MIB,   128 * MIB, 3 * GIB - 4096,
				  3 * GIB,   4 * GIB,	3 * GIB + 4096,
				  1024 * GIB };

Test(memory_map, small_memory_is_one_range, .timeout = 120)
{
	struct arch_ram_range r[ARCH_MAX_RAM_RANGES];

	cr_assert(eq(uint, arch_ram_ranges(512 * MIB, r), 1));
	cr_assert(eq(u64, r[0].gpa, 0));
	cr_assert(eq(u64, r[0].size, 512 * MIB));
	cr_assert(eq(uint, arch_ram_ranges(LAYOUT_RAM_LOW_END, r), 1));
	cr_assert(eq(u64, r[0].size, LAYOUT_RAM_LOW_END));
}

Test(memory_map, what_reaches_the_hole_goes_on_at_4_gib, .timeout = 120)
{
	struct arch_ram_range r[ARCH_MAX_RAM_RANGES];

	cr_assert(eq(uint, arch_ram_ranges(LAYOUT_RAM_LOW_END + 4096, r), 2));
	cr_assert(eq(u64, r[0].size, LAYOUT_RAM_LOW_END));
	cr_assert(eq(u64, r[1].gpa, LAYOUT_RAM_HIGH));
	cr_assert(eq(u64, r[1].size, 4096));
}

Test(memory_map, entries_ascend_and_do_not_overlap, .timeout = 120)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct memory_map_entry map[MEMORY_MAP_MAX_ENTRIES];
		unsigned int n = memory_map_entries(sizes[i], true, map);
		uint64_t end = 0;

		for (unsigned int j = 0; j < n; j++) {
			cr_assert(ge(u64, map[j].gpa, end), "size %zu", i);
			cr_assert(gt(u64, map[j].size, 0), "size %zu", i);
			end = map[j].gpa + map[j].size;
		}
	}
}

Test(memory_map, ram_entries_lie_in_ram, .timeout = 120)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct memory_map_entry map[MEMORY_MAP_MAX_ENTRIES];
		struct arch_ram_range r[ARCH_MAX_RAM_RANGES] = { 0 };
		unsigned int n = memory_map_entries(sizes[i], true, map);
		uint64_t ram = 0;

		(void)arch_ram_ranges(sizes[i], r);
		for (unsigned int j = 0; j < n; j++) {
			const struct memory_map_entry *e = &map[j];
			const struct arch_ram_range *in =
				&r[e->gpa >= LAYOUT_RAM_HIGH];

			if (e->type != MEMORY_MAP_RAM)
				continue;
			cr_assert(ge(u64, e->gpa, in->gpa));
			cr_assert(
				le(u64, e->gpa + e->size, in->gpa + in->size));
			ram += e->size;
		}
		/* All but what lies between the EBDA and 1 MiB. */
		cr_assert(
			eq(u64, ram, sizes[i] - (LAYOUT_KERNEL - LAYOUT_EBDA)));
	}
}

Test(memory_map, tables_and_kvm_pages_are_reserved, .timeout = 120)
{
	static const uint64_t gpas[] = {
		LAYOUT_ACPI_BASE, LAYOUT_ACPI_END - 1, LAYOUT_EBDA,
		LAYOUT_TSS,	  LAYOUT_TSS + 0x2fff, LAYOUT_IDENTITY_MAP
	};
	struct memory_map_entry map[MEMORY_MAP_MAX_ENTRIES];
	unsigned int n = memory_map_entries(8 * GIB, false, map);

	for (size_t i = 0; i < ARRAY_SIZE(gpas); i++) {
		uint32_t type = 0;

		for (unsigned int j = 0; j < n; j++)
			if (gpas[i] >= map[j].gpa &&
			    gpas[i] - map[j].gpa < map[j].size)
				type = map[j].type;
		cr_assert(eq(u32, type, MEMORY_MAP_RESERVED), "gpa 0x%llx",
			  (unsigned long long)gpas[i]);
	}
}

Test(memory_map, registers_of_pci_are_reserved_if_there_are_any, .timeout = 120)
{
	struct memory_map_entry map[MEMORY_MAP_MAX_ENTRIES];
	struct memory_map_entry without[MEMORY_MAP_MAX_ENTRIES];
	unsigned int n = memory_map_entries(8 * GIB, true, map), at = 0;

	cr_assert(eq(uint, memory_map_entries(8 * GIB, false, without), n - 1));
	while (at < n && map[at].gpa != LAYOUT_PCI_ECAM)
		at++;
	cr_assert(lt(uint, at, n));
	cr_assert(eq(u64, map[at].size, LAYOUT_PCI_ECAM_BYTES));
	cr_assert(eq(u32, map[at].type, MEMORY_MAP_RESERVED));
	for (unsigned int i = 0; i < n - 1; i++)
		cr_assert(eq(u64, map[i + (i >= at)].gpa, without[i].gpa));
}
