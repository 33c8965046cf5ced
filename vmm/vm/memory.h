/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest's RAM: one sealed memfd, mapped here and given to KVM. */
#ifndef TORPOR_VMM_VM_MEMORY_H
#define TORPOR_VMM_VM_MEMORY_H

#include "vmm/vm/vm.h"

/* Makes vm->gm as large as --mem says. */
int vm_memory_create(struct vm *vm, struct err *err) must_check;
/* One memslot per region, the first ones of the VM. */
int vm_memory_connect(struct vm *vm, struct err *err) must_check;
void vm_memory_destroy(struct vm *vm);

#endif
