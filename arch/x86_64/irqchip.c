/* SPDX-License-Identifier: BSD-3-Clause */
#include "arch/x86_64/irqchip.h"

#include <errno.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"

#define KERNEL_NR_PINS 24U   /* KVM_IOAPIC_NUM_PINS */
#define MAX_ROUTES     4096U /* KVM_MAX_IRQ_ROUTES */

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
		return index < ARCH_MAX_VIRTIO ? 16 + (int)index : -ENOSPC;
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
	int r;

	memcpy(chip->routing->entries, entries, nr * sizeof(*entries));
	for (unsigned int i = 0; i < chip->nr_msis; i++) {
		if (chip->msis[i].type)
			chip->routing->entries[nr++] = chip->msis[i];
	}
	chip->routing->nr = nr;
	r = kvm_set_gsi_routing(chip->vm_fd, chip->routing);
	if (r < 0)
		log_limited(&limit, "interrupt routes not set: %s, ignored",
			    strerror(-r));
}

static int alloc_routing(struct irqchip *chip, unsigned int nr_msis)
{
	size_t nr = IOAPIC_NR_PINS + (size_t)nr_msis;
	struct kvm_irq_routing *routing =
		calloc(1, sizeof(*routing) + nr * sizeof(routing->entries[0]));

	if (!routing)
		return -ENOMEM;
	free(chip->routing);
	chip->routing = routing;
	return 0;
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
	if (alloc_routing(chip, 0) < 0)
		return -ENOMEM;
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
	free(TAKE(chip->routing));
	free(TAKE(chip->msis));
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

int irqchip_add_msis(struct irqchip *chip, unsigned int nr)
{
	unsigned int first = chip->nr_msis, sum = first + nr;
	struct kvm_irq_routing_entry *msis;

	if (IOAPIC_NR_PINS + sum > MAX_ROUTES)
		return -ENOSPC;
	if (alloc_routing(chip, sum) < 0)
		return -ENOMEM;
	msis = realloc(chip->msis, sum * sizeof(*msis));
	if (!msis)
		return -ENOMEM;
	memset(msis + first, 0, nr * sizeof(*msis));
	chip->msis = msis;
	chip->nr_msis = sum;
	return (int)(IOAPIC_NR_PINS + first);
}

void irqchip_set_msi(struct irqchip *chip, uint32_t gsi, uint64_t address,
		     uint32_t data)
{
	(void)pthread_mutex_lock(&chip->ioapic.lock);
	chip->msis[gsi - IOAPIC_NR_PINS] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)address,
			   .address_hi = (uint32_t)(address >> 32),
			   .data = data },
	};
	ioapic_publish(&chip->ioapic);
	(void)pthread_mutex_unlock(&chip->ioapic.lock);
}

int irqchip_remove_irqfd(struct irqchip *chip, int fd, uint32_t gsi)
{
	return kvm_irqfd(chip->vm_fd, fd, gsi, false);
}

void irqchip_eoi(struct irqchip *chip, uint8_t vector)
{
	if (chip->mode == IRQCHIP_SPLIT)
		ioapic_eoi(&chip->ioapic, vector);
}
