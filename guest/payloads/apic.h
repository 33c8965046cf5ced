/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts for payloads: an IDT, the local APIC in
 * xAPIC mode, redirection entries of the I/O APIC. One vCPU.
 */
#ifndef TORPOR_GUEST_APIC_H
#define TORPOR_GUEST_APIC_H

#include "guest/payloads/runtime.h"

#define APIC_VECTOR_IPI	     0x40
#define APIC_VECTOR_DEVICE   0x41
#define APIC_VECTOR_WATCHDOG 0x42
#define APIC_VECTOR_SPURIOUS 0xff

/* What the CPU pushes. */
struct apic_frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

static inline void irqs_on(void)
{
	__asm__ volatile("sti" ::: "memory");
}

static inline void irqs_off(void)
{
	__asm__ volatile("cli" ::: "memory");
}

/* Atomic: an interrupt that comes between the two ends the halt. */
static inline void irqs_on_and_halt(void)
{
	__asm__ volatile("sti; hlt" ::: "memory");
}

/* Software-enables the local APIC: without it a CPU counts as offline. */
void apic_enable(void);
/* Loads the IDT; a fault from here on is reported and ends the payload. */
void apic_init_vectors(void);
/* @handler has __attribute__((interrupt)) and calls apic_eoi(). */
void apic_set_handler(uint8_t vector,
		      void (*handler)(struct apic_frame *frame));
void apic_eoi(void);
void apic_self_ipi(uint8_t vector);
/* Ticks slowly for ever (some 9 s where the bus has 1 GHz). */
void apic_start_watchdog(uint8_t vector);
/* Edge, active high, fixed, to this CPU, unmasked. */
void ioapic_route_edge(uint32_t pin, uint8_t vector);
void ioapic_mask(uint32_t pin);

#endif
