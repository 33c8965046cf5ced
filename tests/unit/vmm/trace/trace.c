/* SPDX-License-Identifier: BSD-3-Clause */
/* The flight recorder and its Chrome trace. */
#define _GNU_SOURCE
#include "vmm/trace/trace.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/torpor.h"
#include "tests/lib/text.h"
#include "tests/lib/trace_fixture.h"
#include "vmm/base/loop.h"
#include "vmm/base/util.h"
#include "vmm/control/control.h"
#include "vmm/control/requests.h"
#include "vmm/vm/vm.h"

static struct trace t;
static struct trace_event events[TRACE_MAX_EVENTS];

static void setup(void)
{
	trace_init(&t, 2);
	trace_name_device(&t, 0, "blk0");
}

static void teardown(void)
{
	trace_finish(&t);
}

TestSuite(trace, .init = setup, .fini = teardown, .timeout = 240);

/* ------------------------------------------------------------- recorder */

Test(trace, without_a_recorder_nothing_is_recorded)
{
	trace_begin(NULL, TRACE_POWER, "a");
	trace_end(NULL, TRACE_POWER, "a");
	trace_instant(NULL, TRACE_POWER, "a", "b");
	trace_name_device(NULL, 0, "blk0");
	trace_finish(NULL);
	trace_finish(&t);
	trace_finish(&t);
}

Test(trace, events_come_back_as_they_went_in)
{
	uint64_t before = time_boot_ns(), lost = 1;

	trace_begin(&t, TRACE_VCPU(1), "park");
	trace_end(&t, TRACE_VCPU(1), "park");
	trace_instant(&t, TRACE_POWER, "wake", "net0");
	trace_record(&t, TRACE_END, TRACE_DEVICE(31), "drain", "x", -5);
	cr_assert(eq(u32, trace_copy(&t, events, &lost), 4));
	cr_assert(eq(u64, lost, 0));
	cr_assert(eq(u8, events[0].kind, TRACE_BEGIN));
	cr_assert(eq(u16, events[0].track, TRACE_VCPU(1)));
	cr_assert(same(events[0].name, "park"));
	cr_assert_null(events[0].text);
	cr_assert(eq(i64, events[0].value, TRACE_NO_VALUE));
	cr_assert(eq(u8, events[1].kind, TRACE_END));
	cr_assert(eq(u8, events[2].kind, TRACE_INSTANT));
	cr_assert(same(events[2].text, "net0"));
	cr_assert(eq(u16, events[3].track, TRACE_DEVICE(31)));
	cr_assert(eq(i64, events[3].value, -5));
	cr_assert(ge(u64, events[0].time_ns, before));
	cr_assert(le(u64, events[3].time_ns, time_boot_ns()));
}

Test(trace, a_full_ring_keeps_the_newest_and_counts_the_lost)
{
	uint64_t lost;

	for (int64_t i = 0; i < (int64_t)TRACE_MAX_EVENTS; i++)
		trace_record(&t, TRACE_INSTANT, TRACE_POWER, "n", NULL, i);
	cr_assert(eq(u32, trace_copy(&t, events, &lost), TRACE_MAX_EVENTS));
	cr_assert(eq(u64, lost, 0));
	cr_assert(eq(i64, events[0].value, 0));
	for (int64_t i = 0; i < 700; i++)
		trace_record(&t, TRACE_INSTANT, TRACE_POWER, "n", NULL,
			     (int64_t)TRACE_MAX_EVENTS + i);
	cr_assert(eq(u32, trace_copy(&t, events, &lost), TRACE_MAX_EVENTS));
	cr_assert(eq(u64, lost, 700));
	for (int64_t i = 0; i < (int64_t)TRACE_MAX_EVENTS; i++)
		cr_assert(eq(i64, events[i].value, 700 + i));
}

#define WRITERS	   4U
#define PER_WRITER 20000

static void *write_many(void *arg)
{
	unsigned int track = TRACE_VCPU((unsigned int)(uintptr_t)arg);

	for (int64_t i = 0; i < PER_WRITER; i++)
		trace_record(&t, TRACE_INSTANT, track, "n", NULL, i);
	return NULL;
}

/* No order of time or of a writer is lost, whenever it is read. */
static unsigned int check_copy(void)
{
	int64_t last[WRITERS];
	uint64_t lost, time = 0;
	unsigned int nr = trace_copy(&t, events, &lost);

	memset(last, 0xff, sizeof(last));
	for (unsigned int i = 0; i < nr; i++) {
		unsigned int w = events[i].track - TRACE_VCPU(0);

		cr_assert(ge(u64, events[i].time_ns, time));
		cr_assert(lt(u32, w, WRITERS));
		cr_assert(last[w] < 0 || events[i].value == last[w] + 1,
			  "writer %u: %lld after %lld", w,
			  (long long)events[i].value, (long long)last[w]);
		time = events[i].time_ns;
		last[w] = events[i].value;
	}
	return nr;
}

Test(trace, threads_may_write_while_another_reads)
{
	pthread_t threads[WRITERS];
	uint64_t lost;

	for (uintptr_t i = 0; i < WRITERS; i++)
		cr_assert(eq(int,
			     pthread_create(&threads[i], NULL, write_many,
					    (void *)i),
			     0));
	for (int i = 0; i < 200; i++)
		(void)check_copy();
	for (unsigned int i = 0; i < WRITERS; i++)
		(void)pthread_join(threads[i], NULL);
	cr_assert(eq(u32, check_copy(), TRACE_MAX_EVENTS));
	(void)trace_copy(&t, events, &lost);
	cr_assert(eq(u64, lost + TRACE_MAX_EVENTS,
		     (uint64_t)WRITERS * PER_WRITER));
}

/* --------------------------------------------------------------- Chrome */

static json_t *chrome(unsigned int cycles, size_t max_bytes)
{
	const struct trace_json_options options = {
		.vm = "arc", .pid = 77, .cycles = cycles, .max_bytes = max_bytes
	};
	json_t *all = trace_json(&t, &options);
	char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;

	json_decref(all);
	cr_assert(ne(ptr, text, NULL));
	cr_assert(le(sz, strlen(text), max_bytes));
	all = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	cr_assert(ne(ptr, all, NULL));
	return all;
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

/*
 * What a viewer relies on. Return: the number of events that are no metadata.
 */
static unsigned int check_chrome(const json_t *all)
{
	static struct {
		const char *open[TRACE_MAX_EVENTS];
		unsigned int depth;
		double ts;
		bool named;
	} tracks[TRACE_NR_TRACKS + 1];
	unsigned int nr = 0;
	size_t i;
	json_t *e;

	memset(tracks, 0, sizeof(tracks));
	cr_assert(same(text_of(all, "displayTimeUnit"), "ms"));
	json_array_foreach(json_object_get(all, "traceEvents"), i, e)
	{
		const char *ph = text_of(e, "ph"), *name = text_of(e, "name");
		json_int_t tid = json_integer_value(json_object_get(e, "tid"));
		double ts = json_number_value(json_object_get(e, "ts"));

		cr_assert(eq(int,
			     (int)json_integer_value(json_object_get(e, "pid")),
			     77));
		cr_assert(tid >= 0 && tid <= (json_int_t)TRACE_NR_TRACKS);
		if (*ph == 'M') {
			tracks[tid].named |= !strcmp(name, "thread_name");
			continue;
		}
		nr++;
		cr_assert(tracks[tid].named, "no name for thread %lld",
			  (long long)tid);
		cr_assert(eq(int, json_typeof(json_object_get(e, "ts")),
			     JSON_REAL));
		cr_assert(ts >= 0 && ts >= tracks[tid].ts, "%s: %f after %f",
			  name, ts, tracks[tid].ts);
		tracks[tid].ts = ts;
		if (*ph == 'B') {
			tracks[tid].open[tracks[tid].depth++] = name;
		} else if (*ph == 'E') {
			cr_assert(gt(u32, tracks[tid].depth, 0), "%s", name);
			cr_assert(same(tracks[tid].open[--tracks[tid].depth],
				       name));
		} else {
			cr_assert(same(ph, "i"));
			cr_assert(same(text_of(e, "s"), "t"));
		}
	}
	for (i = 0; i < ARRAY_SIZE(tracks); i++)
		cr_assert(eq(u32, tracks[i].depth, 0), "thread %zu", i);
	return nr;
}

static const json_t *find(const json_t *all, const char *ph, const char *name)
{
	size_t i;
	json_t *e;

	json_array_foreach(json_object_get(all, "traceEvents"), i, e)
	{
		if (!strcmp(text_of(e, "ph"), ph) &&
		    !strcmp(text_of(e, "name"), name))
			return e;
	}
	return NULL;
}

static bool flag(const json_t *event, const char *key)
{
	return json_is_true(
		json_object_get(json_object_get(event, "args"), key));
}

static json_int_t other(const json_t *all, const char *key)
{
	return json_integer_value(
		json_object_get(json_object_get(all, "otherData"), key));
}

static unsigned int count(const json_t *all, const char *ph, const char *name)
{
	unsigned int nr = 0;
	size_t i;
	json_t *e;

	json_array_foreach(json_object_get(all, "traceEvents"), i, e) nr +=
		!strcmp(text_of(e, "ph"), ph) &&
		!strcmp(text_of(e, "name"), name);
	return nr;
}

#define PLENTY (CONTROL_MAX_BACKLOG / 2)

Test(trace, an_empty_recording_is_an_empty_trace)
{
	json_t *all = chrome(0, PLENTY);

	cr_assert(eq(u32, check_chrome(all), 0));
	cr_assert(eq(i64, other(all, "lost"), 0));
	json_decref(all);
	all = chrome(3, PLENTY);
	cr_assert(eq(u32, check_chrome(all), 0));
	json_decref(all);
}

Test(trace, a_cycle_is_balanced_and_its_tracks_have_names)
{
	json_t *all;
	const json_t *e;

	trace_finish(&t);
	fixture_init(&t);
	fixture_cycle(&t, 0, 5000);
	all = chrome(0, PLENTY);
	/* RUNNING is open: one E more than was recorded. */
	cr_assert(eq(u32, check_chrome(all), (unsigned int)t.count + 1));
	cr_assert(eq(i64, other(all, "origin_ns"),
		     (json_int_t)FIXTURE_ORIGIN_NS));
	e = find(all, "B", "drain");
	cr_assert(same(text_of(e, "cat"), "device"));
	cr_assert(epsilon_eq(dbl, json_number_value(json_object_get(e, "ts")),
			     262000, 0.0001));
	e = find(all, "i", "wake");
	cr_assert(same(text_of(json_object_get(e, "args"), "text"), "net0"));
	json_decref(all);
}

Test(trace, spans_that_are_not_over_end_now_and_say_so)
{
	json_t *all;

	trace_begin(&t, TRACE_POWER, "outer");
	trace_begin(&t, TRACE_POWER, "inner");
	trace_begin(&t, TRACE_DEVICE(0), "done");
	trace_record(&t, TRACE_END, TRACE_DEVICE(0), "done", NULL, -110);
	all = chrome(0, PLENTY);
	cr_assert(eq(u32, check_chrome(all), 6));
	cr_assert(flag(find(all, "E", "outer"), "open"));
	cr_assert(flag(find(all, "E", "inner"), "open"));
	cr_assert_not(flag(find(all, "E", "done"), "open"));
	cr_assert_not(flag(find(all, "B", "outer"), "cut"));
	cr_assert(eq(i64,
		     json_integer_value(json_object_get(
			     json_object_get(find(all, "E", "done"), "args"),
			     "value")),
		     -110));
	json_decref(all);
}

Test(trace, spans_whose_begin_was_overwritten_begin_with_the_ring)
{
	json_t *all;

	trace_begin(&t, TRACE_POWER, "outer");
	trace_begin(&t, TRACE_POWER, "inner");
	trace_begin(&t, TRACE_VCPU(0), "park");
	for (unsigned int i = 0; i < TRACE_MAX_EVENTS - 3; i++)
		trace_instant(&t, TRACE_GUEST, "n", NULL);
	trace_end(&t, TRACE_POWER, "inner");
	trace_end(&t, TRACE_POWER, "outer");
	trace_end(&t, TRACE_VCPU(0), "park");
	all = chrome(0, PLENTY);
	cr_assert(eq(u32, check_chrome(all), TRACE_MAX_EVENTS + 3));
	cr_assert(flag(find(all, "B", "outer"), "cut"));
	cr_assert(flag(find(all, "B", "inner"), "cut"));
	cr_assert(flag(find(all, "B", "park"), "cut"));
	cr_assert(eq(i64, other(all, "lost"), 3));
	json_decref(all);
}

Test(trace, ends_that_do_not_match_do_no_harm)
{
	json_t *all;

	trace_end(&t, TRACE_POWER, "never begun");
	trace_begin(&t, TRACE_POWER, "a");
	trace_begin(&t, TRACE_POWER, "b");
	trace_begin(&t, TRACE_POWER, "c");
	trace_end(&t, TRACE_POWER, "a"); /* b and c end with it */
	trace_end(&t, TRACE_POWER, "c");
	trace_end(&t, TRACE_POWER, "b");
	trace_end(&t, TRACE_POWER, "a");
	all = chrome(0, PLENTY);
	cr_assert(eq(u32, check_chrome(all), 6));
	cr_assert_not(find(all, "B", "never begun"));
	json_decref(all);
	/* Nor are they taken for spans that began before the ring did. */
	for (unsigned int i = 0; i < TRACE_MAX_EVENTS; i++)
		trace_instant(&t, TRACE_GUEST, "n", NULL);
	trace_begin(&t, TRACE_POWER, "a");
	trace_begin(&t, TRACE_POWER, "b");
	trace_end(&t, TRACE_POWER, "a");
	trace_end(&t, TRACE_POWER, "b");
	all = chrome(0, PLENTY);
	check_chrome(all);
	cr_assert(gt(i64, other(all, "lost"), 0));
	cr_assert(eq(u32, count(all, "B", "b"), 1));
	cr_assert_not(flag(find(all, "B", "b"), "cut"));
	json_decref(all);
}

/* 0 to @n - 1, the same in every run. */
static unsigned int chance(unsigned int n)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return (state >> 8) % n;
}

Test(trace, any_order_of_begins_and_ends_is_balanced)
{
	static const char *const names[] = { "a", "b", "c", "SUSPENDING" };

	for (int round = 0; round < 300; round++) {
		unsigned int nr = chance(round % 10 ? 60 : 5000);
		json_t *all;

		trace_finish(&t);
		trace_init(&t, 2);
		for (unsigned int i = 0; i < nr; i++)
			trace_record(&t, (enum trace_kind)chance(3), chance(3),
				     names[chance(4)], NULL, TRACE_NO_VALUE);
		all = chrome(chance(5), PLENTY);
		check_chrome(all);
		json_decref(all);
	}
}

Test(trace, the_last_cycles_come_with_what_led_to_them)
{
	json_t *all;

	trace_finish(&t);
	fixture_init(&t);
	for (int i = 0; i < 5; i++)
		fixture_cycle(&t, i * 10000.0, 5000);
	for (unsigned int n = 1; n <= 7; n++) {
		all = chrome(n, PLENTY);
		check_chrome(all);
		cr_assert(eq(u32, count(all, "B", "SUSPENDING"), MIN(n, 5U)));
		cr_assert(eq(u32, count(all, "B", "suspend"), MIN(n, 5U)));
		cr_assert_not(flag(find(all, "B", "suspend"), "cut"));
		/* Awake until the request, and after the last cycle. */
		cr_assert(eq(u32, count(all, "B", "RUNNING"), MIN(n, 5U) + 1));
		if (n <= 5)
			cr_assert(eq(i64, other(all, "origin_ns"),
				     (json_int_t)(FIXTURE_ORIGIN_NS +
						  (5 - n) * 10000000000ULL)));
		json_decref(all);
	}
}

Test(trace, a_reply_is_bounded_and_what_is_left_out_counted)
{
	char long_name[300];
	json_t *all;

	memset(long_name, '\x01', sizeof(long_name) - 1); /* \u0001 each */
	long_name[sizeof(long_name) - 1] = '\0';
	for (unsigned int i = 0; i < TRACE_MAX_EVENTS; i += 2) {
		trace_begin(&t, i % TRACE_NR_TRACKS, long_name);
		trace_instant(&t, TRACE_POWER, long_name, long_name);
	}
	all = chrome(0, PLENTY);
	cr_assert(gt(u32, check_chrome(all), 10));
	cr_assert(gt(i64, other(all, "left_out"), 0));
	json_decref(all);
	trace_finish(&t);
	fixture_init(&t);
	for (int i = 0; i < 100; i++)
		fixture_cycle(&t, i * 10000.0, 5000);
	all = chrome(0, PLENTY);
	/* What an ordinary ring holds fits. */
	cr_assert(eq(i64, other(all, "left_out"), 0));
	cr_assert(gt(u32, check_chrome(all), TRACE_MAX_EVENTS));
	json_decref(all);
}

Test(trace, names_need_not_be_utf8)
{
	json_t *all;

	trace_name_device(&t, 0, "\xff\xfe");
	trace_begin(&t, TRACE_DEVICE(0), "\xc3");
	trace_instant(&t, TRACE_DEVICE(0), "ok", "\x80");
	all = chrome(0, PLENTY);
	cr_assert(eq(u32, check_chrome(all), 3));
	json_decref(all);
}

/* ------------------------------------------------------------ the command */

static struct vm vm;
static struct commands served = { .vm = &vm };
static const struct control_command commands[] = {
	{ "trace", request_trace },
	{ NULL, NULL },
};

static void *serve(void *arg)
{
	(void)!loop_run(&vm.loop);
	return NULL;
}

static const struct {
	const char *args;
	int r;
} asked[] = {
	{ NULL, 0 },
	{ "{}", 0 },
	{ "{\"cycles\":1}", 0 },
	{ "{\"cycles\":64}", 0 },
	{ "{\"cycles\":0}", -EREMOTEIO },
	{ "{\"cycles\":65}", -EREMOTEIO },
	{ "{\"cycles\":-1}", -EREMOTEIO },
	{ "{\"cycles\":4294967297}", -EREMOTEIO },
	{ "{\"cycles\":1.5}", -EREMOTEIO },
	{ "{\"cycles\":\"1\"}", -EREMOTEIO },
	{ "{\"cycles\":null}", -EREMOTEIO },
	{ "{\"cycle\":1}", -EREMOTEIO },
};

/* A reply too large for the backlog would drop the client. */
Test(trace, the_command_checks_its_argument_and_its_reply_fits)
{
	static struct vm_config cfg;
	char dir[] = "/tmp/torpor-trace.XXXXXX", path[64], name[1000];
	struct torpor *client;
	pthread_t server;
	struct err err;

	memset(name, '\x01', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	trace_init(&vm.trace, 2);
	for (unsigned int i = 0; i < TRACE_MAX_EVENTS; i++)
		trace_instant(&vm.trace, i % TRACE_NR_TRACKS, name, name);
	cfg.name = (char[]){ "arc" };
	vm.cfg = &cfg;
	cr_assert(ne(ptr, mkdtemp(dir), NULL));
	(void)snprintf(path, sizeof(path), "%s/sock", dir);
	cr_assert(eq(int, loop_init(&vm.loop), 0));
	cr_assert(eq(int,
		     control_create(&vm.loop, path, commands, &served,
				    &served.control, &err),
		     0));
	cr_assert(eq(int, pthread_create(&server, NULL, serve, NULL), 0));
	cr_assert(eq(int, torpor_connect(path, 60000, &client), 0));
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		char *line = NULL;

		cr_assert(eq(int,
			     torpor_call(client, "trace", asked[i].args, 60000,
					 &line),
			     asked[i].r),
			  "case %zu", i);
		if (asked[i].r)
			cr_assert(same(torpor_error_code(client), "invalid"));
		free(line);
	}
	torpor_close(client);
	loop_stop(&vm.loop);
	(void)pthread_join(server, NULL);
	control_destroy(served.control);
	loop_finish(&vm.loop);
	trace_finish(&vm.trace);
	(void)rmdir(dir);
}
