/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pvpanic (ACPI QEMU0001, one port): the guest tells that it has panicked.
 * Reads give the events understood (1 panicked, 2 crash-loaded). Stateless.
 */
#ifndef TORPOR_DEVICES_PVPANIC_H
#define TORPOR_DEVICES_PVPANIC_H

#include <stdint.h>

#include "vmm/machine/bus.h"

#define PVPANIC_PANICKED     1U
#define PVPANIC_CRASH_LOADED 2U

struct pvpanic {
	struct bus_dev bus;
	/* On a vCPU thread; @events: PVPANIC_*. */
	void (*on_event)(struct pvpanic *pvpanic, uint8_t events);
};

void pvpanic_init(struct pvpanic *pvpanic, uint64_t port);

#endif
