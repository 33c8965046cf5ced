/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands of the command line that talk to a running VM: what cli.c has
 * parsed comes in, an exit status goes out. Main thread.
 */
#ifndef TORPOR_VMM_CLI_COMMANDS_H
#define TORPOR_VMM_CLI_COMMANDS_H

#include <stdbool.h>

#include "vmm/cli/cli.h"

#define CLI_REPLY_MS   5000 /* for an answer that needs nothing of the guest */
#define CLI_MAX_VALUES 4

/* Options without a value. */
#define CLI_FLAG_FULL	(1U << 0)
#define CLI_FLAG_FORCE	(1U << 1)
#define CLI_FLAG_FREEZE (1U << 2)

/* An option with a value, as `--name VALUE` or `--name=VALUE`. */
struct cli_value {
	const char *name; /* "--output"; NULL ends the table */
	const char *help;
};

struct cli_invocation;

struct cli_command {
	const char *name;
	const char *usage; /* after the name */
	const char *summary;
	const char *help;
	bool has_timeout;
	bool has_state;
	bool has_prometheus;
	bool socket_optional;
	unsigned int flags;		/* CLI_FLAG_* it takes */
	const struct cli_value *values; /* more options, or NULL */
	int timeout_ms;			/* default */
	int (*fn)(struct cli_invocation *inv);
};

struct cli_invocation {
	const struct cli_command *cmd;
	FILE *out, *err;
	bool json, prometheus;
	unsigned int flags; /* CLI_FLAG_* given */
	int timeout_ms;	    /* -1 = none */
	const char *state;
	const char *socket;
	const char *values[CLI_MAX_VALUES]; /* of cmd->values */
};

/* Each returns the exit status. simple: sends its own name and nothing else. */
int cli_cmd_simple(struct cli_invocation *inv);
int cli_cmd_state(struct cli_invocation *inv);
int cli_cmd_stats(struct cli_invocation *inv);
int cli_cmd_suspend(struct cli_invocation *inv);
int cli_cmd_resume(struct cli_invocation *inv);
int cli_cmd_wait(struct cli_invocation *inv);
int cli_cmd_events(struct cli_invocation *inv);
int cli_cmd_version(struct cli_invocation *inv);
int cli_cmd_trace(struct cli_invocation *inv);

/* Complains of the words, shows the usage. Return: CLI_USAGE. */
int cli_misuse(const struct cli_invocation *inv, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
