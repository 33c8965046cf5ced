/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interrupt controllers, in one of two arrangements (docs/irqchip.md has
 * the measurement that chose the default): local APICs in the kernel with an
 * I/O APIC of ours and MSI routes (split), or everything in the kernel.
 * Lines may be set from any thread.
 */
#ifndef TORPOR_ARCH_X86_64_IRQCHIP_H
#define TORPOR_ARCH_X86_64_IRQCHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "arch/arch.h"
#include "arch/x86_64/ioapic.h"
#include "vmm/base/util.h"
#include "vmm/machine/bus.h"
#include "vmm/machine/irq_line.h"

struct irqchip;

struct irqchip_pin {
	struct irq_line line;
	struct irqchip *chip;
	uint32_t gsi;
};

struct irqchip {
	enum irqchip_mode mode;
	int vm_fd; /* borrowed */
	unsigned int nr_pins;
	struct irqchip_pin pins[IOAPIC_NR_PINS];
	struct ioapic ioapic; /* split only */
	/*
	 * Split only, under the I/O APIC's lock: the routes of messages that
	 * come from no pin, behind those of the pins. type 0: none yet.
	 */
	struct kvm_irq_routing_entry *msis;
	unsigned int nr_msis;
	struct kvm_irq_routing *routing; /* what KVM is given */
};

/* Creates the in-kernel part: before the first vCPU. 0 or -errno. */
int irqchip_init(struct irqchip *chip, int vm_fd,
		 enum irqchip_mode mode) must_check;
void irqchip_finish(struct irqchip *chip);
/* Adds the I/O APIC to the bus if it is ours. */
int irqchip_add_to_bus(struct irqchip *chip, struct bus *mmio) must_check;

/* Borrowed. @gsi < nr_pins. */
struct irq_line *irqchip_line(struct irqchip *chip, uint32_t gsi);
/* Writes of the eventfd @fd become an edge on @gsi. */
int irqchip_add_irqfd(struct irqchip *chip, int fd, uint32_t gsi) must_check;
/*
 * Split only, before the guest runs: GSIs for @nr messages, the first of which
 * is returned; -ENOMEM, -ENOSPC.
 */
int irqchip_add_msis(struct irqchip *chip, unsigned int nr) must_check;
/* One of these GSIs stands for this message from now on. Any thread. */
void irqchip_set_msi(struct irqchip *chip, uint32_t gsi, uint64_t address,
		     uint32_t data);
/* Writes of @fd no longer do; what is in it stays there. 0 or -errno. */
int irqchip_remove_irqfd(struct irqchip *chip, int fd, uint32_t gsi) must_check;
/* KVM_EXIT_IOAPIC_EOI. */
void irqchip_eoi(struct irqchip *chip, uint8_t vector);

/* The GSI of the @index-th virtio device, or -ENOSPC. */
int irqchip_virtio_gsi(enum irqchip_mode mode, unsigned int index) must_check;

#endif
