/* SPDX-License-Identifier: BSD-3-Clause */
#include "arch/x86_64/ioapic.h"

#include <string.h>

#include "arch/x86_64/layout.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI	   0x40
#define REG_SIZE   0x100

#define IDX_ID	    0x00
#define IDX_VERSION 0x01
#define IDX_ARB	    0x02
#define IDX_RTE	    0x10

/* Version 0x20 has the EOI register, which Linux then uses. */
#define VERSION (0x20U | (IOAPIC_NR_PINS - 1) << 16)

#define RTE_VECTOR     0xffULL
#define RTE_LOGICAL    (1ULL << 11)
#define RTE_PENDING    (1ULL << 12) /* delivery status, read only */
#define RTE_REMOTE_IRR (1ULL << 14)
#define RTE_LEVEL      (1ULL << 15)
#define RTE_MASKED     (1ULL << 16)
#define RTE_READ_ONLY  (RTE_PENDING | RTE_REMOTE_IRR)

#define MSI_ADDRESS	0xfee00000U
#define DELIVERY_LOWEST 1U

static uint32_t rte_address(uint64_t rte)
{
	uint32_t mode = (uint32_t)(rte >> 8) & 7;

	return MSI_ADDRESS | (uint32_t)(rte >> 56) << 12 |
	       (rte & RTE_LOGICAL ? 1U << 2 : 0) |
	       (mode == DELIVERY_LOWEST ? 1U << 3 : 0);
}

static uint32_t rte_data(uint64_t rte)
{
	uint32_t trigger = rte & RTE_LEVEL ? 1U << 15 | 1U << 14 : 0;

	return (uint32_t)(rte & 0x7ff) | trigger;
}

static bool send(struct ioapic *ioapic, unsigned int pin)
{
	uint64_t rte = ioapic->rte[pin];
	const struct kvm_msi msi = { .address_lo = rte_address(rte),
				     .data = rte_data(rte) };

	return ioapic->send(ioapic, &msi);
}

/* A level pin is sent once; the EOI clears Remote IRR and sends it again. */
static void service_level(struct ioapic *ioapic, unsigned int pin)
{
	uint64_t rte = ioapic->rte[pin];

	if (!(rte & RTE_LEVEL) || rte & (RTE_MASKED | RTE_REMOTE_IRR) ||
	    !ioapic->level[pin])
		return;
	if (send(ioapic, pin))
		ioapic->rte[pin] |= RTE_REMOTE_IRR;
}

static bool routed(uint64_t rte)
{
	return rte & RTE_LEVEL || !(rte & RTE_MASKED);
}

void ioapic_publish(struct ioapic *ioapic)
{
	struct kvm_irq_routing_entry entries[IOAPIC_NR_PINS];
	unsigned int nr = 0;

	for (unsigned int pin = 0; pin < IOAPIC_NR_PINS; pin++) {
		uint64_t rte = ioapic->rte[pin];

		if (!routed(rte))
			continue;
		entries[nr++] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = rte_address(rte),
				   .data = rte_data(rte) },
		};
	}
	ioapic->route(ioapic, entries, nr);
}

static bool same_route(uint64_t a, uint64_t b)
{
	if (routed(a) != routed(b))
		return false;
	return !routed(a) ||
	       (rte_address(a) == rte_address(b) && rte_data(a) == rte_data(b));
}

static void write_rte(struct ioapic *ioapic, unsigned int pin, bool high,
		      uint32_t value)
{
	uint64_t old = ioapic->rte[pin], rte = old;

	if (high) {
		rte = (uint64_t)value << 32 | (rte & 0xffffffff);
	} else {
		rte = (rte & ~0xffffffffULL) | value;
		rte = (rte & ~RTE_READ_ONLY) | (old & RTE_READ_ONLY);
		/* Becoming edge triggered forgets an interrupt not ended. */
		if (!(rte & RTE_LEVEL))
			rte &= ~RTE_REMOTE_IRR;
	}
	ioapic->rte[pin] = rte;
	if (!same_route(old, rte))
		ioapic_publish(ioapic);
	service_level(ioapic, pin);
}

static uint32_t read_index(const struct ioapic *ioapic)
{
	uint32_t index = ioapic->select;
	unsigned int pin = (index - IDX_RTE) / 2;

	switch (index) {
	case IDX_ID:
	case IDX_ARB:
		return ioapic->id;
	case IDX_VERSION:
		return VERSION;
	default:
		break;
	}
	if (index < IDX_RTE || pin >= IOAPIC_NR_PINS)
		return 0;
	return (uint32_t)(ioapic->rte[pin] >> (index & 1 ? 32 : 0));
}

static void write_index(struct ioapic *ioapic, uint32_t value)
{
	uint32_t index = ioapic->select;
	unsigned int pin = (index - IDX_RTE) / 2;

	if (index == IDX_ID)
		ioapic->id = value & 0x0f000000;
	else if (index >= IDX_RTE && pin < IOAPIC_NR_PINS)
		write_rte(ioapic, pin, index & 1, value);
}

static void end_vector(struct ioapic *ioapic, uint8_t vector)
{
	for (unsigned int pin = 0; pin < IOAPIC_NR_PINS; pin++) {
		uint64_t rte = ioapic->rte[pin];

		if (!(rte & RTE_LEVEL) || (rte & RTE_VECTOR) != vector)
			continue;
		ioapic->rte[pin] &= ~RTE_REMOTE_IRR;
		service_level(ioapic, pin);
	}
}

static void ioapic_read(struct bus_dev *dev, uint64_t offset, void *data,
			uint32_t len)
{
	struct ioapic *ioapic = container_of(dev, struct ioapic, bus);
	uint32_t value = 0;

	(void)pthread_mutex_lock(&ioapic->lock);
	if (offset == REG_SELECT)
		value = ioapic->select;
	else if (offset == REG_WINDOW)
		value = read_index(ioapic);
	(void)pthread_mutex_unlock(&ioapic->lock);
	memset(data, 0, len);
	memcpy(data, &value, MIN(len, 4U));
}

static bool is_all_masked(const struct ioapic *ioapic)
{
	for (unsigned int pin = 0; pin < IOAPIC_NR_PINS; pin++) {
		if (!(ioapic->rte[pin] & RTE_MASKED))
			return false;
	}
	return true;
}

static void ioapic_write(struct bus_dev *dev, uint64_t offset, const void *data,
			 uint32_t len)
{
	struct ioapic *ioapic = container_of(dev, struct ioapic, bus);
	uint32_t value = 0;
	bool masked = false;

	memcpy(&value, data, MIN(len, 4U));
	(void)pthread_mutex_lock(&ioapic->lock);
	if (offset == REG_SELECT) {
		ioapic->select = value & 0xff;
	} else if (offset == REG_WINDOW) {
		bool before = is_all_masked(ioapic);

		write_index(ioapic, value);
		masked = !before && is_all_masked(ioapic);
	} else if (offset == REG_EOI) {
		end_vector(ioapic, (uint8_t)value);
	}
	(void)pthread_mutex_unlock(&ioapic->lock);
	if (masked && ioapic->all_masked)
		ioapic->all_masked(ioapic);
}

static const struct bus_ops ioapic_bus_ops = {
	.name = "ioapic",
	.read = ioapic_read,
	.write = ioapic_write,
};

void ioapic_init(struct ioapic *ioapic)
{
	ioapic->bus = (struct bus_dev){ .ops = &ioapic_bus_ops,
					.base = LAYOUT_IOAPIC,
					.size = REG_SIZE };
	(void)pthread_mutex_init(&ioapic->lock, NULL);
	ioapic->select = 0;
	ioapic->id = 0;
	for (unsigned int pin = 0; pin < IOAPIC_NR_PINS; pin++) {
		ioapic->rte[pin] = RTE_MASKED;
		ioapic->level[pin] = false;
	}
}

void ioapic_finish(struct ioapic *ioapic)
{
	(void)pthread_mutex_destroy(&ioapic->lock);
}

void ioapic_set(struct ioapic *ioapic, unsigned int pin, bool level)
{
	bool rising;

	if (pin >= IOAPIC_NR_PINS)
		return;
	(void)pthread_mutex_lock(&ioapic->lock);
	rising = level && !ioapic->level[pin];
	ioapic->level[pin] = level;
	if (ioapic->rte[pin] & RTE_LEVEL)
		service_level(ioapic, pin);
	else if (rising && !(ioapic->rte[pin] & RTE_MASKED))
		(void)send(ioapic, pin);
	(void)pthread_mutex_unlock(&ioapic->lock);
}

bool ioapic_all_masked(struct ioapic *ioapic)
{
	bool masked;

	(void)pthread_mutex_lock(&ioapic->lock);
	masked = is_all_masked(ioapic);
	(void)pthread_mutex_unlock(&ioapic->lock);
	return masked;
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
	(void)pthread_mutex_lock(&ioapic->lock);
	end_vector(ioapic, vector);
	(void)pthread_mutex_unlock(&ioapic->lock);
}
