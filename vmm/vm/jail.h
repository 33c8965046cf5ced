/* SPDX-License-Identifier: BSD-3-Clause */
/* What the VMM takes from itself; see sandbox/jail.h. */
#ifndef TORPOR_VMM_VM_JAIL_H
#define TORPOR_VMM_VM_JAIL_H

#include "vmm/vm/vm.h"

/*
 * What the VMM takes from itself: before there are vCPU threads; on each of
 * them, first of all; on the main thread, when all have done that.
 */
int vm_jail_rights(struct vm *vm, struct err *err) must_check;
int vm_jail_vcpu(struct vcpu *vcpu) must_check;
int vm_jail_files(void *ctx) must_check; /* @ctx: the VM */
int vm_jail_main(struct vm *vm, struct err *err) must_check;

#endif
