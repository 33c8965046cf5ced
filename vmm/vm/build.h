/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Puts a VM together of its parts, runs it, and takes it apart. Main thread.
 */
#ifndef TORPOR_VMM_VM_BUILD_H
#define TORPOR_VMM_VM_BUILD_H

#include "vmm/vm/vm.h"

/**
 * vm_create() - make a VM that answers, with no vCPU thread yet
 * @vm: zeroed
 * @cfg: checked, borrowed
 * @spawner: borrowed; forked before anything else
 *
 * Return: 0 or -errno with @err, unless vm_end() was called meanwhile. Either
 * way vm_destroy() follows.
 */
int vm_create(struct vm *vm, const struct vm_config *cfg,
	      struct spawner *spawner, struct err *err) must_check;
/*
 * Narrows every thread, starts the guest and serves it to its end: vm_end().
 * Return: as vm_create().
 */
int vm_run(struct vm *vm, struct err *err) must_check;
/* Ends what a VM has, as far as it was made, and tells the listener of that. */
void vm_destroy(struct vm *vm);

#endif
