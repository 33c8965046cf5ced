/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/power/power.h: the ways down and up, the census, wakes, shallow sleep. */
#include "tests/lib/power_race.h"
#include "tests/lib/power_test.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(power, .fini = teardown, .timeout = 480);

/* ----------------------------------------------------- the diagram */

Test(power, all_reads_make_it_sleep_and_a_button_wakes_it)
{
	begin(4);
	fall_asleep();
	cr_assert(eq(u32, m.quiesces, 1));
	cr_assert(eq(int, m.power.kind, POWER_SLEEP_S2IDLE));
	cr_assert(eq(u32, m.power.cycles, 1));
	m.now_ns += 5 * SECOND;
	/* The sleep that goes on is counted, so its time is. */
	cr_assert(eq(u64, power_stats_all_asleep_ns(&m.power.stats, m.now_ns),
		     5 * SECOND));
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(int, state(), POWER_RESUMING));
	all_back(1);
	m.now_ns += SECOND;
	cr_assert(eq(u64, power_stats_all_asleep_ns(&m.power.stats, m.now_ns),
		     5 * SECOND));
	m.now_ns -= SECOND;
	cr_assert(eq(u64, m.power.powerbtn.wakes, 1));
	cr_assert(m.power.last_wake == &m.power.powerbtn);
	/* The SCI was there before anyone ran. */
	cr_assert(atomic_load(&m.sci_level));
	model_fire(&m, POWER_TIMER_RESUME);
	cr_assert(eq(int, state(), POWER_RUNNING));
	cr_assert(eq(u32, m.nr_events, 4));
	cr_assert(eq(int, m.events[0].state, POWER_SUSPENDING));
	cr_assert(eq(int, m.events[1].state, POWER_SUSPENDED));
	cr_assert(eq(int, m.events[2].state, POWER_RESUMING));
	cr_assert(is(m.events[2].source, "powerbtn"));
	cr_assert(eq(int, m.events[3].state, POWER_RUNNING));
}

Test(power, lps0_exit_ends_resuming)
{
	begin(2);
	power_lps0(&m.power, true);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	power_lps0(&m.power, false);
	MODEL_UNTIL(&m, m.power.announced == POWER_RUNNING);
	cr_assert(not(m.armed[POWER_TIMER_RESUME]));
	cr_assert(not(m.power.powerbtn.latched), "delivered");
}

/* Else a slow one that looks at the port on its way up would be asleep again.
 */
Test(power, lps0_exit_is_waited_for_longer_than_a_guest_without_it)
{
	begin(1);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(u64, m.delay_ns[POWER_TIMER_RESUME], 20 * NS_PER_MS));
	all_back(1);
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	model_fire(&m, POWER_TIMER_RESUME);
	power_lps0(&m.power, true);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(u64, m.delay_ns[POWER_TIMER_RESUME], 200 * NS_PER_MS));
	all_back(2);
}

Test(power, reads_return_at_once_while_resuming)
{
	begin(2);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	for (unsigned int i = 2; i < 10; i++) {
		all_read_c2();
		all_back(i);
	}
	cr_assert(eq(int, state(), POWER_RESUMING));
	cr_assert(eq(u32, m.quiesces, 1));
}

Test(power, back_to_the_port_without_a_second_lps0_entry_is_asleep_again)
{
	begin(2);
	power_lps0(&m.power, true);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	model_fire(&m, POWER_TIMER_RESUME);
	fall_asleep();
	cr_assert(eq(u32, m.power.cycles, 2));
}

Test(power, lps0_exit_before_everyone_parked_is_a_return)
{
	begin(2);
	power_lps0(&m.power, true);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 1));
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDING);
	power_lps0(&m.power, false);
	MODEL_UNTIL(&m, m.power.announced == POWER_RUNNING);
	MODEL_UNTIL(&m, model_done(&m, 1) == 1);
	cr_assert(eq(u32, m.quiesces, 0));
}

Test(power, entry_and_exit_between_two_turns_say_nothing)
{
	begin(1);
	power_lps0(&m.power, true);
	power_lps0(&m.power, false);
	power_poll(&m.power);
	cr_assert(eq(int, state(), POWER_RUNNING));
	cr_assert(eq(u32, m.nr_events, 0));
}

Test(power, entry_after_exit_between_two_turns_is_the_next_sleep)
{
	begin(1);
	power_lps0(&m.power, true);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	power_lps0(&m.power, false);
	power_lps0(&m.power, true);
	power_poll(&m.power);
	cr_assert(eq(int, state(), POWER_SUSPENDING));
	cr_assert(not(m.armed[POWER_TIMER_RESUME]));
	cr_assert(eq(int, m.events[3].state, POWER_RUNNING));
	cr_assert(eq(int, m.events[4].state, POWER_SUSPENDING));
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	fall_asleep();
}

/* The main loop hears of the exit only after a press that came later. */
Test(power, an_event_after_the_exit_is_not_taken_with_it)
{
	begin(1);
	power_lps0(&m.power, true);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	power_lps0(&m.power, false);
	power_lps0(&m.power, true);
	m.now_ns += NS_PER_MS;
	power_wake(&m.power, &m.power.sleepbtn);
	power_poll(&m.power);
	cr_assert(not(m.power.powerbtn.latched));
	cr_assert(m.power.sleepbtn.latched);
	/* Wiped on the way to the next sleep, which it ends all the same. */
	model_pm1_clear(&m, BUTTONS);
	model_gpe_write(&m, 0, WAKE_GPE);
	all_read_c2();
	MODEL_UNTIL(&m, state() == POWER_RESUMING);
	cr_assert(eq(u64, m.power.cycles, 1));
}

Test(power, a_guest_without_lps0_that_runs_on_is_running)
{
	begin(2);
	power_ran(&m.power, 1);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 0));
	model_set_bits(&m, 0, VCPU_PENDING);
	MODEL_UNTIL(&m, model_done(&m, 0) == 1);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDING);
	model_fire(&m, POWER_TIMER_SHALLOW);
	cr_assert(eq(int, state(), POWER_SUSPENDING), "one look is no proof");
	model_fire(&m, POWER_TIMER_SHALLOW);
	cr_assert(eq(int, state(), POWER_RUNNING));
	cr_assert(not(m.armed[POWER_TIMER_SHALLOW]));
}

/* ----------------------------------------------------- who counts */

Test(power, a_vcpu_that_never_started_counts_as_parked)
{
	begin(3);
	model_set_bits(&m, 1, VCPU_DOWN);
	model_set_bits(&m, 2, VCPU_DOWN | VCPU_OFFLINE);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
}

/* In the kernel KVM would wake its thread every 300 s. */
Test(power, a_vcpu_that_is_down_is_held_as_long_as_the_guest_sleeps)
{
	begin(3);
	model_set_bits(&m, 1, VCPU_DOWN);
	model_set_bits(&m, 2, VCPU_OFFLINE | VCPU_HALTED);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
	MODEL_UNTIL(&m, model_parked(&m, 1) && model_parked(&m, 2));
	cr_assert(eq(int, power_wake_forced(&m.power), 0));
	MODEL_UNTIL(&m, !model_parked(&m, 1) && !model_parked(&m, 2));
	MODEL_UNTIL(&m, model_done(&m, 0) == 1);
}

Test(power, an_offline_vcpu_is_halted_and_not_held)
{
	begin(2);
	model_set_bits(&m, 1, VCPU_OFFLINE);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_done(&m, 1) == 1);
	cr_assert(eq(u32, atomic_load(&m.cpus[1].bits),
		     VCPU_OFFLINE | VCPU_HALTED));
	cr_assert(eq(int, state(), POWER_RUNNING), "hotplug is no sleep");
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
}

Test(power, a_vcpu_going_offline_last_completes_the_sleep)
{
	begin(2);
	/* Both have run. */
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 1));
	power_lps0(&m.power, true);
	power_lps0(&m.power, false);
	MODEL_UNTIL(&m, model_done(&m, 1) == 1);
	m.now_ns += 2 * SECOND;
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 0));
	model_set_bits(&m, 1, VCPU_OFFLINE);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
}

Test(power, a_pending_interrupt_of_a_disabled_apic_is_none)
{
	begin(2);
	model_set_bits(&m, 1, VCPU_OFFLINE | VCPU_HALTED | VCPU_PENDING);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
}

Test(power, a_vcpu_found_running_by_the_census_is_waited_for)
{
	unsigned int kicks;

	begin(2);
	/* vCPU 1 has made no exit yet, but runs. */
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, atomic_load(&m.cpus[1].kicks) > 0);
	MODEL_UNTIL(&m,
		    __atomic_load_n(&m.power.vcpus[1].up, __ATOMIC_RELAXED));
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDING);
	cr_assert(model_parked(&m, 0));
	kicks = atomic_load(&m.cpus[1].kicks);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
	cr_assert(eq(u32, atomic_load(&m.cpus[1].kicks), kicks),
		  "nobody kicks who waits");
}

Test(power, a_vcpu_that_went_down_unseen_is_found_by_a_look)
{
	begin(2);
	model_order(&m, 1, ORDER_NONE);
	power_ran(&m.power, 1);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, m.armed[POWER_TIMER_SHALLOW]);
	MODEL_UNTIL(&m, model_parked(&m, 0));
	model_set_bits(&m, 1, VCPU_OFFLINE | VCPU_HALTED);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
}

/* vCPU 0's look at itself takes until vCPU 1 is in the port or back from it. */
static void slow_look(struct model *model, unsigned int cpu)
{
	bool census;

	(void)pthread_mutex_lock(&model->power.lock);
	census = model->power.census_missing > 0;
	(void)pthread_mutex_unlock(&model->power.lock);
	while (cpu == 0 && census && !model_parked(model, 1) &&
	       !model_done(model, 1))
		(void)sched_yield();
}

/* A census that vCPU 0 has begun has found vCPU 1 running, and goes on. */
static void found_running(void)
{
	begin(2);
	m.in_inspect = slow_look;
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, model_report(&m, 1) == POWER_REPORT_RUNNING);
}

Test(power, a_vcpu_that_parks_before_the_census_is_over_is_looked_at_again)
{
	found_running();
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
	cr_assert(eq(u32, m.power.census_round, 3));
}

Test(power,
     a_vcpu_that_goes_offline_before_the_census_is_over_is_not_waited_for)
{
	found_running();
	model_set_bits(&m, 1, VCPU_OFFLINE);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
	cr_assert(eq(u32, m.power.census_round, 3));
}

/* Its thread got no CPU from the read to the guest's exit notice. */
Test(power, a_read_that_is_told_after_the_exit_notice_is_no_sign)
{
	begin(2);
	power_lps0(&m.power, true);
	fall_asleep();
	(void)power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	power_lps0(&m.power, false);
	MODEL_UNTIL(&m, m.power.announced == POWER_RUNNING);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_done(&m, 1) == 2);
	cr_assert(eq(int, state(), POWER_RUNNING));
	/* Much later it is one. */
	m.now_ns += 2 * SECOND;
	fall_asleep();
}

/* -------------------------------------------- something is pending */

Test(power, the_last_to_park_with_an_interrupt_pending_lets_all_go)
{
	begin(2);
	power_ran(&m.power, 0);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 1));
	model_set_bits(&m, 0, VCPU_PENDING);
	model_order(&m, 0, ORDER_C2);
	all_back(1);
	cr_assert(eq(u32, m.quiesces, 0));
	cr_assert(not(saw(POWER_SUSPENDED)));
	/* It took it, and all go back to the port. */
	model_set_bits(&m, 0, 0);
	fall_asleep();
}

Test(power, an_interrupt_ends_a_hold_while_others_still_run)
{
	begin(2);
	power_ran(&m.power, 0);
	power_ran(&m.power, 1);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 1));
	model_set_bits(&m, 1, VCPU_PENDING); /* an IPI of vCPU 0 */
	MODEL_UNTIL(&m, model_done(&m, 1) == 1);
	cr_assert(not(model_parked(&m, 1)));
	cr_assert(eq(int, state(), POWER_SUSPENDING));
}

static void irq_in_quiesce(struct model *model)
{
	model_set_bits(model, 1, VCPU_PENDING);
	model->in_quiesce = NULL;
}

Test(power, the_last_interrupt_of_a_stopping_device_is_not_lost)
{
	begin(2);
	m.in_quiesce = irq_in_quiesce;
	all_read_c2();
	all_back(1);
	cr_assert(eq(u32, m.restarts, 1), "devices first");
	cr_assert(eq(int, state(), POWER_SUSPENDING));
	cr_assert(m.armed[POWER_TIMER_SHALLOW]);
	cr_assert(not(saw(POWER_SUSPENDED)));
	model_set_bits(&m, 1, 0);
	fall_asleep();
	cr_assert(eq(u32, m.quiesces, 2));
}

Test(power, devices_are_back_before_anyone_runs)
{
	begin(2);
	m.in_quiesce = irq_in_quiesce;
	m.restart = DEVICE_LATER;
	all_read_c2();
	MODEL_UNTIL(&m, m.restarts == 1);
	cr_assert(eq(u32, model_done(&m, 0) + model_done(&m, 1), 0));
	power_restarted(&m.power);
	all_back(1);
}

Test(power, a_vcpu_parked_in_a_former_generation_does_not_count)
{
	struct power *p = &m.power;

	begin(2);
	all_read_c2();
	MODEL_UNTIL(&m, p->announced == POWER_SUSPENDED);
	/* Unpark, and let vCPU 1 be back before vCPU 0's thread ran. */
	(void)pthread_mutex_lock(&p->lock);
	p->step = POWER_STEP_AWAKE;
	power_unpark_all(p);
	cr_assert(not(p->vcpus[0].parked));
	cr_assert(not(p->vcpus[1].parked));
	(void)pthread_mutex_unlock(&p->lock);
	all_back(1);
	m.power.announced = POWER_RUNNING;
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 1));
	cr_assert(eq(u32, m.quiesces, 1), "vCPU 0 has not parked again");
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, p->announced == POWER_SUSPENDED);
}

/* ------------------------------------------------------------ wakes */

Test(power, a_wake_during_quiesce_ends_the_sleep_at_the_last_look)
{
	static struct answer a;

	begin(2);
	m.quiesce = DEVICE_LATER;
	ask(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	all_read_c2();
	MODEL_UNTIL(&m, m.quiesces == 1);
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(int, state(), POWER_SUSPENDING));
	power_quiesced(&m.power, 0, NULL);
	MODEL_UNTIL(&m, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_ABORTED));
	cr_assert(is(a.req.source, "powerbtn"));
	cr_assert(eq(int, state(), POWER_RESUMING));
	all_back(1);
	cr_assert(eq(u32, m.power.cycles, 0));
	cr_assert(eq(u64, m.power.powerbtn.wakes, 0), "it never slept");
}

Test(power, a_wake_before_the_census_is_found_by_it)
{
	static struct answer a;

	begin(1);
	ask(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	power_lps0(&m.power, true);
	power_wake(&m.power, &m.power.powerbtn);
	model_set_bits(&m, 0, VCPU_PENDING); /* the SCI */
	model_order(&m, 0, ORDER_C2);
	all_back(1);
	model_set_bits(&m, 0, 0);
	power_lps0(&m.power, false);
	MODEL_UNTIL(&m, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_ABORTED));
	cr_assert(is(a.req.source, "powerbtn"));
	cr_assert(eq(int, state(), POWER_RUNNING));
}

Test(power, a_latch_from_before_the_sleep_names_itself)
{
	static struct answer a;

	begin(1);
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(int, state(), POWER_RUNNING));
	/* The guest wipes the status without having taken the event. */
	model_pm1_clear(&m, BUTTONS | ACPI_PM1_RTC);
	ask(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	all_read_c2();
	MODEL_UNTIL(&m, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_ABORTED));
	cr_assert(is(a.req.source, "powerbtn"));
}

Test(power, a_taken_event_does_not_end_the_next_sleep)
{
	begin(1);
	power_wake(&m.power, &m.power.powerbtn);
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	power_source_clear(&m.power, &m.power.powerbtn);
	fall_asleep();
}

Test(power, a_guest_without_lps0_exit_was_told_all_the_same)
{
	begin(1);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	model_pm1_clear(&m, BUTTONS);
	model_fire(&m, POWER_TIMER_RESUME);
	cr_assert(not(m.power.powerbtn.latched));
	fall_asleep();
}

Test(power, an_sci_left_asserted_is_no_sleep)
{
	begin(1);
	acpi_pm_raise(&m.pm, ACPI_PM1_PWRBTN, 0);
	all_read_c2();
	all_back(1);
	MODEL_UNTIL(&m, m.power.announced == POWER_RESUMING);
	cr_assert(not(saw(POWER_SUSPENDED)));
}

Test(power, what_the_guest_has_not_enabled_does_not_wake_it)
{
	struct wake_source net = { .name = "net0", .gpe_bit = 1 };

	begin(1);
	power_add_source(&m.power, &net);
	model_pm1_enable(&m, ACPI_PM1_SLPBTN);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	power_wake(&m.power, &net);
	power_wake(&m.power, &m.power.rtc);
	cr_assert(eq(int, state(), POWER_SUSPENDED));
	cr_assert(eq(u64, net.count, 1));
	/* Armed by _DSW, but the GPE's enable bit is what decides. */
	net.armed = true;
	power_wake(&m.power, &net);
	cr_assert(eq(int, state(), POWER_SUSPENDED));
	model_gpe_write(&m, 4, 1);
	power_wake(&m.power, &net);
	cr_assert(eq(int, state(), POWER_RESUMING));
	cr_assert(eq(u64, net.wakes, 1));
}

Test(power, an_interrupt_source_wakes_when_it_is_armed)
{
	struct wake_source serial = { .name = "serial", .irq = &m.sci };

	begin(1);
	power_add_source(&m.power, &serial);
	fall_asleep();
	power_wake(&m.power, &serial);
	cr_assert(eq(int, state(), POWER_SUSPENDED));
	serial.armed = true;
	power_wake(&m.power, &serial);
	cr_assert(eq(int, state(), POWER_RESUMING));
	cr_assert(not(atomic_load(&m.sci_level)), "its line is its owner's");
}

Test(power, a_forced_wake_takes_the_button_the_guest_hears)
{
	begin(1);
	cr_assert(eq(int, power_wake_forced(&m.power), 0), "awake");
	cr_assert(not(m.power.launcher.latched));
	model_pm1_enable(&m, 0);
	fall_asleep();
	cr_assert(eq(int, power_wake_forced(&m.power), -EOPNOTSUPP));
	model_pm1_enable(&m, ACPI_PM1_PWRBTN);
	cr_assert(eq(int, power_wake_forced(&m.power), 0));
	cr_assert(eq(int, state(), POWER_RESUMING));
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts, ACPI_PM1_PWRBTN));
	cr_assert(is(m.power.last_wake->name, "launcher"));
}

Test(power, a_button_that_finds_it_asleep_is_no_key_press)
{
	model_init(&m, 1, WAKE_GPE);
	model_start(&m, NULL);
	model_pm1_enable(&m, BUTTONS);
	model_gpe_write(&m, 4, WAKE_GPE);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(int, state(), POWER_RESUMING));
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts, 0));
	cr_assert(eq(u32, acpi_pm_get(&m.pm).gpe_sts, WAKE_GPE));
}

Test(power, a_key_press_not_taken_yet_is_not_raised_twice)
{
	model_init(&m, 1, WAKE_GPE);
	model_start(&m, NULL);
	model_pm1_enable(&m, BUTTONS);
	model_gpe_write(&m, 4, WAKE_GPE);
	power_wake(&m.power, &m.power.powerbtn);
	all_read_c2();
	all_back(1);
	cr_assert(not(saw(POWER_SUSPENDED)));
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts, ACPI_PM1_PWRBTN));
	cr_assert(eq(u32, acpi_pm_get(&m.pm).gpe_sts, 0));
}

Test(power, a_source_that_is_off_does_not_wake_and_ends_no_later_sleep)
{
	begin(1);
	m.power.powerbtn.off = true;
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(int, state(), POWER_SUSPENDED));
	cr_assert(eq(u64, m.power.powerbtn.count, 1));
	cr_assert(not(m.power.powerbtn.latched));
	power_wake(&m.power, &m.power.sleepbtn);
	cr_assert(eq(int, state(), POWER_RESUMING));
}

Test(power, a_source_that_is_off_reaches_a_guest_that_is_awake)
{
	begin(1);
	m.power.powerbtn.off = true;
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts, ACPI_PM1_PWRBTN));
}

Test(power, a_wake_on_the_way_up_is_counted_only)
{
	begin(1);
	m.restart = DEVICE_LATER;
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	power_wake(&m.power, &m.power.sleepbtn);
	cr_assert(eq(u32, m.restarts, 1));
	cr_assert(eq(u64, m.power.sleepbtn.count, 1));
	cr_assert(eq(u64, m.power.sleepbtn.wakes, 0));
	power_restarted(&m.power);
	power_restarted(&m.power); /* one too many is none */
	all_back(1);
}

/* ------------------------------------------------------------ shallow */

Test(power, a_guest_without_c2_sleeps_shallowly)
{
	static struct answer a;

	begin(2);
	ask(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	power_lps0(&m.power, true);
	for (unsigned int i = 0; i < 2; i++)
		model_set_bits(&m, i, VCPU_HALTED);
	MODEL_UNTIL(&m, m.armed[POWER_TIMER_SHALLOW]);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(eq(int, a.req.kind, POWER_SLEEP_SHALLOW));
	cr_assert(model_parked(&m, 0) && model_parked(&m, 1));
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(not(model_parked(&m, 0) || model_parked(&m, 1)));
}

Test(power, a_shallow_census_that_finds_one_running_holds_nobody)
{
	begin(2);
	power_lps0(&m.power, true);
	model_set_bits(&m, 0, VCPU_HALTED);
	MODEL_UNTIL(&m, m.armed[POWER_TIMER_SHALLOW]);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, __atomic_load_n(&m.power.census_missing,
					__ATOMIC_RELAXED) == 0);
	MODEL_UNTIL(&m, !model_parked(&m, 0));
	cr_assert(not(saw(POWER_SUSPENDED)));
	/* And looks again. */
	model_set_bits(&m, 1, VCPU_HALTED);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
}

Test(power, a_halted_vcpu_with_an_interrupt_pending_is_not_asleep)
{
	begin(1);
	power_lps0(&m.power, true);
	model_set_bits(&m, 0, VCPU_HALTED | VCPU_PENDING);
	MODEL_UNTIL(&m, m.armed[POWER_TIMER_SHALLOW]);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, __atomic_load_n(&m.power.census_missing,
					__ATOMIC_RELAXED) == 0);
	cr_assert(not(saw(POWER_SUSPENDED)));
	model_set_bits(&m, 0, VCPU_HALTED);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
}

Test(power, a_thousand_wakes_race_the_way_down)
{
	unsigned int slept = power_race(&m, 1000, 1);

	cr_assert(gt(u32, slept, 50), "some slept: %u", slept);
	cr_assert(lt(u32, slept, 950), "some did not: %u", slept);
}
