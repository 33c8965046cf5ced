/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/power/power.h: S1, suspend requests, the dialects of LPS0. */
#include "tests/lib/power_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(power_request, .fini = model_end, .timeout = 120);

/* ----------------------------------------------------------------- S1 */

/* ACPICA wipes all status bits just before, and so no event is lost there. */
Test(power_request, s1_sleeps_and_wakes_with_wak_sts)
{
	model_begin(2);
	model_set_bits(&model, 1, VCPU_OFFLINE);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_done(&model, 1) == 1);
	model_order(&model, 0, ORDER_S1);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	cr_assert(eq(int, model.power.kind, POWER_SLEEP_S1));
	cr_assert(not(model_status(ACPI_PM1_WAK)));
	power_wake(&model.power, &model.power.powerbtn);
	MODEL_UNTIL(&model, model_done(&model, 0) == 1);
	cr_assert(model_status(ACPI_PM1_WAK));
	cr_assert(eq(int, model.power.announced, POWER_RUNNING));
	cr_assert(not(model.power.powerbtn.latched));
}

Test(power_request, an_event_wiped_before_s1_wakes_it_at_once)
{
	model_begin(1);
	power_wake(&model.power, &model.power.powerbtn);
	model_pm1_clear(&model, 0xffff);
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts, 0));
	model_order(&model, 0, ORDER_S1);
	model_all_back(1);
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts,
		     ACPI_PM1_WAK | ACPI_PM1_PWRBTN));
	cr_assert(not(model_saw(POWER_SUSPENDED)));
}

/* Else ACPICA would wait for WAK_STS for ever, with interrupts off. */
Test(power_request, s1_let_go_early_has_wak_sts_too)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_set_bits(&model, 0, VCPU_PENDING);
	model_order(&model, 0, ORDER_S1);
	model_all_back(1);
	cr_assert(model_status(ACPI_PM1_WAK));
	model_stays_awake();
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

Test(power_request, s1_with_a_device_that_does_not_stop_has_wak_sts_too)
{
	static struct answer a;

	model_begin(1);
	model.quiesce = DEVICE_FAILS;
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_order(&model, 0, ORDER_S1);
	model_all_back(1);
	cr_assert(model_status(ACPI_PM1_WAK));
	cr_assert(eq(int, a.outcome, POWER_FAILED));
	MODEL_UNTIL(&model, model.power.announced == POWER_RUNNING);
}

Test(power_request, s1_of_a_cpu_whose_apic_is_disabled_is_not_held_up)
{
	model_begin(1);
	model_set_bits(&model, 0, VCPU_OFFLINE | VCPU_PENDING);
	model_order(&model, 0, ORDER_S1);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

/* ------------------------------------------------------------ requests */

Test(power_request, a_request_presses_the_button_and_is_told_when_asleep)
{
	static struct answer a;

	model_begin(2);
	model_ask(&a, 10 * SECOND);
	cr_assert(eq(int, model.power.announced, POWER_SUSPENDING));
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts, ACPI_PM1_SLPBTN));
	cr_assert(eq(u64, model.delay_ns[POWER_TIMER_REQUEST], 10 * SECOND));
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model.now_ns += SECOND;
	model_fall_asleep();
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(eq(int, a.req.kind, POWER_SLEEP_S2IDLE));
	cr_assert(eq(u64, a.req.elapsed_ns, SECOND));
	cr_assert(not(model.armed[POWER_TIMER_REQUEST]));
}

Test(power_request, a_guest_without_button_driver_is_deaf)
{
	static struct answer a;

	model_begin(1);
	model_pm1_enable(&model, 0);
	model_ask(&a, SECOND);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_DEAF));
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	cr_assert(eq(u32, model.nr_events, 0));
}

Test(power_request, a_guest_that_does_nothing_times_out)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, SECOND);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(u64, a.req.elapsed_ns, SECOND));
	cr_assert(eq(int, model.power.announced, POWER_RUNNING));
	cr_assert(not(model.armed[POWER_TIMER_REQUEST]));
}

/* ------------------------------------------------- a press that is dropped */

Test(power_request, a_press_without_a_sign_is_repeated_ever_less_often)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 30 * SECOND);
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert(eq(u64, model.delay_ns[POWER_TIMER_PRESS],
			     (4ULL << i) * SECOND));
		model_pm1_clear(&model, ACPI_PM1_SLPBTN);
		model_fire(&model, POWER_TIMER_PRESS);
		cr_assert(model_status(ACPI_PM1_SLPBTN));
	}
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(eq(u32, a.req.presses, 4));
	cr_assert(not(a.req.by_itself));
	cr_assert(not(model.armed[POWER_TIMER_PRESS]));
}

Test(power_request, a_press_that_was_not_taken_is_not_repeated)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	model_fire(&model, POWER_TIMER_PRESS);
	cr_assert(model.armed[POWER_TIMER_PRESS], "it looks again");
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(u32, a.req.presses, 1));
	cr_assert(eq(int, a.req.heard, POWER_HEARD_NOT));
	cr_assert(not(model.armed[POWER_TIMER_PRESS]));
}

Test(power_request, a_guest_grown_deaf_is_not_pressed_again)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_pm1_enable(&model, 0);
	model_fire(&model, POWER_TIMER_PRESS);
	cr_assert(not(model_status(ACPI_PM1_SLPBTN)));
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(u32, a.req.presses, 1));
	cr_assert(eq(int, a.req.heard, POWER_HEARD_DEAF));
}

/* Each sign that a guest gives on its way, in the order in which they come. */
static void goes_down(unsigned int sign)
{
	if (sign == 0)
		power_device_left(&model.power);
	else if (sign == 1)
		power_lps0(&model.power, true);
	else
		model_order(&model, 0, ORDER_C2);
}

Test(power_request, a_guest_on_its_way_down_is_not_pressed_again)
{
	for (unsigned int sign = 0; sign < 3; sign++) {
		static struct answer a;
		bool parked;

		model_begin(2);
		model_ask(&a, 10 * SECOND);
		model_pm1_clear(&model, ACPI_PM1_SLPBTN);
		goes_down(sign);
		do
			power_get_vcpu(&model.power, 0, &(bool){ 0 }, &parked);
		while (sign == 2 && !parked);
		power_poll(&model.power);
		model_fire(&model, POWER_TIMER_PRESS);
		cr_assert(not(model_status(ACPI_PM1_SLPBTN)), "sign %u", sign);
		cr_assert(not(model.armed[POWER_TIMER_PRESS]));
		if (sign < 2)
			model_all_read_c2();
		else
			model_order(&model, 1, ORDER_C2);
		MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
		cr_assert(eq(u32, a.req.presses, 1));
		cr_assert(eq(u32, model.power.unwanted, 0));
		if (sign < 2)
			model_finish(&model);
	}
}

Test(power_request, a_guest_that_just_woke_is_not_pressed_for_the_last_request)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	power_timer_fired(&model.power, POWER_TIMER_PRESS); /* one too many */
	cr_assert(not(model_status(ACPI_PM1_SLPBTN)));
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

Test(power_request, one_that_came_back_is_not_pressed_again)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_lps0(&model.power, true);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.armed[POWER_TIMER_REFUSED]);
	model_fire(&model, POWER_TIMER_PRESS);
	cr_assert(not(model_status(ACPI_PM1_SLPBTN)));
	model_fire(&model, POWER_TIMER_REFUSED);
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
}

Test(power_request, a_paused_guest_is_not_pressed)
{
	static struct answer a, pause = { .req.done = model_answered };

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_pause(&model.power, &pause.req, SECOND, false);
	cr_assert(power_is_paused(&model.power));
	model_fire(&model, POWER_TIMER_PRESS);
	cr_assert(not(model_status(ACPI_PM1_SLPBTN)));
	cr_assert(eq(u64, model.delay_ns[POWER_TIMER_PRESS], 4 * SECOND));
	power_unpause(&model.power);
	model_fire(&model, POWER_TIMER_PRESS);
	cr_assert(model_status(ACPI_PM1_SLPBTN));
}

/* The guest obeys a press that nobody wants any more, for the @n-th time. */
static void obeys_in_vain(unsigned int n, uint64_t cycles)
{
	model_all_read_c2();
	model_all_back(n);
	cr_assert(eq(u64, model.power.cycles, cycles), "it slept");
	model_pm1_clear(&model, ACPI_PM1_SLPBTN); /* what brought it back */
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

/* Both presses came through: the guest slept for one, and obeys the other. */
static void slept_by_two_presses(struct answer *a)
{
	model_begin(1);
	model_ask(a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fire(&model, POWER_TIMER_PRESS);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	cr_assert(eq(u32, a->req.presses, 2));
	model.now_ns += 3600 * SECOND;
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

Test(power_request, a_second_press_does_not_put_it_to_sleep_again)
{
	static struct answer a;

	slept_by_two_presses(&a);
	model.now_ns += SECOND;
	obeys_in_vain(2, 1);
	/* And no more than that: the next sleep is the guest's own. */
	model_fall_asleep();
	cr_assert(eq(u64, model.power.cycles, 2));
}

/*
 * A guest that is asked again in time sleeps for the press that was left, and
 * has the new one still to come.
 */
Test(power_request, a_press_that_was_left_is_not_forgotten_by_the_next_request)
{
	static struct answer a, b;

	slept_by_two_presses(&a);
	model.now_ns += SECOND;
	model_ask(&b, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	cr_assert(eq(int, b.outcome, POWER_ASLEEP));
	cr_assert(eq(u32, b.req.presses, 1), "those of its own");
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(2);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	model.now_ns += SECOND;
	obeys_in_vain(3, 2);
	model_fall_asleep();
	cr_assert(eq(u64, model.power.cycles, 3));
}

Test(power_request, a_press_that_was_taken_back_is_not_forgotten_either)
{
	static struct answer a, b;

	model_begin(1);
	model_ask(&a, 20 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	model_ask(&b, 20 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	obeys_in_vain(2, 1);
	model_fall_asleep();
}

Test(power_request, a_sleep_long_after_two_presses_is_the_guests_own)
{
	static struct answer a;

	slept_by_two_presses(&a);
	model.now_ns += 11 * SECOND;
	model_fall_asleep();
	cr_assert(eq(u64, model.power.cycles, 2));
}

Test(power_request, a_sleep_button_after_two_presses_is_meant)
{
	static struct answer a;

	slept_by_two_presses(&a);
	power_wake(&model.power, &model.power.sleepbtn);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_source_clear(&model.power, &model.power.sleepbtn);
	model_fall_asleep();
	cr_assert(eq(u64, model.power.cycles, 2));
}

Test(power_request, all_presses_that_were_taken_back_are_brought_back)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 20 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fire(&model, POWER_TIMER_PRESS);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	cr_assert(eq(int, power_cancel(&model.power), 0));
	cr_assert(eq(int, a.outcome, POWER_CANCELLED));
	obeys_in_vain(1, 0);
	obeys_in_vain(2, 0);
	model_fall_asleep();
}

Test(power_request, a_timeout_tells_what_became_of_the_press)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.req.heard, POWER_HEARD_TAKEN));
	model_ask(&a, SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_device_left(&model.power);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.req.heard, POWER_HEARD_BEGUN));
}

Test(power_request, a_button_tells_whether_the_guest_notices)
{
	model_begin(1);
	cr_assert(power_wake(&model.power, &model.power.powerbtn));
	model_pm1_enable(&model, 0);
	cr_assert(not(power_wake(&model.power, &model.power.powerbtn)));
	cr_assert(not(power_wake(&model.power, &model.power.sleepbtn)));
	model_pm1_enable(&model, BUTTONS);
	model_pm1_clear(&model, BUTTONS);
	power_source_clear(&model.power, &model.power.powerbtn);
	power_source_clear(&model.power, &model.power.sleepbtn);
	model.power.powerbtn.off = true;
	model_fall_asleep();
	cr_assert(not(power_wake(&model.power, &model.power.powerbtn)));
	cr_assert(power_wake(&model.power, &model.power.sleepbtn));
}

/* ------------------------------------------------------------- how it ends */

Test(power_request, a_timeout_half_way_down_leaves_the_guest_its_way)
{
	static struct answer a;

	model_begin(2);
	model_ask(&a, SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_lps0(&model.power, true);
	power_poll(&model.power);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(int, model_state(), POWER_SUSPENDING));
	model_fall_asleep();
	cr_assert(eq(u32, a.calls, 1));
}

Test(power_request, a_guest_that_comes_back_by_itself_refused)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, SECOND);
	power_lps0(&model.power, true);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.power.announced == POWER_RUNNING);
	cr_assert(eq(u32, a.calls, 0), "it may try again");
	model_stays_awake();
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

/* Autosleep takes the press for a wake event, and sleeps a moment later. */
Test(power_request, a_guest_that_comes_back_and_tries_again_sleeps)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	power_lps0(&model.power, true);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.armed[POWER_TIMER_REFUSED]);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_lps0(&model.power, true);
	model_fall_asleep();
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(a.req.by_itself);
	cr_assert(not(model.armed[POWER_TIMER_REFUSED]));
}

Test(power_request, a_guest_that_comes_back_may_still_time_out)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, SECOND / 2);
	power_lps0(&model.power, true);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.armed[POWER_TIMER_REFUSED]);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	model_fire(&model, POWER_TIMER_REFUSED);
	cr_assert(eq(u32, a.calls, 1));
}

Test(power_request, devices_that_come_back_are_a_refusal)
{
	static struct answer a;

	model_begin(1);
	power_device_left(&model.power); /* no request: not counted */
	power_device_live(&model.power);
	model_ask(&a, SECOND);
	power_device_left(&model.power);
	power_device_left(&model.power);
	power_device_live(&model.power);
	cr_assert(eq(u32, a.calls, 0));
	power_device_live(&model.power);
	model_stays_awake();
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
}

Test(power_request, a_device_that_does_not_stop_rolls_all_back)
{
	static struct answer a;

	model_begin(2);
	model.quiesce = DEVICE_FAILS;
	model_ask(&a, SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_all_read_c2();
	model_all_back(1);
	cr_assert(eq(int, a.outcome, POWER_FAILED));
	cr_assert(is_named(a.req.device, "blk0"));
	cr_assert(eq(u32, model.restarts, 1));
	cr_assert(not(model_saw(POWER_SUSPENDED)));
	/* It works the next time. */
	model.quiesce = DEVICE_AT_ONCE;
	model_fall_asleep();
}

Test(power_request, a_late_answer_of_the_devices_means_nothing)
{
	model_begin(1);
	power_quiesced(&model.power, 0, NULL);
	power_quiesced(&model.power, -EIO, "blk0");
	power_restarted(&model.power);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	cr_assert(eq(u32, model.restarts, 0));
}

Test(power_request, several_requests_end_together_or_by_their_own_deadline)
{
	static struct answer a, b, c;

	model_begin(1);
	model_ask(&a, SECOND);
	model_ask(&b, 5 * SECOND);
	model_ask(&c, 3 * SECOND);
	cr_assert(eq(u64, model.delay_ns[POWER_TIMER_REQUEST], SECOND));
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(u32, b.calls + c.calls, 0));
	cr_assert(eq(int, model_state(), POWER_SUSPENDING));
	cr_assert(eq(u64, model.delay_ns[POWER_TIMER_REQUEST], 2 * SECOND));
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	cr_assert(eq(int, b.outcome, POWER_ASLEEP));
	cr_assert(eq(int, c.outcome, POWER_ASLEEP));
	cr_assert(eq(u32, a.calls + b.calls + c.calls, 3));
}

Test(power_request, a_request_to_a_sleeping_guest_is_done_at_once)
{
	static struct answer a;

	model_begin(1);
	model_fall_asleep();
	model_ask(&a, SECOND);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts, 0), "not disturbed");
}

Test(power_request, a_request_to_one_going_down_does_not_disturb_it)
{
	static struct answer a;

	model_begin(1);
	power_lps0(&model.power, true);
	model_ask(&a, SECOND);
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts, 0));
	model_fall_asleep();
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
}

Test(power_request, a_request_on_the_way_up_waits_for_the_top)
{
	static struct answer a;

	model_begin(2);
	power_lps0(&model.power, true);
	model.restart = DEVICE_LATER;
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	/* Devices are on their way: nothing may begin now. */
	model_ask(&a, 10 * SECOND);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	power_restarted(&model.power);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	cr_assert(not(model_status(ACPI_PM1_SLPBTN)));
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDING);
	cr_assert(eq(u32, a.calls, 0), "the old sleep's exit is not a refusal");
	cr_assert(model_status(ACPI_PM1_SLPBTN));
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_lps0(&model.power, true);
	model_fall_asleep();
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
}

Test(power_request, a_request_on_the_way_up_of_a_guest_grown_deaf)
{
	static struct answer a;

	model_begin(1);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_ask(&a, 10 * SECOND);
	model_pm1_enable(&model, 0);
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(eq(int, a.outcome, POWER_DEAF));
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

Test(power_request, a_request_on_the_way_up_may_time_out_there)
{
	static struct answer a;

	model_begin(1);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_ask(&a, 0);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(eq(int, model_state(), POWER_RUNNING),
		  "nobody wants it any more");
}

Test(power_request, the_late_exit_of_a_slow_guest_is_no_refusal)
{
	static struct answer a;

	model_begin(1);
	power_lps0(&model.power, true);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	model_ask(&a, 10 * SECOND);
	power_lps0(&model.power, false);
	power_poll(&model.power);
	cr_assert(eq(u32, a.calls, 0));
	cr_assert(eq(int, model_state(), POWER_SUSPENDING));
	/* The next exit is one. */
	power_lps0(&model.power, true);
	power_lps0(&model.power, false);
	model_stays_awake();
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
}

Test(power_request, an_exit_told_but_not_yet_seen_is_no_refusal_either)
{
	static struct answer a;

	model_begin(1);
	power_lps0(&model.power, true);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	power_lps0(&model.power, false);
	model_ask(&a, 10 * SECOND);
	power_poll(&model.power);
	cr_assert(eq(u32, a.calls, 0));
}

Test(power_request, the_end_of_the_vm_ends_requests_and_holds)
{
	static struct answer a;

	model_begin(2);
	model_ask(&a, SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 0));
	power_stop(&model.power);
	cr_assert(eq(int, a.outcome, POWER_ENDED));
	MODEL_UNTIL(&model, model_done(&model, 0) == 1);
	/* And nothing holds any more. */
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_done(&model, 1) == 1);
	model_order(&model, 1, ORDER_S1);
	MODEL_UNTIL(&model, model_done(&model, 1) == 2);
}

/* ------------------------------------------------------- dialects of LPS0 */

static void dialect(const uint8_t *entry, const uint8_t *exit)
{
	model_begin(1);
	for (unsigned int round = 1; round <= 3; round++) {
		for (const uint8_t *code = entry; *code; code++)
			model_lps0_code(&model, *code);
		model_fall_asleep();
		power_wake(&model.power, &model.power.powerbtn);
		model_all_back(round);
		model_pm1_clear(&model, ACPI_PM1_PWRBTN);
		for (const uint8_t *code = exit; *code; code++)
			model_lps0_code(&model, *code);
		MODEL_UNTIL(&model, model.power.announced == POWER_RUNNING);
		cr_assert(eq(u32, model.nr_events, 4 * round));
	}
}

#define INTEL(n) (PMC_LPS0_INTEL | (n))
#define AMD(n)	 (PMC_LPS0_AMD | (n))
#define MS(n)	 (PMC_LPS0_MICROSOFT | (n))

Test(power_request, notices_in_the_order_of_linux_6_1_on_amd)
{
	static const uint8_t entry[] = {
		AMD(4), MS(3), AMD(2), MS(5), MS(7), 0
	};
	static const uint8_t exit[] = {
		MS(8), AMD(3), MS(6), MS(4), AMD(5), 0
	};

	dialect(entry, exit);
}

Test(power_request, notices_in_the_order_of_linux_6_1_on_intel)
{
	static const uint8_t entry[] = { INTEL(3), INTEL(5), 0 };
	static const uint8_t exit[] = { INTEL(6), INTEL(4), 0 };

	dialect(entry, exit);
}

Test(power_request, notices_in_the_order_of_linux_6_12_on_amd)
{
	static const uint8_t entry[] = {
		AMD(4), MS(3), AMD(2), MS(7), MS(5), 0
	};
	static const uint8_t exit[] = {
		AMD(3), MS(6), MS(8), MS(4), AMD(5), 0
	};

	dialect(entry, exit);
}

Test(power_request, notices_in_the_order_of_linux_6_12_on_intel)
{
	static const uint8_t entry[] = { INTEL(3), MS(3),    MS(7),
					 MS(5),	   INTEL(5), 0 };
	static const uint8_t exit[] = { INTEL(6), MS(6),    MS(8),
					MS(4),	  INTEL(4), 0 };

	dialect(entry, exit);
}
