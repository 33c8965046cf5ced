/* SPDX-License-Identifier: BSD-3-Clause */
/* See control_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/control_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/text.h"

struct test_server server;

static void do_echo(struct control_request *req, json_t *args, void *ctx)
{
	static const char *const keys[] = { "text", "number", NULL };

	cr_assert(eq(ptr, ctx, &server.loop));
	if (!control_check_keys(req, args, keys))
		return;
	control_reply(req, json_pack("{s:O?}", "text",
				     json_object_get(args, "text")));
}

static void do_later(struct control_request *req, json_t *args, void *ctx)
{
	cr_assert(lt(u32, server.nr_held, MAX_HELD));
	server.held[server.nr_held++] = req;
}

static void do_fail(struct control_request *req, json_t *args, void *ctx)
{
	control_reply_error_data(req, "aborted",
				 json_pack("{s:s}", "source", "net0"),
				 "woken by %s", "net0");
}

/* An error text that is not UTF-8. */
static void do_bad_text(struct control_request *req, json_t *args, void *ctx)
{
	control_reply_error(req, "odd", "caf\xe9");
}

static void do_shout(struct control_request *req, json_t *args, void *ctx)
{
	control_event(server.ctl, "SHOUT", NULL);
	control_reply(req, NULL);
}

static void do_slow(struct control_request *req, json_t *args, void *ctx)
{
	server.nr_slow++;
	(void)usleep(10000);
	control_reply(req, NULL);
}

const struct control_command commands[NR_COMMANDS + 1] = {
	{ "echo", do_echo },
	{ "later", do_later },
	{ "fail", do_fail },
	{ "bad-text", do_bad_text },
	{ "shout", do_shout },
	{ "slow", do_slow },
	{ NULL },
};

void control_setup(void)
{
	struct err err = { "" };

	strcpy(server.dir, "/tmp/torpor-control.XXXXXX");
	cr_assert(ne(ptr, mkdtemp(server.dir), NULL));
	(void)snprintf(server.path, sizeof(server.path), "%s/vm.sock",
		       server.dir);
	cr_assert(eq(int, loop_init(&server.loop), 0));
	cr_assert(eq(int,
		     control_create(&server.loop, server.path, commands,
				    &server.loop, &server.ctl, &err),
		     0),
		  "%s", err.msg);
}

void control_teardown(void)
{
	if (server.ctl)
		control_destroy(server.ctl);
	loop_finish(&server.loop);
	(void)unlink(server.path);
	(void)rmdir(server.dir);
}

/* --- a client --- */

int dial_at(const char *at)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, at);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	(void)close(fd);
	return -errno;
}

void send_bytes(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			cr_assert(eq(int, errno, EAGAIN));
			cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
			continue;
		}
		data += n;
		len -= (size_t)n;
	}
}

void say(int fd, const char *text)
{
	send_bytes(fd, text, strlen(text));
}

int get_byte(int fd)
{
	for (int turns = 0; turns < 2000; turns++) {
		unsigned char c;
		ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

		if (n == 1)
			return c;
		if (n == 0 || errno != EAGAIN)
			return -1;
		cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
	}
	cr_fatal("nothing came");
	return -1;
}

json_t *hear(int fd)
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

const char *reply_code(json_t *reply)
{
	const char *s = json_string_value(
		json_object_get(json_object_get(reply, "error"), "code"));

	return s ? s : "(none)";
}

const char *reply_message(json_t *reply)
{
	return json_string_value(
		json_object_get(json_object_get(reply, "error"), "message"));
}

bool is_ok(json_t *reply)
{
	return json_is_true(json_object_get(reply, "ok"));
}

int dial(void)
{
	int fd = dial_at(server.path);
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

void check_alive(int fd)
{
	json_t *r;

	say(fd, "{\"id\":\"alive\",\"command\":\"echo\",\"text\":\"x\"}\n");
	r = hear(fd);
	cr_assert(ne(ptr, r, NULL), "the connection is gone");
	cr_assert(same(json_string_value(json_object_get(r, "id")), "alive"));
	cr_assert(is_ok(r));
	json_decref(r);
}

void check_error(int fd, const char *code)
{
	json_t *r = hear(fd);

	cr_assert(ne(ptr, r, NULL));
	cr_assert(eq(int, is_ok(r), 0));
	cr_assert(same(reply_code(r), code));
	json_decref(r);
}

bool is_closed(int fd)
{
	json_t *r = hear(fd);

	json_decref(r);
	return !r;
}

void subscribe(int fd)
{
	json_t *r;

	say(fd, "{\"command\":\"events\"}\n");
	r = hear(fd);
	cr_assert(is_ok(r));
	json_decref(r);
}
