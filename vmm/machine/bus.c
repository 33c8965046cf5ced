/* SPDX-License-Identifier: BSD-3-Clause */
/* Port and memory-mapped I/O dispatch: a sorted table, searched by halves. */
#include "vmm/machine/bus.h"

#include <errno.h>
#include <string.h>

/* Return: index of the first device that starts above @addr. */
static unsigned int first_above(const struct bus *bus, uint64_t addr)
{
	unsigned int lo = 0, hi = bus->nr;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (bus->devs[mid]->base > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

int bus_add(struct bus *bus, struct bus_dev *dev)
{
	uint64_t last = dev->base + (dev->size - 1);
	unsigned int at;

	if (dev->size == 0 || last < dev->base)
		return -EINVAL;
	if (bus->nr == BUS_MAX_DEVS)
		return -ENOSPC;
	at = first_above(bus, dev->base);
	if (at > 0 &&
	    dev->base - bus->devs[at - 1]->base < bus->devs[at - 1]->size)
		return -EEXIST;
	if (at < bus->nr && bus->devs[at]->base <= last)
		return -EEXIST;
	memmove(&bus->devs[at + 1], &bus->devs[at],
		(bus->nr - at) * sizeof(struct bus_dev *));
	bus->devs[at] = dev;
	bus->nr++;
	return 0;
}

/* Return: the device that holds all of [addr, addr + len), or NULL. */
static struct bus_dev *find(const struct bus *bus, uint64_t addr, uint32_t len)
{
	unsigned int at = first_above(bus, addr);
	struct bus_dev *dev;
	uint64_t offset;

	if (at == 0)
		return NULL;
	dev = bus->devs[at - 1];
	offset = addr - dev->base;
	if (offset >= dev->size || len > dev->size - offset)
		return NULL;
	return dev;
}

void bus_read(const struct bus *bus, uint64_t addr, void *data, uint32_t len)
{
	struct bus_dev *dev = find(bus, addr, len);

	if (dev && dev->ops->read)
		dev->ops->read(dev, addr - dev->base, data, len);
	else
		memset(data, 0xff, len);
}

void bus_write(const struct bus *bus, uint64_t addr, const void *data,
	       uint32_t len)
{
	struct bus_dev *dev = find(bus, addr, len);

	if (dev && dev->ops->write)
		dev->ops->write(dev, addr - dev->base, data, len);
}
