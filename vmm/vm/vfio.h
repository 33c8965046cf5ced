/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI devices of --vfio. Main loop. */
#ifndef TORPOR_VMM_VM_VFIO_H
#define TORPOR_VMM_VM_VFIO_H

#include "vmm/vm/vm.h"

/* Opens the devices of --vfio, before what is jailed. */
int vm_vfio_create(struct vm *vm, struct err *err) must_check;
/* No vCPU runs any more. */
void vm_vfio_destroy(struct vm *vm);

#endif
