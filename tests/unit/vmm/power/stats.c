/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/power/stats.h: histograms, names, and what the coordinator counts. */
#include "vmm/power/stats.h"
#include "tests/lib/power_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(power_stats, .timeout = 120);

/* ---------------------------------------------------------- histograms */

Test(power_stats, a_value_at_a_bound_is_in_its_bucket_one_beyond_is_not)
{
	for (unsigned int i = 0; i < POWER_HIST_BOUNDS; i++) {
		struct power_hist hist = { .count = 0 };
		uint64_t bound = power_hist_bound_ns(i);

		power_hist_add(&hist, bound);
		cr_assert(eq(u64, hist.counts[i], 1), "bucket %u", i);
		power_hist_add(&hist, bound + 1);
		cr_assert(eq(u64, hist.counts[i], 1), "bucket %u", i);
		cr_assert(eq(u64, hist.counts[i + 1], 1), "bucket %u", i);
		cr_assert(eq(u64, hist.count, 2));
		cr_assert(eq(u64, hist.sum_ns, 2 * bound + 1));
		cr_assert(eq(u64, hist.max_ns, bound + 1));
	}
}

Test(power_stats, bounds_rise_from_1_ms_to_20_s)
{
	for (unsigned int i = 1; i < POWER_HIST_BUCKETS; i++)
		cr_assert(gt(u64, power_hist_bound_ns(i),
			     power_hist_bound_ns(i - 1)));
	cr_assert(eq(u64, power_hist_bound_ns(0), NS_PER_MS));
	cr_assert(eq(u64, power_hist_bound_ns(POWER_HIST_BOUNDS - 1),
		     20 * SECOND));
	cr_assert(eq(u64, power_hist_bound_ns(POWER_HIST_BOUNDS), UINT64_MAX));
}

Test(power_stats, the_smallest_and_the_largest_values_have_buckets)
{
	struct power_hist hist = { .count = 0 };

	power_hist_add(&hist, 0);
	power_hist_add(&hist, UINT64_MAX);
	cr_assert(eq(u64, hist.counts[0], 1));
	cr_assert(eq(u64, hist.counts[POWER_HIST_BUCKETS - 1], 1));
	cr_assert(eq(u64, hist.max_ns, UINT64_MAX));
}

Test(power_stats, a_quantile_is_the_upper_bound_of_its_bucket)
{
	struct power_hist hist = { .count = 0 };

	cr_assert(eq(u64, power_hist_quantile_ns(&hist, 50), 0));
	/* 50 of 3 ms, 49 of 70 ms, 1 of 30 s. */
	for (unsigned int i = 0; i < 50; i++)
		power_hist_add(&hist, 3 * NS_PER_MS);
	cr_assert(eq(u64, power_hist_quantile_ns(&hist, 99), 3 * NS_PER_MS),
		  "not more than the largest");
	for (unsigned int i = 0; i < 49; i++)
		power_hist_add(&hist, 70 * NS_PER_MS);
	power_hist_add(&hist, 30 * SECOND);
	cr_assert(eq(u64, power_hist_quantile_ns(&hist, 1), 5 * NS_PER_MS));
	cr_assert(eq(u64, power_hist_quantile_ns(&hist, 50), 5 * NS_PER_MS));
	cr_assert(eq(u64, power_hist_quantile_ns(&hist, 51), 100 * NS_PER_MS));
	cr_assert(eq(u64, power_hist_quantile_ns(&hist, 99), 100 * NS_PER_MS));
	cr_assert(eq(u64, power_hist_quantile_ns(&hist, 100), 30 * SECOND));
}

/* --------------------------------------------------------------- names */

/*
 * power_outcome_name() and power_sleep_exists() are switches without a default:
 * a value that is missing there does not compile. Here: that the values count
 * from 0, have room, and names of their own.
 */
Test(power_stats, every_outcome_has_a_name_of_its_own_and_room)
{
	unsigned int n = 0;

	while (power_outcome_name(n))
		n++;
	cr_assert(ge(u32, n, POWER_ENDED + 1));
	cr_assert(le(u32, n, POWER_STATS_MAX_OUTCOMES));
	for (unsigned int i = 0; i < n; i++) {
		cr_assert(gt(sz, strlen(power_outcome_name(i)), 0));
		for (unsigned int j = 0; j < i; j++)
			cr_assert(not(is_named(power_outcome_name(i),
					       power_outcome_name(j))));
	}
	for (unsigned int i = n; i < n + 100; i++)
		cr_assert(power_outcome_name(i) == NULL);
}

Test(power_stats, every_kind_of_sleep_has_a_name_of_its_own_and_room)
{
	unsigned int n = 0;

	while (power_sleep_exists(n))
		n++;
	cr_assert(ge(u32, n, POWER_SLEEP_S1 + 1));
	cr_assert(le(u32, n, POWER_STATS_MAX_SLEEPS));
	for (unsigned int i = 0; i < n; i++) {
		cr_assert(gt(sz, strlen(power_sleep_name(i)), 0));
		for (unsigned int j = 0; j < i; j++)
			cr_assert(not(is_named(power_sleep_name(i),
					       power_sleep_name(j))));
	}
}

/* ------------------------------------------------------------- a cycle */

static struct power_stats st;
static uint64_t latency_ns;

Test(power_stats, a_cycle_is_counted_where_it_belongs)
{
	power_stats_begun(&st, POWER_BY_REQUEST, 1 * SECOND);
	power_stats_slept(&st, POWER_SLEEP_S1, 2 * SECOND);
	cr_assert(eq(u64, st.sleeps[POWER_SLEEP_S1][POWER_BY_REQUEST], 1));
	cr_assert(eq(u64, st.sleeps[POWER_SLEEP_S1][POWER_BY_GUEST], 0));
	cr_assert(eq(u64, st.entry[POWER_BY_REQUEST].sum_ns, SECOND));
	cr_assert(eq(u64, st.entry[POWER_BY_GUEST].count, 0));
	/* The sleep that is not over counts too, and in its own kind only. */
	cr_assert(eq(u64,
		     power_stats_asleep_ns(&st, POWER_SLEEP_S1, 5 * SECOND),
		     3 * SECOND));
	cr_assert(eq(u64,
		     power_stats_asleep_ns(&st, POWER_SLEEP_S2IDLE, 5 * SECOND),
		     0));
	power_stats_woke(&st, true, 10 * SECOND);
	cr_assert(eq(u64,
		     power_stats_asleep_ns(&st, POWER_SLEEP_S1, 99 * SECOND),
		     8 * SECOND));
	power_stats_released(&st, 10 * SECOND + 4);
	power_stats_released(&st, 10 * SECOND + 5);
	power_stats_running(&st, 10 * SECOND + 9, &latency_ns);
	power_stats_running(&st, 11 * SECOND, &latency_ns);
	cr_assert(eq(u64, st.wake_vcpus.count, 1));
	cr_assert(eq(u64, st.wake_vcpus.sum_ns, 4));
	cr_assert(eq(u64, st.wake_running.count, 1));
	cr_assert(eq(u64, st.wake_running.sum_ns, 9));
	cr_assert(eq(u64, latency_ns, 9));
}

Test(power_stats, a_way_down_that_was_no_sleep_has_no_wake_latency)
{
	power_stats_begun(&st, POWER_BY_GUEST, 1);
	power_stats_woke(&st, false, 5);
	power_stats_released(&st, 6);
	power_stats_running(&st, 7, &latency_ns);
	cr_assert(eq(u64, st.wake_vcpus.count, 0));
	cr_assert(eq(u64, st.wake_running.count, 0));
	cr_assert(eq(u64, latency_ns, 0));
}

Test(power_stats, a_guest_that_never_told_that_it_runs_has_no_latency)
{
	power_stats_begun(&st, POWER_BY_GUEST, 1);
	power_stats_slept(&st, POWER_SLEEP_S2IDLE, 2);
	power_stats_woke(&st, true, 3);
	power_stats_released(&st, 4);
	power_stats_begun(&st, POWER_BY_GUEST, 5);
	power_stats_slept(&st, POWER_SLEEP_S2IDLE, 6);
	power_stats_running(&st, 900, &latency_ns);
	cr_assert(eq(u64, st.wake_vcpus.count, 1));
	cr_assert(eq(u64, st.wake_running.count, 0));
	cr_assert(eq(u64, latency_ns, 0));
}

Test(power_stats, pauses_add_up)
{
	power_stats_paused(&st, 5);
	power_stats_paused(&st, 9);
	power_stats_paused(&st, 1);
	cr_assert(eq(u64, st.pauses, 3));
	cr_assert(eq(u64, st.paused_ns, 15));
	cr_assert(eq(u64, st.longest_pause_ns, 9));
}

/* ----------------------------------------------------- the coordinator's */

TestSuite(power_stats_of, .fini = model_end, .timeout = 120);

static void press_and_sleep(struct answer *a)
{
	model_ask(a, 60 * SECOND);
	model_pm1_clear(&model, BUTTONS);
	power_lps0(&model.power, true);
	model.now_ns += SECOND;
	model_fall_asleep();
}

/* LPS0 exit as the vCPU tells it. */
static void lps0_exit(void)
{
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, model.power.announced == POWER_RUNNING &&
				    !(model.power.notes & POWER_NOTE_EXIT));
}

Test(power_stats_of, a_requested_sleep_and_its_wake_up)
{
	struct power_stats *s = &model.power.stats;
	static struct answer a;

	model_begin(2);
	model.restart = DEVICE_LATER;
	press_and_sleep(&a);
	cr_assert(eq(u64, s->sleeps[POWER_SLEEP_S2IDLE][POWER_BY_REQUEST], 1));
	cr_assert(eq(u64, s->entry[POWER_BY_REQUEST].sum_ns, SECOND));
	cr_assert(eq(u64, s->requests[POWER_ASLEEP], 1));
	model.now_ns += 5 * SECOND;
	power_wake(&model.power, &model.power.powerbtn);
	model.now_ns += 7 * NS_PER_MS;
	power_restarted(&model.power);
	model_all_back(1);
	cr_assert(eq(u64, model.power.last_wake_latency_ns, 0));
	model.now_ns += 6 * NS_PER_MS;
	lps0_exit();
	cr_assert(eq(u64, s->asleep_ns[POWER_SLEEP_S2IDLE], 5 * SECOND));
	cr_assert(eq(u64, s->wake_vcpus.count, 1));
	cr_assert(eq(u64, s->wake_vcpus.sum_ns, 7 * NS_PER_MS));
	cr_assert(eq(u64, s->wake_running.count, 1));
	cr_assert(eq(u64, s->wake_running.sum_ns, 13 * NS_PER_MS));
	cr_assert(eq(u64, model.power.last_wake_latency_ns, 13 * NS_PER_MS));
}

/* RUNNING is told after 200 ms whatever the guest does: that is not a latency.
 */
Test(power_stats_of, a_guest_slower_than_our_timer_is_measured_to_its_exit)
{
	struct power_stats *s = &model.power.stats;
	static struct answer a;

	model_begin(1);
	press_and_sleep(&a);
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_fire(&model, POWER_TIMER_RESUME);
	cr_assert(eq(int, model.power.announced, POWER_RUNNING));
	cr_assert(eq(u64, s->wake_running.count, 0));
	cr_assert(eq(u64, model.power.last_wake_latency_ns, 0));
	model.now_ns += SECOND;
	lps0_exit();
	cr_assert(eq(u64, s->wake_running.count, 1));
	cr_assert(eq(u64, model.power.last_wake_latency_ns,
		     SECOND + 200 * NS_PER_MS));
	/* The next wake event: not known again. */
	press_and_sleep(&a);
	power_wake(&model.power, &model.power.powerbtn);
	cr_assert(eq(u64, model.power.last_wake_latency_ns, 0));
}

/* Asked to sleep again before it told that it is up: the exit is the old. */
Test(power_stats_of, an_exit_after_the_next_request_ends_the_old_wake_up)
{
	struct power_stats *s = &model.power.stats;
	static struct answer a;

	model_begin(1);
	press_and_sleep(&a);
	power_wake(&model.power, &model.power.powerbtn);
	model_all_back(1);
	model_fire(&model, POWER_TIMER_RESUME);
	model_ask(&a, 60 * SECOND);
	model_pm1_clear(&model, BUTTONS);
	model.now_ns += SECOND;
	power_lps0(&model.power, false);
	MODEL_UNTIL(&model, !(model.power.notes & POWER_NOTE_OLD_EXIT));
	cr_assert(eq(u64, s->wake_running.count, 1));
	cr_assert(eq(u64, s->wake_running.sum_ns, SECOND + 200 * NS_PER_MS));
	model.now_ns += SECOND;
	model_fall_asleep();
	cr_assert(eq(u64, s->entry[POWER_BY_REQUEST].count, 2));
	cr_assert(eq(u64, s->entry[POWER_BY_REQUEST].sum_ns, 3 * SECOND));
}

Test(power_stats_of, a_sleep_by_itself_begins_with_the_guests_first_sign)
{
	struct power_stats *s = &model.power.stats;
	static struct answer a;

	model_begin(2);
	/* A request that came to nothing is not a part of it. */
	model_ask(&a, SECOND);
	model_fire(&model, POWER_TIMER_REQUEST);
	cr_assert(eq(u64, s->requests[POWER_TIMEOUT], 1));
	model_pm1_clear(&model, BUTTONS);
	model.now_ns += 100 * SECOND;
	power_lps0(&model.power, true);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDING);
	model.now_ns += 3 * SECOND;
	model_fall_asleep();
	cr_assert(eq(u64, s->sleeps[POWER_SLEEP_S2IDLE][POWER_BY_GUEST], 1));
	cr_assert(eq(u64, s->entry[POWER_BY_GUEST].sum_ns, 3 * SECOND));
	cr_assert(eq(u64, s->entry[POWER_BY_REQUEST].count, 0));
}

Test(power_stats_of, s1_runs_when_its_vcpu_is_let_go)
{
	struct power_stats *s = &model.power.stats;

	model_begin(1);
	model.restart = DEVICE_LATER;
	model_order(&model, 0, ORDER_S1);
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
	power_wake(&model.power, &model.power.powerbtn);
	model.now_ns += 4 * NS_PER_MS;
	power_restarted(&model.power);
	cr_assert(eq(u64, s->sleeps[POWER_SLEEP_S1][POWER_BY_GUEST], 1));
	cr_assert(eq(u64, s->wake_vcpus.sum_ns, 4 * NS_PER_MS));
	cr_assert(eq(u64, s->wake_running.sum_ns, 4 * NS_PER_MS));
	cr_assert(eq(u64, model.power.last_wake_latency_ns, 4 * NS_PER_MS));
}

Test(power_stats_of, requests_that_do_not_end_asleep_are_counted_by_reason)
{
	struct power_stats *s = &model.power.stats;
	static struct answer a, b;

	model_begin(1);
	model_pm1_enable(&model, 0);
	model_ask(&a, SECOND);
	cr_assert(eq(u64, s->requests[POWER_DEAF], 1));
	model_pm1_enable(&model, BUTTONS);
	/* Two at a time are two. */
	model_ask(&a, SECOND);
	model_ask(&b, SECOND);
	power_lps0(&model.power, true);
	lps0_exit();
	model_stays_awake();
	cr_assert(eq(u64, s->requests[POWER_REFUSED], 2));
	model_ask(&a, SECOND);
	power_lps0(&model.power, true);
	power_poll(&model.power);
	power_wake(&model.power, &model.power.powerbtn);
	lps0_exit();
	cr_assert(eq(u64, s->requests[POWER_ABORTED], 1));
	model.quiesce = DEVICE_FAILS;
	model_ask(&a, SECOND);
	model_pm1_clear(&model, 0xffff);
	model_all_read_c2();
	MODEL_UNTIL(&model, a.calls == 1);
	cr_assert(eq(u64, s->requests[POWER_FAILED], 1));
	cr_assert(eq(u64, s->requests[POWER_ASLEEP], 0));
	cr_assert(eq(u64, s->entry[POWER_BY_REQUEST].count, 0));
}
