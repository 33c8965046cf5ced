/* SPDX-License-Identifier: BSD-3-Clause */
/* See vmm/control/commands.h. */
#include "vmm/control/commands.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/control/requests.h"
#include "vmm/vm/vfio.h"

/* ------------------------------------------------------------- commands */

static void request_stop(struct control_request *req, json_t *args, void *ctx)
{
	if (!request_has_no_args(req, args))
		return;
	control_reply(req, NULL);
	vm_end(commands_vm(ctx), VM_EXIT_STOP);
}

/* ----------------------------------------------------------------- wait */

struct state_wait {
	struct commands *commands;
	struct control_request *req;
	int state; /* enum power_state, or one of the two below */
	struct loop_timer timer;
	struct state_wait *next;
};

/* Not states, but what one may wait for. */
#define WAIT_PAUSED   (-1)
#define WAIT_UNPAUSED (-2)

static const char *wait_name(int state)
{
	if (state == WAIT_PAUSED)
		return "PAUSED";
	if (state == WAIT_UNPAUSED)
		return "UNPAUSED";
	return power_state_name((enum power_state)state);
}

static void wait_free(struct state_wait *wait)
{
	struct state_wait **p = &wait->commands->waits;

	while (*p != wait)
		p = &(*p)->next;
	*p = wait->next;
	loop_timer_cancel(&wait->commands->vm->loop, &wait->timer);
	free(wait);
}

static void wait_timeout(struct loop_timer *timer)
{
	struct state_wait *wait = container_of(timer, struct state_wait, timer);
	enum power_state now = power_get_state(&wait->commands->vm->power);

	control_reply_error_data(
		wait->req, "timeout",
		json_pack("{s:s}", "state", power_state_name(now)), "still %s",
		power_state_name(now));
	wait_free(wait);
}

static void waits_end(struct commands *commands, int state)
{
	struct state_wait *next;

	for (struct state_wait *w = commands->waits; w; w = next) {
		next = w->next;
		if (w->state != state)
			continue;
		control_reply(w->req,
			      json_pack("{s:s}", "state", wait_name(state)));
		wait_free(w);
	}
}

static void waits_finish(struct commands *commands)
{
	struct state_wait *next;

	for (struct state_wait *w = commands->waits; w; w = next) {
		next = w->next;
		control_reply_error(w->req, "ended", "the VM has ended");
		wait_free(w);
	}
}

/* Return: true and *ret. */
static bool state_by_name(const char *name, int *ret)
{
	for (int s = WAIT_UNPAUSED; s <= POWER_RESUMING; s++) {
		if (name && !strcmp(name, wait_name(s))) {
			*ret = s;
			return true;
		}
	}
	return false;
}

static bool is_in(const struct vm *vm, int state)
{
	if (state == WAIT_PAUSED)
		return power_is_paused(&vm->power);
	if (state == WAIT_UNPAUSED)
		return vm->power.pause == POWER_PAUSE_OFF;
	return (int)vm->power.announced == state;
}

static void request_wait(struct control_request *req, json_t *args, void *ctx)
{
	static const char *const keys[] = { "state", "timeout_ms", NULL };
	const char *name = json_string_value(json_object_get(args, "state"));
	struct commands *commands = ctx;
	struct vm *vm = commands->vm;
	struct state_wait *wait;
	uint64_t timeout_ns;
	int state;

	if (!control_check_keys(req, args, keys) ||
	    !request_timeout(req, args, REQUEST_MAX_TIMEOUT_MS, &timeout_ns))
		return;
	if (!state_by_name(name, &state)) {
		control_reply_error(req, "invalid",
				    "state: one of RUNNING, SUSPENDING, "
				    "SUSPENDED, RESUMING, PAUSED, UNPAUSED");
		return;
	}
	if (is_in(vm, state)) {
		control_reply(req, json_pack("{s:s}", "state", name));
		return;
	}
	wait = calloc(1, sizeof(*wait));
	if (!wait) {
		control_reply_error(req, "failed", "out of memory");
		return;
	}
	*wait = (struct state_wait){ .commands = commands,
				     .req = req,
				     .state = state,
				     .next = commands->waits };
	commands->waits = wait;
	loop_timer_set(&vm->loop, &wait->timer, timeout_ns, wait_timeout);
}

/* ---------------------------------------------------------------- state */

static json_t *sources_json(const struct vm *vm)
{
	json_t *list = json_array();
	struct acpi_pm_regs regs = acpi_pm_get((struct acpi_pm *)vm->power.pm);

	for (const struct wake_source *s = vm->power.sources; s; s = s->next) {
		bool armed = !s->off && !s->storm_ns &&
			     (s->armed || regs.pm1_en & s->pm1_bit);

		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:b, s:b, s:b, s:b, s:I, s:I}", "name",
				  s->name, "off", s->off, "storm",
				  s->storm_ns != 0, "armed", armed, "pending",
				  s->latched, "count", (json_int_t)s->count,
				  "wakes", (json_int_t)s->wakes));
	}
	return list;
}

static json_t *devices_json(const struct vm *vm)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		const struct vm_device *dev = &vm->devices[i];
		const struct virtio_mmio *mmio = &dev->mmio;
		json_t *obj = json_pack(
			"{s:s, s:s, s:i, s:i, s:b, s:b, s:I, s:I, s:I, s:I, "
			"s:I}",
			"name", dev->name, "role", dev->type->name, "pid",
			dev->pid, "status", (int)mmio->status, "live",
			virtio_mmio_is_live(mmio), "dead",
			virtio_mmio_is_dead(mmio), "resets",
			(json_int_t)mmio->resets, "suspends",
			(json_int_t)mmio->suspend.count, "stray_kicks",
			(json_int_t)mmio->suspend.kicks, "writes",
			(json_int_t)__atomic_load_n(&mmio->writes,
						    __ATOMIC_RELAXED),
			"messages", (json_int_t)mmio->fe.messages);

		if (dev->mac[0])
			(void)json_object_set_new(obj, "mac",
						  json_string(dev->mac));
		if (dev->cid)
			(void)json_object_set_new(obj, "cid",
						  json_integer(dev->cid));
		(void)json_array_append_new(list, obj);
	}
	return list;
}

/* Of the vCPU's thread, which goes on. */
static json_int_t counter(const uint64_t *value)
{
	return (json_int_t)__atomic_load_n(value, __ATOMIC_RELAXED);
}

static json_t *vcpus_json(struct vm *vm)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < vm->vcpus.nr; i++) {
		const struct vcpu *v = &vm->vcpus.vcpus[i];
		const struct vcpu_stats *s = &v->stats;
		bool up, parked;

		power_get_vcpu(&vm->power, i, &up, &parked);
		(void)json_array_append_new(
			list,
			json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, "
				  "s:I, s:b, s:b}",
				  "index", i, "tid",
				  __atomic_load_n(&v->tid, __ATOMIC_ACQUIRE),
				  "exits", counter(&s->exits), "pio_in",
				  counter(&s->pio_in), "pio_out",
				  counter(&s->pio_out), "mmio_read",
				  counter(&s->mmio_read), "mmio_write",
				  counter(&s->mmio_write), "eoi",
				  counter(&s->eoi), "kicks", counter(&s->kicks),
				  "up", up, "parked", parked));
	}
	return list;
}

static json_t *last_wake_json(const struct vm *vm)
{
	uint64_t latency_ns = vm->power.last_wake_latency_ns;

	if (!vm->power.last_wake)
		return json_null();
	return json_pack("{s:s, s:I, s:o}", "source", vm->power.last_wake->name,
			 "time_ns", (json_int_t)vm->power.last_wake_ns,
			 "latency_ms",
			 latency_ns ? json_integer(latency_ns / NS_PER_MS)
				    : json_null());
}

/* NULL: a VM without such devices has no such key. */
static json_t *pci_json(const struct vm *vm)
{
	static const char *const states[] = {
		[PCI_D0] = "D0", [PCI_D3HOT] = "D3hot", [PCI_D3COLD] = "D3cold"
	};
	struct vm_vfio_info info;
	json_t *list = NULL;

	for (unsigned int i = 0; vm_vfio_info(vm, i, &info); i++) {
		list = list ? list : json_array();
		(void)json_array_append_new(
			list, json_pack("{s:s, s:s, s:i, s:s, s:s}", "name",
					info.name, "address", info.bdf, "slot",
					(int)info.slot, "pm",
					pci_depth_words[info.depth], "power",
					states[info.state]));
	}
	return list;
}

static void request_state(struct control_request *req, json_t *args, void *ctx)
{
	struct vm *vm = commands_vm(ctx);

	if (!request_has_no_args(req, args))
		return;
	control_reply(
		req,
		json_pack(
			"{s:s, s:b, s:b, s:s, s:i, s:i, s:s, s:I, s:I, s:o, "
			"s:o, s:o, s:o, s:o*}",
			"state", power_state_name(power_get_state(&vm->power)),
			"paused", vm->power.pause != POWER_PAUSE_OFF, "halted",
			vm->halt.halted, "vm", vm->cfg->name, "pid", getpid(),
			"spawner_pid", spawner_pid(vm->spawner), "kind",
			power_sleep_name(power_get_kind(&vm->power)), "cycles",
			(json_int_t)vm->power.cycles, "time_asleep_ms",
			(json_int_t)(power_stats_all_asleep_ns(&vm->power.stats,
							       time_boot_ns()) /
				     NS_PER_MS),
			"last_wake", last_wake_json(vm), "sources",
			sources_json(vm), "devices", devices_json(vm), "vcpus",
			vcpus_json(vm), "pci", pci_json(vm)));
}

const struct control_command vm_commands[] = {
	{ "stop", request_stop },
	{ "state", request_state },
	{ "stats", request_stats }, /* commands_stats.c */
	{ "suspend", request_suspend },
	{ "resume", request_resume },
	{ "wake", request_wake },
	{ "wait", request_wait },
	{ "powerbtn", request_powerbtn },
	{ "sleepbtn", request_sleepbtn },
	{ "trace", request_trace }, /* commands_trace.c */
	{ NULL, NULL },
};

/* --------------------------------------------------------------- events */

static struct commands *commands_of(struct vm_listener *listener)
{
	return container_of(listener, struct commands, listener);
}

/* First the event, then the replies to those who wait for it. */
static void on_state(struct vm_listener *listener, enum power_state state,
		     const struct wake_source *by)
{
	struct commands *commands = commands_of(listener);
	json_t *data = json_object();

	if (by)
		(void)json_object_set_new(data, "source",
					  json_string(by->name));
	if (state == POWER_SUSPENDED)
		(void)json_object_set_new(data, "kind",
					  json_string(power_sleep_name(
						  commands->vm->power.kind)));
	control_event(commands->control, power_state_name(state), data);
	waits_end(commands, (int)state);
}

static void on_paused(struct vm_listener *listener, bool paused)
{
	struct commands *commands = commands_of(listener);

	control_event(commands->control, paused ? "PAUSED" : "UNPAUSED", NULL);
	waits_end(commands, paused ? WAIT_PAUSED : WAIT_UNPAUSED);
}

/* No event, but who resumed it meanwhile waits for its end. */
static void on_pause_failed(struct vm_listener *listener)
{
	waits_end(commands_of(listener), WAIT_UNPAUSED);
}

static void on_storm(struct vm_listener *listener,
		     const struct wake_source *source)
{
	control_event(commands_of(listener)->control, "WAKE_STORM",
		      json_pack("{s:s}", "source", source->name));
}

static void on_device(struct vm_listener *listener, const struct vm_device *dev,
		      enum vm_device_event what, const char *why)
{
	struct control *control = commands_of(listener)->control;

	switch (what) {
	case VM_DEVICE_DIED:
		control_event(control, "DEVICE_DIED",
			      json_pack("{s:s, s:i, s:s}", "device", dev->name,
					"pid", dev->pid, "reason", why));
		break;
	case VM_DEVICE_FAILED:
		control_event(control, "DEVICE_FAILED",
			      json_pack("{s:s}", "device", dev->name));
		break;
	case VM_DEVICE_RESPAWNED:
		control_event(control, "DEVICE_RESPAWNED",
			      json_pack("{s:s, s:i}", "device", dev->name,
					"pid", dev->pid));
		break;
	}
}

static void on_pci(struct vm_listener *listener, const char *bdf,
		   enum vm_pci_event what)
{
	control_event(commands_of(listener)->control,
		      what == VM_PCI_FAILED ? "PCI_DEVICE_FAILED"
					    : "PCI_DEVICE_WANTED",
		      json_pack("{s:s}", "device", bdf));
}

static void on_halted(struct vm_listener *listener)
{
	control_event(commands_of(listener)->control, "HALTED", NULL);
}

static void on_stalled(struct vm_listener *listener, const char *in,
		       long long ms)
{
	control_event(commands_of(listener)->control, "LOOP_STALLED",
		      json_pack("{s:s, s:I}", "in", in, "ms", (json_int_t)ms));
}

static void on_ended(struct vm_listener *listener, enum vm_exit code)
{
	struct commands *commands = commands_of(listener);

	control_event(commands->control, "EXIT",
		      json_pack("{s:i}", "code", (int)code));
	waits_finish(commands);
	control_destroy(TAKE(commands->control));
}

const struct vm_events commands_events = {
	.state = on_state,
	.paused = on_paused,
	.pause_failed = on_pause_failed,
	.storm = on_storm,
	.device = on_device,
	.pci = on_pci,
	.halted = on_halted,
	.stalled = on_stalled,
	.ended = on_ended,
};

int commands_serve(struct commands *commands, struct vm *vm, struct err *err)
{
	int r;

	*commands = (struct commands){ .listener.events = &commands_events,
				       .vm = vm };
	if (!vm->cfg->socket)
		return 0;
	r = control_create(&vm->loop, vm->cfg->socket, vm_commands, commands,
			   &commands->control, err);
	if (r == 0)
		vm->listener = &commands->listener;
	return r;
}
