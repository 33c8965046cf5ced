/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `torpor trace` shows of a Chrome trace (docs/control.md): the last
 * suspend and resume in it, as a table (table.c) and as a picture
 * (svg.c). Main thread of the client.
 *
 * The trace comes from another process, maybe of another version: what is
 * unknown is shown as it is, what is malformed is ignored. Times are
 * microseconds since some origin.
 */
#ifndef TORPOR_VMM_TRACE_VIEW_H
#define TORPOR_VMM_TRACE_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "vmm/base/util.h"

#define TRACE_VIEW_MAX_LANES 128U
#define TRACE_VIEW_MAX_ITEMS 65536U

enum trace_lane_kind {
	TRACE_LANE_POWER,
	TRACE_LANE_REQUEST,
	TRACE_LANE_GUEST,
	TRACE_LANE_VCPU,
	TRACE_LANE_DEVICE,
	TRACE_LANE_OTHER,
};

/* A span or an instant. Strings are borrowed of the JSON. */
struct trace_item {
	const char *name;
	const char *text; /* or NULL */
	double begin_us, end_us;
	unsigned int depth; /* 0: within no other */
	bool instant;
	bool cut;	  /* it began earlier */
	bool open;	  /* it was not over */
	ptrdiff_t parent; /* while reading */
};

struct trace_lane {
	json_int_t tid;
	const char *name; /* or NULL */
	enum trace_lane_kind kind;
	struct trace_item *items; /* in the order of their begins */
	size_t nr, cap;
	ptrdiff_t top; /* while reading: the innermost open span */
};

/* One way, down or up. */
struct trace_half {
	bool there;
	double begin_us; /* request or first sign; wake event */
	double end_us;	 /* SUSPENDED; RUNNING */
};

struct trace_view {
	struct trace_lane lanes[TRACE_VIEW_MAX_LANES]; /* in order of tid */
	unsigned int nr_lanes;
	size_t nr_items;
	const char *vm; /* or NULL */
	struct trace_half down, up;
	bool requested;	    /* a request led to it */
	const char *kind;   /* of the sleep, or NULL */
	const char *source; /* what woke it, or NULL */
};

/**
 * trace_view_read() - read a trace and find the last cycle in it
 * @trace: the result of "trace", borrowed for the life of the view
 *
 * Prefers the last cycle that is complete; else takes the half there is.
 * Return: 0; -ENODATA there is no sleep in it; -EPROTO it is not a trace;
 * -ENOMEM. In each case trace_view_finish() is due.
 */
int trace_view_read(struct trace_view *view, const json_t *trace) must_check;
void trace_view_finish(struct trace_view *view);

/* Return: the lane's name for people in @buf: printable, no longer than it. */
const char *trace_lane_name(const struct trace_lane *lane, char *buf,
			    size_t size);
/*
 * Copies as many whole characters of @text as fit and are at most @max
 * characters, control characters replaced. Return: @buf.
 */
const char *trace_clean(const char *text, char *buf, size_t size,
			unsigned int max);

/* A name of a state, which is not shown as a phase. */
bool trace_is_state(const char *name);

void trace_print_table(FILE *out, const struct trace_view *view);
/* A stand-alone SVG document. Return: 0 or -ENOMEM. */
int trace_print_svg(FILE *out, const struct trace_view *view) must_check;

#endif
