/* SPDX-License-Identifier: BSD-3-Clause */
/* See vmm/vm/halt.h. */
#include "vmm/vm/halt.h"

#include "vmm/base/log.h"
#include "vmm/vm/vm.h"

#define LOOK_NS 1000000000ULL
#define LOOKS	20U /* a guest may take its time to stop its CPUs */

static void on_timer(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, halt.timer);
	struct vm_halt *halt = &vm->halt;

	if (!vm_platform_all_masked(vm) ||
	    power_get_state(&vm->power) != POWER_RUNNING)
		return;
	atomic_store(&halt->alive, false);
	atomic_store(&halt->missing, vm->vcpus.nr);
	(void)atomic_fetch_add(&halt->round, 1);
	for (unsigned int i = 0; i < vm->vcpus.nr; i++)
		vcpu_kick(&vm->vcpus.vcpus[i]);
}

static void on_suspected(struct mailbox_item *item)
{
	struct vm *vm = container_of(item, struct vm, halt.suspected);

	/* A look under way finishes first. A guest masks them on its way to
	 * sleep too; asleep, looking costs nothing, see vm_halt_state(). */
	vm->halt.looks_left = LOOKS;
	if (!vm->halt.halted && atomic_load(&vm->halt.missing) == 0 &&
	    power_get_state(&vm->power) == POWER_RUNNING)
		loop_timer_set(&vm->loop, &vm->halt.timer, LOOK_NS, on_timer);
}

static void on_looked(struct mailbox_item *item)
{
	struct vm *vm = container_of(item, struct vm, halt.looked);
	struct vm_halt *halt = &vm->halt;

	if (halt->halted)
		return;
	if (atomic_load(&halt->alive)) {
		if (--halt->looks_left > 0 &&
		    power_get_state(&vm->power) == POWER_RUNNING)
			loop_timer_set(&vm->loop, &halt->timer, LOOK_NS,
				       on_timer);
		return;
	}
	halt->halted = true;
	log_warn("the guest has halted all its CPUs with interrupts off: "
		 "'torpor stop' or SIGTERM ends the VM");
	vm_tell(vm, halted);
}

void vm_halt_kicked(struct vm *vm, struct vcpu *vcpu)
{
	struct vm_halt *halt = &vm->halt;
	unsigned int round = atomic_load(&halt->round);

	if (vcpu->halt_round == round)
		return;
	vcpu->halt_round = round;
	if (!arch_vcpu_is_stuck(vcpu->fd))
		atomic_store(&halt->alive, true);
	if (atomic_fetch_sub(&halt->missing, 1) == 1)
		mailbox_post(&vm->mailbox, &halt->looked);
}

void vm_halt_state(struct vm *vm, enum power_state state)
{
	if (state != POWER_RUNNING)
		loop_timer_cancel(&vm->loop, &vm->halt.timer);
	else if (vm_platform_all_masked(vm))
		on_suspected(&vm->halt.suspected);
}

void vm_halt_init(struct vm *vm)
{
	vm->halt.suspected.fn = on_suspected;
	vm->halt.looked.fn = on_looked;
}

void vm_halt_finish(struct vm *vm)
{
	loop_timer_cancel(&vm->loop, &vm->halt.timer);
}
