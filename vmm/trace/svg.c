/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last cycle as a picture: time from left to right, a lane for each track.
 * layout.c says where things are. The two ways have an axis each, which
 * counts from the request and from the wake event; each bar has a <title>.
 */
#include <errno.h>
#include <string.h>

#include "vmm/trace/layout.h"
#include "vmm/trace/trace.h"

#define US_PER_MS 1000.0

/* Pixels. */
#define WIDTH	   1100.0
#define PLOT_TOP   92.0
#define ROW	   20.0
#define BAR	   15.0
#define TICK_ROW   17.0
#define LANE_GAP   7.0
#define BASELINE   11.5 /* of a text in its row */
#define TICK_SPACE 64.0
#define TOOTH	   6 /* of a torn edge */

#define TEXT_SIZE 160

struct svg {
	FILE *out;
	struct trace_layout lay;
	double y;
};

/* ------------------------------------------------------------------ text */

static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			fputc(*text, out);
		}
	}
}

static const char *duration(double us, char *buf, size_t size)
{
	double ms = us / US_PER_MS;

	if (ms < 10)
		(void)snprintf(buf, size, "%.2f ms", ms);
	else if (ms < 1000)
		(void)snprintf(buf, size, "%.1f ms", ms);
	else if (ms < 100e3)
		(void)snprintf(buf, size, "%.2f s", ms / 1e3);
	else if (ms < 7200e3)
		(void)snprintf(buf, size, "%.1f min", ms / 60e3);
	else
		(void)snprintf(buf, size, "%.1f h", ms / 3600e3);
	return buf;
}

/* ------------------------------------------------------------------ axes */

/* 1, 2 or 5 times a power of ten: the least that is at least @least. */
static double nice_step(double least)
{
	double step = 1;

	while (step > least)
		step /= 10;
	while (10 * step <= least)
		step *= 10;
	if (step >= least)
		return step;
	if (2 * step >= least)
		return 2 * step;
	return 5 * step >= least ? 5 * step : 10 * step;
}

static void draw_axis(const struct svg *s, double x0, double x1, double us,
		      double bottom, const char *title)
{
	double px_per_ms = (x1 - x0) / (us / US_PER_MS);
	double step = nice_step(TICK_SPACE / px_per_ms);

	fprintf(s->out, "<text x=\"%.1f\" y=\"%.1f\" fill=\"#555\">%s</text>\n",
		x0, PLOT_TOP - 24, title);
	fprintf(s->out, "<path d=\"M%.1f,%.1f H%.1f\" stroke=\"#888\"/>\n", x0,
		PLOT_TOP - 4, x1);
	for (unsigned int i = 0; i * step * px_per_ms <= x1 - x0 + 0.5; i++) {
		double x = x0 + i * step * px_per_ms;

		fprintf(s->out,
			"<path d=\"M%.1f,%.1f V%.1f\" stroke=\"#e4e4e4\"/>"
			"<path d=\"M%.1f,%.1f v4\" stroke=\"#888\"/>"
			"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
			"fill=\"#555\">%.10g</text>\n",
			x, PLOT_TOP, bottom, x, PLOT_TOP - 4, x, PLOT_TOP - 8,
			i * step);
	}
}

static void draw_axes(const struct svg *s, double bottom)
{
	bool other = s->lay.folded &&
		     (trace_layout_down_scale(&s->lay) >
			      1.01 * trace_layout_up_scale(&s->lay) ||
		      trace_layout_up_scale(&s->lay) >
			      1.01 * trace_layout_down_scale(&s->lay));
	char asleep[32];

	if (s->lay.down)
		draw_axis(s, s->lay.down_x0, s->lay.down_x1,
			  s->lay.down_t1 - s->lay.down_t0, bottom,
			  s->lay.view->requested ? "ms since the request"
						 : "ms since the first sign");
	if (s->lay.up)
		draw_axis(s, s->lay.up_x0, s->lay.up_x1,
			  s->lay.up_t1 - s->lay.up_t0, bottom,
			  other ? "ms since the wake event (another scale)"
				: "ms since the wake event");
	if (!s->lay.folded)
		return;
	fprintf(s->out,
		"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
		"fill=\"#555\">asleep %s</text>\n",
		(s->lay.down_x1 + s->lay.up_x0) / 2, PLOT_TOP - 8,
		duration(s->lay.up_t0 - s->lay.down_t1, asleep,
			 sizeof(asleep)));
}

/* A torn edge of @teeth teeth, downwards or upwards. */
static void put_edge(FILE *out, int teeth, int dy)
{
	for (int i = 0; i < teeth; i++)
		fprintf(out, " l%d,%d", i % 2 ? -4 : 4, dy);
}

/* The sleep is longer than drawn: a gap from top to bottom. */
static void draw_break(const struct svg *s, double bottom)
{
	int teeth = 2 * (int)((bottom - PLOT_TOP) / (2.0 * TOOTH) + 1);
	double top = PLOT_TOP - 2;

	if (!s->lay.folded)
		return;
	fprintf(s->out, "<path d=\"M%.1f,%.1f", s->lay.break_x0, top);
	put_edge(s->out, teeth, TOOTH);
	fprintf(s->out, " H%.1f", s->lay.break_x1);
	put_edge(s->out, teeth, -TOOTH);
	fputs(" Z\" fill=\"#fff\"/>\n", s->out);
	for (int right = 0; right < 2; right++) {
		fprintf(s->out, "<path d=\"M%.1f,%.1f",
			right ? s->lay.break_x1 : s->lay.break_x0, top);
		put_edge(s->out, teeth, TOOTH);
		fputs("\" fill=\"none\" stroke=\"#999\"/>\n", s->out);
	}
}

/* ------------------------------------------------------------------ bars */

struct colours {
	const char *name; /* NULL: any */
	enum trace_lane_kind kind;
	const char *fill, *stroke;
};

static const struct colours *colours_of(const struct trace_lane *lane,
					const struct trace_item *item)
{
	static const struct colours table[] = {
		{ TRACE_STATE_RUNNING, TRACE_LANE_POWER, "#cfe8d0", "#4c8a50" },
		{ TRACE_STATE_SUSPENDING, TRACE_LANE_POWER, "#fbe2b0",
		  "#a87a1e" },
		{ TRACE_STATE_SUSPENDED, TRACE_LANE_POWER, "#cdd5e8",
		  "#53658f" },
		{ TRACE_STATE_RESUMING, TRACE_LANE_POWER, "#cbe9f2",
		  "#38839a" },
		{ NULL, TRACE_LANE_POWER, "#f0ead9", "#8d8058" },
		{ NULL, TRACE_LANE_REQUEST, "#e6d9f0", "#8462a3" },
		{ NULL, TRACE_LANE_GUEST, "#fad8c5", "#b2653c" },
		{ TRACE_PARK, TRACE_LANE_VCPU, "#e0e4e9", "#75808c" },
		{ NULL, TRACE_LANE_VCPU, "#d3e5f7", "#4678a8" },
		{ TRACE_DRAIN, TRACE_LANE_DEVICE, "#f4cccc", "#a85252" },
		{ TRACE_RESTART, TRACE_LANE_DEVICE, "#c9e7d3", "#478a5e" },
		{ NULL, TRACE_LANE_DEVICE, "#efe9b4", "#8f8530" },
	};
	static const struct colours other = { NULL, TRACE_LANE_OTHER, "#e8e8e8",
					      "#777777" };

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].kind == lane->kind &&
		    (!table[i].name || !strcmp(table[i].name, item->name)))
			return &table[i];
	}
	return &other;
}

static void put_title(const struct svg *s, const struct trace_item *item)
{
	char buf[TEXT_SIZE], time[32];
	double ms;

	fputs("<title>", s->out);
	put_text(s->out, trace_clean(item->name, buf, sizeof(buf), 60));
	if (item->text) {
		fputs(": ", s->out);
		put_text(s->out, trace_clean(item->text, buf, sizeof(buf), 60));
	}
	if (s->lay.up && (!s->lay.down || item->begin_us >= s->lay.up_t0))
		ms = (item->begin_us - s->lay.up_t0) / US_PER_MS;
	else
		ms = (item->begin_us - s->lay.down_t0) / US_PER_MS;
	fprintf(s->out, ", at %.3f ms", ms);
	if (!item->instant)
		fprintf(s->out, ", %s%s",
			duration(item->end_us - item->begin_us, time,
				 sizeof(time)),
			item->open ? " so far" : "");
	fputs("</title>", s->out);
}

static void draw_mark(const struct svg *s, const struct trace_lane *lane,
		      const struct trace_mark *m, double y)
{
	const struct colours *c = colours_of(lane, m->item);

	if (m->item->instant)
		fprintf(s->out,
			"<g><path d=\"M%.1f,%.1f v%.1f\" stroke=\"%s\" "
			"stroke-width=\"1.5\"/><circle cx=\"%.1f\" "
			"cy=\"%.1f\" r=\"2.6\" fill=\"%s\"/>",
			m->x0, y, BAR - 2, c->stroke, m->x0, y + BAR / 2,
			c->stroke);
	else
		fprintf(s->out,
			"<g><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
			"height=\"%.1f\" fill=\"%s\" stroke=\"%s\" "
			"stroke-width=\"0.8\"/>",
			m->x0, y, m->x1 - m->x0, BAR, c->fill, c->stroke);
	put_title(s, m->item);
	fputs("</g>\n", s->out);
}

static double height_of(const struct trace_rows *rows)
{
	if (!rows->nr && !rows->nr_levels)
		return 0;
	return rows->nr * ROW + rows->nr_levels * TICK_ROW + LANE_GAP;
}

/* ----------------------------------------------------------------- lanes */

/* Bars on top, so that a line to a label does not cross one. */
static void draw_marks(const struct svg *s, const struct trace_lane *lane,
		       const struct trace_rows *rows,
		       const struct trace_mark *marks, size_t nr)
{
	double top = s->y + LANE_GAP / 2, below = top + rows->nr * ROW;

	for (size_t i = 0; i < nr; i++) {
		const struct trace_mark *m = &marks[i];
		double x = (m->x0 + m->x1) / 2;

		if (m->below && !m->item->instant)
			fprintf(s->out,
				"<path d=\"M%.1f,%.1f V%.1f H%.1f\" "
				"fill=\"none\" stroke=\"#aaa\" "
				"stroke-width=\"0.8\"/>\n",
				x, top + trace_layout_row(m->item) * ROW + BAR,
				below + m->level * TICK_ROW + 8,
				m->label_x > x ? x + 4 : x - 4);
	}
	for (size_t i = 0; i < nr; i++) {
		const struct trace_mark *m = &marks[i];
		double bar = top + trace_layout_row(m->item) * ROW;
		double line = below + m->level * TICK_ROW;
		char label[TRACE_LABEL_SIZE];

		draw_mark(s, lane, m, m->item->instant ? line : bar);
		if (m->label_x <= 0)
			continue;
		fprintf(s->out, "<text x=\"%.1f\" y=\"%.1f\">", m->label_x,
			(m->below ? line : bar) + BASELINE);
		put_text(s->out, trace_layout_label(m, label));
		fputs("</text>\n", s->out);
	}
}

/* As much of it as there is room for. */
static const char *lane_name(const struct trace_lane *lane, char *buf,
			     size_t size)
{
	char full[64];

	(void)trace_lane_name(lane, full, sizeof(full));
	for (unsigned int max = 16; max > 0; max--) {
		(void)trace_clean(full, buf, size, max);
		if (trace_layout_text_width(buf) <= TRACE_PLOT_LEFT - 24)
			break;
	}
	return buf;
}

static void draw_lane(struct svg *s, const struct trace_lane *lane,
		      struct trace_mark *marks)
{
	struct trace_rows rows;
	size_t nr = trace_layout_lane(&s->lay, lane, marks, &rows);
	char name[64];

	if (height_of(&rows) <= 0)
		return;
	fprintf(s->out,
		"<path d=\"M8,%.1f H%.1f\" stroke=\"#ddd\"/>\n"
		"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" "
		"font-weight=\"bold\">",
		s->y, TRACE_PLOT_RIGHT, TRACE_PLOT_LEFT - 10,
		s->y + LANE_GAP / 2 + BASELINE);
	put_text(s->out, lane_name(lane, name, sizeof(name)));
	fputs("</text>\n", s->out);
	draw_marks(s, lane, &rows, marks, nr);
	s->y += height_of(&rows);
}

static void draw_head(const struct svg *s, double height)
{
	const struct trace_view *view = s->lay.view;
	char buf[TEXT_SIZE];

	fprintf(s->out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" "
		"height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
		"font-family=\"sans-serif\" font-size=\"%.0f\" "
		"fill=\"#222\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
		"<text x=\"12\" y=\"24\" font-size=\"15\" "
		"font-weight=\"bold\">",
		WIDTH, height, WIDTH, height, TRACE_FONT_PX);
	fputs(s->lay.down && s->lay.up ? "Suspend and resume"
	      : s->lay.down	       ? "Suspend"
				       : "Resume",
	      s->out);
	if (view->vm) {
		fputs(" of ", s->out);
		put_text(s->out, trace_clean(view->vm, buf, sizeof(buf), 40));
	}
	fputs("</text>\n<text x=\"12\" y=\"43\" font-size=\"12\" "
	      "fill=\"#555\">",
	      s->out);
	if (s->lay.down)
		fprintf(s->out, "asleep after %s",
			duration(s->lay.down_t1 - s->lay.down_t0, buf,
				 sizeof(buf)));
	if (s->lay.down && view->kind) {
		fputs(" (", s->out);
		put_text(s->out, trace_clean(view->kind, buf, sizeof(buf), 30));
		fputs(")", s->out);
	}
	if (s->lay.up) {
		fputs(s->lay.down ? ", woken" : "woken", s->out);
		if (view->source) {
			fputs(" by ", s->out);
			put_text(s->out, trace_clean(view->source, buf,
						     sizeof(buf), 30));
		}
		fprintf(s->out, ", runs after %s",
			duration(view->up.end_us - s->lay.up_t0, buf,
				 sizeof(buf)));
	}
	fputs("</text>\n", s->out);
}

int trace_print_svg(FILE *out, const struct trace_view *view)
{
	struct svg s = { .out = out, .y = PLOT_TOP };
	_cleanup_free_ struct trace_mark *marks = NULL;
	double bottom = PLOT_TOP;
	size_t most = 1;

	trace_layout_init(&s.lay, view);
	for (unsigned int i = 0; i < view->nr_lanes; i++)
		most = MAX(most, view->lanes[i].nr);
	marks = calloc(most, sizeof(*marks));
	if (!marks)
		return -ENOMEM;
	for (unsigned int i = 0; i < view->nr_lanes; i++) {
		struct trace_rows rows;

		(void)trace_layout_lane(&s.lay, &view->lanes[i], marks, &rows);
		bottom += height_of(&rows);
	}
	draw_head(&s, bottom + 12);
	draw_axes(&s, bottom);
	for (unsigned int i = 0; i < view->nr_lanes; i++)
		draw_lane(&s, &view->lanes[i], marks);
	draw_break(&s, bottom);
	fputs("</svg>\n", out);
	return 0;
}
