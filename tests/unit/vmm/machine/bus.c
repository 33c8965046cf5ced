/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/machine/bus.h: adding, overlaps, dispatch, unclaimed addresses. */
#include "vmm/machine/bus.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

struct probe {
	struct bus_dev bus;
	uint64_t offset;
	uint32_t len;
	uint64_t written;
	unsigned int calls;
};

static void probe_read(struct bus_dev *dev, uint64_t offset, void *data,
		       uint32_t len)
{
	struct probe *p = container_of(dev, struct probe, bus);

	p->offset = offset;
	p->len = len;
	p->calls++;
	memset(data, 0x5a, len);
}

static void probe_write(struct bus_dev *dev, uint64_t offset, const void *data,
			uint32_t len)
{
	struct probe *p = container_of(dev, struct probe, bus);

	p->offset = offset;
	p->len = len;
	p->calls++;
	p->written = 0;
	memcpy(&p->written, data, len);
}

static const struct bus_ops probe_ops = {
	.name = "probe",
	.read = probe_read,
	.write = probe_write,
};
static const struct bus_ops mute_ops = { .name = "mute" };

static struct probe probe_at(uint64_t base, uint64_t size)
{
	return (struct probe){
		.bus = { .ops = &probe_ops, .base = base, .size = size },
	};
}

Test(bus, add_refuses_an_empty_or_wrapping_range, .timeout = 120)
{
	struct bus bus = { 0 };
	struct probe empty = probe_at(0x100, 0);
	struct probe wraps = probe_at(UINT64_MAX, 2);
	struct probe last = probe_at(UINT64_MAX, 1);

	cr_assert(eq(int, bus_add(&bus, &empty.bus), -EINVAL));
	cr_assert(eq(int, bus_add(&bus, &wraps.bus), -EINVAL));
	cr_assert(eq(int, bus_add(&bus, &last.bus), 0));
	cr_assert(eq(u32, bus.nr, 1));
}

Test(bus, add_refuses_overlaps_on_either_side, .timeout = 120)
{
	struct bus bus = { 0 };
	struct probe mid = probe_at(0x100, 0x10);
	struct probe below = probe_at(0xf8, 9);
	struct probe above = probe_at(0x10f, 1);
	struct probe inside = probe_at(0x104, 1);
	struct probe around = probe_at(0, 0x1000);
	struct probe same = probe_at(0x100, 0x10);
	struct probe left = probe_at(0xf8, 8);
	struct probe right = probe_at(0x110, 8);

	cr_assert(eq(int, bus_add(&bus, &mid.bus), 0));
	cr_assert(eq(int, bus_add(&bus, &below.bus), -EEXIST));
	cr_assert(eq(int, bus_add(&bus, &above.bus), -EEXIST));
	cr_assert(eq(int, bus_add(&bus, &inside.bus), -EEXIST));
	cr_assert(eq(int, bus_add(&bus, &around.bus), -EEXIST));
	cr_assert(eq(int, bus_add(&bus, &same.bus), -EEXIST));
	cr_assert(eq(int, bus_add(&bus, &left.bus), 0));
	cr_assert(eq(int, bus_add(&bus, &right.bus), 0));
	cr_assert(eq(ptr, bus.devs[0], &left.bus));
	cr_assert(eq(ptr, bus.devs[1], &mid.bus));
	cr_assert(eq(ptr, bus.devs[2], &right.bus));
}

Test(bus, add_refuses_more_devices_than_fit, .timeout = 120)
{
	struct bus bus = { 0 };
	struct probe probes[BUS_MAX_DEVS + 1];

	for (unsigned int i = 0; i <= BUS_MAX_DEVS; i++) {
		/* Downwards, so that each is put in front. */
		probes[i] = probe_at(0x10000 - 16 * i, 16);
		cr_assert(eq(int, bus_add(&bus, &probes[i].bus),
			     i < BUS_MAX_DEVS ? 0 : -ENOSPC));
	}
	for (unsigned int i = 1; i < BUS_MAX_DEVS; i++)
		cr_assert(lt(u64, bus.devs[i - 1]->base, bus.devs[i]->base));
}

Test(bus, an_access_reaches_its_device_with_the_offset, .timeout = 120)
{
	struct bus bus = { 0 };
	struct probe a = probe_at(0x100, 8), b = probe_at(0x108, 8);
	uint32_t value = 0x11223344;

	cr_assert(eq(int, bus_add(&bus, &b.bus), 0));
	cr_assert(eq(int, bus_add(&bus, &a.bus), 0));
	bus_write(&bus, 0x10c, &value, 4);
	cr_assert(eq(u32, a.calls, 0));
	cr_assert(eq(u64, b.offset, 4));
	cr_assert(eq(u32, b.len, 4));
	cr_assert(eq(u64, b.written, 0x11223344));
	bus_read(&bus, 0x107, &value, 1);
	cr_assert(eq(u64, a.offset, 7));
	cr_assert(eq(u32, value, 0x1122335a));
}

Test(bus, unclaimed_and_crossing_accesses_read_as_ones, .timeout = 120)
{
	struct bus bus = { 0 };
	struct probe a = probe_at(0x100, 8), b = probe_at(0x108, 8);
	static const uint64_t addrs[] = { 0,	 0xff,	0x106,
					  0x10e, 0x110, UINT64_MAX - 1 };

	cr_assert(eq(int, bus_add(&bus, &a.bus), 0));
	cr_assert(eq(int, bus_add(&bus, &b.bus), 0));
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		uint32_t value = 0;

		bus_read(&bus, addrs[i], &value, 4);
		cr_assert(eq(u32, value, 0xffffffff));
		bus_write(&bus, addrs[i], &value, 4);
	}
	cr_assert(eq(u32, a.calls, 0));
	cr_assert(eq(u32, b.calls, 0));
}

Test(bus, missing_slots_read_as_ones_and_ignore_writes, .timeout = 120)
{
	struct bus bus = { 0 };
	struct bus_dev mute = { .ops = &mute_ops, .base = 0x60, .size = 1 };
	uint8_t value = 0;

	cr_assert(eq(int, bus_add(&bus, &mute), 0));
	bus_write(&bus, 0x60, &value, 1);
	bus_read(&bus, 0x60, &value, 1);
	cr_assert(eq(u8, value, 0xff));
}
