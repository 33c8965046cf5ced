/* SPDX-License-Identifier: BSD-3-Clause */
/* Which BARs the windows decode, and where; under the lock of the bus. */
#include "devices/pci/pci.h"

static bool holds(const struct pci_window *window, uint64_t gpa, uint64_t bytes)
{
	uint64_t offset = gpa - window->bus_dev.base;

	return gpa >= window->bus_dev.base && offset < window->bus_dev.size &&
	       bytes <= window->bus_dev.size - offset;
}

/* Another one is decoded at some address of @bar; under the lock. */
static bool is_taken(const struct pci_bus *bus, const struct pci_bar *bar)
{
	for (unsigned int slot = 1; slot < PCI_NR_SLOTS; slot++) {
		const struct pci_device *dev = bus->slots[slot];

		for (unsigned int i = 0; dev && i < PCI_NR_BARS; i++) {
			const struct pci_bar *other = &dev->bars[i];

			if (other->decoded && other != bar &&
			    other->gpa < bar->gpa + bar->bytes &&
			    bar->gpa < other->gpa + other->bytes)
				return true;
		}
	}
	return false;
}

bool pci_bus_decode(struct pci_bus *bus, struct pci_bar *bar, bool on)
{
	/* A memslot outside the windows, or over another, is none. */
	(void)pthread_mutex_lock(&bus->lock);
	bar->decoded = on &&
		       (holds(&bus->mem32, bar->gpa, bar->bytes) ||
			holds(&bus->mem64, bar->gpa, bar->bytes)) &&
		       !is_taken(bus, bar);
	on = bar->decoded;
	(void)pthread_mutex_unlock(&bus->lock);
	return on;
}

static bool is_in(const struct pci_bar *bar, uint64_t gpa, uint32_t len)
{
	return bar->decoded && gpa >= bar->gpa && gpa - bar->gpa < bar->bytes &&
	       len <= bar->bytes - (gpa - bar->gpa);
}

bool pci_bus_find(struct pci_bus *bus, uint64_t gpa, uint32_t len,
		  struct pci_target *ret)
{
	bool found = false;

	(void)pthread_mutex_lock(&bus->lock);
	for (unsigned int i = PCI_NR_BARS; i < PCI_NR_SLOTS * PCI_NR_BARS;
	     i++) {
		struct pci_device *dev = bus->slots[i / PCI_NR_BARS];
		unsigned int bar = i % PCI_NR_BARS;

		found = dev && is_in(&dev->bars[bar], gpa, len);
		if (!found)
			continue;
		*ret = (struct pci_target){ dev, bar,
					    gpa - dev->bars[bar].gpa };
		break;
	}
	(void)pthread_mutex_unlock(&bus->lock);
	return found;
}
