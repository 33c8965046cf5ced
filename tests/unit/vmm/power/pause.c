/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/power/power.h: pauses, forced sleeps, what is taken back, storms. */
#include "tests/lib/power_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(power_pause, .fini = model_end, .timeout = 120);

static void pause_it(struct answer *a, uint64_t timeout_ns)
{
	*a = (struct answer){ .req.done = model_answered };
	power_pause(&model.power, &a->req, timeout_ns, false);
}

static void force(struct answer *a, uint64_t timeout_ns)
{
	*a = (struct answer){ .req.done = model_answered, .req.force = true };
	power_suspend(&model.power, &a->req, timeout_ns);
}

/* What was asked of vCPUs, devices and clocks: see struct model. */
static bool did(const char *order)
{
	return !strcmp(model.order, order);
}

static bool paused(void)
{
	return power_is_paused(&model.power);
}

/* ------------------------------------------------------------------ pause */

Test(power_pause, holds_stops_and_comes_back_clocks_first)
{
	static struct answer a;

	model_begin(2);
	pause_it(&a, SECOND);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
	cr_assert(paused() && model.held);
	cr_assert(eq(u32, model.pause_events, 1));
	cr_assert(eq(int, model_state(), POWER_RUNNING),
		  "the guest knows nothing");
	power_unpause(&model.power);
	cr_assert(not(paused() || model.held));
	cr_assert(did("hqcru"));
	cr_assert(not(model.froze));
	cr_assert(eq(u32, model.nr_events, 0));
}

Test(power_pause, is_idempotent_both_ways)
{
	static struct answer a, b;

	model_begin(1);
	power_unpause(&model.power);
	pause_it(&a, SECOND);
	pause_it(&b, SECOND);
	cr_assert(eq(int, b.outcome, POWER_PAUSED));
	cr_assert(eq(u32, model.holds, 1));
	power_unpause(&model.power);
	power_unpause(&model.power);
	cr_assert(eq(u32, model.releases, 1));
	cr_assert(did("hqcru"));
}

Test(power_pause, may_take_itself_out_of_the_clocks)
{
	static struct answer a = { .req.done = model_answered };

	model_begin(1);
	power_pause(&model.power, &a.req, SECOND, true);
	power_unpause(&model.power);
	cr_assert(model.froze);
	pause_it(&a, SECOND);
	power_unpause(&model.power);
	cr_assert(not(model.froze), "the next one is asked again");
	cr_assert(eq(u32, model.clock_sets, 2));
}

Test(power_pause, of_a_sleeping_guest_touches_no_device)
{
	static struct answer a;

	model_begin(2);
	model_fall_asleep();
	pause_it(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
	power_unpause(&model.power);
	cr_assert(did("qhcu"));
	cr_assert(eq(int, model_state(), POWER_SUSPENDED), "it sleeps on");
}

Test(power_pause, a_wake_event_in_a_pause_waits_for_its_end)
{
	static struct answer a;

	model_begin(2);
	model_fall_asleep();
	pause_it(&a, SECOND);
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(int, model_state(), POWER_SUSPENDED));
	power_unpause(&model.power);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	cr_assert(did("qhcur"));
	model_all_back(1);
	cr_assert(eq(u64, model.power.powerbtn.wakes, 1));
}

Test(power_pause, waits_for_devices_on_their_way_down)
{
	static struct answer a;

	model_begin(2);
	model.quiesce = DEVICE_LATER;
	model_all_read_c2();
	MODEL_UNTIL(&model, model.quiesces == 1);
	pause_it(&a, SECOND);
	cr_assert(not(model.held), "the census needs the vCPUs");
	power_quiesced(&model.power, 0, NULL);
	MODEL_UNTIL(&model, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
	cr_assert(eq(int, model_state(), POWER_SUSPENDED));
	cr_assert(did("qh"));
}

Test(power_pause, waits_for_devices_on_their_way_up)
{
	static struct answer a;

	model_begin(2);
	model.restart = DEVICE_LATER;
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	pause_it(&a, SECOND);
	cr_assert(not(model.held));
	power_restarted(&model.power);
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
	cr_assert(did("qrhq"));
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	model.restart = DEVICE_AT_ONCE;
	power_unpause(&model.power);
	model_all_back(1);
}

/* A census that ends in a pause would move the devices a second time. */
Test(power_pause, a_guest_half_way_down_goes_on_after_it)
{
	static struct answer a;

	model_begin(2);
	power_ran(&model.power, 0);
	power_ran(&model.power, 1);
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 0));
	pause_it(&a, SECOND);
	cr_assert(paused());
	cr_assert(not(model.armed[POWER_TIMER_SHALLOW]), "nothing wakes us");
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 1));
	for (int i = 0; i < 20; i++)
		model_turn(&model);
	cr_assert(eq(u32, model.quiesces, 1));
	cr_assert(eq(int, model_state(), POWER_SUSPENDING));
	power_unpause(&model.power);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	cr_assert(did("hqcruq"));
}

Test(power_pause, a_device_that_does_not_stop_ends_it_and_is_named)
{
	static struct answer a;

	model_begin(1);
	model.quiesce = DEVICE_FAILS;
	pause_it(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_FAILED));
	cr_assert(is_named(a.req.device, "blk0"));
	cr_assert(not(paused() || model.held));
	cr_assert(did("hqcru"), "the others come back");
	model.quiesce = DEVICE_AT_ONCE;
	pause_it(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
}

/* Who has resumed it waits for its end, though it was never told of. */
Test(power_pause, that_fails_says_so_once_the_vcpus_run)
{
	static struct answer a;

	model_begin(1);
	model.quiesce = DEVICE_LATER;
	model.restart = DEVICE_LATER;
	pause_it(&a, SECOND);
	power_unpause(&model.power);
	power_quiesced(&model.power, -1, "blk0");
	cr_assert(eq(u32, model.pause_failures, 0));
	cr_assert(model.held);
	power_restarted(&model.power);
	cr_assert(eq(u32, model.pause_failures, 1));
	cr_assert(not(model.held));
	cr_assert(eq(u32, model.pause_events, 0));
	model.quiesce = model.restart = DEVICE_AT_ONCE;
	pause_it(&a, SECOND);
	power_unpause(&model.power);
	cr_assert(eq(u32, model.pause_failures, 1));
	cr_assert(eq(u32, model.pause_events, 2));
}

Test(power_pause, that_takes_too_long_is_given_up)
{
	static struct answer a;

	model_begin(1);
	model.quiesce = DEVICE_LATER;
	pause_it(&a, SECOND);
	cr_assert(eq(u64, model.delay_ns[POWER_TIMER_REQUEST], SECOND));
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	power_quiesced(&model.power, 0, NULL);
	cr_assert(not(paused() || model.held));
	cr_assert(did("hqcru"));
}

Test(power_pause, is_taken_back_before_it_is_there)
{
	static struct answer a, b;

	model_begin(1);
	model.quiesce = DEVICE_LATER;
	pause_it(&a, SECOND);
	power_unpause(&model.power);
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	/* And wanted again. */
	pause_it(&b, SECOND);
	power_quiesced(&model.power, 0, NULL);
	cr_assert(eq(int, b.outcome, POWER_PAUSED));
	cr_assert(paused());
}

Test(power_pause, is_wanted_again_while_it_ends)
{
	static struct answer a, b;

	model_begin(1);
	pause_it(&a, SECOND);
	model.restart = DEVICE_LATER;
	power_unpause(&model.power);
	pause_it(&b, SECOND);
	cr_assert(eq(u32, b.calls, 0));
	power_restarted(&model.power);
	cr_assert(eq(int, b.outcome, POWER_PAUSED));
	cr_assert(did("hqcruhq"));
}

Test(power_pause, keeps_a_guest_from_being_asked_to_sleep)
{
	static struct answer a, b, c;

	model_begin(1);
	pause_it(&a, SECOND);
	model_ask(&b, SECOND);
	cr_assert(eq(int, b.outcome, POWER_BLOCKED));
	cr_assert(not(model_status(ACPI_PM1_SLPBTN)));
	force(&c, SECOND);
	cr_assert(eq(int, c.outcome, POWER_PAUSED));
}

Test(power_pause, the_end_of_the_vm_ends_it)
{
	static struct answer a;

	model_begin(1);
	model.quiesce = DEVICE_LATER;
	pause_it(&a, SECOND);
	power_stop(&model.power);
	cr_assert(eq(int, a.outcome, POWER_ENDED));
}

/* ------------------------------------------------------------------ force */

static void forced(struct answer *a, enum power_outcome because)
{
	cr_assert(eq(u32, a->calls, 1));
	cr_assert(eq(int, a->outcome, POWER_FORCED));
	cr_assert(eq(int, a->req.because, because));
	cr_assert(paused() && model.held);
}

Test(power_pause, force_is_not_used_on_a_guest_that_sleeps)
{
	static struct answer a;

	model_begin(2);
	force(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(not(a.req.by_itself));
	cr_assert(not(paused()));
}

Test(power_pause, force_stops_a_guest_that_does_nothing)
{
	static struct answer a;

	model_begin(1);
	force(&a, SECOND);
	model_fire(&model, POWER_TIMER_REQUEST);
	forced(&a, POWER_TIMEOUT);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

Test(power_pause, force_stops_a_guest_that_refuses)
{
	static struct answer a;

	model_begin(1);
	force(&a, SECOND);
	power_lps0(&model.power, true);
	power_lps0(&model.power, false);
	model_stays_awake();
	forced(&a, POWER_REFUSED);
}

Test(power_pause, force_stops_a_deaf_guest)
{
	static struct answer a;

	model_begin(1);
	model_pm1_enable(&model, 0);
	force(&a, SECOND);
	forced(&a, POWER_DEAF);
}

Test(power_pause, force_stops_a_guest_whose_sleep_was_aborted)
{
	static struct answer a;

	model_begin(1);
	model.quiesce = DEVICE_LATER;
	force(&a, SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_all_read_c2();
	MODEL_UNTIL(&model, model.quiesces == 1);
	power_wake(&model.power, &model.power.powerbtn);
	model.quiesce = DEVICE_AT_ONCE;
	power_quiesced(&model.power, 0, NULL);
	MODEL_UNTIL(&model, a.calls == 1);
	forced(&a, POWER_ABORTED);
	cr_assert(is_named(a.req.source, "powerbtn"));
}

/* vCPUs are stopped even so, and the reply says which device is not. */
Test(power_pause, force_goes_on_without_a_device_that_does_not_stop)
{
	static struct answer a;

	model_begin(1);
	model.quiesce = DEVICE_FAILS;
	force(&a, SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_all_read_c2();
	MODEL_UNTIL(&model, a.calls == 1);
	forced(&a, POWER_FAILED);
	cr_assert(is_named(a.req.device, "blk0"));
	power_unpause(&model.power);
	cr_assert(not(paused() || model.held));
}

/* It comes to an ordinary pause that has not stopped the devices yet. */
Test(power_pause, force_does_not_fail_with_the_pause_it_joins)
{
	static struct answer a, b;

	model_begin(1);
	model.quiesce = DEVICE_LATER;
	pause_it(&a, SECOND);
	force(&b, SECOND / 2);
	model.now_ns += SECOND;
	power_timer_fired(&model.power, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(u32, b.calls, 0), "it waits for the devices");
	power_quiesced(&model.power, -1, "blk0");
	cr_assert(eq(u32, b.calls, 1));
	cr_assert(eq(int, b.outcome, POWER_PAUSED));
	cr_assert(is_named(b.req.device, "blk0"));
	cr_assert(paused() && model.held);
}

Test(power_pause, force_that_comes_while_one_ends_is_not_forgotten)
{
	static struct answer a, b;

	model_begin(1);
	pause_it(&a, SECOND);
	model.restart = DEVICE_LATER;
	power_unpause(&model.power);
	force(&b, SECOND);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(u32, b.calls, 0));
	model.quiesce = DEVICE_FAILS;
	power_restarted(&model.power);
	forced(&b, POWER_TIMEOUT);
	cr_assert(is_named(b.req.device, "blk0"));
}

/* Asks for a pause that cannot begin, as devices move, and takes it back. */
static void pause_in_vain(bool freeze)
{
	static struct answer a;

	a = (struct answer){ .req.done = model_answered };
	model.quiesce = DEVICE_LATER;
	model_all_read_c2();
	MODEL_UNTIL(&model, model.quiesces == 1);
	if (freeze)
		power_pause(&model.power, &a.req, SECOND, true);
	else
		force(&a, SECOND);
	if (!freeze)
		model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(u32, a.calls, 0));
	power_unpause(&model.power);
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	power_quiesced(&model.power, 0, NULL);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

Test(power_pause, one_taken_back_leaves_no_frozen_clock_to_the_next)
{
	static struct answer a;

	model_begin(1);
	pause_in_vain(true);
	model.quiesce = DEVICE_AT_ONCE;
	force(&a, SECOND);
	model_fire(&model, POWER_TIMER_REQUEST);
	forced(&a, POWER_TIMEOUT);
	power_unpause(&model.power);
	cr_assert(eq(u32, model.clock_sets, 1));
	cr_assert(not(model.froze));
}

Test(power_pause, a_forced_one_taken_back_leaves_no_force_to_the_next)
{
	static struct answer a;

	model_begin(1);
	pause_in_vain(false);
	model.quiesce = DEVICE_FAILS;
	pause_it(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_FAILED));
	cr_assert(not(paused() || model.held));
}

Test(power_pause, a_resume_ends_a_forced_one)
{
	static struct answer a;

	model_begin(1);
	force(&a, SECOND);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	cr_assert(not(paused() || model.held));
}

/* ------------------------------------------------------------ taken back */

Test(power_pause, a_sleep_that_was_asked_for_is_ended_by_a_resume)
{
	static struct answer a;

	model_begin(2);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	cr_assert(eq(int, power_cancel(&model.power), 0));
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	model_all_back(1);
}

Test(power_pause, a_sleep_of_its_own_is_not_ended_by_a_resume)
{
	static struct answer a;

	model_begin(2);
	model_fall_asleep();
	model_ask(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(a.req.by_itself);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	cr_assert(eq(int, model_state(), POWER_SUSPENDED));
}

Test(power_pause, a_request_is_taken_back_before_the_guest_begins)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	/* It obeys the press all the same, and is brought back. */
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_all_read_c2();
	model_all_back(1);
	cr_assert(eq(u64, model.power.cycles, 0));
	cr_assert(is_named(model.power.last_wake->name, "launcher"));
}

Test(power_pause, a_cancelled_press_is_forgotten_after_its_time)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model.now_ns += 11 * SECOND;
	model_fall_asleep();
}

Test(power_pause, a_request_is_taken_back_on_the_way_down)
{
	static struct answer a;

	model_begin(1);
	model.quiesce = DEVICE_LATER;
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_all_read_c2();
	MODEL_UNTIL(&model, model.quiesces == 1);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	power_quiesced(&model.power, 0, NULL);
	model_all_back(1);
	cr_assert(eq(u64, model.power.cycles, 0));
}

Test(power_pause, a_guest_on_its_way_by_itself_is_left_to_it)
{
	static struct answer a;

	model_begin(1);
	power_lps0(&model.power, true);
	model_ask(&a, SECOND);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	model_fall_asleep();
}

Test(power_pause, a_request_on_the_way_up_is_taken_back)
{
	static struct answer a;

	model_begin(1);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_ask(&a, 10 * SECOND);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	cr_assert(not(model_status(ACPI_PM1_SLPBTN)));
}

/* ----------------------------------------------------------------- storms */

#define STORM 5U

static struct wake_source net = { .name = "net0", .gpe_bit = 2 };

static void storm_begin(void)
{
	model_begin(1);
	model.power.storm_sleeps = STORM;
	net.armed = true;
	power_add_source(&model.power, &net);
	model_gpe_write(&model, 4, 2);
}

/* A sleep of @ns that @source ends. */
static void sleep_for(uint64_t ns, struct wake_source *source)
{
	unsigned int done = model_done(&model, 0);

	model_fall_asleep();
	model.now_ns += ns;
	power_wake(&model.power, source);
	model_all_back(done + 1);
	model_gpe_write(&model, 0, 2);
	model_pm1_clear(&model, BUTTONS);
	model_fire(&model, POWER_TIMER_RESUME);
}

Test(power_pause, a_storm_disarms_its_source_for_a_while)
{
	storm_begin();
	for (unsigned int i = 0; i < STORM; i++)
		sleep_for(NS_PER_MS, &net);
	cr_assert(eq(u32, model.storms, 1));
	model_fall_asleep();
	power_wake(&model.power, &net);
	cr_assert(eq(int, model_state(), POWER_SUSPENDED));
	cr_assert(net.latched, "late, but not lost");
	/* Others wake it as ever. */
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	model_all_back(STORM + 1);
}

Test(power_pause, what_came_in_a_storm_wakes_after_it)
{
	storm_begin();
	for (unsigned int i = 0; i < STORM; i++)
		sleep_for(NS_PER_MS, &net);
	model_fall_asleep();
	power_wake(&model.power, &net);
	model_fire(&model, POWER_TIMER_STORM);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	cr_assert(is_named(model.power.last_wake->name, "net0"));
	model_all_back(STORM + 1);
}

Test(power_pause, long_sleeps_and_other_sources_are_no_storm)
{
	storm_begin();
	for (unsigned int i = 0; i < 3 * STORM; i++)
		sleep_for(i % (STORM - 1) ? NS_PER_MS : 2 * SECOND, &net);
	for (unsigned int i = 0; i < 3 * STORM; i++)
		sleep_for(NS_PER_MS,
			  i % (STORM - 1) ? &net : &model.power.powerbtn);
	cr_assert(eq(u32, model.storms, 0));
}

Test(power_pause, a_button_never_storms)
{
	storm_begin();
	for (unsigned int i = 0; i < 3 * STORM; i++)
		sleep_for(NS_PER_MS, &model.power.powerbtn);
	cr_assert(eq(u32, model.storms, 0));
}

Test(power_pause, a_storm_may_be_allowed)
{
	storm_begin();
	model.power.storm_sleeps = 0;
	for (unsigned int i = 0; i < 3 * STORM; i++)
		sleep_for(NS_PER_MS, &net);
	cr_assert(eq(u32, model.storms, 0));
}
