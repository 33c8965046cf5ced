/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtual power management controller: what the DSDT writes when Linux
 * calls _DSM of the LPS0 device and _DSW of a virtio device, and what the
 * methods of a PCI slot write. One more port, the C2 register, is read per vCPU
 * and answered by the coordinator (vmm/power/power.h) before the bus.
 * Stateless; vCPU threads.
 */
#ifndef TORPOR_DEVICES_PMC_H
#define TORPOR_DEVICES_PMC_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/pmc_codes.h"
#include "vmm/machine/bus.h"

struct pmc {
	struct bus_dev lps0_bus; /* 1 port */
	struct bus_dev dsw_bus;	 /* 4 ports */
	struct bus_dev pci_bus;	 /* 4 ports; on a bus if there is PCI */
	/* Low-power S0 entry or exit, in any of the three dialects. */
	void (*on_lps0)(struct pmc *pmc, bool entry);
	/* _DSW: virtio device @index may wake the guest, or not. */
	void (*on_arm)(struct pmc *pmc, unsigned int index, bool armed);
	/* PCI slots that have power, of those that the guest may switch. */
	uint32_t (*pci_powered)(struct pmc *pmc);
	/* _ON and _OFF of a PCI slot's power resource. */
	void (*on_pci_power)(struct pmc *pmc, unsigned int slot, bool on);
	/* _DSW of a PCI slot. */
	void (*on_pci_arm)(struct pmc *pmc, unsigned int slot, bool armed);
};

/* @lps0, @dsw, @pci: ports. */
void pmc_init(struct pmc *pmc, uint64_t lps0, uint64_t dsw, uint64_t pci);

#endif
