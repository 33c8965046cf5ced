/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of the control socket and their replies, good lines and bad ones. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/control_rig.h"
#include "tests/lib/text.h"

TestSuite(control, .init = control_setup, .fini = control_teardown,
	  .timeout = 120);

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
	cr_assert(same(reply_code(r), "aborted"));
	cr_assert(same(reply_message(r), "woken by net0"));
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
	cr_assert(same(reply_message(r), "caf?"));
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
	cr_assert(eq(u32, server.nr_held, 2));
	control_reply(server.held[1], NULL);
	control_reply(server.held[0], NULL);
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
		cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
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
	cr_assert(eq(sz, json_array_size(names), 2 + NR_COMMANDS));
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
		cr_assert(same(reply_code(r), bad_lines[i].code), "line %s",
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
	cr_assert(same(reply_message(r),
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
	cr_assert(eq(u32, server.nr_held, 64));
	control_reply(server.held[0], NULL);
	json_decref(hear(fd));
	check_alive(fd);
	for (unsigned int i = 1; i < server.nr_held; i++)
		control_reply(server.held[i], NULL);
	close(fd);
}
