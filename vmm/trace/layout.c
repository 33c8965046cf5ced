/* SPDX-License-Identifier: BSD-3-Clause */
/* Places in the picture of a cycle; see layout.h. */
#include "vmm/trace/layout.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PAD_LEFT    6.0	  /* before the request */
#define TAIL	    86.0  /* after the end, for the name of the last state */
#define FOLD	    150.0 /* the sleep */
#define FOLD_BREAK  112.0 /* where the gap is in it */
#define BREAK_WIDTH 12.0
/* What happens near an end of the fold is drawn no farther from it. */
#define FOLD_REACH 10.0
#define MIN_BAR	   1.6
/* Neither way gets less than this share of what there is for both. */
#define MIN_SHARE 0.3

/* ------------------------------------------------------------------ time */

/* Ends of what is shown: a guest may say after RUNNING that it is back. */
static double shown_end(const struct trace_view *view)
{
	const struct trace_half *up = &view->up;
	double end = up->end_us, limit = 2 * up->end_us - up->begin_us;

	for (unsigned int l = 0; l < view->nr_lanes; l++) {
		const struct trace_lane *lane = &view->lanes[l];

		for (size_t i = 0;
		     lane->kind == TRACE_LANE_GUEST && i < lane->nr; i++) {
			const struct trace_item *item = &lane->items[i];

			if (item->begin_us >= up->begin_us && !item->open &&
			    item->end_us <= limit)
				end = MAX(end, item->end_us);
		}
	}
	return end;
}

void trace_layout_init(struct trace_layout *lay, const struct trace_view *view)
{
	double room = TRACE_PLOT_RIGHT - TRACE_PLOT_LEFT - PAD_LEFT - TAIL;
	double down = 0, up = 0, share;

	*lay = (struct trace_layout){ .view = view };
	lay->down = view->down.there;
	lay->up = view->up.there;
	lay->down_t0 = view->down.begin_us;
	lay->down_t1 = MAX(view->down.end_us, lay->down_t0 + 1);
	lay->up_t0 = view->up.begin_us;
	lay->up_t1 = MAX(shown_end(view), lay->up_t0 + 1);
	if (lay->down)
		down = lay->down_t1 - lay->down_t0;
	if (lay->up)
		up = lay->up_t1 - lay->up_t0;
	share = down / (down + up);
	lay->folded = lay->down && lay->up;
	if (lay->folded) {
		room -= FOLD;
		share = MAX(share, MIN_SHARE);
		share = MIN(share, 1 - MIN_SHARE);
	} else if (lay->up) {
		room -= TAIL; /* the sleep that it came from */
	}
	lay->down_x0 = TRACE_PLOT_LEFT + PAD_LEFT;
	lay->down_x1 = lay->down_x0 + room * share;
	lay->up_x0 = lay->down_x1 + (lay->down ? FOLD : TAIL);
	lay->up_x1 = lay->up_x0 + room * (1 - share);
	if (lay->folded) {
		lay->break_x0 = lay->down_x1 + FOLD_BREAK;
		lay->break_x1 = lay->break_x0 + BREAK_WIDTH;
	}
}

double trace_layout_down_scale(const struct trace_layout *lay)
{
	return (lay->down_x1 - lay->down_x0) / (lay->down_t1 - lay->down_t0);
}

double trace_layout_up_scale(const struct trace_layout *lay)
{
	return (lay->up_x1 - lay->up_x0) / (lay->up_t1 - lay->up_t0);
}

static double x_of(const struct trace_layout *lay, double us)
{
	double x;

	if (lay->down && (!lay->up || us <= lay->down_t1 ||
			  us - lay->down_t1 < lay->up_t0 - us)) {
		x = lay->down_x0 +
		    (us - lay->down_t0) * trace_layout_down_scale(lay);
		if (lay->up)
			x = MIN(x, lay->down_x1 + FOLD_REACH);
	} else {
		x = lay->up_x0 + (us - lay->up_t0) * trace_layout_up_scale(lay);
		if (lay->down)
			x = MAX(x, lay->up_x0 - FOLD_REACH);
	}
	x = MAX(x, TRACE_PLOT_LEFT);
	return MIN(x, TRACE_PLOT_RIGHT);
}

/* ---------------------------------------------------------------- labels */

double trace_layout_text_width(const char *text)
{
	double em = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c & 0xc0) == 0x80)
			continue; /* a byte within a character */
		if (c >= 0x80)
			em += 1.05;
		else if (strchr("ijlI.,:;'|!()[] ", c))
			em += 0.40;
		else if (strchr("mwMW@%", c))
			em += 1.0;
		else if ((c >= 'A' && c <= 'Z') || c == '&' || c == '~')
			em += 0.76;
		else
			em += 0.64;
	}
	return em * TRACE_FONT_PX;
}

const char *trace_layout_label(const struct trace_mark *m, char *buf)
{
	char name[TRACE_LABEL_SIZE / 2];
	char text[TRACE_LABEL_SIZE / 4] = "", times[16] = "";

	(void)trace_clean(m->item->name, name, sizeof(name), 24);
	if (m->with_text && m->item->text)
		(void)trace_clean(m->item->text, text, sizeof(text), 16);
	if (m->count > 1)
		(void)snprintf(times, sizeof(times), " \u00d7%u", m->count);
	(void)snprintf(buf, TRACE_LABEL_SIZE, "%s%s%s%s", name,
		       *text ? ": " : "", text, times);
	return buf;
}

static double label_width(const struct trace_mark *m)
{
	char buf[TRACE_LABEL_SIZE];

	return trace_layout_text_width(trace_layout_label(m, buf));
}

/* The wider of the parts that the break leaves of a bar. */
static void avoid_break(const struct trace_layout *lay, double *from,
			double *to)
{
	if (!lay->folded || *to <= lay->break_x0 - 2 ||
	    *from >= lay->break_x1 + 6)
		return;
	if (lay->break_x0 - *from >= *to - lay->break_x1)
		*to = lay->break_x0 - 2;
	else
		*from = lay->break_x1 + 6;
}

/* How far right of @x one can write, where @to is the end. */
static double right_of(const struct trace_layout *lay, double x, double to)
{
	return lay->folded && x <= lay->break_x1 ? MIN(to, lay->break_x0 - 2)
						 : to;
}

/* How far left of @x, where @from is the end. */
static double left_of(const struct trace_layout *lay, double x, double from)
{
	return lay->folded && x >= lay->break_x0 ? MAX(from, lay->break_x1 + 6)
						 : from;
}

/*
 * In its bar, right or left of it. @taken: how far its row is used on the left;
 * @next: where the next bar is. Return: whether there was room.
 */
static bool place_beside(const struct trace_layout *lay, struct trace_mark *m,
			 double taken, double next)
{
	double width = label_width(m);
	double from = MAX(m->x0, taken), to = MIN(m->x1, next);
	double end = MAX(m->x1, taken);

	avoid_break(lay, &from, &to);
	if (to - from >= width + 8) {
		m->label_x = from + 4;
		return true;
	}
	if (right_of(lay, end, next) - end >= width + 7) {
		m->label_x = end + 4;
		return true;
	}
	if (m->x0 - left_of(lay, m->x0, taken) >= width + 8) {
		m->label_x = m->x0 - 4 - width;
		return true;
	}
	return false;
}

/* Return: how far the row of @m is used on the left now. */
static double label_span(const struct trace_layout *lay, struct trace_mark *m,
			 double taken, double next)
{
	m->with_text = true;
	if (!place_beside(lay, m, taken, next)) {
		m->with_text = false;
		(void)place_beside(lay, m, taken, next);
	}
	taken = MAX(taken, m->x1);
	if (m->label_x > 0)
		taken = MAX(taken, m->label_x + label_width(m));
	return taken;
}

/* ----------------------------------------------------------------- lanes */

/* Another of the same name under the last one's label. */
static bool merge_below(struct trace_rows *rows, struct trace_mark *m)
{
	for (unsigned int i = 0; i < rows->nr_levels; i++) {
		struct trace_mark *last = rows->last_below[i];

		if (!m->item->instant || !last->item->instant ||
		    m->x0 > rows->taken_below[i] + 4 ||
		    m->item->text != last->item->text ||
		    strcmp(m->item->name, last->item->name) != 0 ||
		    last->label_x < last->x0)
			continue;
		m->below = true;
		m->level = i;
		last->count++;
		rows->taken_below[i] =
			MAX(m->x0, last->label_x + label_width(last));
		return true;
	}
	return false;
}

/* Right of it, or left, in the first level where there is room. */
static bool place_below(const struct trace_layout *lay, struct trace_rows *rows,
			struct trace_mark *m)
{
	double at = m->item->instant ? m->x0 : (m->x0 + m->x1) / 2;
	double width = label_width(m);

	/* It was there before the picture begins: not worth a line. */
	if (!m->item->instant && m->x0 <= TRACE_PLOT_LEFT)
		return false;
	for (unsigned int i = 0; i < TRACE_MAX_LEVELS; i++) {
		double taken = rows->last_below[i] ? rows->taken_below[i] + 6
						   : TRACE_PLOT_LEFT;
		double x = at + 5;

		if (at < taken)
			continue;
		if (x + width > right_of(lay, at, TRACE_PLOT_RIGHT)) {
			x = at - 5 - width;
			if (x < left_of(lay, at, taken))
				continue;
		}
		m->below = true;
		m->level = i;
		m->label_x = x;
		rows->last_below[i] = m;
		rows->taken_below[i] = MAX(at + 2, x + width);
		rows->nr_levels = MAX(rows->nr_levels, i + 1);
		return true;
	}
	return false;
}

static bool is_shown(const struct trace_layout *lay,
		     const struct trace_item *item)
{
	double from = lay->down ? lay->down_t0 : lay->up_t0;
	/* The tail is to scale, and the state at the end begins in it. */
	double to =
		lay->up ? lay->up_t1 + TAIL / trace_layout_up_scale(lay)
			: lay->down_t1 + TAIL / trace_layout_down_scale(lay);

	return item->begin_us <= to && item->end_us >= from;
}

unsigned int trace_layout_row(const struct trace_item *item)
{
	return MIN(item->depth, TRACE_MAX_DEPTH - 1);
}

static size_t collect(const struct trace_layout *lay,
		      const struct trace_lane *lane, struct trace_mark *marks)
{
	size_t nr = 0;

	for (size_t i = 0; i < lane->nr; i++) {
		const struct trace_item *item = &lane->items[i];
		double x0 = x_of(lay, item->begin_us);
		double x1 = x_of(lay, item->end_us);

		if (!is_shown(lay, item))
			continue;
		if (!item->instant)
			x1 = MAX(x1, x0 + MIN_BAR);
		marks[nr++] = (struct trace_mark){ .item = item,
						   .x0 = x0,
						   .x1 = x1,
						   .below = item->instant,
						   .with_text = true,
						   .count = 1 };
	}
	return nr;
}

/* Finds a place for everything of @lane. Return: how many marks. */
size_t trace_layout_lane(const struct trace_layout *lay,
			 const struct trace_lane *lane,
			 struct trace_mark *marks, struct trace_rows *rows)
{
	size_t nr = collect(lay, lane, marks);

	*rows = (struct trace_rows){ .nr = 0 };
	for (unsigned int i = 0; i < TRACE_MAX_DEPTH; i++)
		rows->taken[i] = TRACE_PLOT_LEFT;
	for (size_t i = 0; i < nr; i++) {
		struct trace_mark *m = &marks[i];
		unsigned int row = trace_layout_row(m->item);
		struct trace_mark *last = rows->last[row];

		if (m->item->instant)
			continue;
		if (last)
			rows->taken[row] =
				label_span(lay, last, rows->taken[row], m->x0);
		rows->last[row] = m;
		rows->nr = MAX(rows->nr, row + 1);
	}
	for (unsigned int i = 0; i < rows->nr; i++) {
		if (rows->last[i])
			(void)label_span(lay, rows->last[i], rows->taken[i],
					 TRACE_PLOT_RIGHT);
	}
	for (size_t i = 0; i < nr; i++) {
		struct trace_mark *m = &marks[i];

		if (m->label_x > 0 || merge_below(rows, m) ||
		    place_below(lay, rows, m) || !m->item->instant)
			continue;
		rows->nr_levels = MAX(rows->nr_levels, 1U);
	}
	return nr;
}
