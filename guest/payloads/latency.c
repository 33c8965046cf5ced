/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest of tests/bench/irq_latency.c: waits for interrupts, halted or
 * running as the shared page says, stamps each one and rings the doorbell.
 */
#include "tests/bench/irq_latency.h"

#include "guest/payloads/apic.h"

static volatile struct latency_page *const page =
	(volatile struct latency_page *)LATENCY_PAGE;

__attribute__((interrupt)) static void on_device(struct apic_frame *frame)
{
	page->irq_tsc = rdtsc();
	apic_eoi();
	/* Last: the next interrupt may come before this returns. */
	mmio_write32(LATENCY_DOORBELL, 1);
}

static void answer_pings(void)
{
	uint64_t ping = page->ping;

	if (ping == page->pong)
		return;
	page->pong_tsc = rdtsc();
	page->pong = ping;
}

void payload_main(void)
{
	apic_init_vectors();
	apic_set_handler(APIC_VECTOR_DEVICE, on_device);
	ioapic_route_edge(LATENCY_GSI, APIC_VECTOR_DEVICE);
	irqs_on();
	for (;;) {
		switch (page->order) {
		case LATENCY_PAIR:
			answer_pings();
			break;
		case LATENCY_HALTED:
			/* An order that came in between came with an
			 * interrupt, which ends the halt. */
			irqs_off();
			if (page->order == LATENCY_HALTED)
				irqs_on_and_halt();
			irqs_on();
			break;
		default:
			barrier();
		}
	}
}
