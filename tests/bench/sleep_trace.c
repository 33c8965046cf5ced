/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/sleep_trace.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "vmm/trace/trace.h"

struct reader {
	struct sleep_trace *s;
	uint64_t origin;
	uint64_t begin[8]; /* of the open span of phases[] */
};

/* Spans whose length is wanted: the sum, as some come several times. */
static const struct phase {
	const char *cat, *name;
	size_t offset;
	bool up; /* after the wake event */
} phases[] = {
#define PHASE(cat, name, field, up)                                \
	{                                                          \
		cat, name, offsetof(struct sleep_trace, field), up \
	}
	PHASE("guest", TRACE_FREEZES_DRIVERS, freezes_drivers, false),
	PHASE("guest", TRACE_FREEZES_CPUS, freezes_cpus, false),
	PHASE("power", TRACE_CENSUS, census, false),
	PHASE("power", TRACE_STOP_DEVICES, devices_stop, false),
	PHASE("power", TRACE_FINAL_CENSUS, final_census, false),
	PHASE("power", TRACE_START_DEVICES, devices_restart, true),
#undef PHASE
};
#define NR_PHASES (sizeof(phases) / sizeof(phases[0]))

static void take_span(struct reader *r, const char *cat, const char *name,
		      char kind, uint64_t ns)
{
	for (size_t i = 0; i < NR_PHASES; i++) {
		uint64_t *sum = (uint64_t *)((char *)r->s + phases[i].offset);

		if (strcmp(cat, phases[i].cat) != 0 ||
		    strcmp(name, phases[i].name) != 0 ||
		    phases[i].up != (r->s->wake != 0))
			continue;
		if (kind == 'B')
			r->begin[i] = ns;
		else if (kind == 'E' && r->begin[i])
			*sum += ns - r->begin[i];
	}
}

static void take_power(struct sleep_trace *s, const char *name, char kind,
		       uint64_t ns)
{
	if (kind == 'B' && strcmp(name, TRACE_STATE_SUSPENDED) == 0 && !s->wake)
		s->asleep = ns;
	if (kind == 'B' && strcmp(name, TRACE_CENSUS) == 0 && !s->wake)
		s->nr_census++;
	if (kind == 'B' && strcmp(name, TRACE_STATE_SUSPENDING) == 0 && s->wake)
		s->nr_relapses++;
	if (kind == 'i' && strcmp(name, TRACE_WAKE) == 0 && s->asleep &&
	    !s->wake)
		s->wake = ns;
	if (kind == 'i' && strcmp(name, TRACE_LET_GO) == 0 && s->wake &&
	    !s->let_go)
		s->let_go = ns;
}

static void take_event(struct reader *r, const char *cat, const char *name,
		       char kind, uint64_t ns)
{
	struct sleep_trace *s = r->s;

	if (strcmp(cat, "request") == 0 && strcmp(name, TRACE_SUSPEND) == 0 &&
	    kind == 'B') {
		*s = (struct sleep_trace){ .request = ns };
		memset(r->begin, 0, sizeof(r->begin));
	}
	take_span(r, cat, name, kind, ns);
	if (strcmp(cat, "power") == 0)
		take_power(s, name, kind, ns);
	else if (strcmp(cat, "guest") == 0 &&
		 strcmp(name, TRACE_LPS0_EXIT) == 0 && s->wake && !s->lps0_exit)
		s->lps0_exit = ns;
	else if (strcmp(cat, "vcpu") == 0 && strcmp(name, TRACE_PARK) == 0 &&
		 kind == 'E' && s->let_go && !s->first_run)
		s->first_run = ns;
}

int sleep_trace_parse(struct sleep_trace *s, const char *reply)
{
	json_t *root = json_loads(reply, 0, NULL);
	json_t *result = json_object_get(root, "result");
	json_t *events = json_object_get(result, "traceEvents"), *event;
	struct reader r = { .s = s };
	size_t i;

	memset(s, 0, sizeof(*s));
	r.origin = (uint64_t)json_integer_value(json_object_get(
		json_object_get(result, "otherData"), "origin_ns"));
	json_array_foreach(events, i, event)
	{
		const char *cat =
			json_string_value(json_object_get(event, "cat"));
		const char *name =
			json_string_value(json_object_get(event, "name"));
		const char *kind =
			json_string_value(json_object_get(event, "ph"));
		double us = json_number_value(json_object_get(event, "ts"));

		if (cat && name && kind)
			take_event(&r, cat, name, kind[0],
				   r.origin + (uint64_t)(us * 1000));
	}
	json_decref(root);
	return s->request && s->asleep && s->wake && s->let_go && s->lps0_exit
		       ? 0
		       : -EPROTO;
}
