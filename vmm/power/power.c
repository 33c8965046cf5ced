/* SPDX-License-Identifier: BSD-3-Clause */
/* The coordinator's way down and up, on the main loop; see vmm/power/power.h.
 */
#include <assert.h>
#include <errno.h>

#include "vmm/power/internal.h"

/*
 * From unparking until LPS0 exit C2 reads return at once, at most this long.
 * One that has told LPS0 entry will tell the exit, so it is waited for longer:
 * on a slow host it takes more than the first, and a CPU that is back in the
 * port before it would be taken for the next sleep.
 */
#define RESUME_NS      (20 * NS_PER_MS)
#define RESUME_LPS0_NS (200 * NS_PER_MS)
/* LPS0 entry, but no C2 read after this: the guest may have no C2. */
#define SHALLOW_FIRST_NS   (200 * NS_PER_MS)
#define SHALLOW_AGAIN_NS   (50 * NS_PER_MS)
#define SHALLOW_SLOW_NS	   (1000 * NS_PER_MS)
#define SHALLOW_FAST_TRIES 20U
/*
 * A guest that has come back by itself is not asked twice, but may try again:
 * one with autosleep takes the press of the button for a wake event, if it was
 * on its way already, and goes to sleep right after that.
 */
#define REFUSED_NS (1000 * NS_PER_MS)
/* So many checks in a row without a vCPU asleep: the guest has come back. */
#define AWAKE_CHECKS 2U

static void timer_set(struct power *power, enum power_timer timer,
		      uint64_t delay_ns)
{
	power->ops->timer_set(power, timer, delay_ns);
}

static void timers_cancel(struct power *power)
{
	power->ops->timer_cancel(power, POWER_TIMER_SHALLOW);
	power->ops->timer_cancel(power, POWER_TIMER_RESUME);
}

/* ------------------------------------------------------------------- life */

void power_init(struct power *power, const struct power_ops *ops,
		struct acpi_pm *pm, uint32_t wake_gpe, unsigned int nr_vcpus)
{
	pthread_condattr_t attr;

	assert(nr_vcpus <= POWER_MAX_VCPUS);
	*power = (struct power){
		.ops = ops, .pm = pm, .wake_gpe = wake_gpe, .nr_vcpus = nr_vcpus
	};
	(void)pthread_mutex_init(&power->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&power->cond, &attr);
	(void)pthread_condattr_destroy(&attr);
	power_sources_init(power);
}

void power_finish(struct power *power)
{
	if (!power->ops)
		return;
	(void)pthread_cond_destroy(&power->cond);
	(void)pthread_mutex_destroy(&power->lock);
}

void power_stop(struct power *power)
{
	if (!power->ops)
		return;
	power_lock(power);
	power->stopping = true;
	power_unpark_all(power);
	power_unlock(power);
	power_requests_end(power, POWER_ENDED, NULL);
	power_pauses_end(power, POWER_ENDED, UINT64_MAX, NULL);
}

/* ------------------------------------------------------- down and back up */

static void stats_running(struct power *power)
{
	power_stats_running(&power->stats, power->ops->now_ns(power),
			    &power->last_wake_latency_ns);
}

/* A sleep is over: requests that came on the way up begin a new one. */
static void woken(struct power *power)
{
	bool wanted = power->press_wanted;

	power->press_wanted = false;
	power_announce_state(power, POWER_RUNNING, NULL);
	if (wanted && !power_press(power))
		power_requests_end(power, POWER_DEAF, NULL);
}

/* The guest is awake although it had begun to sleep. */
static void came_back(struct power *power)
{
	bool moved;

	power_lock(power);
	moved = power_move_locked(power, EVENT(CAME_BACK));
	if (moved) {
		power->notes &= ~POWER_NOTE_QUIET;
		power_unpark_all(power);
	}
	power_unlock(power);
	if (!moved)
		return;
	timers_cancel(power);
	/* Here it is what the launcher wanted. */
	power_source_clear(power, &power->launcher);
	power_announce_state(power, POWER_RUNNING, NULL);
	if (power->wake_source)
		power_requests_end(power, POWER_ABORTED, NULL);
	else if (power->requests)
		timer_set(power, POWER_TIMER_REFUSED, REFUSED_NS);
	power->wake_source = NULL;
}

void power_give_up(struct power *power)
{
	bool idle;

	power_lock(power);
	idle = power->lps0 != POWER_LPS0_IN && !power_any_parked(power) &&
	       power_move_locked(power, EVENT(GIVEN_UP));
	power_unlock(power);
	if (!idle)
		return;
	power->ops->timer_cancel(power, POWER_TIMER_SHALLOW);
	power_announce_state(power, POWER_RUNNING, NULL);
}

void power_resume(struct power *power, struct wake_source *source)
{
	uint64_t now = power->ops->now_ns(power);
	bool slept, moved;

	power_lock(power);
	slept = power->step == STEP(ASLEEP);
	moved = power_move_locked(power, EVENT(WAKE));
	power_unlock(power);
	if (!moved)
		return;
	if (source) {
		power->last_wake = source;
		power->last_wake_ns = now;
		power->last_wake_latency_ns = 0;
		source->wakes += slept;
	}
	power_stats_woke(&power->stats, slept, now);
	if (slept)
		power_presses_left(power);
	if (source)
		power_storm_count(power, source,
				  slept ? now - power->slept_at_ns : 0);
	power->wake_source = source;
	if (!slept)
		power_requests_end(power, POWER_ABORTED, NULL);
	power->wake_source = NULL;
	trace_instant(power->trace, TRACE_POWER, TRACE_WAKE,
		      source ? source->name : NULL);
	power_announce_state(power, POWER_RESUMING, source);
	trace_begin(power->trace, TRACE_POWER, TRACE_START_DEVICES);
	power->ops->restart(power);
}

/* Devices are back after a wake event. */
static void restarted(struct power *power)
{
	bool s1, lps0;

	power_lock(power);
	lps0 = power->lps0 == POWER_LPS0_IN;
	s1 = power->kind == POWER_SLEEP_S1 &&
	     power_move_locked(power, EVENT(S1_RETURN));
	if (s1)
		power_sources_delivered(power, UINT64_MAX);
	else
		(void)power_move_locked(power, EVENT(DEVICES_BACK));
	trace_instant(power->trace, TRACE_POWER, TRACE_LET_GO, NULL);
	power_unpark_all(power);
	power_unlock(power);
	power_stats_released(&power->stats, power->ops->now_ns(power));
	if (s1) {
		stats_running(power);
		woken(power);
	} else {
		timer_set(power, POWER_TIMER_RESUME,
			  lps0 ? RESUME_LPS0_NS : RESUME_NS);
	}
}

/* Devices are back after a sleep that was none. */
static void undone(struct power *power)
{
	power_lock(power);
	(void)power_move_locked(power, EVENT(DEVICES_BACK));
	power_unpark_all(power);
	power_unlock(power);
	timer_set(power, POWER_TIMER_SHALLOW, SHALLOW_FIRST_NS);
}

void power_restarted(struct power *power)
{
	if (power_pause_restarted(power))
		return;
	switch (power_get_step(power)) {
	case STEP(RESTARTING):
		trace_end(power->trace, TRACE_POWER, TRACE_START_DEVICES);
		restarted(power);
		break;
	case STEP(UNDOING):
		trace_end(power->trace, TRACE_POWER, TRACE_START_DEVICES);
		undone(power);
		break;
	default: /* one too many */
		return;
	}
	power_pause_work(power);
}

/* Brings the devices back. */
static void undo(struct power *power, enum power_event event)
{
	bool moved;

	power_lock(power);
	moved = power_move_locked(power, event);
	if (moved)
		power_census_stop(power);
	power_unlock(power);
	if (!moved)
		return;
	trace_begin(power->trace, TRACE_POWER, TRACE_START_DEVICES);
	power->ops->restart(power);
}

void power_quiesced(struct power *power, int r, const char *device)
{
	if (power_pause_quiesced(power, r, device))
		return;
	if (power_get_step(power) == STEP(QUIESCING))
		trace_end(power->trace, TRACE_POWER, TRACE_STOP_DEVICES);
	if (r >= 0) {
		power_lock(power);
		if (power->step == STEP(QUIESCING) &&
		    power_move_locked(power, EVENT(QUIET)))
			power_census_start(power, power->census_shallow);
		power_unlock(power);
		return;
	}
	if (power_get_step(power) != STEP(QUIESCING))
		return;
	power_requests_end(power, POWER_FAILED, device);
	undo(power, EVENT(FAILED));
}

/* All parked, devices stopped, nothing pending: but a latch may be set. */
static void final_check(struct power *power)
{
	struct wake_source *source = power_sources_raise_again(power);

	if (source || acpi_pm_sci_pending(power->pm)) {
		power_resume(power, source ? source : power->wake_source);
		return;
	}
	if (!power_move(power, EVENT(QUIET)))
		return;
	power->cycles++;
	power->slept_at_ns = power->ops->now_ns(power);
	power_stats_slept(&power->stats, power->kind, power->slept_at_ns);
	power->wake_source = NULL;
	power_announce_state(power, POWER_SUSPENDED, NULL);
	power_requests_end(power, POWER_ASLEEP, NULL);
}

static void on_census_ok(struct power *power)
{
	bool quiesce = false, last = false;

	power_lock(power);
	if (!(power->notes & POWER_NOTE_QUIET)) { /* it has come back since */
		power_unlock(power);
		return;
	}
	power->notes &= ~POWER_NOTE_QUIET;
	if (power->step == STEP(PARKING))
		quiesce = power_move_locked(power, EVENT(QUIET));
	else
		last = power->step == STEP(CHECKING);
	if ((quiesce || last) && power->census_shallow)
		power->kind = POWER_SLEEP_SHALLOW;
	power_unlock(power);
	power->ops->timer_cancel(power, POWER_TIMER_SHALLOW);
	if (quiesce) {
		trace_begin(power->trace, TRACE_POWER, TRACE_STOP_DEVICES);
		power->ops->quiesce(power);
	} else if (last) {
		final_check(power);
	}
}

static void on_entered(struct power *power)
{
	/* It may have gone round faster than we were told. */
	if (power->announced == POWER_RESUMING ||
	    power->announced == POWER_SUSPENDED) {
		power->ops->timer_cancel(power, POWER_TIMER_RESUME);
		power_announce_state(power, POWER_RUNNING, NULL);
	}
	if (power_get_state(power) != POWER_SUSPENDING)
		return;
	if (!power->requests)
		power->wake_source = NULL;
	power->press_wanted = false; /* it went by itself */
	power->ops->timer_cancel(power, POWER_TIMER_REFUSED);
	if (power->announced != POWER_SUSPENDING)
		power_stats_begun(&power->stats, POWER_BY_GUEST,
				  power->ops->now_ns(power));
	power_announce_state(power, POWER_SUSPENDING, NULL);
	power->shallow_tries = 0;
	power->awake_checks = 0;
	timer_set(power, POWER_TIMER_SHALLOW, SHALLOW_FIRST_NS);
	power_request_overtaken(power);
}

/* The guest came back at @exit_ns; @again: and has left again since. */
static void on_lps0_exit(struct power *power, uint64_t exit_ns, bool again)
{
	stats_running(power);
	power_sources_delivered(power, exit_ns);
	if (again)
		return;
	power->ops->timer_cancel(power, POWER_TIMER_RESUME);
	if (power_get_step(power) == STEP(RELEASED) &&
	    power_move(power, EVENT(CAME_BACK)))
		woken(power);
	else if (power_get_state(power) == POWER_SUSPENDING)
		came_back(power);
	else
		power_announce_state(power, power_get_state(power), NULL);
}

void power_poll(struct power *power)
{
	unsigned int notes;
	uint64_t exit_ns;
	bool again;

	power_lock(power);
	notes = power->notes;
	/* It stays until it is acted upon, which is not in a pause. */
	power->notes &= POWER_NOTE_QUIET;
	if (power->pause != POWER_PAUSE_OFF)
		notes &= ~POWER_NOTE_QUIET;
	again = !(notes & POWER_NOTE_EXIT) || power->lps0 == POWER_LPS0_IN;
	exit_ns = power->exit_ns;
	power_unlock(power);

	if (notes & (POWER_NOTE_EXIT | POWER_NOTE_OLD_EXIT))
		on_lps0_exit(power, exit_ns, again);
	if (notes & POWER_NOTE_ENTERED)
		on_entered(power);
	if (notes & POWER_NOTE_BUSY)
		undo(power, EVENT(BUSY));
	if (notes & POWER_NOTE_QUIET)
		on_census_ok(power);
	power_pause_work(power);
}

/* ----------------------------------------------------------------- timers */

static void shallow_check(struct power *power)
{
	bool parked, lps0, awake;

	power_lock(power);
	if (power->step != STEP(PARKING) || power->pause != POWER_PAUSE_OFF) {
		power_unlock(power);
		return;
	}
	parked = power_any_parked(power);
	/* A vCPU may have gone down without a read; or none has a C2. */
	lps0 = power->lps0 == POWER_LPS0_IN;
	if (!power->census_missing && !(power->notes & POWER_NOTE_QUIET) &&
	    (parked || lps0))
		power_census_start(power, !parked);
	awake = power->onset != POWER_ONSET_ASKED && !parked && !lps0;
	power_unlock(power);
	/* A guest without LPS0 that reads the port no more: not one that does
	 * so now and then while its last CPU is on its way. */
	power->awake_checks = awake ? power->awake_checks + 1 : 0;
	if (power->awake_checks >= AWAKE_CHECKS) {
		came_back(power);
		return;
	}
	timer_set(power, POWER_TIMER_SHALLOW,
		  power->shallow_tries++ < SHALLOW_FAST_TRIES
			  ? SHALLOW_AGAIN_NS
			  : SHALLOW_SLOW_NS);
}

void power_timer_fired(struct power *power, enum power_timer timer)
{
	switch (timer) {
	case POWER_TIMER_SHALLOW:
		shallow_check(power);
		break;
	case POWER_TIMER_RESUME:
		if (power_move(power, EVENT(SILENT))) {
			power_sources_delivered(power, UINT64_MAX);
			woken(power);
		}
		break;
	case POWER_TIMER_REQUEST:
		power_requests_deadline(power);
		break;
	case POWER_TIMER_REFUSED:
		if (power_get_step(power) == STEP(AWAKE))
			power_requests_end(power, POWER_REFUSED, NULL);
		break;
	case POWER_TIMER_STORM:
		power_storm_over(power);
		break;
	case POWER_TIMER_PRESS:
		power_press_again(power);
		break;
	case POWER_NR_TIMERS:
		break;
	}
	power_pause_work(power);
}

/* ---------------------------------------------------------------- devices */

void power_device_left(struct power *power)
{
	if (power->requests)
		power->devices_left++;
}

void power_device_live(struct power *power)
{
	if (!power->devices_left || --power->devices_left > 0)
		return;
	if (power_get_state(power) == POWER_SUSPENDING)
		came_back(power);
	power_pause_work(power);
}
