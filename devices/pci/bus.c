/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots, accesses to them, and where BARs are placed: pci.h. */
#include <errno.h>
#include <string.h>

#include "devices/pci/pci.h"

#define ECAM_BYTES (1ULL << 20) /* one bus */
#define PAGE_BYTES 4096ULL

/* The generic host bridge of virtual machines: Linux has no quirk for it. */
static const uint8_t bridge_header[PCI_HEADER_BYTES] = {
	0x36, 0x1b, 0x08, 0x00, /* Red Hat, host bridge */
	0x00, 0x00, 0x00, 0x00, /* COMMAND, STATUS */
	0x00, 0x00, 0x00, 0x06, /* revision; class: bridge, host */
};

static const struct pci_device_ops bridge_ops = { .config_read = NULL };

void pci_bus_init(struct pci_bus *bus)
{
	*bus = (struct pci_bus){ .nr = 0 };
	(void)pthread_mutex_init(&bus->lock, NULL);
	pci_device_init(&bus->bridge, "host bridge", &bridge_ops);
	pci_device_own(&bus->bridge, 0, bridge_header, NULL,
		       sizeof(bridge_header));
	bus->bridge.bus = bus;
	bus->slots[0] = &bus->bridge;
}

void pci_bus_finish(struct pci_bus *bus)
{
	if (!bus->slots[0])
		return;
	pci_device_finish(&bus->bridge);
	(void)pthread_mutex_destroy(&bus->lock);
	bus->slots[0] = NULL;
}

int pci_bus_add(struct pci_bus *bus, struct pci_device *dev, unsigned int slot)
{
	if (slot >= PCI_NR_SLOTS)
		return -EINVAL;
	if (slot && bus->slots[slot])
		return -EEXIST;
	/* Slot 0 is the bridge's. */
	while (slot < PCI_NR_SLOTS && bus->slots[slot])
		slot++;
	if (slot == PCI_NR_SLOTS)
		return -ENOSPC;
	bus->slots[slot] = dev;
	bus->nr++;
	dev->bus = bus;
	dev->slot = slot;
	return 0;
}

/* -------------------------------------------------------------- registers */

/* Who answers, or NULL: of each device there is function 0. */
static struct pci_device *who(struct pci_bus *bus, unsigned int devfn,
			      uint32_t reg, uint32_t len)
{
	if (devfn & 7 || devfn >> 3 >= PCI_NR_SLOTS || (reg & 3) + len > 4 ||
	    reg >= PCI_CONFIG_BYTES)
		return NULL;
	return bus->slots[devfn >> 3];
}

uint32_t pci_bus_config_read(struct pci_bus *bus, unsigned int devfn,
			     uint32_t reg, uint32_t len)
{
	struct pci_device *dev = who(bus, devfn, reg, len);
	uint32_t value;

	if (!dev)
		return ~0U;
	(void)pthread_mutex_lock(&dev->lock);
	value = pci_device_config_read(dev, reg, len);
	(void)pthread_mutex_unlock(&dev->lock);
	return value;
}

void pci_bus_config_write(struct pci_bus *bus, unsigned int devfn, uint32_t reg,
			  uint32_t len, uint32_t value)
{
	struct pci_device *dev = who(bus, devfn, reg, len);

	if (!dev)
		return;
	(void)pthread_mutex_lock(&dev->lock);
	pci_device_config_write(dev, reg, len, value);
	(void)pthread_mutex_unlock(&dev->lock);
}

static void ecam_read(struct bus_dev *ecam, uint64_t offset, void *data,
		      uint32_t len)
{
	struct pci_bus *bus = container_of(ecam, struct pci_bus, ecam);
	uint64_t value = ~0ULL;

	/* A root complex need not take 8 bytes: PCI Express 5.0, 7.2.2. */
	if (len <= 4)
		value = pci_bus_config_read(bus, (unsigned int)(offset >> 12),
					    offset & 0xfff, len);
	memcpy(data, &value, len);
}

static void ecam_write(struct bus_dev *ecam, uint64_t offset, const void *data,
		       uint32_t len)
{
	struct pci_bus *bus = container_of(ecam, struct pci_bus, ecam);
	uint32_t value = 0;

	if (len > 4)
		return;
	memcpy(&value, data, len);
	pci_bus_config_write(bus, (unsigned int)(offset >> 12), offset & 0xfff,
			     len, value);
}

static const struct bus_ops ecam_ops = {
	.name = "PCI registers",
	.read = ecam_read,
	.write = ecam_write,
};

/* ---------------------------------------------------------------- windows */

static void window_read(struct bus_dev *bus_dev, uint64_t offset, void *data,
			uint32_t len)
{
	struct pci_window *window =
		container_of(bus_dev, struct pci_window, bus_dev);
	struct pci_target to;

	memset(data, 0xff, len);
	if (!pci_bus_find(window->bus, bus_dev->base + offset, len, &to))
		return;
	(void)pthread_mutex_lock(&to.dev->lock);
	/* It may have been moved since. */
	if (to.dev->bars[to.bar].decoded)
		pci_device_bar_read(to.dev, to.bar, to.offset, data, len);
	(void)pthread_mutex_unlock(&to.dev->lock);
}

static void window_write(struct bus_dev *bus_dev, uint64_t offset,
			 const void *data, uint32_t len)
{
	struct pci_window *window =
		container_of(bus_dev, struct pci_window, bus_dev);
	struct pci_target to;

	if (!pci_bus_find(window->bus, bus_dev->base + offset, len, &to))
		return;
	(void)pthread_mutex_lock(&to.dev->lock);
	if (to.dev->bars[to.bar].decoded)
		pci_device_bar_write(to.dev, to.bar, to.offset, data, len);
	(void)pthread_mutex_unlock(&to.dev->lock);
}

static const struct bus_ops window_ops = {
	.name = "PCI window",
	.read = window_read,
	.write = window_write,
};

/* --------------------------------------------------- before the guest runs */

/* A part of a window that is still free. */
struct room {
	uint64_t next, end;
};

static bool take_room(struct room *room, struct pci_bar *bar)
{
	/* A memslot is of whole pages, so BARs share none. */
	uint64_t align = MAX(bar->bytes, PAGE_BYTES);
	uint64_t gpa = (room->next + align - 1) & ~(align - 1);

	if (gpa < room->next || gpa > room->end || align > room->end - gpa)
		return false;
	bar->gpa = gpa;
	room->next = gpa + align;
	return true;
}

/* The largest BAR of 32 or 64 bits that has no address yet; NULL: none. */
static struct pci_bar *largest(struct pci_bus *bus, bool is_64,
			       struct pci_device **ret_dev)
{
	struct pci_bar *best = NULL;

	for (unsigned int slot = 1; slot < PCI_NR_SLOTS; slot++) {
		struct pci_device *dev = bus->slots[slot];

		for (unsigned int i = 0; dev && i < PCI_NR_BARS; i++) {
			struct pci_bar *bar = &dev->bars[i];

			if (!bar->bytes || bar->gpa || bar->is_64 != is_64 ||
			    (best && bar->bytes <= best->bytes))
				continue;
			best = bar;
			*ret_dev = dev;
		}
	}
	return best;
}

/* Of the two windows. A BAR of 64 bits may lie in either. */
struct rooms {
	struct room low, high;
};

/* Descending, so that nothing is lost to alignment. */
static int place(struct pci_bus *bus, bool is_64, struct rooms *rooms,
		 struct err *err)
{
	struct pci_device *dev = NULL;
	struct pci_bar *bar;

	while ((bar = largest(bus, is_64, &dev))) {
		if ((is_64 && take_room(&rooms->high, bar)) ||
		    take_room(&rooms->low, bar))
			continue;
		return err_set(err, -ENOSPC,
			       "%s: its BAR of %llu MiB does not fit into the "
			       "guest's PCI windows",
			       dev->name,
			       (unsigned long long)(bar->bytes >> 20));
	}
	return 0;
}

static int add_window(struct pci_bus *bus, struct pci_window *window,
		      struct bus *mmio, uint64_t base, uint64_t bytes)
{
	window->bus = bus;
	window->bus_dev = (struct bus_dev){ &window_ops, base, bytes };
	return bytes ? bus_add(mmio, &window->bus_dev) : 0;
}

int pci_bus_connect(struct pci_bus *bus, struct bus *mmio,
		    const struct pci_places *places, struct err *err)
{
	struct rooms rooms = {
		.low = { places->mem32, places->mem32 + places->mem32_bytes },
		.high = { places->mem64, places->mem64 + places->mem64_bytes },
	};
	int r = place(bus, false, &rooms, err);

	if (r == 0)
		r = place(bus, true, &rooms, err);
	if (r < 0)
		return r;
	bus->ecam = (struct bus_dev){ &ecam_ops, places->ecam, ECAM_BYTES };
	r = bus_add(mmio, &bus->ecam);
	if (r == 0)
		r = add_window(bus, &bus->mem32, mmio, places->mem32,
			       places->mem32_bytes);
	if (r == 0)
		r = add_window(bus, &bus->mem64, mmio, places->mem64,
			       places->mem64_bytes);
	return r < 0 ? err_set_errno(err, r, "addresses of the PCI bus") : 0;
}
