/* SPDX-License-Identifier: BSD-3-Clause */
/* `torpor trace`; see trace.h. */
#define _GNU_SOURCE
#include "vmm/cli/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/trace/view.h"

#define MAX_CYCLES 64 /* as the VM has it */
/* Digits of a time stamp: a week to the nanosecond. */
#define DIGITS 15

static bool is_stdout(const char *file)
{
	return file && !strcmp(file, "-");
}

int cli_trace_parse(struct cli_trace *opts, const char *const *values,
		    bool json, struct err *err)
{
	const char *cycles = values[CLI_TRACE_CYCLES];
	long nr = 0;
	char *end;

	*opts = (struct cli_trace){ .output = values[CLI_TRACE_OUTPUT],
				    .svg = values[CLI_TRACE_SVG],
				    .args = "{}" };
	if ((opts->output && !*opts->output) || (opts->svg && !*opts->svg))
		return err_set(err, -EINVAL, "a file's name is empty");
	if (is_stdout(opts->output) && is_stdout(opts->svg))
		return err_set(err, -EINVAL,
			       "--output - and --svg - exclude each other");
	opts->reply = json && !is_stdout(opts->output) && !is_stdout(opts->svg);
	opts->table = !json && !opts->output && !opts->svg;
	if (!cycles)
		return 0;
	errno = 0;
	nr = strtol(cycles, &end, 10);
	if (errno || *end || *cycles < '0' || *cycles > '9' || nr < 1 ||
	    nr > MAX_CYCLES)
		return err_set(err, -EINVAL,
			       "--cycles '%.32s': use a number from 1 to %d",
			       cycles, MAX_CYCLES);
	(void)snprintf(opts->args, sizeof(opts->args), "{\"cycles\":%ld}", nr);
	return 0;
}

static int write_chrome(FILE *out, const json_t *trace)
{
	if (json_dumpf(trace, out, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) <
	    0)
		return -EIO;
	return fputc('\n', out) == EOF ? -EIO : 0;
}

/* One of trace and view is given. */
static int write_to(const char *file, FILE *out, const json_t *trace,
		    const struct trace_view *view, struct err *err)
{
	FILE *f = is_stdout(file) ? out : fopen(file, "we");
	int r;

	if (!f)
		return err_set_errno(err, -errno, "cannot create '%s'", file);
	r = trace ? write_chrome(f, trace) : trace_print_svg(f, view);
	if (ferror(f) && r == 0)
		r = -EIO;
	if (f != out && fclose(f) != 0)
		r = -errno;
	return r < 0 ? err_set_errno(err, r, "cannot write '%s'", file) : 0;
}

static int show_view(const struct cli_trace *opts, const json_t *trace,
		     FILE *out, struct err *err)
{
	struct trace_view *view = calloc(1, sizeof(*view));
	int r = view ? trace_view_read(view, trace) : -ENOMEM;

	if (r == -ENODATA)
		(void)err_set(err, r,
			      "the trace holds no sleep; put the guest to "
			      "sleep first ('torpor suspend')");
	else if (r < 0)
		(void)err_set_errno(err, r, "the VM's reply is not a trace");
	else if (opts->svg)
		r = write_to(opts->svg, out, NULL, view, err);
	if (r == 0 && opts->table)
		trace_print_table(out, view);
	if (view)
		trace_view_finish(view);
	free(view);
	return r;
}

int cli_trace_show(const struct cli_trace *opts, const json_t *trace, FILE *out,
		   struct err *err)
{
	int r = 0;

	if (!json_is_object(trace))
		return err_set(err, -EPROTO, "the VM's reply has no trace");
	if (opts->output)
		r = write_to(opts->output, out, trace, NULL, err);
	if (r == 0 && (opts->svg || opts->table))
		r = show_view(opts, trace, out, err);
	return r;
}
