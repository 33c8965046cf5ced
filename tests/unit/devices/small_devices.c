/* SPDX-License-Identifier: BSD-3-Clause */
/* devices/i8042.h, pci_conf.h and pvpanic.h, through the bus. */
#include "arch/x86_64/layout.h"
#include "devices/i8042.h"
#include "devices/pci/conf.h"
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
	i8042_init(i8042, LAYOUT_PORT_I8042_DATA, LAYOUT_PORT_I8042_CMD);
	i8042->on_reset = on_reset;
	cr_assert(eq(int, bus_add(bus, &i8042->data_bus), 0));
	cr_assert(eq(int, bus_add(bus, &i8042->cmd_bus), 0));
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

Test(i8042, only_the_reset_command_resets, .timeout = 120)
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

Test(i8042, reads_say_that_nothing_is_there, .timeout = 120)
{
	struct bus bus = { 0 };
	struct i8042 i8042;

	make_i8042(&bus, &i8042);
	cr_assert(eq(u8, inb(&bus, LAYOUT_PORT_I8042_DATA), 0xff));
	cr_assert(eq(u8, inb(&bus, LAYOUT_PORT_I8042_CMD), 0xff));
}

Test(i8042, a_reset_nobody_listens_to_is_ignored, .timeout = 120)
{
	struct bus bus = { 0 };
	struct i8042 i8042;

	make_i8042(&bus, &i8042);
	i8042.on_reset = NULL;
	outb(&bus, LAYOUT_PORT_I8042_CMD, 0xfe);
	cr_assert(eq(u32, resets, 0));
}

static void on_register(struct pci_conf *conf)
{
	resets++;
}

static void make_pci_conf(struct bus *bus, struct pci_conf *conf)
{
	static struct pci_bus pci;

	pci_bus_init(&pci);
	pci_conf_init(conf, LAYOUT_PORT_PCI_ADDRESS, &pci);
	conf->on_reset = on_register;
	cr_assert(eq(int, bus_add(bus, &conf->bus), 0));
}

static void outl(struct bus *bus, uint64_t port, uint32_t value)
{
	bus_write(bus, port, &value, 4);
}

static uint32_t in(struct bus *bus, uint64_t port, uint32_t len)
{
	uint32_t value = 0;

	bus_read(bus, port, &value, len);
	return value;
}

/* The register @reg of a function, as Linux reads it. */
static uint32_t config(struct bus *bus, uint32_t function, uint32_t reg,
		       uint32_t len)
{
	outl(bus, LAYOUT_PORT_PCI_ADDRESS,
	     0x80000000U | function << 8 | (reg & ~3U));
	return in(bus, LAYOUT_PORT_PCI_DATA + (reg & 3), len);
}

Test(pci_conf, the_reset_register_resets_on_its_cpu_bit, .timeout = 120)
{
	struct bus bus = { 0 };
	struct pci_conf conf;

	make_pci_conf(&bus, &conf);
	outb(&bus, LAYOUT_PORT_RESET, 0x02);
	cr_assert(eq(u32, resets, 0));
	outb(&bus, LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE);
	cr_assert(eq(u32, resets, 1));
	cr_assert(eq(u8, inb(&bus, LAYOUT_PORT_RESET), 0xff));
	/* An address is not a reset, whatever its second byte. */
	outl(&bus, LAYOUT_PORT_PCI_ADDRESS, 0x80000600);
	cr_assert(eq(u32, resets, 1));
	conf.on_reset = NULL;
	outb(&bus, LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE);
	cr_assert(eq(u32, resets, 1));
}

Test(pci_conf, passes_for_mechanism_1_with_a_host_bridge, .timeout = 120)
{
	struct bus bus = { 0 };
	struct pci_conf conf;

	make_pci_conf(&bus, &conf);
	/* A byte is not the address; a word stays as it was written. */
	outb(&bus, LAYOUT_PORT_PCI_ADDRESS + 3, 0x01);
	cr_assert(eq(u32, in(&bus, LAYOUT_PORT_PCI_ADDRESS, 4), 0));
	outl(&bus, LAYOUT_PORT_PCI_ADDRESS, 0x80000000);
	cr_assert(eq(u32, in(&bus, LAYOUT_PORT_PCI_ADDRESS, 4), 0x80000000));
	cr_assert(eq(u32, config(&bus, 0, 0x0a, 2), 0x0600));
	cr_assert(eq(u32, config(&bus, 0, 0, 2), 0x1b36));
	cr_assert(eq(u32, config(&bus, 0, 2, 2), 0x0008));
	cr_assert(eq(u32, config(&bus, 0, 0x0e, 1), 0)); /* one function */
	cr_assert(eq(u32, config(&bus, 0, 0x10, 4), 0)); /* no BAR */
	outl(&bus, LAYOUT_PORT_PCI_DATA, ~0U);
	cr_assert(eq(u32, config(&bus, 0, 0x10, 4), 0));
}

Test(pci_conf, nothing_else_is_there, .timeout = 120)
{
	struct bus bus = { 0 };
	struct pci_conf conf;

	make_pci_conf(&bus, &conf);
	for (uint32_t function = 1; function < 0x10000; function++)
		cr_assert(eq(u32, config(&bus, function, 0, 4), ~0U));
	/* Not enabled: these ports are nobody's. */
	outl(&bus, LAYOUT_PORT_PCI_ADDRESS, 0);
	cr_assert(eq(u32, in(&bus, LAYOUT_PORT_PCI_DATA, 4), ~0U));
	cr_assert(eq(u32, in(&bus, LAYOUT_PORT_PCI_ADDRESS, 2), 0xffff));
}

Test(pvpanic, tells_the_events_it_understands, .timeout = 120)
{
	struct bus bus = { 0 };
	struct pvpanic pvpanic;

	pvpanic_init(&pvpanic, LAYOUT_PORT_PVPANIC);
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
