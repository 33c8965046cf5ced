/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics of sleep: how often, how long, how fast down and up, and why not.
 * Counters and histograms of fixed size, since the VM started. The coordinator
 * calls these functions in the order of a cycle:
 *
 *	begun --> slept --> woke --> released --> running
 *
 * and any of them may be missing: a guest may come back before it slept, or go
 * down again without having signalled that it was up. Times are the
 * coordinator's clock (CLOCK_BOOTTIME), when its main loop saw the event.
 *
 * Main loop only. Nothing here fails or allocates.
 */
#ifndef TORPOR_VMM_POWER_STATS_H
#define TORPOR_VMM_POWER_STATS_H

#include <stdbool.h>
#include <stdint.h>

/* In vmm/power/power.h, which embeds these structs. */
enum power_sleep;
enum power_outcome;

#define POWER_STATS_MAX_SLEEPS	 8  /* room for enum power_sleep */
#define POWER_STATS_MAX_OUTCOMES 16 /* and for enum power_outcome */

/* Upper bounds 1, 2, 5, 10 ms ... 20 s, inclusive; then all longer times. */
#define POWER_HIST_BOUNDS  14
#define POWER_HIST_BUCKETS (POWER_HIST_BOUNDS + 1)

struct power_hist {
	uint64_t counts[POWER_HIST_BUCKETS]; /* each alone, not cumulative */
	uint64_t count, sum_ns, max_ns;
};

void power_hist_add(struct power_hist *hist, uint64_t ns);
/* @i: below POWER_HIST_BUCKETS. UINT64_MAX for the last, which has none. */
uint64_t power_hist_bound_ns(unsigned int i);
/*
 * A bound that @percent (1 to 100) of the values do not exceed, as exact as the
 * buckets: the upper bound of the bucket that holds that value, or the largest
 * value if that is less. 0 without values.
 */
uint64_t power_hist_quantile_ns(const struct power_hist *hist,
				unsigned int percent);

enum power_by { /* who began a way down */
	POWER_BY_GUEST,
	POWER_BY_REQUEST,
	POWER_NR_BY,
};

struct power_stats {
	uint64_t sleeps[POWER_STATS_MAX_SLEEPS][POWER_NR_BY];
	uint64_t asleep_ns[POWER_STATS_MAX_SLEEPS]; /* of sleeps that ended */
	uint64_t requests[POWER_STATS_MAX_OUTCOMES];
	struct power_hist entry[POWER_NR_BY]; /* begun to slept */
	struct power_hist wake_vcpus;	      /* woke to released */
	struct power_hist wake_running;	      /* woke to running */
	uint64_t pauses, paused_ns, longest_pause_ns;

	/* The present cycle. */
	uint64_t begun_ns, slept_ns, woke_ns;
	enum power_by by;
	unsigned int sleep; /* enum power_sleep, present or last */
	bool asleep;
	bool waking; /* woke, and has not signalled that it runs */
	bool releasing;
};

/* The way down begins: a press of the sleep button, or the guest's sign. */
void power_stats_begun(struct power_stats *stats, enum power_by by,
		       uint64_t now_ns);
void power_stats_slept(struct power_stats *stats, enum power_sleep kind,
		       uint64_t now_ns);
/* A request ended, asleep or otherwise. */
void power_stats_request(struct power_stats *stats, enum power_outcome outcome);
/* A wake event. @slept: it ended a sleep; else only the way down. */
void power_stats_woke(struct power_stats *stats, bool slept, uint64_t now_ns);
/* The vCPUs may run. The first call of a way up counts. */
void power_stats_released(struct power_stats *stats, uint64_t now_ns);
/*
 * The guest signalled that it is up (LPS0 exit), or came out of S1.
 * @ret_latency_ns: since the wake event; written if one had ended a sleep.
 */
void power_stats_running(struct power_stats *stats, uint64_t now_ns,
			 uint64_t *ret_latency_ns);
/* A pause has ended after @ns. */
void power_stats_paused(struct power_stats *stats, uint64_t ns);

/* Time in sleeps of all kinds, with the present one. */
uint64_t power_stats_all_asleep_ns(const struct power_stats *stats,
				   uint64_t now_ns);
/* Time in sleeps of @kind, with the present one. */
uint64_t power_stats_asleep_ns(const struct power_stats *stats,
			       enum power_sleep kind, uint64_t now_ns);

/* Both count from 0: NULL, false for a number beyond the last. */
const char *power_outcome_name(enum power_outcome outcome);
bool power_sleep_exists(enum power_sleep kind);

#endif
