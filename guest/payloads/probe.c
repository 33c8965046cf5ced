/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Can this KVM run Linux? One that only emulates may deliver interrupts and
 * yet end the VM at the first instruction it does not know. So this executes
 * some that every kernel needs early: a software interrupt, the FPU's reset,
 * an SSE store; then it sends itself an interrupt through the local APIC.
 * INTERRUPTS OK is printed if all of it worked; a VM that ends before has said
 * no.
 */
#include "guest/payloads/apic.h"

#define VECTOR_SOFTWARE 0x43
#define CR0_EM		(1UL << 2)
#define CR0_MP		(1UL << 1)
#define CR4_OSFXSR	(1UL << 9)

static volatile unsigned int arrived;

__attribute__((interrupt)) static void on_software(struct apic_frame *frame)
{
	arrived++;
}

__attribute__((interrupt)) static void on_ipi(struct apic_frame *frame)
{
	arrived++;
	apic_eoi();
}

static bool software_interrupt(void)
{
	apic_set_handler(VECTOR_SOFTWARE, on_software);
	__asm__ volatile("int %0" ::"i"(VECTOR_SOFTWARE) : "memory");
	return arrived == 1;
}

static bool floating_point(void)
{
	static const uint64_t from[2] = { 0x1122334455667788,
					  0x99aabbccddeeff };
	static uint64_t to[2];
	uint64_t cr0, cr4;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr0" ::"r"((cr0 & ~CR0_EM) | CR0_MP));
	__asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | CR4_OSFXSR));
	__asm__ volatile("fninit\n\tmovups %1, %%xmm0\n\tmovups %%xmm0, %0"
			 : "=m"(to)
			 : "m"(from));
	return to[0] == from[0] && to[1] == from[1];
}

static bool own_interrupt(void)
{
	struct deadline d = deadline_in(3);

	apic_set_handler(APIC_VECTOR_IPI, on_ipi);
	arrived = 0;
	irqs_on();
	apic_self_ipi(APIC_VECTOR_IPI);
	while (!arrived && !deadline_over(&d))
		barrier();
	irqs_off();
	return arrived == 1;
}

void payload_main(void)
{
	apic_init_vectors();
	print("PROBE\n");
	if (!software_interrupt() || !floating_point()) {
		print("INSTRUCTIONS WRONG\n");
		return;
	}
	print("INSTRUCTIONS OK\n");
	print(own_interrupt() ? "INTERRUPTS OK\n" : "INTERRUPTS MISSING\n");
}
