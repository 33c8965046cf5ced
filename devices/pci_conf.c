/* SPDX-License-Identifier: BSD-3-Clause */
/* A way to a PCI configuration space with nothing behind it:
 * devices/pci_conf.h. */
#include "devices/pci_conf.h"

#include <string.h>

#define DATA_OFFSET  4U
#define RESET_OFFSET 1U
/* Reset control register: bit 2 starts what bit 1 (hard or soft) chose. */
#define RESET_CPU 0x04U

#define ADDRESS_ENABLE	 (1U << 31)
#define ADDRESS_MASK	 0x80fffffcU
#define ADDRESS_FUNCTION 0x00ffff00U
#define ADDRESS_REGISTER 0xfcU

/* The generic host bridge of virtual machines: Linux has no quirk for it. */
#define VENDOR_RED_HAT	  0x1b36U
#define DEVICE_HOST	  0x0008U
#define CLASS_HOST_BRIDGE 0x060000U

/* Of bus 0, device 0, function 0, the only one there is. */
static uint32_t config_dword(uint32_t reg)
{
	switch (reg) {
	case 0x00:
		return DEVICE_HOST << 16 | VENDOR_RED_HAT;
	case 0x08:
		return CLASS_HOST_BRIDGE << 8;
	default:
		return 0;
	}
}

static void conf_read(struct bus_dev *dev, uint64_t offset, void *data,
		      uint32_t len)
{
	struct pci_conf *conf = container_of(dev, struct pci_conf, bus);
	uint32_t address = __atomic_load_n(&conf->address, __ATOMIC_RELAXED);
	uint64_t value = ~0ULL;

	/* Only a whole word is CONFIG_ADDRESS; a byte may be something else. */
	if (offset == 0 && len == 4)
		value = address;
	else if (offset >= DATA_OFFSET && address & ADDRESS_ENABLE &&
		 !(address & ADDRESS_FUNCTION))
		value = config_dword(address & ADDRESS_REGISTER) >>
			(8 * (offset - DATA_OFFSET));
	memcpy(data, &value, len);
}

static void conf_write(struct bus_dev *dev, uint64_t offset, const void *data,
		       uint32_t len)
{
	struct pci_conf *conf = container_of(dev, struct pci_conf, bus);
	uint32_t value;

	if (offset == 0 && len == 4) {
		memcpy(&value, data, sizeof(value));
		__atomic_store_n(&conf->address, value & ADDRESS_MASK,
				 __ATOMIC_RELAXED);
	} else if (offset == RESET_OFFSET && len == 1 && conf->on_reset &&
		   *(const uint8_t *)data & RESET_CPU) {
		conf->on_reset(conf);
	}
}

static const struct bus_ops conf_ops = {
	.name = "PCI configuration",
	.read = conf_read,
	.write = conf_write,
};

void pci_conf_init(struct pci_conf *conf, uint64_t base)
{
	*conf = (struct pci_conf){
		.bus = { .ops = &conf_ops, .base = base, .size = 8 },
	};
}
