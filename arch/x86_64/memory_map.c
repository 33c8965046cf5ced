/* SPDX-License-Identifier: BSD-3-Clause */
#include "arch/x86_64/memory_map.h"

#include <assert.h>

#include "arch/arch.h"
#include "arch/x86_64/layout.h"

#define TSS_BYTES 0x3000ULL

unsigned int arch_ram_ranges(uint64_t mem_bytes,
			     struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES])
{
	uint64_t low = memory_map_low_end(mem_bytes);

	ranges[0] = (struct arch_ram_range){ .gpa = 0, .size = low };
	if (mem_bytes == low)
		return 1;
	ranges[1] = (struct arch_ram_range){ .gpa = LAYOUT_RAM_HIGH,
					     .size = mem_bytes - low };
	return 2;
}

uint64_t memory_map_low_end(uint64_t mem_bytes)
{
	return MIN(mem_bytes, (uint64_t)LAYOUT_RAM_LOW_END);
}

unsigned int
memory_map_entries(uint64_t mem_bytes, bool has_pci,
		   struct memory_map_entry map[MEMORY_MAP_MAX_ENTRIES])
{
	struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES];
	unsigned int nr_ranges = arch_ram_ranges(mem_bytes, ranges);
	unsigned int n = 0;

	assert(mem_bytes >= MEMORY_MAP_MIN_RAM);
	map[n++] = (struct memory_map_entry){ 0, LAYOUT_EBDA, MEMORY_MAP_RAM };
	/*
	 * With the ACPI tables. Not of type "ACPI data", which the guest may
	 * reclaim: the FACS and the DSDT's config block stay in use.
	 */
	map[n++] = (struct memory_map_entry){ LAYOUT_EBDA,
					      LAYOUT_KERNEL - LAYOUT_EBDA,
					      MEMORY_MAP_RESERVED };
	map[n++] = (struct memory_map_entry){ LAYOUT_KERNEL,
					      ranges[0].size - LAYOUT_KERNEL,
					      MEMORY_MAP_RAM };
	/* Linux uses ECAM only where firmware has reserved it. */
	if (has_pci)
		map[n++] = (struct memory_map_entry){ LAYOUT_PCI_ECAM,
						      LAYOUT_PCI_ECAM_BYTES,
						      MEMORY_MAP_RESERVED };
	/* KVM's own pages for real mode on VMX. */
	map[n++] = (struct memory_map_entry){ LAYOUT_IDENTITY_MAP,
					      LAYOUT_TSS + TSS_BYTES -
						      LAYOUT_IDENTITY_MAP,
					      MEMORY_MAP_RESERVED };
	if (nr_ranges > 1)
		map[n++] = (struct memory_map_entry){ ranges[1].gpa,
						      ranges[1].size,
						      MEMORY_MAP_RAM };
	return n;
}
