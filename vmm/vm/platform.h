/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a VM belongs to its architecture: the interrupt controller, the
 * devices that are not virtio, and where the guest finds things. A build has
 * one: platform_x86_64.c. Main thread, unless it says otherwise.
 */
#ifndef TORPOR_VMM_VM_PLATFORM_H
#define TORPOR_VMM_VM_PLATFORM_H

#include "arch/arch.h"
#include "devices/pci/pci.h"
#include "vmm/machine/vcpu.h"
#include "vmm/vm/platform_x86_64.h"

struct mailbox_item;
struct vm;
struct vm_device;

/* What KVM must have; in a list, the last has no name. */
struct vm_capability {
	int cap;
	const char *name;
};
extern const struct vm_capability vm_platform_capabilities[];

/* The interrupt controller: before the first vCPU. 0 or -errno of KVM. */
int vm_platform_init(struct vm *vm) must_check;
/* The devices, on the buses of the VM. */
int vm_platform_create(struct vm *vm, struct err *err) must_check;
/*
 * The coordinator is there: the devices tell it, and wake by it. @arm: _DSW of
 * a virtio device; it completes @item when its process has taken it. Main loop.
 */
void vm_platform_connect(struct vm *vm,
			 void (*arm)(struct vm_device *dev, bool armed,
				     struct mailbox_item *item));
/* No vCPU thread is left. Also one that was never made. */
void vm_platform_finish(struct vm *vm);

/* Where number @index of the virtio devices is. -ENOSPC with @err: nowhere. */
int vm_platform_virtio_slot(const struct vm *vm, unsigned int index,
			    struct arch_virtio_slot *ret,
			    struct err *err) must_check;
/* Writes of the eventfd @fd become an interrupt. */
int vm_platform_add_irqfd(struct vm *vm, int fd, uint32_t gsi) must_check;
/* Where devices of the PCI bus are. */
struct pci_places vm_platform_pci_places(const struct vm *vm);
/* The bit of the GPE with which PCI device @index wakes the guest. */
unsigned int vm_platform_pci_gpe(unsigned int index);
/* What ACPI's methods of a PCI slot do; vCPU threads, which may wait. */
struct vm_pci_ops {
	uint32_t (*powered)(struct vm *vm);
	void (*power)(struct vm *vm, unsigned int slot, bool on);
	void (*arm)(struct vm *vm, unsigned int slot, bool armed);
};
/* @ops: stays. There is a PCI bus. Return: 0 or -errno. */
int vm_platform_connect_pci(struct vm *vm,
			    const struct vm_pci_ops *ops) must_check;
/* Adds to @cfg what only the platform knows. */
void vm_platform_describe(const struct vm *vm, struct arch_config *cfg);

/* --wake has its say in the sources. */
void vm_platform_wake_options_applied(struct vm *vm);
/* Before a sleep: input waits where it can wake the guest. And after it. */
void vm_platform_hold_input(struct vm *vm);
void vm_platform_release_input(struct vm *vm);
/* The guest has masked every interrupt of a device; see halt.h. */
bool vm_platform_all_masked(struct vm *vm);

/* Slots of struct vcpu_ops; on the vCPU's thread. */
bool vm_platform_port_read(struct vcpu *vcpu, uint16_t port, void *data,
			   uint32_t len);
void vm_platform_eoi(struct vcpu *vcpu, uint8_t vector);

#endif
