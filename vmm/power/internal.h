/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the coordinator share; see vmm/power/power.h. */
#ifndef TORPOR_VMM_POWER_INTERNAL_H
#define TORPOR_VMM_POWER_INTERNAL_H

#include "vmm/power/power.h"

#define STEP(name)  POWER_STEP_##name
#define EVENT(name) POWER_EVENT_##name

static inline void power_lock(struct power *power)
{
	(void)pthread_mutex_lock(&power->lock);
}

static inline void power_unlock(struct power *power)
{
	(void)pthread_mutex_unlock(&power->lock);
}

/* --- step.c --- */
/*
 * Makes the transition of the table for @event, if this step has one. Lock
 * held. Return: whether it has; nothing else changes the step.
 */
bool power_move_locked(struct power *power, enum power_event event);
/* The same with the lock taken for it. Main loop. */
bool power_move(struct power *power, enum power_event event);
enum power_step power_get_step(struct power *power);
enum power_state power_state_of(enum power_step step);
/* Tells the VM of a state, once. Main loop. */
void power_announce_state(struct power *power, enum power_state state,
			  const struct wake_source *source);
/*
 * What the guest does from now on, for the trace: TRACE_FREEZES_DRIVERS ..., or
 * NULL for nothing that we know of. Lock held.
 */
void power_guest_does(struct power *power, const char *what);

/* --- power.c --- */
/* A wake event: devices first, then the vCPUs. @source: NULL if unknown. */
void power_resume(struct power *power, struct wake_source *source);
/* Nobody wants it any more, and the guest has not begun: it is awake. */
void power_give_up(struct power *power);

/* --- park.c; lock held --- */
void power_census_start(struct power *power, bool shallow);
void power_census_stop(struct power *power);
void power_unpark_all(struct power *power);
/* Has any vCPU parked? */
bool power_any_parked(const struct power *power);

/* --- wake.c --- */
void power_sources_init(struct power *power);
/*
 * The guest came back at @back_ns: of what was raised by then it has been told.
 * UINT64_MAX: it comes back now.
 */
void power_sources_delivered(struct power *power, uint64_t back_ns);
/*
 * Status bits may have been wiped since the event: ACPICA clears them all
 * before S1, and rtc-cmos the RTC's when it arms it. The latches were not.
 * Return: a source that the guest will notice, or NULL.
 */
struct wake_source *power_sources_raise_again(struct power *power);
/* @source ended a sleep of @slept_ns: once too often? */
void power_storm_count(struct power *power, struct wake_source *source,
		       uint64_t slept_ns);
void power_storm_over(struct power *power);

/* --- request.c --- */
/*
 * Presses the sleep button, if the guest is awake. Return: false if it cannot
 * hear it.
 */
bool power_press(struct power *power);
/* That was a while ago, and the guest may have dropped it: once more. */
void power_press_again(struct power *power);
/* The guest wakes; a press that it has not dealt with is a press all the same.
 */
void power_presses_left(struct power *power);
/* Ends every request; those that force become pauses. @device: or NULL. */
void power_requests_end(struct power *power, enum power_outcome outcome,
			const char *device);
/* Sets the timer of requests and pauses to the first deadline. */
void power_requests_rearm(struct power *power);
/* That has passed. */
void power_requests_deadline(struct power *power);
/* The guest begins to sleep by itself. */
void power_request_overtaken(struct power *power);
/* Tells one request; it may be freed. */
void power_request_done(struct power *power, struct power_request *req,
			enum power_outcome outcome, const char *device);

/* --- pause.c --- */
/* Starts or ends a pause if one is wanted and this is a moment for it. */
void power_pause_work(struct power *power);
/* A request becomes one for a pause that a device cannot prevent. */
void power_pause_force(struct power *power, struct power_request *req);
/* Answers of the devices, if they were moved for a pause. Return: whether. */
bool power_pause_quiesced(struct power *power, int r, const char *device);
bool power_pause_restarted(struct power *power);
/* Ends those whose deadline is at or before @until. */
void power_pauses_end(struct power *power, enum power_outcome outcome,
		      uint64_t until, const char *device);

#endif
