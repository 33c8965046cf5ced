/* SPDX-License-Identifier: BSD-3-Clause */
/* struct vm_platform of x86, for vmm/vm/platform.h. */
#ifndef TORPOR_VMM_VM_PLATFORM_X86_64_H
#define TORPOR_VMM_VM_PLATFORM_X86_64_H

#include <stdatomic.h>

#include "arch/x86_64/irqchip.h"
#include "arch/x86_64/layout.h"
#include "devices/acpi_pm.h"
#include "devices/i8042.h"
#include "devices/pci/conf.h"
#include "devices/pmc.h"
#include "devices/pvpanic.h"
#include "devices/rtc.h"
#include "devices/serial.h"
#include "vmm/machine/mailbox.h"
#include "vmm/power/power.h"

/* A GPE that wakes the guest and does nothing else. */
#define VM_PLATFORM_WAKE_GPE (1U << LAYOUT_GPE_WAKE)

struct vm_device;
struct vm_pci_ops;

struct vm_platform {
	struct irqchip irqchip;
	struct serial serial;
	bool escaped; /* state of the terminal's escape key */
	struct wake_source serial_wake;
	struct rtc rtc;
	struct acpi_pm pm;
	struct i8042 i8042;
	struct pci_conf pci_conf;
	struct pvpanic pvpanic;
	struct pmc pmc;
	const struct vm_pci_ops *pci_ops; /* NULL: no PCI */
	/* _DSW of a virtio device: see vm_platform_connect(). */
	void (*arm)(struct vm_device *dev, bool armed,
		    struct mailbox_item *item);
	struct mailbox_item pm_item; /* PM registers changed */
	/* Written by vCPU threads for @pm_item. */
	atomic_uint cleared_pm1;
	atomic_uint rtc_taken;
};

#endif
