/* SPDX-License-Identifier: BSD-3-Clause */
/* arch/x86_64/ioapic.h: registers, edge and level pins, EOIs, routes. */
#include "arch/x86_64/ioapic.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#define SELECT 0x00
#define WINDOW 0x10
#define EOI    0x40

#define MASKED	   (1U << 16)
#define LEVEL	   (1U << 15)
#define REMOTE_IRR (1U << 14)
#define PENDING	   (1U << 12)
#define LOGICAL	   (1U << 11)

static struct ioapic ioapic;
static unsigned int sent, routings;
static struct kvm_msi last;
static struct kvm_irq_routing_entry routes[IOAPIC_NR_PINS];
static unsigned int nr_routes;
static bool nobody_takes_it;

static bool on_send(struct ioapic *io, const struct kvm_msi *msi)
{
	sent++;
	last = *msi;
	return !nobody_takes_it;
}

static void on_route(struct ioapic *io,
		     const struct kvm_irq_routing_entry *entries,
		     unsigned int nr)
{
	routings++;
	nr_routes = nr;
	memcpy(routes, entries, nr * sizeof(*entries));
}

static void setup(void)
{
	ioapic_init(&ioapic);
	ioapic.send = on_send;
	ioapic.route = on_route;
}

static void teardown(void)
{
	ioapic_finish(&ioapic);
}

TestSuite(ioapic, .init = setup, .fini = teardown, .timeout = 120);

static void put(uint64_t offset, uint32_t value)
{
	ioapic.bus.ops->write(&ioapic.bus, offset, &value, 4);
}

static uint32_t get(uint64_t offset)
{
	uint32_t value;

	ioapic.bus.ops->read(&ioapic.bus, offset, &value, 4);
	return value;
}

static uint32_t read_reg(uint32_t index)
{
	put(SELECT, index);
	return get(WINDOW);
}

static void write_reg(uint32_t index, uint32_t value)
{
	put(SELECT, index);
	put(WINDOW, value);
}

static void rte(unsigned int pin, uint32_t low, uint32_t high)
{
	write_reg(0x11 + 2 * pin, high);
	write_reg(0x10 + 2 * pin, low);
}

static uint32_t low(unsigned int pin)
{
	return read_reg(0x10 + 2 * pin);
}

Test(ioapic, tells_its_version_and_pins)
{
	cr_assert(eq(u32, read_reg(1), 0x20 | (IOAPIC_NR_PINS - 1) << 16));
	write_reg(0, 0xffffffff);
	cr_assert(eq(u32, read_reg(0), 0x0f000000));
	cr_assert(eq(u32, read_reg(2), 0x0f000000));
	for (unsigned int pin = 0; pin < IOAPIC_NR_PINS; pin++)
		cr_assert(eq(u32, low(pin), MASKED));
	cr_assert(eq(u32, get(SELECT), 0x10 + 2 * (IOAPIC_NR_PINS - 1)));
}

Test(ioapic, indexes_and_offsets_that_are_none)
{
	write_reg(3, 0xffffffff);
	cr_assert(eq(u32, read_reg(3), 0));
	write_reg(0x10 + 2 * IOAPIC_NR_PINS, 0x31);
	cr_assert(eq(u32, read_reg(0x10 + 2 * IOAPIC_NR_PINS), 0));
	write_reg(0xff, 0x31);
	cr_assert(eq(u32, read_reg(0xff), 0));
	put(0x20, 0xffffffff);
	cr_assert(eq(u32, get(0x20), 0));
	cr_assert(eq(u32, sent + routings, 0));
	ioapic_set(&ioapic, IOAPIC_NR_PINS, true);
	ioapic_set(&ioapic, UINT32_MAX, true);
}

Test(ioapic, narrow_and_wide_accesses)
{
	uint64_t wide = 0x1111111111111111;
	uint8_t byte = 0x10;

	ioapic.bus.ops->write(&ioapic.bus, SELECT, &byte, 1);
	cr_assert(eq(u32, get(SELECT), 0x10));
	ioapic.bus.ops->read(&ioapic.bus, WINDOW, &wide, 8);
	cr_assert(eq(u64, wide, MASKED));
}

Test(ioapic, an_edge_pin_interrupts_on_the_rise)
{
	rte(4, 0x34, 0x03000000);
	ioapic_set(&ioapic, 4, true);
	cr_assert(eq(u32, sent, 1));
	cr_assert(eq(u32, last.address_lo, 0xfee03000));
	cr_assert(eq(u32, last.data, 0x34));
	ioapic_set(&ioapic, 4, true);
	cr_assert(eq(u32, sent, 1));
	ioapic_set(&ioapic, 4, false);
	cr_assert(eq(u32, sent, 1));
	ioapic_set(&ioapic, 4, true);
	cr_assert(eq(u32, sent, 2));
	cr_assert(eq(u32, low(4), 0x34));
}

Test(ioapic, logical_lowest_priority_destinations)
{
	rte(4, 0x34 | LOGICAL | 1U << 8, 0xff000000);
	ioapic_set(&ioapic, 4, true);
	cr_assert(eq(u32, last.address_lo, 0xfeeff000 | 1U << 2 | 1U << 3));
	cr_assert(eq(u32, last.data, 0x134));
}

Test(ioapic, an_edge_while_masked_is_lost)
{
	rte(4, 0x34 | MASKED, 0);
	ioapic_set(&ioapic, 4, true);
	rte(4, 0x34, 0);
	cr_assert(eq(u32, sent, 0));
}

Test(ioapic, a_level_pin_is_sent_once_until_its_eoi)
{
	rte(9, 0x39 | LEVEL, 0);
	ioapic_set(&ioapic, 9, true);
	cr_assert(eq(u32, sent, 1));
	cr_assert(eq(u32, last.data, 0x39 | 1U << 14 | 1U << 15));
	cr_assert(eq(u32, low(9), 0x39 | LEVEL | REMOTE_IRR));
	ioapic_set(&ioapic, 9, false);
	ioapic_set(&ioapic, 9, true);
	cr_assert(eq(u32, sent, 1), "not ended");
	ioapic_eoi(&ioapic, 0x38);
	cr_assert(eq(u32, sent, 1), "another's");
	ioapic_eoi(&ioapic, 0x39);
	cr_assert(eq(u32, sent, 2), "still asserted");
	ioapic_set(&ioapic, 9, false);
	ioapic_eoi(&ioapic, 0x39);
	cr_assert(eq(u32, sent, 2));
	cr_assert(eq(u32, low(9), 0x39 | LEVEL));
}

Test(ioapic, an_eoi_by_register_does_the_same)
{
	rte(9, 0x39 | LEVEL, 0);
	ioapic_set(&ioapic, 9, true);
	put(EOI, 0x39);
	cr_assert(eq(u32, sent, 2));
}

Test(ioapic, an_eoi_of_an_edge_pin_changes_nothing)
{
	rte(4, 0x34, 0);
	ioapic_set(&ioapic, 4, true);
	ioapic_eoi(&ioapic, 0x34);
	cr_assert(eq(u32, sent, 1));
}

Test(ioapic, a_masked_level_waits_for_the_unmasking)
{
	rte(9, 0x39 | LEVEL | MASKED, 0);
	ioapic_set(&ioapic, 9, true);
	cr_assert(eq(u32, sent, 0));
	write_reg(0x10 + 18, 0x39 | LEVEL);
	cr_assert(eq(u32, sent, 1));
}

/* Linux masks the SCI in s2idle before it ends it. */
Test(ioapic, masked_between_interrupt_and_eoi)
{
	rte(9, 0x39 | LEVEL, 0);
	ioapic_set(&ioapic, 9, true);
	write_reg(0x10 + 18, 0x39 | LEVEL | MASKED);
	cr_assert(eq(u32, low(9), 0x39 | LEVEL | MASKED | REMOTE_IRR));
	ioapic_eoi(&ioapic, 0x39);
	cr_assert(eq(u32, low(9), 0x39 | LEVEL | MASKED));
	cr_assert(eq(u32, sent, 1));
	write_reg(0x10 + 18, 0x39 | LEVEL);
	cr_assert(eq(u32, sent, 2));
}

Test(ioapic, a_level_no_apic_took_waits_for_no_eoi)
{
	nobody_takes_it = true;
	rte(9, 0x39 | LEVEL, 0);
	ioapic_set(&ioapic, 9, true);
	cr_assert(eq(u32, low(9), 0x39 | LEVEL));
	nobody_takes_it = false;
	rte(9, 0x39 | LEVEL, 0);
	cr_assert(eq(u32, low(9), 0x39 | LEVEL | REMOTE_IRR));
}

Test(ioapic, read_only_bits_stay_the_chips)
{
	rte(9, 0x39 | LEVEL | REMOTE_IRR | PENDING, 0);
	cr_assert(eq(u32, low(9), 0x39 | LEVEL));
	ioapic_set(&ioapic, 9, true);
	write_reg(0x10 + 18, 0x39 | LEVEL);
	cr_assert(eq(u32, low(9), 0x39 | LEVEL | REMOTE_IRR));
	cr_assert(eq(u32, sent, 1));
	/* Made an edge pin, and level again: what was not ended is forgotten */
	write_reg(0x10 + 18, 0x39);
	cr_assert(eq(u32, low(9), 0x39));
	write_reg(0x10 + 18, 0x39 | LEVEL);
	cr_assert(eq(u32, sent, 2));
}

Test(ioapic, a_masked_level_keeps_its_route_and_a_masked_edge_has_none)
{
	rte(4, 0x34, 0);
	rte(9, 0x39 | LEVEL, 0x01000000);
	cr_assert(eq(u32, nr_routes, 2));
	cr_assert(eq(u32, routes[0].gsi, 4));
	cr_assert(eq(u32, routes[1].gsi, 9));
	cr_assert(eq(u32, routes[1].type, KVM_IRQ_ROUTING_MSI));
	cr_assert(eq(u32, routes[1].u.msi.address_lo, 0xfee01000));
	cr_assert(eq(u32, routes[1].u.msi.data, 0x39 | 1U << 14 | 1U << 15));
	write_reg(0x10 + 18, 0x39 | LEVEL | MASKED);
	cr_assert(eq(u32, nr_routes, 2));
	write_reg(0x10 + 8, 0x34 | MASKED);
	cr_assert(eq(u32, nr_routes, 1));
	cr_assert(eq(u32, routes[0].gsi, 9));
}

Test(ioapic, routes_are_published_only_when_one_changed)
{
	rte(9, 0x39 | LEVEL, 0);
	unsigned int n = routings;

	write_reg(0x10 + 18, 0x39 | LEVEL | MASKED);
	write_reg(0x10 + 18, 0x39 | LEVEL);
	write_reg(0x10 + 8, 0x44 | MASKED);
	write_reg(0x11 + 8, 0x02000000);
	cr_assert(eq(u32, routings, n));
	write_reg(0x11 + 18, 0x02000000);
	cr_assert(eq(u32, routings, n + 1));
}

static unsigned int times_all_masked;

static void on_all_masked(struct ioapic *io)
{
	/* The lock is free. */
	cr_assert(ioapic_all_masked(io));
	times_all_masked++;
}

Test(ioapic, the_last_pin_that_is_masked_is_told_once)
{
	ioapic.all_masked = on_all_masked;
	cr_assert(ioapic_all_masked(&ioapic));
	write_reg(0x10, MASKED | 0x30);
	cr_assert(eq(u32, times_all_masked, 0), "it was before");
	write_reg(0x10, 0x30);
	write_reg(0x12, 0x31);
	cr_assert(not(ioapic_all_masked(&ioapic)));
	write_reg(0x10, MASKED | 0x30);
	cr_assert(eq(u32, times_all_masked, 0));
	write_reg(0x12, MASKED | 0x31);
	cr_assert(eq(u32, times_all_masked, 1));
	write_reg(0x12, MASKED | 0x32);
	cr_assert(eq(u32, times_all_masked, 1));
}
