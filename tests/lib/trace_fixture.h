/* SPDX-License-Identifier: BSD-3-Clause */
/* Recordings made by hand, with times of the test's choice. */
#ifndef TORPOR_TESTS_LIB_TRACE_FIXTURE_H
#define TORPOR_TESTS_LIB_TRACE_FIXTURE_H

#include <stddef.h>

#include "vmm/trace/json.h"

#define FIXTURE_ORIGIN_NS 5000000000ULL /* the test's time 0 */

#define FIXTURE_DOWN 27
#define FIXTURE_UP   17

struct fixture_line {
	double ms;
	enum trace_kind kind;
	unsigned int track;
	const char *name, *text;
};

extern const struct fixture_line fixture_down[FIXTURE_DOWN]; /* to SUSPENDED */
extern const struct fixture_line fixture_up[FIXTURE_UP];     /* to RUNNING */

/* An event at @us microseconds of the test's time. */
void fixture_add(struct trace *t, double us, enum trace_kind kind,
		 unsigned int track, const char *name, const char *text);
void fixture_lines(struct trace *t, double from_ms,
		   const struct fixture_line *lines, size_t nr);
/* A cycle that begins @from_ms and sleeps for @asleep_ms. */
void fixture_cycle(struct trace *t, double from_ms, double asleep_ms);
void fixture_init(struct trace *t);

#endif
