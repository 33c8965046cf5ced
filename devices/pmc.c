/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/pmc.h"

#include <string.h>

/*
 * Function numbers of entry and exit by _DSM UUID (Linux drivers/acpi/x86/
 * s2idle.c is their caller). The others tell of displays and modern standby.
 */
static void lps0_write(struct bus_dev *dev, uint64_t offset, const void *data,
		       uint32_t len)
{
	struct pmc *pmc = container_of(dev, struct pmc, lps0_bus);
	uint8_t code = *(const uint8_t *)data;

	switch (code) {
	case PMC_LPS0_INTEL | 5:
	case PMC_LPS0_AMD | 2:
	case PMC_LPS0_MICROSOFT | 5:
		pmc->on_lps0(pmc, true);
		break;
	case PMC_LPS0_INTEL | 6:
	case PMC_LPS0_AMD | 3:
	case PMC_LPS0_MICROSOFT | 6:
		pmc->on_lps0(pmc, false);
		break;
	default:
		break;
	}
}

static void dsw_write(struct bus_dev *dev, uint64_t offset, const void *data,
		      uint32_t len)
{
	struct pmc *pmc = container_of(dev, struct pmc, dsw_bus);
	uint32_t value = 0;

	if (offset != 0)
		return;
	memcpy(&value, data, MIN(len, (uint32_t)sizeof(value)));
	pmc->on_arm(pmc, value & 0xff, value & PMC_DSW_ARMED);
}

static void pci_read(struct bus_dev *dev, uint64_t offset, void *data,
		     uint32_t len)
{
	struct pmc *pmc = container_of(dev, struct pmc, pci_bus);
	uint32_t value = pmc->pci_powered(pmc) >> 8 * offset;

	memset(data, 0, len);
	memcpy(data, &value, MIN(len, (uint32_t)sizeof(value)));
}

static void pci_write(struct bus_dev *dev, uint64_t offset, const void *data,
		      uint32_t len)
{
	struct pmc *pmc = container_of(dev, struct pmc, pci_bus);
	uint32_t value = 0;

	if (offset != 0)
		return;
	memcpy(&value, data, MIN(len, (uint32_t)sizeof(value)));
	switch (value & ~0xffU) {
	case PMC_PCI_OFF:
	case PMC_PCI_ON:
		pmc->on_pci_power(pmc, value & 0xff, value & PMC_PCI_ON);
		break;
	case PMC_PCI_DISARM:
	case PMC_PCI_ARM:
		pmc->on_pci_arm(pmc, value & 0xff,
				(value & PMC_PCI_ARM) == PMC_PCI_ARM);
		break;
	default:
		break;
	}
}

static const struct bus_ops lps0_ops = { .name = "pmc-lps0",
					 .write = lps0_write };
static const struct bus_ops dsw_ops = { .name = "pmc-dsw", .write = dsw_write };
static const struct bus_ops pci_ops = { .name = "pmc-pci",
					.read = pci_read,
					.write = pci_write };

void pmc_init(struct pmc *pmc, uint64_t lps0, uint64_t dsw, uint64_t pci)
{
	pmc->lps0_bus =
		(struct bus_dev){ .ops = &lps0_ops, .base = lps0, .size = 1 };
	pmc->dsw_bus =
		(struct bus_dev){ .ops = &dsw_ops, .base = dsw, .size = 4 };
	pmc->pci_bus =
		(struct bus_dev){ .ops = &pci_ops, .base = pci, .size = 4 };
}
