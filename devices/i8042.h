/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reset line of a PC: i8042 command 0xfe at port 0x64. No keyboard: reads say
 * "nothing there". Stateless. (The other one, port 0xcf9: devices/pci/conf.h.)
 */
#ifndef TORPOR_DEVICES_I8042_H
#define TORPOR_DEVICES_I8042_H

#include <stdint.h>

#include "vmm/machine/bus.h"

struct i8042 {
	struct bus_dev data_bus; /* 1 port */
	struct bus_dev cmd_bus;	 /* 1 port */
	/* The guest asks for a reset, on a vCPU thread. */
	void (*on_reset)(struct i8042 *i8042);
};

/* @data, @cmd: ports. */
void i8042_init(struct i8042 *i8042, uint64_t data, uint64_t cmd);

#endif
