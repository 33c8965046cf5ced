/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeping as Linux does it, for payloads: wake events are enabled and armed, a
 * sleep is LPS0 entry and reads of the C2 port (or SLP_EN with S1) until there
 * is something to wake for, what woke is cleared one event at a time.
 *
 * Interrupts stay off. Where the KVM at hand delivers them (sleep_init()), the
 * serial port's is routed and taken right after a sleep: a byte that comes on
 * the way down is then seen as Linux would see it, pending in the local APIC.
 */
#ifndef TORPOR_GUEST_SLEEP_H
#define TORPOR_GUEST_SLEEP_H

#include "guest/payloads/virtio.h"

#define PM1_PWRBTN (1U << 8)
#define PM1_SLPBTN (1U << 9)
#define PM1_RTC	   (1U << 10)

struct wake {
	uint32_t pm1, gpe; /* status bits that are enabled */
	bool serial;	   /* a byte is there */
	uint32_t reads;	   /* of the port, until it was found */
};

/* Enables all wake events. After vio_probe(). */
void sleep_init(bool take_irqs);
/* As _DSW does: a bit each device slot, armed or not. */
void sleep_arm(uint32_t armed);

/* What there is to wake for. */
struct wake wake_look(void);
static inline bool wake_found(const struct wake *w)
{
	return w->pm1 || w->gpe || w->serial;
}

/* Sleeps until there is something; LPS0 exit is the caller's. */
struct wake sleep_s2idle(void);
struct wake sleep_s1(void);
void sleep_exit(void);

/* Prints "WAKE cycle=N by=CAUSE+CAUSE... pm1= gpe= reads=". */
void wake_report(uint64_t cycle, const struct wake *w);
/* Clears each event, prints "BYTE 0xNN" for each. Return: what was wrong. */
const char *wake_clear(const struct wake *w);

/* RTC alarm: so many seconds ahead, or at the next tick of the clock. */
void alarm_set(uint32_t seconds);
void alarm_next_tick(void);
/* Awake and asleep the same: waits for the sleep button, and takes it. */
void sleep_button_wait(void);

#endif
