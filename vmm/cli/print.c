/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * States and events as text for people. Main thread. Keys missing from a reply
 * are left out, unknown keys are ignored: client and VM may differ in version.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "vmm/base/loop.h"
#include "vmm/cli/cli.h"

static const char *text(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

static bool number(const json_t *obj, const char *key, json_int_t *ret)
{
	const json_t *v = json_object_get(obj, key);

	if (!json_is_integer(v))
		return false;
	*ret = json_integer_value(v);
	return true;
}

/* "2.4 s ago" of a CLOCK_BOOTTIME in nanoseconds. */
static void print_ago(FILE *out, const char *before, const json_t *obj,
		      const char *key)
{
	json_int_t then, ago;

	if (!number(obj, key, &then) || then <= 0)
		return;
	ago = (json_int_t)time_boot_ns() - then;
	if (ago < 0)
		return;
	fprintf(out, "%s%lld.%01lld s ago", before, (long long)(ago / NS_PER_S),
		(long long)(ago % NS_PER_S / (NS_PER_S / 10)));
}

static void print_value(FILE *out, const json_t *value)
{
	if (json_is_string(value))
		fputs(json_string_value(value), out);
	else
		(void)json_dumpf(value, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

static bool flag(const json_t *obj, const char *key)
{
	return json_is_true(json_object_get(obj, key));
}

static void print_sources(FILE *out, const json_t *sources)
{
	size_t i;
	json_t *s;

	if (json_array_size(sources) == 0)
		return;
	fputs("\nWAKE SOURCE     ARMED  EVENTS  WAKES\n", out);
	json_array_foreach(sources, i, s)
	{
		json_int_t count = 0, wakes = 0;

		(void)number(s, "count", &count);
		(void)number(s, "wakes", &wakes);
		fprintf(out, "%-15s %-6s %-7lld %lld\n", text(s, "name"),
			flag(s, "off")	   ? "off"
			: flag(s, "storm") ? "storm"
			: flag(s, "armed") ? "yes"
					   : "no",
			(long long)count, (long long)wakes);
	}
}

static const char *device_status(const json_t *device)
{
	if (flag(device, "dead"))
		return "died";
	return flag(device, "live") ? "in use" : "not in use";
}

static void print_devices(FILE *out, const json_t *devices)
{
	size_t i;
	json_t *d;

	if (json_array_size(devices) == 0)
		return;
	fputs("\nDEVICE          PID      STATUS\n", out);
	json_array_foreach(devices, i, d)
	{
		json_int_t pid = 0;

		(void)number(d, "pid", &pid);
		fprintf(out, "%-15s %-8lld %s\n", text(d, "name"),
			(long long)pid, device_status(d));
	}
}

static void print_pci(FILE *out, const json_t *pci)
{
	size_t i;
	json_t *d;

	if (json_array_size(pci) == 0)
		return;
	fputs("\nPCI DEVICE      ADDRESS       PM       POWER\n", out);
	json_array_foreach(pci, i, d)
	{
		fprintf(out, "%-15s %-13s %-8s %s\n", text(d, "name"),
			text(d, "address"), text(d, "pm"), text(d, "power"));
	}
}

static void print_vcpus(FILE *out, const json_t *vcpus)
{
	size_t i;
	json_t *v;

	if (json_array_size(vcpus) == 0)
		return;
	fputs("\nVCPU            EXITS        STATUS\n", out);
	json_array_foreach(vcpus, i, v)
	{
		json_int_t exits = 0;

		(void)number(v, "exits", &exits);
		fprintf(out, "%-15zu %-12lld %s\n", i, (long long)exits,
			flag(v, "parked") ? "asleep"
			: flag(v, "up")	  ? "up"
					  : "-");
	}
}

void cli_print_state(FILE *out, const json_t *result)
{
	const json_t *wake = json_object_get(result, "last_wake");
	json_int_t n;

	fprintf(out, "state      %s%s%s", text(result, "state"),
		flag(result, "paused") ? ", paused" : "",
		flag(result, "halted") ? ", halted" : "");
	if (!strcmp(text(result, "state"), "SUSPENDED") &&
	    *text(result, "kind"))
		fprintf(out, " (%s)", text(result, "kind"));
	fputc('\n', out);
	if (*text(result, "vm"))
		fprintf(out, "vm         %s\n", text(result, "vm"));
	if (number(result, "pid", &n))
		fprintf(out, "pid        %lld\n", (long long)n);
	if (number(result, "cycles", &n))
		fprintf(out, "sleeps     %lld\n", (long long)n);
	if (number(result, "time_asleep_ms", &n))
		fprintf(out, "asleep     %lld.%01lld s in all\n",
			(long long)(n / 1000), (long long)(n % 1000 / 100));
	if (*text(wake, "source")) {
		fprintf(out, "last wake  %s", text(wake, "source"));
		print_ago(out, ", ", wake, "time_ns");
		if (number(wake, "latency_ms", &n))
			fprintf(out, ", ran after %lld ms", (long long)n);
		fputc('\n', out);
	}
	print_sources(out, json_object_get(result, "sources"));
	print_devices(out, json_object_get(result, "devices"));
	print_pci(out, json_object_get(result, "pci"));
	print_vcpus(out, json_object_get(result, "vcpus"));
}

/* --- statistics --- */

static json_int_t count_of(const json_t *obj, const char *key)
{
	json_int_t n = 0;

	(void)number(obj, key, &n);
	return n;
}

struct duration {
	char text[24]; /* "1.52 ms", "320 ms", "61.2 s" */
};

static struct duration duration(const json_t *obj, const char *key)
{
	struct duration d = { "-" };
	double ms = (double)count_of(obj, key) / 1e6;

	if (!json_is_integer(json_object_get(obj, key)))
		return d;
	if (ms <= 0)
		(void)snprintf(d.text, sizeof(d.text), "0 s");
	else if (ms < 1000)
		(void)snprintf(d.text, sizeof(d.text), "%.*f ms",
			       ms < 10 ? 2 : 0, ms);
	else
		(void)snprintf(d.text, sizeof(d.text), "%.1f s", ms / 1000);
	return d;
}

static void print_sleeps(FILE *out, const json_t *sleeps)
{
	size_t i;
	json_t *s;

	if (json_array_size(sleeps) == 0)
		return;
	fputs("\nSLEEP           COUNT   BY REQUEST  BY GUEST       TIME\n",
	      out);
	json_array_foreach(sleeps, i, s)
	{
		fprintf(out, "%-15s %-7lld %-11lld %-8lld %10s\n",
			text(s, "kind"), (long long)count_of(s, "cycles"),
			(long long)count_of(s, "by_request"),
			(long long)count_of(s, "by_guest"),
			duration(s, "asleep_ns").text);
	}
}

static void print_requests(FILE *out, json_t *requests)
{
	const char *outcome;
	json_t *count;

	if (json_object_size(requests) == 0)
		return;
	fputs("\nREQUEST ENDED   COUNT\n", out);
	json_object_foreach(requests, outcome, count)
	{
		fprintf(out, "%-15s %lld\n", outcome,
			(long long)json_integer_value(count));
	}
}

static void print_hist(FILE *out, const char *name, const json_t *hist)
{
	json_int_t n = count_of(hist, "count");

	if (n == 0)
		fprintf(out, "%-15s 0\n", name);
	else
		fprintf(out, "%-15s %-7lld %10s %10s %10s\n", name,
			(long long)n, duration(hist, "p50_ns").text,
			duration(hist, "p99_ns").text,
			duration(hist, "max_ns").text);
}

static void print_latencies(FILE *out, const json_t *result)
{
	const json_t *entry = json_object_get(result, "entry");
	const json_t *wake = json_object_get(result, "wake");

	fputs("\nLATENCY         COUNT      HALF <=     99% <=        MAX\n",
	      out);
	print_hist(out, "sleep, asked", json_object_get(entry, "request"));
	print_hist(out, "sleep, by guest", json_object_get(entry, "guest"));
	print_hist(out, "wake to vCPUs", json_object_get(wake, "vcpus"));
	print_hist(out, "wake to running", json_object_get(wake, "running"));
}

static void print_source_stats(FILE *out, const json_t *sources)
{
	size_t i;
	json_t *s;

	if (json_array_size(sources) == 0)
		return;
	fputs("\nWAKE SOURCE     EVENTS  WAKES   LAST\n", out);
	json_array_foreach(sources, i, s)
	{
		bool ever = json_is_integer(json_object_get(s, "last_ns"));

		fprintf(out, ever ? "%-15s %-7lld %-7lld" : "%-15s %-7lld %lld",
			text(s, "name"), (long long)count_of(s, "count"),
			(long long)count_of(s, "wakes"));
		print_ago(out, " ", s, "last_ns");
		fputc('\n', out);
	}
}

static void print_resets(FILE *out, const json_t *devices)
{
	size_t i;
	json_t *d;

	if (json_array_size(devices) == 0)
		return;
	fputs("\nDEVICE          RESETS\n", out);
	json_array_foreach(devices, i, d)
	{
		fprintf(out, "%-15s %lld\n", text(d, "name"),
			(long long)count_of(d, "resets"));
	}
}

static void print_loop(FILE *out, const json_t *loop)
{
	if (!loop)
		return;
	fprintf(out, "\nmain loop  %lld stalls, longest turn %s in %s\n",
		(long long)count_of(loop, "stalls"),
		duration(loop, "longest_turn_ns").text,
		text(loop, "longest_in"));
}

void cli_print_stats(FILE *out, const json_t *result)
{
	const json_t *pauses = json_object_get(result, "pauses");

	fprintf(out, "vm         %s\n", text(result, "vm"));
	fprintf(out, "pauses     %lld, %s in all\n",
		(long long)count_of(pauses, "count"),
		duration(pauses, "total_ns").text);
	print_sleeps(out, json_object_get(result, "sleeps"));
	print_requests(out, json_object_get(result, "requests"));
	print_latencies(out, result);
	print_source_stats(out, json_object_get(result, "sources"));
	print_resets(out, json_object_get(result, "devices"));
	print_loop(out, json_object_get(result, "loop"));
}

/* The event's CLOCK_BOOTTIME, shown as the wall clock at that time. */
static void print_time(FILE *out, const json_t *event)
{
	struct timespec ts;
	struct tm tm;
	json_int_t then;
	long long wall;
	time_t sec;
	char buf[16];

	if (!number(event, "time_ns", &then))
		return;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	wall = ts.tv_sec * NS_PER_S + ts.tv_nsec -
	       ((long long)time_boot_ns() - then);
	sec = (time_t)(wall / NS_PER_S);
	if (!localtime_r(&sec, &tm) ||
	    !strftime(buf, sizeof(buf), "%H:%M:%S", &tm))
		return;
	fprintf(out, "%s.%03lld ", buf, wall % NS_PER_S / 1000000);
}

void cli_print_event(FILE *out, const json_t *event)
{
	json_t *data = json_object_get(event, "data");
	const char *key;
	json_t *value;

	print_time(out, event);
	fputs(text(event, "event"), out);
	json_object_foreach(data, key, value)
	{
		fprintf(out, " %s=", key);
		print_value(out, value);
	}
	if (count_of(event, "coalesced") > 0)
		fprintf(out, " coalesced=%lld",
			(long long)count_of(event, "coalesced"));
	fputc('\n', out);
}
