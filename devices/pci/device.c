/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers of a device, and what they change: pci.h. */
#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "devices/pci/pci.h"

#define COMMAND_WRITABLE                                                \
	(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | \
	 PCI_COMMAND_SERR)

/* What the capability says that the guest may use: the version, and nothing. */
#define PMC_KEPT PCI_PM_CAP_VER_MASK

static uint16_t le16(const uint8_t *p)
{
	uint16_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

/* ------------------------------------------------------------- what there is
 */

void pci_device_own(struct pci_device *dev, uint32_t reg, const void *value,
		    const void *writable, uint32_t len)
{
	assert(reg <= PCI_HEADER_BYTES && len <= PCI_HEADER_BYTES - reg);
	memset(dev->own + reg, true, len);
	memcpy(dev->config + reg, value, len);
	if (writable)
		memcpy(dev->writable + reg, writable, len);
	else
		memset(dev->writable + reg, 0, len);
}

void pci_device_init(struct pci_device *dev, const char *name,
		     const struct pci_device_ops *ops)
{
	static const uint8_t zeros[PCI_HEADER_BYTES];
	const uint16_t command = COMMAND_WRITABLE;
	const uint8_t line = 0xff;

	dev->ops = ops;
	dev->name = name;
	(void)pthread_mutex_init(&dev->lock, NULL);
	pci_device_own(dev, PCI_COMMAND, zeros, &command, sizeof(command));
	/* One function, a header of type 0. */
	pci_device_own(dev, PCI_HEADER_TYPE, zeros, NULL, 1);
	pci_device_own(dev, PCI_BASE_ADDRESS_0, zeros, NULL, 4 * PCI_NR_BARS);
	pci_device_own(dev, PCI_ROM_ADDRESS, zeros, NULL, 4);
	/* A byte of the guest's; and no pin. */
	pci_device_own(dev, PCI_INTERRUPT_LINE, zeros, &line, 1);
	pci_device_own(dev, PCI_INTERRUPT_PIN, zeros, NULL, 1);
}

void pci_device_finish(struct pci_device *dev)
{
	if (dev->ops)
		(void)pthread_mutex_destroy(&dev->lock);
	dev->ops = NULL;
}

void pci_device_set_bar(struct pci_device *dev, unsigned int bar,
			uint64_t bytes, bool is_64, bool prefetch)
{
	assert(bar + is_64 < PCI_NR_BARS && bytes >= 16 &&
	       (bytes & (bytes - 1)) == 0);
	dev->bars[bar] = (struct pci_bar){ .bytes = bytes,
					   .is_64 = is_64,
					   .prefetch = prefetch };
}

void pci_device_set_pm(struct pci_device *dev, uint8_t reg, uint16_t pmc,
		       uint16_t pmcsr)
{
	static const uint16_t writable = PCI_PM_CTRL_STATE_MASK;
	uint32_t value = (uint32_t)(pmcsr & PCI_PM_CTRL_NO_SOFT_RESET);

	pmc &= PMC_KEPT;
	pci_device_own(dev, (uint32_t)reg + PCI_PM_PMC, &pmc, NULL, 2);
	pci_device_own(dev, (uint32_t)reg + PCI_PM_CTRL, &value, NULL, 4);
	memcpy(dev->writable + reg + PCI_PM_CTRL, &writable, sizeof(writable));
	dev->pm_cap = reg;
}

int pci_device_set_msix(struct pci_device *dev, uint8_t reg, unsigned int nr,
			uint32_t table, uint32_t pba)
{
	struct pci_msix *msix = &dev->msix;
	unsigned int bir = table & PCI_MSIX_TABLE_BIR;
	static const uint16_t writable =
		PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;
	const struct pci_bar *bar;
	uint16_t control;

	if (nr == 0 || bir >= PCI_NR_BARS || bir != (pba & PCI_MSIX_PBA_BIR))
		return -EINVAL;
	bar = &dev->bars[bir];
	*msix = (struct pci_msix){ .cap = reg,
				   .bar = (uint8_t)bir,
				   .table = table & PCI_MSIX_TABLE_OFFSET,
				   .pba = pba & PCI_MSIX_PBA_OFFSET };
	msix->nr = MIN(nr, PCI_MAX_VECTORS);
	if ((uint64_t)msix->table + pci_msix_table_bytes(dev) > bar->bytes ||
	    (uint64_t)msix->pba + pci_msix_pba_bytes(dev) > bar->bytes)
		return -EINVAL;
	for (unsigned int i = 0; i < msix->nr; i++)
		msix->vectors[i].masked = true;
	control = (uint16_t)(msix->nr - 1);
	pci_device_own(dev, (uint32_t)reg + PCI_MSIX_FLAGS, &control, &writable,
		       2);
	pci_device_own(dev, (uint32_t)reg + PCI_MSIX_TABLE, &table, NULL, 4);
	pci_device_own(dev, (uint32_t)reg + PCI_MSIX_PBA, &pba, NULL, 4);
	return 0;
}

uint16_t pci_device_command(const struct pci_device *dev)
{
	return le16(dev->config + PCI_COMMAND);
}

enum pci_power pci_device_power(const struct pci_device *dev)
{
	if (!dev->pm_cap)
		return PCI_D0;
	return dev->config[dev->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK
		       ? PCI_D3HOT
		       : PCI_D0;
}

/* ---------------------------------------------------------------- decoding */

static void bar_off(struct pci_device *dev, unsigned int i)
{
	if (!dev->bars[i].decoded)
		return;
	/* While it goes another vCPU still finds it here. */
	if (dev->ops->bar_decode)
		dev->ops->bar_decode(dev, i, false);
	(void)pci_bus_decode(dev->bus, &dev->bars[i], false);
}

static bool decodes(const struct pci_device *dev)
{
	return !dev->cold && pci_device_command(dev) & PCI_COMMAND_MEMORY &&
	       pci_device_power(dev) == PCI_D0;
}

static void bar_on(struct pci_device *dev, unsigned int i)
{
	struct pci_bar *bar = &dev->bars[i];

	if (!bar->bytes || bar->decoded || !decodes(dev) ||
	    !pci_bus_decode(dev->bus, bar, true))
		return;
	if (dev->ops->bar_decode)
		dev->ops->bar_decode(dev, i, true);
}

static void all_off(struct pci_device *dev)
{
	for (unsigned int i = 0; i < PCI_NR_BARS; i++)
		bar_off(dev, i);
}

static void all_on(struct pci_device *dev)
{
	for (unsigned int i = 0; i < PCI_NR_BARS; i++)
		bar_on(dev, i);
}

/* ------------------------------------------------------------------ D3cold */

static void power_off(struct pci_device *dev)
{
	/* A guest that is in a hurry has not been through D3hot. */
	all_off(dev);
	dev->cold = true;
	if (dev->ops->cold)
		dev->ops->cold(dev, true);
}

static void power_on(struct pci_device *dev)
{
	if (dev->ops->cold)
		dev->ops->cold(dev, false);
	dev->cold = false;
	if (pci_device_power(dev) != PCI_D0) {
		dev->config[dev->pm_cap + PCI_PM_CTRL] &=
			(uint8_t)~PCI_PM_CTRL_STATE_MASK;
		if (dev->ops->power)
			dev->ops->power(dev, PCI_D0);
	}
	all_on(dev);
}

void pci_device_set_cold(struct pci_device *dev, bool cold)
{
	(void)pthread_mutex_lock(&dev->lock);
	if (cold && !dev->cold)
		power_off(dev);
	else if (!cold && dev->cold)
		power_on(dev);
	atomic_store(&dev->state, cold ? PCI_D3COLD : pci_device_power(dev));
	(void)pthread_mutex_unlock(&dev->lock);
}

enum pci_power pci_device_state(const struct pci_device *dev)
{
	return (enum pci_power)atomic_load(&dev->state);
}

/* --------------------------------------------------------------- registers */

/* The BAR whose register @reg is, and whether that is its upper half. */
static struct pci_bar *bar_of(struct pci_device *dev, uint32_t reg, bool *upper)
{
	unsigned int i = (reg - PCI_BASE_ADDRESS_0) / 4;

	*upper = i > 0 && dev->bars[i - 1].bytes && dev->bars[i - 1].is_64;
	return &dev->bars[i - *upper];
}

static uint32_t bar_register(struct pci_device *dev, uint32_t reg)
{
	bool upper;
	const struct pci_bar *bar = bar_of(dev, reg, &upper);

	if (!bar->bytes)
		return 0;
	if (upper)
		return (uint32_t)(bar->gpa >> 32);
	return (uint32_t)bar->gpa |
	       (bar->is_64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
	       (bar->prefetch ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
}

static bool is_bar(uint32_t reg)
{
	return reg >= PCI_BASE_ADDRESS_0 &&
	       reg < PCI_BASE_ADDRESS_0 + 4 * PCI_NR_BARS;
}

static uint8_t own_byte(struct pci_device *dev, uint32_t reg)
{
	if (is_bar(reg))
		return (uint8_t)(bar_register(dev, reg & ~3U) >> 8 * (reg & 3));
	return dev->config[reg];
}

static bool is_own(const struct pci_device *dev, uint32_t reg)
{
	return reg < PCI_HEADER_BYTES && dev->own[reg];
}

uint32_t pci_device_config_read(struct pci_device *dev, uint32_t reg,
				uint32_t len)
{
	uint32_t value = 0, others = 0;

	if (dev->cold)
		return ~0U >> (32 - 8 * len);
	for (uint32_t i = 0; i < len; i++)
		others += !is_own(dev, reg + i);
	if (others && dev->ops->config_read)
		value = dev->ops->config_read(dev, reg, len);
	for (uint32_t i = 0; i < len; i++) {
		if (!is_own(dev, reg + i))
			continue;
		value &= ~(0xffU << 8 * i);
		value |= (uint32_t)own_byte(dev, reg + i) << 8 * i;
	}
	return value;
}

static void write_bar_byte(struct pci_device *dev, uint32_t reg, uint8_t value)
{
	bool upper;
	struct pci_bar *bar = bar_of(dev, reg, &upper);
	unsigned int shift = 8 * (reg & 3) + (upper ? 32 : 0);
	uint64_t gpa = bar->gpa;

	if (!bar->bytes)
		return;
	gpa = (gpa & ~(0xffULL << shift)) | (uint64_t)value << shift;
	bar->gpa = gpa & ~(bar->bytes - 1);
}

static void write_bars(struct pci_device *dev, uint32_t reg, uint32_t len,
		       uint32_t value)
{
	bool upper;
	unsigned int i = (unsigned int)(bar_of(dev, reg, &upper) - dev->bars);

	bar_off(dev, i);
	for (uint32_t b = 0; b < len && is_bar(reg + b); b++)
		write_bar_byte(dev, reg + b, (uint8_t)(value >> 8 * b));
	bar_on(dev, i);
}

/* What the guest may change of the core's own registers. */
static void write_own(struct pci_device *dev, uint32_t reg, uint32_t len,
		      uint32_t value)
{
	for (uint32_t i = 0; i < len; i++) {
		uint8_t *at, mask;

		if (!is_own(dev, reg + i))
			continue;
		at = &dev->config[reg + i];
		mask = dev->writable[reg + i];
		*at = (uint8_t)((*at & ~mask) |
				((uint8_t)(value >> 8 * i) & mask));
	}
}

/* The rest goes to the device, and of a write to both a byte at a time. */
static void write_others(struct pci_device *dev, uint32_t reg, uint32_t len,
			 uint32_t value)
{
	uint32_t others = 0;

	if (!dev->ops->config_write)
		return;
	for (uint32_t i = 0; i < len; i++)
		others += !is_own(dev, reg + i);
	if (others == len) {
		dev->ops->config_write(dev, reg, len, value);
		return;
	}
	for (uint32_t i = 0; i < len; i++) {
		if (!is_own(dev, reg + i))
			dev->ops->config_write(dev, reg + i, 1,
					       value >> 8 * i & 0xff);
	}
}

/* D1 and D2 are not there: such a write changes nothing. */
static void power_written(struct pci_device *dev, enum pci_power before)
{
	uint8_t *pmcsr = &dev->config[dev->pm_cap + PCI_PM_CTRL];
	unsigned int state = *pmcsr & PCI_PM_CTRL_STATE_MASK;

	if (state != PCI_D0 && state != PCI_D3HOT)
		*pmcsr = (uint8_t)((*pmcsr & ~PCI_PM_CTRL_STATE_MASK) | before);
}

static bool touches(uint32_t reg, uint32_t len, uint32_t first, uint32_t nr)
{
	return reg < first + nr && first < reg + len;
}

void pci_device_config_write(struct pci_device *dev, uint32_t reg, uint32_t len,
			     uint32_t value)
{
	uint16_t command = pci_device_command(dev);
	enum pci_power power = pci_device_power(dev);
	uint8_t before[2], *control = NULL;

	if (dev->cold)
		return;
	if (is_bar(reg)) {
		write_bars(dev, reg, len, value);
		return;
	}
	if (dev->msix.cap &&
	    touches(reg, len, dev->msix.cap + PCI_MSIX_FLAGS, 2)) {
		control = &dev->config[dev->msix.cap + PCI_MSIX_FLAGS];
		memcpy(before, control, sizeof(before));
	}
	write_own(dev, reg, len, value);
	if (dev->pm_cap)
		power_written(dev, power);
	/* The host may zap a BAR as soon as the device knows. */
	if (!decodes(dev))
		all_off(dev);
	if (dev->ops->command && pci_device_command(dev) != command)
		dev->ops->command(dev, pci_device_command(dev));
	if (dev->ops->power && pci_device_power(dev) != power)
		dev->ops->power(dev, pci_device_power(dev));
	if (control && memcmp(before, control, sizeof(before)) != 0)
		pci_msix_control(dev, le16(control));
	write_others(dev, reg, len, value);
	all_on(dev);
	atomic_store(&dev->state, pci_device_power(dev));
}

/* -------------------------------------------------------------------- BARs */

void pci_device_bar_read(struct pci_device *dev, unsigned int bar,
			 uint64_t offset, void *data, uint32_t len)
{
	if (pci_msix_read(dev, bar, offset, data, len))
		return;
	memset(data, 0, len);
	if (dev->ops->bar_read)
		dev->ops->bar_read(dev, bar, offset, data, len);
}

void pci_device_bar_write(struct pci_device *dev, unsigned int bar,
			  uint64_t offset, const void *data, uint32_t len)
{
	if (!pci_msix_write(dev, bar, offset, data, len) && dev->ops->bar_write)
		dev->ops->bar_write(dev, bar, offset, data, len);
}
