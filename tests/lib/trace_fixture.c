/* SPDX-License-Identifier: BSD-3-Clause */
/* See trace_fixture.h. */
#include "tests/lib/trace_fixture.h"

void fixture_add(struct trace *t, double us, enum trace_kind kind,
		 unsigned int track, const char *name, const char *text)
{
	uint64_t slot = t->count % TRACE_MAX_EVENTS;

	trace_record(t, kind, track, name, text, TRACE_NO_VALUE);
	t->ring[slot].time_ns = FIXTURE_ORIGIN_NS + (uint64_t)(us * 1000.0);
}

/* From the request to SUSPENDED, in the time of a slow guest. */
const struct fixture_line fixture_down[FIXTURE_DOWN] = {
	{ 0, TRACE_BEGIN, TRACE_REQUEST, TRACE_SUSPEND, NULL },
	{ 0.4, TRACE_END, TRACE_POWER, TRACE_STATE_RUNNING, NULL },
	{ 0.4, TRACE_BEGIN, TRACE_POWER, TRACE_STATE_SUSPENDING, NULL },
	{ 0.5, TRACE_BEGIN, TRACE_GUEST, TRACE_FREEZES_DRIVERS, NULL },
	{ 120, TRACE_BEGIN, TRACE_DEVICE(1), TRACE_ARM, NULL },
	{ 121, TRACE_END, TRACE_DEVICE(1), TRACE_ARM, NULL },
	{ 200.5, TRACE_END, TRACE_GUEST, TRACE_FREEZES_DRIVERS, NULL },
	{ 200.5, TRACE_INSTANT, TRACE_GUEST, TRACE_LPS0_ENTRY, NULL },
	{ 200.5, TRACE_BEGIN, TRACE_GUEST, TRACE_FREEZES_CPUS, NULL },
	{ 230, TRACE_BEGIN, TRACE_VCPU(1), TRACE_PARK, NULL },
	{ 260, TRACE_BEGIN, TRACE_VCPU(0), TRACE_PARK, NULL },
	{ 260, TRACE_END, TRACE_GUEST, TRACE_FREEZES_CPUS, NULL },
	{ 260, TRACE_BEGIN, TRACE_POWER, TRACE_CENSUS, NULL },
	{ 261, TRACE_INSTANT, TRACE_VCPU(0), "quiet", NULL },
	{ 261.5, TRACE_INSTANT, TRACE_VCPU(1), "quiet", NULL },
	{ 262, TRACE_END, TRACE_POWER, TRACE_CENSUS, NULL },
	{ 262, TRACE_BEGIN, TRACE_POWER, TRACE_STOP_DEVICES, NULL },
	{ 262, TRACE_BEGIN, TRACE_DEVICE(0), TRACE_DRAIN, NULL },
	{ 262, TRACE_BEGIN, TRACE_DEVICE(1), TRACE_DRAIN, NULL },
	{ 264, TRACE_END, TRACE_DEVICE(1), TRACE_DRAIN, NULL },
	{ 292, TRACE_END, TRACE_DEVICE(0), TRACE_DRAIN, NULL },
	{ 292, TRACE_END, TRACE_POWER, TRACE_STOP_DEVICES, NULL },
	{ 292, TRACE_BEGIN, TRACE_POWER, TRACE_FINAL_CENSUS, NULL },
	{ 294, TRACE_END, TRACE_POWER, TRACE_FINAL_CENSUS, NULL },
	{ 300.4, TRACE_END, TRACE_POWER, TRACE_STATE_SUSPENDING, NULL },
	{ 300.4, TRACE_BEGIN, TRACE_POWER, TRACE_STATE_SUSPENDED, "s2idle" },
	{ 300.5, TRACE_END, TRACE_REQUEST, TRACE_SUSPEND, "asleep" },
};

/* From the wake event to RUNNING, counted from the event. */
const struct fixture_line fixture_up[FIXTURE_UP] = {
	{ 0, TRACE_INSTANT, TRACE_POWER, TRACE_WAKE, "net0" },
	{ 0.1, TRACE_END, TRACE_POWER, TRACE_STATE_SUSPENDED, NULL },
	{ 0.1, TRACE_BEGIN, TRACE_POWER, TRACE_STATE_RESUMING, NULL },
	{ 0.2, TRACE_BEGIN, TRACE_POWER, TRACE_START_DEVICES, NULL },
	{ 0.2, TRACE_BEGIN, TRACE_DEVICE(0), TRACE_RESTART, NULL },
	{ 0.3, TRACE_BEGIN, TRACE_DEVICE(1), TRACE_RESTART, NULL },
	{ 2, TRACE_END, TRACE_DEVICE(0), TRACE_RESTART, NULL },
	{ 4, TRACE_END, TRACE_DEVICE(1), TRACE_RESTART, NULL },
	{ 4, TRACE_END, TRACE_POWER, TRACE_START_DEVICES, NULL },
	{ 4.1, TRACE_INSTANT, TRACE_POWER, TRACE_LET_GO, NULL },
	{ 4.1, TRACE_BEGIN, TRACE_GUEST, TRACE_THAWS_CPUS, NULL },
	{ 4.2, TRACE_END, TRACE_VCPU(0), TRACE_PARK, NULL },
	{ 4.9, TRACE_END, TRACE_VCPU(1), TRACE_PARK, NULL },
	{ 19, TRACE_END, TRACE_GUEST, TRACE_THAWS_CPUS, NULL },
	{ 19, TRACE_INSTANT, TRACE_GUEST, TRACE_LPS0_EXIT, NULL },
	{ 20, TRACE_END, TRACE_POWER, TRACE_STATE_RESUMING, NULL },
	/* Two events are never at the same nanosecond. */
	{ 20.0005, TRACE_BEGIN, TRACE_POWER, TRACE_STATE_RUNNING, NULL },
};

void fixture_lines(struct trace *t, double from_ms,
		   const struct fixture_line *lines, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		fixture_add(t, (from_ms + lines[i].ms) * 1000.0, lines[i].kind,
			    lines[i].track, lines[i].name, lines[i].text);
}

void fixture_cycle(struct trace *t, double from_ms, double asleep_ms)
{
	fixture_lines(t, from_ms, fixture_down, FIXTURE_DOWN);
	fixture_lines(t, from_ms + 300.4 + asleep_ms, fixture_up, FIXTURE_UP);
}

void fixture_init(struct trace *t)
{
	trace_init(t, 2);
	trace_name_device(t, 0, "blk0");
	trace_name_device(t, 1, "net0");
	fixture_add(t, 0, TRACE_BEGIN, TRACE_POWER, TRACE_STATE_RUNNING, NULL);
}
