/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Can this KVM deliver an interrupt in long mode? One that only emulates
 * cannot, and boots no Linux. Prints INTERRUPTS OK if an interrupt that the
 * CPU sent to itself arrived.
 */
#include "guest/payloads/apic.h"

static volatile bool arrived;

__attribute__((interrupt)) static void on_ipi(struct apic_frame *frame)
{
	arrived = true;
	apic_eoi();
}

void payload_main(void)
{
	struct deadline d = deadline_in(3);

	apic_init_vectors();
	apic_set_handler(APIC_VECTOR_IPI, on_ipi);
	print("PROBE\n");
	irqs_on();
	apic_self_ipi(APIC_VECTOR_IPI);
	while (!arrived && !deadline_over(&d))
		barrier();
	irqs_off();
	print(arrived ? "INTERRUPTS OK\n" : "INTERRUPTS MISSING\n");
}
