/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The coordinator's table of transitions: each row is made by a scenario, the
 * drawing in docs/power.md has the same rows, and no step takes an event that
 * the table does not give it.
 */
#define _GNU_SOURCE
#include "tests/lib/power_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <stdio.h>

TestSuite(power_transitions, .timeout = 120);

static struct answer a;

static void press(void)
{
	model_begin(2);
	model_ask(&a, 10 * SECOND);
}

static void press_taken(void)
{
	press();
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
}

static void lps0_entry(void)
{
	model_begin(2);
	power_lps0(&model.power, true);
}

static void lps0_entry_and_exit(void)
{
	model_begin(2);
	power_lps0(&model.power, true);
	/* Else entry and exit are seen at once: nothing to tell. */
	power_poll(&model.power);
	model_order(&model, 1, ORDER_C2);
	/* Told too: of a sign and its end at once the main loop says nothing.
	 */
	MODEL_UNTIL(&model, model_parked(&model, 1) &&
				    model.power.announced == POWER_SUSPENDING);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model,
		    model.power.announced == POWER_RUNNING && model.nr_events);
}

static void deadline_of_nobody(void)
{
	press();
	model_fire(&model, POWER_TIMER_REQUEST);
}

static void sleeping(void)
{
	model_begin(2);
	model_fall_asleep();
}

static void device_fails(void)
{
	model.quiesce = DEVICE_FAILS;
	model.restart = DEVICE_LATER;
	model_all_read_c2();
	MODEL_UNTIL(&model, model.restarts == 1);
}

static void quiesce_fails(void)
{
	press_taken();
	device_fails();
}

static void late_irq(struct model *m)
{
	model_set_bits(m, 1, VCPU_PENDING);
	m->in_quiesce = NULL;
}

static void pending_after_quiesce(void)
{
	model_begin(2);
	model.in_quiesce = late_irq;
	model.restart = DEVICE_LATER;
	model_all_read_c2();
	MODEL_UNTIL(&model, model.restarts == 1);
}

static void undone(void)
{
	pending_after_quiesce();
	power_restarted(&model.power);
	model_all_back(1);
}

static void wake_in_quiesce(void)
{
	model_begin(2);
	model.quiesce = DEVICE_LATER;
	model.restart = DEVICE_LATER;
	model_all_read_c2();
	MODEL_UNTIL(&model, model.quiesces == 1);
	power_wake(&model.power, &model.power.powerbtn);
	power_quiesced(&model.power, 0, NULL);
	MODEL_UNTIL(&model, model.restarts == 1);
}

static void woken(void)
{
	model_begin(2);
	power_lps0(&model.power, true);
	model.restart = DEVICE_LATER;
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
}

static void released(void)
{
	woken();
	power_restarted(&model.power);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
}

static void exits(void)
{
	released();
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.power.announced == POWER_RUNNING);
}

static void says_nothing(void)
{
	released();
	model_fire(&model, POWER_TIMER_RESUME);
}

static void sleeps_again_at_once(void)
{
	released();
	power_lps0(&model.power, false);
	power_lps0(&model.power, true);
	power_poll(&model.power);
}

static void s1_returns(void)
{
	model_begin(1);
	model_order(&model, 0, ORDER_S1);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
}

static const struct {
	enum power_step from;
	enum power_event event;
	void (*run)(void);
} scenarios[] = {
	{ POWER_STEP_AWAKE, POWER_EVENT_PRESS, press },
	{ POWER_STEP_AWAKE, POWER_EVENT_SIGN, lps0_entry },
	{ POWER_STEP_PARKING, POWER_EVENT_QUIET, sleeping },
	{ POWER_STEP_PARKING, POWER_EVENT_CAME_BACK, lps0_entry_and_exit },
	{ POWER_STEP_PARKING, POWER_EVENT_GIVEN_UP, deadline_of_nobody },
	{ POWER_STEP_QUIESCING, POWER_EVENT_QUIET, sleeping },
	{ POWER_STEP_QUIESCING, POWER_EVENT_FAILED, quiesce_fails },
	{ POWER_STEP_CHECKING, POWER_EVENT_QUIET, sleeping },
	{ POWER_STEP_CHECKING, POWER_EVENT_BUSY, pending_after_quiesce },
	{ POWER_STEP_CHECKING, POWER_EVENT_WAKE, wake_in_quiesce },
	{ POWER_STEP_UNDOING, POWER_EVENT_DEVICES_BACK, undone },
	{ POWER_STEP_ASLEEP, POWER_EVENT_WAKE, woken },
	{ POWER_STEP_RESTARTING, POWER_EVENT_DEVICES_BACK, released },
	{ POWER_STEP_RESTARTING, POWER_EVENT_S1_RETURN, s1_returns },
	{ POWER_STEP_RELEASED, POWER_EVENT_CAME_BACK, exits },
	{ POWER_STEP_RELEASED, POWER_EVENT_SILENT, says_nothing },
	{ POWER_STEP_RELEASED, POWER_EVENT_SIGN, sleeps_again_at_once },
};

ParameterizedTestParameters(power_transitions, each_row_is_made)
{
	static unsigned int rows[POWER_NR_TRANSITIONS];

	for (unsigned int i = 0; i < POWER_NR_TRANSITIONS; i++)
		rows[i] = i;
	return cr_make_param_array(unsigned int, rows, POWER_NR_TRANSITIONS);
}

ParameterizedTest(unsigned int *row, power_transitions, each_row_is_made)
{
	const struct power_transition *t = &power_transitions[*row];
	unsigned int found = 0;

	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		if (scenarios[i].from != t->from ||
		    scenarios[i].event != t->event)
			continue;
		scenarios[i].run();
		found++;
	}
	cr_assert(eq(u32, found, 1), "%s, %s has a scenario",
		  power_step_name(t->from), power_event_name(t->event));
	cr_assert(gt(u64, model.power.moves[*row], 0), "%s --%s--> %s is made",
		  power_step_name(t->from), power_event_name(t->event),
		  power_step_name(t->to));
	model_end();
}

/* A step and an event have one end, and what is in no row moves nothing. */
Test(power_transitions, what_is_in_no_row_moves_nothing)
{
	for (int s = 0; s < POWER_NR_STEPS; s++) {
		for (int e = 0; e < POWER_NR_EVENTS; e++) {
			enum power_step to = (enum power_step)s;
			unsigned int rows = 0;

			for (int i = 0; i < POWER_NR_TRANSITIONS; i++) {
				const struct power_transition *t =
					&power_transitions[i];

				if ((int)t->from != s || (int)t->event != e)
					continue;
				rows++;
				to = t->to;
			}
			cr_assert(le(u32, rows, 1));
			model_begin(1);
			model.power.step = (enum power_step)s;
			cr_assert(eq(
				int,
				power_move(&model.power, (enum power_event)e),
				rows == 1));
			cr_assert(eq(int, power_get_step(&model.power), to));
			model_end();
		}
	}
}

/* "    PARKING --> QUIESCING: QUIET" of the drawing. */
static bool row_of_line(const char *line, unsigned int *ret)
{
	char from[32], to[32], event[32];

	if (sscanf(line, " %31[A-Z0-9_] --> %31[A-Z0-9_]: %31[A-Z0-9_]", from,
		   to, event) != 3)
		return false;
	for (unsigned int i = 0; i < POWER_NR_TRANSITIONS; i++) {
		const struct power_transition *t = &power_transitions[i];

		if (strcmp(from, power_step_name(t->from)) != 0 ||
		    strcmp(to, power_step_name(t->to)) != 0 ||
		    strcmp(event, power_event_name(t->event)) != 0)
			continue;
		*ret = i;
		return true;
	}
	cr_fatal("docs/power.md draws what the code does not do: %s", line);
}

Test(power_transitions, the_drawing_has_the_rows_of_the_table)
{
	unsigned int drawn[POWER_NR_TRANSITIONS] = { 0 }, row;
	FILE *f = fopen("docs/power.md", "re");
	char *line = NULL;
	size_t cap = 0;

	cr_assert(ne(ptr, f, NULL), "run at the top of the source tree");
	while (getline(&line, &cap, f) > 0) {
		if (row_of_line(line, &row))
			drawn[row]++;
	}
	for (unsigned int i = 0; i < POWER_NR_TRANSITIONS; i++)
		cr_assert(eq(u32, drawn[i], 1), "%s, %s is drawn once",
			  power_step_name(power_transitions[i].from),
			  power_event_name(power_transitions[i].event));
	free(line);
	(void)fclose(f);
}

Test(power_transitions, each_outcome_has_a_name)
{
	for (int i = 0; i < POWER_NR_OUTCOMES; i++)
		cr_assert(power_outcome_name(i) != NULL);
}
