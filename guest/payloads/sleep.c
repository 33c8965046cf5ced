/* SPDX-License-Identifier: BSD-3-Clause */
/* See sleep.h. */
#include "guest/payloads/sleep.h"

#include "guest/payloads/apic.h"

#define PM1_STS	    LAYOUT_PORT_PM1A_EVT
#define PM1_EN	    (LAYOUT_PORT_PM1A_EVT + 2)
#define GPE_STS	    LAYOUT_PORT_GPE0
#define GPE_EN	    (LAYOUT_PORT_GPE0 + LAYOUT_PORT_GPE0_LEN / 2)
#define PM1_WAK	    (1U << 15)
#define PM1_ALL	    0x8731
#define SLP_EN	    (1U << 13)
#define SLP_TYP	    10
#define LPS0_ENTRY  (PMC_LPS0_AMD | 2)
#define LPS0_EXIT   (PMC_LPS0_AMD | 3)
#define BYTE_WAIT_S 10

#define SERIAL_IER	 (LAYOUT_PORT_SERIAL + 1)
#define SERIAL_IER_RDI	 1
#define CMOS_B		 0x0b
#define CMOS_C		 0x0c
#define CMOS_B_AIE	 0x20
#define CMOS_ANY	 0xff
#define CMOS_DAY_ALARM	 0x0d
#define CMOS_MONTH_ALARM 0x0e

static bool irqs_work;

/* ------------------------------------------------------------ interrupts */

__attribute__((interrupt)) static void on_serial(struct apic_frame *frame)
{
	/* The byte is looked for by polling; this takes it from the IRR. */
	apic_eoi();
}

/* Whatever is pending is taken now. */
static void irqs_take(void)
{
	if (!irqs_work)
		return;
	irqs_on();
	__asm__ volatile("nop");
	irqs_off();
}

void sleep_init(bool take_irqs)
{
	irqs_work = take_irqs;
	if (take_irqs) {
		apic_init_vectors();
		apic_set_handler(APIC_VECTOR_DEVICE, on_serial);
		ioapic_route_edge(LAYOUT_GSI_SERIAL, APIC_VECTOR_DEVICE);
	} else {
		/* Otherwise the VMM takes this CPU for an offline one. */
		apic_enable();
	}
	outw(PM1_STS, 0xffff);
	outw(PM1_EN, PM1_PWRBTN | PM1_SLPBTN | PM1_RTC);
	outl(GPE_EN, 0xffffffff);
	outb(SERIAL_IER, SERIAL_IER_RDI);
}

/* ----------------------------------------------------------------- alarm */

static uint32_t from_bcd(uint8_t raw)
{
	return raw / 16U * 10 + raw % 16U;
}

static uint8_t to_bcd(uint32_t value)
{
	return (uint8_t)(value / 10 * 16 + value % 10);
}

/* The clock's time of day, read twice alike: it may have ticked between. */
static uint32_t clock_seconds(void)
{
	uint32_t now = 0, last;

	do {
		last = now;
		now = from_bcd(cmos_read(4)) * 3600 +
		      from_bcd(cmos_read(2)) * 60 + from_bcd(cmos_read(0));
	} while (now != last);
	return now;
}

/* At a second of the day. */
static void alarm_program(uint32_t at)
{
	uint8_t b = cmos_read(CMOS_B) & (uint8_t)~CMOS_B_AIE;

	cmos_write(CMOS_B, b);
	(void)cmos_read(CMOS_C);
	cmos_write(5, to_bcd(at / 3600 % 24));
	cmos_write(3, to_bcd(at / 60 % 60));
	cmos_write(1, to_bcd(at % 60));
	cmos_write(CMOS_DAY_ALARM, CMOS_ANY);
	cmos_write(CMOS_MONTH_ALARM, CMOS_ANY);
	cmos_write(CMOS_B, b | CMOS_B_AIE);
	/*
	 * As rtc-cmos does when it arms: an alarm that is due already loses
	 * its status bit here.
	 */
	outw(PM1_STS, PM1_RTC);
}

void alarm_set(uint32_t seconds)
{
	alarm_program(clock_seconds() + seconds);
}

void alarm_next_tick(void)
{
	uint32_t now;

	/* If it ticked meanwhile, the alarm may be one of tomorrow. */
	do {
		now = clock_seconds();
		alarm_program(now + 1);
	} while (clock_seconds() != now);
}

static void alarm_take(void)
{
	cmos_write(CMOS_B, cmos_read(CMOS_B) & (uint8_t)~CMOS_B_AIE);
	(void)cmos_read(CMOS_C);
}

/* ----------------------------------------------------------------- sleep */

void sleep_arm(uint32_t armed)
{
	struct vio_dev *dev;

	for (unsigned int i = 0; (dev = vio_nth(i)) != NULL; i++) {
		uint32_t on = armed >> dev->slot & 1 ? PMC_DSW_ARMED : 0;

		outl(LAYOUT_PORT_PMC_DSW, dev->slot | on);
	}
}

struct wake wake_look(void)
{
	uint32_t gpe = inl(GPE_STS);

	return (struct wake){
		.pm1 = inw(PM1_STS) & inw(PM1_EN),
		.gpe = gpe ? gpe & inl(GPE_EN) : 0,
		.serial = serial_pending(),
	};
}

struct wake sleep_s2idle(void)
{
	uint32_t reads = 0;
	struct wake w;

	outb(LAYOUT_PORT_PMC_LPS0, LPS0_ENTRY);
	/* Back to the port as long as there is nothing. */
	do {
		(void)inb(LAYOUT_PORT_PMC_C2);
		reads++;
		irqs_take();
		w = wake_look();
	} while (!wake_found(&w));
	w.reads = reads;
	return w;
}

struct wake sleep_s1(void)
{
	const uint32_t typ = LAYOUT_SLP_TYP_S1 << SLP_TYP;
	struct deadline d;
	struct wake w;

	/* ACPICA wipes the status first: a wake may be lost only with it. */
	outw(PM1_STS, PM1_ALL);
	outl(GPE_STS, 0xffffffff);
	outw(LAYOUT_PORT_PM1A_CNT, (uint16_t)typ);
	outw(LAYOUT_PORT_PM1A_CNT, (uint16_t)(typ | SLP_EN));
	while (!(inw(PM1_STS) & PM1_WAK))
		;
	outw(PM1_STS, PM1_WAK);
	irqs_take();
	w = wake_look();
	/* A byte that woke it is on its way from the host. */
	d = deadline_in(BYTE_WAIT_S);
	while (!wake_found(&w) && !deadline_over(&d))
		w = wake_look();
	irqs_take();
	return w;
}

void sleep_exit(void)
{
	outb(LAYOUT_PORT_PMC_LPS0, LPS0_EXIT);
}

/* ---------------------------------------------------------------- causes */

void wake_report(uint64_t cycle, const struct wake *w)
{
	const struct {
		const char *name;
		uint32_t set;
	} causes[] = {
		{ "powerbtn", w->pm1 & PM1_PWRBTN },
		{ "sleepbtn", w->pm1 & PM1_SLPBTN },
		{ "rtc", w->pm1 & PM1_RTC },
		{ "gpe", w->gpe },
		{ "serial", w->serial },
	};
	const char *sep = "";

	print("WAKE cycle=%lu by=", cycle);
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++) {
		if (!causes[i].set)
			continue;
		print("%s%s", sep, causes[i].name);
		sep = "+";
	}
	print(" pm1=0x%x gpe=0x%x reads=%u\n", w->pm1, w->gpe, w->reads);
}

/* One event at a time, as ACPICA's handlers do. */
const char *wake_clear(const struct wake *w)
{
	struct wake left;

	if (w->pm1 & PM1_RTC)
		alarm_take();
	for (uint32_t bit = PM1_PWRBTN; bit <= PM1_RTC; bit <<= 1) {
		if (w->pm1 & bit)
			outw(PM1_STS, (uint16_t)bit);
	}
	if (w->gpe)
		outl(GPE_STS, w->gpe);
	while (serial_pending())
		print("BYTE 0x%x\n", inb(LAYOUT_PORT_SERIAL));
	left = wake_look();
	if ((left.pm1 & w->pm1) || (left.gpe & w->gpe))
		return "status bits did not clear";
	return NULL;
}

void sleep_button_wait(void)
{
	while (!(inw(PM1_STS) & PM1_SLPBTN))
		;
	outw(PM1_STS, PM1_SLPBTN);
}
