/* SPDX-License-Identifier: BSD-3-Clause */
/* See wake_guest.h. */
#define _GNU_SOURCE
#include "tests/baremetal/wake_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/util.h"

#define FIRST_DOWN_US 5000L /* a guess, until a sleep has been seen */
#define FIRST_UP_US   5000L

#define PWRBTN	 (1U << 8)
#define SLPBTN	 (1U << 9)
#define RTC	 (1U << 10)
#define GPE_WAKE (1U << 31)
#define ETH_TEST 0x88b5

#define FIRST_PORT 10000UL
#define KEPT_PORT  5000UL /* as the payload's SOCK_KEPT_PORT */

static const struct wake_type types[] = {
	{ "powerbtn", WAKE_BUTTON, PWRBTN, GPE_WAKE, .press = torpor_powerbtn },
	{ "sleepbtn", WAKE_BUTTON, SLPBTN, GPE_WAKE, .press = torpor_sleepbtn },
	{ "launcher", WAKE_LAUNCHER, 0, GPE_WAKE, .press = torpor_wake },
	{ "rtc", WAKE_ALARM, RTC, 0 },
	{ "net", WAKE_FRAME, .device = "net0", .got = "GOT net " },
	{ "console", WAKE_BYTE, .device = "console0", .got = "GOT console " },
	{ "vsock", WAKE_CONNECTION, .device = "vsock", .got = "GOT vsock " },
	{ "vsock-data", WAKE_DATA, .device = "vsock", .got = "GOT vsock " },
	{ "serial", WAKE_BYTE, .serial = true, .got = "BYTE " },
	{ "serial-asleep", WAKE_BYTE, .serial = true, .got = "BYTE " },
};

long wake_now_us(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000L + ts.tv_nsec / 1000;
}

void wake_wrong(struct wake_guest *g, const char *fmt, ...)
{
	va_list ap;

	if (g->wrong[0])
		return;
	va_start(ap, fmt);
	(void)vsnprintf(g->wrong, sizeof(g->wrong), fmt, ap);
	va_end(ap);
}

/* ---------------------------------------------------- what the guest says */

static bool cause_fits(const struct wake_event_source *s, const char *cause,
		       unsigned int pm1, unsigned int gpe)
{
	if (s->type->serial)
		return !strcmp(cause, "serial") && !pm1 && !gpe;
	/* A press that the guest has seen and torpor raises again is both. */
	return !strstr(cause, "serial") && (pm1 || gpe) &&
	       (pm1 & s->type->pm1) == pm1 && (gpe & s->gpe) == gpe;
}

static void on_wake_line(struct wake_guest *g)
{
	unsigned int pm1, gpe;
	char cause[64];

	if (sscanf(g->line, "WAKE cycle=%*u by=%63s pm1=0x%x gpe=0x%x", cause,
		   &pm1, &gpe) != 3)
		wake_wrong(g, "not understood: %s", g->line);
	else if (!g->fired || g->woken || g->aborted)
		wake_wrong(g, "spurious: %s", g->line);
	else if (!cause_fits(g->fired, cause, pm1, gpe))
		wake_wrong(g, "woken by another than %s: %s",
			   g->fired->type->name, g->line);
	g->going = false;
	/* Both may have come before we were told of the first. */
	if (g->next) {
		g->fired = g->next;
		g->next = NULL;
		return;
	}
	g->woken = true;
}

static void on_got_line(struct wake_guest *g)
{
	const char *got = g->fired ? g->fired->type->got : NULL;
	size_t len = got ? strlen(got) : 0;

	if (!got || strncmp(g->line, got, len) != 0 ||
	    strtoul(g->line + len, NULL, 0) != g->value)
		wake_wrong(g, "nobody sent this, or not now: %s", g->line);
	else if (g->got++ > 0)
		wake_wrong(g, "twice: %s", g->line);
}

static void on_line(struct wake_guest *g)
{
	if (!strncmp(g->line, "READY ", 6)) {
		g->ready = true;
	} else if (!strncmp(g->line, "SLEEP ", 6)) {
		g->going = true;
		g->suspending = g->asleep = false;
		g->going_at = wake_now_us(CLOCK_MONOTONIC);
		if (g->fired_at)
			g->up_us =
				(7 * g->up_us + g->going_at - g->fired_at) / 8;
		g->fired_at = 0;
	} else if (!strncmp(g->line, "WAKE ", 5)) {
		on_wake_line(g);
	} else if (!strncmp(g->line, "ABORT ", 6)) {
		if (!g->fired || !g->fired->type->got)
			wake_wrong(g, "turned back for nothing: %s", g->line);
		g->aborted = true;
		g->going = false;
	} else if (!strncmp(g->line, "GOT ", 4) ||
		   !strncmp(g->line, "BYTE ", 5) ||
		   !strncmp(g->line, "NOISE ", 6)) {
		on_got_line(g);
	} else if (!strncmp(g->line, "FAIL ", 5)) {
		wake_wrong(g, "%s", g->line);
	}
}

/* What there is, after at most @timeout_ms. */
static void read_console(struct wake_guest *g, int timeout_ms)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char buf[4096];
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return;
	n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n <= 0) {
		g->ended = true;
		wake_wrong(g, "the VM ended");
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

static void on_suspended(struct wake_guest *g)
{
	long took = wake_now_us(CLOCK_MONOTONIC) - g->going_at;

	g->asleep = true;
	g->down_us = (7 * g->down_us + took) / 8;
}

static void read_events(struct wake_guest *g)
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
		wake_wrong(g, "the control socket: %s", strerror(-r));
}

/* Takes in what there is until @until, or for one turn if that has passed. */
void wake_pump(struct wake_guest *g, long until)
{
	long left = MAX(until - wake_now_us(CLOCK_MONOTONIC), 0L);
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

bool wake_all_right(const struct wake_guest *g)
{
	return !g->wrong[0];
}

/* Until then, or until the flag is set, if there is one. */
void wake_pump_until(struct wake_guest *g, long until, const bool *flag)
{
	while (wake_all_right(g) && !(flag && *flag) &&
	       wake_now_us(CLOCK_MONOTONIC) < until)
		wake_pump(g, until);
}

/* Where torpor is now, whatever events tell: a guest may go round faster. */
void wake_ask_state(struct wake_guest *g)
{
	char *state;
	int r = torpor_state(g->t, WAKE_CALL_MS, &state);

	if (r < 0) {
		wake_wrong(g, "state: %s", strerror(-r));
		return;
	}
	g->asleep = !strcmp(state, "SUSPENDED");
	g->suspending = g->asleep || !strcmp(state, "SUSPENDING");
	free(state);
}

json_t *wake_state(struct wake_guest *g)
{
	char *reply = NULL;
	int r = torpor_call(g->t, "state", NULL, WAKE_CALL_MS, &reply);
	json_t *state = r == 0 ? json_loads(reply, 0, NULL) : NULL;
	json_t *result = json_object_get(state, "result");

	free(reply);
	if (!result)
		wake_wrong(g, "state: %s", strerror(-r));
	json_incref(result);
	json_decref(state);
	return result;
}

const json_t *wake_named(const json_t *state, const char *list,
			 const char *name)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(state, list), i, entry)
	{
		if (!strcmp(json_string_value(json_object_get(entry, "name")),
			    name))
			return entry;
	}
	return NULL;
}

bool wake_await(struct wake_guest *g, const bool *flag, const char *what)
{
	wake_pump_until(g, wake_now_us(CLOCK_MONOTONIC) + WAKE_BOUND_US, flag);
	if (!*flag)
		wake_wrong(g, "%s within %ld s", what, WAKE_BOUND_US / 1000000);
	return wake_all_right(g);
}

/* --------------------------------------------------------------- an event */

static int send_frame(const struct wake_event_source *s, unsigned long seq)
{
	uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };

	frame[12] = ETH_TEST >> 8;
	frame[13] = ETH_TEST & 0xff;
	for (int i = 0; i < 4; i++)
		frame[14 + i] = (uint8_t)(seq >> (24 - 8 * i));
	return send(s->fd, frame, sizeof(frame), 0) == sizeof(frame) ? 0
								     : -errno;
}

static int send_byte(const struct wake_event_source *s, unsigned long byte)
{
	const char c = (char)byte;

	return write(s->fd, &c, 1) == 1 ? 0 : -errno;
}

static int send_connect(struct wake_event_source *s, unsigned long port)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char line[32];
	ssize_t len = snprintf(line, sizeof(line), "CONNECT %lu\n", port);

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 ||
	    connect(s->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    write(s->fd, line, (size_t)len) != len)
		return -errno;
	return 0;
}

static unsigned long next_value(const struct wake_event_source *s)
{
	switch (s->type->kind) {
	case WAKE_FRAME:
		return s->sent;
	case WAKE_CONNECTION:
		return FIRST_PORT + s->sent;
	case WAKE_DATA:
		if (!s->sent)
			return KEPT_PORT;
		break;
	default:
		break;
	}
	return 'a' + s->sent % 26;
}

static int send_event(struct wake_guest *g, struct wake_event_source *s)
{
	switch (s->type->kind) {
	case WAKE_BUTTON:
	case WAKE_LAUNCHER:
		return s->type->press(g->t, WAKE_CALL_MS);
	case WAKE_ALARM: /* the guest has set it */
		return 0;
	case WAKE_FRAME:
		return send_frame(s, g->value);
	case WAKE_DATA:
	case WAKE_CONNECTION:
		if (s->fd < 0)
			return send_connect(s, g->value);
		break;
	case WAKE_BYTE:
		break;
	}
	return send_byte(s, g->value);
}

void wake_fire(struct wake_guest *g, struct wake_event_source *s)
{
	int r;

	/* What was asleep by now, and no spurious wake-up before. */
	wake_pump(g, 0);
	if (!wake_all_right(g))
		return;
	g->fired = s;
	g->fired_asleep = g->asleep;
	g->woken = g->aborted = false;
	g->got = 0;
	g->value = next_value(s);
	s->sent++;
	s->left--;
	s->down += !g->asleep;
	g->fired_at = wake_now_us(CLOCK_MONOTONIC);
	r = send_event(g, s);
	if (r < 0)
		wake_wrong(g, "%s: %s", s->type->name, strerror(-r));
}

/* The guest refuses the connection; until then it may not end. */
static void await_refusal(struct wake_guest *g, struct wake_event_source *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	char c;

	if (wake_all_right(g) &&
	    (poll(&p, 1, WAKE_CALL_MS) != 1 || read(s->fd, &c, 1) > 0))
		wake_wrong(g, "%s %lu: not refused", s->type->name, s->sent);
	(void)close(s->fd);
	s->fd = -1;
}

/* The guest takes what was fired, or it is lost. */
void wake_settle(struct wake_guest *g, struct wake_event_source *s)
{
	unsigned int wanted = s->type->got ? 1 : 0;
	long until = wake_now_us(CLOCK_MONOTONIC) + WAKE_BOUND_US;

	while (wake_all_right(g) && wake_now_us(CLOCK_MONOTONIC) < until &&
	       !((g->woken || g->aborted) && g->got >= wanted))
		wake_pump(g, until);
	if (!g->woken && !g->aborted)
		wake_wrong(g, "LOST: %s %lu (sent %s; it got %u of it)",
			   g->fired->type->name, s->sent,
			   g->fired_asleep ? "to a sleeper" : "on its way down",
			   g->got);
	else if (g->got < wanted)
		wake_wrong(g, "LOST: %s %lu woke it and did not arrive",
			   s->type->name, s->sent);
	s->taken += g->aborted;
	if (s->type->kind == WAKE_CONNECTION)
		await_refusal(g, s);
	g->fired = NULL;
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

static bool source_init(struct wake_event_source *s, char *word,
			unsigned long count)
{
	char *where = strchr(word, '=');

	if (where)
		*where++ = '\0';
	*s = (struct wake_event_source){ .fd = -1,
					 .path = where,
					 .left = count };
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!strcmp(word, types[i].name))
			s->type = &types[i];
	}
	if (!s->type)
		return false;
	s->gpe = s->type->gpe;
	switch (s->type->kind) {
	case WAKE_FRAME:
		s->fd = where ? open_frames(where) : -1;
		return s->fd >= 0;
	case WAKE_BYTE:
		s->fd = where ? open(where, O_WRONLY | O_NOCTTY | O_CLOEXEC)
			      : -1;
		return s->fd >= 0;
	case WAKE_CONNECTION:
	case WAKE_DATA:
		return where;
	default:
		return true;
	}
}

/* GPEs of devices are their places in the list. */
static bool source_gpe(struct wake_guest *g, struct wake_event_source *s)
{
	const char *name = s->type->device;
	const json_t *dev = NULL;
	json_t *state;
	size_t i;

	if (!name)
		return true;
	state = wake_state(g);
	json_array_foreach(json_object_get(state, "devices"), i, dev)
	{
		if (!strcmp(json_string_value(json_object_get(dev, "name")),
			    name))
			s->gpe = 1U << i;
	}
	json_decref(state);
	return s->gpe;
}

int wake_guest_init(struct wake_guest *g, const char *socket,
		    struct wake_event_source *sources, char *const *words,
		    size_t nr, unsigned long count)
{
	int r;

	*g = (struct wake_guest){ .down_us = FIRST_DOWN_US,
				  .up_us = FIRST_UP_US };
	/* The guest goes to sleep: the VM is there. */
	while (!g->going && !g->ended)
		read_console(g, -1);
	r = torpor_connect(socket, WAKE_CALL_MS, &g->t);
	if (r == 0)
		r = torpor_events(g->t, WAKE_CALL_MS);
	if (r < 0) {
		printf("connect: %s\n", strerror(-r));
		return 1;
	}
	for (size_t i = 0; i < nr; i++) {
		if (source_init(&sources[i], words[i], count) &&
		    source_gpe(g, &sources[i]))
			continue;
		printf("%s: no such source, or it cannot be opened\n",
		       words[i]);
		return 1;
	}
	return 0;
}

/* For a person: where the VM is, and which sources are armed and latched. */
static void explain(struct wake_guest *g)
{
	char *state = NULL;

	if (torpor_call(g->t, "state", NULL, WAKE_CALL_MS, &state) == 0)
		fprintf(stderr, "%s\n", state);
	free(state);
}

int wake_guest_end(struct wake_guest *g,
		   const struct wake_event_source *sources, size_t nr)
{
	if (!wake_all_right(g))
		explain(g);
	for (size_t i = 0; i < nr; i++) {
		const struct wake_event_source *s = &sources[i];

		printf("%s events=%lu down=%lu taken=%lu\n", s->type->name,
		       s->sent, s->down, s->taken);
	}
	if (wake_all_right(g))
		printf("lost=0 spurious=0\n");
	else
		printf("%s\n", g->wrong);
	(void)torpor_stop(g->t, WAKE_CALL_MS);
	torpor_close(g->t);
	return !wake_all_right(g);
}
