/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtual power management controller: what the DSDT writes when Linux
 * calls _DSM of the LPS0 device and _DSW of a virtio device. Its third port,
 * the C2 register, is read per vCPU and answered by the coordinator
 * (vmm/power/power.h) before the bus. Stateless; vCPU threads.
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
	/* Low-power S0 entry or exit, in any of the three dialects. */
	void (*on_lps0)(struct pmc *pmc, bool entry);
	/* _DSW: virtio device @index may wake the guest, or not. */
	void (*on_arm)(struct pmc *pmc, unsigned int index, bool armed);
};

/* @lps0, @dsw: ports. */
void pmc_init(struct pmc *pmc, uint64_t lps0, uint64_t dsw);

#endif
