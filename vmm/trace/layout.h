/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where things are in the picture of a cycle (svg.c), in pixels.
 *
 *	| way down, to scale | fold | way up, to scale | tail |
 *
 * The sleep is folded to a fixed width, however long it was. A lane has the
 * spans within spans below each other, and below them the instants. A name is
 * written into its bar, else right or left of it where that is free, else below
 * the spans, among the instants, with a line to it; else nowhere: texts do not
 * overlap.
 */
#ifndef TORPOR_VMM_TRACE_LAYOUT_H
#define TORPOR_VMM_TRACE_LAYOUT_H

#include "vmm/trace/view.h"

#define TRACE_FONT_PX	 11.0
#define TRACE_PLOT_LEFT	 118.0
#define TRACE_PLOT_RIGHT 1084.0
#define TRACE_MAX_DEPTH	 6U /* rows; what is deeper is drawn in the last */
#define TRACE_MAX_LEVELS 3U /* rows of instants below them */

struct trace_layout {
	const struct trace_view *view;
	bool down, up;			       /* which ways there are */
	bool folded;			       /* both: a sleep between them */
	double down_x0, down_x1, up_x0, up_x1; /* pixels */
	double down_t0, down_t1, up_t0, up_t1; /* microseconds */
	double break_x0, break_x1;	       /* gap in the fold */
};

/* An item at its place. */
struct trace_mark {
	const struct trace_item *item;
	double x0, x1;
	double label_x;	    /* 0: none */
	bool with_text;	    /* the label has the item's text */
	bool below;	    /* an instant, or a span with its label there */
	unsigned int level; /* if below */
	unsigned int count; /* of instants that the label stands for */
};

#define TRACE_LABEL_SIZE 160

struct trace_rows { /* of a lane */
	unsigned int nr, nr_levels;
	/* While it is laid out: the last mark of each row, how far it is used
	 * on the left. */
	struct trace_mark *last[TRACE_MAX_DEPTH];
	double taken[TRACE_MAX_DEPTH];
	struct trace_mark *last_below[TRACE_MAX_LEVELS];
	double taken_below[TRACE_MAX_LEVELS];
};

void trace_layout_init(struct trace_layout *lay, const struct trace_view *view);
/* Pixels for a microsecond. */
double trace_layout_down_scale(const struct trace_layout *lay);
double trace_layout_up_scale(const struct trace_layout *lay);
/* The row of a span, from the top. */
unsigned int trace_layout_row(const struct trace_item *item);

/**
 * trace_layout_lane() - find a place for everything of a lane
 * @marks: room for lane->nr
 *
 * Return: how many marks are shown.
 */
size_t trace_layout_lane(const struct trace_layout *lay,
			 const struct trace_lane *lane,
			 struct trace_mark *marks, struct trace_rows *rows);

/* Pixels that @text needs in the widest of the usual sans-serif fonts. */
double trace_layout_text_width(const char *text);
/* The label's text in @buf of TRACE_LABEL_SIZE. Return: @buf. */
const char *trace_layout_label(const struct trace_mark *mark, char *buf);

#endif
