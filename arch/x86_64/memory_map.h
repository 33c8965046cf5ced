/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest is told about its physical memory (ACPI 6.4 section 15, types
 * as in e820). Pure functions.
 */
#ifndef TORPOR_ARCH_X86_64_MEMORY_MAP_H
#define TORPOR_ARCH_X86_64_MEMORY_MAP_H

#include <stdbool.h>
#include <stdint.h>

/* The least that holds the boot structures and a byte of kernel. */
#define MEMORY_MAP_MIN_RAM (2ULL << 20)

#define MEMORY_MAP_RAM	    1U
#define MEMORY_MAP_RESERVED 2U

#define MEMORY_MAP_MAX_ENTRIES 6

struct memory_map_entry {
	uint64_t gpa;
	uint64_t size;
	uint32_t type; /* MEMORY_MAP_RAM ... */
};

/**
 * memory_map_entries() - the e820 map, ascending and disjoint
 * @mem_bytes: >= MEMORY_MAP_MIN_RAM
 * @has_pci: with the registers of a PCI bus
 *
 * Return: number of entries.
 */
unsigned int
memory_map_entries(uint64_t mem_bytes, bool has_pci,
		   struct memory_map_entry map[MEMORY_MAP_MAX_ENTRIES]);

/* The end of the RAM that begins at 0. */
uint64_t memory_map_low_end(uint64_t mem_bytes);

#endif
