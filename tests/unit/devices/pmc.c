/* SPDX-License-Identifier: BSD-3-Clause */
/* devices/pmc.h: which writes are notices; their order is
 * tests/unit/vmm/power/power.c */
#include "devices/pmc.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "arch/x86_64/layout.h"

static struct bus bus;
static struct pmc pmc;
static unsigned int entries, exits, arms;
static unsigned int arm_index;
static bool armed;
static unsigned int slot, powers, slot_arms;
static bool slot_on;

static void on_lps0(struct pmc *p, bool entry)
{
	entries += entry;
	exits += !entry;
}

static void on_arm(struct pmc *p, unsigned int index, bool on)
{
	arms++;
	arm_index = index;
	armed = on;
}

static uint32_t pci_powered(struct pmc *p)
{
	return 1U << 9 | 1U << 3;
}

static void on_pci_power(struct pmc *p, unsigned int index, bool on)
{
	powers++;
	slot = index;
	slot_on = on;
}

static void on_pci_arm(struct pmc *p, unsigned int index, bool on)
{
	slot_arms++;
	slot = index;
	slot_on = on;
}

static void setup(void)
{
	pmc_init(&pmc, LAYOUT_PORT_PMC_LPS0, LAYOUT_PORT_PMC_DSW,
		 LAYOUT_PORT_PMC_PCI);
	pmc.on_lps0 = on_lps0;
	pmc.on_arm = on_arm;
	pmc.pci_powered = pci_powered;
	pmc.on_pci_power = on_pci_power;
	pmc.on_pci_arm = on_pci_arm;
	cr_assert(eq(int, bus_add(&bus, &pmc.lps0_bus), 0));
	cr_assert(eq(int, bus_add(&bus, &pmc.dsw_bus), 0));
	cr_assert(eq(int, bus_add(&bus, &pmc.pci_bus), 0));
}

TestSuite(pmc, .init = setup, .timeout = 120);

Test(pmc, six_codes_of_all_are_notices)
{
	static const uint8_t in[] = { PMC_LPS0_INTEL | 5, PMC_LPS0_AMD | 2,
				      PMC_LPS0_MICROSOFT | 5 };
	static const uint8_t out[] = { PMC_LPS0_INTEL | 6, PMC_LPS0_AMD | 3,
				       PMC_LPS0_MICROSOFT | 6 };

	for (unsigned int code = 0; code < 256; code++) {
		uint8_t byte = (uint8_t)code;

		bus_write(&bus, LAYOUT_PORT_PMC_LPS0, &byte, 1);
	}
	cr_assert(eq(u32, entries, 3));
	cr_assert(eq(u32, exits, 3));
	for (unsigned int i = 0; i < 3; i++) {
		bus_write(&bus, LAYOUT_PORT_PMC_LPS0, &in[i], 1);
		cr_assert(eq(u32, entries, 4 + i));
		bus_write(&bus, LAYOUT_PORT_PMC_LPS0, &out[i], 1);
		cr_assert(eq(u32, exits, 4 + i));
	}
}

Test(pmc, wide_writes_to_the_notice_port_are_none)
{
	uint32_t value = PMC_LPS0_INTEL | 5;

	bus_write(&bus, LAYOUT_PORT_PMC_LPS0, &value, 2);
	bus_write(&bus, LAYOUT_PORT_PMC_LPS0, &value, 4);
	cr_assert(eq(u32, entries, 0));
}

Test(pmc, dsw_arms_and_disarms_by_index)
{
	uint32_t value = PMC_DSW_ARMED | 7;

	bus_write(&bus, LAYOUT_PORT_PMC_DSW, &value, 4);
	cr_assert(eq(u32, arm_index, 7));
	cr_assert(armed);
	value = 7;
	bus_write(&bus, LAYOUT_PORT_PMC_DSW, &value, 4);
	cr_assert(not(armed));
	/* Any index comes through as a byte: the owner checks it. */
	value = UINT32_MAX;
	bus_write(&bus, LAYOUT_PORT_PMC_DSW, &value, 4);
	cr_assert(eq(u32, arm_index, 0xff));
	value = 3;
	bus_write(&bus, LAYOUT_PORT_PMC_DSW, &value, 1);
	cr_assert(eq(u32, arm_index, 3));
	cr_assert(not(armed));
	cr_assert(eq(u32, arms, 4));
}

Test(pmc, dsw_in_the_middle_is_ignored)
{
	uint32_t value = UINT32_MAX;

	bus_write(&bus, LAYOUT_PORT_PMC_DSW + 1, &value, 1);
	bus_write(&bus, LAYOUT_PORT_PMC_DSW + 2, &value, 2);
	bus_write(&bus, LAYOUT_PORT_PMC_DSW, &value, 8);
	cr_assert(eq(u32, arms, 0));
}

Test(pmc, reads_find_nothing)
{
	uint32_t value = 0;

	bus_read(&bus, LAYOUT_PORT_PMC_DSW, &value, 4);
	cr_assert(eq(u32, value, UINT32_MAX));
}

static void pci_port(uint32_t value)
{
	bus_write(&bus, LAYOUT_PORT_PMC_PCI, &value, 4);
}

Test(pmc, a_pci_slot_is_switched_and_armed)
{
	pci_port(PMC_PCI_ON | 9);
	cr_assert(eq(u32, slot, 9));
	cr_assert(slot_on);
	pci_port(PMC_PCI_OFF | 9);
	cr_assert(not(slot_on));
	cr_assert(eq(u32, powers, 2));
	pci_port(PMC_PCI_ARM | 3);
	cr_assert(eq(u32, slot, 3));
	cr_assert(slot_on);
	pci_port(PMC_PCI_DISARM | 3);
	cr_assert(not(slot_on));
	cr_assert(eq(u32, slot_arms, 2));
	/* Any slot comes through: the owner checks it. */
	pci_port(PMC_PCI_ON | 0xff);
	cr_assert(eq(u32, slot, 0xff));
}

Test(pmc, what_is_no_word_of_a_slot_is_ignored)
{
	uint32_t value = PMC_PCI_ON | 9;

	pci_port(0x409);
	pci_port(~0U);
	bus_write(&bus, LAYOUT_PORT_PMC_PCI + 1, &value, 2);
	bus_write(&bus, LAYOUT_PORT_PMC_PCI, &value, 8);
	cr_assert(eq(u32, powers + slot_arms, 0));
}

Test(pmc, the_slots_with_power_are_read)
{
	uint32_t value = 0;

	bus_read(&bus, LAYOUT_PORT_PMC_PCI, &value, 4);
	cr_assert(eq(u32, value, 1U << 9 | 1U << 3));
	value = 0;
	bus_read(&bus, LAYOUT_PORT_PMC_PCI + 1, &value, 1);
	cr_assert(eq(u32, value, 2));
}
