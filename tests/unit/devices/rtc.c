/* SPDX-License-Identifier: BSD-3-Clause */
/* devices/rtc.h: formats, halting, the alarm's exact time, firing. */
#define _GNU_SOURCE
#include "devices/rtc.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/timerfd.h>
#include <time.h>

#include "arch/x86_64/layout.h"

#define BCD(v)	 ((uint8_t)((v) / 10 << 4 | (v) % 10))
#define A_UIP	 0x80
#define B_SET	 0x80
#define B_PIE	 0x40
#define B_AIE	 0x20
#define B_UIE	 0x10
#define B_BINARY 0x04
#define B_24H	 0x02

struct machine {
	struct bus bus;
	struct loop loop;
	struct irq_line irq;
	struct rtc rtc;
	unsigned int edges, alarms, taken;
};

static struct machine m;

static void irq_set(struct irq_line *line, bool level)
{
	if (level)
		m.edges++;
}

static void on_alarm(struct rtc *rtc)
{
	m.alarms++;
}

static void on_alarm_taken(struct rtc *rtc)
{
	m.taken++;
}

static void setup(void)
{
	m.irq.set = irq_set;
	cr_assert(eq(int, loop_init(&m.loop), 0));
	cr_assert(
		eq(int, rtc_init(&m.rtc, &m.loop, LAYOUT_PORT_RTC, &m.irq), 0));
	m.rtc.on_alarm = on_alarm;
	m.rtc.on_alarm_taken = on_alarm_taken;
	cr_assert(eq(int, bus_add(&m.bus, &m.rtc.bus), 0));
}

static void teardown(void)
{
	rtc_finish(&m.rtc);
	rtc_finish(&m.rtc);
	loop_finish(&m.loop);
}

TestSuite(rtc, .init = setup, .fini = teardown, .timeout = 120);

static uint8_t get(uint8_t reg)
{
	uint8_t value = 0;

	bus_write(&m.bus, LAYOUT_PORT_RTC, &reg, 1);
	bus_read(&m.bus, LAYOUT_PORT_RTC + 1, &value, 1);
	return value;
}

static void set(uint8_t reg, uint8_t value)
{
	bus_write(&m.bus, LAYOUT_PORT_RTC, &reg, 1);
	bus_write(&m.bus, LAYOUT_PORT_RTC + 1, &value, 1);
}

static int64_t utc(int year, int month, int mday, int hour, int min, int sec)
{
	struct tm tm = { .tm_year = year - 1900,
			 .tm_mon = month - 1,
			 .tm_mday = mday,
			 .tm_hour = hour,
			 .tm_min = min,
			 .tm_sec = sec };

	return timegm(&tm);
}

/* The clock halted at this time, in the format chosen. */
static void halt_at(uint8_t b, const uint8_t regs[8])
{
	static const uint8_t where[8] = { 0, 2, 4, 6, 7, 8, 9, 0x32 };

	set(0x0b, b | B_SET);
	for (int i = 0; i < 8; i++)
		set(where[i], regs[i]);
}

static void set_alarm(uint8_t hour, uint8_t min, uint8_t sec, uint8_t mday,
		      uint8_t month)
{
	set(1, sec);
	set(3, min);
	set(5, hour);
	set(RTC_REG_DAY_ALARM, mday);
	set(RTC_REG_MONTH_ALARM, month);
}

/* As the clock itself reads it: time() is behind by up to a tick of the host.
 */
static time_t host_s(void)
{
	struct timespec ts;

	cr_assert(eq(int, clock_gettime(CLOCK_REALTIME, &ts), 0));
	return ts.tv_sec;
}

Test(rtc, shows_the_hosts_time_in_bcd)
{
	for (;;) { /* once more if the second changes meanwhile */
		time_t now = host_s();
		struct tm tm;
		bool ok;

		gmtime_r(&now, &tm);
		ok = get(0) == BCD(tm.tm_sec) && get(2) == BCD(tm.tm_min) &&
		     get(4) == BCD(tm.tm_hour) && get(7) == BCD(tm.tm_mday) &&
		     get(8) == BCD(tm.tm_mon + 1) &&
		     get(9) == BCD(tm.tm_year % 100) &&
		     get(6) == tm.tm_wday + 1 &&
		     get(0x32) == BCD(tm.tm_year / 100 + 19);
		if (host_s() != now)
			continue;
		cr_assert(ok);
		break;
	}
}

Test(rtc, power_on_state_is_24_hours_bcd_and_valid)
{
	cr_assert(eq(u8, get(0x0b), B_24H));
	cr_assert(eq(u8, get(0x0a) & 0x7f, 0x26));
	cr_assert(eq(u8, get(0x0c), 0));
	cr_assert(eq(u8, get(0x0d), 0x80));
}

static const struct {
	uint8_t b;
	uint8_t regs[8]; /* sec min hour wday mday month year century */
} formats[] = {
	/* 2031-12-05 (a Friday) 23:58:07, four times */
	{ B_24H, { 0x07, 0x58, 0x23, 6, 0x05, 0x12, 0x31, 0x20 } },
	{ B_24H | B_BINARY, { 7, 58, 23, 6, 5, 12, 31, 20 } },
	{ 0, { 0x07, 0x58, 0x91, 6, 0x05, 0x12, 0x31, 0x20 } },
	{ B_BINARY, { 7, 58, 0x8b, 6, 5, 12, 31, 20 } },
};

static void check_format(size_t i)
{
	static const uint8_t where[8] = { 0, 2, 4, 6, 7, 8, 9, 0x32 };
	int64_t want = utc(2031, 12, 5, 23, 58, 7);
	int64_t before, after;

	halt_at(formats[i].b, formats[i].regs);
	before = host_s();
	set(0x0b, formats[i].b);
	after = host_s();
	cr_assert(ge(i64, m.rtc.offset_s, want - after));
	cr_assert(le(i64, m.rtc.offset_s, want - before));
	set(0x0b, formats[i].b | B_SET); /* halts again, maybe a second on */
	for (int k = 1; k < 8; k++)
		cr_assert(eq(u8, get(where[k]), formats[i].regs[k]));
}

Test(rtc, sets_and_shows_24_hours_bcd)
{
	check_format(0);
}

Test(rtc, sets_and_shows_24_hours_binary)
{
	check_format(1);
}

Test(rtc, sets_and_shows_12_hours_bcd)
{
	check_format(2);
}

Test(rtc, sets_and_shows_12_hours_binary)
{
	check_format(3);
}

Test(rtc, noon_and_midnight_in_12_hours)
{
	static const uint8_t raw[4] = { 0x12, 0x01, 0x92, 0x81 };
	static const int hours[4] = { 0, 1, 12, 13 };

	for (int i = 0; i < 4; i++) {
		uint8_t regs[8] = { 0, 0, raw[i], 1, 1, 1, 0x27, 0x20 };
		int64_t now;

		halt_at(0, regs);
		set(0x0b, 0);
		now = host_s() + m.rtc.offset_s;
		cr_assert(le(i64, utc(2027, 1, 1, hours[i], 0, 0), now));
		cr_assert(ge(i64, utc(2027, 1, 1, hours[i], 0, 9), now));
		cr_assert(eq(u8, get(4), raw[i]));
	}
}

Test(rtc, a_halted_clock_keeps_what_is_written)
{
	uint8_t regs[8] = { 0x99, 0xff, 0x00, 0, 0, 0, 0x07, 0x20 };

	halt_at(B_24H, regs);
	cr_assert(eq(u8, get(0), 0x99));
	cr_assert(eq(u8, get(2), 0xff));
	cr_assert(eq(u8, get(8), 0));
	cr_assert(eq(u8, get(0x0a) & A_UIP, 0));
	set(0x0b, B_24H); /* nonsense normalises: no trap, no range error */
	cr_assert(eq(u8, get(9) >> 4, 0));
}

Test(rtc, update_in_progress_is_never_stuck)
{
	int clear = 0;

	for (int i = 0; i < 5000 && clear < 100; i++)
		clear += !(get(0x0a) & A_UIP);
	cr_assert(eq(int, clear, 100));
}

Test(rtc, rates_and_unsupported_interrupts_are_harmless)
{
	for (unsigned int a = 0; a < 256; a++) {
		set(0x0a, (uint8_t)a);
		cr_assert(eq(u8, get(0x0a) & 0x7f, a & 0x7f));
	}
	set(0x0b, B_24H | B_PIE | B_UIE);
	cr_assert(eq(u8, get(0x0b), B_24H | B_PIE | B_UIE));
	set(0x0b, B_24H | B_SET | B_UIE);
	cr_assert(eq(u8, get(0x0b), B_24H | B_SET), "SET clears UIE");
	cr_assert(eq(u8, get(0x0c), 0));
	set(0x0c, 0xff);
	cr_assert(eq(u8, get(0x0c), 0), "read-only");
	cr_assert(eq(u32, m.edges, 0));
}

Test(rtc, other_bytes_are_memory_and_the_index_is_write_only)
{
	uint8_t value = 0;
	uint16_t both = 0x5a40;

	set(0x7f, 0xa5);
	cr_assert(eq(u8, get(0x7f), 0xa5));
	cr_assert(eq(u8, get(0xff), 0xa5), "bit 7 masks the NMI");
	bus_read(&m.bus, LAYOUT_PORT_RTC, &value, 1);
	cr_assert(eq(u8, value, 0xff));
	bus_write(&m.bus, LAYOUT_PORT_RTC, &both, 2);
	cr_assert(eq(u8, get(0x40), 0x5a));
}

static const struct {
	uint8_t hour, min, sec, mday, month; /* registers, BCD, 24 hours */
	int64_t now[6], want[6];	     /* want[0] == 0: never */
} alarms[] = {
	{ 0x10,
	  0x20,
	  0x30,
	  0,
	  0,
	  { 2027, 5, 6, 10, 20, 29 },
	  { 2027, 5, 6, 10, 20, 30 } },
	/* a match is in the future, never now */
	{ 0x10,
	  0x20,
	  0x30,
	  0,
	  0,
	  { 2027, 5, 6, 10, 20, 30 },
	  { 2027, 5, 7, 10, 20, 30 } },
	{ 0x10,
	  0x20,
	  0x30,
	  0,
	  0,
	  { 2027, 12, 31, 10, 20, 31 },
	  { 2028, 1, 1, 10, 20, 30 } },
	{ 0xff,
	  0xff,
	  0xff,
	  0xff,
	  0xff,
	  { 2027, 5, 6, 23, 59, 59 },
	  { 2027, 5, 7, 0, 0, 0 } },
	{ 0xff,
	  0xff,
	  0xff,
	  0,
	  0,
	  { 2027, 5, 6, 1, 2, 3 },
	  { 2027, 5, 6, 1, 2, 4 } },
	{ 0xc0,
	  0xc0,
	  0x05,
	  0,
	  0,
	  { 2027, 5, 6, 1, 2, 5 },
	  { 2027, 5, 6, 1, 3, 5 } },
	{ 0xff,
	  0x30,
	  0xff,
	  0,
	  0,
	  { 2027, 5, 6, 1, 30, 59 },
	  { 2027, 5, 6, 2, 30, 0 } },
	{ 0xff,
	  0x30,
	  0xff,
	  0,
	  0,
	  { 2027, 5, 6, 1, 30, 10 },
	  { 2027, 5, 6, 1, 30, 11 } },
	{ 0x23,
	  0xff,
	  0x00,
	  0,
	  0,
	  { 2027, 5, 6, 23, 59, 0 },
	  { 2027, 5, 7, 23, 0, 0 } },
	{ 0x00,
	  0x00,
	  0x00,
	  0x31,
	  0,
	  { 2027, 4, 1, 0, 0, 0 },
	  { 2027, 5, 31, 0, 0, 0 } },
	{ 0x00,
	  0x00,
	  0x00,
	  0x15,
	  0x03,
	  { 2027, 3, 15, 0, 0, 0 },
	  { 2028, 3, 15, 0, 0, 0 } },
	{ 0x12,
	  0x00,
	  0x00,
	  0xff,
	  0x11,
	  { 2027, 3, 15, 0, 0, 0 },
	  { 2027, 11, 1, 12, 0, 0 } },
	{ 0x12,
	  0x00,
	  0x00,
	  0x29,
	  0x02,
	  { 2027, 3, 1, 0, 0, 0 },
	  { 2028, 2, 29, 12, 0, 0 } },
	{ 0x12,
	  0x00,
	  0x00,
	  0x29,
	  0x02,
	  { 2096, 2, 29, 12, 0, 0 },
	  { 2104, 2, 29, 12, 0, 0 } },
	/* what never comes */
	{ 0x12, 0x00, 0x00, 0x30, 0x02, { 2027, 3, 1, 0, 0, 0 }, { 0 } },
	{ 0x24, 0x00, 0x00, 0, 0, { 2027, 3, 1, 0, 0, 0 }, { 0 } },
	{ 0x00, 0x60, 0x00, 0, 0, { 2027, 3, 1, 0, 0, 0 }, { 0 } },
	{ 0x00, 0x00, 0x75, 0, 0, { 2027, 3, 1, 0, 0, 0 }, { 0 } },
	{ 0x00, 0x00, 0x00, 0, 0x13, { 2027, 3, 1, 0, 0, 0 }, { 0 } },
};

static int64_t utc_of(const int64_t t[6])
{
	return utc((int)t[0], (int)t[1], (int)t[2], (int)t[3], (int)t[4],
		   (int)t[5]);
}

Test(rtc, the_next_alarm_is_exact)
{
	set(0x0b, B_24H | B_AIE);
	m.rtc.offset_s = 1000;
	for (size_t i = 0; i < ARRAY_SIZE(alarms); i++) {
		int64_t want = 0;

		if (alarms[i].want[0])
			want = utc_of(alarms[i].want) - 1000;
		set_alarm(alarms[i].hour, alarms[i].min, alarms[i].sec,
			  alarms[i].mday, alarms[i].month);
		cr_expect(eq(i64, rtc_next_alarm(&m.rtc, utc_of(alarms[i].now)),
			     want),
			  "alarm %zu", i);
	}
}

Test(rtc, alarm_formats_follow_register_b)
{
	int64_t now = utc(2027, 5, 6, 13, 0, 0);

	set(0x0b, B_AIE | B_BINARY);
	set_alarm(0x80 | 2, 45, 50, 0, 0);
	cr_assert(eq(i64, rtc_next_alarm(&m.rtc, now),
		     utc(2027, 5, 6, 14, 45, 50)));
	set(0x0b, B_AIE | B_BINARY | B_24H);
	set_alarm(12, 45, 50, 31, 12);
	cr_assert(eq(i64, rtc_next_alarm(&m.rtc, now),
		     utc(2027, 12, 31, 12, 45, 50)));
}

Test(rtc, only_an_enabled_alarm_of_a_running_clock_is_armed)
{
	struct itimerspec its;

	set_alarm(0xff, 0xff, 0xff, 0, 0);
	cr_assert(eq(i64, rtc_next_alarm(&m.rtc, 1), 0));
	set(0x0b, B_24H | B_AIE);
	cr_assert(eq(i64, rtc_next_alarm(&m.rtc, 1), 2));
	cr_assert(eq(int, timerfd_gettime(m.rtc.alarm_fd, &its), 0));
	cr_assert(its.it_value.tv_sec || its.it_value.tv_nsec);
	set(0x0b, B_24H | B_AIE | B_SET);
	cr_assert(eq(i64, rtc_next_alarm(&m.rtc, 1), 0));
	cr_assert(eq(int, timerfd_gettime(m.rtc.alarm_fd, &its), 0));
	cr_assert(eq(i64, its.it_value.tv_sec, 0));
	cr_assert(eq(i64, its.it_value.tv_nsec, 0));
}

Test(rtc, the_alarm_fires_interrupts_and_is_taken)
{
	uint8_t regs[8] = { 0x58, 0x59, 0x23, 1, 0x31, 0x12, 0x30, 0x20 };

	/* Two seconds before the year 2031; the alarm at its first second. */
	halt_at(B_24H, regs);
	set_alarm(0, 0, 0, 0x01, 0x01);
	set(0x0b, B_24H | B_AIE);
	cr_assert(eq(u32, m.edges, 0));
	while (m.alarms == 0)
		cr_assert(eq(int, loop_turn(&m.loop, -1), 0));
	cr_assert(eq(u32, m.edges, 1));
	cr_assert(eq(u8, get(9), 0x31));
	cr_assert(eq(u8, get(8), 0x01));
	cr_assert(eq(u32, m.taken, 0));
	cr_assert(eq(u8, get(0x0c), 0xa0));
	cr_assert(eq(u32, m.taken, 1));
	cr_assert(eq(u8, get(0x0c), 0));
	cr_assert(eq(u32, m.taken, 1));
	cr_assert(eq(i64, m.rtc.alarm_host_s + m.rtc.offset_s,
		     utc(2032, 1, 1, 0, 0, 0)));
}

/* Makes the timer report now, as a step of the host's clock does. */
static void poke_timer(void)
{
	struct itimerspec its = { .it_value.tv_nsec = 1 };

	cr_assert(eq(int, timerfd_settime(m.rtc.alarm_fd, 0, &its, NULL), 0));
	cr_assert(eq(int, loop_turn(&m.loop, -1), 0));
}

Test(rtc, an_alarm_the_clock_jumped_over_fires)
{
	set_alarm(0, 0, 0, 0x29, 0x02);
	set(0x0b, B_24H | B_AIE);
	m.rtc.alarm_host_s = host_s() - 3600;
	poke_timer();
	cr_assert(eq(u32, m.alarms, 1));
	cr_assert(gt(i64, m.rtc.alarm_host_s, host_s()));
}

Test(rtc, a_step_back_computes_the_alarm_anew)
{
	struct itimerspec its;
	int64_t want;

	set_alarm(0, 0, 0, 0x29, 0x02);
	set(0x0b, B_24H | B_AIE);
	want = m.rtc.alarm_host_s;
	poke_timer();
	cr_assert(eq(u32, m.alarms, 0));
	cr_assert(eq(u32, m.edges, 0));
	cr_assert(eq(i64, m.rtc.alarm_host_s, want));
	cr_assert(eq(int, timerfd_gettime(m.rtc.alarm_fd, &its), 0));
	cr_assert(gt(i64, its.it_value.tv_sec, 0));
}

Test(rtc, setting_the_time_moves_an_armed_alarm)
{
	int64_t before;

	set_alarm(0, 0, 0, 0x29, 0x02);
	set(0x0b, B_24H | B_AIE);
	before = m.rtc.alarm_host_s;
	set(9, 0x99); /* year, without halting */
	cr_assert(ne(i64, m.rtc.alarm_host_s, before));
	cr_assert(gt(i64, m.rtc.alarm_host_s, host_s()));
}
