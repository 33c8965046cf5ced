/* SPDX-License-Identifier: BSD-3-Clause */
/* devices/i8042.h and devices/pvpanic.h, through the bus. */
#include "arch/x86_64/layout.h"
#include "devices/i8042.h"
#include "devices/pvpanic.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static unsigned int resets;
static unsigned int events_seen;

static void on_reset(struct i8042 *i8042)
{
	resets++;
}

static void on_event(struct pvpanic *pvpanic, uint8_t events)
{
	events_seen = events_seen << 8 | events;
}

static void make_i8042(struct bus *bus, struct i8042 *i8042)
{
	i8042_init(i8042);
	i8042->on_reset = on_reset;
	cr_assert(eq(int, bus_add(bus, &i8042->data_bus), 0));
	cr_assert(eq(int, bus_add(bus, &i8042->cmd_bus), 0));
	cr_assert(eq(int, bus_add(bus, &i8042->reset_bus), 0));
}

static void outb(struct bus *bus, uint64_t port, uint8_t value)
{
	bus_write(bus, port, &value, 1);
}

static uint8_t inb(struct bus *bus, uint64_t port)
{
	uint8_t value = 0;

	bus_read(bus, port, &value, 1);
	return value;
}

Test(i8042, only_the_reset_command_resets, .timeout = 30)
{
	struct bus bus = { 0 };
	struct i8042 i8042;

	make_i8042(&bus, &i8042);
	for (unsigned int cmd = 0; cmd < 256; cmd++) {
		outb(&bus, LAYOUT_PORT_I8042_CMD, (uint8_t)cmd);
		outb(&bus, LAYOUT_PORT_I8042_DATA, (uint8_t)cmd);
		cr_assert(eq(u32, resets, cmd >= 0xfe));
	}
}

Test(i8042, the_reset_register_resets_on_its_cpu_bit, .timeout = 30)
{
	struct bus bus = { 0 };
	struct i8042 i8042;

	make_i8042(&bus, &i8042);
	outb(&bus, LAYOUT_PORT_RESET, 0x02);
	cr_assert(eq(u32, resets, 0));
	outb(&bus, LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE);
	cr_assert(eq(u32, resets, 1));
}

Test(i8042, reads_say_that_nothing_is_there, .timeout = 30)
{
	struct bus bus = { 0 };
	struct i8042 i8042;

	make_i8042(&bus, &i8042);
	cr_assert(eq(u8, inb(&bus, LAYOUT_PORT_I8042_DATA), 0xff));
	cr_assert(eq(u8, inb(&bus, LAYOUT_PORT_I8042_CMD), 0xff));
	cr_assert(eq(u8, inb(&bus, LAYOUT_PORT_RESET), 0xff));
}

Test(i8042, a_reset_nobody_listens_to_is_ignored, .timeout = 30)
{
	struct bus bus = { 0 };
	struct i8042 i8042;

	make_i8042(&bus, &i8042);
	i8042.on_reset = NULL;
	outb(&bus, LAYOUT_PORT_I8042_CMD, 0xfe);
	cr_assert(eq(u32, resets, 0));
}

Test(pvpanic, tells_the_events_it_understands, .timeout = 30)
{
	struct bus bus = { 0 };
	struct pvpanic pvpanic;

	pvpanic_init(&pvpanic);
	cr_assert(eq(int, bus_add(&bus, &pvpanic.bus), 0));
	cr_assert(eq(u8, inb(&bus, LAYOUT_PORT_PVPANIC), 3));
	outb(&bus, LAYOUT_PORT_PVPANIC, 1); /* nobody listens yet */
	pvpanic.on_event = on_event;
	outb(&bus, LAYOUT_PORT_PVPANIC, 0xfc);
	outb(&bus, LAYOUT_PORT_PVPANIC, 0);
	cr_assert(eq(u32, events_seen, 0));
	outb(&bus, LAYOUT_PORT_PVPANIC, PVPANIC_PANICKED);
	outb(&bus, LAYOUT_PORT_PVPANIC, 0xf0 | PVPANIC_CRASH_LOADED);
	cr_assert(eq(u32, events_seen, 0x0102));
}
