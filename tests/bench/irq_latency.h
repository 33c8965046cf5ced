/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page that tests/bench/irq_latency.c shares with its guest, the payload
 * guest/payloads/latency.c. One writer a field; 8-byte fields are stored in
 * one piece.
 */
#ifndef TORPOR_BENCH_IRQ_LATENCY_H
#define TORPOR_BENCH_IRQ_LATENCY_H

#include <stdint.h>

#define LATENCY_PAGE	 0x800000 /* gpa */
#define LATENCY_DOORBELL 0xd0000000
#define LATENCY_GSI	 16

/* What the guest does until an interrupt finds another order here. */
enum latency_order {
	LATENCY_PAIR,	/* answers pings, to pair the two time stamp counters */
	LATENCY_HALTED, /* waits in HLT */
	LATENCY_RUNNING, /* waits in a loop, interrupts on */
};

struct latency_page {
	uint64_t order; /* host: enum latency_order */
	uint64_t ping;	/* host: counts up */
	uint64_t pong;	/* guest: the ping it answers */
	uint64_t pong_tsc;
	uint64_t irq_tsc; /* guest: first thing in the interrupt handler */
};

#endif
