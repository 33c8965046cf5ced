/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that has halted for good, as by Linux's `halt`: each vCPU waits in
 * HLT with its interrupts off, or was never started. Nothing but the end of the
 * VM can follow, so it is said: in the log, by the event HALTED and in `state`.
 *
 * No exit tells of it. Linux masks all pins of the I/O APIC before; that makes
 * the main loop have a look, once a second while they are: each vCPU is kicked
 * and looks at itself. With --irqchip kernel nobody sees the pins, nor the
 * halt.
 */
#ifndef TORPOR_VMM_VM_HALT_H
#define TORPOR_VMM_VM_HALT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "vmm/base/loop.h"
#include "vmm/machine/mailbox.h"
#include "vmm/power/power.h"

struct vcpu;
struct vm;

struct vm_halt {
	/* Posted by the platform: the guest has masked every interrupt. Has it
	 * halted? Any thread. */
	struct mailbox_item suspected;
	struct mailbox_item looked;
	struct loop_timer timer;
	unsigned int looks_left; /* main loop */
	bool halted;		 /* main loop: it has been said */
	/* Of the present look; vCPU threads. */
	atomic_uint round, missing;
	atomic_bool alive;
};

/* Main loop. */
void vm_halt_init(struct vm *vm);
void vm_halt_finish(struct vm *vm);
/* The power state is @state now: only a guest that is awake is looked at. */
void vm_halt_state(struct vm *vm, enum power_state state);
/* After a kick, on the vCPU's thread. */
void vm_halt_kicked(struct vm *vm, struct vcpu *vcpu);

#endif
