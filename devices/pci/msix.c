/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MSI-X table (PCI Local Bus 3.0, 6.8.2). A vector that may be delivered is
 * connected with its message; one that is masked is not, and the device keeps
 * what comes until it is: nothing is lost between the two.
 */
#include <linux/pci_regs.h>
#include <string.h>

#include "devices/pci/pci.h"

#define ENTRY_BYTES 16U

uint32_t pci_msix_table_bytes(const struct pci_device *dev)
{
	return dev->msix.nr * ENTRY_BYTES;
}

uint32_t pci_msix_pba_bytes(const struct pci_device *dev)
{
	return (dev->msix.nr + 63) / 64 * 8;
}

static void settle(struct pci_device *dev, unsigned int i, bool changed)
{
	struct pci_vector *v = &dev->msix.vectors[i];
	bool on = dev->msix.enabled && !dev->msix.masked && !v->masked;

	if (on == v->connected && !(on && changed))
		return;
	v->connected = on;
	if (dev->ops->msix_connect)
		dev->ops->msix_connect(dev, i, on ? &v->msi : NULL);
}

static void settle_all(struct pci_device *dev)
{
	for (unsigned int i = 0; i < dev->msix.nr; i++)
		settle(dev, i, false);
}

void pci_msix_control(struct pci_device *dev, uint16_t value)
{
	struct pci_msix *msix = &dev->msix;
	bool enable = value & PCI_MSIX_FLAGS_ENABLE;
	bool was = msix->enabled;

	msix->masked = value & PCI_MSIX_FLAGS_MASKALL;
	if (enable && !was && dev->ops->msix_enable)
		dev->ops->msix_enable(dev, true);
	msix->enabled = enable;
	settle_all(dev);
	if (!enable && was && dev->ops->msix_enable)
		dev->ops->msix_enable(dev, false);
}

/* Return: is [offset, offset + len) in the range, at least in part? */
static bool overlaps(uint64_t offset, uint32_t len, uint32_t first,
		     uint32_t bytes)
{
	return offset < (uint64_t)first + bytes && first < offset + len;
}

/* Return: whether the access is one that software may make. */
static bool is_aligned(uint64_t offset, uint32_t len)
{
	return (len == 4 || len == 8) && offset % len == 0;
}

static uint32_t table_read(const struct pci_msix *msix, uint64_t offset)
{
	const struct pci_vector *v = &msix->vectors[offset / ENTRY_BYTES];

	switch (offset % ENTRY_BYTES) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		return (uint32_t)v->msi.address;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		return (uint32_t)(v->msi.address >> 32);
	case PCI_MSIX_ENTRY_DATA:
		return v->msi.data;
	default:
		return v->masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;
	}
}

static void table_write(struct pci_msix *msix, uint64_t offset, uint32_t value)
{
	struct pci_vector *v = &msix->vectors[offset / ENTRY_BYTES];

	switch (offset % ENTRY_BYTES) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		v->msi.address =
			(v->msi.address & ~0xffffffffULL) | (value & ~3U);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		v->msi.address = (v->msi.address & 0xffffffffULL) |
				 (uint64_t)value << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		v->msi.data = value;
		break;
	default:
		v->masked = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
		break;
	}
}

static uint32_t pba_read(struct pci_device *dev, uint64_t offset)
{
	unsigned int first = (unsigned int)offset * 8;
	uint32_t bits = 0;

	for (unsigned int i = 0; i < 32 && first + i < dev->msix.nr; i++) {
		if (dev->msix.enabled && dev->ops->msix_pending &&
		    dev->ops->msix_pending(dev, first + i))
			bits |= 1U << i;
	}
	return bits;
}

bool pci_msix_read(struct pci_device *dev, unsigned int bar, uint64_t offset,
		   void *data, uint32_t len)
{
	const struct pci_msix *msix = &dev->msix;
	bool table, pba;
	uint32_t word;

	if (!msix->cap || bar != msix->bar)
		return false;
	table = overlaps(offset, len, msix->table, pci_msix_table_bytes(dev));
	pba = overlaps(offset, len, msix->pba, pci_msix_pba_bytes(dev));
	if (!table && !pba)
		return false;
	memset(data, 0, len);
	for (uint32_t i = 0; i < len && is_aligned(offset, len); i += 4) {
		word = table ? table_read(msix, offset + i - msix->table)
			     : pba_read(dev, offset + i - msix->pba);
		memcpy((uint8_t *)data + i, &word, sizeof(word));
	}
	return true;
}

bool pci_msix_write(struct pci_device *dev, unsigned int bar, uint64_t offset,
		    const void *data, uint32_t len)
{
	struct pci_msix *msix = &dev->msix;
	uint32_t word;

	if (!msix->cap || bar != msix->bar)
		return false;
	if (overlaps(offset, len, msix->pba, pci_msix_pba_bytes(dev)))
		return true;
	if (!overlaps(offset, len, msix->table, pci_msix_table_bytes(dev)))
		return false;
	if (!is_aligned(offset, len))
		return true;
	for (uint32_t i = 0; i < len; i += 4) {
		memcpy(&word, (const uint8_t *)data + i, sizeof(word));
		table_write(msix, offset + i - msix->table, word);
	}
	settle(dev, (unsigned int)(offset - msix->table) / ENTRY_BYTES, true);
	return true;
}
