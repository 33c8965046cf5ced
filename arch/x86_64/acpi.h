/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ACPI tables (ACPI 6.4, chapter 5): RSDP, XSDT, FADT, FACS, MADT, and the
 * DSDT that iasl made of dsdt.asl. With a PCI bus also MCFG and an SSDT, made
 * of pci.asl, behind the others. Written once by the main thread before the
 * guest runs, between LAYOUT_ACPI_BASE and LAYOUT_ACPI_END.
 */
#ifndef TORPOR_ARCH_X86_64_ACPI_H
#define TORPOR_ARCH_X86_64_ACPI_H

#include <stdint.h>

#include "arch/arch.h"
#include "arch/x86_64/layout.h"

/*
 * At LAYOUT_ACPI_CONFIG: what the fixed DSDT reads at run time. The operation
 * region CFGR in dsdt.asl mirrors it.
 */
struct acpi_config_block {
	uint32_t nr_vcpus;
	uint32_t nr_virtio;
	uint32_t virtio_gsi[LAYOUT_MAX_VIRTIO];
};

/*
 * At LAYOUT_ACPI_PCI, with a PCI bus: what the SSDT reads. The operation region
 * PCIC in pci.asl mirrors it.
 */
struct acpi_pci_block {
	uint32_t slots; /* a bit each that has a device */
	uint32_t deep;	/* ... whose power the guest may switch off */
	uint8_t gpe[LAYOUT_PCI_SLOTS];
};

_Static_assert(sizeof(struct acpi_pci_block) == 0x28,
	       "pci.asl has this size and layout");
_Static_assert(sizeof(struct acpi_config_block) == 0x84,
	       "dsdt.asl has this size and layout");
_Static_assert(LAYOUT_ACPI_CONFIG + sizeof(struct acpi_config_block) <=
			       LAYOUT_ACPI_PCI &&
		       LAYOUT_ACPI_PCI + sizeof(struct acpi_pci_block) <=
			       LAYOUT_ACPI_TABLES,
	       "the blocks end before the tables");

/**
 * acpi_write() - all tables and the config block
 * @cfg: its virtio slots are where the layout puts them
 *
 * Return: 0; -EFAULT if guest memory does not reach LAYOUT_ACPI_END; -ENOSPC
 * if the tables do not fit.
 */
int acpi_write(const struct arch_config *cfg, const struct gmem *gm) must_check;

#endif
