/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI devices of --vfio. Main loop. */
#ifndef TORPOR_VMM_VM_VFIO_H
#define TORPOR_VMM_VM_VFIO_H

#include "vmm/vm/vm.h"

/* Opens the devices of --vfio, before what is jailed. */
int vm_vfio_create(struct vm *vm, struct err *err) must_check;
/* Which slots there are, told to the guest. @ret: zeroed. */
void vm_vfio_describe(const struct vm *vm, struct arch_pci_slots *ret);
/* Of one of them; strings are borrowed. */
struct vm_vfio_info {
	const char *name, *bdf;
	unsigned int slot;
	enum pci_depth depth; /* what is in use, not what was asked for */
	enum pci_power state;
};
/* Return: false if there is no number @i. */
bool vm_vfio_info(const struct vm *vm, unsigned int i,
		  struct vm_vfio_info *ret);
/* A device may have to go down again when nobody else can wait for it. */
bool vm_vfio_needs_worker(const struct vm *vm);
/* The guest sleeps: says which devices its drivers have left on. */
void vm_vfio_asleep(struct vm *vm);
/*
 * Asleep: the first such device from number *@at on, which becomes the one
 * behind it. Return: its name, borrowed, or NULL.
 */
const char *vm_vfio_left_on(const struct vm *vm, unsigned int *at);
/* No vCPU runs any more, and the worker has been stopped. */
void vm_vfio_destroy(struct vm *vm);

#endif
