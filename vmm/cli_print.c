/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * States and events as text for people. Main thread. What a reply lacks is
 * left out, what is new in it is ignored: client and VM may differ in version.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "vmm/base/loop.h"
#include "vmm/cli.h"

#define NS_PER_SEC 1000000000LL

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
static void print_ago(FILE *out, const json_t *obj, const char *key)
{
	json_int_t then, ago;

	if (!number(obj, key, &then) || then <= 0)
		return;
	ago = (json_int_t)time_boot_ns() - then;
	if (ago < 0)
		return;
	fprintf(out, ", %lld.%01lld s ago", (long long)(ago / NS_PER_SEC),
		(long long)(ago % NS_PER_SEC / (NS_PER_SEC / 10)));
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
	fputs("\nWAKE SOURCE     ARMED  EVENTS\n", out);
	json_array_foreach(sources, i, s)
	{
		json_int_t count = 0;

		(void)number(s, "count", &count);
		fprintf(out, "%-15s %-6s %lld\n", text(s, "name"),
			flag(s, "off")	   ? "off"
			: flag(s, "storm") ? "storm"
			: flag(s, "armed") ? "yes"
					   : "no",
			(long long)count);
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

	fprintf(out, "state      %s%s", text(result, "state"),
		flag(result, "paused") ? ", paused" : "");
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
		print_ago(out, wake, "time_ns");
		fputc('\n', out);
	}
	print_sources(out, json_object_get(result, "sources"));
	print_devices(out, json_object_get(result, "devices"));
	print_vcpus(out, json_object_get(result, "vcpus"));
}

/* The event's time is CLOCK_BOOTTIME: shown as the wall clock of then. */
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
	wall = ts.tv_sec * NS_PER_SEC + ts.tv_nsec -
	       ((long long)time_boot_ns() - then);
	sec = (time_t)(wall / NS_PER_SEC);
	if (!localtime_r(&sec, &tm) ||
	    !strftime(buf, sizeof(buf), "%H:%M:%S", &tm))
		return;
	fprintf(out, "%s.%03lld ", buf, wall % NS_PER_SEC / 1000000);
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
	fputc('\n', out);
}
