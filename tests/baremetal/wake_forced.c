/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wake events in the orders that are the worst for a guest that goes to sleep.
 * The guest (go=arm or go=sleep, see the payload) waits on its way for a byte
 *on its serial port; each event of each source of wake_guest.h comes
 *
 *	arm	after its devices were stopped, before they are armed: the
 *		device's process is stopped, the event is sent, the guest is put
 *		down as far as it goes, the process continues
 *	sleep	after they were armed and the guest has looked: the same; then
 *		the process of a live device is asked to stop its rings before
 *		it has seen the event
 *
 * A source without a process (button, alarm, launcher, serial byte) has the
 * event before the guest goes on (arm), or while torpor waits for the process
 *of HELD, which is stopped, so that all vCPUs are parked and nobody asleep
 *(sleep).
 *
 *	torpor run ... sleeper.elf |
 *		wake_forced SOCKET arm|sleep HELD INPUT COUNT SOURCE...
 *
 * INPUT is the serial port's; HELD a live device. Status 1 if one was lost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/baremetal/wake_guest.h"

#define GO     '!'
#define LIVE   0x0f /* Status */
#define ASK_US 2000L
/* How long a guest that should not be able to go on is given for it. */
#define GRACE_US 100000L

struct forced {
	struct wake_guest g;
	bool at_sleep; /* the order */
	const char *held;
	int input;
};

/* ------------------------------------------------------------- processes */

static json_int_t number(const json_t *entry, const char *key)
{
	return json_integer_value(json_object_get(entry, key));
}

static json_int_t device_number(struct forced *f, const char *device,
				const char *key)
{
	json_t *state = wake_state(&f->g);
	const json_t *entry = wake_named(state, "devices", device);
	json_int_t n = entry ? number(entry, key) : -1;

	json_decref(state);
	return n;
}

static bool is_stopped(pid_t pid)
{
	char path[64], line[256] = "";
	const char *after;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	(void)!fgets(line, sizeof(line), file);
	(void)fclose(file);
	after = strrchr(line, ')');
	return after && after[1] == ' ' && after[2] == 'T';
}

/* Return: its process, stopped; or 0. */
static pid_t stop(struct forced *f, const char *device)
{
	pid_t pid = (pid_t)device_number(f, device, "pid");
	long until = wake_now_us(CLOCK_MONOTONIC) + WAKE_BOUND_US;

	if (pid <= 0 || kill(pid, SIGSTOP) < 0) {
		wake_wrong(&f->g, "%s: no process", device);
		return 0;
	}
	while (!is_stopped(pid) && wake_now_us(CLOCK_MONOTONIC) < until)
		wake_pump_until(&f->g, wake_now_us(CLOCK_MONOTONIC) + ASK_US,
				NULL);
	if (!is_stopped(pid))
		wake_wrong(&f->g, "%s: does not stop", device);
	return pid;
}

/* ------------------------------------------------------------ conditions */

/* What to wait for: of a device or source, whose number was @before. */
struct until {
	const char *name;
	json_int_t before;
	bool (*is)(const json_t *state, const struct until *u);
};

static bool is_armed(const json_t *state, const struct until *u)
{
	return json_is_true(json_object_get(
		wake_named(state, "sources", u->name), "armed"));
}

static bool is_counted(const json_t *state, const struct until *u)
{
	return number(wake_named(state, "sources", u->name), "count") >
	       u->before;
}

/* Its process has been sent something: that its rings are to stop. */
static bool is_told(const json_t *state, const struct until *u)
{
	return number(wake_named(state, "devices", u->name), "messages") >
	       u->before;
}

static bool is_asleep(const json_t *state, const struct until *u)
{
	(void)u;
	return !strcmp(json_string_value(json_object_get(state, "state")),
		       "SUSPENDED");
}

static void await(struct forced *f, const struct until *u, const char *what)
{
	long until = wake_now_us(CLOCK_MONOTONIC) + WAKE_BOUND_US;
	bool is = false;

	while (wake_all_right(&f->g) && !is &&
	       wake_now_us(CLOCK_MONOTONIC) < until) {
		json_t *state = wake_state(&f->g);

		is = state && u->is(state, u);
		json_decref(state);
		if (!is)
			wake_pump_until(&f->g,
					wake_now_us(CLOCK_MONOTONIC) + ASK_US,
					NULL);
	}
	if (!is)
		wake_wrong(&f->g, "%s: %s within %ld s", u->name, what,
			   WAKE_BOUND_US / 1000000);
}

/* Events before the next one; an alarm may have come by now. */
static json_int_t count_before(struct forced *f,
			       const struct wake_event_source *s)
{
	json_t *state = wake_state(&f->g);
	json_int_t n =
		number(wake_named(state, "sources", s->type->name), "count");

	json_decref(state);
	return s->type->kind == WAKE_ALARM ? (json_int_t)s->sent : n;
}

/* ----------------------------------------------------------------- orders */

static void go(struct forced *f)
{
	const char c = GO;

	f->g.ready = false;
	if (write(f->input, &c, 1) != 1)
		wake_wrong(&f->g, "serial port: %s", strerror(errno));
}

/* The event of a device whose process does not run. */
static void to_device(struct forced *f, struct wake_event_source *s)
{
	const char *name = s->type->device;
	struct until u = { .name = name };
	pid_t pid = stop(f, name);
	bool live = device_number(f, name, "status") == LIVE;

	wake_fire(&f->g, s);
	u.before = device_number(f, name, "messages");
	go(f);
	if (!f->at_sleep) {
		u.is = is_armed;
		await(f, &u, "not armed");
		/* Armed, and it cannot know: the guest must not go on. */
		wake_pump_until(&f->g, wake_now_us(CLOCK_MONOTONIC) + GRACE_US,
				&f->g.suspending);
	} else {
		u.is = live ? is_told : is_asleep;
		await(f, &u, live ? "not asked to stop" : "not asleep");
	}
	if (pid > 0)
		(void)kill(pid, SIGCONT);
	wake_settle(&f->g, s);
}

/* The guest is down, and sleeps as soon as the process of HELD has stopped. */
static void to_parked(struct forced *f, struct wake_event_source *s)
{
	struct until told = { .name = f->held, .is = is_told };
	struct until came = { .name = s->type->name, .is = is_counted };
	pid_t pid = stop(f, f->held);

	told.before = device_number(f, f->held, "messages");
	came.before = count_before(f, s);
	go(f);
	await(f, &told, "not asked to stop");
	wake_fire(&f->g, s);
	await(f, &came, "the event did not come");
	if (pid > 0)
		(void)kill(pid, SIGCONT);
	wake_settle(&f->g, s);
}

/* It has happened when the guest goes on. */
static void before(struct forced *f, struct wake_event_source *s)
{
	struct until came = { .name = s->type->name, .is = is_counted };

	came.before = count_before(f, s);
	wake_fire(&f->g, s);
	await(f, &came, "the event did not come");
	go(f);
	wake_settle(&f->g, s);
}

static void one(struct forced *f, struct wake_event_source *s)
{
	if (!wake_await(&f->g, &f->g.ready, "is not ready"))
		return;
	if (s->type->device)
		to_device(f, s);
	else if (f->at_sleep)
		to_parked(f, s);
	else
		before(f, s);
}

int main(int argc, char **argv)
{
	struct wake_event_source sources[WAKE_MAX_SOURCES];
	size_t nr = argc > 6 ? (size_t)argc - 6 : 0;
	struct forced f = { .input = -1 };

	if (nr == 0 || nr > WAKE_MAX_SOURCES) {
		fprintf(stderr,
			"usage: wake_forced SOCKET arm|sleep HELD INPUT "
			"COUNT SOURCE...\n");
		return 2;
	}
	f.at_sleep = !strcmp(argv[2], "sleep");
	f.held = argv[3];
	f.input = open(argv[4], O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (f.input < 0) {
		perror(argv[4]);
		return 1;
	}
	if (wake_guest_init(&f.g, argv[1], sources, argv + 6, nr,
			    strtoul(argv[5], NULL, 10)) != 0)
		return 1;
	for (size_t i = 0; i < nr; i++) {
		while (wake_all_right(&f.g) && sources[i].left)
			one(&f, &sources[i]);
	}
	return wake_guest_end(&f.g, sources, nr);
}
