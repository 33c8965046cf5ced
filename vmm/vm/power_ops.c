/* SPDX-License-Identifier: BSD-3-Clause */
/* Connects the coordinator to this VM's vCPUs, devices, timers and clients. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/vm/device.h"

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

static bool vcpu_port_read(struct vcpu *vcpu, uint16_t port, void *data,
			   uint32_t len)
{
	if (port != LAYOUT_PORT_PMC_C2 || len != 1)
		return false;
	*(uint8_t *)data = 0;
	power_c2_read(&vm_of_vcpu(vcpu)->power, vcpu->index);
	return true;
}

static void vcpu_eoi(struct vcpu *vcpu, uint8_t vector)
{
	irqchip_eoi(&vm_of_vcpu(vcpu)->irqchip, vector);
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
	.port_read = vcpu_port_read,
	.eoi = vcpu_eoi,
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

/* --------------------------------------- what the platform devices tell */

/* vCPU thread: the guest took fixed events by clearing their status. */
static void pm_cleared(struct acpi_pm *pm, uint16_t pm1, uint32_t gpe,
		       bool bulk)
{
	struct vm *vm = container_of(pm, struct vm, pm);

	/* Everything at once is ACPICA on its way to sleep: not taken. The
	 * RTC's is cleared when it is armed too; reading its register C is
	 * what takes an alarm. */
	if (bulk || !(pm1 & (ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN)))
		return;
	(void)atomic_fetch_or(&vm->cleared_pm1, pm1);
	mailbox_post(&vm->mailbox, &vm->pm_item);
}

static void rtc_taken(struct rtc *rtc)
{
	struct vm *vm = container_of(rtc, struct vm, rtc);

	atomic_store(&vm->rtc_taken, 1);
	mailbox_post(&vm->mailbox, &vm->pm_item);
}

static void on_pm_item(struct mailbox_item *item)
{
	struct vm *vm = container_of(item, struct vm, pm_item);
	unsigned int pm1 = atomic_exchange(&vm->cleared_pm1, 0);

	/* Set again since: that is the next event, which was not taken. */
	pm1 &= ~(unsigned int)acpi_pm_get(&vm->pm).pm1_sts;
	if (pm1 & ACPI_PM1_PWRBTN)
		power_source_clear(&vm->power, &vm->power.powerbtn);
	if (pm1 & ACPI_PM1_SLPBTN)
		power_source_clear(&vm->power, &vm->power.sleepbtn);
	if (vm->power.launcher.pm1_bit & pm1)
		power_source_clear(&vm->power, &vm->power.launcher);
	if (atomic_exchange(&vm->rtc_taken, 0))
		power_source_clear(&vm->power, &vm->power.rtc);
}

static void pm_sleep(struct acpi_pm *pm, unsigned int slp_typ)
{
	struct vm *vm = container_of(pm, struct vm, pm);

	for (unsigned int i = 0; i < vm->vcpus.nr; i++) {
		struct vcpu *vcpu = &vm->vcpus.vcpus[i];

		if (!pthread_equal(vcpu->thread, pthread_self()))
			continue;
		if (slp_typ == LAYOUT_SLP_TYP_S5)
			vm_end(vm, VM_EXIT_STOP);
		else if (slp_typ == LAYOUT_SLP_TYP_S1)
			power_s1(&vm->power, i);
	}
}

static void rtc_alarm(struct rtc *rtc)
{
	struct vm *vm = container_of(rtc, struct vm, rtc);

	(void)power_wake(&vm->power, &vm->power.rtc);
}

static void serial_input(struct serial *serial)
{
	struct vm *vm = container_of(serial, struct vm, serial);

	(void)power_wake(&vm->power, &vm->serial_wake);
}

static void pmc_lps0(struct pmc *pmc, bool entry)
{
	power_lps0(&container_of(pmc, struct vm, pmc)->power, entry);
}

struct arm_call {
	struct mailbox_item item;
	struct vm_device *dev;
	bool armed;
};

static void on_arm(struct mailbox_item *item)
{
	struct arm_call *call = container_of(item, struct arm_call, item);

	vm_device_arm(call->dev, call->armed, item);
}

/*
 * Waits until the device's process has taken it. What comes before that it may
 * put into a running ring without a wake-up: the guest, which looks at its
 * rings when this has returned, sees it there. What comes later is a wake
 * event.
 */
static void pmc_arm(struct pmc *pmc, unsigned int index, bool armed)
{
	struct vm *vm = container_of(pmc, struct vm, pmc);
	struct arm_call call = { .item.fn = on_arm, .armed = armed };

	if (index >= vm->nr_devices)
		return;
	call.dev = &vm->devices[index];
	mailbox_call(&vm->mailbox, &call.item);
}

void vm_power_init(struct vm *vm)
{
	power_init(&vm->power, &power_ops, &vm->pm, 1U << LAYOUT_GPE_WAKE,
		   vm->cfg->cpus);
	vm->power_made = true;
	vm->power.trace = &vm->trace;
	vm->power.storm_sleeps = vm->cfg->wake_storm;
	for (unsigned int i = 0; i < POWER_NR_TIMERS; i++)
		vm->power_timers[i] =
			(struct vm_power_timer){ .vm = vm, .which = i };
	vm->power_item.fn = on_power_item;
	vm->pm_item.fn = on_pm_item;
	vm->serial_wake = (struct wake_source){
		.name = "serial",
		.irq = irqchip_line(&vm->irqchip, LAYOUT_GSI_SERIAL),
	};
	power_add_source(&vm->power, &vm->serial_wake);
	vm->pm.on_sleep = pm_sleep;
	vm->pm.on_clear = pm_cleared;
	vm->rtc.on_alarm = rtc_alarm;
	vm->rtc.on_alarm_taken = rtc_taken;
	vm->serial.on_held_input = serial_input;
	vm->pmc.on_lps0 = pmc_lps0;
	vm->pmc.on_arm = pmc_arm;
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
	vm->serial.no_wake = vm->serial_wake.off;
	return 0;
}

void vm_power_finish(struct vm *vm)
{
	if (!vm->power_made)
		return;
	for (unsigned int i = 0; i < POWER_NR_TIMERS; i++)
		loop_timer_cancel(&vm->loop, &vm->power_timers[i].timer);
	power_finish(&vm->power);
	vm->power_made = false;
}
