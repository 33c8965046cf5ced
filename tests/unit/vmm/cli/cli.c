/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line against a server on a thread of its own, whose answers the
 * tests choose: what is printed, where, and with which exit status.
 */
#define _GNU_SOURCE
#include "vmm/cli/cli.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/text.h"
#include "vmm/base/util.h"
#include "vmm/cli/run.h"
#include "vmm/control/control.h"

static char dir[64], path[108];
static struct loop loop;
static struct control *ctl;
static pthread_t server;

/* What the server answers to everything but "stop". */
static const char *answer_code;	  /* NULL: ok */
static const char *answer;	  /* result, or data of the error */
static char *asked;		  /* the last request */
static char *out_text, *err_text; /* of the last command */

static int run_argc = -1;

/* Stands in for the real one: `run` is only handed over. */
int run_main(int argc, char **argv)
{
	run_argc = argc;
	return 32;
}

static void do_any(struct control_request *req, json_t *args, void *ctx)
{
	json_t *data = answer ? json_loads(answer, 0, NULL) : NULL;

	free(asked);
	asked = json_dumps(args, JSON_COMPACT);
	if (answer_code)
		control_reply_error_data(req, answer_code, data,
					 "message of the VM");
	else
		control_reply(req, data);
}

/* Ends the VM while others wait for something. */
static struct control_request *held;

static void do_wait(struct control_request *req, json_t *args, void *ctx)
{
	bool die = answer && !strcmp(answer, "die");

	if (die || (answer && !strcmp(answer, "hold"))) {
		held = req;
		if (die)
			loop_stop(&loop);
		return;
	}
	do_any(req, args, ctx);
}

static const struct control_command commands[] = {
	{ "stop", do_any },
	{ "state", do_any },
	{ "suspend", do_any },
	{ "resume", do_any },
	{ "wake", do_any },
	{ "wait", do_wait },
	{ "powerbtn", do_any },
	{ "sleepbtn", do_any },
	{ "stats", do_any },
	{ "trace", do_any },
	{ NULL },
};

static void *serve(void *arg)
{
	(void)!loop_run(&loop);
	control_destroy(TAKE(ctl));
	if (held)
		control_reply(TAKE(held), NULL);
	return NULL;
}

static void setup(void)
{
	struct err err;

	strcpy(dir, "/tmp/torpor-cli.XXXXXX");
	cr_assert(ne(ptr, mkdtemp(dir), NULL));
	(void)snprintf(path, sizeof(path), "%s/vm.sock", dir);
	cr_assert(eq(int, loop_init(&loop), 0));
	cr_assert(eq(int,
		     control_create(&loop, path, commands, NULL, &ctl, &err),
		     0));
	cr_assert(eq(int, pthread_create(&server, NULL, serve, NULL), 0));
}

static void teardown(void)
{
	loop_stop(&loop);
	(void)pthread_join(server, NULL);
	loop_finish(&loop);
	(void)unlink(path);
	(void)rmdir(dir);
	free(TAKE(asked));
	free(TAKE(out_text));
	free(TAKE(err_text));
}

TestSuite(cli, .init = setup, .fini = teardown, .timeout = 240);

static int run(const char *const *words)
{
	char *argv[16] = { (char[]){ "torpor" } };
	size_t out_size, err_size;
	FILE *out, *err;
	int argc = 1, status;

	for (; words[argc - 1]; argc++)
		argv[argc] = strdup(words[argc - 1]);
	free(out_text);
	free(err_text);
	out = open_memstream(&out_text, &out_size);
	err = open_memstream(&err_text, &err_size);
	status = cli_run(argc, argv, out, err);
	fclose(out);
	fclose(err);
	while (argc > 1)
		free(argv[--argc]);
	return status;
}

#define RUN(...) run((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

/* --- usage --- */

Test(cli, no_command_is_wrong_usage_with_the_help_on_stderr)
{
	cr_assert(eq(int, RUN(), CLI_USAGE));
	cr_assert(has(err_text, "Usage: torpor COMMAND"));
	cr_assert(same(out_text, ""));
}

static const char *const names[] = { "stop",	 "state",    "suspend",
				     "resume",	 "wake",     "wait",
				     "powerbtn", "sleepbtn", "events",
				     "version",	 "stats",    "trace" };

Test(cli, help_is_everywhere)
{
	cr_assert(eq(int, RUN("--help"), 0));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		cr_assert(has(out_text, names[i]));
	cr_assert(eq(int, RUN("-h"), 0));
	cr_assert(eq(int, RUN("help"), 0));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char usage[64];

		(void)snprintf(usage, sizeof(usage),
			       "Usage: torpor %s [--json]", names[i]);
		cr_assert(eq(int, RUN(names[i], "--help"), 0));
		cr_assert(has(out_text, usage));
		cr_assert(eq(int, RUN(names[i], "--json", "-h"), 0));
		cr_assert(has(out_text, usage));
		cr_assert(eq(int, RUN("help", names[i]), 0));
		cr_assert(has(out_text, usage));
		for (const char *p = out_text; *p; p += strcspn(p, "\n") + 1)
			cr_assert(le(sz, strcspn(p, "\n"), 79), "%.90s", p);
	}
	cr_assert(eq(int, RUN("run", "-m", "1", "--help"), 0));
	cr_assert(has(out_text, "Usage: torpor run"));
	cr_assert(eq(int, RUN("help", "run"), 0));
	cr_assert(has(out_text, "Usage: torpor run"));
	cr_assert(eq(int, run_argc, -1));
}

Test(cli, run_gets_the_words_after_it_and_gives_the_status)
{
	cr_assert(eq(int, RUN("run", "-p", "--help", "k"), 32));
	cr_assert(eq(int, run_argc, 3));
}

static const struct {
	const char *words[6];
	const char *says;
} misuses[] = {
	{ { "fly" }, "unknown command 'fly'" },
	{ { "--fly" }, "unknown option '--fly'" },
	{ { "quit" }, "unknown command 'quit'; use 'torpor stop'" },
	{ { "help", "pause" }, "use 'torpor suspend --full'" },
	{ { "help", "fly" }, "unknown command 'fly'" },
	{ { "state" }, "state: no socket given" },
	{ { "state", "a", "b" }, "unexpected argument 'b'" },
	{ { "state", "--timeout", "1", "a" }, "unknown option '--timeout'" },
	{ { "suspend", "--tiemout", "1", "a" }, "unknown option '--tiemout'" },
	{ { "suspend", "-t", "a" }, "unknown option '-t'" },
	{ { "suspend", "--timeout" }, "--timeout needs a value" },
	{ { "suspend", "--timeout", "5s", "a" }, "--timeout '5s': use milli" },
	{ { "suspend", "--timeout=0", "a" }, "--timeout '0'" },
	{ { "suspend", "--timeout=-1", "a" }, "--timeout '-1'" },
	{ { "suspend", "--timeout=", "a" }, "--timeout ''" },
	{ { "suspend", "--timeout=86400001", "a" }, "1 to 86400000" },
	{ { "suspend", "--timeout=99999999999999999999", "a" }, "--timeout" },
	{ { "wait" }, "no state given" },
	{ { "wait", "RUNNING" }, "no socket given" },
	{ { "wait", "ASLEEP", "a" }, "unknown state 'ASLEEP'; use RUNNING" },
	{ { "version", "a", "b" }, "unexpected argument 'b'" },
	{ { "state", "--prometheus", "a" }, "unknown option '--prometheus'" },
	{ { "stats", "--prometheus" }, "stats: no socket given" },
	{ { "trace" }, "trace: no socket given" },
	{ { "trace", "--svg" }, "--svg needs a value" },
	{ { "trace", "--svgx", "a" }, "unknown option '--svgx'" },
	{ { "trace", "--svg=", "a" }, "a file's name is empty" },
	{ { "trace", "--svg=-", "--output", "-", "a" }, "exclude each other" },
	{ { "trace", "--cycles=0", "a" }, "--cycles '0'" },
	{ { "trace", "--cycles", "65", "a" }, "from 1 to 64" },
	{ { "trace", "--cycles", "3x", "a" }, "--cycles '3x'" },
	{ { "state", "--svg", "x", "a" }, "unknown option '--svg'" },
};

Test(cli, wrong_usage_is_35_and_named)
{
	for (size_t i = 0; i < ARRAY_SIZE(misuses); i++) {
		cr_assert(eq(int, run(misuses[i].words), CLI_USAGE), "case %zu",
			  i);
		cr_assert(has(err_text, misuses[i].says));
		cr_assert(same(out_text, ""));
	}
}

Test(cli, after_two_dashes_a_socket_may_look_like_an_option)
{
	cr_assert(eq(int, RUN("state", "--", "--help"), CLI_FAILED));
	cr_assert(has(err_text, "torpor: state '--help': cannot connect"));
}

/* --- connecting --- */

Test(cli, what_cannot_be_reached_is_named_with_the_remedy)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char longer[120];

	cr_assert(eq(int, RUN("state", "/none.sock"), CLI_FAILED));
	cr_assert(has(err_text, "torpor: state '/none.sock': cannot connect: "
				"No such file"));
	cr_assert(has(err_text, "is the VM running?"));
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/dead", dir);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0));
	close(fd);
	cr_assert(eq(int, RUN("events", sa.sun_path), CLI_FAILED));
	cr_assert(has(err_text, "its VM has ended"));
	unlink(sa.sun_path);
	memset(longer, 'x', sizeof(longer));
	longer[108] = '\0';
	cr_assert(eq(int, RUN("version", longer), CLI_FAILED));
	cr_assert(has(err_text, "107 bytes"));
}

/* --- commands --- */

Test(cli, simple_commands_say_nothing_when_they_work)
{
	static const char *const simple[] = { "stop", "wake", "powerbtn",
					      "sleepbtn" };

	for (size_t i = 0; i < ARRAY_SIZE(simple); i++) {
		char want[64];

		cr_assert(eq(int, RUN(simple[i], path), 0));
		cr_assert(same(out_text, ""));
		cr_assert(same(err_text, ""));
		(void)snprintf(want, sizeof(want),
			       "{\"id\":1,\"command\":\"%s\"}", simple[i]);
		cr_assert(same(asked, want));
	}
	answer_code = "invalid";
	cr_assert(eq(int, RUN("wake", path), CLI_FAILED));
	cr_assert(has(err_text, "torpor: wake '"));
	cr_assert(has(err_text, path));
	cr_assert(has(err_text, "': message of the VM\n"));
}

static const struct {
	const char *code, *data;
	const char *out, *err;
} suspends[] = {
	{ NULL, "{\"outcome\":\"asleep\",\"ms\":312,\"kind\":\"s2idle\"}",
	  "asleep after 312 ms\n", NULL },
	{ NULL, "{\"outcome\":\"asleep\",\"ms\":9,\"kind\":\"s1\"}",
	  "asleep after 9 ms (ACPI S1)\n", NULL },
	{ NULL, "{\"outcome\":\"asleep\",\"ms\":9,\"kind\":\"shallow\"}",
	  "asleep after 9 ms (shallow: the guest has no C2 idle state, so its "
	  "monotonic clock counts the sleep)\n",
	  NULL },
	{ NULL,
	  "{\"outcome\":\"asleep\",\"ms\":4100,\"kind\":\"s2idle\","
	  "\"presses\":2}",
	  "asleep after 4100 ms, by 2 presses of its sleep button\n", NULL },
	{ "timeout", NULL, NULL,
	  "message of the VM (--timeout MS gives it more time)\n" },
	{ "refused", NULL, NULL, "': message of the VM\n" },
	{ "aborted", "{\"source\":\"net0\"}", NULL, "': message of the VM\n" },
	{ "deaf", NULL, NULL, "': message of the VM\n" },
	{ "failed", NULL, NULL, "message of the VM" },
};

Test(cli, suspend_tells_the_truth)
{
	for (size_t i = 0; i < ARRAY_SIZE(suspends); i++) {
		answer_code = suspends[i].code;
		answer = suspends[i].data;
		cr_assert(eq(int, RUN("suspend", path),
			     answer_code ? CLI_FAILED : 0));
		cr_assert(
			same(out_text, suspends[i].out ? suspends[i].out : ""));
		cr_assert(
			has(err_text, suspends[i].err ? suspends[i].err : ""));
		cr_assert(same(asked, "{\"id\":1,\"command\":\"suspend\","
				      "\"timeout_ms\":15000}"));
	}
}

Test(cli, suspend_passes_its_timeout_and_json_is_the_reply)
{
	answer = "{\"outcome\":\"asleep\",\"ms\":3,\"kind\":\"s1\"}";
	cr_assert(
		eq(int, RUN("suspend", "--timeout", "70", "--json", path), 0));
	cr_assert(has(asked, "\"timeout_ms\":70}"));
	cr_assert(same(out_text,
		       "{\"id\":1,\"ok\":true,\"result\":{\"outcome\":"
		       "\"asleep\",\"ms\":3,\"kind\":\"s1\"}}\n"));
	answer_code = "timeout";
	cr_assert(eq(int, RUN("suspend", path, "--timeout=80", "--json"),
		     CLI_FAILED));
	cr_assert(has(out_text, "\"code\":\"timeout\""));
	cr_assert(has(err_text, "message of the VM (--timeout"));
}

Test(cli, wait_says_what_it_waited_for)
{
	cr_assert(eq(int, RUN("wait", "suspended", path), 0));
	cr_assert(same(asked, "{\"id\":1,\"command\":\"wait\",\"state\":"
			      "\"SUSPENDED\"}"));
	answer_code = "timeout";
	cr_assert(eq(int, RUN("wait", "--timeout", "50", "RUNNING", path),
		     CLI_FAILED));
	cr_assert(has(asked, "\"timeout_ms\":50}"));
	cr_assert(has(err_text, "not RUNNING after 50 ms"));
	answer_code = "ended";
	cr_assert(eq(int, RUN("wait", "RUNNING", path), CLI_FAILED));
	cr_assert(has(err_text, "message of the VM"));
}

Test(cli, resume_wakes_and_waits_until_it_runs)
{
	cr_assert(eq(int, RUN("resume", path), 0));
	cr_assert(same(asked, "{\"id\":2,\"command\":\"wait\",\"state\":"
			      "\"RUNNING\",\"timeout_ms\":5000}"));
	cr_assert(same(out_text, ""));
	answer_code = "deaf";
	cr_assert(eq(int, RUN("resume", path), CLI_FAILED));
	cr_assert(has(asked, "\"command\":\"resume\""));
	cr_assert(has(err_text, "message of the VM"));
	answer_code = NULL;
	answer = "hold";
	cr_assert(eq(int, RUN("resume", "--timeout=20", path), CLI_FAILED));
	cr_assert(has(err_text, "not RUNNING after 20 ms"));
}

Test(cli, wait_ends_with_the_vm)
{
	answer = "die";
	cr_assert(eq(int, RUN("wait", "RUNNING", path), CLI_FAILED));
	cr_assert(has(err_text, "the VM ended before it answered"));
}

Test(cli, state_prints_the_important_part)
{
	answer =
		"{\"state\":\"SUSPENDED\",\"vm\":\"arc\",\"pid\":12,"
		"\"cycles\":4,\"last_wake\":{\"source\":\"net0\","
		"\"latency_ms\":31},"
		"\"sources\":[{\"name\":\"net0\",\"armed\":true,\"count\":3,"
		"\"wakes\":2}],"
		"\"devices\":[{\"name\":\"blk0\",\"pid\":14,"
		"\"live\":true},{\"name\":\"net0\",\"pid\":15,\"dead\":true},"
		"{\"name\":\"rng\",\"pid\":16}],\"time_asleep_ms\":61234,"
		"\"kind\":\"s2idle\",\"vcpus\":[{\"exits\":100,\"parked\":true,"
		"\"up\":true},{\"exits\":7,\"up\":true},{\"exits\":0}]}";
	cr_assert(eq(int, RUN("state", path), 0));
	cr_assert(same(out_text, "state      SUSPENDED (s2idle)\n"
				 "vm         arc\n"
				 "pid        12\n"
				 "sleeps     4\n"
				 "asleep     61.2 s in all\n"
				 "last wake  net0, ran after 31 ms\n"
				 "\n"
				 "WAKE SOURCE     ARMED  EVENTS  WAKES\n"
				 "net0            yes    3       2\n"
				 "\n"
				 "DEVICE          PID      STATUS\n"
				 "blk0            14       in use\n"
				 "net0            15       died\n"
				 "rng             16       not in use\n"
				 "\n"
				 "VCPU            EXITS        STATUS\n"
				 "0               100          asleep\n"
				 "1               7            up\n"
				 "2               0            -\n"));
}

Test(cli, state_of_another_version_is_printed_as_far_as_known)
{
	answer = "{\"state\":\"RUNNING\",\"vm\":7,\"sources\":3,\"last_wake\":"
		 "[],\"devices\":[1,{}],\"new\":1}";
	cr_assert(eq(int, RUN("state", path), 0));
	cr_assert(has(out_text, "state      RUNNING\n"));
}

Test(cli, state_before_the_latency_is_known_leaves_it_out)
{
	answer = "{\"state\":\"RESUMING\",\"last_wake\":{\"source\":\"rtc\","
		 "\"latency_ms\":null}}";
	cr_assert(eq(int, RUN("state", path), 0));
	cr_assert(has(out_text, "last wake  rtc\n"));
}

/* --- stats --- */

Test(cli, stats_are_a_table_for_people)
{
	answer =
		"{\"vm\":\"arc\",\"state\":\"RUNNING\",\"sleeps\":[{\"kind\":"
		"\"s2idle\",\"cycles\":4,\"by_guest\":1,\"by_request\":3,"
		"\"asleep_ns\":61234567890}],\"requests\":{\"asleep\":3,"
		"\"refused\":1},\"entry\":{\"request\":{\"count\":3,\"p50_ns\":"
		"320000000,\"p99_ns\":1999500000,\"max_ns\":1999500000},"
		"\"guest\":{\"count\":0,\"p50_ns\":null,\"p99_ns\":null,"
		"\"max_ns\":0}},\"wake\":{\"vcpus\":{\"count\":4,\"p50_ns\":"
		"1000000,\"p99_ns\":1000000,\"max_ns\":999000}},"
		"\"pauses\":{\"count\":2,\"total_ns\":15600000},"
		"\"sources\":[{\"name\":\"net0\",\"count\":7,\"wakes\":4,"
		"\"last_ns\":1},{\"name\":\"rtc\",\"count\":0,\"wakes\":0,"
		"\"last_ns\":null}],"
		"\"devices\":[{\"name\":\"blk0\",\"resets\":4}],"
		"\"loop\":{\"stalls\":1,\"longest_turn_ns\":2300000000,"
		"\"longest_in\":\"control.c:on_client (trace)\"}}";
	cr_assert(eq(int, RUN("stats", path), 0));
	cr_assert(same(asked, "{\"id\":1,\"command\":\"stats\"}"));
	cr_assert(
		has(out_text,
		    "vm         arc\n"
		    "pauses     2, 16 ms in all\n"
		    "\n"
		    "SLEEP           COUNT   BY REQUEST  BY GUEST       TIME\n"
		    "s2idle          4       3           1            61.2 s\n"
		    "\n"
		    "REQUEST ENDED   COUNT\n"
		    "asleep          3\n"
		    "refused         1\n"
		    "\n"
		    "LATENCY         COUNT      HALF <=     99% <=        MAX\n"
		    "sleep, asked    3           320 ms      2.0 s      2.0 s\n"
		    "sleep, by guest 0\n"
		    "wake to vCPUs   4          1.00 ms    1.00 ms    1.00 ms\n"
		    "wake to running 0\n"
		    "\n"
		    "WAKE SOURCE     EVENTS  WAKES   LAST\n"
		    "net0            7       4       "));
	cr_assert(has(out_text, " s ago\n"
				"rtc             0       0\n"
				"\n"
				"DEVICE          RESETS\n"
				"blk0            4\n"
				"\n"
				"main loop  1 stalls, longest turn 2.3 s in "
				"control.c:on_client (trace)\n"));
}

Test(cli, stats_of_another_version_are_printed_as_far_as_known)
{
	answer = "{\"vm\":7,\"sleeps\":{},\"requests\":[1],\"entry\":3,"
		 "\"pauses\":[],\"sources\":[1,{}],\"new\":1}";
	cr_assert(eq(int, RUN("stats", path), 0));
	cr_assert(has(out_text, "pauses     0, - in all\n"));
	answer = NULL;
	answer_code = "unknown-command";
	cr_assert(eq(int, RUN("stats", path), CLI_FAILED));
	cr_assert(has(err_text, "message of the VM"));
}

Test(cli, stats_for_prometheus_are_its_text_and_nothing_else)
{
	answer = "{\"text\":\"# HELP a b\\na{vm=\\\"c\\\"} 1\\n\"}";
	cr_assert(eq(int, RUN("stats", "--prometheus", path), 0));
	cr_assert(same(asked, "{\"id\":1,\"command\":\"stats\","
			      "\"format\":\"prometheus\"}"));
	cr_assert(same(out_text, "# HELP a b\na{vm=\"c\"} 1\n"));
	/* With --json the reply as it came, as of every command. */
	cr_assert(eq(int, RUN("stats", "--json", "--prometheus", path), 0));
	cr_assert(has(out_text, "{\"id\":1,\"ok\":true,\"result\":{\"text\":"));
	answer = "{}";
	cr_assert(eq(int, RUN("stats", "--prometheus", path), CLI_FAILED));
	cr_assert(same(out_text, ""));
}

Test(cli, version_of_program_and_of_a_vm)
{
	cr_assert(eq(int, RUN("version"), 0));
	cr_assert(same(out_text, "torpor " TORPOR_VERSION "\n"));
	cr_assert(eq(int, RUN("--version"), 0));
	cr_assert(same(out_text, "torpor " TORPOR_VERSION "\n"));
	cr_assert(eq(int, RUN("version", "--json"), 0));
	cr_assert(has(out_text, "\"protocol\":1}"));
	cr_assert(eq(int, RUN("version", path), 0));
	cr_assert(has(out_text, path));
}

/* --- trace --- */

static const char asleep_once[] =
	"{\"traceEvents\":["
	"{\"ph\":\"B\",\"ts\":0.0,\"tid\":1,\"cat\":\"power\",\"name\":"
	"\"SUSPENDING\"},"
	"{\"ph\":\"E\",\"ts\":1500.125,\"tid\":1,\"cat\":\"power\"},"
	"{\"ph\":\"B\",\"ts\":1500.125,\"tid\":1,\"cat\":\"power\",\"name\":"
	"\"SUSPENDED\"}]}";

/* What is in the file @name of the test's directory, which is removed. */
static char *take_file(const char *name)
{
	char file[128], *text = NULL;
	size_t size = 0;
	FILE *f;

	(void)snprintf(file, sizeof(file), "%s/%s", dir, name);
	f = fopen(file, "r");
	cr_assert(ne(ptr, f, NULL), "%s", file);
	cr_assert(ne(int, (int)getdelim(&text, &size, '\0', f), -1));
	fclose(f);
	unlink(file);
	return text;
}

Test(cli, trace_prints_a_table)
{
	answer = asleep_once;
	cr_assert(eq(int, RUN("trace", path), 0));
	cr_assert(same(asked, "{\"id\":1,\"command\":\"trace\"}"));
	cr_assert(has(out_text, "Going to sleep: 1.500 ms"));
	cr_assert(eq(int, RUN("trace", "--cycles", "3", path, "--json"), 0));
	cr_assert(has(asked, "\"cycles\":3}"));
	cr_assert(has(out_text, "{\"id\":1,\"ok\":true,\"result\":{\"trace"));
}

Test(cli, trace_writes_files)
{
	char json[128], svg[128], option[140], *text;

	answer = asleep_once;
	(void)snprintf(json, sizeof(json), "%s/json", dir);
	(void)snprintf(svg, sizeof(svg), "%s/svg", dir);
	(void)snprintf(option, sizeof(option), "--svg=%s", svg);
	cr_assert(eq(int, RUN("trace", "--output", json, option, path), 0));
	cr_assert(same(out_text, ""));
	text = take_file("json");
	cr_assert(has(text, "{\"traceEvents\":[{"));
	cr_assert(has(text, "\"ts\":1500.125,"));
	free(text);
	text = take_file("svg");
	cr_assert(has(text, "<svg "));
	cr_assert(has(text, "</svg>\n"));
	free(text);
	/* The standard output is one or the other. */
	cr_assert(eq(int, RUN("trace", "--output=-", "--json", path), 0));
	cr_assert(eq(int, strncmp(out_text, "{\"traceEvents\"", 14), 0));
	cr_assert(eq(int, RUN("trace", "--svg", "-", path), 0));
	cr_assert(eq(int, strncmp(out_text, "<?xml ", 6), 0));
}

Test(cli, trace_that_cannot_be_shown_or_written_is_a_failure)
{
	char file[128];

	(void)snprintf(file, sizeof(file), "%s/svg", dir);
	answer = "{\"traceEvents\":[]}";
	cr_assert(eq(int, RUN("trace", path), CLI_FAILED));
	cr_assert(has(err_text, "the trace holds no sleep"));
	cr_assert(eq(int, RUN("trace", "--svg", file, path), CLI_FAILED));
	cr_assert(eq(int, access(file, F_OK), -1)); /* not made for nothing */
	answer = "{}";
	cr_assert(eq(int, RUN("trace", path), CLI_FAILED));
	cr_assert(has(err_text, "the VM's reply is not a trace"));
	answer = "[]";
	cr_assert(eq(int, RUN("trace", "--output", "-", path), CLI_FAILED));
	cr_assert(has(err_text, "the VM's reply has no trace"));
	answer = asleep_once;
	cr_assert(eq(int, RUN("trace", "--svg=/none/x", path), CLI_FAILED));
	cr_assert(has(err_text, "cannot create '/none/x': No such file"));
	cr_assert(
		eq(int, RUN("trace", "--output=/dev/full", path), CLI_FAILED));
	cr_assert(has(err_text, "cannot write '/dev/full'"));
	answer_code = "unknown-command";
	cr_assert(eq(int, RUN("trace", path), CLI_FAILED));
	cr_assert(has(err_text, "message of the VM"));
}

/* --- events --- */

struct run_arg {
	bool json;
	FILE *out, *err;
	int status;
};

static void *run_events(void *arg)
{
	struct run_arg *a = arg;
	char *argv[] = { (char[]){ "torpor" }, (char[]){ "events" }, path,
			 (char[]){ "--json" }, NULL };
	int argc = a->json ? 4 : 3;

	a->status = cli_run(argc, argv, a->out, a->err);
	return NULL;
}

/*
 * The server's thread is ended and the test turns its loop itself, while the
 * command runs on a thread; events are sent once it has subscribed.
 */
static int watch(bool json, bool exits)
{
	size_t out_size, err_size;
	struct run_arg a = { .json = json };
	pthread_t thread;
	struct err err;

	teardown();
	cr_assert(eq(ptr, mkdtemp(strcpy(dir, "/tmp/torpor-cli.XXXXXX")), dir));
	(void)snprintf(path, sizeof(path), "%s/vm.sock", dir);
	cr_assert(eq(int, loop_init(&loop), 0));
	cr_assert(eq(int,
		     control_create(&loop, path, commands, NULL, &ctl, &err),
		     0));
	a.out = open_memstream(&out_text, &out_size);
	a.err = open_memstream(&err_text, &err_size);
	cr_assert(eq(int, pthread_create(&thread, NULL, run_events, &a), 0));
	/* Connects, then subscribes. */
	cr_assert(eq(int, loop_turn(&loop, -1), 0));
	cr_assert(eq(int, loop_turn(&loop, -1), 0));
	control_event(ctl, "SUSPENDED", json_pack("{s:s}", "kind", "s2idle"));
	control_event(ctl, "RESUMING",
		      json_pack("{s:s, s:i}", "source", "net0", "n", 3));
	if (exits)
		control_event(ctl, "EXIT", json_pack("{s:i}", "code", 0));
	control_destroy(TAKE(ctl));
	(void)pthread_join(thread, NULL);
	fclose(a.out);
	fclose(a.err);
	cr_assert(eq(int, pthread_create(&server, NULL, serve, NULL), 0));
	return a.status;
}

Test(cli, events_are_a_line_each_until_the_end)
{
	cr_assert(eq(int, watch(false, true), 0));
	cr_assert(has(out_text, " SUSPENDED kind=s2idle\n"));
	cr_assert(has(out_text, " RESUMING source=net0 n=3\n"));
	cr_assert(has(out_text, " EXIT code=0\n"));
	/* HH:MM:SS.mmm */
	cr_assert(eq(chr, out_text[8], '.'));
	cr_assert(eq(chr, out_text[12], ' '));
}

Test(cli, events_as_json_lines)
{
	cr_assert(eq(int, watch(true, true), 0));
	cr_assert(has(out_text, "{\"event\":\"SUSPENDED\",\"time_ns\":"));
	cr_assert(has(out_text, "\"data\":{\"code\":0}}\n"));
}

Test(cli, a_vm_that_dies_without_an_exit_event_is_a_failure)
{
	cr_assert(eq(int, watch(false, false), CLI_FAILED));
	cr_assert(has(err_text, "the connection was lost"));
}

Test(cli, output_that_cannot_be_written_is_a_failure)
{
	char *argv[] = { (char[]){ "torpor" }, (char[]){ "version" } };
	FILE *full = fopen("/dev/full", "w");

	cr_assert(eq(int, cli_run(2, argv, full, stderr), CLI_FAILED));
	fclose(full);
}
