/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MC146818 CMOS real-time clock with alarm, UTC, at ports 0x70 and 0x71. Time
 * is the host's CLOCK_REALTIME plus the offset the guest set. Registers are
 * used on vCPU threads; the alarm is a timerfd (CLOCK_REALTIME, cancelled on
 * clock steps and then computed again) on the main loop; one mutex.
 *
 * CMOS bytes used by ACPI: day alarm 0x0d, month alarm 0x0e, century 0x32
 * (FADT DAY_ALRM, MON_ALRM, CENTURY), so that alarms reach beyond 24 hours.
 */
#ifndef TORPOR_DEVICES_RTC_H
#define TORPOR_DEVICES_RTC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/loop.h"
#include "vmm/machine/bus.h"
#include "vmm/machine/irq_line.h"

#define RTC_REG_DAY_ALARM   0x0d
#define RTC_REG_MONTH_ALARM 0x0e
#define RTC_REG_CENTURY	    0x32

struct rtc {
	struct bus_dev bus; /* 2 ports */
	pthread_mutex_t lock;
	struct irq_line *irq; /* borrowed; IRQ 8, edge */
	struct loop *loop;
	struct loop_source alarm_src;
	int alarm_fd; /* timerfd; armed only while the guest enables AIE */
	/* Called on the main loop, unlocked, when the alarm goes off. */
	void (*on_alarm)(struct rtc *rtc);
	/* Called on the vCPU thread, unlocked, when the guest read and so
	 * cleared a pending alarm flag (register C): it took the alarm. */
	void (*on_alarm_taken)(struct rtc *rtc);
	int64_t offset_s;     /* guest time - host time, seconds */
	int64_t alarm_host_s; /* what alarm_fd is set to, 0 = not armed */
	uint8_t index;
	uint8_t cmos[128];
};

int rtc_init(struct rtc *rtc, struct loop *loop, uint64_t base,
	     struct irq_line *irq) must_check;
void rtc_finish(struct rtc *rtc);

/*
 * When the armed alarm will go off, host CLOCK_REALTIME seconds for guest
 * time @now_s. Return: seconds, or 0 if the alarm is not enabled. For tests.
 */
int64_t rtc_next_alarm(struct rtc *rtc, int64_t now_s);

#endif
