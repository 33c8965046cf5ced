/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events for control clients. A guest can make them as fast as it likes, so
 * there is a rate. Beyond it the last event of each kind, device and wake
 * source is held back, with the number of those before it that were left out;
 * what is held goes out in the order of time, as the rate allows. So whoever
 * listens knows the last state, late by some milliseconds. A client that does
 * not read loses events as well, and is told how many. Main loop only.
 */
#include <errno.h>
#include <string.h>

#include "vmm/control/internal.h"

#define EVENT_NS     500000ULL /* 2000 a second */
#define EVENT_BURST  2000
#define EVENT_MAX_NS (EVENT_BURST * EVENT_NS)

struct control_held {
	struct control_held *next;
	const char *name;
	json_t *data;
	uint64_t time_ns, coalesced;
};

static struct client *first_listener(const struct control *ctl)
{
	for (struct client *c = ctl->clients; c; c = c->next) {
		if (c->events && !c->dead)
			return c;
	}
	return NULL;
}

/* A client that has taken all, or most: what it has not got. */
static void tell_lost(struct client *c)
{
	json_int_t lost = (json_int_t)c->lost;

	c->lost = 0;
	control_client_send_json(c, json_pack("{s:s, s:I, s:{s:I}}", "event",
					      "EVENTS_LOST", "time_ns",
					      (json_int_t)time_boot_ns(),
					      "data", "count", lost));
}

void control_events_resume(struct client *c)
{
	if (c->lost && !c->dead && !c->gone)
		tell_lost(c);
}

static void send_to(struct client *c, const char *line, size_t len)
{
	if (control_client_backlog(c) + len > CONTROL_EVENTS_LOST) {
		c->lost++;
		return;
	}
	if (c->lost)
		tell_lost(c);
	control_client_send(c, line, len);
}

/* @event->data: stolen */
static void send_event(struct control *ctl, const struct control_held *event)
{
	_cleanup_free_ char *line = NULL;
	json_t *obj =
		json_pack("{s:s, s:I, s:o}", "event", event->name, "time_ns",
			  (json_int_t)event->time_ns, "data", event->data);

	if (obj && event->coalesced)
		(void)json_object_set_new(
			obj, "coalesced",
			json_integer((json_int_t)event->coalesced));
	line = control_dump(obj);
	if (!line) {
		log_err("control: event %s lost: no memory", event->name);
		return;
	}
	ctl->depth++;
	for (struct client *c = first_listener(ctl); c; c = c->next) {
		if (c->events)
			send_to(c, line, strlen(line));
	}
	ctl->depth--;
	control_reap(ctl);
}

/* ------------------------------------------------------------------ rate */

static bool take_token(struct control *ctl)
{
	uint64_t now_ns = time_boot_ns();
	uint64_t passed_ns = now_ns - ctl->event_refill_ns;

	ctl->event_refill_ns = now_ns;
	ctl->event_tokens_ns =
		MIN(ctl->event_tokens_ns + passed_ns, EVENT_MAX_NS);
	if (ctl->event_tokens_ns < EVENT_NS)
		return false;
	ctl->event_tokens_ns -= EVENT_NS;
	return true;
}

static void send_first_held(struct control *ctl)
{
	struct control_held *event = ctl->held;

	ctl->held = event->next;
	send_event(ctl, event);
	free(event);
}

static void on_event_timer(struct loop_timer *timer)
{
	struct control *ctl = container_of(timer, struct control, event_timer);

	while (ctl->held && take_token(ctl))
		send_first_held(ctl);
	if (ctl->held)
		loop_timer_set(ctl->loop, timer, EVENT_NS, on_event_timer);
}

static bool same_of(const char *key, const json_t *a, const json_t *b)
{
	json_t *one = json_object_get(a, key), *other = json_object_get(b, key);

	return one == other || json_equal(one, other);
}

static bool same_kind(const struct control_held *event, const char *name,
		      const json_t *data)
{
	return !strcmp(event->name, name) &&
	       same_of("device", event->data, data) &&
	       same_of("source", event->data, data);
}

/* Takes the place of an earlier one, at the end. */
static void hold(struct control *ctl, const char *name, json_t *data)
{
	struct control_held **p = &ctl->held, *event;

	while (*p && !same_kind(*p, name, data))
		p = &(*p)->next;
	event = *p;
	if (event) {
		*p = event->next;
		json_decref(event->data);
		event->coalesced++;
	} else {
		event = calloc(1, sizeof(*event));
	}
	if (!event) {
		json_decref(data);
		log_err("control: event %s lost: no memory", name);
		return;
	}
	event->name = name;
	event->data = data;
	event->time_ns = time_boot_ns();
	event->next = NULL;
	while (*p)
		p = &(*p)->next;
	*p = event;
	if (!ctl->event_timer.deadline_ns)
		loop_timer_set(ctl->loop, &ctl->event_timer, EVENT_NS,
			       on_event_timer);
}

void control_event(struct control *ctl, const char *name, json_t *data)
{
	if (!first_listener(ctl)) {
		json_decref(data);
		return;
	}
	if (!data)
		data = json_object();
	if (ctl->held || !take_token(ctl)) {
		hold(ctl, name, data);
		return;
	}
	send_event(ctl, &(struct control_held){ .name = name,
						.data = data,
						.time_ns = time_boot_ns() });
}

void control_events_finish(struct control *ctl)
{
	loop_timer_cancel(ctl->loop, &ctl->event_timer);
	while (ctl->held)
		send_first_held(ctl);
}
