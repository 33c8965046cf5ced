/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtorpor against the real server, which runs on a thread of its own, and
 * against servers that misbehave.
 */
#define _GNU_SOURCE
#include "include/torpor.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/text.h"
#include "vmm/base/fd.h"
#include "vmm/base/util.h"
#include "vmm/control/control.h"

#define LONG_MS 20000

static char dir[64], path[108];
static struct loop loop;
static struct control *ctl;
static pthread_t server;

/* --- the VM's commands --- */

static void do_state(struct control_request *req, json_t *args, void *ctx)
{
	control_reply(req, json_pack("{s:s}", "state", "RUNNING"));
}

static void do_ok(struct control_request *req, json_t *args, void *ctx)
{
	control_reply(req, NULL);
}

static void do_suspend(struct control_request *req, json_t *args, void *ctx)
{
	json_int_t ms = json_integer_value(json_object_get(args, "timeout_ms"));

	if (ms == 1)
		control_reply_error(req, "refused", "the guest said no");
	else
		control_reply(req, json_pack("{s:s, s:i}", "outcome", "asleep",
					     "ms", 312));
}

/* Answers when the client is gone or "wake" is called: never by itself. */
static struct control_request *held;

static void do_wait(struct control_request *req, json_t *args, void *ctx)
{
	const char *state = json_string_value(json_object_get(args, "state"));

	if (!strcmp(state, "RUNNING"))
		control_reply(req, NULL);
	else if (!strcmp(state, "RESUMING"))
		control_reply_error(req, "timeout", "not in time");
	else
		held = req;
}

static void do_wake(struct control_request *req, json_t *args, void *ctx)
{
	control_event(ctl, "RESUMING", json_pack("{s:s}", "source", "wake"));
	if (held)
		control_reply(TAKE(held), NULL);
	control_reply(req, NULL);
}

/* More events than a client keeps, but fewer than torpor buffers. */
static void do_flood(struct control_request *req, json_t *args, void *ctx)
{
	for (int i = 0; i < 1034; i++)
		control_event(ctl, "E", json_pack("{s:i}", "i", i));
	control_reply(req, NULL);
}

static void do_exit(struct control_request *req, json_t *args, void *ctx)
{
	control_event(ctl, "EXIT", json_pack("{s:i}", "code", 0));
	control_reply(req, NULL);
	loop_stop(&loop);
}

static const struct control_command commands[] = {
	{ "state", do_state }, { "suspend", do_suspend },
	{ "resume", do_ok },   { "wake", do_wake },
	{ "wait", do_wait },   { "powerbtn", do_ok },
	{ "sleepbtn", do_ok }, { "flood", do_flood },
	{ "stop", do_exit },   { NULL },
};

static void *serve(void *arg)
{
	(void)!loop_run(&loop);
	control_destroy(TAKE(ctl));
	return NULL;
}

static void setup(void)
{
	struct err err;

	strcpy(dir, "/tmp/torpor-client.XXXXXX");
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
	if (held)
		control_reply(TAKE(held), NULL);
	loop_finish(&loop);
	(void)unlink(path);
	(void)rmdir(dir);
}

TestSuite(client, .init = setup, .fini = teardown, .timeout = 240);

static struct torpor *dial(void)
{
	struct torpor *t = NULL;

	cr_assert(eq(int, torpor_connect(path, LONG_MS, &t), 0));
	return t;
}

Test(client, connects_and_knows_the_version)
{
	struct torpor *t = dial();

	cr_assert(same(torpor_version(t), TORPOR_VERSION));
	cr_assert(ge(int, torpor_fd(t), 0));
	torpor_close(t);
	torpor_close(NULL);
}

Test(client, a_call_returns_the_whole_reply)
{
	struct torpor *t = dial();
	char *reply = NULL;

	cr_assert(eq(int, torpor_call(t, "state", NULL, LONG_MS, &reply), 0));
	cr_assert(same(reply, "{\"id\":1,\"ok\":true,\"result\":"
			      "{\"state\":\"RUNNING\"}}"));
	free(reply);
	cr_assert(eq(int, torpor_call(t, "resume", "{}", LONG_MS, NULL), 0));
	torpor_close(t);
}

Test(client, an_error_reply_has_code_and_message)
{
	struct torpor *t = dial();
	char *reply = NULL;
	int ms = -1;

	cr_assert(eq(int, torpor_call(t, "fly", NULL, LONG_MS, &reply),
		     -EREMOTEIO));
	cr_assert(ne(ptr, strstr(reply, "\"ok\":false"), NULL));
	free(reply);
	cr_assert(same(torpor_error_code(t), "unknown-command"));
	cr_assert(eq(int, torpor_suspend(t, 1, LONG_MS, &ms), -EREMOTEIO));
	cr_assert(same(torpor_error_code(t), "refused"));
	cr_assert(same(torpor_error_message(t), "the guest said no"));
	cr_assert(eq(int, ms, -1));
	cr_assert(eq(int, torpor_suspend(t, 2, LONG_MS, &ms), 0));
	cr_assert(same(torpor_error_code(t), ""));
	cr_assert(eq(int, ms, 312));
	torpor_close(t);
}

Test(client, every_short_call_works)
{
	struct torpor *t = dial();
	char *state = NULL;

	cr_assert(eq(int, torpor_state(t, LONG_MS, &state), 0));
	cr_assert(same(state, "RUNNING"));
	free(state);
	cr_assert(eq(int, torpor_resume(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_wake(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_powerbtn(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_sleepbtn(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_wait_state(t, "RUNNING", -1), 0));
	cr_assert(
		eq(int, torpor_wait_state(t, "RESUMING", LONG_MS), -ETIMEDOUT));
	cr_assert(eq(int, torpor_events(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_stop(t, LONG_MS), 0));
	torpor_close(t);
}

Test(client, wrong_arguments_are_refused_and_nothing_is_sent)
{
	struct torpor *t = dial();
	struct torpor *none = NULL;
	char *event = NULL;

	cr_assert(eq(int, torpor_connect(NULL, 0, &none), -EINVAL));
	cr_assert(eq(int, torpor_connect("", 0, &none), -EINVAL));
	cr_assert(eq(int, torpor_call(NULL, "state", NULL, 0, NULL), -EINVAL));
	cr_assert(eq(int, torpor_call(t, NULL, NULL, 0, NULL), -EINVAL));
	cr_assert(eq(int, torpor_call(t, "a\xff", NULL, 0, NULL), -EINVAL));
	cr_assert(eq(int, torpor_call(t, "state", "[]", 0, NULL), -EINVAL));
	cr_assert(eq(int, torpor_call(t, "state", "{", 0, NULL), -EINVAL));
	cr_assert(eq(int, torpor_call(t, "state", "{\"id\":1}", 0, NULL),
		     -EINVAL));
	cr_assert(eq(int, torpor_suspend(t, 0, 1, NULL), -EINVAL));
	cr_assert(eq(int, torpor_wait_state(t, NULL, 1), -EINVAL));
	cr_assert(eq(int, torpor_next_event(t, 0, NULL), -EINVAL));
	cr_assert(eq(int, torpor_next_event(t, 0, &event), -ETIMEDOUT));
	cr_assert(eq(int, torpor_wake(t, LONG_MS), 0));
	torpor_close(t);
}

Test(client, a_late_answer_is_thrown_away)
{
	struct torpor *t = dial(), *other = dial();
	char *state = NULL;

	cr_assert(eq(int, torpor_wait_state(t, "SUSPENDED", 20), -ETIMEDOUT));
	/* Makes the late reply come before the next one. */
	cr_assert(eq(int, torpor_wake(other, LONG_MS), 0));
	cr_assert(eq(int, torpor_state(t, LONG_MS, &state), 0));
	cr_assert(same(state, "RUNNING"));
	free(state);
	torpor_close(t);
	torpor_close(other);
}

Test(client, events_come_in_order_also_during_calls)
{
	struct torpor *t = dial();
	struct pollfd p;
	char *event = NULL;

	cr_assert(eq(int, torpor_events(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_next_event(t, 0, &event), -ETIMEDOUT));
	cr_assert(eq(int, torpor_wake(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_next_event(t, 0, &event), 0));
	cr_assert(ne(ptr, strstr(event, "\"event\":\"RESUMING\""), NULL));
	free(event);
	cr_assert(eq(int, torpor_stop(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_next_event(t, -1, &event), 0));
	cr_assert(ne(ptr, strstr(event, "\"event\":\"EXIT\""), NULL));
	free(event);
	p = (struct pollfd){ .fd = torpor_fd(t), .events = POLLIN };
	cr_assert(eq(int, poll(&p, 1, LONG_MS), 1));
	cr_assert(eq(int, torpor_next_event(t, -1, &event), -ECONNRESET));
	cr_assert(eq(int, torpor_wake(t, 0), -ECONNRESET));
	torpor_close(t);
}

Test(client, too_many_events_lose_the_oldest_and_are_counted)
{
	struct torpor *t = dial();
	char *event = NULL;

	cr_assert(eq(int, torpor_events(t, LONG_MS), 0));
	cr_assert(eq(int, torpor_call(t, "flood", NULL, LONG_MS, NULL), 0));
	cr_assert(eq(u64, torpor_events_lost(t), 10));
	cr_assert(eq(int, torpor_next_event(t, 0, &event), 0));
	cr_assert(ne(ptr, strstr(event, "{\"i\":10}"), NULL));
	free(event);
	torpor_close(t); /* frees the rest */
}

Test(client, the_33rd_takes_the_place_of_the_longest_silent)
{
	struct torpor *t[CONTROL_MAX_CLIENTS + 1];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		t[i] = dial();
	cr_expect(eq(int, torpor_call(t[0], "state", NULL, LONG_MS, NULL),
		     -ECONNRESET));
	cr_expect(zero(int, torpor_call(t[1], "state", NULL, LONG_MS, NULL)));
	cr_expect(zero(int, torpor_call(t[CONTROL_MAX_CLIENTS], "state", NULL,
					LONG_MS, NULL)));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		torpor_close(t[i]);
}

/* --- servers that misbehave --- */

struct script {
	int listen_fd;
	const char *greeting; /* NULL: nothing */
	const char *reply;    /* to the first request; NULL: close */
	pthread_t thread;
};

static void send_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0)
			return; /* the client has had enough */
		text += n;
		len -= (size_t)n;
	}
}

static void *act(void *arg)
{
	struct script *s = arg;
	char buf[4096];
	int fd = accept(s->listen_fd, NULL, NULL);

	if (s->greeting)
		send_all(fd, s->greeting);
	if (recv(fd, buf, sizeof(buf), 0) > 0 && s->reply) {
		send_all(fd, s->reply);
		while (recv(fd, buf, sizeof(buf), 0) > 0)
			;
	}
	close(fd);
	return NULL;
}

static char odd_path[108];

static void script_start(struct script *s)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)snprintf(odd_path, sizeof(odd_path), "%s/odd.sock", dir);
	strcpy(sa.sun_path, odd_path);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(eq(int,
		     bind(s->listen_fd, (struct sockaddr *)&sa, sizeof(sa)),
		     0));
	cr_assert(eq(int, listen(s->listen_fd, 0), 0));
	cr_assert(eq(int, pthread_create(&s->thread, NULL, act, s), 0));
}

static void script_end(struct script *s)
{
	(void)pthread_join(s->thread, NULL);
	close(s->listen_fd);
	unlink(odd_path);
}

#define HELLO "{\"torpor\":\"9\",\"protocol\":1}\n"

static const struct {
	const char *greeting;
	int code;
} bad_greetings[] = {
	{ NULL, -ETIMEDOUT },
	{ "{\"torpor\":\"9\",", -ETIMEDOUT },
	{ "SSH-2.0-OpenSSH_9.2\r\n", -EPROTO },
	{ "[]\n", -EPROTO },
	{ "{}\n", -EPROTO },
	{ "{\"torpor\":9,\"protocol\":1}\n", -EPROTO },
	{ "{\"torpor\":\"9\",\"protocol\":\"1\"}\n", -EPROTO },
	{ "{\"torpor\":\"9\",\"protocol\":2}\n", -EPROTONOSUPPORT },
};

Test(client, what_does_not_greet_well_is_not_torpor)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_greetings); i++) {
		struct script s = { .greeting = bad_greetings[i].greeting };
		bool silent = bad_greetings[i].code == -ETIMEDOUT;
		struct torpor *t = NULL;
		int r;

		script_start(&s);
		r = torpor_connect(odd_path, silent ? 20 : LONG_MS, &t);
		cr_assert(eq(int, r, bad_greetings[i].code), "case %zu", i);
		script_end(&s);
	}
}

static const struct {
	const char *reply;
	int code;
} bad_replies[] = {
	{ NULL, -ECONNRESET },
	{ "nonsense\n", -EPROTO },
	{ "[]\n", -EPROTO },
	{ "{\"id\":1}\n", -EPROTO },
	{ "{\"id\":1,\"ok\":false}\n", -EPROTO },
	{ "{\"id\":1,\"ok\":1}\n", -EPROTO },
	{ "{\"id\":1,\"ok\":true,\"result\":{}}\n", -EPROTO }, /* no state */
	{ "{\"id\":2,\"ok\":true,\"result\":{\"state\":\"X\"}}\n", -ETIMEDOUT },
	{ "{\"id\":null,\"ok\":false,\"error\":{}}\n", -EREMOTEIO },
};

Test(client, a_bad_reply_is_an_error_and_the_connection_stays_broken)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_replies); i++) {
		struct script s = { .greeting = HELLO,
				    .reply = bad_replies[i].reply };
		int code = bad_replies[i].code;
		struct torpor *t = NULL;
		char *state = NULL;

		script_start(&s);
		cr_assert(eq(int, torpor_connect(odd_path, LONG_MS, &t), 0));
		cr_assert(eq(int,
			     torpor_state(t, code == -ETIMEDOUT ? 20 : LONG_MS,
					  &state),
			     code),
			  "case %zu", i);
		if (code == -EPROTO)
			cr_assert(eq(int, torpor_wake(t, 0), -EPROTO));
		torpor_close(t);
		script_end(&s);
	}
}

Test(client, a_line_without_end_is_refused_at_a_bound)
{
	size_t len = 5 << 20;
	char *big = malloc(len + 1);
	struct script s = { .greeting = HELLO, .reply = big };
	struct torpor *t = NULL;

	memset(big, ' ', len);
	big[len] = '\0';
	script_start(&s);
	cr_assert(eq(int, torpor_connect(odd_path, LONG_MS, &t), 0));
	cr_assert(eq(int, torpor_wake(t, LONG_MS), -EMSGSIZE));
	torpor_close(t);
	script_end(&s);
	free(big);
}

Test(client, a_socket_that_is_not_there_or_dead_is_told_apart)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct torpor *t = NULL;
	char longer[120];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/dead", dir);
	cr_assert(eq(int, torpor_connect(sa.sun_path, 0, &t), -ENOENT));
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0));
	cr_assert(eq(int, torpor_connect(sa.sun_path, -1, &t), -ECONNREFUSED));
	close(fd);
	unlink(sa.sun_path);
	memset(longer, 'x', sizeof(longer));
	longer[108] = '\0';
	cr_assert(eq(int, torpor_connect(longer, 0, &t), -ENAMETOOLONG));
}

Test(client, a_full_queue_of_connections_times_out)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), other;
	struct torpor *t = NULL;

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/full", dir);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0));
	cr_assert(eq(int, listen(fd, 0), 0));
	other = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert(
		eq(int, connect(other, (struct sockaddr *)&sa, sizeof(sa)), 0));
	cr_assert(eq(int, torpor_connect(sa.sun_path, 20, &t), -ETIMEDOUT));
	cr_assert(eq(int, torpor_connect(sa.sun_path, 0, &t), -ETIMEDOUT));
	close(other);
	close(fd);
	unlink(sa.sun_path);
}
