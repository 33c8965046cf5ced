/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI device in software, with the operations that a real one has: registers,
 * a BAR of 16 KiB with scratch registers and the MSI-X table, a small one, a
 * power management capability. It loses its scratch registers in D3cold,
 * and in D3hot unless it keeps its state, and writes down what it is told, in
 * order.
 */
#ifndef TORPOR_TESTS_LIB_MODEL_PCI_H
#define TORPOR_TESTS_LIB_MODEL_PCI_H

#include "devices/pci/pci.h"

#define MODEL_PCI_VENDOR     0x1b36
#define MODEL_PCI_DEVICE     0x00ee
#define MODEL_PCI_PM	     0x40 /* registers of its capabilities */
#define MODEL_PCI_MSIX	     0x50
#define MODEL_PCI_VENDOR_REG 0x80 /* 4 bytes that are the device's own */
#define MODEL_PCI_BAR_BYTES  0x4000
#define MODEL_PCI_TABLE	     0x2000
#define MODEL_PCI_PBA	     0x3000
#define MODEL_PCI_SMALL	     2 /* BAR of 256 bytes */
#define MODEL_PCI_VECTORS    4

struct model_pci {
	struct pci_device pci;
	bool keeps_state;
	uint8_t registers[PCI_CONFIG_BYTES];
	uint8_t scratch[MODEL_PCI_BAR_BYTES];
	uint8_t small[256];
	uint16_t command;
	enum pci_power power;
	bool cold;
	bool decoded[PCI_NR_BARS];
	bool msix;
	bool pending[PCI_MAX_VECTORS];
	struct pci_msi connected[PCI_MAX_VECTORS]; /* address 0: it is not */
	unsigned int delivered;
	struct pci_msi last; /* that was delivered */
	char trace[4096];
};

/* @bytes: of BAR 0, at least MODEL_PCI_BAR_BYTES. */
void model_pci_init(struct model_pci *model, uint64_t bytes, bool keeps_state);
void model_pci_finish(struct model_pci *model);
/* The device interrupts. */
void model_pci_interrupt(struct model_pci *model, unsigned int vector);

#endif
