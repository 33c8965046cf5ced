/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "arch/x86_64/boot.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory_map.h"

#define START_MAGIC 0x336ec578U

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_gpa;
	uint64_t cmdline_gpa;
	uint64_t rsdp_gpa;
	uint64_t memmap_gpa; /* from here: version 1 */
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct module_entry {
	uint64_t gpa;
	uint64_t size;
	uint64_t cmdline_gpa;
	uint64_t reserved;
};

struct memmap_entry {
	uint64_t gpa;
	uint64_t size;
	uint32_t type; /* as in e820 */
	uint32_t reserved;
};

struct pvh_page {
	struct start_info info;
	struct module_entry module;
	struct memmap_entry memmap[MEMORY_MAP_MAX_ENTRIES];
};

_Static_assert(sizeof(struct start_info) == 56, "ABI");
_Static_assert(sizeof(struct module_entry) == 32, "ABI");
_Static_assert(sizeof(struct memmap_entry) == 24, "ABI");
_Static_assert(LAYOUT_PVH_INFO + sizeof(struct pvh_page) <= LAYOUT_ZERO_PAGE,
	       "PVH information ends before the zero page");

int pvh_write(const struct gmem *gm, const struct arch_config *cfg,
	      const struct boot_initrd *initrd)
{
	struct memory_map_entry map[MEMORY_MAP_MAX_ENTRIES];
	unsigned int nr = memory_map_entries(cfg->mem_bytes, cfg->has_pci, map);
	struct pvh_page *page;
	void *hva;
	int r = gmem_span(gm, LAYOUT_PVH_INFO, sizeof(*page), &hva);

	if (r < 0)
		return r;
	page = hva;
	memset(page, 0, sizeof(*page));
	page->info.magic = START_MAGIC;
	page->info.version = 1;
	page->info.cmdline_gpa = LAYOUT_CMDLINE;
	page->info.rsdp_gpa = LAYOUT_ACPI_BASE;
	page->info.memmap_gpa =
		LAYOUT_PVH_INFO + offsetof(struct pvh_page, memmap);
	page->info.memmap_entries = nr;
	for (unsigned int i = 0; i < nr; i++) {
		page->memmap[i].gpa = map[i].gpa;
		page->memmap[i].size = map[i].size;
		page->memmap[i].type = map[i].type;
	}
	if (initrd->size > 0) {
		page->info.nr_modules = 1;
		page->info.modlist_gpa =
			LAYOUT_PVH_INFO + offsetof(struct pvh_page, module);
		page->module.gpa = initrd->gpa;
		page->module.size = initrd->size;
	}
	return 0;
}
