/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/power/power.h: pauses, forced sleeps, what is taken back, storms. */
#include "tests/lib/power_test.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(power_pause, .fini = teardown, .timeout = 120);

static void pause_it(struct answer *a, uint64_t timeout_ns)
{
	*a = (struct answer){ .req.done = answered };
	power_pause(&m.power, &a->req, timeout_ns, false);
}

static void force(struct answer *a, uint64_t timeout_ns)
{
	*a = (struct answer){ .req.done = answered, .req.force = true };
	power_suspend(&m.power, &a->req, timeout_ns);
}

/* What was asked of vCPUs, devices and clocks: see struct model. */
static bool did(const char *order)
{
	return !strcmp(m.order, order);
}

static bool paused(void)
{
	return power_is_paused(&m.power);
}

/* ------------------------------------------------------------------ pause */

Test(power_pause, holds_stops_and_comes_back_clocks_first)
{
	static struct answer a;

	begin(2);
	pause_it(&a, SECOND);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
	cr_assert(paused() && m.held);
	cr_assert(eq(u32, m.pause_events, 1));
	cr_assert(eq(int, state(), POWER_RUNNING), "the guest knows nothing");
	power_unpause(&m.power);
	cr_assert(not(paused() || m.held));
	cr_assert(did("hqcru"));
	cr_assert(not(m.froze));
	cr_assert(eq(u32, m.nr_events, 0));
}

Test(power_pause, is_idempotent_both_ways)
{
	static struct answer a, b;

	begin(1);
	power_unpause(&m.power);
	pause_it(&a, SECOND);
	pause_it(&b, SECOND);
	cr_assert(eq(int, b.outcome, POWER_PAUSED));
	cr_assert(eq(u32, m.holds, 1));
	power_unpause(&m.power);
	power_unpause(&m.power);
	cr_assert(eq(u32, m.releases, 1));
	cr_assert(did("hqcru"));
}

Test(power_pause, may_take_itself_out_of_the_clocks)
{
	static struct answer a = { .req.done = answered };

	begin(1);
	power_pause(&m.power, &a.req, SECOND, true);
	power_unpause(&m.power);
	cr_assert(m.froze);
	pause_it(&a, SECOND);
	power_unpause(&m.power);
	cr_assert(not(m.froze), "the next one is asked anew");
	cr_assert(eq(u32, m.clock_sets, 2));
}

Test(power_pause, of_a_sleeping_guest_touches_no_device)
{
	static struct answer a;

	begin(2);
	fall_asleep();
	pause_it(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
	power_unpause(&m.power);
	cr_assert(did("qhcu"));
	cr_assert(eq(int, state(), POWER_SUSPENDED), "it sleeps on");
}

Test(power_pause, a_wake_event_in_a_pause_waits_for_its_end)
{
	static struct answer a;

	begin(2);
	fall_asleep();
	pause_it(&a, SECOND);
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(int, state(), POWER_SUSPENDED));
	power_unpause(&m.power);
	cr_assert(eq(int, state(), POWER_RESUMING));
	cr_assert(did("qhcur"));
	all_back(1);
	cr_assert(eq(u64, m.power.powerbtn.wakes, 1));
}

Test(power_pause, waits_for_devices_on_their_way_down)
{
	static struct answer a;

	begin(2);
	m.quiesce = DEVICE_LATER;
	all_read_c2();
	MODEL_UNTIL(&m, m.quiesces == 1);
	pause_it(&a, SECOND);
	cr_assert(not(m.held), "the census needs the vCPUs");
	power_quiesced(&m.power, 0, NULL);
	MODEL_UNTIL(&m, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
	cr_assert(eq(int, state(), POWER_SUSPENDED));
	cr_assert(did("qh"));
}

Test(power_pause, waits_for_devices_on_their_way_up)
{
	static struct answer a;

	begin(2);
	m.restart = DEVICE_LATER;
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	pause_it(&a, SECOND);
	cr_assert(not(m.held));
	power_restarted(&m.power);
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
	cr_assert(did("qrhq"));
	cr_assert(eq(int, state(), POWER_RESUMING));
	m.restart = DEVICE_AT_ONCE;
	power_unpause(&m.power);
	all_back(1);
}

/* A census that ends in a pause would move the devices a second time. */
Test(power_pause, a_guest_half_way_down_goes_on_after_it)
{
	static struct answer a;

	begin(2);
	power_ran(&m.power, 0);
	power_ran(&m.power, 1);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 0));
	pause_it(&a, SECOND);
	cr_assert(paused());
	cr_assert(not(m.armed[POWER_TIMER_SHALLOW]), "nothing wakes us");
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 1));
	for (int i = 0; i < 20; i++)
		model_turn(&m);
	cr_assert(eq(u32, m.quiesces, 1));
	cr_assert(eq(int, state(), POWER_SUSPENDING));
	power_unpause(&m.power);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
	cr_assert(did("hqcruq"));
}

Test(power_pause, a_device_that_does_not_stop_ends_it_and_is_named)
{
	static struct answer a;

	begin(1);
	m.quiesce = DEVICE_FAILS;
	pause_it(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_FAILED));
	cr_assert(is(a.req.device, "blk0"));
	cr_assert(not(paused() || m.held));
	cr_assert(did("hqcru"), "the others come back");
	m.quiesce = DEVICE_AT_ONCE;
	pause_it(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_PAUSED));
}

/* Who has resumed it waits for its end, though it was never told of. */
Test(power_pause, that_fails_says_so_once_the_vcpus_run)
{
	static struct answer a;

	begin(1);
	m.quiesce = DEVICE_LATER;
	m.restart = DEVICE_LATER;
	pause_it(&a, SECOND);
	power_unpause(&m.power);
	power_quiesced(&m.power, -1, "blk0");
	cr_assert(eq(u32, m.pause_failures, 0));
	cr_assert(m.held);
	power_restarted(&m.power);
	cr_assert(eq(u32, m.pause_failures, 1));
	cr_assert(not(m.held));
	cr_assert(eq(u32, m.pause_events, 0));
	m.quiesce = m.restart = DEVICE_AT_ONCE;
	pause_it(&a, SECOND);
	power_unpause(&m.power);
	cr_assert(eq(u32, m.pause_failures, 1));
	cr_assert(eq(u32, m.pause_events, 2));
}

Test(power_pause, that_takes_too_long_is_given_up)
{
	static struct answer a;

	begin(1);
	m.quiesce = DEVICE_LATER;
	pause_it(&a, SECOND);
	cr_assert(eq(u64, m.delay_ns[POWER_TIMER_REQUEST], SECOND));
	model_fire(&m, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	power_quiesced(&m.power, 0, NULL);
	cr_assert(not(paused() || m.held));
	cr_assert(did("hqcru"));
}

Test(power_pause, is_taken_back_before_it_is_there)
{
	static struct answer a, b;

	begin(1);
	m.quiesce = DEVICE_LATER;
	pause_it(&a, SECOND);
	power_unpause(&m.power);
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	/* And wanted again. */
	pause_it(&b, SECOND);
	power_quiesced(&m.power, 0, NULL);
	cr_assert(eq(int, b.outcome, POWER_PAUSED));
	cr_assert(paused());
}

Test(power_pause, is_wanted_again_while_it_ends)
{
	static struct answer a, b;

	begin(1);
	pause_it(&a, SECOND);
	m.restart = DEVICE_LATER;
	power_unpause(&m.power);
	pause_it(&b, SECOND);
	cr_assert(eq(u32, b.calls, 0));
	power_restarted(&m.power);
	cr_assert(eq(int, b.outcome, POWER_PAUSED));
	cr_assert(did("hqcruhq"));
}

Test(power_pause, keeps_a_guest_from_being_asked_to_sleep)
{
	static struct answer a, b, c;

	begin(1);
	pause_it(&a, SECOND);
	ask(&b, SECOND);
	cr_assert(eq(int, b.outcome, POWER_BLOCKED));
	cr_assert(not(status(ACPI_PM1_SLPBTN)));
	force(&c, SECOND);
	cr_assert(eq(int, c.outcome, POWER_PAUSED));
}

Test(power_pause, the_end_of_the_vm_ends_it)
{
	static struct answer a;

	begin(1);
	m.quiesce = DEVICE_LATER;
	pause_it(&a, SECOND);
	power_stop(&m.power);
	cr_assert(eq(int, a.outcome, POWER_ENDED));
}

/* ------------------------------------------------------------------ force */

static void forced(struct answer *a, enum power_outcome because)
{
	cr_assert(eq(u32, a->calls, 1));
	cr_assert(eq(int, a->outcome, POWER_FORCED));
	cr_assert(eq(int, a->req.because, because));
	cr_assert(paused() && m.held);
}

Test(power_pause, force_is_not_used_on_a_guest_that_sleeps)
{
	static struct answer a;

	begin(2);
	force(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	fall_asleep();
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(not(a.req.by_itself));
	cr_assert(not(paused()));
}

Test(power_pause, force_stops_a_guest_that_does_nothing)
{
	static struct answer a;

	begin(1);
	force(&a, SECOND);
	model_fire(&m, POWER_TIMER_REQUEST);
	forced(&a, POWER_TIMEOUT);
	cr_assert(eq(int, state(), POWER_RUNNING));
}

Test(power_pause, force_stops_a_guest_that_refuses)
{
	static struct answer a;

	begin(1);
	force(&a, SECOND);
	power_lps0(&m.power, true);
	power_lps0(&m.power, false);
	stays_awake();
	forced(&a, POWER_REFUSED);
}

Test(power_pause, force_stops_a_deaf_guest)
{
	static struct answer a;

	begin(1);
	model_pm1_enable(&m, 0);
	force(&a, SECOND);
	forced(&a, POWER_DEAF);
}

Test(power_pause, force_stops_a_guest_whose_sleep_was_aborted)
{
	static struct answer a;

	begin(1);
	m.quiesce = DEVICE_LATER;
	force(&a, SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	all_read_c2();
	MODEL_UNTIL(&m, m.quiesces == 1);
	power_wake(&m.power, &m.power.powerbtn);
	m.quiesce = DEVICE_AT_ONCE;
	power_quiesced(&m.power, 0, NULL);
	MODEL_UNTIL(&m, a.calls == 1);
	forced(&a, POWER_ABORTED);
	cr_assert(is(a.req.source, "powerbtn"));
}

/* vCPUs are stopped even so, and the reply says which device is not. */
Test(power_pause, force_goes_on_without_a_device_that_does_not_stop)
{
	static struct answer a;

	begin(1);
	m.quiesce = DEVICE_FAILS;
	force(&a, SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	all_read_c2();
	MODEL_UNTIL(&m, a.calls == 1);
	forced(&a, POWER_FAILED);
	cr_assert(is(a.req.device, "blk0"));
	power_unpause(&m.power);
	cr_assert(not(paused() || m.held));
}

/* It comes to an ordinary pause that has not stopped the devices yet. */
Test(power_pause, force_does_not_fail_with_the_pause_it_joins)
{
	static struct answer a, b;

	begin(1);
	m.quiesce = DEVICE_LATER;
	pause_it(&a, SECOND);
	force(&b, SECOND / 2);
	m.now_ns += SECOND;
	power_timer_fired(&m.power, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(u32, b.calls, 0), "it waits for the devices");
	power_quiesced(&m.power, -1, "blk0");
	cr_assert(eq(u32, b.calls, 1));
	cr_assert(eq(int, b.outcome, POWER_PAUSED));
	cr_assert(is(b.req.device, "blk0"));
	cr_assert(paused() && m.held);
}

Test(power_pause, force_that_comes_while_one_ends_is_not_forgotten)
{
	static struct answer a, b;

	begin(1);
	pause_it(&a, SECOND);
	m.restart = DEVICE_LATER;
	power_unpause(&m.power);
	force(&b, SECOND);
	model_fire(&m, POWER_TIMER_REQUEST);
	cr_assert(eq(u32, b.calls, 0));
	m.quiesce = DEVICE_FAILS;
	power_restarted(&m.power);
	forced(&b, POWER_TIMEOUT);
	cr_assert(is(b.req.device, "blk0"));
}

/* Asks for a pause that cannot begin, as devices move, and takes it back. */
static void pause_in_vain(bool freeze)
{
	static struct answer a;

	a = (struct answer){ .req.done = answered };
	m.quiesce = DEVICE_LATER;
	all_read_c2();
	MODEL_UNTIL(&m, m.quiesces == 1);
	if (freeze)
		power_pause(&m.power, &a.req, SECOND, true);
	else
		force(&a, SECOND);
	if (!freeze)
		model_fire(&m, POWER_TIMER_REQUEST);
	cr_assert(eq(u32, a.calls, 0));
	power_unpause(&m.power);
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	power_quiesced(&m.power, 0, NULL);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	model_fire(&m, POWER_TIMER_RESUME);
	cr_assert(eq(int, state(), POWER_RUNNING));
}

Test(power_pause, one_taken_back_leaves_no_frozen_clock_to_the_next)
{
	static struct answer a;

	begin(1);
	pause_in_vain(true);
	m.quiesce = DEVICE_AT_ONCE;
	force(&a, SECOND);
	model_fire(&m, POWER_TIMER_REQUEST);
	forced(&a, POWER_TIMEOUT);
	power_unpause(&m.power);
	cr_assert(eq(u32, m.clock_sets, 1));
	cr_assert(not(m.froze));
}

Test(power_pause, a_forced_one_taken_back_leaves_no_force_to_the_next)
{
	static struct answer a;

	begin(1);
	pause_in_vain(false);
	m.quiesce = DEVICE_FAILS;
	pause_it(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_FAILED));
	cr_assert(not(paused() || m.held));
}

Test(power_pause, a_resume_ends_a_forced_one)
{
	static struct answer a;

	begin(1);
	force(&a, SECOND);
	model_fire(&m, POWER_TIMER_REQUEST);
	cr_assert(eq(int, power_cancel(&m.power), 0));
	cr_assert(not(paused() || m.held));
}

/* ------------------------------------------------------------ taken back */

Test(power_pause, a_sleep_that_was_asked_for_is_ended_by_a_resume)
{
	static struct answer a;

	begin(2);
	ask(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	fall_asleep();
	cr_assert(eq(int, power_cancel(&m.power), 0));
	cr_assert(eq(int, state(), POWER_RESUMING));
	all_back(1);
}

Test(power_pause, a_sleep_of_its_own_is_not_ended_by_a_resume)
{
	static struct answer a;

	begin(2);
	fall_asleep();
	ask(&a, SECOND);
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(a.req.by_itself);
	cr_assert(eq(int, power_cancel(&m.power), 0));
	cr_assert(eq(int, state(), POWER_SUSPENDED));
}

Test(power_pause, a_request_is_taken_back_before_the_guest_begins)
{
	static struct answer a;

	begin(1);
	ask(&a, 10 * SECOND);
	cr_assert(eq(int, power_cancel(&m.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	cr_assert(eq(int, state(), POWER_RUNNING));
	/* It obeys the press all the same, and is brought back. */
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	all_read_c2();
	all_back(1);
	cr_assert(eq(u64, m.power.cycles, 0));
	cr_assert(is(m.power.last_wake->name, "launcher"));
}

Test(power_pause, a_cancelled_press_is_forgotten_after_its_time)
{
	static struct answer a;

	begin(1);
	ask(&a, 10 * SECOND);
	cr_assert(eq(int, power_cancel(&m.power), 0));
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	m.now_ns += 11 * SECOND;
	fall_asleep();
}

Test(power_pause, a_request_is_taken_back_on_the_way_down)
{
	static struct answer a;

	begin(1);
	m.quiesce = DEVICE_LATER;
	ask(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	all_read_c2();
	MODEL_UNTIL(&m, m.quiesces == 1);
	cr_assert(eq(int, power_cancel(&m.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	power_quiesced(&m.power, 0, NULL);
	all_back(1);
	cr_assert(eq(u64, m.power.cycles, 0));
}

Test(power_pause, a_guest_on_its_way_by_itself_is_left_to_it)
{
	static struct answer a;

	begin(1);
	power_lps0(&m.power, true);
	ask(&a, SECOND);
	cr_assert(eq(int, power_cancel(&m.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	fall_asleep();
}

Test(power_pause, a_request_on_the_way_up_is_taken_back)
{
	static struct answer a;

	begin(1);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	ask(&a, 10 * SECOND);
	cr_assert(eq(int, power_cancel(&m.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	model_fire(&m, POWER_TIMER_RESUME);
	cr_assert(eq(int, state(), POWER_RUNNING));
	cr_assert(not(status(ACPI_PM1_SLPBTN)));
}

/* ----------------------------------------------------------------- storms */

#define STORM 5U

static struct wake_source net = { .name = "net0", .gpe_bit = 2 };

static void storm_begin(void)
{
	begin(1);
	m.power.storm_sleeps = STORM;
	net.armed = true;
	power_add_source(&m.power, &net);
	model_gpe_write(&m, 4, 2);
}

/* A sleep of @ns that @source ends. */
static void sleep_for(uint64_t ns, struct wake_source *source)
{
	unsigned int done = model_done(&m, 0);

	fall_asleep();
	m.now_ns += ns;
	power_wake(&m.power, source);
	all_back(done + 1);
	model_gpe_write(&m, 0, 2);
	model_pm1_clear(&m, BUTTONS);
	model_fire(&m, POWER_TIMER_RESUME);
}

Test(power_pause, a_storm_disarms_its_source_for_a_while)
{
	storm_begin();
	for (unsigned int i = 0; i < STORM; i++)
		sleep_for(NS_PER_MS, &net);
	cr_assert(eq(u32, m.storms, 1));
	fall_asleep();
	power_wake(&m.power, &net);
	cr_assert(eq(int, state(), POWER_SUSPENDED));
	cr_assert(net.latched, "late, but not lost");
	/* Others wake it as ever. */
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(int, state(), POWER_RESUMING));
	all_back(STORM + 1);
}

Test(power_pause, what_came_in_a_storm_wakes_after_it)
{
	storm_begin();
	for (unsigned int i = 0; i < STORM; i++)
		sleep_for(NS_PER_MS, &net);
	fall_asleep();
	power_wake(&m.power, &net);
	model_fire(&m, POWER_TIMER_STORM);
	cr_assert(eq(int, state(), POWER_RESUMING));
	cr_assert(is(m.power.last_wake->name, "net0"));
	all_back(STORM + 1);
}

Test(power_pause, long_sleeps_and_other_sources_are_no_storm)
{
	storm_begin();
	for (unsigned int i = 0; i < 3 * STORM; i++)
		sleep_for(i % (STORM - 1) ? NS_PER_MS : 2 * SECOND, &net);
	for (unsigned int i = 0; i < 3 * STORM; i++)
		sleep_for(NS_PER_MS,
			  i % (STORM - 1) ? &net : &m.power.powerbtn);
	cr_assert(eq(u32, m.storms, 0));
}

Test(power_pause, a_button_never_storms)
{
	storm_begin();
	for (unsigned int i = 0; i < 3 * STORM; i++)
		sleep_for(NS_PER_MS, &m.power.powerbtn);
	cr_assert(eq(u32, m.storms, 0));
}

Test(power_pause, a_storm_may_be_allowed)
{
	storm_begin();
	m.power.storm_sleeps = 0;
	for (unsigned int i = 0; i < 3 * STORM; i++)
		sleep_for(NS_PER_MS, &net);
	cr_assert(eq(u32, m.storms, 0));
}
