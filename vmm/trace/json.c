/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the ring to the Chrome trace format; see json.h. First the events
 * become pieces, whose spans nest and balance on every track; then the pieces
 * from some index on are written.
 */
#include "vmm/trace/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/loop.h"
#include "vmm/base/util.h"

#define NONE (-1)

struct piece {
	const struct trace_event *event;
	uint64_t time_ns;
	char phase; /* 'B', 'E' or 'i' */
	bool cut;   /* B: it began earlier */
	bool open;  /* E: it is not over */
	int below;  /* B: the span around it, or NONE */
	int end;    /* B: its E */
};

struct pieces {
	struct piece *piece; /* room for two an event */
	int nr;
	int top[TRACE_NR_TRACKS]; /* innermost open span of each track */
	/* Spans that ended with one around them; their own ends may come. */
	unsigned int owed[TRACE_NR_TRACKS];
};

static void reset(struct pieces *p)
{
	p->nr = 0;
	for (unsigned int i = 0; i < TRACE_NR_TRACKS; i++) {
		p->top[i] = NONE;
		p->owed[i] = 0;
	}
}

static struct piece *add(struct pieces *p, const struct trace_event *event,
			 uint64_t time_ns, char phase)
{
	struct piece *piece = &p->piece[p->nr];

	*piece = (struct piece){ .event = event,
				 .time_ns = time_ns,
				 .phase = phase,
				 .below = p->top[event->track] };
	if (phase == 'B')
		p->top[event->track] = p->nr;
	p->nr++;
	return piece;
}

/* Ends the innermost span of a track, by @end if it has one. */
static struct piece *pop(struct pieces *p, unsigned int track,
			 const struct trace_event *end, uint64_t time_ns)
{
	struct piece *begin = &p->piece[p->top[track]];

	begin->end = p->nr;
	p->top[track] = begin->below;
	return add(p, end ? end : begin->event, time_ns, 'E');
}

/* Return: the open span that @end ends, or NONE. */
static int find_open(const struct pieces *p, const struct trace_event *end)
{
	int i = p->top[end->track];

	while (i != NONE && strcmp(p->piece[i].event->name, end->name) != 0)
		i = p->piece[i].below;
	return i;
}

/* Return: false for an end whose begin is not known. */
static bool take_event(struct pieces *p, const struct trace_event *event)
{
	unsigned int track = event->track;
	int begin;

	if (event->kind != TRACE_END) {
		(void)add(p, event, event->time_ns,
			  event->kind == TRACE_BEGIN ? 'B' : 'i');
		return true;
	}
	begin = find_open(p, event);
	if (begin == NONE) {
		if (!p->owed[track])
			return false;
		p->owed[track]--;
		return true;
	}
	while (p->top[track] != begin) {
		(void)pop(p, track, NULL, event->time_ns);
		p->owed[track]++;
	}
	(void)pop(p, track, event, event->time_ns);
	return true;
}

/*
 * Spans whose begin was overwritten: ends without one that find no other span
 * open. They were open when the ring begins; the first to end is the innermost.
 */
static int add_lost_begins(struct pieces *p, const struct trace_event *events,
			   unsigned int nr)
{
	_cleanup_free_ unsigned int *found = calloc(nr, sizeof(*found));
	unsigned int nr_found = 0;

	if (!found)
		return -ENOMEM;
	for (unsigned int i = 0; i < nr; i++) {
		if (!take_event(p, &events[i]) &&
		    p->top[events[i].track] == NONE)
			found[nr_found++] = i;
	}
	reset(p);
	while (nr_found > 0)
		add(p, &events[found[--nr_found]], events[0].time_ns, 'B')
			->cut = true;
	return 0;
}

static int make_pieces(struct pieces *p, const struct trace_event *events,
		       unsigned int nr, uint64_t lost, uint64_t now_ns)
{
	int r = 0;

	reset(p);
	if (lost)
		r = add_lost_begins(p, events, nr);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < nr; i++)
		(void)take_event(p, &events[i]);
	for (unsigned int track = 0; track < TRACE_NR_TRACKS; track++) {
		while (p->top[track] != NONE)
			pop(p, track, NULL, now_ns)->open = true;
	}
	return 0;
}

/* ----------------------------------------------------------- where to begin */

static bool is(const struct piece *piece, unsigned int track, const char *name)
{
	return piece->event->track == track &&
	       !strcmp(piece->event->name, name);
}

/*
 * The first piece of the last @cycles cycles. What led to the first of them
 * belongs to it: its request, and the guest's beginning.
 */
static int find_cycles(const struct pieces *p, unsigned int cycles)
{
	int first = p->nr, request = NONE, guest = NONE, start = 0;

	if (!cycles)
		return 0;
	while (first > 0 && cycles > 0) {
		const struct piece *piece = &p->piece[--first];

		if (piece->phase == 'B' &&
		    is(piece, TRACE_POWER, TRACE_STATE_SUSPENDING))
			cycles--;
	}
	if (cycles > 0)
		return 0;
	start = first;
	for (int i = 0; i < first; i++) {
		const struct piece *piece = &p->piece[i];
		bool begin = piece->phase == 'B';

		if (piece->phase == 'i')
			continue;
		if (piece->event->track == TRACE_REQUEST && !begin)
			request = NONE;
		else if (piece->event->track == TRACE_REQUEST &&
			 request == NONE)
			request = i;
		if (is(piece, TRACE_GUEST, TRACE_FREEZES_DRIVERS))
			guest = begin ? i : NONE;
	}
	if (request != NONE)
		start = MIN(start, request);
	if (guest != NONE)
		start = MIN(start, guest);
	return start;
}

/* ---------------------------------------------------------------- writing */

static json_t *string(const char *s)
{
	json_t *j = json_string(s);

	return j ? j : json_string("?"); /* not UTF-8 */
}

static const char *category(unsigned int track)
{
	static const char *const names[] = { "power", "request", "guest" };

	if (track < ARRAY_SIZE(names))
		return names[track];
	return track < TRACE_DEVICE(0) ? "vcpu" : "device";
}

static int tid_of(unsigned int track)
{
	return (int)track + 1;
}

static json_t *args_of(const struct piece *piece)
{
	json_t *args = json_object();

	if (piece->event->text)
		(void)json_object_set_new(args, "text",
					  string(piece->event->text));
	if (piece->event->value != TRACE_NO_VALUE)
		(void)json_object_set_new(args, "value",
					  json_integer(piece->event->value));
	if (piece->cut)
		(void)json_object_set_new(args, "cut", json_true());
	if (piece->open)
		(void)json_object_set_new(args, "open", json_true());
	return args;
}

static int write_piece(json_t *list, const struct piece *piece,
		       uint64_t origin_ns, int pid)
{
	unsigned int track = piece->event->track;
	const char phase[] = { piece->phase, '\0' };
	json_t *args, *obj;

	obj = json_pack("{s:o, s:s, s:s, s:f, s:i, s:i}", "name",
			string(piece->event->name), "cat", category(track),
			"ph", phase, "ts",
			(double)(piece->time_ns - origin_ns) / 1000.0, "pid",
			pid, "tid", tid_of(track));
	if (!obj)
		return -ENOMEM;
	if (piece->phase == 'i')
		(void)json_object_set_new(obj, "s", json_string("t"));
	args = args_of(piece);
	if (json_object_size(args) > 0)
		(void)json_object_set(obj, "args", args);
	json_decref(args);
	return json_array_append_new(list, obj);
}

static int write_name(json_t *list, const char *what, const char *name, int pid,
		      int tid)
{
	return json_array_append_new(
		list, json_pack("{s:s, s:s, s:i, s:i, s:{s:o}}", "name", what,
				"ph", "M", "pid", pid, "tid", tid, "args",
				"name", string(name)));
}

static int write_order(json_t *list, int pid, int tid)
{
	return json_array_append_new(
		list, json_pack("{s:s, s:s, s:i, s:i, s:{s:i}}", "name",
				"thread_sort_index", "ph", "M", "pid", pid,
				"tid", tid, "args", "sort_index", tid));
}

static void track_name(const struct trace *trace, unsigned int track, char *buf,
		       size_t size)
{
	const char *name;

	if (track < TRACE_VCPU(0)) {
		(void)snprintf(buf, size, "%s", category(track));
		return;
	}
	if (track < TRACE_DEVICE(0)) {
		(void)snprintf(buf, size, "vcpu%u", track - TRACE_VCPU(0));
		return;
	}
	name = trace->devices[track - TRACE_DEVICE(0)];
	if (name)
		(void)snprintf(buf, size, "%s", name);
	else
		(void)snprintf(buf, size, "device%u", track - TRACE_DEVICE(0));
}

static int write_names(json_t *list, const struct trace *trace,
		       const struct trace_json_options *options,
		       const bool *used)
{
	char name[128];
	int r;

	(void)snprintf(name, sizeof(name), "torpor %s", options->vm);
	r = write_name(list, "process_name", name, options->pid, 0);
	for (unsigned int i = 0; i < TRACE_NR_TRACKS && r == 0; i++) {
		if (!used[i])
			continue;
		track_name(trace, i, name, sizeof(name));
		r = write_name(list, "thread_name", name, options->pid,
			       tid_of(i));
		if (r == 0)
			r = write_order(list, options->pid, tid_of(i));
	}
	return r;
}

/* Pieces from @first on; a span that is open there begins there. */
static json_t *write_from(const struct trace *trace,
			  const struct trace_json_options *options,
			  const struct pieces *p, int first, uint64_t origin_ns)
{
	json_t *list = json_array();
	bool used[TRACE_NR_TRACKS] = { false };
	int r;

	for (int i = first; i < p->nr; i++)
		used[p->piece[i].event->track] = true;
	r = write_names(list, trace, options, used);
	for (int i = 0; i < first && r == 0; i++) {
		struct piece piece = p->piece[i];

		if (piece.phase != 'B' || piece.end < first)
			continue;
		piece.cut = true;
		piece.time_ns = origin_ns;
		r = write_piece(list, &piece, origin_ns, options->pid);
	}
	for (int i = first; i < p->nr && r == 0; i++)
		r = write_piece(list, &p->piece[i], origin_ns, options->pid);
	if (r == 0)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *write_all(const struct trace *trace,
			 const struct trace_json_options *options,
			 const struct pieces *p, uint64_t lost, uint64_t now_ns)
{
	int start = find_cycles(p, options->cycles), first = start;

	for (;;) {
		uint64_t origin_ns =
			first < p->nr ? p->piece[first].time_ns : now_ns;
		json_t *list = write_from(trace, options, p, first, origin_ns);
		json_t *all = json_pack(
			"{s:o, s:s, s:{s:o, s:s, s:s, s:I, s:I, s:I, s:i}}",
			"traceEvents", list, "displayTimeUnit", "ms",
			"otherData", "vm", string(options->vm), "torpor",
			TORPOR_VERSION, "clock", "CLOCK_BOOTTIME", "origin_ns",
			(json_int_t)origin_ns, "end_ns", (json_int_t)now_ns,
			"lost", (json_int_t)lost, "left_out", first - start);

		/* A list that is NULL makes it NULL. */
		if (!all || first == p->nr ||
		    json_dumpb(all, NULL, 0, JSON_COMPACT) <=
			    options->max_bytes)
			return all;
		json_decref(all);
		first = p->nr - (p->nr - first) / 2;
	}
}

json_t *trace_json(struct trace *trace,
		   const struct trace_json_options *options)
{
	_cleanup_free_ struct trace_event *events =
		calloc(TRACE_MAX_EVENTS, sizeof(*events));
	_cleanup_free_ struct piece *room =
		calloc(2UL * TRACE_MAX_EVENTS, sizeof(*room));
	_cleanup_free_ struct pieces *p = calloc(1, sizeof(*p));
	uint64_t lost, now_ns;
	unsigned int nr;

	if (!events || !room || !p)
		return NULL;
	p->piece = room;
	nr = trace_copy(trace, events, &lost);
	now_ns = time_boot_ns();
	if (make_pieces(p, events, nr, lost, now_ns) < 0)
		return NULL;
	return write_all(trace, options, p, lost, now_ns);
}
