/* SPDX-License-Identifier: BSD-3-Clause */
/* `torpor trace`: its options, and what it does with the reply. Main thread. */
#ifndef TORPOR_VMM_CLI_TRACE_H
#define TORPOR_VMM_CLI_TRACE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

enum cli_trace_value { /* options with a value */
	CLI_TRACE_OUTPUT,
	CLI_TRACE_SVG,
	CLI_TRACE_CYCLES,
	CLI_TRACE_NR,
};

struct cli_trace {
	const char *output, *svg; /* files, "-" is standard output; or NULL */
	bool reply;		  /* print the reply as it came */
	bool table;
	char args[32]; /* of the request, JSON */
};

/**
 * cli_trace_parse() - check the options
 * @values: what the options were given, NULL where they were not; borrowed
 * @json: --json was given
 *
 * Return: 0, or -EINVAL with @err.
 */
int cli_trace_parse(struct cli_trace *opts, const char *const *values,
		    bool json, struct err *err) must_check;

/**
 * cli_trace_show() - write what was asked for
 * @trace: the result of "trace"
 * @out: standard output
 *
 * Return: 0, or -errno with @err.
 */
int cli_trace_show(const struct cli_trace *opts, const json_t *trace, FILE *out,
		   struct err *err) must_check;

#endif
