/* SPDX-License-Identifier: BSD-3-Clause */
/* Who asks the guest to sleep, and what they are told. Main loop. */
#include <errno.h>

#include "vmm/power/internal.h"

/*
 * When a press without a sign is repeated: well after the time that a guest
 * takes to freeze its processes, of which nothing can be seen; then ever less
 * often.
 */
#define PRESS_AGAIN_NS (4000 * NS_PER_MS)
#define PRESS_SLOW_NS  (60000 * NS_PER_MS)
/* How long a guest that was pressed twice and slept once may obey the second.
 */
#define PRESS_LEFT_NS (10000 * NS_PER_MS)

void power_requests_rearm(struct power *power)
{
	uint64_t first = UINT64_MAX, now = power->ops->now_ns(power);

	for (struct power_request *r = power->requests; r; r = r->next)
		first = MIN(first, r->deadline_ns);
	for (struct power_request *r = power->pauses; r; r = r->next)
		first = MIN(first, r->deadline_ns);
	if (first == UINT64_MAX)
		power->ops->timer_cancel(power, POWER_TIMER_REQUEST);
	else
		power->ops->timer_set(power, POWER_TIMER_REQUEST,
				      first > now ? first - now : 0);
}

/* Takes those whose deadline is at or before @until off @list. */
static struct power_request *take_due(struct power_request **list,
				      uint64_t until)
{
	struct power_request *due = NULL;

	while (*list) {
		struct power_request *req = *list;

		if (req->deadline_ns > until) {
			list = &req->next;
			continue;
		}
		*list = req->next;
		req->next = due;
		due = req;
	}
	return due;
}

void power_request_done(struct power *power, struct power_request *req,
			enum power_outcome outcome, const char *device)
{
	req->elapsed_ns = power->ops->now_ns(power) - req->start_ns;
	req->device = device;
	/* Else a vCPU thread may be writing it. */
	if (outcome == POWER_ASLEEP) {
		req->kind = power->kind;
		req->by_itself = power->onset == POWER_ONSET_GUEST;
	}
	power_stats_request(&power->stats, outcome);
	trace_record(power->trace, TRACE_END, TRACE_REQUEST, TRACE_SUSPEND,
		     power_outcome_name(outcome), TRACE_NO_VALUE);
	req->done(req, outcome);
}

/* Whatever keeps a guest from sleeping; not what its clients want. */
static bool may_force(enum power_outcome outcome)
{
	return outcome == POWER_REFUSED || outcome == POWER_TIMEOUT ||
	       outcome == POWER_ABORTED || outcome == POWER_DEAF ||
	       outcome == POWER_FAILED;
}

/* The guest has begun, as far as can be seen from here. */
static bool gave_sign(struct power *power)
{
	bool sign;

	power_lock(power);
	sign = power->step != POWER_STEP_PARKING ||
	       power->onset != POWER_ONSET_ASKED ||
	       power->lps0 == POWER_LPS0_IN || power_any_parked(power);
	power_unlock(power);
	return sign || power->devices_left;
}

static enum power_heard what_was_heard(struct power *power)
{
	struct acpi_pm_regs regs = acpi_pm_get(power->pm);

	if (gave_sign(power))
		return POWER_HEARD_BEGUN;
	if (!(regs.pm1_en & ACPI_PM1_SLPBTN))
		return POWER_HEARD_DEAF;
	return regs.pm1_sts & ACPI_PM1_SLPBTN ? POWER_HEARD_NOT
					      : POWER_HEARD_TAKEN;
}

static void presses_over(struct power *power, enum power_outcome outcome)
{
	unsigned int all = power->presses + power->carried;

	/* What is beyond the one that it slept for may come through yet. */
	if (outcome == POWER_ASLEEP && all > 1) {
		power->unwanted = all - 1;
		power->unwanted_until_ns = UINT64_MAX;
	}
	power->presses = power->carried = 0;
	power->ops->timer_cancel(power, POWER_TIMER_PRESS);
}

static void end_due(struct power *power, enum power_outcome outcome,
		    uint64_t until, const char *device)
{
	struct power_request *due = take_due(&power->requests, until);
	enum power_heard heard = what_was_heard(power);
	unsigned int presses = power->presses;

	if (!power->requests) {
		power->devices_left = 0;
		power->press_wanted = false;
		presses_over(power, outcome);
	}
	while (due) {
		struct power_request *req = due;

		due = req->next;
		req->presses = presses;
		req->heard = heard;
		req->source = outcome == POWER_ABORTED && power->wake_source
				      ? power->wake_source->name
				      : NULL;
		if (req->force && may_force(outcome)) {
			req->because = outcome;
			power_pause_force(power, req);
		} else {
			power_request_done(power, req, outcome, device);
		}
	}
	power_requests_rearm(power);
}

void power_requests_end(struct power *power, enum power_outcome outcome,
			const char *device)
{
	end_due(power, outcome, UINT64_MAX, device);
}

void power_pauses_end(struct power *power, enum power_outcome outcome,
		      uint64_t until, const char *device)
{
	struct power_request *due = take_due(&power->pauses, until);

	while (due) {
		struct power_request *req = due;
		bool forced = outcome == POWER_PAUSED && req->force;

		due = req->next;
		power_request_done(power, req, forced ? POWER_FORCED : outcome,
				   device);
	}
	power_requests_rearm(power);
}

void power_requests_deadline(struct power *power)
{
	uint64_t now = power->ops->now_ns(power);

	end_due(power, POWER_TIMEOUT, now, NULL);
	power_pauses_end(power, POWER_TIMEOUT, now, NULL);
	if (!power->pauses && power->pause != POWER_PAUSE_ON)
		power->pause_wanted = false;
	if (!power->requests)
		power_give_up(power);
}

bool power_sleeps_by_itself(struct power *power)
{
	enum power_state state;
	bool own;

	power_lock(power);
	state = power_state_of(power->step);
	own = power->onset == POWER_ONSET_GUEST;
	power_unlock(power);
	return own && (state == POWER_SUSPENDING || state == POWER_SUSPENDED);
}

bool power_press(struct power *power)
{
	bool awake;

	if (!(acpi_pm_get(power->pm).pm1_en & ACPI_PM1_SLPBTN))
		return false;
	power_lock(power);
	awake = power_move_locked(power, POWER_EVENT_PRESS);
	if (awake) {
		power->onset = POWER_ONSET_ASKED;
		/* A slow guest may be on its way out of the last sleep. */
		if (power->lps0 == POWER_LPS0_IN)
			power->lps0 = POWER_LPS0_OLD;
		if (power->notes & POWER_NOTE_EXIT)
			power->notes |= POWER_NOTE_OLD_EXIT;
		power->notes &= ~POWER_NOTE_EXIT;
	}
	power_unlock(power);
	if (!awake)
		return true;
	/* The guest may sleep for one of those now, and for ours afterwards. */
	power->carried = power->unwanted_until_ns > power->ops->now_ns(power)
				 ? power->unwanted
				 : 0;
	power->unwanted = 0;
	power->presses = 1;
	power->press_delay_ns = PRESS_AGAIN_NS;
	power->ops->timer_set(power, POWER_TIMER_PRESS, power->press_delay_ns);
	power->ops->timer_cancel(power, POWER_TIMER_REFUSED);
	power->ops->timer_cancel(power, POWER_TIMER_RESUME);
	power->ops->timer_cancel(power, POWER_TIMER_SHALLOW);
	power->wake_source = NULL;
	power_stats_begun(&power->stats, POWER_BY_REQUEST,
			  power->ops->now_ns(power));
	power_announce_state(power, POWER_SUSPENDING, NULL);
	acpi_pm_raise(power->pm, ACPI_PM1_SLPBTN, 0);
	return true;
}

/*
 * Not one that has begun: a press counts as a wake event there, and its key
 * would wait for the guest to wake. Nor one that has not even taken the last
 * press.
 */
void power_press_again(struct power *power)
{
	struct acpi_pm_regs regs = acpi_pm_get(power->pm);

	if (!power->requests || !power->presses || gave_sign(power))
		return;
	if (power->pause == POWER_PAUSE_OFF) {
		if (regs.pm1_en & ~regs.pm1_sts & ACPI_PM1_SLPBTN) {
			power->presses++;
			acpi_pm_raise(power->pm, ACPI_PM1_SLPBTN, 0);
		}
		power->press_delay_ns =
			MIN(2 * power->press_delay_ns, PRESS_SLOW_NS);
	}
	power->ops->timer_set(power, POWER_TIMER_PRESS, power->press_delay_ns);
}

void power_presses_left(struct power *power)
{
	if (power->unwanted)
		power->unwanted_until_ns =
			power->ops->now_ns(power) + PRESS_LEFT_NS;
}

void power_suspend(struct power *power, struct power_request *req,
		   uint64_t timeout_ns)
{
	enum power_state state = power_get_state(power);

	req->start_ns = power->ops->now_ns(power);
	req->deadline_ns = req->start_ns + timeout_ns;
	trace_begin(power->trace, TRACE_REQUEST, TRACE_SUSPEND);
	if (state == POWER_SUSPENDED) {
		power_request_done(power, req, POWER_ASLEEP, NULL);
		return;
	}
	if (power->pause_wanted) {
		/* The guest does not run, and so cannot go to sleep. */
		if (!req->force) {
			power_request_done(power, req, POWER_BLOCKED, NULL);
			return;
		}
		req->force = false; /* not forced: paused already, or soon */
		power_pause_force(power, req);
		power_requests_rearm(power);
		power_pause_work(power);
		return;
	}
	req->next = power->requests;
	power->requests = req;
	/*
	 * On its way down it must not be disturbed; on its way up its devices
	 * may still be moving: press later.
	 */
	if (state == POWER_RESUMING)
		power->press_wanted = true;
	else if (state == POWER_RUNNING && !power_press(power))
		power_requests_end(power, POWER_DEAF, NULL);
	power_requests_rearm(power);
	power_pause_work(power);
}

/* The end of what was cancelled: a guest that obeys late is woken until then */
static uint64_t last_deadline(const struct power *power)
{
	uint64_t last = 0;

	for (const struct power_request *r = power->requests; r; r = r->next)
		last = MAX(last, r->deadline_ns);
	return last;
}

int power_cancel(struct power *power)
{
	enum power_state state;
	uint64_t until = last_deadline(power);
	unsigned int presses = power->presses + power->carried;
	bool asked;
	int r = 0;

	power_requests_end(power, POWER_CANCELLED, NULL);
	power_pauses_end(power, POWER_CANCELLED, UINT64_MAX, NULL);
	power_lock(power);
	state = power_state_of(power->step);
	asked = power->onset == POWER_ONSET_ASKED;
	power_unlock(power);
	if (state == POWER_SUSPENDING && asked) {
		/* What was pressed is out and cannot be taken back. */
		power->unwanted = presses;
		power->unwanted_until_ns = until;
		power_give_up(power);
	} else if (!power_sleeps_by_itself(power)) {
		r = power_wake_forced(power);
	}
	power_unpause(power);
	return r;
}

void power_request_overtaken(struct power *power)
{
	if (!power->unwanted)
		return;
	if (power->unwanted_until_ns <= power->ops->now_ns(power)) {
		power->unwanted = 0;
		return;
	}
	power->unwanted--;
	(void)!power_wake_forced(power); /* deaf: nothing can */
}
