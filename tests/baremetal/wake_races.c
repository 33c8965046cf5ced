/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wake events at random moments of a guest that goes to sleep again at once.
 * Fires COUNT events of each source in random order, one at a time, each at a
 * random moment between the guest's "I go to sleep" and 50 ms after it is
 * asleep; wake_guest.h has the sources, and what is lost or spurious:
 *
 *	torpor run ... sleeper.elf |
 *		wake_races [-l LOOPS] SOCKET SEED COUNT SOURCE...
 *
 * With -l so many processes do nothing but run meanwhile. `rtc` comes alone:
 *the launcher wakes a guest that has set the alarm to the next second
 *(alarm=tick) at a random moment before that second; so 1 event a second.
 *Status 1 if one was lost or spurious.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/baremetal/wake_guest.h"

#define ASLEEP_US 50000L /* how long after it is asleep an event may come */
#define ASK_US	  20000L
#define SETTLE_US 500000L
#define SECOND_US 1000000L
#define MAX_LOOPS 64UL

/* Waits until it goes down or, by choice, is asleep. */
static bool await_sleep(struct wake_guest *g, bool asleep)
{
	const bool *flag = asleep ? &g->asleep : &g->suspending;
	long until = wake_now_us(CLOCK_MONOTONIC) + WAKE_BOUND_US;

	/* A guest may go round faster than we hear of it. */
	while (wake_all_right(g) && !*flag &&
	       wake_now_us(CLOCK_MONOTONIC) < until) {
		wake_pump_until(g, wake_now_us(CLOCK_MONOTONIC) + ASK_US, flag);
		if (!*flag && wake_all_right(g))
			wake_ask_state(g);
	}
	if (!*flag)
		wake_wrong(g, "does not %s within %ld s",
			   asleep ? "fall asleep" : "begin to sleep",
			   WAKE_BOUND_US / 1000000);
	return wake_all_right(g);
}

/* Half of all on the way down, half until a while after. */
static long random_delay(const struct wake_guest *g)
{
	long span = rand() % 2 ? g->down_us * 3 / 2 : g->down_us + ASLEEP_US;

	return rand() % (span + 1);
}

static void one_event(struct wake_guest *g, struct wake_event_source *s)
{
	bool to_asleep = !strcmp(s->type->name, "serial-asleep");

	if (!wake_await(g, &g->going, "goes to sleep no more"))
		return;
	/* To an awake guest `wake` means nothing. */
	if ((s->type->kind == WAKE_LAUNCHER || to_asleep) &&
	    !await_sleep(g, to_asleep))
		return;
	wake_pump_until(g, g->going_at + random_delay(g), NULL);
	wake_fire(g, s);
	wake_settle(g, s);
}

/*
 * Woken a moment before the second is over the guest sets the alarm and goes
 * down again: the alarm is the event, and it comes from the clock.
 */
static void one_alarm(struct wake_guest *g, struct wake_event_source *s,
		      struct wake_event_source *launcher)
{
	long second, before;

	if (!wake_await(g, &g->going, "goes to sleep no more") ||
	    !await_sleep(g, false))
		return;
	before = g->up_us + random_delay(g);
	second = wake_now_us(CLOCK_REALTIME) % SECOND_US;
	wake_pump_until(g,
			wake_now_us(CLOCK_MONOTONIC) +
				(2 * SECOND_US - before - second) % SECOND_US,
			NULL);
	launcher->left++;
	g->next = s;
	wake_fire(g, launcher);
	s->sent++;
	s->left--;
	wake_settle(g, s);
	s->down += !g->asleep;
}

/* Drawn with the odds that are left, so that all end together. */
static struct wake_event_source *draw(struct wake_event_source *sources,
				      size_t nr)
{
	unsigned long left = 0, at;

	for (size_t i = 0; i < nr; i++)
		left += sources[i].left;
	if (left == 0)
		return NULL;
	at = (unsigned long)rand() % left;
	for (size_t i = 0; i < nr; i++) {
		if (at < sources[i].left)
			return &sources[i];
		at -= sources[i].left;
	}
	return NULL;
}

static void races(struct wake_guest *g, struct wake_event_source *sources,
		  size_t nr, struct wake_event_source *launcher)
{
	struct wake_event_source *s;

	while (wake_all_right(g) && (s = draw(sources, nr)) != NULL) {
		if (s->type->kind == WAKE_ALARM)
			one_alarm(g, s, launcher);
		else
			one_event(g, s);
	}
	/* After the last one nothing more comes. */
	if (wake_all_right(g))
		wake_pump_until(g, wake_now_us(CLOCK_MONOTONIC) + SETTLE_US,
				NULL);
}

/* They end with us. */
static void load(unsigned long loops)
{
	for (unsigned long i = 0; i < loops && i < MAX_LOOPS; i++) {
		if (fork() != 0)
			continue;
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (volatile unsigned long n = 0;; n++)
			;
	}
}

int main(int argc, char **argv)
{
	static char launcher_word[] = "launcher";
	/* One more than are named: the launcher, for alarms. */
	struct wake_event_source sources[WAKE_MAX_SOURCES + 1];
	char *words[WAKE_MAX_SOURCES + 1];
	struct wake_guest g;
	size_t nr;

	if (argc > 2 && !strcmp(argv[1], "-l")) {
		load(strtoul(argv[2], NULL, 10));
		argv += 2;
		argc -= 2;
	}
	nr = argc > 4 ? (size_t)argc - 4 : 0;
	if (nr == 0 || nr > WAKE_MAX_SOURCES) {
		fprintf(stderr,
			"usage: wake_races [-l LOOPS] SOCKET SEED COUNT "
			"SOURCE...\n");
		return 2;
	}
	srand((unsigned int)strtoul(argv[2], NULL, 10));
	memcpy(words, argv + 4, nr * sizeof(words[0]));
	words[nr] = launcher_word;
	if (wake_guest_init(&g, argv[1], sources, words, nr + 1,
			    strtoul(argv[3], NULL, 10)) != 0)
		return 1;
	races(&g, sources, nr, &sources[nr]);
	return wake_guest_end(&g, sources, nr);
}
