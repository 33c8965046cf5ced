/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Samples of a benchmark and what is said of them. Header only: each benchmark
 * is a program of one file.
 */
#ifndef TORPOR_BENCH_SAMPLE_H
#define TORPOR_BENCH_SAMPLE_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t sample_now_ns(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static inline int sample_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* @percent of @n > 0 samples are not above the result; sorts them. */
static inline double sample_percentile(double *samples, unsigned int n,
				       unsigned int percent)
{
	unsigned int at = n * percent / 100;

	qsort(samples, n, sizeof(*samples), sample_compare);
	return samples[at < n ? at : n - 1];
}

static inline double sample_median(double *samples, unsigned int n)
{
	return sample_percentile(samples, n, 50);
}

#endif
