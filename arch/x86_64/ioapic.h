/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O APIC (82093AA registers, more pins) for KVM_CAP_SPLIT_IRQCHIP: the local
 * APICs are in the kernel, this is not. Each pin's redirection entry becomes
 * an MSI route, so that an irqfd on it is delivered inline; the in-kernel
 * I/O APIC takes a workqueue hop. Registers are used on vCPU threads, lines
 * from any thread; one mutex.
 */
#ifndef TORPOR_ARCH_X86_64_IOAPIC_H
#define TORPOR_ARCH_X86_64_IOAPIC_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/machine/bus.h"

#define IOAPIC_NR_PINS 48U

struct ioapic {
	struct bus_dev bus; /* 0x100 bytes at LAYOUT_IOAPIC */
	pthread_mutex_t lock;
	uint32_t select; /* IOREGSEL */
	uint32_t id;
	uint64_t rte[IOAPIC_NR_PINS];
	bool level[IOAPIC_NR_PINS]; /* of the line, for level triggered pins */
	/*
	 * Delivers an interrupt now; called under the lock. Return: false if
	 * no local APIC took it, so that no EOI will come.
	 */
	bool (*send)(struct ioapic *ioapic, const struct kvm_msi *msi);
	/*
	 * Publishes the routes of all pins, called under the lock. Level pins
	 * stay routed while masked: KVM reports an EOI only of what is routed,
	 * and Linux masks the SCI before it ends it.
	 */
	void (*route)(struct ioapic *ioapic,
		      const struct kvm_irq_routing_entry *entries,
		      unsigned int nr);
	/*
	 * The guest has masked the last pin that was not: so does Linux before
	 * it halts, or resets. On its vCPU thread, without the lock. Optional.
	 */
	void (*all_masked)(struct ioapic *ioapic);
};

void ioapic_init(struct ioapic *ioapic);
void ioapic_finish(struct ioapic *ioapic);
/* Has the routes of all pins published again. Under the lock. */
void ioapic_publish(struct ioapic *ioapic);
/* A pin's input; edge pins interrupt on the rising edge. */
void ioapic_set(struct ioapic *ioapic, unsigned int pin, bool level);
/* No pin interrupts. */
bool ioapic_all_masked(struct ioapic *ioapic);
/* The guest ended @vector (KVM_EXIT_IOAPIC_EOI). */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

#endif
