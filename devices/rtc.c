/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MC146818 CMOS clock. The time registers are computed from the host's clock
 * when they are read; cmos[] holds them only while the guest halts the clock
 * (SET). There is no periodic interrupt and no update-ended interrupt: drivers
 * of today make both from alarms and timers of their own.
 *
 * Registers run on vCPU threads, the alarm on the main loop. Calendar
 * arithmetic is done here since timegm() may read time zone files, which a
 * jailed process cannot.
 */
#define _GNU_SOURCE
#include "devices/rtc.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/fd.h"

#define REG_SEC	      0x00U
#define REG_SEC_ALARM 0x01U
#define REG_MIN	      0x02U
#define REG_MIN_ALARM 0x03U
#define REG_HR	      0x04U
#define REG_HR_ALARM  0x05U
#define REG_WDAY      0x06U
#define REG_MDAY      0x07U
#define REG_MONTH     0x08U
#define REG_YEAR      0x09U
#define REG_A	      0x0aU
#define REG_B	      0x0bU
#define REG_C	      0x0cU
#define REG_D	      0x0dU

#define A_UIP	   0x80U
#define A_DEFAULT  0x26U /* 32768 Hz time base, 1024 Hz rate */
#define B_SET	   0x80U
#define B_AIE	   0x20U
#define B_UIE	   0x10U
#define B_BINARY   0x04U
#define B_24H	   0x02U
#define C_IRQF	   0x80U
#define C_AF	   0x20U
#define D_VRT	   0x80U /* the battery is fine */
#define D_DAY_MASK 0x3fU
#define HR_PM	   0x80U
#define DONT_CARE  0xc0U /* and all above */
#define ANY	   (-1)
#define NEVER	   INT64_MIN

#define SECS_PER_DAY 86400
/* A real clock raises UIP 244 us before an update that takes 1984 us. */
#define UIP_FROM_NS (1000000000L - 244000L - 1984000L)
/* February 29 comes back within eight years, whatever the century. */
#define ALARM_MAX_DAYS (8 * 366)

struct civil {
	int64_t year;
	int month; /* 1 .. 12 */
	int mday;  /* 1 .. 31 */
};

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970-01-01; a month or day out of range carries over. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t mday)
{
	/* Years begin in March here, so that the leap day is a year's last. */
	int64_t m = month - 3;
	int64_t y = year + floor_div(m, 12);
	int64_t in_year;

	m -= floor_div(m, 12) * 12;
	in_year = (153 * m + 2) / 5 + mday - 1;
	return 365 * y + floor_div(y, 4) - floor_div(y, 100) +
	       floor_div(y, 400) + in_year - 719468;
}

static struct civil civil_from_days(int64_t days)
{
	/* 146097 days in 400 years, which begin in March of year 0. */
	int64_t era = floor_div(days + 719468, 146097);
	int64_t in_era = days + 719468 - era * 146097;
	int64_t year =
		(in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) /
		365;
	int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
	int64_t m = (5 * in_year + 2) / 153;
	struct civil c = { .year = year + era * 400 };

	c.mday = (int)(in_year - (153 * m + 2) / 5 + 1);
	c.month = (int)(m < 10 ? m + 3 : m - 9);
	if (c.month <= 2)
		c.year++;
	return c;
}

static struct timespec host_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

static int64_t guest_now_s(const struct rtc *rtc)
{
	return (int64_t)host_now().tv_sec + rtc->offset_s;
}

/* --- register formats --- */

static uint8_t encode(const struct rtc *rtc, int value)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)((value / 10) << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t raw)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return raw;
	return (raw >> 4) * 10 + (raw & 0x0f);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	uint8_t pm = hour >= 12 ? HR_PM : 0;

	if (rtc->cmos[REG_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | pm;
}

static int decode_hour(const struct rtc *rtc, uint8_t raw)
{
	int hour;

	if (rtc->cmos[REG_B] & B_24H)
		return decode(rtc, raw);
	hour = decode(rtc, raw & (uint8_t)~HR_PM);
	if (hour == 12)
		hour = 0;
	return raw & HR_PM ? hour + 12 : hour;
}

/* Writes guest time @t into the time registers. */
static void time_to_regs(struct rtc *rtc, int64_t t)
{
	int64_t days = floor_div(t, SECS_PER_DAY);
	int sec = (int)(t - days * SECS_PER_DAY);
	struct civil c = civil_from_days(days);
	int year = (int)(c.year - floor_div(c.year, 10000) * 10000);
	int64_t wday = days + 4; /* 1970-01-01 was a Thursday */

	wday -= floor_div(wday, 7) * 7;
	rtc->cmos[REG_SEC] = encode(rtc, sec % 60);
	rtc->cmos[REG_MIN] = encode(rtc, sec / 60 % 60);
	rtc->cmos[REG_HR] = encode_hour(rtc, sec / 3600);
	rtc->cmos[REG_WDAY] = encode(rtc, (int)wday + 1);
	rtc->cmos[REG_MDAY] = encode(rtc, c.mday);
	rtc->cmos[REG_MONTH] = encode(rtc, c.month);
	rtc->cmos[REG_YEAR] = encode(rtc, year % 100);
	rtc->cmos[RTC_REG_CENTURY] = encode(rtc, year / 100);
}

static int64_t time_from_regs(const struct rtc *rtc)
{
	int64_t year = decode(rtc, rtc->cmos[RTC_REG_CENTURY]) * 100 +
		       decode(rtc, rtc->cmos[REG_YEAR]);
	int64_t days = days_from_civil(year, decode(rtc, rtc->cmos[REG_MONTH]),
				       decode(rtc, rtc->cmos[REG_MDAY]));

	return days * SECS_PER_DAY +
	       decode_hour(rtc, rtc->cmos[REG_HR]) * 3600L +
	       decode(rtc, rtc->cmos[REG_MIN]) * 60L +
	       decode(rtc, rtc->cmos[REG_SEC]);
}

/* --- alarm --- */

static bool matches(int want, int value)
{
	return want == ANY || want == value;
}

/* Return: the first matching second of a day after @after, or -1. */
static int alarm_in_day(int hour, int min, int sec, int after)
{
	for (int h = 0; h < 24; h++) {
		if (!matches(hour, h) || h * 3600 + 3599 <= after)
			continue;
		for (int m = 0; m < 60; m++) {
			int first = h * 3600 + m * 60;
			int s = sec;

			if (!matches(min, m) || first + 59 <= after)
				continue;
			if (sec == ANY)
				s = first > after ? 0 : after - first + 1;
			if (s < 60 && first + s > after)
				return first + s;
		}
	}
	return -1;
}

static int alarm_time_field(const struct rtc *rtc, unsigned int reg)
{
	uint8_t raw = rtc->cmos[reg];

	if (raw >= DONT_CARE)
		return ANY;
	return reg == REG_HR_ALARM ? decode_hour(rtc, raw) : decode(rtc, raw);
}

/* Day and month: 0 is "any", too (a driver that knows no date alarms). */
static int alarm_date_field(const struct rtc *rtc, unsigned int reg)
{
	uint8_t raw = rtc->cmos[reg];

	if (raw == 0 || raw >= DONT_CARE)
		return ANY;
	return decode(rtc, raw & D_DAY_MASK);
}

/* Return: guest time of the first match after @now_s, or NEVER. */
static int64_t alarm_next(const struct rtc *rtc, int64_t now_s)
{
	int hour = alarm_time_field(rtc, REG_HR_ALARM);
	int min = alarm_time_field(rtc, REG_MIN_ALARM);
	int sec = alarm_time_field(rtc, REG_SEC_ALARM);
	int mday = alarm_date_field(rtc, RTC_REG_DAY_ALARM);
	int month = alarm_date_field(rtc, RTC_REG_MONTH_ALARM);
	int64_t today = floor_div(now_s, SECS_PER_DAY);
	int after = (int)(now_s - today * SECS_PER_DAY);

	if (!(rtc->cmos[REG_B] & B_AIE) || (rtc->cmos[REG_B] & B_SET))
		return NEVER;
	for (int i = 0; i <= ALARM_MAX_DAYS; i++, after = -1) {
		struct civil c = civil_from_days(today + i);
		int s;

		if (!matches(mday, c.mday) || !matches(month, c.month))
			continue;
		s = alarm_in_day(hour, min, sec, after);
		if (s >= 0)
			return (today + i) * SECS_PER_DAY + s;
		if (i > 0)
			break; /* no time of day at all, such as hour 31 */
	}
	return NEVER;
}

int64_t rtc_next_alarm(struct rtc *rtc, int64_t now_s)
{
	int64_t t;

	pthread_mutex_lock(&rtc->lock);
	t = alarm_next(rtc, now_s);
	pthread_mutex_unlock(&rtc->lock);
	return t == NEVER ? 0 : t - rtc->offset_s;
}

/* Called with the lock held after whatever moves the next alarm. */
static void alarm_arm(struct rtc *rtc)
{
	/*
	 * Setting the timer fails when the clock was stepped and the step has
	 * not been read yet: the time used may be the one before the step.
	 */
	for (int tries = 0; tries < 4; tries++) {
		int64_t t = alarm_next(rtc, guest_now_s(rtc));
		struct itimerspec its = { 0 };
		int flags = 0; /* a disarmed timer must not report steps */

		rtc->alarm_host_s = t == NEVER ? 0 : t - rtc->offset_s;
		its.it_value.tv_sec = rtc->alarm_host_s;
		if (rtc->alarm_host_s)
			flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
		if (timerfd_settime(rtc->alarm_fd, flags, &its, NULL) == 0 ||
		    errno != ECANCELED)
			return;
	}
}

static void on_timer(struct loop_source *src, uint32_t events)
{
	struct rtc *rtc = container_of(src, struct rtc, alarm_src);
	uint64_t count;
	bool fired;

	pthread_mutex_lock(&rtc->lock);
	/*
	 * ECANCELED: the clock was stepped, or the host slept. An alarm that
	 * was jumped over is due. EAGAIN: armed again by a vCPU meanwhile.
	 */
	if (read(rtc->alarm_fd, &count, sizeof(count)) < 0 &&
	    errno != ECANCELED) {
		pthread_mutex_unlock(&rtc->lock);
		return;
	}
	fired = rtc->alarm_host_s && host_now().tv_sec >= rtc->alarm_host_s;
	if (fired) {
		rtc->cmos[REG_C] |= C_IRQF | C_AF;
		irq_line_pulse(rtc->irq);
	}
	alarm_arm(rtc);
	pthread_mutex_unlock(&rtc->lock);

	if (fired && rtc->on_alarm)
		rtc->on_alarm(rtc);
}

/* --- registers --- */

static bool is_time_reg(unsigned int reg)
{
	return reg == REG_SEC || reg == REG_MIN || reg == REG_HR ||
	       (reg >= REG_WDAY && reg <= REG_YEAR) || reg == RTC_REG_CENTURY;
}

static bool is_alarm_reg(unsigned int reg)
{
	return reg == REG_SEC_ALARM || reg == REG_MIN_ALARM ||
	       reg == REG_HR_ALARM || reg == RTC_REG_DAY_ALARM ||
	       reg == RTC_REG_MONTH_ALARM;
}

/* Called with the lock held. @ret_taken: a pending alarm was cleared. */
static uint8_t reg_read(struct rtc *rtc, bool *ret_taken)
{
	bool halted = rtc->cmos[REG_B] & B_SET;
	unsigned int reg = rtc->index;
	uint8_t value;

	switch (reg) {
	case REG_A:
		value = rtc->cmos[REG_A];
		if (!halted && host_now().tv_nsec >= UIP_FROM_NS)
			value |= A_UIP;
		return value;
	case REG_C:
		value = rtc->cmos[REG_C];
		rtc->cmos[REG_C] = 0;
		if (value & C_AF)
			*ret_taken = true;
		return value;
	case REG_D: /* shared with the day alarm */
		return D_VRT | (rtc->cmos[REG_D] & D_DAY_MASK);
	default:
		if (is_time_reg(reg) && !halted)
			time_to_regs(rtc, guest_now_s(rtc));
		return rtc->cmos[reg];
	}
}

static void clock_set(struct rtc *rtc)
{
	rtc->offset_s = time_from_regs(rtc) - (int64_t)host_now().tv_sec;
}

static void b_write(struct rtc *rtc, uint8_t value)
{
	bool was_halted = rtc->cmos[REG_B] & B_SET;

	if (!was_halted && (value & B_SET))
		time_to_regs(rtc, guest_now_s(rtc));
	if (value & B_SET)
		value &= (uint8_t)~B_UIE;
	rtc->cmos[REG_B] = value;
	if (was_halted && !(value & B_SET))
		clock_set(rtc);
	alarm_arm(rtc);
}

/* Called with the lock held. */
static void reg_write(struct rtc *rtc, uint8_t value)
{
	unsigned int reg = rtc->index;
	bool halted = rtc->cmos[REG_B] & B_SET;

	if (is_time_reg(reg)) {
		if (!halted)
			time_to_regs(rtc, guest_now_s(rtc));
		rtc->cmos[reg] = value;
		if (!halted) {
			clock_set(rtc);
			alarm_arm(rtc);
		}
		return;
	}
	switch (reg) {
	case REG_A:
		rtc->cmos[REG_A] = value & (uint8_t)~A_UIP;
		break;
	case REG_B:
		b_write(rtc, value);
		break;
	case REG_C:
		break;
	default:
		rtc->cmos[reg] = value;
		if (is_alarm_reg(reg))
			alarm_arm(rtc);
	}
}

static void port_read(struct bus_dev *dev, uint64_t offset, void *data,
		      uint32_t len)
{
	struct rtc *rtc = container_of(dev, struct rtc, bus);
	bool taken = false;
	uint8_t *bytes = data;

	pthread_mutex_lock(&rtc->lock);
	for (uint32_t i = 0; i < len; i++) {
		/* The index is write-only. */
		bytes[i] = offset + i == 0 ? 0xff : reg_read(rtc, &taken);
	}
	pthread_mutex_unlock(&rtc->lock);

	if (taken && rtc->on_alarm_taken)
		rtc->on_alarm_taken(rtc);
}

static void port_write(struct bus_dev *dev, uint64_t offset, const void *data,
		       uint32_t len)
{
	struct rtc *rtc = container_of(dev, struct rtc, bus);
	const uint8_t *bytes = data;

	pthread_mutex_lock(&rtc->lock);
	for (uint32_t i = 0; i < len; i++) {
		if (offset + i == 0)
			rtc->index = bytes[i] & 0x7f; /* bit 7: NMI mask */
		else
			reg_write(rtc, bytes[i]);
	}
	pthread_mutex_unlock(&rtc->lock);
}

static const struct bus_ops rtc_ops = {
	.name = "RTC",
	.read = port_read,
	.write = port_write,
};

int rtc_init(struct rtc *rtc, struct loop *loop, uint64_t base,
	     struct irq_line *irq)
{
	int r;

	*rtc = (struct rtc){
		.bus = { .ops = &rtc_ops, .base = base, .size = 2 },
		.irq = irq,
		.loop = loop,
		.alarm_src.fd = -1,
		.alarm_fd = -1,
		.cmos = { [REG_A] = A_DEFAULT, [REG_B] = B_24H },
	};
	pthread_mutex_init(&rtc->lock, NULL);
	rtc->alarm_fd =
		timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (rtc->alarm_fd < 0) {
		r = -errno;
		goto fail;
	}
	r = loop_add(loop, &rtc->alarm_src, rtc->alarm_fd, EPOLLIN, on_timer);
	if (r < 0)
		goto fail;
	return 0;

fail:
	rtc_finish(rtc);
	return r;
}

void rtc_finish(struct rtc *rtc)
{
	if (!rtc || !rtc->loop)
		return;
	loop_remove(rtc->loop, &rtc->alarm_src);
	fd_close(&rtc->alarm_fd);
	pthread_mutex_destroy(&rtc->lock);
	rtc->loop = NULL;
}
