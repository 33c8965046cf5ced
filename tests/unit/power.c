/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/power.h: every way down and up, requests, the census, lost wakes. */
#include "tests/unit/power_model.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#define NS_PER_MS 1000000ULL
#define SECOND	  (1000 * NS_PER_MS)
#define BUTTONS	  (ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN)
#define WAKE_GPE  (1U << 31)

static struct model m;

struct answer {
	struct power_request req;
	unsigned int calls;
	enum power_outcome outcome;
};

static void answered(struct power_request *req, enum power_outcome outcome)
{
	struct answer *a = container_of(req, struct answer, req);

	a->calls++;
	a->outcome = outcome;
}

static void ask(struct answer *a, uint64_t timeout_ns)
{
	*a = (struct answer){ .req.done = answered };
	power_suspend(&m.power, &a->req, timeout_ns);
}

static void begin(unsigned int nr)
{
	model_init(&m, nr, 0);
	model_start(&m, NULL);
	model_pm1_enable(&m, BUTTONS);
}

static void teardown(void)
{
	model_finish(&m);
}

TestSuite(power, .fini = teardown, .timeout = 30);

static enum power_state state(void)
{
	return power_get_state(&m.power);
}

static void all_read_c2(void)
{
	for (unsigned int i = 0; i < m.nr; i++)
		model_order(&m, i, ORDER_C2);
}

static void fall_asleep(void)
{
	all_read_c2();
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
}

/* All reads have returned @n times. */
static void all_back(unsigned int n)
{
	for (unsigned int i = 0; i < m.nr; i++)
		MODEL_UNTIL(&m, model_done(&m, i) >= n);
}

static bool status(uint16_t bits)
{
	return (acpi_pm_get(&m.pm).pm1_sts & bits) != 0;
}

static bool is(const char *name, const char *wanted)
{
	return name && !strcmp(name, wanted);
}

static bool saw(enum power_state what)
{
	for (unsigned int i = 0; i < m.nr_events; i++) {
		if (m.events[i].state == what)
			return true;
	}
	return false;
}

/* ----------------------------------------------------- the diagram */

Test(power, all_reads_make_it_sleep_and_a_button_wakes_it)
{
	begin(4);
	fall_asleep();
	cr_assert(eq(u32, m.quiesces, 1));
	cr_assert(eq(int, m.power.kind, POWER_SLEEP_S2IDLE));
	cr_assert(eq(u32, m.power.cycles, 1));
	m.now_ns += 5 * SECOND;
	power_wake(&m.power, &m.power.powerbtn);
	cr_assert(eq(int, state(), POWER_RESUMING));
	all_back(1);
	cr_assert(eq(u64, m.power.time_asleep_ns, 5 * SECOND));
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
	MODEL_UNTIL(&m, m.power.told == POWER_RUNNING);
	cr_assert(not(m.armed[POWER_TIMER_RESUME]));
	cr_assert(not(m.power.powerbtn.latched), "delivered");
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
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDING);
	power_lps0(&m.power, false);
	MODEL_UNTIL(&m, m.power.told == POWER_RUNNING);
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

Test(power, a_guest_without_lps0_that_runs_on_is_running)
{
	begin(2);
	power_ran(&m.power, 1);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 0));
	model_set_bits(&m, 0, POWER_VCPU_PENDING);
	MODEL_UNTIL(&m, model_done(&m, 0) == 1);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDING);
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
	model_set_bits(&m, 1, POWER_VCPU_DOWN);
	model_set_bits(&m, 2, POWER_VCPU_DOWN | POWER_VCPU_OFFLINE);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
	cr_assert(not(model_parked(&m, 1)));
}

Test(power, an_offline_vcpu_is_halted_and_not_held)
{
	begin(2);
	model_set_bits(&m, 1, POWER_VCPU_OFFLINE);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_done(&m, 1) == 1);
	cr_assert(eq(u32, atomic_load(&m.cpus[1].bits),
		     POWER_VCPU_OFFLINE | POWER_VCPU_HALTED));
	cr_assert(eq(int, state(), POWER_RUNNING), "hotplug is no sleep");
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
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
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 0));
	model_set_bits(&m, 1, POWER_VCPU_OFFLINE);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
}

Test(power, a_pending_interrupt_of_a_disabled_apic_is_none)
{
	begin(2);
	model_set_bits(&m, 1,
		       POWER_VCPU_OFFLINE | POWER_VCPU_HALTED |
			       POWER_VCPU_PENDING);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
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
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDING);
	cr_assert(model_parked(&m, 0));
	kicks = atomic_load(&m.cpus[1].kicks);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
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
	model_set_bits(&m, 1, POWER_VCPU_OFFLINE | POWER_VCPU_HALTED);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
}

/* -------------------------------------------- something is pending */

Test(power, the_last_to_park_with_an_interrupt_pending_lets_all_go)
{
	begin(2);
	power_ran(&m.power, 0);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 1));
	model_set_bits(&m, 0, POWER_VCPU_PENDING);
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
	model_set_bits(&m, 1, POWER_VCPU_PENDING); /* an IPI of vCPU 0 */
	MODEL_UNTIL(&m, model_done(&m, 1) == 1);
	cr_assert(not(model_parked(&m, 1)));
	cr_assert(eq(int, state(), POWER_SUSPENDING));
}

static void irq_in_quiesce(struct model *model)
{
	model_set_bits(model, 1, POWER_VCPU_PENDING);
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
	MODEL_UNTIL(&m, p->told == POWER_SUSPENDED);
	/* Unpark, and let vCPU 1 be back before vCPU 0's thread ran. */
	(void)pthread_mutex_lock(&p->lock);
	p->state = POWER_RUNNING;
	p->phase = POWER_PHASE_PARKING;
	power_unpark_all(p);
	cr_assert(not(p->vcpus[0].parked));
	cr_assert(not(p->vcpus[1].parked));
	(void)pthread_mutex_unlock(&p->lock);
	all_back(1);
	m.power.told = POWER_RUNNING;
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 1));
	cr_assert(eq(u32, m.quiesces, 1), "vCPU 0 has not parked again");
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, p->told == POWER_SUSPENDED);
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
	model_set_bits(&m, 0, POWER_VCPU_PENDING); /* the SCI */
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
	power_taken(&m.power, &m.power.powerbtn);
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
	MODEL_UNTIL(&m, m.power.told == POWER_RESUMING);
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
		model_set_bits(&m, i, POWER_VCPU_HALTED);
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
	model_set_bits(&m, 0, POWER_VCPU_HALTED);
	MODEL_UNTIL(&m, m.armed[POWER_TIMER_SHALLOW]);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, __atomic_load_n(&m.power.census_missing,
					__ATOMIC_RELAXED) == 0);
	MODEL_UNTIL(&m, !model_parked(&m, 0));
	cr_assert(not(saw(POWER_SUSPENDED)));
	/* And looks again. */
	model_set_bits(&m, 1, POWER_VCPU_HALTED);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
}

Test(power, a_halted_vcpu_with_an_interrupt_pending_is_not_asleep)
{
	begin(1);
	power_lps0(&m.power, true);
	model_set_bits(&m, 0, POWER_VCPU_HALTED | POWER_VCPU_PENDING);
	MODEL_UNTIL(&m, m.armed[POWER_TIMER_SHALLOW]);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, __atomic_load_n(&m.power.census_missing,
					__ATOMIC_RELAXED) == 0);
	cr_assert(not(saw(POWER_SUSPENDED)));
	model_set_bits(&m, 0, POWER_VCPU_HALTED);
	model_fire(&m, POWER_TIMER_SHALLOW);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
}

/* ----------------------------------------------------------------- S1 */

/* ACPICA wipes all status bits just before, and so no event is lost there. */
Test(power, s1_sleeps_and_wakes_with_wak_sts)
{
	begin(2);
	model_set_bits(&m, 1, POWER_VCPU_OFFLINE);
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_done(&m, 1) == 1);
	model_order(&m, 0, ORDER_S1);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
	cr_assert(eq(int, m.power.kind, POWER_SLEEP_S1));
	cr_assert(not(status(ACPI_PM1_WAK)));
	power_wake(&m.power, &m.power.powerbtn);
	MODEL_UNTIL(&m, model_done(&m, 0) == 1);
	cr_assert(status(ACPI_PM1_WAK));
	cr_assert(eq(int, m.power.told, POWER_RUNNING));
	cr_assert(not(m.power.powerbtn.latched));
}

Test(power, an_event_wiped_before_s1_wakes_it_at_once)
{
	begin(1);
	power_wake(&m.power, &m.power.powerbtn);
	model_pm1_clear(&m, 0xffff);
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts, 0));
	model_order(&m, 0, ORDER_S1);
	all_back(1);
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts,
		     ACPI_PM1_WAK | ACPI_PM1_PWRBTN));
	cr_assert(not(saw(POWER_SUSPENDED)));
}

/* Else ACPICA would wait for WAK_STS for ever, with interrupts off. */
Test(power, s1_let_go_early_has_wak_sts_too)
{
	static struct answer a;

	begin(1);
	ask(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	model_set_bits(&m, 0, POWER_VCPU_PENDING);
	model_order(&m, 0, ORDER_S1);
	all_back(1);
	cr_assert(status(ACPI_PM1_WAK));
	MODEL_UNTIL(&m, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
	cr_assert(eq(int, state(), POWER_RUNNING));
}

Test(power, s1_with_a_device_that_does_not_stop_has_wak_sts_too)
{
	static struct answer a;

	begin(1);
	m.quiesce = DEVICE_FAILS;
	ask(&a, 10 * SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	model_order(&m, 0, ORDER_S1);
	all_back(1);
	cr_assert(status(ACPI_PM1_WAK));
	cr_assert(eq(int, a.outcome, POWER_FAILED));
	MODEL_UNTIL(&m, m.power.told == POWER_RUNNING);
}

Test(power, s1_of_a_cpu_whose_apic_is_disabled_is_not_held_up)
{
	begin(1);
	model_set_bits(&m, 0, POWER_VCPU_OFFLINE | POWER_VCPU_PENDING);
	model_order(&m, 0, ORDER_S1);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDED);
}

/* ------------------------------------------------------------ requests */

Test(power, a_request_presses_the_button_and_is_told_when_asleep)
{
	static struct answer a;

	begin(2);
	ask(&a, 10 * SECOND);
	cr_assert(eq(int, m.power.told, POWER_SUSPENDING));
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts, ACPI_PM1_SLPBTN));
	cr_assert(eq(u64, m.delay_ns[POWER_TIMER_REQUEST], 10 * SECOND));
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	m.now_ns += SECOND;
	fall_asleep();
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(eq(int, a.req.kind, POWER_SLEEP_S2IDLE));
	cr_assert(eq(u64, a.req.elapsed_ns, SECOND));
	cr_assert(not(m.armed[POWER_TIMER_REQUEST]));
}

Test(power, a_guest_without_button_driver_is_deaf)
{
	static struct answer a;

	begin(1);
	model_pm1_enable(&m, 0);
	ask(&a, SECOND);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_DEAF));
	cr_assert(eq(int, state(), POWER_RUNNING));
	cr_assert(eq(u32, m.nr_events, 0));
}

Test(power, a_guest_that_does_nothing_times_out)
{
	static struct answer a;

	begin(1);
	ask(&a, SECOND);
	model_fire(&m, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(u64, a.req.elapsed_ns, SECOND));
	cr_assert(eq(int, m.power.told, POWER_RUNNING));
	cr_assert(not(m.armed[POWER_TIMER_REQUEST]));
}

Test(power, a_timeout_half_way_down_leaves_the_guest_its_way)
{
	static struct answer a;

	begin(2);
	ask(&a, SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	power_lps0(&m.power, true);
	power_poll(&m.power);
	model_fire(&m, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(int, state(), POWER_SUSPENDING));
	fall_asleep();
	cr_assert(eq(u32, a.calls, 1));
}

Test(power, a_guest_that_comes_back_by_itself_refused)
{
	static struct answer a;

	begin(1);
	ask(&a, SECOND);
	power_lps0(&m.power, true);
	power_lps0(&m.power, false);
	MODEL_UNTIL(&m, a.calls == 1);
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
	cr_assert(eq(int, state(), POWER_RUNNING));
}

Test(power, devices_that_come_back_are_a_refusal)
{
	static struct answer a;

	begin(1);
	power_device_reset(&m.power); /* no request: not counted */
	power_device_live(&m.power);
	ask(&a, SECOND);
	power_device_reset(&m.power);
	power_device_reset(&m.power);
	power_device_live(&m.power);
	cr_assert(eq(u32, a.calls, 0));
	power_device_live(&m.power);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
}

Test(power, a_device_that_does_not_stop_rolls_all_back)
{
	static struct answer a;

	begin(2);
	m.quiesce = DEVICE_FAILS;
	ask(&a, SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	all_read_c2();
	all_back(1);
	cr_assert(eq(int, a.outcome, POWER_FAILED));
	cr_assert(is(a.req.device, "blk0"));
	cr_assert(eq(u32, m.restarts, 1));
	cr_assert(not(saw(POWER_SUSPENDED)));
	/* It works the next time. */
	m.quiesce = DEVICE_AT_ONCE;
	fall_asleep();
}

Test(power, a_late_answer_of_the_devices_means_nothing)
{
	begin(1);
	power_quiesced(&m.power, 0, NULL);
	power_quiesced(&m.power, -EIO, "blk0");
	power_restarted(&m.power);
	cr_assert(eq(int, state(), POWER_RUNNING));
	cr_assert(eq(u32, m.restarts, 0));
}

Test(power, several_requests_end_together_or_by_their_own_deadline)
{
	static struct answer a, b, c;

	begin(1);
	ask(&a, SECOND);
	ask(&b, 5 * SECOND);
	ask(&c, 3 * SECOND);
	cr_assert(eq(u64, m.delay_ns[POWER_TIMER_REQUEST], SECOND));
	model_fire(&m, POWER_TIMER_REQUEST);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	cr_assert(eq(u32, b.calls + c.calls, 0));
	cr_assert(eq(int, state(), POWER_SUSPENDING));
	cr_assert(eq(u64, m.delay_ns[POWER_TIMER_REQUEST], 2 * SECOND));
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	fall_asleep();
	cr_assert(eq(int, b.outcome, POWER_ASLEEP));
	cr_assert(eq(int, c.outcome, POWER_ASLEEP));
	cr_assert(eq(u32, a.calls + b.calls + c.calls, 3));
}

Test(power, a_request_to_a_sleeping_guest_is_done_at_once)
{
	static struct answer a;

	begin(1);
	fall_asleep();
	ask(&a, SECOND);
	cr_assert(eq(u32, a.calls, 1));
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts, 0), "not disturbed");
}

Test(power, a_request_to_one_going_down_does_not_disturb_it)
{
	static struct answer a;

	begin(1);
	power_lps0(&m.power, true);
	ask(&a, SECOND);
	cr_assert(eq(u32, acpi_pm_get(&m.pm).pm1_sts, 0));
	fall_asleep();
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
}

Test(power, a_request_on_the_way_up_waits_for_the_top)
{
	static struct answer a;

	begin(2);
	power_lps0(&m.power, true);
	m.restart = DEVICE_LATER;
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	/* Devices are on their way: nothing may begin now. */
	ask(&a, 10 * SECOND);
	cr_assert(eq(int, state(), POWER_RESUMING));
	power_restarted(&m.power);
	all_back(1);
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	cr_assert(not(status(ACPI_PM1_SLPBTN)));
	power_lps0(&m.power, false);
	MODEL_UNTIL(&m, m.power.told == POWER_SUSPENDING);
	cr_assert(eq(u32, a.calls, 0), "the old sleep's exit is no refusal");
	cr_assert(status(ACPI_PM1_SLPBTN));
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	power_lps0(&m.power, true);
	fall_asleep();
	cr_assert(eq(int, a.outcome, POWER_ASLEEP));
}

Test(power, a_request_on_the_way_up_of_a_guest_grown_deaf)
{
	static struct answer a;

	begin(1);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	ask(&a, 10 * SECOND);
	model_pm1_enable(&m, 0);
	model_fire(&m, POWER_TIMER_RESUME);
	cr_assert(eq(int, a.outcome, POWER_DEAF));
	cr_assert(eq(int, state(), POWER_RUNNING));
}

Test(power, a_request_on_the_way_up_may_time_out_there)
{
	static struct answer a;

	begin(1);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	ask(&a, 0);
	model_fire(&m, POWER_TIMER_REQUEST);
	cr_assert(eq(int, a.outcome, POWER_TIMEOUT));
	model_fire(&m, POWER_TIMER_RESUME);
	cr_assert(eq(int, state(), POWER_RUNNING), "nobody wants it any more");
}

Test(power, the_late_exit_of_a_slow_guest_is_no_refusal)
{
	static struct answer a;

	begin(1);
	power_lps0(&m.power, true);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	model_fire(&m, POWER_TIMER_RESUME);
	ask(&a, 10 * SECOND);
	power_lps0(&m.power, false);
	power_poll(&m.power);
	cr_assert(eq(u32, a.calls, 0));
	cr_assert(eq(int, state(), POWER_SUSPENDING));
	/* The next exit is one. */
	power_lps0(&m.power, true);
	power_lps0(&m.power, false);
	power_poll(&m.power);
	cr_assert(eq(int, a.outcome, POWER_REFUSED));
}

Test(power, an_exit_told_but_not_yet_seen_is_no_refusal_either)
{
	static struct answer a;

	begin(1);
	power_lps0(&m.power, true);
	fall_asleep();
	power_wake(&m.power, &m.power.powerbtn);
	all_back(1);
	model_pm1_clear(&m, ACPI_PM1_PWRBTN);
	model_fire(&m, POWER_TIMER_RESUME);
	power_lps0(&m.power, false);
	ask(&a, 10 * SECOND);
	power_poll(&m.power);
	cr_assert(eq(u32, a.calls, 0));
}

Test(power, the_end_of_the_vm_ends_requests_and_holds)
{
	static struct answer a;

	begin(2);
	ask(&a, SECOND);
	model_pm1_clear(&m, ACPI_PM1_SLPBTN);
	model_order(&m, 0, ORDER_C2);
	MODEL_UNTIL(&m, model_parked(&m, 0));
	power_stop(&m.power);
	cr_assert(eq(int, a.outcome, POWER_ENDED));
	MODEL_UNTIL(&m, model_done(&m, 0) == 1);
	/* And nothing holds any more. */
	model_order(&m, 1, ORDER_C2);
	MODEL_UNTIL(&m, model_done(&m, 1) == 1);
	model_order(&m, 1, ORDER_S1);
	MODEL_UNTIL(&m, model_done(&m, 1) == 2);
}

/* ------------------------------------------------------- dialects of LPS0 */

static void dialect(const uint8_t *entry, const uint8_t *exit)
{
	begin(1);
	for (unsigned int round = 1; round <= 3; round++) {
		for (const uint8_t *code = entry; *code; code++)
			model_lps0_code(&m, *code);
		fall_asleep();
		power_wake(&m.power, &m.power.powerbtn);
		all_back(round);
		model_pm1_clear(&m, ACPI_PM1_PWRBTN);
		for (const uint8_t *code = exit; *code; code++)
			model_lps0_code(&m, *code);
		MODEL_UNTIL(&m, m.power.told == POWER_RUNNING);
		cr_assert(eq(u32, m.nr_events, 4 * round));
	}
}

#define INTEL(n) (PMC_LPS0_INTEL | (n))
#define AMD(n)	 (PMC_LPS0_AMD | (n))
#define MS(n)	 (PMC_LPS0_MICROSOFT | (n))

Test(power, notices_in_the_order_of_linux_6_1_on_amd)
{
	static const uint8_t entry[] = {
		AMD(4), MS(3), AMD(2), MS(5), MS(7), 0
	};
	static const uint8_t exit[] = {
		MS(8), AMD(3), MS(6), MS(4), AMD(5), 0
	};

	dialect(entry, exit);
}

Test(power, notices_in_the_order_of_linux_6_1_on_intel)
{
	static const uint8_t entry[] = { INTEL(3), INTEL(5), 0 };
	static const uint8_t exit[] = { INTEL(6), INTEL(4), 0 };

	dialect(entry, exit);
}

Test(power, notices_in_the_order_of_linux_6_12_on_amd)
{
	static const uint8_t entry[] = {
		AMD(4), MS(3), AMD(2), MS(7), MS(5), 0
	};
	static const uint8_t exit[] = {
		AMD(3), MS(6), MS(8), MS(4), AMD(5), 0
	};

	dialect(entry, exit);
}

Test(power, notices_in_the_order_of_linux_6_12_on_intel)
{
	static const uint8_t entry[] = { INTEL(3), MS(3),    MS(7),
					 MS(5),	   INTEL(5), 0 };
	static const uint8_t exit[] = { INTEL(6), MS(6),    MS(8),
					MS(4),	  INTEL(4), 0 };

	dialect(entry, exit);
}

/* ------------------------------------------------------------- races */

static atomic_uint cycle;      /* the guest may sleep up to this one */
static atomic_uint woken_in;   /* ... and has woken from this one */
static atomic_uint cpus_awake; /* vCPUs out of the port in this cycle */

static void ipi(struct model *model, unsigned int cpu)
{
	(void)atomic_fetch_or(&model->cpus[cpu].bits, POWER_VCPU_PENDING);
}

/* Interrupts are taken: vCPU 0's are the SCI, the others' an IPI. */
static void take(struct model_cpu *c, unsigned int now)
{
	struct model *model = c->m;

	(void)atomic_fetch_and(&c->bits, ~POWER_VCPU_PENDING);
	if (c->index != 0 || !atomic_load(&model->sci_level))
		return;
	model_pm1_clear(model, ACPI_PM1_PWRBTN);
	atomic_store(&woken_in, now);
	for (unsigned int i = 1; i < model->nr; i++)
		ipi(model, i);
}

static void racing_guest(struct model_cpu *c)
{
	struct model *model = c->m;
	unsigned int now = 0;

	while (!c->stop) {
		(void)model_take_kick(c);
		if (atomic_load(&cycle) == now) {
			sched_yield();
			continue;
		}
		now++;
		if (c->index == 0)
			power_lps0(&model->power, true);
		while (atomic_load(&woken_in) != now) {
			power_c2_read(&model->power, c->index);
			power_ran(&model->power, c->index);
			take(c, now);
			(void)model_take_kick(c);
			if (__atomic_load_n(&c->stop, __ATOMIC_RELAXED))
				return;
		}
		if (c->index == 0)
			power_lps0(&model->power, false);
		(void)atomic_fetch_add(&cpus_awake, 1);
		model_poke(model);
	}
}

static void racing_sci(struct irq_line *line, bool level)
{
	struct model *model = container_of(line, struct model, sci);

	atomic_store(&model->sci_level, level);
	if (level)
		ipi(model, 0);
}

Test(power, a_thousand_wakes_race_the_way_down, .timeout = 120)
{
	unsigned int seed = 1, slept = 0;

	model_init(&m, 4, 0);
	m.sci.set = racing_sci;
	model_pm1_enable(&m, ACPI_PM1_PWRBTN);
	model_start(&m, racing_guest);
	for (unsigned int n = 1; n <= 1000; n++) {
		uint64_t before = m.power.cycles;

		atomic_store(&cpus_awake, 0);
		atomic_store(&cycle, n);
		m.quiesce = rand_r(&seed) & 1 ? DEVICE_LATER : DEVICE_AT_ONCE;
		m.restart = rand_r(&seed) & 1 ? DEVICE_LATER : DEVICE_AT_ONCE;
		for (int turns = rand_r(&seed) % 12; turns > 0; turns--) {
			model_turn(&m);
			power_quiesced(&m.power, 0, NULL);
		}
		power_wake(&m.power, &m.power.powerbtn);
		while (atomic_load(&cpus_awake) < m.nr) {
			model_turn(&m);
			power_quiesced(&m.power, 0, NULL);
			power_restarted(&m.power);
		}
		/* One may have gone back to the port after LPS0 exit. */
		while (m.power.told != POWER_RUNNING) {
			model_turn(&m);
			if (m.armed[POWER_TIMER_SHALLOW])
				model_fire(&m, POWER_TIMER_SHALLOW);
		}
		power_taken(&m.power, &m.power.powerbtn);
		slept += m.power.cycles > before;
	}
	cr_assert(gt(u32, slept, 50), "some slept: %u", slept);
	cr_assert(lt(u32, slept, 950), "some did not: %u", slept);
}
