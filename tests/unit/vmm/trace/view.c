/* SPDX-License-Identifier: BSD-3-Clause */
/* The table and the picture of a trace; see vmm/trace/view.h. */
#define _GNU_SOURCE
#include "vmm/trace/view.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/text.h"
#include "tests/lib/trace_fixture.h"
#include "vmm/base/util.h"

static struct trace t;
static struct trace_view view;
static json_t *trace;
static char *table, *svg;

static void setup(void)
{
	fixture_init(&t);
}

static void forget(void)
{
	trace_view_finish(&view);
	json_decref(TAKE(trace));
	free(TAKE(table));
	free(TAKE(svg));
}

static void teardown(void)
{
	forget();
	trace_finish(&t);
}

TestSuite(trace_view, .init = setup, .fini = teardown, .timeout = 480);

/* ------------------------------------------------------ what SVG must be */

/* One character of text or of a value. Return: bytes, 0 if it may not be. */
static size_t check_char(const char *p)
{
	static const char *const entities[] = { "&amp;", "&lt;", "&gt;",
						"&quot;", "&#39;" };

	if (*p == '&') {
		for (size_t i = 0; i < ARRAY_SIZE(entities); i++) {
			if (!strncmp(p, entities[i], strlen(entities[i])))
				return strlen(entities[i]);
		}
		return 0;
	}
	return *p == '<' || ((unsigned char)*p < 0x20 && *p != '\n') ? 0 : 1;
}

/* name="value" ... Return: what follows, NULL if malformed. */
static const char *check_attributes(const char *p)
{
	while (*p == ' ') {
		p += strspn(p, " ");
		if (*p == '/' || *p == '>')
			break;
		p += strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGH"
			       "IJKLMNOPQRSTUVWXYZ-0123456789");
		if (strncmp(p, "=\"", 2) != 0)
			return NULL;
		for (p += 2; *p != '"';) {
			size_t len = check_char(p);

			if (!len)
				return NULL;
			p += len;
		}
		p++;
	}
	return p;
}

/* Elements nest and are closed, text and values have nothing raw. */
static const char *well_formed(const char *p)
{
	char open[16][16];
	unsigned int depth = 0;

	if (strncmp(p, "<?xml ", 6) != 0)
		return p;
	p = strchr(p, '\n') + 1;
	while (*p) {
		size_t len;
		bool end;

		if (*p != '<') {
			len = check_char(p);
			if (!len)
				return p;
			p += len;
			continue;
		}
		end = p[1] == '/';
		p += 1 + end;
		len = strspn(p, "abcdefghijklmnopqrstuvwxyz");
		if (!len || len >= 16)
			return p;
		if (end) {
			if (!depth || strlen(open[depth - 1]) != len ||
			    strncmp(open[depth - 1], p, len) != 0 ||
			    p[len] != '>')
				return p;
			depth--;
			p += len + 1;
			continue;
		}
		if (depth == ARRAY_SIZE(open))
			return p;
		(void)snprintf(open[depth++], 16, "%.*s", (int)len, p);
		p = check_attributes(p + len);
		if (!p)
			return "(attribute)";
		if (*p == '/') {
			depth--;
			p++;
		}
		if (*p++ != '>')
			return p - 1;
	}
	return depth ? "(end)" : NULL;
}

static double number_of(const char *tag, const char *end, const char *key,
			double fallback)
{
	const char *at = memmem(tag, (size_t)(end - tag), key, strlen(key));

	return at ? strtod(at + strlen(key), NULL) : fallback;
}

struct box {
	double x0, x1, y;
	char text[80];
};

/* Texts lie on the page and none on another. Return: how many there are. */
static unsigned int check_texts(void)
{
	static struct box boxes[4096];
	unsigned int nr = 0;

	for (const char *p = svg; (p = strstr(p, "<text "));) {
		const char *end = strchr(p, '>');
		struct box *b = &boxes[nr++];
		double width = 0, size = number_of(p, end, "font-size=\"", 11);

		cr_assert(le(u32, nr, ARRAY_SIZE(boxes)));
		b->x0 = number_of(p, end, " x=\"", -1);
		b->y = number_of(p, end, " y=\"", -1);
		(void)snprintf(b->text, sizeof(b->text), "%.*s",
			       (int)MIN(strcspn(end + 1, "<"), 79UL), end + 1);
		for (const char *c = b->text; *c; c++) {
			width += (*c & 0xc0) == 0x80	       ? 0
				 : strchr("ijl.,:;'|!() ", *c) ? 0.32
				 : *c == 'm' || *c == 'w'      ? 0.95
							       : 0.6;
			if (*c == '&')
				c += strcspn(c, ";");
		}
		width *= size;
		if (memmem(p, (size_t)(end - p), "\"middle\"", 8))
			b->x0 -= width / 2;
		if (memmem(p, (size_t)(end - p), "\"end\"", 5))
			b->x0 -= width;
		b->x1 = b->x0 + width;
		cr_assert(b->x0 >= 0 && b->x1 <= 1100, "'%s' at %f to %f",
			  b->text, b->x0, b->x1);
		p = end;
	}
	for (unsigned int i = 0; i < nr; i++) {
		for (unsigned int j = i + 1; j < nr; j++) {
			const struct box *a = &boxes[i], *b = &boxes[j];
			bool apart = a->x1 <= b->x0 || b->x1 <= a->x0 ||
				     a->y - b->y > 9 || b->y - a->y > 9;

			cr_assert(apart, "'%s' on '%s' at %f, %f", a->text,
				  b->text, b->x0, b->y);
		}
	}
	return nr;
}

static void check_svg(void)
{
	const char *wrong = well_formed(svg);

	cr_assert_null(wrong, "malformed: %.60s", wrong);
	cr_assert(gt(u32, check_texts(), 2));
	cr_assert_null(strstr(svg, "nan"));
	cr_assert_null(strstr(svg, "inf"));
	cr_assert_null(strstr(svg, "<script"));
	cr_assert_null(strstr(svg, "width=\"-"));
}

/* ------------------------------------------------------------- rendering */

static int render_json(json_t *json)
{
	size_t size;
	FILE *f;
	int r;

	forget();
	trace = json;
	r = trace_view_read(&view, trace);
	if (r < 0)
		return r;
	f = open_memstream(&table, &size);
	trace_print_table(f, &view);
	fclose(f);
	f = open_memstream(&svg, &size);
	cr_assert(eq(int, trace_print_svg(f, &view), 0));
	fclose(f);
	check_svg();
	return 0;
}

static int render(void)
{
	const struct trace_json_options options = { .vm = "arc",
						    .pid = 77,
						    .max_bytes = 1U << 20 };

	return render_json(trace_json(&t, &options));
}

static int render_text(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, 0, &error);

	cr_assert(ne(ptr, json, NULL), "%s", error.text);
	return render_json(json);
}

static const char whole_table[] =
	"Going to sleep: 300.400 ms from the request until asleep (s2idle)\n"
	"\n"
	"    START ms      TIME ms   SHARE  STEP                            "
	"SLOWEST\n"
	"       0.000        0.500    0.2%  request\n"
	"       0.500      200.000   66.6%  guest freezes drivers\n"
	"     120.000        1.000    0.3%    net0 arm\n"
	"     200.500                       guest LPS0 entry\n"
	"     200.500       59.500   19.8%  guest freezes CPUs              "
	"vcpu0\n"
	"     260.000        2.000    0.7%  census                          "
	"vcpu1\n"
	"     262.000       30.000   10.0%  devices stop                    "
	"blk0\n"
	"     262.000       30.000   10.0%    blk0 drain\n"
	"     262.000        2.000    0.7%    net0 drain\n"
	"     292.000        2.000    0.7%  final census\n"
	"     294.000        6.400    2.1%  (not accounted for)\n"
	"     300.400                       asleep\n"
	"\n"
	"Asleep: 3600000.000 ms\n"
	"\n"
	"Waking up: 20.000 ms from the wake event of net0 until it runs\n"
	"\n"
	"    START ms      TIME ms   SHARE  STEP                            "
	"SLOWEST\n"
	"       0.000                       wake event\n"
	"       0.000        0.200    1.0%  (not accounted for)\n"
	"       0.200        3.800   19.0%  devices restart                 "
	"net0\n"
	"       0.300        3.700   18.5%    net0 restart\n"
	"       0.200        1.800    9.0%    blk0 restart\n"
	"       4.000        0.100    0.5%  (not accounted for)\n"
	"       4.100        0.800    4.0%  vCPUs let go                    "
	"vcpu1\n"
	"       4.100       14.900   74.5%  guest thaws CPUs\n"
	"      19.000                       guest LPS0 exit\n"
	"      19.000        1.000    5.0%  (not accounted for)\n"
	"      20.000                       running\n";

Test(trace_view, a_cycle_becomes_a_table_and_a_picture)
{
	fixture_cycle(&t, 1000, 3600e3);
	cr_assert(eq(int, render(), 0));
	cr_assert(eq(str, table, (char *)(uintptr_t)whole_table));
	cr_assert(has(svg, ">Suspend and resume of arc<"));
	cr_assert(has(svg, "asleep after 300.4 ms (s2idle), woken by net0, "
			   "runs after 20.0 ms"));
	cr_assert(has(svg, ">asleep 60.0 min<"));
	cr_assert(has(svg, ">wake: net0<"));
	cr_assert(has(svg, ">devices stop<")); /* below, with a line */
	cr_assert(has(svg, ">RUNNING<"));
	for (size_t i = 0; i < 4; i++) {
		static const char *const labels[] = { ">SUSPENDING<",
						      ">SUSPENDED<",
						      ">RESUMING<", ">blk0<" };

		cr_assert(has(svg, labels[i]));
	}
}

/* Where the first bar with this title is. */
static double bar(const char *title, const char *key)
{
	char want[64];
	const char *at, *g;

	(void)snprintf(want, sizeof(want), "<title>%s", title);
	at = strstr(svg, want);
	cr_assert(ne(ptr, (void *)(uintptr_t)at, NULL), "%s", want);
	for (g = at; strncmp(g, "<g>", 3) != 0;)
		g--;
	return number_of(g, at, key, -1);
}

Test(trace_view, time_is_to_scale_and_the_sleep_is_folded)
{
	static const double asleep_ms[] = { 0.5, 60, 3600e3, 400 * 86400e3 };

	for (size_t i = 0; i < ARRAY_SIZE(asleep_ms); i++) {
		double drivers, cpus;

		trace_finish(&t);
		fixture_init(&t);
		fixture_cycle(&t, 1000, asleep_ms[i]);
		cr_assert(eq(int, render(), 0));
		drivers = bar("freezes drivers", "width=\"");
		cpus = bar("freezes CPUs", "width=\"");
		cr_assert(epsilon_eq(dbl, drivers / cpus, 200 / 59.5, 0.02));
		cr_assert(gt(dbl, bar("freezes drivers", "width=\""), 200));
		cr_assert(gt(dbl, bar("thaws CPUs", "width=\""), 100));
		/* One after the other, whatever lies between. */
		cr_assert(lt(dbl, bar("SUSPENDED", " x=\""),
			     bar("RESUMING", " x=\"") - 100));
		cr_assert(gt(dbl, bar("SUSPENDED", " x=\""),
			     bar("SUSPENDING", " x=\"") + 200));
	}
}

Test(trace_view, the_last_complete_cycle_is_shown)
{
	fixture_cycle(&t, 1000, 50);
	fixture_cycle(&t, 2000, 70);
	fixture_lines(&t, 3000, fixture_down, ARRAY_SIZE(fixture_down));
	cr_assert(eq(int, render(), 0));
	cr_assert(has(table, "\nAsleep: 70.000 ms\n"));
}

Test(trace_view, without_a_complete_cycle_half_of_one_is_shown)
{
	fixture_lines(&t, 1000, fixture_down, ARRAY_SIZE(fixture_down));
	cr_assert(eq(int, render(), 0));
	cr_assert(has(table, "Going to sleep: 300.400 ms"));
	cr_assert(has(table, "It has not come back from there yet.\n"));
	cr_assert_null(strstr(table, "Waking up"));
	cr_assert(has(svg, ">Suspend of arc<"));
	/* The other half: what led to it was overwritten. */
	trace_finish(&t);
	fixture_init(&t);
	fixture_add(&t, 0, TRACE_END, TRACE_POWER, TRACE_STATE_RUNNING, NULL);
	fixture_add(&t, 0, TRACE_BEGIN, TRACE_POWER, TRACE_STATE_SUSPENDED,
		    NULL);
	fixture_lines(&t, 1000, fixture_up, ARRAY_SIZE(fixture_up));
	cr_assert(eq(int, render(), 0));
	cr_assert(
		has(table, "Waking up: 20.000 ms from the wake event of net0"));
	cr_assert_null(strstr(table, "Going to sleep"));
	cr_assert(has(svg, ">Resume of arc<"));
}

Test(trace_view, a_sleep_without_request_counts_from_the_first_sign)
{
	fixture_lines(&t, 1000, fixture_down + 1, ARRAY_SIZE(fixture_down) - 2);
	cr_assert(eq(int, render(), 0));
	cr_assert(has(table, "300.000 ms from the first sign until asleep"));
	cr_assert_null(strstr(table, "  request"));
	cr_assert(has(svg, "ms since the first sign"));
}

static const struct fixture_line nested_down[] = {
	{ 0, TRACE_BEGIN, TRACE_POWER, TRACE_STATE_SUSPENDING, NULL },
	{ 1, TRACE_BEGIN, TRACE_POWER, TRACE_CENSUS, NULL },
	{ 2, TRACE_BEGIN, TRACE_POWER, TRACE_STOP_DEVICES, NULL },
	{ 2, TRACE_BEGIN, TRACE_DEVICE(0), TRACE_DRAIN, NULL },
	{ 3, TRACE_INSTANT, TRACE_VCPU(1), "quiet", NULL },
	{ 4, TRACE_END, TRACE_DEVICE(0), TRACE_DRAIN, NULL },
	{ 5, TRACE_END, TRACE_POWER, TRACE_STOP_DEVICES, NULL },
	{ 6, TRACE_END, TRACE_POWER, TRACE_CENSUS, NULL },
	{ 7, TRACE_END, TRACE_POWER, TRACE_STATE_SUSPENDING, NULL },
	{ 7, TRACE_BEGIN, TRACE_POWER, TRACE_STATE_SUSPENDED, NULL },
};

Test(trace_view, what_a_device_does_belongs_to_the_innermost_phase)
{
	fixture_lines(&t, 1000, nested_down, ARRAY_SIZE(nested_down));
	cr_assert(eq(int, render(), 0));
	cr_assert(has(table, "census                          vcpu1\n"));
	cr_assert(has(table,
		      "devices stop                    blk0\n"
		      "       2.000        2.000   28.6%    blk0 drain\n"));
}

Test(trace_view, a_vcpu_that_runs_after_running_was_told_was_let_go_late)
{
	fixture_lines(&t, 1000, fixture_down, ARRAY_SIZE(fixture_down));
	for (size_t i = 0; i < ARRAY_SIZE(fixture_up); i++) {
		struct fixture_line line = fixture_up[i];

		if (line.track != TRACE_VCPU(1))
			fixture_lines(&t, 2000, &line, 1);
	}
	fixture_add(&t, 2021e3, TRACE_END, TRACE_VCPU(1), TRACE_PARK, NULL);
	cr_assert(eq(int, render(), 0));
	cr_assert(has(table, "       4.100       15.900   79.5%  vCPUs let go  "
			     "                  vcpu1\n"));
}

static const char *const sleepless[] = {
	"{\"traceEvents\":[]}",
	"{\"traceEvents\":[1,null,\"x\",[],{},{\"ph\":\"\"},{\"ph\":7}]}",
	"{\"traceEvents\":[{\"ph\":\"E\",\"tid\":1,\"ts\":1,\"cat\":\"power\"},"
	"{\"ph\":\"B\",\"tid\":1,\"ts\":\"x\",\"name\":\"SUSPENDED\","
	"\"cat\":\"power\"},{\"ph\":\"B\",\"tid\":\"x\",\"ts\":1}]}",
	"{\"traceEvents\":[{\"ph\":\"B\",\"tid\":1,\"ts\":1,\"cat\":\"power\","
	"\"name\":\"SUSPENDING\"}]}",
	"{\"traceEvents\":[{\"ph\":\"i\",\"tid\":1,\"ts\":1,\"cat\":\"power\","
	"\"name\":\"SUSPENDED\"}]}",
};

Test(trace_view, a_trace_without_a_sleep_is_told_from_none)
{
	cr_assert(eq(int, render(), -ENODATA));
	for (size_t i = 0; i < ARRAY_SIZE(sleepless); i++)
		cr_assert(eq(int, render_text(sleepless[i]), -ENODATA),
			  "case %zu", i);
	cr_assert(eq(int, render_text("{}"), -EPROTO));
	cr_assert(eq(int, render_text("{\"traceEvents\":7}"), -EPROTO));
	cr_assert(eq(int, render_text("[]"), -EPROTO));
}

/* ---------------------------------------------------------------- hostile */

static void append(json_t *list, const char *ph, double ts, int tid,
		   const char *cat, const char *name, const char *text)
{
	json_t *e = json_pack("{s:s, s:f, s:i, s:s, s:s}", "ph", ph, "ts", ts,
			      "tid", tid, "cat", cat, "name", name);

	if (text)
		(void)json_object_set_new(e, "args",
					  json_pack("{s:s}", "text", text));
	cr_assert(eq(int, json_array_append_new(list, e), 0));
}

static void append_states(json_t *list, double down, double asleep, double up,
			  double end, const char *text)
{
	append(list, "B", down, 1, "power", "SUSPENDING", NULL);
	append(list, "E", asleep, 1, "power", "SUSPENDING", NULL);
	append(list, "B", asleep, 1, "power", "SUSPENDED", text);
	append(list, "E", up, 1, "power", "SUSPENDED", NULL);
	append(list, "B", up, 1, "power", "RESUMING", text);
	append(list, "E", end, 1, "power", "RESUMING", NULL);
}

/* Turns the direction of writing round. */
static const char backwards[] = { '\xe2', '\x80', '\xae', 'g', 'n', 'p', '\0' };

Test(trace_view, hostile_names_are_harmless)
{
	static const char *const names[] = {
		"<script>alert(1)</script>",
		"a&b\"c'd>e",
		"\x1b[31mred\x1b[0m\r\n\t\b",
		"]]>",
		"",
		backwards,
		"\xef\xbf\xbf\xef\xbf\xbe",
		"\xc2\x9b" /* C1: the same as ESC [ */,
		"%s%n%n%d",
		"\U0001f4a4\u7761\u7720",
	};
	char longest[5000];

	memset(longest, 'W', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	for (size_t i = 0; i <= ARRAY_SIZE(names); i++) {
		const char *n = i < ARRAY_SIZE(names) ? names[i] : longest;
		json_t *list = json_array();

		append_states(list, 0, 1000, 5000, 6000, n);
		append(list, "B", 100, 3, "guest", n, n);
		append(list, "E", 800, 3, "guest", n, n);
		append(list, "B", 300, 9, "device", n, n);
		append(list, "i", 350, 9, "device", n, n);
		append(list, "E", 400, 9, "device", n, n);
		append(list, "i", 4900, 1, "power", "wake", n);
		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:i, s:s, s:{s:s}}", "ph", "M", "tid",
				  9, "name", "thread_name", "args", "name", n));
		cr_assert(eq(
			int,
			render_json(json_pack("{s:o, s:{s:s}}", "traceEvents",
					      list, "otherData", "vm", n)),
			0));
		for (const char *p = table; *p; p++)
			cr_assert_not(*p != '\n' && iscntrl((unsigned char)*p),
				      "case %zu: byte %d", i, *p);
		cr_assert_null(strstr(table, "\xc2\x9b"));
		cr_assert_null(strstr(svg, backwards));
		cr_assert_null(strstr(table, backwards));
		cr_assert_null(strstr(svg, "<script"));
		cr_assert(lt(sz, strlen(table), 4000));
		cr_assert(lt(sz, strlen(svg), 20000));
	}
}

Test(trace_view, huge_and_backward_times_are_harmless)
{
	static const double times[][4] = {
		{ 0, 0, 0, 0 },
		{ 0, 1e15, 1e15, 1e15 },
		{ -1e15, 0, 1, 1e15 },
		{ 1e300, -1e300, 1e300, 1 },
		{ 1000, 900, 800, 700 },
		{ 0, 1e-9, 2e-9, 3e-9 },
		{ 0, 1e14, 1e14 + 1, 1e14 + 2 },
		{ 0, 1, 2, 1e15 },
		{ 4e9, 5e9, 4.5e9, 6e9 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		json_t *list = json_array();
		int r;

		append_states(list, times[i][0], times[i][1], times[i][2],
			      times[i][3], NULL);
		append(list, "B", times[i][1], 70, "device", "drain", NULL);
		append(list, "E", times[i][0], 70, "device", "drain", NULL);
		append(list, "i", times[i][3], 70, "device", "x", NULL);
		r = render_json(json_pack("{s:o}", "traceEvents", list));
		cr_assert(r == 0 || r == -ENODATA, "case %zu: %d", i, r);
	}
}

/* 0 to @n - 1, the same in every run. */
static unsigned int chance(unsigned int n)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return (state >> 8) % n;
}

Test(trace_view, however_full_it_is_it_can_be_read)
{
	static const char *const names[] = {
		"kick", "park", "drain",	"a rather long name of a span",
		"x",	"wake", "freezes CPUs", "census"
	};

	for (int round = 0; round < 40; round++) {
		json_t *list = json_array();
		unsigned int nr = chance(round % 8 ? 200 : 3000);
		double us = 0;

		append(list, "B", 0, 1, "power", "SUSPENDING", NULL);
		for (unsigned int i = 0; i < 2 * nr; i++) {
			static const char *const cats[] = { "guest", "power",
							    "vcpu", "device" };
			unsigned int track = chance(12);

			if (i == nr) {
				append(list, "E", us, 1, "power", "SUSPENDING",
				       NULL);
				append(list, "B", us, 1, "power", "SUSPENDED",
				       NULL);
				us += 1e9;
				append(list, "E", us, 1, "power", "SUSPENDED",
				       NULL);
				append(list, "B", us, 1, "power", "RESUMING",
				       NULL);
			}
			us += chance(500);
			append(list, chance(3) ? chance(2) ? "B" : "E" : "i",
			       us, (int)track + 2, cats[track % 4],
			       names[chance(ARRAY_SIZE(names))],
			       chance(4) ? NULL : "net0");
		}
		append(list, "E", us, 1, "power", "RESUMING", NULL);
		cr_assert(
			eq(int,
			   render_json(json_pack("{s:o}", "traceEvents", list)),
			   nr ? 0 : -ENODATA));
	}
}

Test(trace_view, a_flood_of_tracks_and_events_is_bounded)
{
	json_t *list = json_array();

	append_states(list, 0, 1000, 5000, 6000, NULL);
	for (int i = 0; i < 1000; i++)
		append(list, "i", i, i + 2, "vcpu", "kick", NULL);
	for (int i = 0; i < 70000; i++)
		append(list, "B", i % 1000, 2, "device", "deep", NULL);
	forget();
	trace = json_pack("{s:o}", "traceEvents", list);
	cr_assert(eq(int, trace_view_read(&view, trace), 0));
	cr_assert(eq(u32, view.nr_lanes, TRACE_VIEW_MAX_LANES));
	cr_assert(le(sz, view.nr_items, TRACE_VIEW_MAX_ITEMS));
	svg = NULL;
	{
		size_t size;
		FILE *f = open_memstream(&svg, &size);

		cr_assert(eq(int, trace_print_svg(f, &view), 0));
		trace_print_table(f, &view);
		fclose(f);
	}
}
