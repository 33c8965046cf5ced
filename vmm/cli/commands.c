/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/cli/commands.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "include/torpor.h"
#include "vmm/base/util.h"
#include "vmm/cli/trace.h"

#define CONNECT_MS 5000
#define SLACK_MS   2000	  /* beyond the time that the VM itself has */
#define FORCE_MS   120000 /* that the devices may take in addition */

static void torpor_closep(struct torpor **t)
{
	torpor_close(*t);
}

/* --- errors --- */

static int complain(const struct cli_invocation *inv, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int complain(const struct cli_invocation *inv, const char *fmt, ...)
{
	va_list ap;

	fprintf(inv->err, "torpor: %s '%s': ", inv->cmd->name, inv->socket);
	va_start(ap, fmt);
	vfprintf(inv->err, fmt, ap);
	va_end(ap);
	fputc('\n', inv->err);
	return CLI_FAILED;
}

int cli_misuse(const struct cli_invocation *inv, const char *fmt, ...)
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

static const char *connect_remedy(int r)
{
	switch (r) {
	case -ENOENT:
		return "is the VM running? 'torpor run --socket PATH' makes "
		       "the socket";
	case -ECONNREFUSED:
		return "its VM has ended, or it is not a control socket; a new "
		       "'torpor run --socket PATH' replaces it";
	case -EACCES:
	case -EPERM:
		return "run this as the user who started the VM";
	case -ENAMETOOLONG:
		return "a socket's path has at most 107 bytes";
	case -EBUSY:
		return "too many clients are connected; end one";
	case -EPROTONOSUPPORT:
		return "the VM speaks another protocol version; use the "
		       "torpor that started it";
	case -EPROTO:
	case -EPROTOTYPE:
		return "the program that answers is not torpor; check the path";
	case -ETIMEDOUT:
		return "no answer in time; is the VM's process stopped?";
	default:
		return "check the path";
	}
}

static int do_connect(struct cli_invocation *inv, struct torpor **ret)
{
	int r = torpor_connect(inv->socket, CONNECT_MS, ret);

	if (r == 0)
		return CLI_OK;
	return complain(inv, "cannot connect: %s (%s)", strerror(-r),
			connect_remedy(r));
}

/* A call that got no answer. */
static int no_answer(const struct cli_invocation *inv, int r)
{
	if (r == -ETIMEDOUT)
		return complain(inv, "no answer in time; the VM's process does "
				     "not respond (see 'torpor state')");
	if (r == -ECONNRESET)
		return complain(inv, "the VM ended before it answered");
	return complain(inv, "no answer: %s", strerror(-r));
}

/* --- calls --- */

/* Return: 0 and the reply (ok or not), or an exit status. */
static int do_call(struct cli_invocation *inv, struct torpor *t,
		   const char *args, int timeout_ms, json_t **ret)
{
	_cleanup_free_ char *line = NULL;
	int r = torpor_call(t, inv->cmd->name, args, timeout_ms, &line);

	if (r < 0 && r != -EREMOTEIO)
		return no_answer(inv, r);
	*ret = json_loads(line, 0, NULL);
	return *ret ? 0 : no_answer(inv, -EPROTO);
}

/* --json: as received, in the same order of keys. */
static void show_reply(const struct cli_invocation *inv, const json_t *reply)
{
	if (!inv->json)
		return;
	(void)json_dumpf(reply, inv->out, JSON_COMPACT);
	fputc('\n', inv->out);
}

static int connect_and_call(struct cli_invocation *inv, const char *args,
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

static bool is_code(const json_t *reply, const char *code)
{
	const char *s = json_string_value(
		json_object_get(json_object_get(reply, "error"), "code"));

	return s && !strcmp(s, code);
}

static const char *error_message(const json_t *reply)
{
	const json_t *error = json_object_get(reply, "error");
	const char *message =
		json_string_value(json_object_get(error, "message"));

	return message && *message ? message : "failed";
}

static int server_error(const struct cli_invocation *inv, const json_t *reply)
{
	return complain(inv, "%s", error_message(reply));
}

int cli_cmd_simple(struct cli_invocation *inv)
{
	json_auto_t *reply = NULL;
	int r = connect_and_call(inv, NULL, inv->timeout_ms, &reply);

	if (r)
		return r;
	return reply_ok(reply) ? CLI_OK : server_error(inv, reply);
}

int cli_cmd_state(struct cli_invocation *inv)
{
	json_auto_t *reply = NULL;
	int r = connect_and_call(inv, NULL, inv->timeout_ms, &reply);

	if (r)
		return r;
	if (!reply_ok(reply))
		return server_error(inv, reply);
	if (!inv->json)
		cli_print_state(inv->out, json_object_get(reply, "result"));
	return CLI_OK;
}

int cli_cmd_stats(struct cli_invocation *inv)
{
	const char *args =
		inv->prometheus ? "{\"format\":\"prometheus\"}" : NULL;
	json_auto_t *reply = NULL;
	int r = connect_and_call(inv, args, inv->timeout_ms, &reply);
	const json_t *result = json_object_get(reply, "result");
	const char *text = json_string_value(json_object_get(result, "text"));

	if (r)
		return r;
	if (!reply_ok(reply))
		return server_error(inv, reply);
	if (inv->prometheus && !text)
		return no_answer(inv, -EPROTO);
	if (inv->prometheus && !inv->json)
		fputs(text, inv->out);
	else if (!inv->json)
		cli_print_stats(inv->out, result);
	return CLI_OK;
}

/* --- suspend --- */

/* "paused after 3 ms", and the reason if it was forced. */
static void print_paused(const struct cli_invocation *inv, const json_t *result)
{
	const char *because =
		json_string_value(json_object_get(result, "because"));
	const char *source =
		json_string_value(json_object_get(result, "source"));
	const char *device =
		json_string_value(json_object_get(result, "device"));

	if (because)
		fprintf(inv->out, ", by force: %s", because);
	if (source)
		fprintf(inv->out, " by wake source %s", source);
	if (device)
		fprintf(inv->out, " (device %s has not stopped)", device);
	fputc('\n', inv->out);
}

static void print_asleep(const struct cli_invocation *inv, const json_t *result)
{
	json_int_t ms = json_integer_value(json_object_get(result, "ms"));
	const char *kind = json_string_value(json_object_get(result, "kind"));
	const char *outcome =
		json_string_value(json_object_get(result, "outcome"));
	json_int_t presses =
		json_integer_value(json_object_get(result, "presses"));
	bool asleep = !outcome || !strcmp(outcome, "asleep");

	fprintf(inv->out, "%s after %lld ms", asleep ? "asleep" : "paused",
		(long long)ms);
	if (!asleep) {
		print_paused(inv, result);
		return;
	}
	if (json_is_true(json_object_get(result, "by_itself")))
		fputs(", by itself", inv->out);
	if (presses > 1)
		fprintf(inv->out, ", by %lld presses of its sleep button",
			(long long)presses);
	if (kind && !strcmp(kind, "s1"))
		fputs(" (ACPI S1)", inv->out);
	if (kind && !strcmp(kind, "shallow"))
		fputs(" (shallow: the guest has no C2 idle state, so its "
		      "monotonic clock counts the sleep)",
		      inv->out);
	fputc('\n', inv->out);
}

/* The VM says what was wrong; only this side knows about options. */
static int explain_suspend(const struct cli_invocation *inv,
			   const json_t *reply)
{
	if (is_code(reply, "timeout"))
		return complain(inv, "%s (--timeout MS gives it more time)",
				error_message(reply));
	return server_error(inv, reply);
}

int cli_cmd_suspend(struct cli_invocation *inv)
{
	json_auto_t *reply = NULL;
	char args[96];
	int r;

	if ((inv->flags & CLI_FLAG_FULL && inv->flags & CLI_FLAG_FORCE) ||
	    (inv->flags & CLI_FLAG_FREEZE && !(inv->flags & CLI_FLAG_FULL)))
		return cli_misuse(inv,
				  "--freeze-clock needs --full; --force and "
				  "--full exclude each other");
	(void)snprintf(args, sizeof(args), "{\"timeout_ms\":%d%s%s%s}",
		       inv->timeout_ms,
		       inv->flags & CLI_FLAG_FULL ? ",\"full\":true" : "",
		       inv->flags & CLI_FLAG_FORCE ? ",\"force\":true" : "",
		       inv->flags & CLI_FLAG_FREEZE ? ",\"freeze_clock\":true"
						    : "");
	/* With --force the devices have their own time after the guest's. */
	r = connect_and_call(inv, args,
			     inv->timeout_ms + (inv->flags & CLI_FLAG_FORCE
							? FORCE_MS
							: SLACK_MS),
			     &reply);
	if (r)
		return r;
	if (!reply_ok(reply))
		return explain_suspend(inv, reply);
	if (!inv->json)
		print_asleep(inv, json_object_get(reply, "result"));
	return CLI_OK;
}

/* --- wait and events --- */

int cli_cmd_wait(struct cli_invocation *inv)
{
	_cleanup_(torpor_closep) struct torpor *t = NULL;
	json_auto_t *reply = NULL;
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
		/* The VM bounds every wait: to wait without limit, ask again.
		 */
	} while (!limited && is_code(reply, "timeout"));
	show_reply(inv, reply);
	if (reply_ok(reply))
		return CLI_OK;
	if (is_code(reply, "timeout"))
		return complain(inv, "not %s after %d ms", inv->state,
				inv->timeout_ms);
	return server_error(inv, reply);
}

/* Such a guest is left alone, and the output says so. */
static bool sleeps_by_itself(const struct cli_invocation *inv,
			     const json_t *reply)
{
	const json_t *result = json_object_get(reply, "result");

	if (!json_is_true(json_object_get(result, "by_itself")))
		return false;
	if (!inv->json)
		fputs("the guest sleeps by itself ('torpor wake' wakes it)\n",
		      inv->out);
	return true;
}

int cli_cmd_resume(struct cli_invocation *inv)
{
	_cleanup_(torpor_closep) struct torpor *t = NULL;
	json_auto_t *reply = NULL;
	bool full = inv->flags & CLI_FLAG_FULL;
	int r;

	r = do_connect(inv, &t);
	if (r == 0)
		r = do_call(inv, t, full ? "{\"full\":true}" : NULL,
			    CLI_REPLY_MS, &reply);
	if (r)
		return r;
	show_reply(inv, reply);
	if (!reply_ok(reply))
		return server_error(inv, reply);
	if (json_is_true(json_object_get(json_object_get(reply, "result"),
					 "paused")))
		r = torpor_wait_state(t, "UNPAUSED", inv->timeout_ms);
	if (r == 0 && !full && !sleeps_by_itself(inv, reply))
		r = torpor_wait_state(t, "RUNNING", inv->timeout_ms);
	if (r == -EREMOTEIO)
		return complain(inv, "%s", torpor_error_message(t));
	if (r == -ETIMEDOUT)
		return complain(inv,
				"not RUNNING after %d ms ('--timeout MS' gives "
				"it more time)",
				inv->timeout_ms);
	return r < 0 ? no_answer(inv, r) : CLI_OK;
}

/* One event. Return: true if it was the VM's last. */
static bool show_event(struct cli_invocation *inv, const char *line)
{
	json_auto_t *event = json_loads(line, 0, NULL);
	const char *name = json_string_value(json_object_get(event, "event"));

	if (inv->json)
		fprintf(inv->out, "%s\n", line);
	else
		cli_print_event(inv->out, event);
	fflush(inv->out);
	return name && !strcmp(name, "EXIT");
}

int cli_cmd_events(struct cli_invocation *inv)
{
	_cleanup_(torpor_closep) struct torpor *t = NULL;
	bool ended = false;
	int r;

	r = do_connect(inv, &t);
	if (r)
		return r;
	r = torpor_events(t, CLI_REPLY_MS);
	if (r == -EREMOTEIO)
		return complain(inv, "%s", torpor_error_message(t));
	if (r < 0)
		return no_answer(inv, r);
	while (!ended && !ferror(inv->out)) {
		_cleanup_free_ char *line = NULL;

		r = torpor_next_event(t, -1, &line);
		if (r < 0)
			return complain(inv, "the connection was lost: the VM "
					     "died, or this program read too "
					     "slowly");
		ended = show_event(inv, line);
	}
	return CLI_OK;
}

int cli_cmd_version(struct cli_invocation *inv)
{
	json_auto_t *reply = NULL, *result = NULL;
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

int cli_cmd_trace(struct cli_invocation *inv)
{
	json_auto_t *reply = NULL;
	struct cli_trace opts;
	struct err err = { "" };
	int r;

	if (cli_trace_parse(&opts, inv->values, inv->json, &err) < 0)
		return cli_misuse(inv, "%s", err.msg);
	/* Only one thing goes to standard output. */
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
