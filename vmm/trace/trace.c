/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of the flight recorder; see trace.h. */
#include "vmm/trace/trace.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "vmm/base/loop.h"
#include "vmm/base/util.h"

void trace_init(struct trace *trace, unsigned int nr_vcpus)
{
	assert(nr_vcpus <= TRACE_MAX_VCPUS);
	/* Its events cost memory when they happen. */
	memset(trace, 0, offsetof(struct trace, ring));
	trace->nr_vcpus = nr_vcpus;
	(void)pthread_mutex_init(&trace->lock, NULL);
	trace->made = true;
}

void trace_finish(struct trace *trace)
{
	if (!trace || !trace->made)
		return;
	(void)pthread_mutex_destroy(&trace->lock);
	trace->made = false;
}

void trace_name_device(struct trace *trace, unsigned int index,
		       const char *name)
{
	if (!trace)
		return;
	assert(index < TRACE_MAX_DEVICES);
	trace->devices[index] = name;
}

void trace_record(struct trace *trace, enum trace_kind kind, unsigned int track,
		  const char *name, const char *text, int64_t value)
{
	struct trace_event event = { .name = name,
				     .text = text,
				     .value = value,
				     .track = (uint16_t)track,
				     .kind = (uint8_t)kind };

	if (!trace)
		return;
	assert(track < TRACE_NR_TRACKS);
	(void)pthread_mutex_lock(&trace->lock);
	/* Under the lock, so that the ring is in the order of time. */
	event.time_ns = time_boot_ns();
	trace->ring[trace->count++ % TRACE_MAX_EVENTS] = event;
	(void)pthread_mutex_unlock(&trace->lock);
}

void trace_begin(struct trace *trace, unsigned int track, const char *name)
{
	trace_record(trace, TRACE_BEGIN, track, name, NULL, TRACE_NO_VALUE);
}

void trace_end(struct trace *trace, unsigned int track, const char *name)
{
	trace_record(trace, TRACE_END, track, name, NULL, TRACE_NO_VALUE);
}

void trace_instant(struct trace *trace, unsigned int track, const char *name,
		   const char *text)
{
	trace_record(trace, TRACE_INSTANT, track, name, text, TRACE_NO_VALUE);
}

unsigned int trace_copy(struct trace *trace, struct trace_event *events,
			uint64_t *ret_lost)
{
	unsigned int nr, first;

	(void)pthread_mutex_lock(&trace->lock);
	nr = (unsigned int)MIN(trace->count, (uint64_t)TRACE_MAX_EVENTS);
	first = (unsigned int)((trace->count - nr) % TRACE_MAX_EVENTS);
	memcpy(events, trace->ring + first,
	       MIN(nr, TRACE_MAX_EVENTS - first) * sizeof(*events));
	if (nr > TRACE_MAX_EVENTS - first)
		memcpy(events + (TRACE_MAX_EVENTS - first), trace->ring,
		       first * sizeof(*events));
	*ret_lost = trace->count - nr;
	(void)pthread_mutex_unlock(&trace->lock);
	return nr;
}
