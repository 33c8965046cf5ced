/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The critical path of a cycle as a table: the coordinator's phases and the
 * guest's in the order of time, below each what devices did in it, and the
 * time that none of them accounts for.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/trace/trace.h"
#include "vmm/trace/view.h"

#define US_PER_MS  1000.0
#define MAX_ROWS   256U
#define LABEL_SIZE 64
#define LABEL_MAX  30U /* characters */
/* Gaps below this share of the whole are not worth a row. */
#define GAP_SHARE 0.005

struct row {
	double begin_us, end_us;
	char label[LABEL_SIZE];
	char slowest[LABEL_SIZE];
	bool instant, power, child;
	unsigned int order; /* of a parent among its like; children share it */
};

struct table {
	const struct trace_view *view;
	struct trace_half half;
	struct row row[MAX_ROWS];
	unsigned int nr;
};

static bool within(const struct trace_half *half, const struct trace_item *item)
{
	return item->begin_us >= half->begin_us &&
	       item->begin_us < half->end_us;
}

static struct row *add_row(struct table *t, double begin_us, double end_us,
			   const char *who, const char *what)
{
	struct row *row = &t->row[t->nr];
	char label[2 * LABEL_SIZE];
	char a[LABEL_SIZE], b[LABEL_SIZE];

	if (t->nr == MAX_ROWS)
		return NULL;
	t->nr++;
	(void)snprintf(label, sizeof(label), "%s%s%s",
		       trace_clean(who, a, sizeof(a), LABEL_MAX),
		       *who ? " " : "",
		       trace_clean(what, b, sizeof(b), LABEL_MAX));
	*row = (struct row){ .instant = false };
	row->begin_us = MAX(begin_us, t->half.begin_us);
	row->end_us = MIN(end_us, t->half.end_us);
	(void)trace_clean(label, row->label, sizeof(row->label), LABEL_MAX);
	return row;
}

/* ----------------------------------------------------------- the phases */

static void add_phases(struct table *t, const struct trace_lane *lane,
		       const char *who)
{
	for (size_t i = 0; i < lane->nr; i++) {
		const struct trace_item *item = &lane->items[i];
		struct row *row;

		if (!within(&t->half, item) || trace_is_state(item->name) ||
		    !strcmp(item->name, TRACE_WAKE) ||
		    !strcmp(item->name, TRACE_LET_GO))
			continue;
		row = add_row(t, item->begin_us, item->end_us, who, item->name);
		if (!row)
			return;
		row->instant = item->instant;
		row->power = lane->kind == TRACE_LANE_POWER;
	}
}

/* When the coordinator let them go, or @fallback_us. */
static double let_go_us(const struct table *t, double fallback_us)
{
	for (unsigned int l = 0; l < t->view->nr_lanes; l++) {
		const struct trace_lane *lane = &t->view->lanes[l];

		for (size_t i = 0;
		     lane->kind == TRACE_LANE_POWER && i < lane->nr; i++) {
			const struct trace_item *item = &lane->items[i];

			if (within(&t->half, item) &&
			    !strcmp(item->name, TRACE_LET_GO))
				return item->begin_us;
		}
	}
	return fallback_us;
}

/*
 * From the first vCPU that was let go to the last, which may be after the guest
 * counts as running.
 */
static void add_let_go(struct table *t)
{
	double latest = 2 * t->half.end_us - t->half.begin_us;
	double first = t->half.end_us, last = 0;
	const struct trace_lane *slowest = NULL;
	struct row *row;

	for (unsigned int l = 0; l < t->view->nr_lanes; l++) {
		const struct trace_lane *lane = &t->view->lanes[l];

		for (size_t i = 0;
		     lane->kind == TRACE_LANE_VCPU && i < lane->nr; i++) {
			const struct trace_item *item = &lane->items[i];

			if (item->instant || item->open ||
			    strcmp(item->name, TRACE_PARK) != 0 ||
			    item->begin_us > t->half.begin_us ||
			    item->end_us < t->half.begin_us ||
			    item->end_us > latest)
				continue;
			first = MIN(first, item->end_us);
			if (!slowest || item->end_us > last) {
				slowest = lane;
				last = item->end_us;
			}
		}
	}
	if (!slowest)
		return;
	row = add_row(t, MIN(let_go_us(t, first), last), last, "",
		      TRACE_LET_GO);
	if (row)
		(void)trace_lane_name(slowest, row->slowest,
				      sizeof(row->slowest));
}

/* -------------------------------------------------------------- devices */

static struct row *find_parent(struct table *t, unsigned int nr,
			       const struct trace_item *item)
{
	struct row *found = NULL;

	for (unsigned int i = 0; i < nr; i++) {
		struct row *row = &t->row[i];

		if (row->instant || item->begin_us < row->begin_us ||
		    item->begin_us > row->end_us ||
		    (item->begin_us == row->end_us &&
		     row->end_us > row->begin_us))
			continue;
		/* The coordinator's rather than the guest's; the innermost. */
		if (!found || row->power > found->power ||
		    (row->power == found->power &&
		     row->begin_us >= found->begin_us))
			found = row;
	}
	return found;
}

/* What a device did belongs to the phase it began in. */
static void add_devices(struct table *t)
{
	unsigned int nr_parents = t->nr;

	for (unsigned int i = 0; i < nr_parents; i++)
		t->row[i].order = i;
	for (unsigned int l = 0; l < t->view->nr_lanes; l++) {
		const struct trace_lane *lane = &t->view->lanes[l];
		char name[LABEL_SIZE];

		if (lane->kind != TRACE_LANE_DEVICE)
			continue;
		(void)trace_lane_name(lane, name, sizeof(name));
		for (size_t i = 0; i < lane->nr; i++) {
			const struct trace_item *item = &lane->items[i];
			const struct row *parent;
			struct row *row;

			if (item->instant || !within(&t->half, item))
				continue;
			parent = find_parent(t, nr_parents, item);
			row = add_row(t, item->begin_us, item->end_us, name,
				      item->name);
			if (!row)
				return;
			row->child = parent;
			row->order = parent ? parent->order : t->nr;
			(void)snprintf(row->slowest, sizeof(row->slowest), "%s",
				       name);
		}
	}
}

static double length(const struct row *row)
{
	return row->end_us - row->begin_us;
}

/* The device that took longest in it, else the vCPU that was the last. */
static void find_slowest(struct table *t, struct row *row)
{
	double last = row->begin_us;
	const struct row *slowest = NULL;

	for (unsigned int i = 0; row->power && i < t->nr; i++) {
		const struct row *child = &t->row[i];

		if (child->child && child->order == row->order &&
		    (!slowest || length(child) > length(slowest)))
			slowest = child;
	}
	if (slowest) {
		memcpy(row->slowest, slowest->slowest, sizeof(row->slowest));
		return;
	}
	for (unsigned int l = 0; l < t->view->nr_lanes; l++) {
		const struct trace_lane *lane = &t->view->lanes[l];

		if (lane->kind != TRACE_LANE_VCPU)
			continue;
		for (size_t i = 0; i < lane->nr; i++) {
			const struct trace_item *item = &lane->items[i];

			if (item->begin_us <= last ||
			    item->begin_us > row->end_us ||
			    !strcmp(item->name, TRACE_KICK))
				continue;
			last = item->begin_us;
			(void)trace_lane_name(lane, row->slowest,
					      sizeof(row->slowest));
		}
	}
}

/* ------------------------------------------------------------- printing */

/* Parents by time; children behind their parent, the longest first. */
static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->child != y->child)
		return x->child ? 1 : -1;
	if (x->child)
		return (length(x) < length(y)) - (length(x) > length(y));
	if (x->begin_us != y->begin_us)
		return x->begin_us < y->begin_us ? -1 : 1;
	if (x->instant != y->instant)
		return x->instant ? -1 : 1;
	return (x->end_us > y->end_us) - (x->end_us < y->end_us);
}

static void print_row(FILE *out, const struct table *t, const struct row *row)
{
	double whole = t->half.end_us - t->half.begin_us;
	const char *indent = row->child ? "  " : "";
	const char *slowest = row->child ? "" : row->slowest;

	fprintf(out, "%12.3f ", (row->begin_us - t->half.begin_us) / US_PER_MS);
	if (row->instant)
		fprintf(out, "%12s %7s", "", "");
	else
		fprintf(out, "%12.3f %6.1f%%", length(row) / US_PER_MS,
			whole > 0 ? 100 * length(row) / whole : 0.0);
	if (*slowest)
		fprintf(out, "  %s%-*s  %s\n", indent, (int)LABEL_MAX,
			row->label, slowest);
	else
		fprintf(out, "  %s%s\n", indent, row->label);
}

/* Time from @from_us to @to_us that no phase accounts for. */
static void print_gap(FILE *out, const struct table *t, double from_us,
		      double to_us, const char *label)
{
	struct row row = { .begin_us = from_us, .end_us = to_us };
	double whole = t->half.end_us - t->half.begin_us;

	if (to_us <= from_us || (!label && to_us - from_us < GAP_SHARE * whole))
		return;
	(void)snprintf(row.label, sizeof(row.label), "%s",
		       label ? label : "(not accounted for)");
	print_row(out, t, &row);
}

static void print_point(FILE *out, const struct table *t, double us,
			const char *label)
{
	struct row row = { .begin_us = us, .instant = true };

	(void)snprintf(row.label, sizeof(row.label), "%s", label);
	print_row(out, t, &row);
}

static void print_rows(FILE *out, struct table *t, bool down)
{
	const char *first = down && t->view->requested ? "request" : NULL;
	double reached = t->half.begin_us;

	fprintf(out, "%12s %12s %7s  %-*s  %s\n", "START ms", "TIME ms",
		"SHARE", (int)LABEL_MAX, "STEP", "SLOWEST");
	if (!down)
		print_point(out, t, t->half.begin_us, "wake event");
	qsort(t->row, t->nr, sizeof(t->row[0]), compare_rows);
	for (unsigned int i = 0; i < t->nr && !t->row[i].child; i++) {
		print_gap(out, t, reached, t->row[i].begin_us,
			  i == 0 ? first : NULL);
		reached = MAX(reached, t->row[i].end_us);
		print_row(out, t, &t->row[i]);
		for (unsigned int c = 0; c < t->nr; c++) {
			if (t->row[c].child &&
			    t->row[c].order == t->row[i].order)
				print_row(out, t, &t->row[c]);
		}
	}
	print_gap(out, t, reached, t->half.end_us, NULL);
	print_point(out, t, t->half.end_us, down ? "asleep" : "running");
}

static void print_half(FILE *out, const struct trace_view *view, bool down)
{
	struct table room = { .view = view,
			      .half = down ? view->down : view->up };
	struct table *t = &room;

	for (unsigned int l = 0; l < view->nr_lanes; l++) {
		const struct trace_lane *lane = &view->lanes[l];

		if (lane->kind == TRACE_LANE_POWER)
			add_phases(t, lane, "");
		else if (lane->kind == TRACE_LANE_GUEST)
			add_phases(t, lane, "guest");
	}
	if (!down)
		add_let_go(t);
	add_devices(t);
	for (unsigned int i = 0; i < t->nr; i++) {
		if (!t->row[i].child && !t->row[i].instant &&
		    !*t->row[i].slowest)
			find_slowest(t, &t->row[i]);
	}
	print_rows(out, t, down);
}

void trace_print_table(FILE *out, const struct trace_view *view)
{
	const struct trace_half *down = &view->down, *up = &view->up;
	char buf[LABEL_SIZE];

	if (down->there) {
		double ms = (down->end_us - down->begin_us) / US_PER_MS;

		fprintf(out, "Going to sleep: %.3f ms from the %s until ", ms,
			view->requested ? "request" : "first sign");
		fprintf(out, "asleep%s%s%s\n\n", view->kind ? " (" : "",
			view->kind ? trace_clean(view->kind, buf, sizeof(buf),
						 LABEL_MAX)
				   : "",
			view->kind ? ")" : "");
		print_half(out, view, true);
	}
	if (down->there && up->there)
		fprintf(out, "\nAsleep: %.3f ms\n\n",
			(up->begin_us - down->end_us) / US_PER_MS);
	if (!up->there) {
		fputs("\nIt has not come back from there yet.\n", out);
		return;
	}
	fprintf(out,
		"Waking up: %.3f ms from the wake event%s%s until it "
		"runs\n\n",
		(up->end_us - up->begin_us) / US_PER_MS,
		view->source ? " of " : "",
		view->source
			? trace_clean(view->source, buf, sizeof(buf), LABEL_MAX)
			: "");
	print_half(out, view, false);
}
