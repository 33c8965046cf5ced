/* SPDX-License-Identifier: BSD-3-Clause */
/* The coordinator's connection to this VM: vCPUs, devices, timers, listener. */
#ifndef TORPOR_VMM_VM_POWER_OPS_H
#define TORPOR_VMM_VM_POWER_OPS_H

#include "vmm/vm/vm.h"

extern const struct vcpu_ops vm_vcpu_ops;

void vm_power_init(struct vm *vm);
void vm_power_finish(struct vm *vm);
/* --wake; once every source is there. -EINVAL: no such source. */
int vm_apply_wake_options(struct vm *vm, struct err *err) must_check;

#endif
