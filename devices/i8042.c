/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reset lines of a PC; stateless, runs on vCPU threads. The ports have no read
 * slot: all ones is what a driver takes for "no controller".
 */
#include "devices/i8042.h"

#include "arch/x86_64/layout.h"

#define CMD_PULSE_RESET 0xfeU
/* Reset control register: bit 2 starts what bit 1 (hard or soft) chose. */
#define RESET_CPU 0x04U

static void reset(struct i8042 *i8042)
{
	if (i8042->on_reset)
		i8042->on_reset(i8042);
}

static void cmd_write(struct bus_dev *dev, uint64_t offset, const void *data,
		      uint32_t len)
{
	if (*(const uint8_t *)data == CMD_PULSE_RESET)
		reset(container_of(dev, struct i8042, cmd_bus));
}

static void reset_write(struct bus_dev *dev, uint64_t offset, const void *data,
			uint32_t len)
{
	if (*(const uint8_t *)data & RESET_CPU)
		reset(container_of(dev, struct i8042, reset_bus));
}

static const struct bus_ops data_ops = { .name = "i8042 data" };
static const struct bus_ops cmd_ops = { .name = "i8042", .write = cmd_write };
static const struct bus_ops reset_ops = {
	.name = "reset control",
	.write = reset_write,
};

void i8042_init(struct i8042 *i8042)
{
	*i8042 = (struct i8042){
		.data_bus = { .ops = &data_ops,
			      .base = LAYOUT_PORT_I8042_DATA,
			      .size = 1 },
		.cmd_bus = { .ops = &cmd_ops,
			     .base = LAYOUT_PORT_I8042_CMD,
			     .size = 1 },
		.reset_bus = { .ops = &reset_ops,
			       .base = LAYOUT_PORT_RESET,
			       .size = 1 },
	};
}
