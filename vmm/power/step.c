/* SPDX-License-Identifier: BSD-3-Clause */
/* The coordinator's table of transitions, its names, and what it announces. */
#include "vmm/power/internal.h"

/* docs/power.md draws it and says what each row means. */
const struct power_transition power_transitions[POWER_NR_TRANSITIONS] = {
	{ STEP(AWAKE), EVENT(PRESS), STEP(PARKING) },
	{ STEP(AWAKE), EVENT(SIGN), STEP(PARKING) },
	{ STEP(PARKING), EVENT(QUIET), STEP(QUIESCING) },
	{ STEP(PARKING), EVENT(CAME_BACK), STEP(AWAKE) },
	{ STEP(PARKING), EVENT(GIVEN_UP), STEP(AWAKE) },
	{ STEP(QUIESCING), EVENT(QUIET), STEP(CHECKING) },
	{ STEP(QUIESCING), EVENT(FAILED), STEP(UNDOING) },
	{ STEP(CHECKING), EVENT(QUIET), STEP(ASLEEP) },
	{ STEP(CHECKING), EVENT(BUSY), STEP(UNDOING) },
	{ STEP(CHECKING), EVENT(WAKE), STEP(RESTARTING) },
	{ STEP(UNDOING), EVENT(DEVICES_BACK), STEP(PARKING) },
	{ STEP(ASLEEP), EVENT(WAKE), STEP(RESTARTING) },
	{ STEP(RESTARTING), EVENT(DEVICES_BACK), STEP(RELEASED) },
	{ STEP(RESTARTING), EVENT(S1_RETURN), STEP(AWAKE) },
	{ STEP(RELEASED), EVENT(CAME_BACK), STEP(AWAKE) },
	{ STEP(RELEASED), EVENT(SILENT), STEP(AWAKE) },
	{ STEP(RELEASED), EVENT(SIGN), STEP(PARKING) },
};

/* ------------------------------------------------------------------ names */

const char *power_state_name(enum power_state state)
{
	static const char *const names[] = {
		[POWER_RUNNING] = "RUNNING",
		[POWER_SUSPENDING] = "SUSPENDING",
		[POWER_SUSPENDED] = "SUSPENDED",
		[POWER_RESUMING] = "RESUMING",
	};

	return names[state];
}

const char *power_sleep_name(enum power_sleep kind)
{
	static const char *const names[] = {
		[POWER_SLEEP_S2IDLE] = "s2idle",
		[POWER_SLEEP_SHALLOW] = "shallow",
		[POWER_SLEEP_S1] = "s1",
	};

	return names[kind];
}

const char *power_step_name(enum power_step step)
{
	static const char *const names[POWER_NR_STEPS] = {
		[STEP(AWAKE)] = "AWAKE",
		[STEP(PARKING)] = "PARKING",
		[STEP(QUIESCING)] = "QUIESCING",
		[STEP(CHECKING)] = "CHECKING",
		[STEP(UNDOING)] = "UNDOING",
		[STEP(ASLEEP)] = "ASLEEP",
		[STEP(RESTARTING)] = "RESTARTING",
		[STEP(RELEASED)] = "RELEASED",
	};

	return names[step];
}

const char *power_event_name(enum power_event event)
{
	static const char *const names[POWER_NR_EVENTS] = {
		[EVENT(PRESS)] = "PRESS",
		[EVENT(SIGN)] = "SIGN",
		[EVENT(QUIET)] = "QUIET",
		[EVENT(BUSY)] = "BUSY",
		[EVENT(FAILED)] = "FAILED",
		[EVENT(WAKE)] = "WAKE",
		[EVENT(DEVICES_BACK)] = "DEVICES_BACK",
		[EVENT(S1_RETURN)] = "S1_RETURN",
		[EVENT(CAME_BACK)] = "CAME_BACK",
		[EVENT(SILENT)] = "SILENT",
		[EVENT(GIVEN_UP)] = "GIVEN_UP",
	};

	return names[event];
}

/* ------------------------------------------------------------------ steps */

enum power_state power_state_of(enum power_step step)
{
	switch (step) {
	case STEP(PARKING):
	case STEP(QUIESCING):
	case STEP(CHECKING):
	case STEP(UNDOING):
		return POWER_SUSPENDING;
	case STEP(ASLEEP):
		return POWER_SUSPENDED;
	case STEP(RESTARTING):
	case STEP(RELEASED):
		return POWER_RESUMING;
	case STEP(AWAKE):
	case POWER_NR_STEPS:
		break;
	}
	return POWER_RUNNING;
}

void power_guest_does(struct power *power, const char *what)
{
	if (power->guest_span)
		trace_end(power->trace, TRACE_GUEST, power->guest_span);
	power->guest_span = what;
	if (what)
		trace_begin(power->trace, TRACE_GUEST, what);
}

bool power_move_locked(struct power *power, enum power_event event)
{
	for (unsigned int i = 0; i < POWER_NR_TRANSITIONS; i++) {
		const struct power_transition *t = &power_transitions[i];

		if (t->from != power->step || t->event != event)
			continue;
		power->step = t->to;
		power->moves[i]++;
		if (t->to == STEP(PARKING) && t->from != STEP(UNDOING))
			power_guest_does(power, TRACE_FREEZES_DRIVERS);
		else if (t->to == STEP(AWAKE) || t->to == STEP(QUIESCING))
			power_guest_does(power, NULL);
		else if (t->to == STEP(RELEASED))
			power_guest_does(power, TRACE_THAWS_CPUS);
		return true;
	}
	return false;
}

bool power_move(struct power *power, enum power_event event)
{
	bool moved;

	power_lock(power);
	moved = power_move_locked(power, event);
	power_unlock(power);
	return moved;
}

enum power_step power_get_step(struct power *power)
{
	enum power_step step;

	power_lock(power);
	step = power->step;
	power_unlock(power);
	return step;
}

enum power_state power_get_state(struct power *power)
{
	return power_state_of(power_get_step(power));
}

enum power_sleep power_get_kind(struct power *power)
{
	enum power_sleep kind;

	power_lock(power);
	kind = power->kind;
	power_unlock(power);
	return kind;
}

void power_announce_state(struct power *power, enum power_state state,
			  const struct wake_source *source)
{
	if (power->announced == state)
		return;
	trace_end(power->trace, TRACE_POWER,
		  power_state_name(power->announced));
	trace_record(
		power->trace, TRACE_BEGIN, TRACE_POWER, power_state_name(state),
		state == POWER_SUSPENDED ? power_sleep_name(power->kind) : NULL,
		TRACE_NO_VALUE);
	power->announced = state;
	power->ops->event(power, state, source);
}
