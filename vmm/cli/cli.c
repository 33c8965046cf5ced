/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line: see cli.h. Each command is a row of a table; the help and
 * the parser read the same row. Argument order follows crosvm: options, then
 * the socket last.
 */
#define _GNU_SOURCE
#include "vmm/cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "vmm/base/util.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/run.h"
#include "vmm/cli/trace.h"
#include "vmm/config/config.h"
#include "vmm/config/foreign.h"

#define MAX_TIMEOUT_MS 86400000 /* a day, as the VM has it */

static const struct {
	unsigned int flag;
	const char *word, *help;
} flag_options[] = {
	{ CLI_FLAG_FULL, "--full",
	  "pause devices and vCPUs without asking the guest" },
	{ CLI_FLAG_FORCE, "--force",
	  "pause the VM if the guest does not fall asleep" },
	{ CLI_FLAG_FREEZE, "--freeze-clock",
	  "with --full: the guest's clocks stand still too" },
};

/* --- the table --- */

static const struct cli_value trace_values[] = {
	[CLI_TRACE_OUTPUT] = { "--output", "FILE write a Chrome trace" },
	[CLI_TRACE_SVG] = { "--svg", "FILE    draw the last sleep as SVG" },
	[CLI_TRACE_CYCLES] = { "--cycles",
			       "N    only the last N sleeps, 1 to 64" },
	[CLI_TRACE_NR] = { NULL },
};
static_assert(CLI_TRACE_NR <= CLI_MAX_VALUES, "room for the values");

static const struct cli_command commands[] = {
	{ "stop", "SOCKET", "end the VM at once",
	  "Ends the VM without asking the guest: data that the guest has not\n"
	  "written is lost. 'torpor powerbtn' asks it to shut down.\n",
	  .timeout_ms = CLI_REPLY_MS, .fn = cli_cmd_simple },
	{ "state", "SOCKET", "what the VM does now",
	  "Prints whether the guest runs or sleeps, what woke it last, its\n"
	  "wake sources, device processes and vCPUs.\n",
	  .timeout_ms = CLI_REPLY_MS, .fn = cli_cmd_state },
	{ "stats", "[--prometheus] SOCKET",
	  "how often and how fast the guest slept",
	  "Prints how often and how long the guest slept, why it did not, how\n"
	  "long it took to fall asleep and to wake, and what woke it, since\n"
	  "the VM started.\n",
	  .has_prometheus = true, .timeout_ms = CLI_REPLY_MS,
	  .fn = cli_cmd_stats },
	{ "suspend", "[--full | --force] [OPTION]... SOCKET",
	  "put the guest to sleep and wait until it sleeps",
	  "Presses the guest's sleep button and waits until it is asleep.\n"
	  "Prints 'asleep after N ms', or fails and says why: the guest\n"
	  "refused, was not asleep in time (default 15000 ms), was woken\n"
	  "again before it slept, or does not listen to the button. If the\n"
	  "guest shows no reaction, it may have dropped the press: torpor\n"
	  "presses again, and the output says so.\n"
	  "With --force, a guest that does not fall asleep is paused instead,\n"
	  "and the output says so. With --full, the VM is paused at once\n"
	  "without asking the guest; a sleeping guest stays asleep.\n",
	  .has_timeout = true, .timeout_ms = 15000, .fn = cli_cmd_suspend,
	  .flags = CLI_FLAG_FULL | CLI_FLAG_FORCE | CLI_FLAG_FREEZE },
	{ "resume", "[--full] [--timeout MS] SOCKET",
	  "undo a suspend and wait until the guest runs",
	  "Undoes 'torpor suspend', or cancels one in progress, and returns\n"
	  "once the guest runs (default: within 5000 ms). A guest that runs\n"
	  "already is left alone, and so is a guest that went to sleep by\n"
	  "itself. With --full, only the pause of 'torpor suspend --full' or\n"
	  "--force is ended.\n",
	  .has_timeout = true, .timeout_ms = CLI_REPLY_MS, .fn = cli_cmd_resume,
	  .flags = CLI_FLAG_FULL },
	{ "wake", "SOCKET", "raise the launcher's wake event",
	  "Wakes a sleeping guest, or a guest that is falling asleep, and\n"
	  "returns at once.\n",
	  .timeout_ms = CLI_REPLY_MS, .fn = cli_cmd_simple },
	{ "wait", "[--timeout MS] STATE SOCKET", "wait for a state",
	  "Waits until the VM is in STATE: RUNNING, SUSPENDING, SUSPENDED or\n"
	  "RESUMING; or PAUSED or UNPAUSED ('torpor suspend --full').\n"
	  "Returns at once if it is already. Waits without limit by default.\n",
	  .has_timeout = true, .timeout_ms = -1, .has_state = true,
	  .fn = cli_cmd_wait },
	{ "powerbtn", "SOCKET", "press the power button",
	  "A running guest usually shuts down; a sleeping guest wakes up.\n"
	  "Fails if the guest does not listen to the button.\n",
	  .timeout_ms = CLI_REPLY_MS, .fn = cli_cmd_simple },
	{ "sleepbtn", "SOCKET", "press the sleep button",
	  "A running guest usually goes to sleep; a sleeping guest wakes up.\n"
	  "Does not wait: see 'torpor suspend'. Fails if the guest does not\n"
	  "listen to the button.\n",
	  .timeout_ms = CLI_REPLY_MS, .fn = cli_cmd_simple },
	{ "events", "SOCKET", "print what happens until the VM ends",
	  "Prints a line for each event: RUNNING, SUSPENDING, SUSPENDED,\n"
	  "RESUMING (with the wake source), PAUSED, UNPAUSED, WAKE_STORM,\n"
	  "DEVICE_FAILED, DEVICE_DIED, HALTED, EXIT (with the code). With\n"
	  "--json, a JSON object for each event.\n",
	  .timeout_ms = -1, .fn = cli_cmd_events },
	{ "trace", "[--output FILE] [--svg FILE] [--cycles N] SOCKET",
	  "what took how long in the last sleep",
	  "Prints a table of the last time that the guest fell asleep and\n"
	  "woke up: each step, when it began, how long it took, and which\n"
	  "device or vCPU was the slowest. A FILE of - is standard output.\n"
	  "Perfetto (ui.perfetto.dev) displays a Chrome trace.\n",
	  .values = trace_values, .timeout_ms = CLI_REPLY_MS,
	  .fn = cli_cmd_trace },
	{ "version", "[SOCKET]", "print the version, and the running VM's",
	  "Prints the version of this program and, given a socket, of the\n"
	  "torpor that runs the VM.\n",
	  .socket_optional = true, .timeout_ms = CLI_REPLY_MS,
	  .fn = cli_cmd_version },
	{ NULL },
};

/* --- help --- */

static void print_help(FILE *out)
{
	fputs("Usage: torpor COMMAND [OPTION...] [ARGUMENT...]\n"
	      "\n"
	      "torpor runs Linux virtual machines that sleep well.\n"
	      "\n"
	      "Commands:\n"
	      "  run        run a virtual machine\n",
	      out);
	for (const struct cli_command *c = commands; c->name; c++)
		fprintf(out, "  %-10s %s\n", c->name, c->summary);
	fputs("\n"
	      "All but run take the VM's control socket as the last argument:\n"
	      "the PATH of 'torpor run --socket PATH'. 'torpor COMMAND "
	      "--help'\n"
	      "describes a command.\n"
	      "\n"
	      "Exit status: 0 done, 33 failed, 35 wrong usage; 'torpor run'\n"
	      "also 32 if the guest reset itself, 34 if it panicked.\n",
	      out);
}

static void print_command_help(const struct cli_command *c, FILE *out)
{
	fprintf(out,
		"Usage: torpor %s [--json] %s\n"
		"\n"
		"%s"
		"\n"
		"Options:\n",
		c->name, c->usage, c->help);
	for (size_t i = 0; i < ARRAY_SIZE(flag_options); i++) {
		if (c->flags & flag_options[i].flag)
			fprintf(out, "  %-14s  %s\n", flag_options[i].word,
				flag_options[i].help);
	}
	if (c->has_timeout)
		fputs("  --timeout MS    how long to wait, in milliseconds\n",
		      out);
	for (const struct cli_value *v = c->values; v && v->name; v++)
		fprintf(out, "  %s %s\n", v->name, v->help);
	if (c->has_prometheus)
		fputs("  --prometheus    print it in Prometheus' text format\n",
		      out);
	fputs("  --json          print the reply as received, as JSON\n"
	      "  -h, --help      this text\n",
	      out);
}

/* --- parsing --- */

static const struct cli_command *find_command(const char *name)
{
	for (const struct cli_command *c = commands; c->name; c++) {
		if (!strcmp(c->name, name))
			return c;
	}
	return NULL;
}

static int parse_timeout(struct cli_invocation *inv, const char *value)
{
	char *end;
	long ms;

	if (!value)
		return cli_misuse(inv, "--timeout needs a value: milliseconds");
	errno = 0;
	ms = strtol(value, &end, 10);
	if (errno || *end || *value < '0' || *value > '9' || ms < 1 ||
	    ms > MAX_TIMEOUT_MS)
		return cli_misuse(inv,
				  "--timeout '%s': use milliseconds, 1 to %d",
				  value, MAX_TIMEOUT_MS);
	inv->timeout_ms = (int)ms;
	return 0;
}

/* One of cmd->values at argv[0]. Return: as parse_option(), 0 if it is not. */
static int parse_value(struct cli_invocation *inv, int argc, char **argv)
{
	for (size_t i = 0; inv->cmd->values && inv->cmd->values[i].name; i++) {
		const char *name = inv->cmd->values[i].name;
		size_t len = strlen(name);

		if (strncmp(argv[0], name, len) != 0)
			continue;
		if (argv[0][len] == '=') {
			inv->values[i] = argv[0] + len + 1;
			return 1;
		}
		if (argv[0][len])
			continue;
		if (argc < 2)
			return -cli_misuse(inv, "%s needs a value", name);
		inv->values[i] = argv[1];
		return 2;
	}
	return 0;
}

/* An option at argv[0]. Return: words used, or -CLI_USAGE. */
static int parse_option(struct cli_invocation *inv, int argc, char **argv)
{
	const char *word = argv[0];
	int r = parse_value(inv, argc, argv);

	if (r)
		return r;
	if (!strcmp(word, "--json")) {
		inv->json = true;
		return 1;
	}
	if (inv->cmd->has_prometheus && !strcmp(word, "--prometheus")) {
		inv->prometheus = true;
		return 1;
	}
	if (inv->cmd->has_timeout && !strncmp(word, "--timeout=", 10))
		return parse_timeout(inv, word + 10) ? -CLI_USAGE : 1;
	if (inv->cmd->has_timeout && !strcmp(word, "--timeout"))
		return parse_timeout(inv, argc > 1 ? argv[1] : NULL)
			       ? -CLI_USAGE
			       : 2;
	for (size_t i = 0; i < ARRAY_SIZE(flag_options); i++) {
		if (!(inv->cmd->flags & flag_options[i].flag) ||
		    strcmp(word, flag_options[i].word) != 0)
			continue;
		inv->flags |= flag_options[i].flag;
		return 1;
	}
	return -cli_misuse(inv, "unknown option '%s'", word);
}

static int parse_state(struct cli_invocation *inv, const char *word)
{
	static const char *const states[] = { "RUNNING",   "SUSPENDING",
					      "SUSPENDED", "RESUMING",
					      "PAUSED",	   "UNPAUSED" };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (!strcasecmp(word, states[i])) {
			inv->state = states[i];
			return 0;
		}
	}
	return cli_misuse(
		inv,
		"unknown state '%s'; use RUNNING, SUSPENDING, SUSPENDED, "
		"RESUMING, PAUSED or UNPAUSED",
		word);
}

static int parse_word(struct cli_invocation *inv, const char *word)
{
	if (inv->cmd->has_state && !inv->state)
		return parse_state(inv, word);
	if (inv->socket)
		return cli_misuse(inv, "unexpected argument '%s'", word);
	inv->socket = word;
	return 0;
}

static int run_command(struct cli_invocation *inv, int argc, char **argv)
{
	bool options = true;

	for (int i = 0; i < argc;) {
		int r;

		if (options && !strcmp(argv[i], "--")) {
			options = false;
			i++;
			continue;
		}
		if (options &&
		    (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
			print_command_help(inv->cmd, inv->out);
			return CLI_OK;
		}
		if (!options || argv[i][0] != '-') {
			r = parse_word(inv, argv[i++]);
			if (r)
				return r;
			continue;
		}
		r = parse_option(inv, argc - i, argv + i);
		if (r < 0)
			return -r;
		i += r;
	}
	if (inv->cmd->has_state && !inv->state)
		return cli_misuse(inv, "no state given");
	if (!inv->socket && !inv->cmd->socket_optional)
		return cli_misuse(inv, "no socket given; it is the PATH of "
				       "'torpor run --socket PATH'");
	return inv->cmd->fn(inv);
}

static int unknown(const char *what, const char *name, FILE *err)
{
	const char *answer = config_foreign_command(name);

	fprintf(err, "torpor: unknown %s '%s'; %s\n", what, name,
		answer ? answer : "'torpor --help' lists them");
	return CLI_USAGE;
}

static int do_help(int argc, char **argv, FILE *out, FILE *err)
{
	const struct cli_command *cmd;

	if (argc == 0) {
		print_help(out);
		return CLI_OK;
	}
	if (!strcmp(argv[0], "run")) {
		config_print_help(out);
		return CLI_OK;
	}
	cmd = find_command(argv[0]);
	if (cmd) {
		print_command_help(cmd, out);
		return CLI_OK;
	}
	return unknown("command", argv[0], err);
}

static int dispatch(int argc, char **argv, FILE *out, FILE *err)
{
	struct cli_invocation inv = { .out = out, .err = err };
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		print_help(err);
		return CLI_USAGE;
	}
	argc -= 2;
	argv += 2;
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		return do_help(0, NULL, out, err);
	if (!strcmp(name, "help"))
		return do_help(argc, argv, out, err);
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		name = "version";
	if (!strcmp(name, "run")) {
		if (!config_wants_help(argc, argv))
			return run_main(argc, argv);
		config_print_help(out);
		return CLI_OK;
	}
	inv.cmd = find_command(name);
	if (!inv.cmd)
		return unknown(name[0] == '-' ? "option" : "command", name,
			       err);
	inv.timeout_ms = inv.cmd->timeout_ms;
	return run_command(&inv, argc, argv);
}

int cli_run(int argc, char **argv, FILE *out, FILE *err)
{
	int status = dispatch(argc, argv, out, err);

	if (fflush(out) != 0 || ferror(out)) {
		fprintf(err, "torpor: cannot write the output: %s\n",
			strerror(errno));
		if (status == CLI_OK)
			status = CLI_FAILED;
	}
	return status;
}

int cli_main(int argc, char **argv)
{
	return cli_run(argc, argv, stdout, stderr);
}
