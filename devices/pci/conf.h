/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2), and the reset
 * control register, a byte of the same ports. A VM without PCI devices has them
 * too, and a host bridge behind them: ACPI names no bus there, and what a
 * kernel does not scan it does not see. But Linux complains if it finds no way
 * at all to a configuration space, and takes this one for working only if a
 * host bridge answers.
 *
 * Runs on vCPU threads; the latched address is one word.
 */
#ifndef TORPOR_DEVICES_PCI_CONF_H
#define TORPOR_DEVICES_PCI_CONF_H

#include <stdint.h>

#include "devices/pci/pci.h"
#include "vmm/machine/bus.h"

struct pci_conf {
	struct bus_dev bus; /* 8 ports */
	struct pci_bus *pci;
	uint32_t address; /* CONFIG_ADDRESS */
	/* The guest asks for a reset, on a vCPU thread. Optional. */
	void (*on_reset)(struct pci_conf *conf);
};

/* @pci: borrowed */
void pci_conf_init(struct pci_conf *conf, uint64_t base, struct pci_bus *pci);

#endif
