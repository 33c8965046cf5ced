/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeps as Linux does in s2idle, without Linux: enables its wake events, says
 * LPS0 entry, reads the C2 port until there is something to wake for, says
 * what it was, clears it, says LPS0 exit. Interrupts stay off. Words:
 *   cycles=N      sleeps (1)
 *   on=sleepbtn   each sleep waits for the sleep button first
 *   kind=s1       sleeps by PM1_CNT instead
 *   alarm=S       sets the RTC alarm S seconds ahead before each sleep
 *   arm=MASK      devices armed by _DSW, a bit each (all)
 *   live=1        the disk stays live over the sleep; default: it is reset
 * A disk, if there is one, answers a request before and after each sleep.
 */
#include "guest/payloads/apic.h"
#include "guest/payloads/virtio.h"

#define PM1_STS	    LAYOUT_PORT_PM1A_EVT
#define PM1_EN	    (LAYOUT_PORT_PM1A_EVT + 2)
#define GPE_STS	    LAYOUT_PORT_GPE0
#define GPE_EN	    (LAYOUT_PORT_GPE0 + LAYOUT_PORT_GPE0_LEN / 2)
#define PWRBTN	    (1U << 8)
#define SLPBTN	    (1U << 9)
#define RTC	    (1U << 10)
#define WAK	    (1U << 15)
#define WAKE_EVENTS (PWRBTN | SLPBTN | RTC)
#define SLP_EN	    (1U << 13)
#define SLP_TYP	    10
#define LPS0_ENTRY  (PMC_LPS0_AMD | 2)
#define LPS0_EXIT   (PMC_LPS0_AMD | 3)

#define SERIAL_IER	 (LAYOUT_PORT_SERIAL + 1)
#define SERIAL_IER_RDI	 1
#define CMOS_B		 0x0b
#define CMOS_C		 0x0c
#define CMOS_B_AIE	 0x20
#define CMOS_ANY	 0xff
#define CMOS_DAY_ALARM	 0x0d
#define CMOS_MONTH_ALARM 0x0e

#define SECTOR 512U

struct wake {
	uint32_t pm1, gpe;
	bool serial;
	uint32_t reads; /* of the port, until it was found */
};

static struct vio_dev *disk;
static uint8_t sector[SECTOR];

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

static void alarm_set(uint32_t seconds)
{
	uint8_t b = cmos_read(CMOS_B) & (uint8_t)~CMOS_B_AIE;
	uint32_t at = (clock_seconds() + seconds) % 86400;

	cmos_write(CMOS_B, b);
	(void)cmos_read(CMOS_C);
	cmos_write(5, to_bcd(at / 3600));
	cmos_write(3, to_bcd(at / 60 % 60));
	cmos_write(1, to_bcd(at % 60));
	cmos_write(CMOS_DAY_ALARM, CMOS_ANY);
	cmos_write(CMOS_MONTH_ALARM, CMOS_ANY);
	cmos_write(CMOS_B, b | CMOS_B_AIE);
}

static void alarm_take(void)
{
	cmos_write(CMOS_B, cmos_read(CMOS_B) & (uint8_t)~CMOS_B_AIE);
	(void)cmos_read(CMOS_C);
}

/* As _DSW does. */
static void arm_devices(uint32_t armed)
{
	struct vio_dev *dev;

	for (unsigned int i = 0; (dev = vio_nth(i)) != NULL; i++) {
		uint32_t on = armed >> dev->slot & 1 ? PMC_DSW_ARMED : 0;

		outl(LAYOUT_PORT_PMC_DSW, dev->slot | on);
	}
}

static struct wake wake_look(void)
{
	uint32_t gpe = inl(GPE_STS);

	return (struct wake){
		.pm1 = inw(PM1_STS) & inw(PM1_EN),
		.gpe = gpe ? gpe & inl(GPE_EN) : 0,
		.serial = serial_pending(),
	};
}

static bool wake_found(const struct wake *w)
{
	return w->pm1 || w->gpe || w->serial;
}

/* Return: what woke it; it goes back to the port as long as nothing did. */
static struct wake sleep_s2idle(void)
{
	uint32_t reads = 0;
	struct wake w;

	outb(LAYOUT_PORT_PMC_LPS0, LPS0_ENTRY);
	do {
		(void)inb(LAYOUT_PORT_PMC_C2);
		reads++;
		w = wake_look();
	} while (!wake_found(&w));
	w.reads = reads;
	return w;
}

static struct wake sleep_s1(void)
{
	const uint32_t typ = LAYOUT_SLP_TYP_S1 << SLP_TYP;
	struct wake w;

	/* ACPICA wipes the status first: a wake may be lost only with it. */
	outw(PM1_STS, 0x8731);
	outl(GPE_STS, 0xffffffff);
	outw(LAYOUT_PORT_PM1A_CNT, (uint16_t)typ);
	outw(LAYOUT_PORT_PM1A_CNT, (uint16_t)(typ | SLP_EN));
	while (!(inw(PM1_STS) & WAK))
		;
	outw(PM1_STS, WAK);
	w = wake_look();
	return w;
}

static void wake_report(uint64_t cycle, const struct wake *w)
{
	const struct {
		const char *name;
		uint32_t set;
	} causes[] = {
		{ "powerbtn", w->pm1 & PWRBTN },
		{ "sleepbtn", w->pm1 & SLPBTN },
		{ "rtc", w->pm1 & RTC },
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
static const char *wake_clear(const struct wake *w)
{
	struct wake left;

	for (uint32_t bit = PWRBTN; bit <= RTC; bit <<= 1) {
		if (w->pm1 & bit)
			outw(PM1_STS, (uint16_t)bit);
	}
	if (w->gpe)
		outl(GPE_STS, w->gpe);
	if (w->pm1 & RTC)
		alarm_take();
	while (serial_pending())
		print("BYTE 0x%x\n", inb(LAYOUT_PORT_SERIAL));
	left = wake_look();
	if ((left.pm1 & w->pm1) || (left.gpe & w->gpe))
		return "status bits did not clear";
	return NULL;
}

static void wait_sleep_button(uint64_t cycle)
{
	print("AWAKE cycle=%lu\n", cycle);
	while (!(inw(PM1_STS) & SLPBTN))
		;
	outw(PM1_STS, SLPBTN);
}

static const char *disk_works(void)
{
	if (!disk)
		return NULL;
	return vio_blk_request(disk, VIRTIO_BLK_T_IN, 0, sector, SECTOR) ==
			       VIRTIO_BLK_S_OK
		       ? NULL
		       : "the disk does not answer";
}

static const char *disk_restart(void)
{
	if (disk && !vio_start(disk, 0, 1))
		return "the disk does not start again";
	return disk_works();
}

static void cycle(uint64_t n)
{
	uint32_t alarm = (uint32_t)param_u64("alarm", 0);
	uint32_t armed = (uint32_t)param_u64("arm", 0xffffffff);
	bool live = param_u64("live", 0);
	const char *why;
	struct wake w;

	if (param_is("on", "sleepbtn"))
		wait_sleep_button(n);
	why = disk_works();
	if (disk && !live)
		vio_reset(disk);
	if (alarm)
		alarm_set(alarm);
	print("SLEEP cycle=%lu\n", n);
	arm_devices(armed);
	w = param_is("kind", "s1") ? sleep_s1() : sleep_s2idle();
	wake_report(n, &w);
	arm_devices(0);
	if (!why)
		why = wake_clear(&w);
	outb(LAYOUT_PORT_PMC_LPS0, LPS0_EXIT);
	if (!why)
		why = live ? disk_works() : disk_restart();
	if (!why && !wake_found(&w))
		why = "woke for nothing";
	result("cycle", why);
}

void payload_main(void)
{
	uint64_t cycles = param_u64("cycles", 1);

	/* Otherwise the VMM takes this CPU for an offline one. */
	apic_enable();
	vio_probe();
	disk = vio_find(VIRTIO_ID_BLOCK, 0);
	if (disk && !vio_start(disk, 0, 1)) {
		result("disk", "does not start");
		disk = NULL;
	}
	outw(PM1_STS, 0xffff);
	outw(PM1_EN, WAKE_EVENTS);
	outl(GPE_EN, 0xffffffff);
	outb(SERIAL_IER, SERIAL_IER_RDI);
	for (uint64_t n = 1; n <= cycles; n++)
		cycle(n);
	done();
}
