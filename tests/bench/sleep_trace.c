/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/sleep_trace.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <string.h>

#include "vmm/trace.h"

struct reader {
	struct sleep_trace *s;
	uint64_t origin;
	uint64_t begin[8]; /* of the open span of phases[] */
};

/* Spans whose length is wanted: the sum, as some come several times. */
static const struct phase {
	const char *cat, *name;
	size_t offset;
} phases[] = {
#define PHASE(cat, name, field)                                \
	{                                                      \
		cat, name, offsetof(struct sleep_trace, field) \
	}
	PHASE("guest", TRACE_FREEZES_DRIVERS, freezes_drivers),
	PHASE("guest", TRACE_FREEZES_CPUS, freezes_cpus),
	PHASE("power", TRACE_CENSUS, census),
	PHASE("power", TRACE_STOP_DEVICES, devices_stop),
	PHASE("power", TRACE_FINAL_CENSUS, final_census),
	PHASE("power", TRACE_START_DEVICES, devices_restart),
#undef PHASE
};
#define NR_PHASES (sizeof(phases) / sizeof(phases[0]))

static void take_span(struct reader *r, const char *cat, const char *name,
		      char kind, uint64_t ns)
{
	for (size_t i = 0; i < NR_PHASES; i++) {
		uint64_t *sum = (uint64_t *)((char *)r->s + phases[i].offset);

		if (strcmp(cat, phases[i].cat) != 0 ||
		    strcmp(name, phases[i].name) != 0)
			continue;
		if (kind == 'B')
			r->begin[i] = ns;
		else if (kind == 'E')
			*sum += ns - r->begin[i];
	}
}

static void take_event(struct reader *r, const char *cat, const char *name,
		       char kind, uint64_t ns)
{
	struct sleep_trace *s = r->s;

	take_span(r, cat, name, kind, ns);
	if (strcmp(cat, "request") == 0 && strcmp(name, TRACE_SUSPEND) == 0 &&
	    kind == 'B')
		s->request = ns;
	else if (strcmp(cat, "vcpu") == 0) {
		if (strcmp(name, TRACE_PARK) == 0 && kind == 'E' && s->let_go &&
		    !s->first_run)
			s->first_run = ns;
	} else if (strcmp(name, TRACE_STATE_SUSPENDED) == 0 && kind == 'B')
		s->asleep = ns;
	else if (strcmp(name, TRACE_CENSUS) == 0 && kind == 'B')
		s->nr_census++;
	else if (strcmp(name, TRACE_WAKE) == 0 && kind == 'i' && s->asleep)
		s->wake = ns;
	else if (strcmp(name, TRACE_LET_GO) == 0 && s->wake && !s->let_go)
		s->let_go = ns;
	else if (strcmp(name, TRACE_LPS0_EXIT) == 0 && s->wake && !s->lps0_exit)
		s->lps0_exit = ns;
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
