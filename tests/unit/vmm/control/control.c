/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket over real sockets; the server's loop is turned by hand,
 * so that every step is in a known order.
 */
#define _GNU_SOURCE
#include "vmm/control/control.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/fd.h"

#define MAX_HELD 128

static char dir[64], path[108];
static struct loop loop;
static struct control *ctl;
static struct control_request *held[MAX_HELD];
static unsigned int nr_held;

static void do_echo(struct control_request *req, json_t *args, void *ctx)
{
	static const char *const keys[] = { "text", "number", NULL };

	cr_assert(eq(ptr, ctx, &loop));
	if (!control_check_keys(req, args, keys))
		return;
	control_reply(req, json_pack("{s:O?}", "text",
				     json_object_get(args, "text")));
}

static void do_later(struct control_request *req, json_t *args, void *ctx)
{
	cr_assert(lt(u32, nr_held, MAX_HELD));
	held[nr_held++] = req;
}

static void do_fail(struct control_request *req, json_t *args, void *ctx)
{
	control_reply_error_data(req, "aborted",
				 json_pack("{s:s}", "source", "net0"),
				 "woken by %s", "net0");
}

/* An error text that is no UTF-8. */
static void do_bad_text(struct control_request *req, json_t *args, void *ctx)
{
	control_reply_error(req, "odd", "caf\xe9");
}

static void do_shout(struct control_request *req, json_t *args, void *ctx)
{
	control_event(ctl, "SHOUT", NULL);
	control_reply(req, NULL);
}

static unsigned int nr_slow;

static void do_slow(struct control_request *req, json_t *args, void *ctx)
{
	nr_slow++;
	(void)usleep(10000);
	control_reply(req, NULL);
}

static const struct control_command commands[] = {
	{ "echo", do_echo },
	{ "later", do_later },
	{ "fail", do_fail },
	{ "bad-text", do_bad_text },
	{ "shout", do_shout },
	{ "slow", do_slow },
	{ NULL },
};

static void setup(void)
{
	struct err err = { "" };

	strcpy(dir, "/tmp/torpor-control.XXXXXX");
	cr_assert(ne(ptr, mkdtemp(dir), NULL));
	(void)snprintf(path, sizeof(path), "%s/vm.sock", dir);
	cr_assert(eq(int, loop_init(&loop), 0));
	cr_assert(eq(int,
		     control_create(&loop, path, commands, &loop, &ctl, &err),
		     0),
		  "%s", err.msg);
}

static void teardown(void)
{
	if (ctl)
		control_destroy(ctl);
	loop_finish(&loop);
	(void)unlink(path);
	(void)rmdir(dir);
}

TestSuite(control, .init = setup, .fini = teardown, .timeout = 120);

/* --- a client --- */

static int dial_at(const char *at)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, at);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	(void)close(fd);
	return -errno;
}

static void send_bytes(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			cr_assert(eq(int, errno, EAGAIN));
			cr_assert(eq(int, loop_turn(&loop, 1000), 0));
			continue;
		}
		data += n;
		len -= (size_t)n;
	}
}

static void say(int fd, const char *text)
{
	send_bytes(fd, text, strlen(text));
}

/* One byte; turns the loop while there is none. -1 at the end of file. */
static int get_byte(int fd)
{
	for (int turns = 0; turns < 2000; turns++) {
		unsigned char c;
		ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

		if (n == 1)
			return c;
		if (n == 0 || errno != EAGAIN)
			return -1;
		cr_assert(eq(int, loop_turn(&loop, 1000), 0));
	}
	cr_fatal("nothing came");
	return -1;
}

/* The next line as JSON; NULL at the end of file. */
static json_t *hear(int fd)
{
	static char line[1 << 17];
	size_t len = 0;
	int c;

	while ((c = get_byte(fd)) != '\n') {
		if (c < 0)
			return NULL;
		line[len++] = (char)c;
	}
	return json_loadb(line, len, 0, NULL);
}

static const char *error_code(json_t *reply)
{
	const char *s = json_string_value(
		json_object_get(json_object_get(reply, "error"), "code"));

	return s ? s : "(none)";
}

static const char *error_message(json_t *reply)
{
	return json_string_value(
		json_object_get(json_object_get(reply, "error"), "message"));
}

static bool is_ok(json_t *reply)
{
	return json_is_true(json_object_get(reply, "ok"));
}

static bool same(const char *got, const char *want)
{
	if (got && !strcmp(got, want))
		return true;
	cr_log_error("got '%s', want '%s'", got ? got : "(null)", want);
	return false;
}

/* Connects and takes the greeting. */
static int dial(void)
{
	int fd = dial_at(path);
	json_t *hello;

	cr_assert(ge(int, fd, 0));
	hello = hear(fd);
	cr_assert(eq(int,
		     json_integer_value(json_object_get(hello, "protocol")),
		     CONTROL_PROTOCOL));
	cr_assert(same(json_string_value(json_object_get(hello, "torpor")),
		       TORPOR_VERSION));
	json_decref(hello);
	return fd;
}

/* The server still serves @fd. */
static void check_alive(int fd)
{
	json_t *r;

	say(fd, "{\"id\":\"alive\",\"command\":\"echo\",\"text\":\"x\"}\n");
	r = hear(fd);
	cr_assert(ne(ptr, r, NULL), "the connection is gone");
	cr_assert(same(json_string_value(json_object_get(r, "id")), "alive"));
	cr_assert(is_ok(r));
	json_decref(r);
}

static void check_error(int fd, const char *code)
{
	json_t *r = hear(fd);

	cr_assert(ne(ptr, r, NULL));
	cr_assert(eq(int, is_ok(r), 0));
	cr_assert(same(error_code(r), code));
	json_decref(r);
}

static bool is_closed(int fd)
{
	json_t *r = hear(fd);

	json_decref(r);
	return !r;
}

/* --- requests --- */

Test(control, replies_with_the_id_and_the_result)
{
	int fd = dial();
	json_t *r;

	say(fd, "{\"id\":7,\"command\":\"echo\",\"text\":\"hi\"}\n");
	r = hear(fd);
	cr_assert(eq(int, json_integer_value(json_object_get(r, "id")), 7));
	cr_assert(is_ok(r));
	cr_assert(same(json_string_value(json_object_get(
			       json_object_get(r, "result"), "text")),
		       "hi"));
	json_decref(r);
	close(fd);
}

Test(control, error_reply_carries_code_message_and_data)
{
	int fd = dial();
	json_t *r, *data;

	say(fd, "{\"command\":\"fail\"}\n");
	r = hear(fd);
	cr_assert(eq(ptr, json_object_get(r, "id"), json_null()));
	cr_assert(same(error_code(r), "aborted"));
	cr_assert(same(error_message(r), "woken by net0"));
	data = json_object_get(json_object_get(r, "error"), "data");
	cr_assert(same(json_string_value(json_object_get(data, "source")),
		       "net0"));
	json_decref(r);
	close(fd);
}

Test(control, error_text_that_is_no_utf8_is_scrubbed)
{
	int fd = dial();
	json_t *r;

	say(fd, "{\"command\":\"bad-text\"}\n");
	r = hear(fd);
	cr_assert(same(error_message(r), "caf?"));
	json_decref(r);
	close(fd);
}

Test(control, late_replies_come_in_the_order_they_are_made)
{
	int fd = dial();
	json_t *r;

	say(fd, "{\"id\":1,\"command\":\"later\"}\n"
		"{\"id\":2,\"command\":\"later\"}\n");
	check_alive(fd);
	cr_assert(eq(u32, nr_held, 2));
	control_reply(held[1], NULL);
	control_reply(held[0], NULL);
	r = hear(fd);
	cr_assert(eq(int, json_integer_value(json_object_get(r, "id")), 2));
	json_decref(r);
	r = hear(fd);
	cr_assert(eq(int, json_integer_value(json_object_get(r, "id")), 1));
	json_decref(r);
	close(fd);
}

Test(control, a_request_may_come_byte_by_byte)
{
	const char *text = "{\"id\":1,\"command\":\"echo\"}\n";
	int fd = dial();
	json_t *r;

	for (const char *p = text; *p; p++) {
		send_bytes(fd, p, 1);
		cr_assert(eq(int, loop_turn(&loop, 1000), 0));
	}
	r = hear(fd);
	cr_assert(is_ok(r));
	json_decref(r);
	close(fd);
}

Test(control, version_lists_the_commands)
{
	int fd = dial();
	json_t *r, *names;

	say(fd, "{\"command\":\"version\"}\n");
	r = hear(fd);
	names = json_object_get(json_object_get(r, "result"), "commands");
	cr_assert(eq(sz, json_array_size(names), 2 + ARRAY_SIZE(commands) - 1));
	json_decref(r);
	say(fd, "{\"command\":\"version\",\"x\":1}\n");
	check_error(fd, "invalid");
	close(fd);
}

static const struct {
	const char *line;
	const char *code;
} bad_lines[] = {
	{ "nonsense", "parse" },
	{ "{\"command\":\"echo\"", "parse" },
	{ "{\"command\":\"echo\"} x", "parse" },
	{ "{'command':'echo'}", "parse" },
	{ "{\"command\":\"echo\",\"command\":\"echo\"}", "parse" },
	{ "{\"command\":\"echo\",\"text\":\"\\u0000\"}", "parse" },
	{ "{\"command\":\"echo\",\"text\":\"\xff\"}", "parse" },
	{ "{\"command\":\"echo\",\"number\":1e999}", "parse" },
	{ "{\"id\":99999999999999999999,\"command\":\"echo\"}", "parse" },
	{ "[]", "parse" },
	{ "1", "parse" },
	{ "null", "parse" },
	{ "\"echo\"", "parse" },
	{ "{}", "invalid" },
	{ "{\"command\":1}", "invalid" },
	{ "{\"command\":null}", "invalid" },
	{ "{\"id\":1.5,\"command\":\"echo\"}", "invalid" },
	{ "{\"id\":{},\"command\":\"echo\"}", "invalid" },
	{ "{\"id\":true,\"command\":\"echo\"}", "invalid" },
	{ "{\"command\":\"echo\",\"txet\":1}", "invalid" },
	{ "{\"command\":\"events\",\"all\":true}", "invalid" },
	{ "{\"command\":\"explode\"}", "unknown-command" },
	{ "{\"command\":\"\"}", "unknown-command" },
};

Test(control, a_bad_line_gets_an_error_and_the_connection_lives)
{
	int fd = dial();

	for (size_t i = 0; i < ARRAY_SIZE(bad_lines); i++) {
		json_t *r;

		say(fd, bad_lines[i].line);
		say(fd, "\n");
		r = hear(fd);
		cr_assert(same(error_code(r), bad_lines[i].code), "line %s",
			  bad_lines[i].line);
		json_decref(r);
		check_alive(fd);
	}
	close(fd);
}

Test(control, an_unknown_key_is_named_with_the_known_ones)
{
	int fd = dial();
	json_t *r;

	say(fd, "{\"command\":\"echo\",\"txet\":1}\n");
	r = hear(fd);
	cr_assert(same(error_message(r),
		       "unknown key 'txet' (known: text, number)"));
	json_decref(r);
	close(fd);
}

Test(control, nul_bytes_are_refused)
{
	static const char raw[] = "{\"command\":\"echo\0\"}\n\0\n";
	int fd = dial();

	send_bytes(fd, raw, sizeof(raw) - 1);
	check_error(fd, "parse");
	check_error(fd, "parse");
	check_alive(fd);
	close(fd);
}

Test(control, deep_nesting_is_refused)
{
	int fd = dial();

	say(fd, "{\"command\":\"echo\",\"text\":");
	for (int i = 0; i < 20000; i++)
		say(fd, "[");
	say(fd, "\n");
	check_error(fd, "parse");
	check_alive(fd);
	close(fd);
}

Test(control, blank_lines_are_ignored)
{
	int fd = dial();

	say(fd, "\n\r\n \t\n");
	check_alive(fd);
	close(fd);
}

/* A request of @total bytes before its newline. */
static void say_padded(int fd, size_t total)
{
	static const char head[] = "{\"command\":\"echo\",\"text\":\"";
	static char pad[4096];
	size_t left = total - (sizeof(head) - 1) - 2;

	memset(pad, 'a', sizeof(pad));
	say(fd, head);
	while (left > 0) {
		size_t n = left < sizeof(pad) ? left : sizeof(pad);

		send_bytes(fd, pad, n);
		left -= n;
	}
	say(fd, "\"}");
	say(fd, "\n");
}

Test(control, the_longest_line_is_taken)
{
	int fd = dial();
	json_t *r;

	say_padded(fd, CONTROL_MAX_LINE);
	r = hear(fd);
	cr_assert(is_ok(r));
	json_decref(r);
	check_alive(fd);
	close(fd);
}

Test(control, a_longer_line_is_thrown_away_and_told_once)
{
	int fd = dial();

	say_padded(fd, CONTROL_MAX_LINE + 1);
	check_error(fd, "too-long");
	check_alive(fd);
	say_padded(fd, CONTROL_MAX_LINE * 4);
	check_error(fd, "too-long");
	check_alive(fd);
	close(fd);
}

Test(control, unanswered_requests_are_bounded)
{
	int fd = dial();

	for (int i = 0; i < 65; i++)
		say(fd, "{\"command\":\"later\"}\n");
	check_error(fd, "busy");
	cr_assert(eq(u32, nr_held, 64));
	control_reply(held[0], NULL);
	json_decref(hear(fd));
	check_alive(fd);
	for (unsigned int i = 1; i < nr_held; i++)
		control_reply(held[i], NULL);
	close(fd);
}

/* --- clients that come and go --- */

Test(control, a_request_outlives_its_client)
{
	int fd = dial(), other = dial();

	say(fd, "{\"command\":\"later\"}\n{\"command\":\"later\"}\n");
	while (nr_held < 2)
		cr_assert(eq(int, loop_turn(&loop, 1000), 0));
	close(fd);
	check_alive(other);
	control_reply(held[0], json_pack("{s:i}", "ms", 1));
	control_reply_error_data(held[1], "refused", json_object(), "no");
	check_alive(other);
	close(other);
}

Test(control, a_request_outlives_the_server)
{
	int fd = dial();

	say(fd, "{\"command\":\"later\"}\n");
	check_alive(fd);
	control_destroy(TAKE(ctl));
	control_reply(held[0], NULL);
	cr_assert(is_closed(fd));
	close(fd);
}

Test(control, a_client_that_wrote_and_left_is_heard)
{
	int fd = dial();

	say(fd, "{\"command\":\"later\"}\n");
	close(fd);
	while (nr_held < 1)
		cr_assert(eq(int, loop_turn(&loop, 1000), 0));
	control_reply(held[0], NULL);
}

/* Nobody takes the replies to the first, which must not lose the last. */
Test(control, all_that_a_client_wrote_before_it_left_is_heard)
{
	int fd = dial(), other = dial();

	say(fd, "{\"command\":\"echo\"}\n{\"command\":\"fail\"}\n"
		"{\"command\":\"later\"}\n");
	close(fd);
	check_alive(other);
	cr_assert(eq(u32, nr_held, 1));
	control_reply(held[0], NULL);
	close(other);
}

Test(control, an_event_for_one_who_left_loses_no_request_of_his)
{
	int fd = dial(), other = dial();
	json_t *r;

	say(fd, "{\"command\":\"events\"}\n");
	r = hear(fd);
	cr_assert(is_ok(r));
	json_decref(r);
	say(fd, "{\"command\":\"later\"}\n");
	close(fd);
	control_event(ctl, "X", NULL);
	check_alive(other);
	cr_assert(eq(u32, nr_held, 1));
	control_reply(held[0], NULL);
	/* Its place is free again. */
	for (int i = 1; i < CONTROL_MAX_CLIENTS; i++)
		(void)dial();
	check_alive(other);
	close(other);
}

Test(control, a_half_closed_client_gets_its_late_reply_then_the_end)
{
	int fd = dial();
	json_t *r;

	/* Without its newline, as echo -n gives it. */
	say(fd, "{\"id\":5,\"command\":\"later\"}");
	cr_assert(eq(int, shutdown(fd, SHUT_WR), 0));
	while (nr_held < 1)
		cr_assert(eq(int, loop_turn(&loop, 1000), 0));
	control_reply(held[0], NULL);
	r = hear(fd);
	cr_assert(eq(int, json_integer_value(json_object_get(r, "id")), 5));
	json_decref(r);
	cr_assert(is_closed(fd));
	close(fd);
}

static void subscribe(int fd)
{
	json_t *r;

	say(fd, "{\"command\":\"events\"}\n");
	r = hear(fd);
	cr_assert(is_ok(r));
	json_decref(r);
}

/* Or 'torpor stop' is kept out by those who only sit there. */
Test(control, the_33rd_client_gets_the_place_of_the_longest_silent)
{
	int fds[CONTROL_MAX_CLIENTS], extra[2];

	for (int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		fds[i] = dial();
	/* These wait for something. */
	subscribe(fds[0]);
	say(fds[1], "{\"command\":\"later\"}\n");
	for (int i = 3; i < CONTROL_MAX_CLIENTS; i++)
		check_alive(fds[i]);
	for (int i = 0; i < 2; i++) {
		extra[i] = dial();
		check_alive(extra[i]);
		check_error(fds[2 + i], "busy");
		cr_assert(is_closed(fds[2 + i]));
	}
	check_alive(fds[0]);
	control_reply(held[0], NULL);
	json_decref(hear(fds[1]));
	for (int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		close(fds[i]);
	close(extra[0]);
	close(extra[1]);
}

Test(control, the_33rd_client_is_let_in_where_all_wait_for_events)
{
	int fds[CONTROL_MAX_CLIENTS], extra;

	for (int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		fds[i] = dial();
		subscribe(fds[i]);
	}
	extra = dial();
	check_alive(extra);
	check_error(fds[0], "busy");
	cr_assert(is_closed(fds[0]));
	check_alive(fds[1]);
	close(extra);
	for (int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		close(fds[i]);
}

Test(control, without_fds_to_spare_clients_wait_and_the_loop_does_not_spin)
{
	int fd = dial_at(path), next = dup(fd);
	struct rlimit limit, low;

	close(next);
	cr_assert(eq(int, getrlimit(RLIMIT_NOFILE, &limit), 0));
	low = (struct rlimit){ .rlim_cur = (rlim_t)next,
			       .rlim_max = limit.rlim_max };
	cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &low), 0));
	cr_assert(eq(int, loop_turn(&loop, 1000), 0));
	/* The client still waits, yet nothing is ready but a timer, later. */
	cr_assert(eq(int, epoll_wait(loop.epoll_fd, loop.batch, LOOP_BATCH, 0),
		     0));
	cr_assert(ne(ptr, loop.timers.first, NULL));
	cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &limit), 0));
	json_decref(hear(fd));
	check_alive(fd);
	close(fd);
}

/* Its requests wait until it takes the replies to those before. */
Test(control, a_client_that_does_not_read_is_not_served_others_are)
{
	static const char request[] = "{\"command\":\"version\"}\n";
	const size_t len = sizeof(request) - 1;
	int fd = dial(), other = dial();
	size_t sent = 0;
	ssize_t n;

	for (int full = 0; full < 100; full = n < 0 ? full + 1 : 0) {
		n = send(fd, request + sent % len, len - sent % len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		cr_assert(n > 0 || errno == EAGAIN);
		sent += n > 0 ? (size_t)n : 0;
		cr_assert(lt(sz, sent, (size_t)CONTROL_MAX_BACKLOG * 8));
		cr_assert(eq(int, loop_turn(&loop, 0), 0));
	}
	cr_assert(eq(int, epoll_wait(loop.epoll_fd, loop.batch, LOOP_BATCH, 0),
		     0));
	check_alive(other);
	for (size_t i = 0; i < sent / len; i++) {
		json_t *r = hear(fd);

		cr_assert(is_ok(r));
		json_decref(r);
	}
	send_bytes(fd, request + sent % len, len - sent % len);
	json_decref(hear(fd));
	check_alive(fd);
	close(fd);
	close(other);
}

Test(control, many_requests_at_once_leave_the_loop_to_others)
{
	int fd = dial(), other = dial();

	for (int i = 0; i < 180; i++)
		say(fd, "{\"command\":\"slow\"}\n");
	for (int turns = 0; nr_slow < 10; turns++) {
		unsigned int before = nr_slow;

		cr_assert(eq(int, loop_turn(&loop, 1000), 0));
		cr_assert(le(uint, nr_slow - before, 1), "in one turn");
	}
	say(other, "{\"command\":\"echo\"}\n");
	json_decref(hear(other));
	cr_assert(lt(uint, nr_slow, 16));
	for (int i = 0; i < 180; i++)
		json_decref(hear(fd));
	cr_assert(eq(uint, nr_slow, 180));
	check_alive(fd);
	close(fd);
	close(other);
}

Test(control, quick_requests_have_a_budget_too)
{
	int fd = dial(), other = dial();

	for (int i = 0; i < 150; i++)
		say(fd, "{\"command\":\"echo\"}\n");
	cr_assert(eq(int, loop_turn(&loop, 1000), 0));
	say(fd, "{\"command\":\"later\"}\n");
	close(fd);
	/* All of it is heard, whoever else is served meanwhile. */
	while (nr_held < 1)
		check_alive(other);
	control_reply(held[0], NULL);
	close(other);
}

Test(control, a_slow_reader_gets_everything_in_order)
{
	int fd = dial();

	for (int i = 0; i < 3000; i++) {
		char line[64];

		(void)snprintf(line, sizeof(line),
			       "{\"id\":%d,\"command\":\"echo\"}\n", i);
		send_bytes(fd, line, strlen(line));
		if (i % 100 == 0)
			cr_assert(eq(int, loop_turn(&loop, 0), 0));
	}
	for (int i = 0; i < 3000; i++) {
		json_t *r = hear(fd);

		cr_assert(eq(int, json_integer_value(json_object_get(r, "id")),
			     i));
		json_decref(r);
	}
	close(fd);
}

/* --- events --- */

Test(control, events_go_to_those_who_asked)
{
	int fd = dial(), deaf = dial();
	json_t *r;

	say(fd, "{\"id\":1,\"command\":\"events\"}\n");
	r = hear(fd);
	cr_assert(is_ok(r));
	json_decref(r);
	control_event(ctl, "SUSPENDED", json_pack("{s:s}", "kind", "s2idle"));
	r = hear(fd);
	cr_assert(same(json_string_value(json_object_get(r, "event")),
		       "SUSPENDED"));
	cr_assert(
		gt(i64, json_integer_value(json_object_get(r, "time_ns")), 0));
	json_decref(r);
	check_alive(deaf); /* its next line is the reply */
	close(fd);
	close(deaf);
}

Test(control, an_event_from_a_handler_comes_before_its_reply)
{
	int fd = dial();
	json_t *r;

	say(fd, "{\"command\":\"events\"}\n{\"command\":\"shout\"}\n");
	json_decref(hear(fd));
	r = hear(fd);
	cr_assert(ne(ptr, json_object_get(r, "event"), NULL));
	cr_assert(eq(sz, json_object_size(json_object_get(r, "data")), 0));
	json_decref(r);
	r = hear(fd);
	cr_assert(is_ok(r));
	json_decref(r);
	close(fd);
}

static json_int_t number_of(json_t *event, const char *key)
{
	return json_integer_value(json_object_get(event, key));
}

static bool is_event(json_t *event, const char *name)
{
	return !strcmp(json_string_value(json_object_get(event, "event")),
		       name);
}

Test(control, an_event_client_that_does_not_read_loses_events_and_is_told)
{
	static char text[8192];
	int fd = dial(), other = dial();
	json_int_t got = 0, lost = 0;
	json_t *r;

	subscribe(fd);
	subscribe(other);
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 200; i++) {
		control_event(ctl, "RUNNING", json_pack("{s:s}", "t", text));
		json_decref(hear(other));
	}
	for (r = hear(fd); !is_event(r, "EVENTS_LOST"); r = hear(fd)) {
		got++;
		json_decref(r);
	}
	lost = number_of(json_object_get(r, "data"), "count");
	json_decref(r);
	cr_assert(gt(i64, got, 10));
	cr_assert(gt(i64, lost, 10));
	cr_assert(eq(i64, got + lost, 200));
	/* It goes on. */
	control_event(ctl, "SUSPENDED", NULL);
	r = hear(fd);
	cr_assert(is_event(r, "SUSPENDED"));
	json_decref(r);
	check_alive(fd);
	close(fd);
	close(other);
}

/* As a guest can make them that does nothing else. */
Test(control, a_flood_of_events_is_thinned_and_the_last_is_told)
{
	const json_int_t flood = 10000;
	int fd = dial();
	json_int_t lines = 0, events = 0, last_ns = 0;
	bool begin = true, died = false;

	subscribe(fd);
	for (json_int_t i = 0; i < flood; i++) {
		control_event(ctl, begin ? "SUSPENDING" : "RUNNING",
			      json_pack("{s:I}", "i", i));
		begin = !begin;
		/* Rare ones are not lost in it, each of another device. */
		if (i == flood / 2 || i == flood / 2 + 1)
			control_event(ctl, "DEVICE_DIED",
				      json_pack("{s:s}", "device",
						begin ? "blk0" : "net0"));
	}
	while (events < flood + 2) {
		json_t *r = hear(fd);
		json_t *data = json_object_get(r, "data");
		json_int_t time_ns = number_of(r, "time_ns");

		lines++;
		events += 1 + number_of(r, "coalesced");
		cr_assert(ge(i64, time_ns, last_ns), "in the order of time");
		last_ns = time_ns;
		died |= is_event(r, "DEVICE_DIED");
		if (events == flood + 2)
			cr_assert(eq(i64, number_of(data, "i"), flood - 1),
				  "the last is the last");
		json_decref(r);
	}
	cr_assert(died);
	cr_assert(lt(i64, lines, flood / 2));
	check_alive(fd);
	close(fd);
}

Test(control, what_is_held_back_goes_out_before_the_end)
{
	char taken[4096];
	int fd = dial();
	json_t *r;

	subscribe(fd);
	for (int i = 0; i < 5000; i++) {
		control_event(ctl, "RUNNING", NULL);
		(void)!recv(fd, taken, sizeof(taken), MSG_DONTWAIT);
	}
	control_event(ctl, "EXIT", NULL);
	control_destroy(TAKE(ctl));
	r = hear(fd);
	cr_assert(is_event(r, "RUNNING"));
	cr_assert(gt(i64, number_of(r, "coalesced"), 0));
	json_decref(r);
	r = hear(fd);
	cr_assert(is_event(r, "EXIT"));
	json_decref(r);
	cr_assert(is_closed(fd));
	close(fd);
}

Test(control, an_event_without_listeners_costs_nothing_and_leaks_nothing)
{
	json_t *data = json_object();

	json_incref(data);
	control_event(ctl, "RUNNING", data);
	cr_assert(eq(sz, data->refcount, 1));
	json_decref(data);
}

Test(control, an_idle_server_does_not_wake_up)
{
	int fd = dial();

	check_alive(fd);
	cr_assert(eq(int, loop_turn(&loop, 0), 0));
	/* Nothing is ready: neither sockets nor timers. */
	cr_assert(eq(int, epoll_wait(loop.epoll_fd, loop.batch, LOOP_BATCH, 0),
		     0));
	cr_assert(eq(ptr, loop.timers.first, NULL));
	close(fd);
}

Test(control, a_socket_that_cannot_be_made_is_an_error)
{
	struct control *second = NULL;
	struct err err = { "" };

	cr_assert(
		eq(int,
		   control_create(&loop, path, commands, &loop, &second, &err),
		   -EADDRINUSE));
	cr_assert(ne(ptr, strstr(err.msg, path), NULL));
	cr_assert(eq(ptr, second, NULL));
}
