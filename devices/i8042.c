/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reset line of a PC's keyboard controller; stateless, runs on vCPU
 * threads. The ports have no read slot: all ones is what a driver takes for "no
 * controller".
 */
#include "devices/i8042.h"

#define CMD_PULSE_RESET 0xfeU

static void cmd_write(struct bus_dev *dev, uint64_t offset, const void *data,
		      uint32_t len)
{
	struct i8042 *i8042 = container_of(dev, struct i8042, cmd_bus);

	if (*(const uint8_t *)data == CMD_PULSE_RESET && i8042->on_reset)
		i8042->on_reset(i8042);
}

static const struct bus_ops data_ops = { .name = "i8042 data" };
static const struct bus_ops cmd_ops = { .name = "i8042", .write = cmd_write };

void i8042_init(struct i8042 *i8042, uint64_t data, uint64_t cmd)
{
	*i8042 = (struct i8042){
		.data_bus = { .ops = &data_ops, .base = data, .size = 1 },
		.cmd_bus = { .ops = &cmd_ops, .base = cmd, .size = 1 },
	};
}
