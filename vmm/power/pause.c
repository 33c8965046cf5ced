/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pause: vCPUs held and devices stopped, whatever the guest does, for a
 * host that goes to sleep itself. It nests with the guest's own sleep: devices
 * are moved by one of the two at a time, so it begins only in a step in which
 * they rest, and while it lasts no transition that moves them is made. A guest
 * that sleeps has its devices stopped already; wake events wait for the end of
 * the pause. Main loop.
 */
#include "vmm/power/internal.h"

bool power_is_paused(const struct power *power)
{
	return power->pause == POWER_PAUSE_ON;
}

/* vCPU threads that are parked look at it. */
static void set_pause(struct power *power, enum power_pause pause)
{
	power_lock(power);
	power->pause = pause;
	(void)pthread_cond_broadcast(&power->cond);
	power_unlock(power);
}

/* Devices neither are on their way nor will be before this is asked again. */
static bool devices_rest(enum power_step step)
{
	return step == POWER_STEP_AWAKE || step == POWER_STEP_PARKING ||
	       step == POWER_STEP_ASLEEP || step == POWER_STEP_RELEASED;
}

static void tell(struct power *power, bool paused)
{
	trace_record(power->trace, paused ? TRACE_BEGIN : TRACE_END,
		     TRACE_REQUEST, "paused", NULL, TRACE_NO_VALUE);
	power->ops->paused(power, paused);
}

/* @device: one that did not stop, in a pause that was forced; or NULL. */
static void is_on(struct power *power, const char *device)
{
	set_pause(power, POWER_PAUSE_ON);
	power->paused_at_ns = power->ops->now_ns(power);
	tell(power, true);
	power_pauses_end(power, POWER_PAUSED, UINT64_MAX, device);
}

static void begin(struct power *power)
{
	set_pause(power, POWER_PAUSE_STARTING);
	/* No census, and no wake-up for one. */
	power->ops->timer_cancel(power, POWER_TIMER_SHALLOW);
	power->ops->vcpus_hold(power);
	if (power_get_step(power) == POWER_STEP_ASLEEP)
		is_on(power, NULL);
	else
		power->ops->quiesce(power);
}

/* The devices are back, or a sleep keeps them: the vCPUs may go. */
static void is_off(struct power *power)
{
	bool was_on = power->pause == POWER_PAUSE_ENDING;
	struct wake_source *source;

	if (was_on)
		power_stats_paused(&power->stats, power->ops->now_ns(power) -
							  power->paused_at_ns);
	set_pause(power, POWER_PAUSE_OFF);
	power->ops->vcpus_release(power);
	if (was_on)
		tell(power, false);
	else
		power->ops->pause_failed(power);
	/* What was put off: looks, a census that ended, a wake event. */
	power->ops->timer_set(power, POWER_TIMER_SHALLOW, 0);
	power->ops->post(power);
	if (power_get_step(power) != POWER_STEP_ASLEEP)
		return;
	source = power_sources_raise_again(power);
	if (source || acpi_pm_sci_pending(power->pm))
		power_resume(power, source);
}

/* Clocks first, then devices, then vCPUs. */
static void end(struct power *power, enum power_pause how)
{
	set_pause(power, how);
	power->ops->set_clock(power, power->freeze_clock);
	power->freeze_clock = false;
	if (power_get_step(power) == POWER_STEP_ASLEEP)
		is_off(power);
	else
		power->ops->restart(power);
}

void power_pause_work(struct power *power)
{
	if (power->pause_wanted && power->pause == POWER_PAUSE_OFF &&
	    devices_rest(power_get_step(power)))
		begin(power);
	if (!power->pause_wanted && power->pause == POWER_PAUSE_ON)
		end(power, POWER_PAUSE_ENDING);
}

bool power_pause_quiesced(struct power *power, int r, const char *device)
{
	if (power->pause != POWER_PAUSE_STARTING)
		return false;
	if (r >= 0 || power->pause_forced) {
		is_on(power, r < 0 ? device : NULL);
	} else {
		/* Back, and the reply names the device. */
		power->pause_wanted = false;
		power_pauses_end(power, POWER_FAILED, UINT64_MAX, device);
		end(power, POWER_PAUSE_FAILING);
	}
	power_pause_work(power);
	return true;
}

bool power_pause_restarted(struct power *power)
{
	if (power->pause != POWER_PAUSE_ENDING &&
	    power->pause != POWER_PAUSE_FAILING)
		return false;
	is_off(power);
	power_pause_work(power);
	return true;
}

/* One that was taken back before it began leaves nothing to the next. */
static void want(struct power *power, struct power_request *req, bool freeze,
		 bool force)
{
	if (!power->pause_wanted) {
		power->freeze_clock = freeze;
		power->pause_forced = false;
	}
	power->pause_forced |= force;
	req->next = power->pauses;
	power->pauses = req;
	power->pause_wanted = true;
	if (power->pause == POWER_PAUSE_ON)
		power_pauses_end(power, POWER_PAUSED, UINT64_MAX, NULL);
}

void power_pause_force(struct power *power, struct power_request *req)
{
	/* It had its time; what stops devices has one of its own. */
	req->deadline_ns = UINT64_MAX;
	want(power, req, false, true);
}

void power_pause(struct power *power, struct power_request *req,
		 uint64_t timeout_ns, bool freeze)
{
	req->start_ns = power->ops->now_ns(power);
	req->deadline_ns = req->start_ns + timeout_ns;
	req->force = false;
	trace_begin(power->trace, TRACE_REQUEST, TRACE_SUSPEND);
	want(power, req, freeze, false);
	power_requests_rearm(power);
	power_pause_work(power);
}

void power_unpause(struct power *power)
{
	power->pause_wanted = false;
	power_pauses_end(power, POWER_CANCELLED, UINT64_MAX, NULL);
	power_pause_work(power);
}
