/* SPDX-License-Identifier: BSD-3-Clause */
/* pvpanic: one port, stateless; runs on vCPU threads. */
#include "devices/pvpanic.h"

#include <string.h>

#define EVENTS (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED)

static void port_read(struct bus_dev *dev, uint64_t offset, void *data,
		      uint32_t len)
{
	memset(data, 0, len);
	*(uint8_t *)data = EVENTS;
}

static void port_write(struct bus_dev *dev, uint64_t offset, const void *data,
		       uint32_t len)
{
	struct pvpanic *pvpanic = container_of(dev, struct pvpanic, bus);
	uint8_t events = *(const uint8_t *)data & EVENTS;

	if (events && pvpanic->on_event)
		pvpanic->on_event(pvpanic, events);
}

static const struct bus_ops pvpanic_ops = {
	.name = "pvpanic",
	.read = port_read,
	.write = port_write,
};

void pvpanic_init(struct pvpanic *pvpanic, uint64_t port)
{
	*pvpanic = (struct pvpanic){
		.bus = { .ops = &pvpanic_ops, .base = port, .size = 1 },
	};
}
