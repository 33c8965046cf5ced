/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wake events at random moments of a guest that goes to sleep again at once.
 * Reads the console of the `sleeper` payload (io=1) on standard input and fires
 * COUNT events of each source in random order, one at a time, each at a random
 * moment between the guest's "I go to sleep" and 50 ms after it is asleep:
 *
 *	torpor run ... sleeper.elf | wake_races SOCKET SEED COUNT SOURCE...
 *
 *	powerbtn sleepbtn launcher
 *	net=INTERFACE     a frame out of the tap's other side
 *	console=PATH      a byte
 *	serial=PATH       a byte
 *	serial-asleep=PATH  a byte, but to a sleeping guest only: for a KVM that
 *	                  delivers no interrupt, without which the guest cannot
 *	                  see a byte that comes on the way
 *	rtc               alone: the launcher wakes a guest that has set the
 *	                  alarm to the next second (alarm=tick) at a random
 *	                  moment before that second; so 1 event a second
 *
 * An event is lost if the guest neither reports to have taken it on the way
 * down nor wakes, with that source as the cause, within the bound. A frame or
 * byte has to arrive once. A wake-up without an event, or with another cause,
 * is spurious. Either ends the program with status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "include/torpor.h"
#include "vmm/base/util.h"

#define BOUND_US      10000000L
#define CALL_MS	      10000
#define ASLEEP_US     50000L /* how long after it is asleep an event may come */
#define FIRST_DOWN_US 5000L  /* a guess, until a sleep has been seen */
#define FIRST_UP_US   5000L
#define ASK_US	      20000L
#define SETTLE_US     500000L
#define SECOND_US     1000000L

#define PWRBTN	 (1U << 8)
#define SLPBTN	 (1U << 9)
#define RTC	 (1U << 10)
#define GPE_WAKE (1U << 31)
#define ETH_TEST 0x88b5

enum kind {
	BUTTON,
	LAUNCHER,
	ALARM,
	FRAME,
	BYTE
};

struct source_type {
	const char *name;
	enum kind kind;
	uint32_t pm1, gpe; /* any of these wakes */
	bool serial;
	const char *got; /* how the guest says that it received something */
	int (*press)(struct torpor *t, int timeout_ms);
};

/* GPEs of devices: the order of the options, network card then console. */
static const struct source_type types[] = {
	{ "powerbtn", BUTTON, PWRBTN, GPE_WAKE, false, NULL, torpor_powerbtn },
	{ "sleepbtn", BUTTON, SLPBTN, GPE_WAKE, false, NULL, torpor_sleepbtn },
	{ "launcher", LAUNCHER, 0, GPE_WAKE, false, NULL, torpor_wake },
	{ "rtc", ALARM, RTC, 0, false, NULL, NULL },
	{ "net", FRAME, 0, 1U << 0, false, "GOT net ", NULL },
	{ "console", BYTE, 0, 1U << 1, false, "GOT console ", NULL },
	{ "serial", BYTE, 0, 0, true, "BYTE ", NULL },
	{ "serial-asleep", BYTE, 0, 0, true, "BYTE ", NULL },
};

struct source {
	const struct source_type *type;
	int fd;
	unsigned long left, sent;
	unsigned long down;  /* sent before it was asleep */
	unsigned long taken; /* of these: by the guest while awake */
};

struct guest {
	struct torpor *t;
	char line[512];
	size_t len;
	bool ended;

	bool going;	 /* said that it goes to sleep */
	bool suspending; /* torpor said so since */
	bool asleep;
	long going_at, fired_at;
	long down_us, up_us; /* average time to asleep; event to next sleep */

	const struct source *fired; /* the event that is out, or NULL */
	const struct source *next; /* is out as soon as that one has woken it */
	unsigned long value;	   /* of its byte or frame */
	bool woken, aborted;
	unsigned int got;
	char wrong[640]; /* "" or what was */
};

static long now_us(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000L + ts.tv_nsec / 1000;
}

static void wrong(struct guest *g, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void wrong(struct guest *g, const char *fmt, ...)
{
	va_list ap;

	if (g->wrong[0])
		return;
	va_start(ap, fmt);
	(void)vsnprintf(g->wrong, sizeof(g->wrong), fmt, ap);
	va_end(ap);
}

/* ---------------------------------------------------- what the guest says */

static bool cause_fits(const struct source_type *type, const char *cause,
		       unsigned int pm1, unsigned int gpe)
{
	if (type->serial)
		return !strcmp(cause, "serial") && !pm1 && !gpe;
	/* A press that the guest has seen and torpor raises again is both. */
	return !strstr(cause, "serial") && (pm1 || gpe) &&
	       (pm1 & type->pm1) == pm1 && (gpe & type->gpe) == gpe;
}

static void on_wake_line(struct guest *g)
{
	unsigned int pm1, gpe;
	char cause[64];

	if (sscanf(g->line, "WAKE cycle=%*u by=%63s pm1=0x%x gpe=0x%x", cause,
		   &pm1, &gpe) != 3)
		wrong(g, "not understood: %s", g->line);
	else if (!g->fired || g->woken || g->aborted)
		wrong(g, "spurious: %s", g->line);
	else if (!cause_fits(g->fired->type, cause, pm1, gpe))
		wrong(g, "woken by another than %s: %s", g->fired->type->name,
		      g->line);
	g->going = false;
	/* Both may have come before we were told of the first. */
	if (g->next) {
		g->fired = g->next;
		g->next = NULL;
		return;
	}
	g->woken = true;
}

static void on_got_line(struct guest *g)
{
	const char *got = g->fired ? g->fired->type->got : NULL;
	size_t len = got ? strlen(got) : 0;

	if (!got || strncmp(g->line, got, len) != 0 ||
	    strtoul(g->line + len, NULL, 0) != g->value)
		wrong(g, "nobody sent this, or not now: %s", g->line);
	else if (g->got++ > 0)
		wrong(g, "twice: %s", g->line);
}

static void on_line(struct guest *g)
{
	if (!strncmp(g->line, "SLEEP ", 6)) {
		g->going = true;
		g->suspending = g->asleep = false;
		g->going_at = now_us(CLOCK_MONOTONIC);
		if (g->fired_at)
			g->up_us =
				(7 * g->up_us + g->going_at - g->fired_at) / 8;
		g->fired_at = 0;
	} else if (!strncmp(g->line, "WAKE ", 5)) {
		on_wake_line(g);
	} else if (!strncmp(g->line, "ABORT ", 6)) {
		if (!g->fired || !g->fired->type->got)
			wrong(g, "turned back for nothing: %s", g->line);
		g->aborted = true;
		g->going = false;
	} else if (!strncmp(g->line, "GOT ", 4) ||
		   !strncmp(g->line, "BYTE ", 5) ||
		   !strncmp(g->line, "NOISE ", 6)) {
		on_got_line(g);
	} else if (!strncmp(g->line, "FAIL ", 5)) {
		wrong(g, "%s", g->line);
	}
}

/* What there is, after at most @timeout_ms. */
static void read_console(struct guest *g, int timeout_ms)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char buf[4096];
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return;
	n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n <= 0) {
		g->ended = true;
		wrong(g, "the VM ended");
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n') {
			g->line[g->len] = '\0';
			on_line(g);
			g->len = 0;
		} else if (buf[i] != '\r' && g->len + 1 < sizeof(g->line)) {
			g->line[g->len++] = buf[i];
		}
	}
}

/* ----------------------------------------------------- what torpor says */

static void on_suspended(struct guest *g)
{
	long took = now_us(CLOCK_MONOTONIC) - g->going_at;

	g->asleep = true;
	g->down_us = (7 * g->down_us + took) / 8;
}

static void read_events(struct guest *g)
{
	char *event;
	int r;

	while ((r = torpor_next_event(g->t, 0, &event)) == 0) {
		/* What the guest said before it happened has come by now. */
		read_console(g, 0);
		if (!g->going || strstr(event, "\"RUNNING\""))
			g->suspending = false; /* of the sleep before */
		else if (strstr(event, "\"SUSPENDING\""))
			g->suspending = true;
		else if (strstr(event, "\"SUSPENDED\"") && g->suspending)
			on_suspended(g);
		free(event);
	}
	if (r != -ETIMEDOUT)
		wrong(g, "the control socket: %s", strerror(-r));
}

/* Takes in what there is until @until, or for one turn if that has passed. */
static void pump(struct guest *g, long until)
{
	long left = MAX(until - now_us(CLOCK_MONOTONIC), 0L);
	struct timespec ts = { .tv_sec = left / 1000000,
			       .tv_nsec = left % 1000000 * 1000 };
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
			       { .fd = torpor_fd(g->t), .events = POLLIN } };

	read_events(g);
	if (ppoll(p, ARRAY_SIZE(p), &ts, NULL) <= 0)
		return;
	if (p[1].revents)
		read_events(g);
	else
		read_console(g, 0);
}

static bool all_right(const struct guest *g)
{
	return !g->wrong[0];
}

/* Until then, or until the flag is set, if there is one. */
static void pump_until(struct guest *g, long until, const bool *flag)
{
	while (all_right(g) && !(flag && *flag) &&
	       now_us(CLOCK_MONOTONIC) < until)
		pump(g, until);
}

/* Where torpor is now, whatever events tell: a guest may go round faster. */
static void ask_state(struct guest *g)
{
	char *state;
	int r = torpor_state(g->t, CALL_MS, &state);

	if (r < 0) {
		wrong(g, "state: %s", strerror(-r));
		return;
	}
	g->asleep = !strcmp(state, "SUSPENDED");
	g->suspending = g->asleep || !strcmp(state, "SUSPENDING");
	free(state);
}

static bool await_going(struct guest *g)
{
	pump_until(g, now_us(CLOCK_MONOTONIC) + BOUND_US, &g->going);
	if (!g->going)
		wrong(g, "goes to sleep no more");
	return all_right(g);
}

/* Waits until it goes down or, by choice, is asleep. */
static bool await_sleep(struct guest *g, bool asleep)
{
	const bool *flag = asleep ? &g->asleep : &g->suspending;
	long until = now_us(CLOCK_MONOTONIC) + BOUND_US;

	while (all_right(g) && !*flag && now_us(CLOCK_MONOTONIC) < until) {
		pump_until(g, now_us(CLOCK_MONOTONIC) + ASK_US, flag);
		if (!*flag && all_right(g))
			ask_state(g);
	}
	if (!*flag)
		wrong(g, "does not %s within %ld s",
		      asleep ? "fall asleep" : "begin to sleep",
		      BOUND_US / 1000000);
	return all_right(g);
}

/* --------------------------------------------------------------- an event */

static int send_frame(const struct source *s, unsigned long seq)
{
	uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };

	frame[12] = ETH_TEST >> 8;
	frame[13] = ETH_TEST & 0xff;
	for (int i = 0; i < 4; i++)
		frame[14 + i] = (uint8_t)(seq >> (24 - 8 * i));
	return send(s->fd, frame, sizeof(frame), 0) == sizeof(frame) ? 0
								     : -errno;
}

static int send_byte(const struct source *s, unsigned long byte)
{
	const char c = (char)byte;

	return write(s->fd, &c, 1) == 1 ? 0 : -errno;
}

static void fire(struct guest *g, struct source *s)
{
	int r;

	/* What was asleep by now, and no spurious wake-up before. */
	pump(g, 0);
	if (!all_right(g))
		return;
	g->fired = s;
	g->woken = g->aborted = false;
	g->got = 0;
	if (s->type->kind == FRAME)
		g->value = s->sent;
	else
		g->value = 'a' + s->sent % 26;
	s->sent++;
	s->left--;
	s->down += !g->asleep;
	g->fired_at = now_us(CLOCK_MONOTONIC);
	if (s->type->press)
		r = s->type->press(g->t, CALL_MS);
	else if (s->type->kind == FRAME)
		r = send_frame(s, g->value);
	else
		r = send_byte(s, g->value);
	if (r < 0)
		wrong(g, "%s: %s", s->type->name, strerror(-r));
}

/* The guest takes what was fired, or it is lost. */
static void settle(struct guest *g, struct source *s)
{
	unsigned int wanted = s->type->got ? 1 : 0;
	long until = now_us(CLOCK_MONOTONIC) + BOUND_US;

	while (all_right(g) && now_us(CLOCK_MONOTONIC) < until &&
	       !((g->woken || g->aborted) && g->got >= wanted))
		pump(g, until);
	if (!g->woken && !g->aborted)
		wrong(g, "LOST: %s %lu (%s)", g->fired->type->name, s->sent,
		      g->asleep ? "asleep" : "on its way down");
	else if (g->got < wanted)
		wrong(g, "LOST: %s %lu woke it and did not arrive",
		      s->type->name, s->sent);
	s->taken += g->aborted;
	g->fired = NULL;
}

/* Half of all on the way down, half until a while after. */
static long random_delay(const struct guest *g)
{
	long span = rand() % 2 ? g->down_us * 3 / 2 : g->down_us + ASLEEP_US;

	return rand() % (span + 1);
}

static void one_event(struct guest *g, struct source *s)
{
	bool to_asleep = !strcmp(s->type->name, "serial-asleep");

	if (!await_going(g))
		return;
	/* To an awake guest `wake` means nothing. */
	if ((s->type->kind == LAUNCHER || to_asleep) &&
	    !await_sleep(g, to_asleep))
		return;
	pump_until(g, g->going_at + random_delay(g), NULL);
	fire(g, s);
	settle(g, s);
}

/*
 * Woken a moment before the second is over the guest sets the alarm and goes
 * down again: the alarm is the event, and it comes from the clock.
 */
static void one_alarm(struct guest *g, struct source *s)
{
	static struct source launcher = { .type = &types[2] };
	long second, before;

	if (!await_going(g) || !await_sleep(g, false))
		return;
	before = g->up_us + random_delay(g);
	second = now_us(CLOCK_REALTIME) % SECOND_US;
	pump_until(g,
		   now_us(CLOCK_MONOTONIC) +
			   (2 * SECOND_US - before - second) % SECOND_US,
		   NULL);
	launcher.left++;
	g->next = s;
	fire(g, &launcher);
	s->sent++;
	s->left--;
	settle(g, s);
	s->down += !g->asleep;
}

/* ----------------------------------------------------------------- set-up */

static int open_frames(const char *interface)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET,
				  .sll_ifindex =
					  (int)if_nametoindex(interface) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || !sa.sll_ifindex ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -1;
	return fd;
}

static bool source_init(struct source *s, char *word, unsigned long count)
{
	char *where = strchr(word, '=');

	if (where)
		*where++ = '\0';
	*s = (struct source){ .fd = -1, .left = count };
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!strcmp(word, types[i].name))
			s->type = &types[i];
	}
	if (!s->type)
		return false;
	if (s->type->kind == FRAME && where)
		s->fd = open_frames(where);
	else if (s->type->kind == BYTE && where)
		s->fd = open(where, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	return s->fd >= 0 || s->type->kind < FRAME;
}

/* Drawn with the odds that are left, so that all end together. */
static struct source *draw(struct source *sources, size_t nr)
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

/* For a person: where the VM is, and which sources are armed and latched. */
static void explain(struct guest *g)
{
	char *state = NULL;

	if (torpor_call(g->t, "state", NULL, CALL_MS, &state) == 0)
		fprintf(stderr, "%s\n", state);
	free(state);
}

static void races(struct guest *g, struct source *sources, size_t nr)
{
	struct source *s;

	while (all_right(g) && (s = draw(sources, nr)) != NULL) {
		if (s->type->kind == ALARM)
			one_alarm(g, s);
		else
			one_event(g, s);
	}
	/* After the last one nothing more comes. */
	if (all_right(g))
		pump_until(g, now_us(CLOCK_MONOTONIC) + SETTLE_US, NULL);
	if (!all_right(g))
		explain(g);
	for (size_t i = 0; i < nr; i++) {
		const struct source *r = &sources[i];

		printf("%s events=%lu down=%lu taken=%lu\n", r->type->name,
		       r->sent, r->down, r->taken);
	}
	if (all_right(g))
		printf("lost=0 spurious=0\n");
	else
		printf("%s\n", g->wrong);
}

int main(int argc, char **argv)
{
	struct guest g = { .down_us = FIRST_DOWN_US, .up_us = FIRST_UP_US };
	struct source sources[ARRAY_SIZE(types)];
	size_t nr = argc > 4 ? (size_t)argc - 4 : 0;
	int r;

	if (nr == 0 || nr > ARRAY_SIZE(types)) {
		fprintf(stderr,
			"usage: wake_races SOCKET SEED COUNT SOURCE...\n");
		return 2;
	}
	srand((unsigned int)strtoul(argv[2], NULL, 10));
	/* The guest goes to sleep: the VM is there. */
	while (!g.going && !g.ended)
		read_console(&g, -1);
	r = torpor_connect(argv[1], CALL_MS, &g.t);
	if (r == 0)
		r = torpor_events(g.t, CALL_MS);
	if (r < 0) {
		printf("connect: %s\n", strerror(-r));
		return 1;
	}
	for (size_t i = 0; i < nr; i++) {
		if (!source_init(&sources[i], argv[4 + i],
				 strtoul(argv[3], NULL, 10))) {
			printf("%s: no such source, or it cannot be opened\n",
			       argv[4 + i]);
			return 1;
		}
	}
	races(&g, sources, nr);
	(void)torpor_stop(g.t, CALL_MS);
	torpor_close(g.t);
	return !all_right(&g);
}
