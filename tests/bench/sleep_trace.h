/* SPDX-License-Identifier: BSD-3-Clause */
/* The phases of one sleep and wake-up out of torpor's trace (docs/trace.md). */
#ifndef TORPOR_BENCH_SLEEP_TRACE_H
#define TORPOR_BENCH_SLEEP_TRACE_H

#include <stdint.h>

/* CLOCK_BOOTTIME for times, ns for spans; 0: not in the trace. */
struct sleep_trace {
	uint64_t request;   /* the suspend request came */
	uint64_t asleep;    /* SUSPENDED */
	uint64_t wake;	    /* the wake event */
	uint64_t first_run; /* the first vCPU runs again */
	uint64_t let_go;    /* the order to let the vCPUs go */
	uint64_t lps0_exit;

	uint64_t freezes_drivers, freezes_cpus; /* spans, summed up */
	uint64_t census, devices_stop, final_census;
	uint64_t devices_restart;
	unsigned int nr_census; /* more than 1: it began again */
	/* Times that it counted as falling asleep again, on the way up. */
	unsigned int nr_relapses;
};

/**
 * sleep_trace_parse() - the last sleep by request in a reply to `trace`
 *
 * Return: 0; -EPROTO if the reply is not a trace or the sleep is not whole: no
 * request, not asleep, no wake event.
 */
int sleep_trace_parse(struct sleep_trace *s, const char *reply);

#endif
