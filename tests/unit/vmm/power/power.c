/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/power/power.h: the ways down and up, the census, wakes, shallow sleep. */
#include "tests/lib/power_race.h"
#include "tests/lib/power_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(power, .fini = model_end, .timeout = 480);

/* ----------------------------------------------------- the diagram */

Test(power, all_reads_make_it_sleep_and_a_button_wakes_it)
{
	model_begin(4);
	model_fall_asleep();
	cr_assert(eq(u32, model.quiesces, 1));
	cr_assert(eq(int, model.power.kind, POWER_SLEEP_S2IDLE));
	cr_assert(eq(u32, model.power.cycles, 1));
	model.now_ns += 5 * SECOND;
	/* The sleep that goes on is counted, so its time is. */
	cr_assert(
		eq(u64,
		   power_stats_all_asleep_ns(&model.power.stats, model.now_ns),
		   5 * SECOND));
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	model_all_back(1);
	model.now_ns += SECOND;
	cr_assert(
		eq(u64,
		   power_stats_all_asleep_ns(&model.power.stats, model.now_ns),
		   5 * SECOND));
	model.now_ns -= SECOND;
	cr_assert(eq(u64, model.power.powerbtn.wakes, 1));
	cr_assert(model.power.last_wake == &model.power.powerbtn);
	/* The SCI was there before anyone ran. */
	cr_assert(atomic_load(&model.sci_level));
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	cr_assert(eq(u32, model.nr_events, 4));
	cr_assert(eq(int, model.events[0].state, POWER_SUSPENDING));
	cr_assert(eq(int, model.events[1].state, POWER_SUSPENDED));
	cr_assert(eq(int, model.events[2].state, POWER_RESUMING));
	cr_assert(is_named(model.events[2].source, "powerbtn"));
	cr_assert(eq(int, model.events[3].state, POWER_RUNNING));
}

Test(power, lps0_exit_ends_resuming)
{
	model_begin(2);
	power_lps0(&model.power, true);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.power.announced == POWER_RUNNING);
	cr_assert(not(model.armed[POWER_TIMER_RESUME]));
	cr_assert(not(model.power.powerbtn.latched), "delivered");
}

/* Else a slow one that looks at the port on its way up would be asleep again.
 */
Test(power, lps0_exit_is_waited_for_longer_than_a_guest_without_it)
{
	model_begin(1);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(u64, model.delay_ns[POWER_TIMER_RESUME], 20 * NS_PER_MS));
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	power_lps0(&model.power, true);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(u64, model.delay_ns[POWER_TIMER_RESUME], 200 * NS_PER_MS));
	model_all_back(2);
}

Test(power, reads_return_at_once_while_resuming)
{
	model_begin(2);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	for (unsigned int i = 2; i < 10; i++) {
		model_all_read_c2();
		model_all_back(i);
	}
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	cr_assert(eq(u32, model.quiesces, 1));
}

Test(power, back_to_the_port_without_a_second_lps0_entry_is_asleep_again)
{
	model_begin(2);
	power_lps0(&model.power, true);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fire(&model, POWER_TIMER_RESUME);
	model_fall_asleep();
	cr_assert(eq(u32, model.power.cycles, 2));
}

Test(power, lps0_exit_before_everyone_parked_is_a_return)
{
	model_begin(2);
	power_lps0(&model.power, true);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 1));
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDING);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.power.announced == POWER_RUNNING);
	MODEL_UNTIL(&model, model_done(&model, 1) == 1);
	cr_assert(eq(u32, model.quiesces, 0));
}

Test(power, entry_and_exit_between_two_turns_say_nothing)
{
	model_begin(1);
	power_lps0(&model.power, true);
	power_lps0(&model.power, false);
	power_poll(&model.power);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	cr_assert(eq(u32, model.nr_events, 0));
}

Test(power, entry_after_exit_between_two_turns_is_the_next_sleep)
{
	model_begin(1);
	power_lps0(&model.power, true);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	power_lps0(&model.power, false);
	power_lps0(&model.power, true);
	power_poll(&model.power);
	cr_assert(eq(int, model_state(), POWER_SUSPENDING));
	cr_assert(not(model.armed[POWER_TIMER_RESUME]));
	cr_assert(eq(int, model.events[3].state, POWER_RUNNING));
	cr_assert(eq(int, model.events[4].state, POWER_SUSPENDING));
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	model_fall_asleep();
}

/* The main loop hears of the exit only after a press that came later. */
Test(power, an_event_after_the_exit_is_not_taken_with_it)
{
	model_begin(1);
	power_lps0(&model.power, true);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	power_lps0(&model.power, false);
	power_lps0(&model.power, true);
	model.now_ns += NS_PER_MS;
	power_wake(&model.power, &model.power.sleepbtn);
	power_poll(&model.power);
	cr_assert(not(model.power.powerbtn.latched));
	cr_assert(model.power.sleepbtn.latched);
	/* Wiped on the way to the next sleep, which it ends all the same. */
	model_pm1_clear(&model, BUTTONS);
	model_gpe_write(&model, 0, WAKE_GPE);
	model_all_read_c2();
	MODEL_UNTIL(&model, model_state() == POWER_RESUMING);
	cr_assert(eq(u64, model.power.cycles, 1));
}

Test(power, a_guest_without_lps0_that_runs_on_is_running)
{
	model_begin(2);
	power_ran(&model.power, 1);
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 0));
	model_set_bits(&model, 0, VCPU_PENDING);
	MODEL_UNTIL(&model, model_done(&model, 0) == 1);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDING);
	model_fire(&model, POWER_TIMER_SHALLOW);
	cr_assert(eq(int, model_state(), POWER_SUSPENDING),
		  "one look proves nothing");
	model_fire(&model, POWER_TIMER_SHALLOW);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	cr_assert(not(model.armed[POWER_TIMER_SHALLOW]));
}

/* ----------------------------------------------------- who counts */

Test(power, a_vcpu_that_never_started_counts_as_parked)
{
	model_begin(3);
	model_set_bits(&model, 1, VCPU_DOWN);
	model_set_bits(&model, 2, VCPU_DOWN | VCPU_OFFLINE);
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

/* In the kernel KVM would wake its thread every 300 s. */
Test(power, a_vcpu_that_is_down_is_held_as_long_as_the_guest_sleeps)
{
	model_begin(3);
	model_set_bits(&model, 1, VCPU_DOWN);
	model_set_bits(&model, 2, VCPU_OFFLINE | VCPU_HALTED);
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	MODEL_UNTIL(&model, model_parked(&model, 1) && model_parked(&model, 2));
	cr_assert(eq(int, power_wake_forced(&model.power), 0));
	MODEL_UNTIL(&model,
		    !model_parked(&model, 1) && !model_parked(&model, 2));
	MODEL_UNTIL(&model, model_done(&model, 0) == 1);
}

Test(power, an_offline_vcpu_is_halted_and_not_held)
{
	model_begin(2);
	model_set_bits(&model, 1, VCPU_OFFLINE);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_done(&model, 1) == 1);
	cr_assert(eq(u32, atomic_load(&model.cpus[1].bits),
		     VCPU_OFFLINE | VCPU_HALTED));
	cr_assert(eq(int, model_state(), POWER_RUNNING),
		  "hotplug is not a sleep");
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

Test(power, a_vcpu_going_offline_last_completes_the_sleep)
{
	model_begin(2);
	/* Both have run. */
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 1));
	power_lps0(&model.power, true);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model_done(&model, 1) == 1);
	model.now_ns += 2 * SECOND;
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 0));
	model_set_bits(&model, 1, VCPU_OFFLINE);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

Test(power, a_pending_interrupt_of_a_disabled_apic_is_none)
{
	model_begin(2);
	model_set_bits(&model, 1, VCPU_OFFLINE | VCPU_HALTED | VCPU_PENDING);
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

Test(power, a_vcpu_found_running_by_the_census_is_waited_for)
{
	unsigned int kicks;

	model_begin(2);
	/* vCPU 1 has made no exit yet, but runs. */
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, atomic_load(&model.cpus[1].kicks) > 0);
	MODEL_UNTIL(&model, __atomic_load_n(&model.power.vcpus[1].up,
					    __ATOMIC_RELAXED));
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDING);
	cr_assert(model_parked(&model, 0));
	kicks = atomic_load(&model.cpus[1].kicks);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	cr_assert(eq(u32, atomic_load(&model.cpus[1].kicks), kicks),
		  "nobody kicks who waits");
}

Test(power, a_vcpu_that_went_down_unseen_is_found_by_a_look)
{
	model_begin(2);
	model_order(&model, 1, ORDER_NONE);
	power_ran(&model.power, 1);
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model.armed[POWER_TIMER_SHALLOW]);
	MODEL_UNTIL(&model, model_parked(&model, 0));
	model_set_bits(&model, 1, VCPU_OFFLINE | VCPU_HALTED);
	model_fire(&model, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

/* vCPU 0's look at itself takes until vCPU 1 is in the port or back from it. */
static void slow_look(struct model *m, unsigned int cpu)
{
	bool census;

	(void)pthread_mutex_lock(&m->power.lock);
	census = m->power.census_missing > 0;
	(void)pthread_mutex_unlock(&m->power.lock);
	while (cpu == 0 && census && !model_parked(m, 1) && !model_done(m, 1))
		(void)sched_yield();
}

/* A census that vCPU 0 has begun has found vCPU 1 running, and goes on. */
static void found_running(void)
{
	model_begin(2);
	model.in_inspect = slow_look;
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, model_report(&model, 1) == POWER_REPORT_RUNNING);
}

Test(power, a_vcpu_that_parks_before_the_census_is_over_is_looked_at_again)
{
	found_running();
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	cr_assert(eq(u32, model.power.census_round, 3));
}

Test(power,
     a_vcpu_that_goes_offline_before_the_census_is_over_is_not_waited_for)
{
	found_running();
	model_set_bits(&model, 1, VCPU_OFFLINE);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	cr_assert(eq(u32, model.power.census_round, 3));
}

/* Its thread got no CPU from the read to the guest's exit notice. */
Test(power, a_read_that_is_told_after_the_exit_notice_is_no_sign)
{
	model_begin(2);
	power_lps0(&model.power, true);
	model_fall_asleep();
	(void)power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.power.announced == POWER_RUNNING);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_done(&model, 1) == 2);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	/* Much later it is one. */
	model.now_ns += 2 * SECOND;
	model_fall_asleep();
}

/* -------------------------------------------- something is pending */

Test(power, the_last_to_park_with_an_interrupt_pending_lets_all_go)
{
	model_begin(2);
	power_ran(&model.power, 0);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 1));
	model_set_bits(&model, 0, VCPU_PENDING);
	model_order(&model, 0, ORDER_C2);
	model_all_back(1);
	cr_assert(eq(u32, model.quiesces, 0));
	cr_assert(not(model_saw(POWER_SUSPENDED)));
	/* It took it, and all go back to the port. */
	model_set_bits(&model, 0, 0);
	model_fall_asleep();
}

Test(power, an_interrupt_ends_a_hold_while_others_still_run)
{
	model_begin(2);
	power_ran(&model.power, 0);
	power_ran(&model.power, 1);
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 1));
	model_set_bits(&model, 1, VCPU_PENDING); /* an IPI of vCPU 0 */
	MODEL_UNTIL(&model, model_done(&model, 1) == 1);
	cr_assert(not(model_parked(&model, 1)));
	cr_assert(eq(int, model_state(), POWER_SUSPENDING));
}

static void irq_in_quiesce(struct model *m)
{
	model_set_bits(m, 1, VCPU_PENDING);
	m->in_quiesce = NULL;
}

Test(power, the_last_interrupt_of_a_stopping_device_is_not_lost)
{
	model_begin(2);
	model.in_quiesce = irq_in_quiesce;
	model_all_read_c2();
	model_all_back(1);
	cr_assert(eq(u32, model.restarts, 1), "devices first");
	cr_assert(eq(int, model_state(), POWER_SUSPENDING));
	cr_assert(model.armed[POWER_TIMER_SHALLOW]);
	cr_assert(not(model_saw(POWER_SUSPENDED)));
	model_set_bits(&model, 1, 0);
	model_fall_asleep();
	cr_assert(eq(u32, model.quiesces, 2));
}

Test(power, devices_are_back_before_anyone_runs)
{
	model_begin(2);
	model.in_quiesce = irq_in_quiesce;
	model.restart = DEVICE_LATER;
	model_all_read_c2();
	MODEL_UNTIL(&model, model.restarts == 1);
	cr_assert(eq(u32, model_done(&model, 0) + model_done(&model, 1), 0));
	power_restarted(&model.power);
	model_all_back(1);
}

Test(power, a_vcpu_parked_in_a_former_generation_does_not_count)
{
	struct power *p = &model.power;

	model_begin(2);
	model_all_read_c2();
	MODEL_UNTIL(&model, p->announced == POWER_SUSPENDED);
	/* Unpark, and let vCPU 1 be back before vCPU 0's thread ran. */
	(void)pthread_mutex_lock(&p->lock);
	p->step = POWER_STEP_AWAKE;
	power_unpark_all(p);
	cr_assert(not(p->vcpus[0].parked));
	cr_assert(not(p->vcpus[1].parked));
	(void)pthread_mutex_unlock(&p->lock);
	model_all_back(1);
	model.power.announced = POWER_RUNNING;
	model_order(&model, 1, ORDER_C2);
	MODEL_UNTIL(&model, model_parked(&model, 1));
	cr_assert(eq(u32, model.quiesces, 1), "vCPU 0 has not parked again");
	model_order(&model, 0, ORDER_C2);
	MODEL_UNTIL(&model, p->announced == POWER_SUSPENDED);
}

/* ------------------------------------------------------------ wakes */

Test(power, a_wake_during_quiesce_ends_the_sleep_at_the_last_look)
{
	static struct answer a;

	model_begin(2);
	model.quiesce = DEVICE_LATER;
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_all_read_c2();
	MODEL_UNTIL(&model, model.quiesces == 1);
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(int, model_state(), POWER_SUSPENDING));
	power_quiesced(&model.power, 0, NULL);
	MODEL_UNTIL(&model, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_ABORTED));
	cr_assert(is_named(a.req.source, "powerbtn"));
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	model_all_back(1);
	cr_assert(eq(u32, model.power.cycles, 0));
	cr_assert(eq(u64, model.power.powerbtn.wakes, 0), "it never slept");
}

Test(power, a_wake_before_the_census_is_found_by_it)
{
	static struct answer a;

	model_begin(1);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_lps0(&model.power, true);
	power_wake(&model.power, &model.power.powerbtn);
	model_set_bits(&model, 0, VCPU_PENDING); /* the SCI */
	model_order(&model, 0, ORDER_C2);
	model_all_back(1);
	model_set_bits(&model, 0, 0);
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_ABORTED));
	cr_assert(is_named(a.req.source, "powerbtn"));
	cr_assert(eq(int, model_state(), POWER_RUNNING));
}

Test(power, a_latch_from_before_the_sleep_names_itself)
{
	static struct answer a;

	model_begin(1);
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(int, model_state(), POWER_RUNNING));
	/* The guest wipes the status without having taken the event. */
	model_pm1_clear(&model, BUTTONS | ACPI_PM1_RTC);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	model_all_read_c2();
	MODEL_UNTIL(&model, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_ABORTED));
	cr_assert(is_named(a.req.source, "powerbtn"));
}

Test(power, a_taken_event_does_not_end_the_next_sleep)
{
	model_begin(1);
	power_wake(&model.power, &model.power.powerbtn);
	model_pm1_clear(&model, ACPI_PM1_PWRBTN);
	power_source_clear(&model.power, &model.power.powerbtn);
	model_fall_asleep();
}

Test(power, a_guest_without_lps0_exit_was_told_all_the_same)
{
	model_begin(1);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_pm1_clear(&model, BUTTONS);
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(not(model.power.powerbtn.latched));
	model_fall_asleep();
}

Test(power, an_sci_left_asserted_is_no_sleep)
{
	model_begin(1);
	acpi_pm_raise(&model.pm, ACPI_PM1_PWRBTN, 0);
	model_all_read_c2();
	model_all_back(1);
	MODEL_UNTIL(&model, model.power.announced == POWER_RESUMING);
	cr_assert(not(model_saw(POWER_SUSPENDED)));
}

Test(power, what_the_guest_has_not_enabled_does_not_wake_it)
{
	struct wake_source net = { .name = "net0", .gpe_bit = 1 };

	model_begin(1);
	power_add_source(&model.power, &net);
	model_pm1_enable(&model, ACPI_PM1_SLPBTN);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	power_wake(&model.power, &net);
	power_wake(&model.power, &model.power.rtc);
	cr_assert(eq(int, model_state(), POWER_SUSPENDED));
	cr_assert(eq(u64, net.count, 1));
	/* Armed by _DSW, but the GPE's enable bit is what decides. */
	net.armed = true;
	power_wake(&model.power, &net);
	cr_assert(eq(int, model_state(), POWER_SUSPENDED));
	model_gpe_write(&model, 4, 1);
	power_wake(&model.power, &net);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	cr_assert(eq(u64, net.wakes, 1));
}

Test(power, an_interrupt_source_wakes_when_it_is_armed)
{
	struct wake_source serial = { .name = "serial", .irq = &model.sci };

	model_begin(1);
	power_add_source(&model.power, &serial);
	model_fall_asleep();
	power_wake(&model.power, &serial);
	cr_assert(eq(int, model_state(), POWER_SUSPENDED));
	serial.armed = true;
	power_wake(&model.power, &serial);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	cr_assert(not(atomic_load(&model.sci_level)),
		  "its line is its owner's");
}

Test(power, a_forced_wake_takes_the_button_the_guest_hears)
{
	model_begin(1);
	cr_assert(eq(int, power_wake_forced(&model.power), 0), "awake");
	cr_assert(not(model.power.launcher.latched));
	model_pm1_enable(&model, 0);
	model_fall_asleep();
	cr_assert(eq(int, power_wake_forced(&model.power), -EOPNOTSUPP));
	model_pm1_enable(&model, ACPI_PM1_PWRBTN);
	cr_assert(eq(int, power_wake_forced(&model.power), 0));
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts, ACPI_PM1_PWRBTN));
	cr_assert(is_named(model.power.last_wake->name, "launcher"));
}

Test(power, a_button_that_finds_it_asleep_is_no_key_press)
{
	model_init(&model, 1, WAKE_GPE);
	model_start(&model, NULL);
	model_pm1_enable(&model, BUTTONS);
	model_gpe_write(&model, 4, WAKE_GPE);
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts, 0));
	cr_assert(eq(u32, acpi_pm_get(&model.pm).gpe_sts, WAKE_GPE));
}

Test(power, a_key_press_not_taken_yet_is_not_raised_twice)
{
	model_init(&model, 1, WAKE_GPE);
	model_start(&model, NULL);
	model_pm1_enable(&model, BUTTONS);
	model_gpe_write(&model, 4, WAKE_GPE);
	power_wake(&model.power, &model.power.powerbtn);
	model_all_read_c2();
	model_all_back(1);
	cr_assert(not(model_saw(POWER_SUSPENDED)));
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts, ACPI_PM1_PWRBTN));
	cr_assert(eq(u32, acpi_pm_get(&model.pm).gpe_sts, 0));
}

Test(power, a_source_that_is_off_does_not_wake_and_ends_no_later_sleep)
{
	model_begin(1);
	model.power.powerbtn.off = true;
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(int, model_state(), POWER_SUSPENDED));
	cr_assert(eq(u64, model.power.powerbtn.count, 1));
	cr_assert(not(model.power.powerbtn.latched));
	power_wake(&model.power, &model.power.sleepbtn);
	cr_assert(eq(int, model_state(), POWER_RESUMING));
}

Test(power, a_source_that_is_off_reaches_a_guest_that_is_awake)
{
	model_begin(1);
	model.power.powerbtn.off = true;
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(u32, acpi_pm_get(&model.pm).pm1_sts, ACPI_PM1_PWRBTN));
}

Test(power, a_wake_on_the_way_up_is_counted_only)
{
	model_begin(1);
	model.restart = DEVICE_LATER;
	model_fall_asleep();
	power_wake(&model.power, &model.power.powerbtn);
	power_wake(&model.power, &model.power.sleepbtn);
	cr_assert(eq(u32, model.restarts, 1));
	cr_assert(eq(u64, model.power.sleepbtn.count, 1));
	cr_assert(eq(u64, model.power.sleepbtn.wakes, 0));
	power_restarted(&model.power);
	power_restarted(&model.power); /* one too many is none */
	model_all_back(1);
}

/* ------------------------------------------------------------ shallow */

Test(power, a_guest_without_c2_sleeps_shallowly)
{
	static struct answer a;

	model_begin(2);
	model_ask(&a, 10 * SECOND);
	model_pm1_clear(&model, ACPI_PM1_SLPBTN);
	power_lps0(&model.power, true);
	for (unsigned int i = 0; i < 2; i++)
		model_set_bits(&model, i, VCPU_HALTED);
	MODEL_UNTIL(&model, model.armed[POWER_TIMER_SHALLOW]);
	model_fire(&model, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&model, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(eq(int, a.req.kind, POWER_SLEEP_SHALLOW));
	cr_assert(model_parked(&model, 0) && model_parked(&model, 1));
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(not(model_parked(&model, 0) || model_parked(&model, 1)));
}

Test(power, a_shallow_census_that_finds_one_running_holds_nobody)
{
	model_begin(2);
	power_lps0(&model.power, true);
	model_set_bits(&model, 0, VCPU_HALTED);
	MODEL_UNTIL(&model, model.armed[POWER_TIMER_SHALLOW]);
	model_fire(&model, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&model, __atomic_load_n(&model.power.census_missing,
					    __ATOMIC_RELAXED) == 0);
	MODEL_UNTIL(&model, !model_parked(&model, 0));
	cr_assert(not(model_saw(POWER_SUSPENDED)));
	/* And looks again. */
	model_set_bits(&model, 1, VCPU_HALTED);
	model_fire(&model, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

Test(power, a_halted_vcpu_with_an_interrupt_pending_is_not_asleep)
{
	model_begin(1);
	power_lps0(&model.power, true);
	model_set_bits(&model, 0, VCPU_HALTED | VCPU_PENDING);
	MODEL_UNTIL(&model, model.armed[POWER_TIMER_SHALLOW]);
	model_fire(&model, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&model, __atomic_load_n(&model.power.census_missing,
					    __ATOMIC_RELAXED) == 0);
	cr_assert(not(model_saw(POWER_SUSPENDED)));
	model_set_bits(&model, 0, VCPU_HALTED);
	model_fire(&model, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

Test(power, a_thousand_wakes_race_the_way_down)
{
	unsigned int slept = power_race(&model, 1000, 1);

	cr_assert(gt(u32, slept, 50), "some slept: %u", slept);
	cr_assert(lt(u32, slept, 950), "some did not: %u", slept);
}
