/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A recording in the Chrome trace format, which Perfetto, chrome://tracing and
 * `torpor trace` read: docs/control.md. Main loop.
 */
#ifndef TORPOR_VMM_TRACE_JSON_H
#define TORPOR_VMM_TRACE_JSON_H

#include <jansson.h>

#include "vmm/trace/trace.h"

struct trace_json_options {
	const char *vm; /* name of the VM */
	int pid;
	unsigned int cycles; /* the last so many; 0 = all */
	size_t max_bytes;    /* of the result as compact JSON, >= 64 KiB */
};

/**
 * trace_json() - the recording so far
 *
 * Time stamps count from otherData.origin_ns. On a thread they do not decrease,
 * and each B has its E: a span that began before the result does begins with
 * it, marked "cut"; one that is not over ends now, marked "open". What does not
 * fit max_bytes is left out, the oldest first, and counted in left_out.
 *
 * Return: a new reference, or NULL when out of memory.
 */
json_t *trace_json(struct trace *trace,
		   const struct trace_json_options *options);

#endif
