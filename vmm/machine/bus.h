/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Port and memory-mapped I/O: which device answers an exit. Devices are added
 * before the first vCPU runs and stay; lookups take no lock. Handlers run on
 * vCPU threads, several at once: each device locks itself.
 */
#ifndef TORPOR_VMM_MACHINE_BUS_H
#define TORPOR_VMM_MACHINE_BUS_H

#include <stdint.h>

#include "vmm/base/util.h"

struct bus_dev;

struct bus_ops {
	const char *name;
	/*
	 * @offset: from the range's start, bytes; @len: 1, 2, 4 or 8 and inside
	 * the range. read() fills all @len bytes. A NULL slot reads as ones,
	 * ignores writes.
	 */
	void (*read)(struct bus_dev *dev, uint64_t offset, void *data,
		     uint32_t len);
	void (*write)(struct bus_dev *dev, uint64_t offset, const void *data,
		      uint32_t len);
};

/* Embedded in the device. */
struct bus_dev {
	const struct bus_ops *ops;
	uint64_t base;
	uint64_t size; /* bytes, > 0 */
};

#define BUS_MAX_DEVS 64

struct bus {
	struct bus_dev *devs[BUS_MAX_DEVS]; /* by base, disjoint */
	unsigned int nr;
};

/* Return: 0; -EEXIST overlap with another device; -ENOSPC; -EINVAL size 0. */
int bus_add(struct bus *bus, struct bus_dev *dev) must_check;
/* Unclaimed addresses and accesses across a device's end read as ones. */
void bus_read(const struct bus *bus, uint64_t addr, void *data, uint32_t len);
void bus_write(const struct bus *bus, uint64_t addr, const void *data,
	       uint32_t len);

#endif
