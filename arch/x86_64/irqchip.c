/* SPDX-License-Identifier: BSD-3-Clause */
#include "arch/x86_64/irqchip.h"

#include <errno.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"

#define KERNEL_NR_PINS 24U /* KVM_IOAPIC_NUM_PINS */

const char *const irqchip_mode_words[] = {
	[IRQCHIP_SPLIT] = "split",
	[IRQCHIP_KERNEL] = "kernel",
	NULL,
};

int irqchip_virtio_gsi(enum irqchip_mode mode, unsigned int index)
{
	/* With 24 pins: those above the ISA range, then the free ISA ones. */
	static const uint8_t kernel_gsis[] = { 16, 17, 18, 19, 20, 21, 22, 23,
					       5,  6,  7,  10, 11, 12, 14, 15 };

	if (mode == IRQCHIP_SPLIT)
		return index < LAYOUT_MAX_VIRTIO ? 16 + (int)index : -ENOSPC;
	return index < ARRAY_SIZE(kernel_gsis) ? kernel_gsis[index] : -ENOSPC;
}

static void pin_set_kernel(struct irq_line *line, bool level)
{
	struct irqchip_pin *pin = container_of(line, struct irqchip_pin, line);
	int r = kvm_irq_line(pin->chip->vm_fd, pin->gsi, level);

	if (r < 0)
		(void)log_errno(r, "set interrupt line %u", pin->gsi);
}

static void pin_set_split(struct irq_line *line, bool level)
{
	struct irqchip_pin *pin = container_of(line, struct irqchip_pin, line);

	ioapic_set(&pin->chip->ioapic, pin->gsi, level);
}

static bool split_send(struct ioapic *ioapic, const struct kvm_msi *msi)
{
	struct irqchip *chip = container_of(ioapic, struct irqchip, ioapic);
	static struct log_limit limit;
	int r = kvm_signal_msi(chip->vm_fd, msi);

	/* 0: the guest's local APIC takes no interrupt now; -EINVAL: it wrote
	 * a delivery mode that does not exist. Both are the guest's doing. */
	if (r < 0)
		log_limited(&limit, "interrupt not sent: %s, ignored",
			    strerror(-r));
	return r > 0;
}

static void split_route(struct ioapic *ioapic,
			const struct kvm_irq_routing_entry *entries,
			unsigned int nr)
{
	struct irqchip *chip = container_of(ioapic, struct irqchip, ioapic);
	static struct log_limit limit;
	/* Ends in an array without a size. */
	union {
		struct kvm_irq_routing head;
		uint8_t bytes[sizeof(struct kvm_irq_routing) +
			      IOAPIC_NR_PINS *
				      sizeof(struct kvm_irq_routing_entry)];
	} routing = { .head.nr = nr };
	int r;

	memcpy(routing.bytes + sizeof(routing.head), entries,
	       nr * sizeof(*entries));
	r = kvm_set_gsi_routing(chip->vm_fd, &routing.head);
	if (r < 0)
		log_limited(&limit, "interrupt routes not set: %s, ignored",
			    strerror(-r));
}

static int init_kernel(struct irqchip *chip)
{
	int r = kvm_create_irqchip(chip->vm_fd);

	if (r < 0)
		return r;
	/* Linux finds an 8259 and may then want its timer (IRQ 0) checked. */
	return kvm_create_pit(chip->vm_fd);
}

int irqchip_init(struct irqchip *chip, int vm_fd, enum irqchip_mode mode)
{
	bool split = mode == IRQCHIP_SPLIT;

	*chip = (struct irqchip){ .mode = mode, .vm_fd = vm_fd };
	chip->nr_pins = split ? IOAPIC_NR_PINS : KERNEL_NR_PINS;
	for (unsigned int i = 0; i < chip->nr_pins; i++) {
		chip->pins[i].chip = chip;
		chip->pins[i].gsi = i;
		chip->pins[i].line.set = split ? pin_set_split : pin_set_kernel;
	}
	if (!split)
		return init_kernel(chip);
	ioapic_init(&chip->ioapic);
	chip->ioapic.send = split_send;
	chip->ioapic.route = split_route;
	return kvm_enable_cap(vm_fd, KVM_CAP_SPLIT_IRQCHIP, IOAPIC_NR_PINS);
}

void irqchip_finish(struct irqchip *chip)
{
	if (chip->nr_pins && chip->mode == IRQCHIP_SPLIT)
		ioapic_finish(&chip->ioapic);
	chip->nr_pins = 0;
}

int irqchip_add_to_bus(struct irqchip *chip, struct bus *mmio)
{
	return chip->mode == IRQCHIP_SPLIT ? bus_add(mmio, &chip->ioapic.bus)
					   : 0;
}

struct irq_line *irqchip_line(struct irqchip *chip, uint32_t gsi)
{
	return &chip->pins[gsi].line;
}

int irqchip_add_irqfd(struct irqchip *chip, int fd, uint32_t gsi)
{
	return kvm_irqfd(chip->vm_fd, fd, gsi, true);
}

void irqchip_eoi(struct irqchip *chip, uint8_t vector)
{
	if (chip->mode == IRQCHIP_SPLIT)
		ioapic_eoi(&chip->ioapic, vector);
}
