/* SPDX-License-Identifier: BSD-3-Clause */
/* See vmm/power/stats.h. */
#include "vmm/power/stats.h"

#include <assert.h>
#include <stddef.h>

#include "vmm/power/power.h"

static const uint64_t bounds_ns[] = {
	1 * NS_PER_MS,	   2 * NS_PER_MS,     5 * NS_PER_MS,
	10 * NS_PER_MS,	   20 * NS_PER_MS,    50 * NS_PER_MS,
	100 * NS_PER_MS,   200 * NS_PER_MS,   500 * NS_PER_MS,
	1000 * NS_PER_MS,  2000 * NS_PER_MS,  5000 * NS_PER_MS,
	10000 * NS_PER_MS, 20000 * NS_PER_MS,
};
static_assert(ARRAY_SIZE(bounds_ns) == POWER_HIST_BOUNDS, "bounds");

/* ----------------------------------------------------------- histograms */

uint64_t power_hist_bound_ns(unsigned int i)
{
	assert(i < POWER_HIST_BUCKETS);
	return i < POWER_HIST_BOUNDS ? bounds_ns[i] : UINT64_MAX;
}

void power_hist_add(struct power_hist *hist, uint64_t ns)
{
	unsigned int i = 0;

	while (ns > power_hist_bound_ns(i))
		i++;
	hist->counts[i]++;
	hist->count++;
	hist->sum_ns += ns;
	hist->max_ns = MAX(hist->max_ns, ns);
}

uint64_t power_hist_quantile_ns(const struct power_hist *hist,
				unsigned int percent)
{
	/* The rank-th smallest value, rounded up. */
	uint64_t rank = (hist->count * percent + 99) / 100, seen = 0;

	for (unsigned int i = 0; i < POWER_HIST_BUCKETS; i++) {
		seen += hist->counts[i];
		if (seen >= rank)
			return MIN(power_hist_bound_ns(i), hist->max_ns);
	}
	return hist->max_ns;
}

/* ---------------------------------------------------------------- names */

/* No default: the compiler says if a value is missing. */
const char *power_outcome_name(enum power_outcome outcome)
{
	switch (outcome) {
	case POWER_ASLEEP:
		return "asleep";
	case POWER_REFUSED:
		return "refused";
	case POWER_TIMEOUT:
		return "timeout";
	case POWER_ABORTED:
		return "aborted";
	case POWER_CANCELLED:
		return "cancelled";
	case POWER_DEAF:
		return "deaf";
	case POWER_FAILED:
		return "failed";
	case POWER_PAUSED:
		return "paused";
	case POWER_FORCED:
		return "forced";
	case POWER_BLOCKED:
		return "blocked";
	case POWER_ENDED:
		return "ended";
	case POWER_NR_OUTCOMES:
		break;
	}
	return NULL;
}

bool power_sleep_exists(enum power_sleep kind)
{
	switch (kind) {
	case POWER_SLEEP_S2IDLE:
	case POWER_SLEEP_SHALLOW:
	case POWER_SLEEP_S1:
		return true;
	}
	return false;
}

/* -------------------------------------------------------------- a cycle */

void power_stats_begun(struct power_stats *stats, enum power_by by,
		       uint64_t now_ns)
{
	stats->begun_ns = now_ns;
	stats->by = by;
}

void power_stats_slept(struct power_stats *stats, enum power_sleep kind,
		       uint64_t now_ns)
{
	assert(kind < POWER_STATS_MAX_SLEEPS);
	stats->sleeps[kind][stats->by]++;
	power_hist_add(&stats->entry[stats->by], now_ns - stats->begun_ns);
	stats->sleep = kind;
	stats->slept_ns = now_ns;
	stats->asleep = true;
	/* It was woken before, and nothing told when it was up. */
	stats->waking = false;
}

void power_stats_request(struct power_stats *stats, enum power_outcome outcome)
{
	assert(outcome < POWER_STATS_MAX_OUTCOMES);
	stats->requests[outcome]++;
}

void power_stats_woke(struct power_stats *stats, bool slept, uint64_t now_ns)
{
	stats->waking = slept;
	stats->releasing = slept;
	if (!slept)
		return;
	stats->asleep_ns[stats->sleep] += now_ns - stats->slept_ns;
	stats->asleep = false;
	stats->woke_ns = now_ns;
}

void power_stats_released(struct power_stats *stats, uint64_t now_ns)
{
	if (!stats->releasing)
		return;
	stats->releasing = false;
	power_hist_add(&stats->wake_vcpus, now_ns - stats->woke_ns);
}

void power_stats_running(struct power_stats *stats, uint64_t now_ns,
			 uint64_t *ret_latency_ns)
{
	if (!stats->waking)
		return;
	stats->waking = false;
	power_hist_add(&stats->wake_running, now_ns - stats->woke_ns);
	*ret_latency_ns = now_ns - stats->woke_ns;
}

void power_stats_paused(struct power_stats *stats, uint64_t ns)
{
	stats->pauses++;
	stats->paused_ns += ns;
	stats->longest_pause_ns = MAX(stats->longest_pause_ns, ns);
}

uint64_t power_stats_asleep_ns(const struct power_stats *stats,
			       enum power_sleep kind, uint64_t now_ns)
{
	uint64_t ns = stats->asleep_ns[kind];

	if (stats->asleep && stats->sleep == kind)
		ns += now_ns - stats->slept_ns;
	return ns;
}

uint64_t power_stats_all_asleep_ns(const struct power_stats *stats,
				   uint64_t now_ns)
{
	uint64_t ns = 0;

	for (unsigned int i = 0; power_sleep_exists(i); i++)
		ns += power_stats_asleep_ns(stats, i, now_ns);
	return ns;
}
