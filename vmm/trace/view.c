/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a Chrome trace and finds the last cycle in it; see view.h. */
#include "vmm/trace/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/trace/trace.h"

#define NONE ((ptrdiff_t)-1)
/* 30 years: beyond that it is not a time, and sums of it need no care. */
#define MAX_US 1e15

/* -------------------------------------------------------------- reading */

static const char *text_of(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

static bool flag_of(const json_t *event, const char *key)
{
	return json_is_true(
		json_object_get(json_object_get(event, "args"), key));
}

/* Return: the lane of a thread, made if need be; NULL if there are too many. */
static struct trace_lane *lane_of(struct trace_view *view, const json_t *event)
{
	const json_t *tid = json_object_get(event, "tid");
	struct trace_lane *lane;

	if (!json_is_integer(tid))
		return NULL;
	for (unsigned int i = 0; i < view->nr_lanes; i++) {
		if (view->lanes[i].tid == json_integer_value(tid))
			return &view->lanes[i];
	}
	if (view->nr_lanes == TRACE_VIEW_MAX_LANES)
		return NULL;
	lane = &view->lanes[view->nr_lanes++];
	*lane = (struct trace_lane){ .tid = json_integer_value(tid),
				     .kind = TRACE_LANE_OTHER,
				     .top = NONE };
	return lane;
}

static enum trace_lane_kind kind_of(const char *category)
{
	static const char *const names[] = {
		[TRACE_LANE_POWER] = "power",
		[TRACE_LANE_REQUEST] = "request",
		[TRACE_LANE_GUEST] = "guest",
		[TRACE_LANE_VCPU] = "vcpu",
		[TRACE_LANE_DEVICE] = "device",
	};

	for (size_t i = 0; category && i < ARRAY_SIZE(names); i++) {
		if (!strcmp(category, names[i]))
			return (enum trace_lane_kind)i;
	}
	return TRACE_LANE_OTHER;
}

static int add_item(struct trace_view *view, struct trace_lane *lane,
		    const json_t *event, double us, bool instant)
{
	const json_t *args = json_object_get(event, "args");
	const char *name = text_of(event, "name");
	struct trace_item *item;

	if (view->nr_items == TRACE_VIEW_MAX_ITEMS)
		return 0;
	if (lane->nr == lane->cap) {
		size_t cap = MAX(lane->cap * 2, (size_t)64);

		item = realloc(lane->items, cap * sizeof(*item));
		if (!item)
			return -ENOMEM;
		lane->items = item;
		lane->cap = cap;
	}
	view->nr_items++;
	item = &lane->items[lane->nr];
	*item = (struct trace_item){ .name = name ? name : "",
				     .text = text_of(args, "text"),
				     .begin_us = us,
				     .end_us = us,
				     .instant = instant,
				     .cut = flag_of(event, "cut"),
				     .open = !instant,
				     .parent = lane->top };
	if (lane->top != NONE)
		item->depth = lane->items[lane->top].depth + !instant;
	if (!instant)
		lane->top = (ptrdiff_t)lane->nr;
	lane->nr++;
	return 0;
}

static void end_item(struct trace_lane *lane, const json_t *event, double us)
{
	struct trace_item *item;

	if (lane->top == NONE)
		return;
	item = &lane->items[lane->top];
	item->end_us = MAX(us, item->begin_us);
	item->open = flag_of(event, "open");
	if (!item->text)
		item->text = text_of(json_object_get(event, "args"), "text");
	lane->top = item->parent;
}

static int read_event(struct trace_view *view, const json_t *event,
		      double *last_us)
{
	const char *phase = text_of(event, "ph");
	double us = json_number_value(json_object_get(event, "ts"));
	struct trace_lane *lane;

	if (!phase || !strchr("BEiIM", *phase) || !*phase)
		return 0;
	lane = lane_of(view, event);
	if (!lane)
		return 0;
	if (*phase == 'M') {
		const char *name = text_of(event, "name");

		if (name && !strcmp(name, "thread_name"))
			lane->name =
				text_of(json_object_get(event, "args"), "name");
		return 0;
	}
	if (!json_is_number(json_object_get(event, "ts")) ||
	    !(us >= -MAX_US && us <= MAX_US))
		return 0;
	if (lane->kind == TRACE_LANE_OTHER)
		lane->kind = kind_of(text_of(event, "cat"));
	*last_us = MAX(*last_us, us);
	if (*phase != 'E')
		return add_item(view, lane, event, us, *phase != 'B');
	end_item(lane, event, us);
	return 0;
}

static int compare_items(const void *a, const void *b)
{
	const struct trace_item *x = a, *y = b;

	if (x->begin_us != y->begin_us)
		return x->begin_us < y->begin_us ? -1 : 1;
	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	/* One after the other at the same instant: in the order of time. */
	return (x->end_us > y->end_us) - (x->end_us < y->end_us);
}

static int compare_lanes(const void *a, const void *b)
{
	const struct trace_lane *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

static void settle(struct trace_view *view, double last_us)
{
	for (unsigned int i = 0; i < view->nr_lanes; i++) {
		struct trace_lane *lane = &view->lanes[i];

		for (; lane->top != NONE;
		     lane->top = lane->items[lane->top].parent)
			lane->items[lane->top].end_us = last_us;
		if (lane->nr > 1)
			qsort(lane->items, lane->nr, sizeof(*lane->items),
			      compare_items);
	}
	qsort(view->lanes, view->nr_lanes, sizeof(*view->lanes), compare_lanes);
}

/* --------------------------------------------------------- the last cycle */

bool trace_is_state(const char *name)
{
	return !strcmp(name, TRACE_STATE_RUNNING) ||
	       !strcmp(name, TRACE_STATE_SUSPENDING) ||
	       !strcmp(name, TRACE_STATE_SUSPENDED) ||
	       !strcmp(name, TRACE_STATE_RESUMING);
}

static const struct trace_lane *find_lane(const struct trace_view *view,
					  enum trace_lane_kind kind)
{
	for (unsigned int i = 0; i < view->nr_lanes; i++) {
		if (view->lanes[i].kind == kind && view->lanes[i].nr > 0)
			return &view->lanes[i];
	}
	return NULL;
}

struct cycle { /* spans of its states, NULL where there is none */
	const struct trace_item *down, *asleep, *up;
};

static bool find_cycle(const struct trace_lane *power, struct cycle *ret)
{
	struct cycle now = { NULL }, part = { NULL }, whole = { NULL };

	for (size_t i = 0; power && i < power->nr; i++) {
		const struct trace_item *s = &power->items[i];

		if (s->instant || !trace_is_state(s->name))
			continue;
		if (!strcmp(s->name, TRACE_STATE_SUSPENDING)) {
			now = (struct cycle){ .down = s->cut ? NULL : s };
		} else if (!strcmp(s->name, TRACE_STATE_SUSPENDED)) {
			now.asleep = s;
		} else if (!strcmp(s->name, TRACE_STATE_RESUMING) &&
			   now.asleep) {
			now.up = s->open ? NULL : s;
		} else {
			now = (struct cycle){ NULL };
		}
		if (now.asleep && (now.down || now.up))
			part = now;
		if (now.down && now.asleep && now.up)
			whole = now;
	}
	*ret = whole.asleep ? whole : part;
	return ret->asleep;
}

/* The earliest span of @lane that led to what happened at @us. */
static double led_to(const struct trace_lane *lane, const char *name, double us)
{
	for (size_t i = 0; lane && i < lane->nr; i++) {
		const struct trace_item *item = &lane->items[i];

		if (!item->instant && !item->cut && item->begin_us <= us &&
		    item->end_us > us && (!name || !strcmp(item->name, name)))
			return item->begin_us;
	}
	return us;
}

static void find_wake(struct trace_view *view, const struct trace_lane *power,
		      const struct cycle *cycle)
{
	view->source = cycle->up->text;
	for (size_t i = 0; i < power->nr; i++) {
		const struct trace_item *item = &power->items[i];

		if (!item->instant || strcmp(item->name, TRACE_WAKE) != 0 ||
		    item->begin_us < cycle->asleep->begin_us ||
		    item->begin_us > cycle->up->end_us)
			continue;
		if (item->text)
			view->source = item->text;
		view->up.begin_us = MIN(item->begin_us, cycle->up->begin_us);
		return;
	}
}

static int find_halves(struct trace_view *view)
{
	const struct trace_lane *power = find_lane(view, TRACE_LANE_POWER);
	struct cycle cycle;

	if (!find_cycle(power, &cycle))
		return -ENODATA;
	view->kind = cycle.asleep->text;
	if (cycle.down) {
		double us = cycle.down->begin_us;
		double sign = led_to(find_lane(view, TRACE_LANE_GUEST),
				     TRACE_FREEZES_DRIVERS, us);
		double request =
			led_to(find_lane(view, TRACE_LANE_REQUEST), NULL, us);

		view->requested = request < us;
		view->down = (struct trace_half){
			.there = true,
			.begin_us = request < sign ? request : sign,
			.end_us = cycle.asleep->begin_us,
		};
	}
	if (cycle.up) {
		view->up = (struct trace_half){ .there = true,
						.begin_us = cycle.up->begin_us,
						.end_us = cycle.up->end_us };
		find_wake(view, power, &cycle);
	}
	return 0;
}

int trace_view_read(struct trace_view *view, const json_t *trace)
{
	const json_t *events = json_object_get(trace, "traceEvents");
	double last_us = -MAX_US;
	size_t i;
	json_t *event;

	*view = (struct trace_view){
		.vm = text_of(json_object_get(trace, "otherData"), "vm")
	};
	if (!json_is_array(events))
		return -EPROTO;
	json_array_foreach(events, i, event)
	{
		int r = read_event(view, event, &last_us);

		if (r < 0)
			return r;
	}
	settle(view, last_us);
	return find_halves(view);
}

void trace_view_finish(struct trace_view *view)
{
	for (unsigned int i = 0; i < view->nr_lanes; i++)
		free(TAKE(view->lanes[i].items));
	view->nr_lanes = 0;
}

/* ---------------------------------------------------------------- names */

/* Decodes what jansson has checked to be UTF-8. Return: bytes used. */
static size_t decode(const char *s, uint32_t *ret)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = *u < 0x80 ? 1 : *u < 0xe0 ? 2 : *u < 0xf0 ? 3 : 4;

	*ret = len == 1 ? *u : *u & (0xffU >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return i;
		*ret = *ret << 6 | (u[i] & 0x3f);
	}
	return len;
}

/* Moves the cursor, the direction of writing, or is not allowed in XML. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c & 0xfffe) == 0xfffe;
}

const char *trace_clean(const char *text, char *buf, size_t size,
			unsigned int max)
{
	size_t len = 0;

	for (unsigned int nr = 0; *text; nr++) {
		uint32_t c;
		size_t used = decode(text, &c);

		if (nr == max || len + used + sizeof("...") > size) {
			/* The last three give way. */
			memcpy(buf + len, "...", 3);
			len += 3;
			break;
		}
		if (is_control(c)) {
			buf[len++] = '?';
		} else {
			memcpy(buf + len, text, used);
			len += used;
		}
		text += used;
	}
	buf[len] = '\0';
	return buf;
}

const char *trace_lane_name(const struct trace_lane *lane, char *buf,
			    size_t size)
{
	if (lane->name && *lane->name)
		return trace_clean(lane->name, buf, size, 14);
	(void)snprintf(buf, size, "track %lld", (long long)lane->tid);
	return buf;
}
