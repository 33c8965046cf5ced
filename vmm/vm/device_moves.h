/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All devices of a VM at once, on their way down before a sleep or a pause, and
 * up after it. The coordinator asks for one move at a time, and is answered by
 * power_quiesced() or power_restarted(). Main loop.
 */
#ifndef TORPOR_VMM_VM_DEVICE_MOVES_H
#define TORPOR_VMM_VM_DEVICE_MOVES_H

#include "vmm/base/loop.h"

struct vm;

enum vm_move {
	VM_MOVE_NONE,
	VM_MOVE_DOWN,
	VM_MOVE_UP,
};

struct vm_moves {
	enum vm_move move;
	struct loop_timer deadline;
	int result; /* of the way down: 0 or -errno of the first that failed */
	const char *failed; /* its name */
};

void vm_devices_quiesce(struct vm *vm);
void vm_devices_restart(struct vm *vm);
/* A device owes no acknowledgement of its arming any more. */
void vm_devices_armed(struct vm *vm);
void vm_moves_finish(struct vm *vm);

#endif
