/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ACPI fixed hardware (ACPI 6.x, 4.8): PM1 event and control blocks and the
 * GPE0 block, and the SCI they drive. Registers are used on vCPU threads,
 * events are raised from any thread; one mutex.
 *
 * The SCI is a level, computed under the lock as
 *	(PM1_STS & PM1_EN) | (GPE_STS & GPE_EN)
 * and set synchronously, so that it is pending in the irqchip before the
 * caller goes on (and, say, unparks the vCPUs).
 */
#ifndef TORPOR_DEVICES_ACPI_PM_H
#define TORPOR_DEVICES_ACPI_PM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/machine/bus.h"
#include "vmm/machine/irq_line.h"

#define ACPI_PM1_GBL	(1U << 5)
#define ACPI_PM1_PWRBTN (1U << 8)
#define ACPI_PM1_SLPBTN (1U << 9)
#define ACPI_PM1_RTC	(1U << 10)
#define ACPI_PM1_WAK	(1U << 15) /* status only */

#define ACPI_GPE0_PORTS 8U /* 32 GPEs: 4 bytes of status, 4 of enable */

struct acpi_pm_regs {
	uint16_t pm1_sts, pm1_en;
	uint32_t gpe_sts, gpe_en;
};

struct acpi_pm {
	struct bus_dev evt_bus; /* 4 ports */
	struct bus_dev cnt_bus; /* 2 ports */
	struct bus_dev gpe_bus; /* ACPI_GPE0_PORTS */
	pthread_mutex_t lock;
	struct irq_line *sci; /* borrowed, level */
	struct acpi_pm_regs regs;
	uint16_t cnt; /* PM1_CNT; SCI_EN always reads 1 */
	bool sci_level;
	/*
	 * SLP_EN written, on the vCPU thread, unlocked: @slp_typ 0..7. The
	 * write returns to the guest when this does.
	 */
	void (*on_sleep)(struct acpi_pm *pm, unsigned int slp_typ);
	/*
	 * The guest cleared status bits by writing ones, on the vCPU thread,
	 * unlocked. @pm1: the PM1 bits that were set, @gpe likewise.
	 * @bulk: it wrote several PM1 bits at once, which is ACPICA wiping
	 * everything before sleep, not its handler taking one event. Optional.
	 */
	void (*on_clear)(struct acpi_pm *pm, uint16_t pm1, uint32_t gpe,
			 bool bulk);
	/* An enable register changed, on the vCPU thread, unlocked. Optional.
	 */
	void (*on_enable)(struct acpi_pm *pm);
};

/* @evt, @cnt: first ports of the PM1 blocks; @gpe: of the GPE0 block. */
void acpi_pm_init(struct acpi_pm *pm, uint64_t evt, uint64_t cnt, uint64_t gpe,
		  struct irq_line *sci);
void acpi_pm_finish(struct acpi_pm *pm);

/* Sets status bits and updates the SCI before returning. Any thread. */
void acpi_pm_raise(struct acpi_pm *pm, uint16_t pm1_bits, uint32_t gpe_bits);
struct acpi_pm_regs acpi_pm_get(struct acpi_pm *pm);
/* Is the SCI asserted now? */
bool acpi_pm_sci_pending(struct acpi_pm *pm);

#endif
