/* SPDX-License-Identifier: BSD-3-Clause */
/* devices/acpi_pm.h: register widths, write-one-to-clear, SCI, callbacks. */
#include "devices/acpi_pm.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "arch/x86_64/layout.h"

#define PM1_STS LAYOUT_PORT_PM1A_EVT
#define PM1_EN	(LAYOUT_PORT_PM1A_EVT + 2)
#define CNT	LAYOUT_PORT_PM1A_CNT
#define GPE_STS LAYOUT_PORT_GPE0
#define GPE_EN	(LAYOUT_PORT_GPE0 + 4)
#define SLP_EN	(1U << 13)

struct machine {
	struct bus bus;
	struct irq_line sci;
	struct acpi_pm pm;
	bool level;
	unsigned int changes;
	unsigned int sleeps, slp_typ;
	unsigned int clears;
	uint16_t pm1;
	uint32_t gpe;
	bool bulk;
	unsigned int enables;
	bool locked_in_callback;
};

static struct machine m;

static void sci_set(struct irq_line *line, bool level)
{
	m.level = level;
	m.changes++;
}

/* A callback may use the block: the lock must be free. */
static void check_unlocked(void)
{
	if (pthread_mutex_trylock(&m.pm.lock) != 0) {
		m.locked_in_callback = true;
		return;
	}
	pthread_mutex_unlock(&m.pm.lock);
}

static void on_sleep(struct acpi_pm *pm, unsigned int slp_typ)
{
	check_unlocked();
	m.sleeps++;
	m.slp_typ = slp_typ;
}

static void on_clear(struct acpi_pm *pm, uint16_t pm1, uint32_t gpe, bool bulk)
{
	check_unlocked();
	m.clears++;
	m.pm1 = pm1;
	m.gpe = gpe;
	m.bulk = bulk;
}

static void on_enable(struct acpi_pm *pm)
{
	check_unlocked();
	m.enables++;
}

static void setup(void)
{
	m.sci.set = sci_set;
	acpi_pm_init(&m.pm, LAYOUT_PORT_PM1A_EVT, LAYOUT_PORT_PM1A_CNT,
		     LAYOUT_PORT_GPE0, &m.sci);
	m.pm.on_sleep = on_sleep;
	m.pm.on_clear = on_clear;
	m.pm.on_enable = on_enable;
	cr_assert(eq(int, bus_add(&m.bus, &m.pm.evt_bus), 0));
	cr_assert(eq(int, bus_add(&m.bus, &m.pm.cnt_bus), 0));
	cr_assert(eq(int, bus_add(&m.bus, &m.pm.gpe_bus), 0));
}

static void teardown(void)
{
	cr_expect(not(m.locked_in_callback));
	acpi_pm_finish(&m.pm);
	acpi_pm_finish(&m.pm);
}

static void out(uint64_t port, uint64_t value, uint32_t len)
{
	bus_write(&m.bus, port, &value, len);
}

static uint64_t in(uint64_t port, uint32_t len)
{
	uint64_t value = 0;

	bus_read(&m.bus, port, &value, len);
	return value;
}

TestSuite(acpi_pm, .init = setup, .fini = teardown, .timeout = 120);

Test(acpi_pm, registers_take_every_access_width)
{
	acpi_pm_raise(&m.pm, ACPI_PM1_PWRBTN | ACPI_PM1_GBL, 0x80000001);
	out(PM1_EN, 0x20, 1);
	out(PM1_EN + 1, 0x07, 1);
	out(GPE_EN + 3, 0x7f, 1);
	out(GPE_EN, 0x1234, 2);
	cr_assert(eq(u64, in(PM1_STS, 4), 0x07200120));
	cr_assert(eq(u64, in(PM1_STS, 2), 0x0120));
	cr_assert(eq(u64, in(PM1_STS + 1, 1), 0x01));
	cr_assert(eq(u64, in(PM1_EN, 2), 0x0720));
	cr_assert(eq(u64, in(GPE_STS, 8), 0x7f00123480000001));
	cr_assert(eq(u64, in(GPE_STS + 3, 1), 0x80));
	cr_assert(eq(u64, in(GPE_EN, 4), 0x7f001234));
}

Test(acpi_pm, enable_has_only_the_defined_bits)
{
	out(PM1_EN, 0xffff, 2);
	cr_assert(eq(u64, in(PM1_EN, 2), 0x0721));
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_en, 0x0721));
	cr_assert(eq(u32, m.enables, 1));
	out(PM1_EN, 0xffff, 2);
	cr_assert(eq(u32, m.enables, 1), "nothing changed");
	out(GPE_EN, 1, 4);
	cr_assert(eq(u32, m.enables, 2));
	cr_assert(eq(u32, m.changes, 0));
}

Test(acpi_pm, the_sci_is_status_and_enable)
{
	out(PM1_EN, ACPI_PM1_PWRBTN, 2);
	acpi_pm_raise(&m.pm, ACPI_PM1_SLPBTN, 2);
	cr_assert(not(m.level));
	acpi_pm_raise(&m.pm, ACPI_PM1_PWRBTN, 0);
	cr_assert(m.level, "set before raise returns");
	cr_assert(acpi_pm_sci_pending(&m.pm));
	out(GPE_EN, 2, 1);
	acpi_pm_raise(&m.pm, 0, 2);
	cr_assert(eq(u32, m.changes, 1), "a level is not set twice");
	out(PM1_STS, ACPI_PM1_PWRBTN, 2);
	cr_assert(m.level, "the GPE still holds it");
	out(GPE_STS, 2, 4);
	cr_assert(not(m.level));
	cr_assert(not(acpi_pm_sci_pending(&m.pm)));
}

Test(acpi_pm, enabling_and_disabling_moves_the_sci)
{
	acpi_pm_raise(&m.pm, ACPI_PM1_RTC, 0);
	cr_assert(not(m.level));
	out(PM1_EN + 1, ACPI_PM1_RTC >> 8, 1);
	cr_assert(m.level);
	out(PM1_STS, 0, 4);
	cr_assert(not(m.level), "a dword write disables without clearing");
	cr_assert(eq(u64, in(PM1_STS, 2), ACPI_PM1_RTC));
}

Test(acpi_pm, wake_status_alone_raises_no_sci)
{
	out(PM1_EN, 0xffff, 2);
	acpi_pm_raise(&m.pm, ACPI_PM1_WAK, 0);
	cr_assert(not(m.level));
	cr_assert(eq(u64, in(PM1_STS, 2), ACPI_PM1_WAK));
	out(PM1_STS, ACPI_PM1_WAK, 2);
	cr_assert(eq(u64, in(PM1_STS, 2), 0));
}

Test(acpi_pm, ones_clear_only_the_bits_written)
{
	acpi_pm_raise(&m.pm, ACPI_PM1_PWRBTN | ACPI_PM1_RTC, 0x0101);
	out(PM1_STS + 1, ACPI_PM1_PWRBTN >> 8, 1);
	cr_assert(eq(u64, in(PM1_STS, 2), ACPI_PM1_RTC));
	cr_assert(eq(u32, m.pm1, ACPI_PM1_PWRBTN));
	cr_assert(not(m.bulk));
	out(GPE_STS + 1, 0xff, 1);
	cr_assert(eq(u64, in(GPE_STS, 4), 1));
	cr_assert(eq(u32, m.gpe, 0x100));
	cr_assert(eq(u32, m.pm1, 0));
	cr_assert(eq(u32, m.clears, 2));
}

Test(acpi_pm, clearing_what_is_clear_tells_nobody)
{
	out(PM1_STS, 0xffff, 2);
	out(GPE_STS, 0xffffffff, 4);
	out(GPE_STS, 0, 4);
	cr_assert(eq(u32, m.clears, 0));
}

Test(acpi_pm, wiping_everything_is_told_apart_from_one_event)
{
	acpi_pm_raise(&m.pm, ACPI_PM1_PWRBTN, 0);
	out(PM1_STS, 0x8731, 2);
	cr_assert(eq(u32, m.pm1, ACPI_PM1_PWRBTN));
	cr_assert(m.bulk);
}

Test(acpi_pm, control_keeps_the_sleep_type_and_reads_no_sleep_enable)
{
	cr_assert(eq(u64, in(CNT, 2), 1), "SCI_EN");
	out(CNT, 0, 2);
	cr_assert(eq(u64, in(CNT, 1), 1), "cannot be switched off");
	out(CNT, 5U << 10, 2);
	cr_assert(eq(u32, m.sleeps, 0));
	out(CNT, SLP_EN | 5U << 10, 2);
	cr_assert(eq(u32, m.sleeps, 1));
	cr_assert(eq(u32, m.slp_typ, 5));
	cr_assert(eq(u64, in(CNT, 2), 5U << 10 | 1));
}

Test(acpi_pm, sleep_enable_in_a_byte_write)
{
	out(CNT, 0xff, 1);
	cr_assert(eq(u32, m.sleeps, 0));
	out(CNT + 1, (SLP_EN | 1U << 10) >> 8, 1);
	cr_assert(eq(u32, m.sleeps, 1));
	cr_assert(eq(u32, m.slp_typ, 1));
	cr_assert(eq(u64, in(CNT + 1, 1), 1U << 2));
}

Test(acpi_pm, callbacks_are_optional)
{
	m.pm.on_sleep = NULL;
	m.pm.on_clear = NULL;
	m.pm.on_enable = NULL;
	acpi_pm_raise(&m.pm, ACPI_PM1_RTC, 1);
	out(PM1_EN, 0xffff, 2);
	out(GPE_EN, 1, 4);
	out(PM1_STS, 0xffff, 2);
	out(GPE_STS, 1, 4);
	out(CNT, SLP_EN, 2);
	cr_assert(not(m.level));
	cr_assert(eq(u32, m.changes, 2));
}
