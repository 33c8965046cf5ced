/* SPDX-License-Identifier: BSD-3-Clause */
/* The control commands that put a guest to sleep, pause, wake and resume it. */
#include <stdlib.h>

#include "vmm/control/requests.h"
#include "vmm/vm/device.h"
#include "vmm/vm/vfio.h"

#define DEFAULT_SUSPEND_MS 15000

static json_t *paused_json(const struct power_request *power,
			   enum power_outcome outcome, long long ms)
{
	json_t *result =
		json_pack("{s:s, s:I}", "outcome", power_outcome_name(outcome),
			  "ms", (json_int_t)ms);

	if (outcome == POWER_FORCED)
		(void)json_object_set_new(
			result, "because",
			json_string(power_outcome_name(power->because)));
	if (power->source)
		(void)json_object_set_new(result, "source",
					  json_string(power->source));
	if (power->device)
		(void)json_object_set_new(result, "device",
					  json_string(power->device));
	return result;
}

struct suspend_call {
	struct power_request power;
	struct control_request *req;
	struct vm *vm;
};

/* A guest that cannot suspend a device gives up at it, early or late. */
#define VETO "its driver of %s cannot suspend it (no VIRTIO_F_SUSPEND)"

static void reply_refused(const struct suspend_call *call, long long ms)
{
	const struct vm_device *veto = vm_devices_veto(call->vm);
	json_t *data = json_pack("{s:I}", "ms", (json_int_t)ms);

	if (!veto) {
		control_reply_error_data(
			call->req, "refused", data,
			"refused by the guest: it began to sleep and came back "
			"after %lld ms; its kernel log says why",
			ms);
		return;
	}
	(void)json_object_set_new(data, "device", json_string(veto->name));
	control_reply_error_data(call->req, "refused", data,
				 "refused by the guest: " VETO, veto->name);
}

static const char *heard_code(const struct power_request *power)
{
	static const char *const codes[] = {
		[POWER_HEARD_BEGUN] = "begun",
		[POWER_HEARD_TAKEN] = "no-sign",
		[POWER_HEARD_NOT] = "not-taken",
		[POWER_HEARD_DEAF] = "deaf",
	};

	return power->presses ? codes[power->heard] : "begun";
}

/* What the user should check, judged from the presses. */
static const char *heard_hint(const struct power_request *power)
{
	if (!power->presses)
		return "the guest was falling asleep, or waking up, when it "
		       "was asked";
	switch (power->heard) {
	case POWER_HEARD_TAKEN:
		return "the guest's button driver took the press, but nothing "
		       "followed: no agent listens (evdev, and acpid or "
		       "logind), or something inhibits sleep "
		       "(systemd-inhibit --list)";
	case POWER_HEARD_NOT:
		return "the guest's kernel did not take the press: it hangs, "
		       "or is very slow";
	case POWER_HEARD_DEAF:
		return "the guest has stopped listening to the sleep button "
		       "(PM1_EN.SLPBTN_EN is clear): its button driver was "
		       "unloaded";
	case POWER_HEARD_BEGUN:
		break;
	}
	return "the guest has begun, and may still fall asleep";
}

/* Outcomes without details. */
static void reply_not_begun(struct control_request *req,
			    enum power_outcome outcome)
{
	switch (outcome) {
	case POWER_CANCELLED:
		control_reply_error(req, "cancelled",
				    "cancelled by a 'torpor resume'");
		break;
	case POWER_BLOCKED:
		control_reply_error(req, "blocked",
				    "the VM is paused, so its guest cannot go "
				    "to sleep: resume it first");
		break;
	case POWER_DEAF:
		control_reply_error(req, "deaf",
				    "the guest cannot hear the sleep button "
				    "(PM1_EN.SLPBTN_EN is clear): load its "
				    "button driver and run an agent");
		break;
	default:
		control_reply_error(req, "ended", "the VM has ended");
		break;
	}
}

/*
 * A guest that gives up before it has touched another device does so unseen:
 * then the deadline ends the request.
 */
static void reply_timeout(const struct suspend_call *call, long long ms)
{
	const struct vm_device *veto = vm_devices_veto(call->vm);
	const struct power_request *power = &call->power;
	json_t *data =
		json_pack("{s:I, s:i, s:s}", "ms", (json_int_t)ms, "presses",
			  (int)power->presses, "cause", heard_code(power));

	if (!veto) {
		control_reply_error_data(call->req, "timeout", data,
					 "timed out after %lld ms: %s", ms,
					 heard_hint(power));
		return;
	}
	(void)json_object_set_new(data, "device", json_string(veto->name));
	control_reply_error_data(
		call->req, "timeout", data,
		"timed out after %lld ms: the guest refused; " VETO, ms,
		veto->name);
}

static json_t *asleep_json(const struct suspend_call *call, long long ms)
{
	const struct power_request *power = &call->power;
	json_t *on = json_array(), *result;
	unsigned int at = 0;
	const char *name;

	result = json_pack("{s:s, s:I, s:s, s:b, s:i}", "outcome", "asleep",
			   "ms", (json_int_t)ms, "kind",
			   power_sleep_name(power->kind), "by_itself",
			   power->by_itself, "presses", (int)power->presses);
	while ((name = vm_vfio_left_on(call->vm, &at)))
		(void)json_array_append_new(on, json_string(name));
	if (json_array_size(on) > 0)
		(void)json_object_set(result, "stays_on", on);
	json_decref(on);
	return result;
}

static void reply_outcome(const struct suspend_call *call,
			  enum power_outcome outcome)
{
	const struct power_request *power = &call->power;
	const char *source = power->source ? power->source : "unknown";
	const char *device = power->device ? power->device : "unknown";
	long long ms = (long long)(power->elapsed_ns / NS_PER_MS);

	switch (outcome) {
	case POWER_ASLEEP:
		control_reply(call->req, asleep_json(call, ms));
		break;
	case POWER_PAUSED:
	case POWER_FORCED:
		control_reply(call->req, paused_json(power, outcome, ms));
		break;
	case POWER_REFUSED:
		reply_refused(call, ms);
		break;
	case POWER_TIMEOUT:
		reply_timeout(call, ms);
		break;
	case POWER_ABORTED:
		control_reply_error_data(call->req, "aborted",
					 json_pack("{s:s, s:I}", "source",
						   source, "ms",
						   (json_int_t)ms),
					 "aborted by wake source %s", source);
		break;
	case POWER_FAILED:
		control_reply_error_data(
			call->req, "failed",
			json_pack("{s:s}", "device", device),
			"device %s did not stop; the guest runs on", device);
		break;
	case POWER_CANCELLED:
	case POWER_BLOCKED:
	case POWER_DEAF:
	case POWER_ENDED:
	case POWER_NR_OUTCOMES:
		reply_not_begun(call->req, outcome);
		break;
	}
}

static void suspend_done(struct power_request *power,
			 enum power_outcome outcome)
{
	struct suspend_call *call =
		container_of(power, struct suspend_call, power);

	reply_outcome(call, outcome);
	free(call);
}

void request_suspend(struct control_request *req, json_t *args, void *ctx)
{
	static const char *const keys[] = { "timeout_ms", "full", "force",
					    "freeze_clock", NULL };
	struct vm *vm = commands_vm(ctx);
	struct suspend_call *call;
	bool full, force, freeze;
	uint64_t timeout_ns;

	if (!control_check_keys(req, args, keys) ||
	    !request_timeout(req, args, DEFAULT_SUSPEND_MS, &timeout_ns) ||
	    !request_flag(req, args, "full", &full) ||
	    !request_flag(req, args, "force", &force) ||
	    !request_flag(req, args, "freeze_clock", &freeze))
		return;
	if ((full && force) || (freeze && !full)) {
		control_reply_error(req, "invalid",
				    "freeze_clock needs full; force and full "
				    "exclude each other");
		return;
	}
	if (freeze && !guest_clock_can_freeze(vm->vm_fd)) {
		control_reply_error(req, "failed",
				    "freeze_clock: this host's KVM cannot "
				    "change a guest's TSC");
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		control_reply_error(req, "failed", "out of memory");
		return;
	}
	call->req = req;
	call->vm = vm;
	call->power.done = suspend_done;
	call->power.force = force;
	if (full)
		power_pause(&vm->power, &call->power, timeout_ns, freeze);
	else
		power_suspend(&vm->power, &call->power, timeout_ns);
}

/* The reply to wake and resume. @r: the coordinator's answer. */
static void reply_woken(struct control_request *req, struct vm *vm, int r)
{
	if (r < 0) {
		control_reply_error(req, "deaf",
				    "the guest listens to neither button "
				    "(PM1_EN clear), so it cannot be woken by "
				    "one");
		return;
	}
	control_reply(req,
		      json_pack("{s:s, s:b, s:b}", "state",
				power_state_name(power_get_state(&vm->power)),
				"paused", vm->power.pause != POWER_PAUSE_OFF,
				"by_itself",
				power_sleeps_by_itself(&vm->power)));
}

void request_wake(struct control_request *req, json_t *args, void *ctx)
{
	struct vm *vm = commands_vm(ctx);

	if (request_has_no_args(req, args))
		reply_woken(req, vm, power_wake_forced(&vm->power));
}

void request_resume(struct control_request *req, json_t *args, void *ctx)
{
	static const char *const keys[] = { "full", NULL };
	struct vm *vm = commands_vm(ctx);
	bool full;
	int r = 0;

	if (!control_check_keys(req, args, keys) ||
	    !request_flag(req, args, "full", &full))
		return;
	if (full)
		power_unpause(&vm->power);
	else
		r = power_cancel(&vm->power);
	reply_woken(req, vm, r);
}

static void press(struct control_request *req, json_t *args, struct vm *vm,
		  struct wake_source *button, const char *bit)
{
	if (!request_has_no_args(req, args))
		return;
	if (power_wake(&vm->power, button))
		control_reply(req, NULL);
	else if (button->off)
		control_reply_error(req, "off",
				    "the guest sleeps, and --wake %s=off "
				    "forbids this to wake it",
				    button->name);
	else
		control_reply_error(req, "deaf",
				    "the guest does not listen to this button "
				    "(PM1_EN.%s is clear): load its button "
				    "driver",
				    bit);
}

void request_powerbtn(struct control_request *req, json_t *args, void *ctx)
{
	struct vm *vm = commands_vm(ctx);

	press(req, args, vm, &vm->power.powerbtn, "PWRBTN_EN");
}

void request_sleepbtn(struct control_request *req, json_t *args, void *ctx)
{
	struct vm *vm = commands_vm(ctx);

	press(req, args, vm, &vm->power.sleepbtn, "SLPBTN_EN");
}
