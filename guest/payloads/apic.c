/* SPDX-License-Identifier: BSD-3-Clause */
/* See apic.h. */
#include "guest/payloads/apic.h"

#define APIC_ID		 0x020
#define APIC_EOI	 0x0b0
#define APIC_SVR	 0x0f0
#define APIC_ICR_LOW	 0x300
#define APIC_ICR_SELF	 0x40000U
#define APIC_LVT_TIMER	 0x320
#define APIC_TIMER_COUNT 0x380
#define APIC_TIMER_DIV	 0x3e0
#define SVR_ENABLE	 0x100U
#define LVT_PERIODIC	 0x20000U
#define DIVIDE_BY_2	 0U

#define IOAPIC_SELECT 0x00
#define IOAPIC_DATA   0x10
#define IOAPIC_RTE    0x10U
#define RTE_MASKED    0x10000U

#define SEG_CODE64     0x08
#define GATE_INTERRUPT 0x8e00U /* present, ring 0 */
#define NR_FAULTS      32

struct gate {
	uint16_t offset_low, selector, flags, offset_mid;
	uint32_t offset_high, reserved;
};

static struct gate idt[256] __attribute__((aligned(16)));

static void gate_set(uint8_t vector, uint64_t handler)
{
	idt[vector] = (struct gate){
		.offset_low = (uint16_t)handler,
		.selector = SEG_CODE64,
		.flags = GATE_INTERRUPT,
		.offset_mid = (uint16_t)(handler >> 16),
		.offset_high = (uint32_t)(handler >> 32),
	};
}

/*
 * Some faults push an error code below the frame: then everything is one word
 * up, and CS is where RFLAGS should be.
 */
__attribute__((interrupt)) static void on_fault(struct apic_frame *frame)
{
	bool has_code = frame->cs != SEG_CODE64;

	print("FAULT at 0x%lx\n", has_code ? frame->cs : frame->rip);
	poweroff();
}

__attribute__((interrupt)) static void on_spurious(struct apic_frame *frame)
{
	/* No EOI: the APIC did not put it in service. */
}

void apic_set_handler(uint8_t vector, void (*handler)(struct apic_frame *frame))
{
	gate_set(vector, (uint64_t)handler);
}

void apic_enable(void)
{
	mmio_write32(LAYOUT_LAPIC + APIC_SVR,
		     SVR_ENABLE | APIC_VECTOR_SPURIOUS);
}

void apic_init_vectors(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };

	for (uint8_t i = 0; i < NR_FAULTS; i++)
		apic_set_handler(i, on_fault);
	apic_set_handler(APIC_VECTOR_SPURIOUS, on_spurious);
	__asm__ volatile("lidt %0" ::"m"(pointer));
	apic_enable();
}

void apic_eoi(void)
{
	mmio_write32(LAYOUT_LAPIC + APIC_EOI, 0);
}

void apic_self_ipi(uint8_t vector)
{
	mmio_write32(LAYOUT_LAPIC + APIC_ICR_LOW, APIC_ICR_SELF | vector);
}

void apic_start_watchdog(uint8_t vector)
{
	mmio_write32(LAYOUT_LAPIC + APIC_TIMER_DIV, DIVIDE_BY_2);
	mmio_write32(LAYOUT_LAPIC + APIC_LVT_TIMER, LVT_PERIODIC | vector);
	mmio_write32(LAYOUT_LAPIC + APIC_TIMER_COUNT, 0xffffffff);
}

static void ioapic_write(uint32_t index, uint32_t value)
{
	mmio_write32(LAYOUT_IOAPIC + IOAPIC_SELECT, index);
	mmio_write32(LAYOUT_IOAPIC + IOAPIC_DATA, value);
}

void ioapic_route_edge(uint32_t pin, uint8_t vector)
{
	uint32_t id = mmio_read32(LAYOUT_LAPIC + APIC_ID) & 0xff000000;

	/* The half with the mask last. */
	ioapic_write(IOAPIC_RTE + 2 * pin + 1, id);
	ioapic_write(IOAPIC_RTE + 2 * pin, vector);
}

void ioapic_mask(uint32_t pin)
{
	ioapic_write(IOAPIC_RTE + 2 * pin, RTE_MASKED);
}
