/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line: see cli.h. Each command is a row of a table; the help and
 * the parser read the same row. Argument order follows crosvm: options, then
 * the socket last.
 */
#define _GNU_SOURCE
#include "vmm/cli.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "include/torpor.h"
#include "vmm/base/util.h"
#include "vmm/cli_trace.h"
#include "vmm/config.h"
#include "vmm/run.h"

#define CONNECT_MS     5000
#define REPLY_MS       5000 /* for an answer that needs nothing of the guest */
#define SLACK_MS       2000 /* beyond the time the VM itself was given */
#define MAX_TIMEOUT_MS 86400000 /* a day, as the VM has it */

#define MAX_VALUES 4

struct command;

/* An option with a value, as `--name VALUE` or `--name=VALUE`. */
struct cli_value {
	const char *name; /* "--output"; NULL ends the table */
	const char *help;
};

struct invocation {
	const struct command *cmd;
	FILE *out, *err;
	bool json;
	int timeout_ms; /* -1 = none */
	const char *state;
	const char *socket;
	const char *values[MAX_VALUES]; /* of cmd->values */
};

struct command {
	const char *name;
	const char *usage; /* after the name */
	const char *summary;
	const char *help;
	bool has_timeout;
	bool has_state;
	bool socket_optional;
	const struct cli_value *values; /* more options, or NULL */
	int timeout_ms;			/* default */
	int (*fn)(struct invocation *inv);
};

static void json_unref(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(json_unref)

static void torpor_closep(struct torpor **t)
{
	torpor_close(*t);
}

/* --- errors --- */

static int complain(const struct invocation *inv, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int complain(const struct invocation *inv, const char *fmt, ...)
{
	va_list ap;

	fprintf(inv->err, "torpor: %s '%s': ", inv->cmd->name, inv->socket);
	va_start(ap, fmt);
	vfprintf(inv->err, fmt, ap);
	va_end(ap);
	fputc('\n', inv->err);
	return CLI_FAILED;
}

static const char *connect_remedy(int r)
{
	switch (r) {
	case -ENOENT:
		return "is the VM running? 'torpor run --socket PATH' makes "
		       "the socket";
	case -ECONNREFUSED:
		return "its VM has ended, or it is no control socket; a new "
		       "'torpor run --socket PATH' replaces it";
	case -EACCES:
	case -EPERM:
		return "run this as the user who started the VM";
	case -ENAMETOOLONG:
		return "a socket's path has at most 107 bytes";
	case -EBUSY:
		return "too many clients are connected; end one";
	case -EPROTONOSUPPORT:
		return "that VM speaks another protocol version; use the "
		       "torpor it was started with";
	case -EPROTO:
	case -EPROTOTYPE:
		return "what answers there is not torpor; check the path";
	case -ETIMEDOUT:
		return "nothing answers in time; is the VM's process stopped?";
	default:
		return "check the path";
	}
}

static int do_connect(struct invocation *inv, struct torpor **ret)
{
	int r = torpor_connect(inv->socket, CONNECT_MS, ret);

	if (r == 0)
		return CLI_OK;
	return complain(inv, "cannot connect: %s (%s)", strerror(-r),
			connect_remedy(r));
}

/* A call that got no answer. */
static int no_answer(const struct invocation *inv, int r)
{
	if (r == -ETIMEDOUT)
		return complain(inv, "no answer in time; the VM's process does "
				     "not respond ('torpor state' may tell)");
	if (r == -ECONNRESET)
		return complain(inv, "the VM ended before it answered");
	return complain(inv, "no answer: %s", strerror(-r));
}

/* --- calls --- */

/* Return: 0 and the reply (ok or not), or an exit status. */
static int do_call(struct invocation *inv, struct torpor *t, const char *args,
		   int timeout_ms, json_t **ret)
{
	_cleanup_free_ char *line = NULL;
	int r = torpor_call(t, inv->cmd->name, args, timeout_ms, &line);

	if (r < 0 && r != -EREMOTEIO)
		return no_answer(inv, r);
	*ret = json_loads(line, 0, NULL);
	return *ret ? 0 : no_answer(inv, -EPROTO);
}

/* --json: as it came, the order of keys is kept. */
static void show_reply(const struct invocation *inv, const json_t *reply)
{
	if (!inv->json)
		return;
	(void)json_dumpf(reply, inv->out, JSON_COMPACT);
	fputc('\n', inv->out);
}

static int connect_and_call(struct invocation *inv, const char *args,
			    int timeout_ms, json_t **ret)
{
	_cleanup_(torpor_closep) struct torpor *t = NULL;
	int r = do_connect(inv, &t);

	if (r == 0)
		r = do_call(inv, t, args, timeout_ms, ret);
	if (r == 0)
		show_reply(inv, *ret);
	return r;
}

static bool reply_ok(const json_t *reply)
{
	return json_is_true(json_object_get(reply, "ok"));
}

static int server_error(const struct invocation *inv, const json_t *reply)
{
	const json_t *error = json_object_get(reply, "error");
	const char *msg = json_string_value(json_object_get(error, "message"));

	return complain(inv, "%s", msg && *msg ? msg : "failed");
}

static int cmd_simple(struct invocation *inv)
{
	_cleanup_json_ json_t *reply = NULL;
	int r = connect_and_call(inv, NULL, inv->timeout_ms, &reply);

	if (r)
		return r;
	return reply_ok(reply) ? CLI_OK : server_error(inv, reply);
}

static int cmd_state(struct invocation *inv)
{
	_cleanup_json_ json_t *reply = NULL;
	int r = connect_and_call(inv, NULL, inv->timeout_ms, &reply);

	if (r)
		return r;
	if (!reply_ok(reply))
		return server_error(inv, reply);
	if (!inv->json)
		cli_print_state(inv->out, json_object_get(reply, "result"));
	return CLI_OK;
}

/* --- suspend --- */

static void print_asleep(const struct invocation *inv, const json_t *result)
{
	json_int_t ms = json_integer_value(json_object_get(result, "ms"));
	const char *kind = json_string_value(json_object_get(result, "kind"));

	fprintf(inv->out, "asleep after %lld ms", (long long)ms);
	if (kind && !strcmp(kind, "s1"))
		fputs(" (ACPI S1)", inv->out);
	if (kind && !strcmp(kind, "shallow"))
		fputs(" (shallow: the guest has no C2 idle state, so its "
		      "monotonic clock counts the sleep)",
		      inv->out);
	fputc('\n', inv->out);
}

static int explain_suspend(const struct invocation *inv, const json_t *reply)
{
	const json_t *error = json_object_get(reply, "error");
	const json_t *data = json_object_get(error, "data");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *source = json_string_value(json_object_get(data, "source"));

	if (!code)
		return server_error(inv, reply);
	if (!strcmp(code, "timeout"))
		return complain(inv,
				"timed out after %d ms; the guest did not "
				"fall asleep in time ('--timeout MS' gives it "
				"longer)",
				inv->timeout_ms);
	if (!strcmp(code, "refused"))
		return complain(inv, "refused by the guest (its log says why)");
	if (!strcmp(code, "aborted"))
		return complain(inv, "aborted by wake source %s",
				source ? source : "(unnamed)");
	if (!strcmp(code, "deaf"))
		return complain(inv, "guest cannot hear the sleep button "
				     "(PM1_EN.SLPBTN_EN clear): load the "
				     "button driver and an agent");
	return server_error(inv, reply);
}

static int cmd_suspend(struct invocation *inv)
{
	_cleanup_json_ json_t *reply = NULL;
	char args[64];
	int r;

	(void)snprintf(args, sizeof(args), "{\"timeout_ms\":%d}",
		       inv->timeout_ms);
	r = connect_and_call(inv, args, inv->timeout_ms + SLACK_MS, &reply);
	if (r)
		return r;
	if (!reply_ok(reply))
		return explain_suspend(inv, reply);
	if (!inv->json)
		print_asleep(inv, json_object_get(reply, "result"));
	return CLI_OK;
}

/* --- wait and events --- */

static bool is_code(const json_t *reply, const char *code)
{
	const char *s = json_string_value(
		json_object_get(json_object_get(reply, "error"), "code"));

	return s && !strcmp(s, code);
}

static int cmd_wait(struct invocation *inv)
{
	_cleanup_(torpor_closep) struct torpor *t = NULL;
	_cleanup_json_ json_t *reply = NULL;
	bool limited = inv->timeout_ms >= 0;
	char args[96];
	int r;

	(void)snprintf(args, sizeof(args),
		       limited ? "{\"state\":\"%s\",\"timeout_ms\":%d}"
			       : "{\"state\":\"%s\"}",
		       inv->state, inv->timeout_ms);
	r = do_connect(inv, &t);
	if (r)
		return r;
	do {
		json_decref(TAKE(reply));
		r = do_call(inv, t, args,
			    limited ? inv->timeout_ms + SLACK_MS : -1, &reply);
		if (r)
			return r;
		/* The VM bounds every wait: one without limit goes on. */
	} while (!limited && is_code(reply, "timeout"));
	show_reply(inv, reply);
	if (reply_ok(reply))
		return CLI_OK;
	if (is_code(reply, "timeout"))
		return complain(inv, "not %s after %d ms", inv->state,
				inv->timeout_ms);
	return server_error(inv, reply);
}

static int cmd_resume(struct invocation *inv)
{
	_cleanup_(torpor_closep) struct torpor *t = NULL;
	_cleanup_json_ json_t *reply = NULL;
	int r;

	r = do_connect(inv, &t);
	if (r == 0)
		r = do_call(inv, t, NULL, REPLY_MS, &reply);
	if (r)
		return r;
	show_reply(inv, reply);
	if (!reply_ok(reply))
		return server_error(inv, reply);
	r = torpor_wait_state(t, "RUNNING", inv->timeout_ms);
	if (r == -EREMOTEIO)
		return complain(inv, "%s", torpor_error_message(t));
	if (r == -ETIMEDOUT)
		return complain(inv,
				"not RUNNING after %d ms ('--timeout MS' gives "
				"it longer)",
				inv->timeout_ms);
	return r < 0 ? no_answer(inv, r) : CLI_OK;
}

/* One event. Return: true if it was the VM's last. */
static bool show_event(struct invocation *inv, const char *line)
{
	_cleanup_json_ json_t *event = json_loads(line, 0, NULL);
	const char *name = json_string_value(json_object_get(event, "event"));

	if (inv->json)
		fprintf(inv->out, "%s\n", line);
	else
		cli_print_event(inv->out, event);
	fflush(inv->out);
	return name && !strcmp(name, "EXIT");
}

static int cmd_events(struct invocation *inv)
{
	_cleanup_(torpor_closep) struct torpor *t = NULL;
	bool ended = false;
	int r;

	r = do_connect(inv, &t);
	if (r)
		return r;
	r = torpor_events(t, REPLY_MS);
	if (r == -EREMOTEIO)
		return complain(inv, "%s", torpor_error_message(t));
	if (r < 0)
		return no_answer(inv, r);
	while (!ended && !ferror(inv->out)) {
		_cleanup_free_ char *line = NULL;

		r = torpor_next_event(t, -1, &line);
		if (r < 0)
			return complain(inv, "the connection was lost: the VM "
					     "died, or we read too slowly");
		ended = show_event(inv, line);
	}
	return CLI_OK;
}

static int cmd_version(struct invocation *inv)
{
	_cleanup_json_ json_t *reply = NULL, *result = NULL;
	int r;

	if (!inv->socket) {
		if (inv->json)
			fprintf(inv->out,
				"{\"torpor\":\"%s\",\"protocol\":%d}\n",
				TORPOR_VERSION, TORPOR_PROTOCOL);
		else
			fprintf(inv->out, "torpor %s\n", TORPOR_VERSION);
		return CLI_OK;
	}
	r = connect_and_call(inv, NULL, inv->timeout_ms, &reply);
	if (r)
		return r;
	if (!reply_ok(reply))
		return server_error(inv, reply);
	result = json_incref(json_object_get(reply, "result"));
	if (!inv->json)
		fprintf(inv->out, "torpor %s (at '%s': %s)\n", TORPOR_VERSION,
			inv->socket,
			json_string_value(json_object_get(result, "torpor")));
	return CLI_OK;
}

/* --- trace --- */

static int misuse(const struct invocation *inv, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static const struct cli_value trace_values[] = {
	[CLI_TRACE_OUTPUT] = { "--output", "FILE write a Chrome trace" },
	[CLI_TRACE_SVG] = { "--svg", "FILE    draw the last sleep as SVG" },
	[CLI_TRACE_CYCLES] = { "--cycles",
			       "N    only the last N sleeps, 1 to 64" },
	[CLI_TRACE_NR] = { NULL },
};
static_assert(CLI_TRACE_NR <= MAX_VALUES, "room for the values");

static int cmd_trace(struct invocation *inv)
{
	_cleanup_json_ json_t *reply = NULL;
	struct cli_trace opts;
	struct err err = { "" };
	int r;

	if (cli_trace_parse(&opts, inv->values, inv->json, &err) < 0)
		return misuse(inv, "%s", err.msg);
	/* What goes to the standard output is one thing. */
	inv->json = opts.reply;
	r = connect_and_call(inv, opts.args, inv->timeout_ms, &reply);
	if (r)
		return r;
	if (!reply_ok(reply))
		return server_error(inv, reply);
	if (cli_trace_show(&opts, json_object_get(reply, "result"), inv->out,
			   &err) < 0)
		return complain(inv, "%s", err.msg);
	return CLI_OK;
}

/* --- the table --- */

static const struct command commands[] = {
	{ "stop", "SOCKET", "end the VM at once",
	  "Ends the VM without asking the guest: unwritten data of the guest\n"
	  "is lost. 'torpor powerbtn' asks it to shut down.\n",
	  .timeout_ms = REPLY_MS, .fn = cmd_simple },
	{ "state", "SOCKET", "what the VM does now",
	  "Prints whether the guest runs or sleeps, what woke it last, its\n"
	  "wake sources, device processes and vCPUs.\n",
	  .timeout_ms = REPLY_MS, .fn = cmd_state },
	{ "suspend", "[--timeout MS] SOCKET",
	  "put the guest to sleep and wait until it sleeps",
	  "Presses the guest's sleep button and waits until it is asleep.\n"
	  "Prints 'asleep after N ms', or fails and says why: the guest\n"
	  "refused, was not asleep in time (default 5000 ms), was woken again\n"
	  "before it slept, or listens to no button.\n",
	  .has_timeout = true, .timeout_ms = 5000, .fn = cmd_suspend },
	{ "resume", "[--timeout MS] SOCKET",
	  "wake the guest and wait until it runs",
	  "Wakes the guest and returns once it runs again (default: within\n"
	  "5000 ms). A guest that runs already is left alone.\n",
	  .has_timeout = true, .timeout_ms = REPLY_MS, .fn = cmd_resume },
	{ "wake", "SOCKET", "raise the launcher's wake event",
	  "Wakes a guest that sleeps, or aborts its falling asleep, and\n"
	  "returns at once.\n",
	  .timeout_ms = REPLY_MS, .fn = cmd_simple },
	{ "wait", "[--timeout MS] STATE SOCKET", "wait for a state",
	  "Waits until the VM is in STATE: RUNNING, SUSPENDING, SUSPENDED or\n"
	  "RESUMING. Returns at once if it is. Waits for ever by default.\n",
	  .has_timeout = true, .timeout_ms = -1, .has_state = true,
	  .fn = cmd_wait },
	{ "powerbtn", "SOCKET", "press the power button",
	  "A guest that runs usually shuts down; one that sleeps wakes up.\n",
	  .timeout_ms = REPLY_MS, .fn = cmd_simple },
	{ "sleepbtn", "SOCKET", "press the sleep button",
	  "A guest that runs usually goes to sleep; one that sleeps wakes up.\n"
	  "Does not wait: see 'torpor suspend'.\n",
	  .timeout_ms = REPLY_MS, .fn = cmd_simple },
	{ "events", "SOCKET", "print what happens until the VM ends",
	  "Prints a line for each event: RUNNING, SUSPENDING, SUSPENDED,\n"
	  "RESUMING (with the wake source), DEVICE_DIED, EXIT (with the\n"
	  "code). With --json a JSON object for each.\n",
	  .timeout_ms = -1, .fn = cmd_events },
	{ "trace", "[--output FILE] [--svg FILE] [--cycles N] SOCKET",
	  "what took how long in the last sleep",
	  "Prints a table of the last time that the guest fell asleep and\n"
	  "woke up: each step, when it began, how long it took, and which\n"
	  "device or vCPU was the slowest. A FILE of - is standard output.\n"
	  "A Chrome trace can be looked at with Perfetto (ui.perfetto.dev).\n",
	  .values = trace_values, .timeout_ms = REPLY_MS, .fn = cmd_trace },
	{ "version", "[SOCKET]", "print the version, and the running VM's",
	  "Prints the version of this program and, given a socket, of the\n"
	  "torpor that runs the VM.\n",
	  .socket_optional = true, .timeout_ms = REPLY_MS, .fn = cmd_version },
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
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %-10s %s\n", c->name, c->summary);
	fputs("\n"
	      "All but run take the VM's control socket as the last argument:\n"
	      "the PATH of 'torpor run --socket PATH'. 'torpor COMMAND "
	      "--help'\n"
	      "tells more about a command.\n"
	      "\n"
	      "Exit status: 0 done, 33 failed, 35 wrong usage; 'torpor run'\n"
	      "also 32 the guest reset itself, 34 it panicked.\n",
	      out);
}

static void print_command_help(const struct command *c, FILE *out)
{
	fprintf(out,
		"Usage: torpor %s [--json] %s\n"
		"\n"
		"%s"
		"\n"
		"Options:\n",
		c->name, c->usage, c->help);
	if (c->has_timeout)
		fputs("  --timeout MS  how long to wait, in milliseconds\n",
		      out);
	for (const struct cli_value *v = c->values; v && v->name; v++)
		fprintf(out, "  %s %s\n", v->name, v->help);
	fputs("  --json        print the reply as it came, as JSON\n"
	      "  -h, --help    this text\n",
	      out);
}

/* --- parsing --- */

static const struct command *find_command(const char *name)
{
	for (const struct command *c = commands; c->name; c++) {
		if (!strcmp(c->name, name))
			return c;
	}
	return NULL;
}

static int misuse(const struct invocation *inv, const char *fmt, ...)
{
	va_list ap;

	fprintf(inv->err, "torpor: %s: ", inv->cmd->name);
	va_start(ap, fmt);
	vfprintf(inv->err, fmt, ap);
	va_end(ap);
	fprintf(inv->err, "\nUsage: torpor %s [--json] %s\n", inv->cmd->name,
		inv->cmd->usage);
	return CLI_USAGE;
}

static int parse_timeout(struct invocation *inv, const char *value)
{
	char *end;
	long ms;

	if (!value)
		return misuse(inv, "--timeout needs a value: milliseconds");
	errno = 0;
	ms = strtol(value, &end, 10);
	if (errno || *end || *value < '0' || *value > '9' || ms < 1 ||
	    ms > MAX_TIMEOUT_MS)
		return misuse(inv, "--timeout '%s': use milliseconds, 1 to %d",
			      value, MAX_TIMEOUT_MS);
	inv->timeout_ms = (int)ms;
	return 0;
}

/* One of cmd->values at argv[0]. Return: as parse_option(), 0 if it is none. */
static int parse_value(struct invocation *inv, int argc, char **argv)
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
			return -misuse(inv, "%s needs a value", name);
		inv->values[i] = argv[1];
		return 2;
	}
	return 0;
}

/* An option at argv[0]. Return: words used, or -CLI_USAGE. */
static int parse_option(struct invocation *inv, int argc, char **argv)
{
	const char *word = argv[0];
	int r = parse_value(inv, argc, argv);

	if (r)
		return r;
	if (!strcmp(word, "--json")) {
		inv->json = true;
		return 1;
	}
	if (inv->cmd->has_timeout && !strncmp(word, "--timeout=", 10))
		return parse_timeout(inv, word + 10) ? -CLI_USAGE : 1;
	if (inv->cmd->has_timeout && !strcmp(word, "--timeout"))
		return parse_timeout(inv, argc > 1 ? argv[1] : NULL)
			       ? -CLI_USAGE
			       : 2;
	return -misuse(inv, "unknown option '%s'", word);
}

static int parse_state(struct invocation *inv, const char *word)
{
	static const char *const states[] = { "RUNNING", "SUSPENDING",
					      "SUSPENDED", "RESUMING" };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (!strcasecmp(word, states[i])) {
			inv->state = states[i];
			return 0;
		}
	}
	return misuse(inv,
		      "'%s' is no state; use RUNNING, SUSPENDING, SUSPENDED "
		      "or RESUMING",
		      word);
}

static int parse_word(struct invocation *inv, const char *word)
{
	if (inv->cmd->has_state && !inv->state)
		return parse_state(inv, word);
	if (inv->socket)
		return misuse(inv, "unexpected argument '%s'", word);
	inv->socket = word;
	return 0;
}

static int run_command(struct invocation *inv, int argc, char **argv)
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
		return misuse(inv, "no state given");
	if (!inv->socket && !inv->cmd->socket_optional)
		return misuse(inv, "no socket given; it is the PATH of "
				   "'torpor run --socket PATH'");
	return inv->cmd->fn(inv);
}

static int do_help(int argc, char **argv, FILE *out, FILE *err)
{
	const struct command *cmd;

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
	fprintf(err,
		"torpor: unknown command '%s'; 'torpor --help' lists "
		"them\n",
		argv[0]);
	return CLI_USAGE;
}

static int dispatch(int argc, char **argv, FILE *out, FILE *err)
{
	struct invocation inv = { .out = out, .err = err };
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
	if (!inv.cmd) {
		fprintf(err,
			"torpor: unknown %s '%s'; 'torpor --help' lists "
			"them\n",
			name[0] == '-' ? "option" : "command", name);
		return CLI_USAGE;
	}
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
