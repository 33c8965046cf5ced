/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "arch/x86_64/boot.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory_map.h"

#define LOADER_UNDEFINED 0xff
#define BOOT_FLAG	 0xaa55
#define HEADER_MAGIC	 0x53726448 /* "HdrS" */

_Static_assert(sizeof(struct boot_params) == 0x1000, "one page");
_Static_assert(LAYOUT_ZERO_PAGE + sizeof(struct boot_params) <
		       LAYOUT_BOOT_STACK,
	       "the zero page lies below the stack");

int zero_page_write(const struct gmem *gm, const struct arch_config *cfg,
		    const struct boot_kernel *kernel,
		    const struct boot_initrd *initrd)
{
	struct memory_map_entry map[MEMORY_MAP_MAX_ENTRIES];
	unsigned int nr = memory_map_entries(cfg->mem_bytes, cfg->has_pci, map);
	struct boot_params *bp;
	void *hva;
	int r = gmem_span(gm, LAYOUT_ZERO_PAGE, sizeof(*bp), &hva);

	if (r < 0)
		return r;
	bp = hva;
	memset(bp, 0, sizeof(*bp));
	bp->hdr = kernel->hdr;
	/* An ELF has no header of its own; the kernel looks at these. */
	bp->hdr.boot_flag = BOOT_FLAG;
	bp->hdr.header = HEADER_MAGIC;
	bp->hdr.type_of_loader = LOADER_UNDEFINED;
	bp->hdr.loadflags |= LOADED_HIGH;
	/* Both lie below 4 GiB. */
	bp->hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	bp->hdr.ramdisk_image = (uint32_t)initrd->gpa;
	bp->hdr.ramdisk_size = (uint32_t)initrd->size;
	bp->acpi_rsdp_addr = LAYOUT_ACPI_BASE;
	for (unsigned int i = 0; i < nr; i++)
		bp->e820_table[i] = (struct boot_e820_entry){
			.addr = map[i].gpa,
			.size = map[i].size,
			.type = map[i].type,
		};
	bp->e820_entries = (uint8_t)nr;
	return 0;
}
