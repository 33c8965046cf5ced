/* SPDX-License-Identifier: BSD-3-Clause */
/* Connects the coordinator to this VM's vCPUs, devices, timers and clients. */
#include "vmm/vm/power_ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/vm/jail.h"
#include "vmm/vm/vfio.h"

static struct vm *vm_of(struct power *power)
{
	return container_of(power, struct vm, power);
}

/* ------------------------------------------------------- vCPU threads */

static unsigned int op_inspect(struct power *power, unsigned int cpu)
{
	return arch_vcpu_inspect(vm_of(power)->vcpus.vcpus[cpu].fd);
}

static void op_halt(struct power *power, unsigned int cpu)
{
	int r = arch_vcpu_halt(vm_of(power)->vcpus.vcpus[cpu].fd);

	if (r < 0)
		(void)log_errno(r, "halt offline vCPU %u", cpu);
}

static void op_kick(struct power *power, unsigned int cpu)
{
	vcpu_kick(&vm_of(power)->vcpus.vcpus[cpu]);
}

static void op_post(struct power *power)
{
	mailbox_post(&vm_of(power)->mailbox, &vm_of(power)->power_item);
}

static struct vm *vm_of_vcpu(const struct vcpu *vcpu)
{
	return vcpu->set->ctx;
}

static void vcpu_ran(struct vcpu *vcpu)
{
	power_ran(&vm_of_vcpu(vcpu)->power, vcpu->index);
}

static void vcpu_kicked(struct vcpu *vcpu)
{
	vm_halt_kicked(vm_of_vcpu(vcpu), vcpu);
	power_kicked(&vm_of_vcpu(vcpu)->power, vcpu->index);
}

static void vcpu_ended(struct vcpu *vcpu, enum vcpu_end end, const char *why)
{
	struct vm *vm = vm_of_vcpu(vcpu);

	if (atomic_load(&vm->exit_code) >= 0)
		return;
	if (end == VCPU_END_INTERNAL)
		log_err("the guest cannot continue: %s", why);
	vm_end(vm, end == VCPU_END_RESET ? VM_EXIT_RESET : VM_EXIT_CRASH);
}

const struct vcpu_ops vm_vcpu_ops = {
	.begin = vm_jail_vcpu,
	.ran = vcpu_ran,
	.kicked = vcpu_kicked,
	.port_read = vm_platform_port_read,
	.eoi = vm_platform_eoi,
	.ended = vcpu_ended,
};

/* ------------------------------------------------- devices, and pause */

static void op_quiesce(struct power *power)
{
	vm_devices_quiesce(vm_of(power));
}

static void op_restart(struct power *power)
{
	vm_devices_restart(vm_of(power));
}

static void op_hold(struct power *power)
{
	struct vm *vm = vm_of(power);
	int r;

	vcpu_set_hold(&vm->vcpus);
	r = guest_clock_stop(&vm->clock, vm->vm_fd);
	if (r < 0)
		(void)log_errno(r, "read the guest's clock");
}

static void op_set_clock(struct power *power, bool freeze)
{
	struct vm *vm = vm_of(power);
	int r;

	if (!freeze) {
		guest_clock_tell_stopped(&vm->vcpus);
		return;
	}
	r = guest_clock_thaw(&vm->clock, vm->vm_fd, &vm->vcpus);
	if (r < 0)
		(void)log_errno(r, "take the pause out of the guest's clocks");
}

static void op_release(struct power *power)
{
	vcpu_set_release(&vm_of(power)->vcpus);
}

static void op_paused(struct power *power, bool paused)
{
	struct vm *vm = vm_of(power);

	log_debug(paused ? "paused" : "no longer paused");
	vm_tell(vm, paused, paused);
}

static void op_pause_failed(struct power *power)
{
	vm_tell(vm_of(power), pause_failed);
}

static void op_storm(struct power *power, const struct wake_source *source)
{
	struct vm *vm = vm_of(power);
	static struct log_limit limit;

	log_limited(&limit,
		    "%s ended %u short sleeps in a row and does not wake the "
		    "guest for a while (--wake-storm)",
		    source->name, vm->power.storm_sleeps);
	vm_tell(vm, storm, source);
}

/* ------------------------------------------------------- timers, events */

static uint64_t op_now(struct power *power)
{
	return time_boot_ns();
}

static void on_timer(struct loop_timer *timer)
{
	struct vm_power_timer *t =
		container_of(timer, struct vm_power_timer, timer);

	power_timer_fired(&t->vm->power, t->which);
}

static void op_timer_set(struct power *power, enum power_timer timer,
			 uint64_t delay_ns)
{
	struct vm *vm = vm_of(power);

	loop_timer_set(&vm->loop, &vm->power_timers[timer].timer, delay_ns,
		       on_timer);
}

static void op_timer_cancel(struct power *power, enum power_timer timer)
{
	struct vm *vm = vm_of(power);

	loop_timer_cancel(&vm->loop, &vm->power_timers[timer].timer);
}

static void op_event(struct power *power, enum power_state state,
		     const struct wake_source *source)
{
	struct vm *vm = vm_of(power);

	log_debug("%s%s%s", power_state_name(state), source ? " by " : "",
		  source ? source->name : "");
	if (state == POWER_SUSPENDED)
		vm_vfio_asleep(vm);
	vm_tell(vm, state, state, source);
	vm_halt_state(vm, state);
}

static const struct power_ops power_ops = {
	.vcpu_inspect = op_inspect,
	.vcpu_halt = op_halt,
	.vcpu_kick = op_kick,
	.post = op_post,
	.quiesce = op_quiesce,
	.restart = op_restart,
	.vcpus_hold = op_hold,
	.set_clock = op_set_clock,
	.vcpus_release = op_release,
	.now_ns = op_now,
	.timer_set = op_timer_set,
	.timer_cancel = op_timer_cancel,
	.event = op_event,
	.paused = op_paused,
	.pause_failed = op_pause_failed,
	.storm = op_storm,
};

static void on_power_item(struct mailbox_item *item)
{
	power_poll(&container_of(item, struct vm, power_item)->power);
}

void vm_power_init(struct vm *vm)
{
	power_init(&vm->power, &power_ops, &vm->platform.pm,
		   VM_PLATFORM_WAKE_GPE, vm->cfg->cpus);
	vm->power.trace = &vm->trace;
	vm->power.storm_sleeps = vm->cfg->wake_storm;
	for (unsigned int i = 0; i < POWER_NR_TIMERS; i++)
		vm->power_timers[i] =
			(struct vm_power_timer){ .vm = vm, .which = i };
	vm->power_item.fn = on_power_item;
}

static int no_source(const struct vm *vm, const char *name, struct err *err)
{
	char known[256] = "";
	size_t len = 0;

	for (const struct wake_source *s = vm->power.sources;
	     s && len < sizeof(known); s = s->next) {
		if (s != &vm->power.launcher)
			len += (size_t)snprintf(known + len,
						sizeof(known) - len, " %s",
						s->name);
	}
	return err_usage(err, -EINVAL,
			 "--wake %s: unknown source; this VM has%s", name,
			 known);
}

int vm_apply_wake_options(struct vm *vm, struct err *err)
{
	for (unsigned int i = 0; i < vm->cfg->nr_wakes; i++) {
		const struct wake_config *wake = &vm->cfg->wakes[i];
		struct wake_source *s = vm->power.sources;

		while (s && (s == &vm->power.launcher ||
			     strcmp(s->name, wake->name) != 0))
			s = s->next;
		if (!s)
			return no_source(vm, wake->name, err);
		s->off = !wake->on;
	}
	vm_platform_wake_options_applied(vm);
	return 0;
}

void vm_power_finish(struct vm *vm)
{
	for (unsigned int i = 0; i < POWER_NR_TIMERS; i++)
		loop_timer_cancel(&vm->loop, &vm->power_timers[i].timer);
	power_finish(&vm->power);
}
