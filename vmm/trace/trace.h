/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flight recorder of a VM: what the coordinator, the guest, each vCPU and
 * each virtio device did when, for `torpor trace`. A ring of the last
 * TRACE_MAX_EVENTS events in memory of fixed size; the oldest are overwritten
 * and counted. docs/trace.md says what each span means.
 *
 * Threads: recording may be done by any, under any other lock. It takes one
 * mutex for the time of a copy, allocates nothing and calls nobody; where it is
 * NULL nothing is recorded. trace_init(), trace_finish() and
 * trace_name_device() belong to the main thread, before and after the others
 * record.
 *
 * Names and texts are borrowed: literals, or strings that live as long as the
 * trace. Spans of a track nest. One whose end does not come, or comes twice, is
 * repaired by the reader (vmm/trace/json.c), not here.
 */
#ifndef TORPOR_VMM_TRACE_TRACE_H
#define TORPOR_VMM_TRACE_TRACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define TRACE_MAX_EVENTS  2048U
#define TRACE_MAX_VCPUS	  64U
#define TRACE_MAX_DEVICES 32U

/* Tracks: a line of the picture each. */
#define TRACE_POWER	0U /* the coordinator: states, and phases within them */
#define TRACE_REQUEST	1U /* suspend requests, from receipt to answer */
#define TRACE_GUEST	2U /* what the guest's notices tell of it */
#define TRACE_VCPU(i)	(3U + (i))
#define TRACE_DEVICE(i) (3U + TRACE_MAX_VCPUS + (i))
#define TRACE_NR_TRACKS TRACE_DEVICE(TRACE_MAX_DEVICES)

/*
 * Names that the readers of a trace know. The states on TRACE_POWER are those
 * of power_state_name(); a cycle begins where SUSPENDING does. Others may be
 * used freely, they are shown as they are.
 */
#define TRACE_STATE_SUSPENDING "SUSPENDING"
#define TRACE_STATE_SUSPENDED  "SUSPENDED"
#define TRACE_STATE_RESUMING   "RESUMING"
#define TRACE_STATE_RUNNING    "RUNNING"
/* TRACE_POWER, spans within the states. */
#define TRACE_CENSUS	    "census"
#define TRACE_STOP_DEVICES  "devices stop"
#define TRACE_FINAL_CENSUS  "final census"
#define TRACE_START_DEVICES "devices restart"
/* TRACE_POWER, instants. Of a wake event the text is the source. */
#define TRACE_WAKE     "wake"
#define TRACE_LET_GO   "vCPUs let go"
#define TRACE_STAYS_ON "stays on" /* a PCI device, its name is the text */
/* TRACE_REQUEST, a span. */
#define TRACE_SUSPEND "suspend"
/* TRACE_GUEST, spans and instants. */
#define TRACE_FREEZES_DRIVERS "freezes drivers" /* until LPS0 entry */
#define TRACE_FREEZES_CPUS    "freezes CPUs"	/* until the last C2 read */
#define TRACE_THAWS_CPUS      "thaws CPUs"	/* vCPUs let go to LPS0 exit */
#define TRACE_LPS0_ENTRY      "LPS0 entry"
#define TRACE_LPS0_EXIT	      "LPS0 exit"
/* TRACE_VCPU: kick is an instant, park a span. */
#define TRACE_KICK "kick"
#define TRACE_PARK "park"
/* TRACE_DEVICE, spans. */
#define TRACE_ARM     "arm"
#define TRACE_DRAIN   "drain"
#define TRACE_RESTART "restart"
#define TRACE_SUSPENDS                                         \
	"suspends" /* VIRTIO_F_SUSPEND, to its acknowledgement \
		    */
/* TRACE_DEVICE, an instant: its driver resumed it. */
#define TRACE_RESUMED "resumed"

enum trace_kind {
	TRACE_BEGIN,
	TRACE_END,
	TRACE_INSTANT,
};

#define TRACE_NO_VALUE INT64_MIN

struct trace_event {
	uint64_t time_ns; /* CLOCK_BOOTTIME; never less than the one before */
	const char *name;
	const char *text; /* or NULL */
	int64_t value;	  /* or TRACE_NO_VALUE */
	uint16_t track;
	uint8_t kind; /* enum trace_kind */
};

struct trace {
	pthread_mutex_t lock;
	bool made;
	unsigned int nr_vcpus;
	const char *devices[TRACE_MAX_DEVICES];
	uint64_t count; /* events so far; the next goes to its remainder */
	struct trace_event ring[TRACE_MAX_EVENTS];
};

void trace_init(struct trace *trace, unsigned int nr_vcpus);
/* NULL and zeroed are fine. */
void trace_finish(struct trace *trace);
/* @name: borrowed */
void trace_name_device(struct trace *trace, unsigned int index,
		       const char *name);

/**
 * trace_record() - add an event, now
 * @trace: or NULL
 * @track: TRACE_POWER ... TRACE_DEVICE(i)
 * @text: what the name leaves open (a wake source), or NULL
 * @value: a number that belongs to it (a result), or TRACE_NO_VALUE
 */
void trace_record(struct trace *trace, enum trace_kind kind, unsigned int track,
		  const char *name, const char *text, int64_t value);

/* The common cases of it. */
void trace_begin(struct trace *trace, unsigned int track, const char *name);
void trace_end(struct trace *trace, unsigned int track, const char *name);
void trace_instant(struct trace *trace, unsigned int track, const char *name,
		   const char *text);

/**
 * trace_copy() - the events in the ring, oldest first
 * @events: room for TRACE_MAX_EVENTS
 * @ret_lost: events that were overwritten
 *
 * Return: how many.
 */
unsigned int trace_copy(struct trace *trace, struct trace_event *events,
			uint64_t *ret_lost);

#endif
