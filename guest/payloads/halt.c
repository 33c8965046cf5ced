/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Halts as Linux does: all pins of the I/O APIC masked, interrupts off, HLT.
 * With halt=no it only masks the pins, and spins.
 */
#include "guest/payloads/runtime.h"

#define RTE_0	   0x10
#define RTE_MASKED (1U << 16)

static void rte_write(uint32_t value)
{
	volatile uint32_t *select = (volatile uint32_t *)LAYOUT_IOAPIC;

	select[0] = RTE_0;
	select[4] = value;
}

void payload_main(void)
{
	rte_write(0x30);
	rte_write(0x30 | RTE_MASKED);
	print("HALTING\n");
	while (param_is("halt", "no"))
		__asm__ volatile("pause");
	halt_forever();
}
