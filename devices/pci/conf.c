/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports to the registers of the bus: conf.h. */
#include "devices/pci/conf.h"

#include <string.h>

#define DATA_OFFSET  4U
#define RESET_OFFSET 1U
/* Reset control register: bit 2 starts what bit 1 (hard or soft) chose. */
#define RESET_CPU 0x04U

#define ADDRESS_ENABLE	 (1U << 31)
#define ADDRESS_MASK	 0x80fffffcU
#define ADDRESS_BUS	 0x00ff0000U
#define ADDRESS_DEVFN	 8
#define ADDRESS_REGISTER 0xfcU

/* The register that an access to @offset is to. Return: whether it is one. */
static bool is_register(const struct pci_conf *conf, uint64_t offset,
			uint32_t *ret_devfn, uint32_t *ret_reg)
{
	uint32_t address = __atomic_load_n(&conf->address, __ATOMIC_RELAXED);

	*ret_devfn = address >> ADDRESS_DEVFN & 0xff;
	*ret_reg =
		(address & ADDRESS_REGISTER) + (uint32_t)(offset - DATA_OFFSET);
	return offset >= DATA_OFFSET && address & ADDRESS_ENABLE &&
	       !(address & ADDRESS_BUS);
}

static void conf_read(struct bus_dev *dev, uint64_t offset, void *data,
		      uint32_t len)
{
	struct pci_conf *conf = container_of(dev, struct pci_conf, bus);
	uint64_t value = ~0ULL;
	uint32_t devfn, reg;

	/* Only a whole word is CONFIG_ADDRESS; a byte may be something else. */
	if (offset == 0 && len == 4)
		value = __atomic_load_n(&conf->address, __ATOMIC_RELAXED);
	else if (is_register(conf, offset, &devfn, &reg) && len <= 4)
		value = pci_bus_config_read(conf->pci, devfn, reg, len);
	memcpy(data, &value, len);
}

static void conf_write(struct bus_dev *dev, uint64_t offset, const void *data,
		       uint32_t len)
{
	struct pci_conf *conf = container_of(dev, struct pci_conf, bus);
	uint32_t value = 0, devfn, reg;

	memcpy(&value, data, MIN(len, 4U));
	if (offset == 0 && len == 4)
		__atomic_store_n(&conf->address, value & ADDRESS_MASK,
				 __ATOMIC_RELAXED);
	else if (is_register(conf, offset, &devfn, &reg) && len <= 4)
		pci_bus_config_write(conf->pci, devfn, reg, len, value);
	else if (offset == RESET_OFFSET && len == 1 && conf->on_reset &&
		 value & RESET_CPU)
		conf->on_reset(conf);
}

static const struct bus_ops conf_ops = {
	.name = "PCI configuration",
	.read = conf_read,
	.write = conf_write,
};

void pci_conf_init(struct pci_conf *conf, uint64_t base, struct pci_bus *pci)
{
	*conf = (struct pci_conf){
		.bus = { .ops = &conf_ops, .base = base, .size = 8 },
		.pci = pci,
	};
}
