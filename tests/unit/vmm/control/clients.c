/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients of the control socket that come, go, do not read or are too many. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/control_rig.h"

TestSuite(control, .init = control_setup, .fini = control_teardown,
	  .timeout = 120);

Test(control, a_request_outlives_its_client)
{
	int fd = dial(), other = dial();

	say(fd, "{\"command\":\"later\"}\n{\"command\":\"later\"}\n");
	while (server.nr_held < 2)
		cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
	close(fd);
	check_alive(other);
	control_reply(server.held[0], json_pack("{s:i}", "ms", 1));
	control_reply_error_data(server.held[1], "refused", json_object(),
				 "no");
	check_alive(other);
	close(other);
}

Test(control, a_request_outlives_the_server)
{
	int fd = dial();

	say(fd, "{\"command\":\"later\"}\n");
	check_alive(fd);
	control_destroy(TAKE(server.ctl));
	control_reply(server.held[0], NULL);
	cr_assert(is_closed(fd));
	close(fd);
}

Test(control, a_client_that_wrote_and_left_is_heard)
{
	int fd = dial();

	say(fd, "{\"command\":\"later\"}\n");
	close(fd);
	while (server.nr_held < 1)
		cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
	control_reply(server.held[0], NULL);
}

/* Nobody takes the replies to the first, which must not lose the last. */
Test(control, all_that_a_client_wrote_before_it_left_is_heard)
{
	int fd = dial(), other = dial();

	say(fd, "{\"command\":\"echo\"}\n{\"command\":\"fail\"}\n"
		"{\"command\":\"later\"}\n");
	close(fd);
	check_alive(other);
	cr_assert(eq(u32, server.nr_held, 1));
	control_reply(server.held[0], NULL);
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
	control_event(server.ctl, "X", NULL);
	check_alive(other);
	cr_assert(eq(u32, server.nr_held, 1));
	control_reply(server.held[0], NULL);
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
	while (server.nr_held < 1)
		cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
	control_reply(server.held[0], NULL);
	r = hear(fd);
	cr_assert(eq(int, json_integer_value(json_object_get(r, "id")), 5));
	json_decref(r);
	cr_assert(is_closed(fd));
	close(fd);
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
	control_reply(server.held[0], NULL);
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
	int fd = dial_at(server.path), next = dup(fd);
	struct rlimit limit, low;

	close(next);
	cr_assert(eq(int, getrlimit(RLIMIT_NOFILE, &limit), 0));
	low = (struct rlimit){ .rlim_cur = (rlim_t)next,
			       .rlim_max = limit.rlim_max };
	cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &low), 0));
	cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
	/* The client still waits, yet nothing is ready but a timer, later. */
	cr_assert(eq(int,
		     epoll_wait(server.loop.epoll_fd, server.loop.batch,
				LOOP_BATCH, 0),
		     0));
	cr_assert(ne(ptr, server.loop.timers.first, NULL));
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
		cr_assert(eq(int, loop_turn(&server.loop, 0), 0));
	}
	cr_assert(eq(int,
		     epoll_wait(server.loop.epoll_fd, server.loop.batch,
				LOOP_BATCH, 0),
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
	for (int turns = 0; server.nr_slow < 10; turns++) {
		unsigned int before = server.nr_slow;

		cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
		cr_assert(le(uint, server.nr_slow - before, 1), "in one turn");
	}
	say(other, "{\"command\":\"echo\"}\n");
	json_decref(hear(other));
	cr_assert(lt(uint, server.nr_slow, 16));
	for (int i = 0; i < 180; i++)
		json_decref(hear(fd));
	cr_assert(eq(uint, server.nr_slow, 180));
	check_alive(fd);
	close(fd);
	close(other);
}

Test(control, quick_requests_have_a_budget_too)
{
	int fd = dial(), other = dial();

	for (int i = 0; i < 150; i++)
		say(fd, "{\"command\":\"echo\"}\n");
	cr_assert(eq(int, loop_turn(&server.loop, 1000), 0));
	say(fd, "{\"command\":\"later\"}\n");
	close(fd);
	/* All of it is heard, whoever else is served meanwhile. */
	while (server.nr_held < 1)
		check_alive(other);
	control_reply(server.held[0], NULL);
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
			cr_assert(eq(int, loop_turn(&server.loop, 0), 0));
	}
	for (int i = 0; i < 3000; i++) {
		json_t *r = hear(fd);

		cr_assert(eq(int, json_integer_value(json_object_get(r, "id")),
			     i));
		json_decref(r);
	}
	close(fd);
}

Test(control, an_idle_server_does_not_wake_up)
{
	int fd = dial();

	check_alive(fd);
	cr_assert(eq(int, loop_turn(&server.loop, 0), 0));
	/* Nothing is ready: neither sockets nor timers. */
	cr_assert(eq(int,
		     epoll_wait(server.loop.epoll_fd, server.loop.batch,
				LOOP_BATCH, 0),
		     0));
	cr_assert(eq(ptr, server.loop.timers.first, NULL));
	close(fd);
}

Test(control, a_socket_that_cannot_be_made_is_an_error)
{
	struct control *second = NULL;
	struct err err = { "" };

	cr_assert(eq(int,
		     control_create(&server.loop, server.path, commands,
				    &server.loop, &second, &err),
		     -EADDRINUSE));
	cr_assert(ne(ptr, strstr(err.msg, server.path), NULL));
	cr_assert(eq(ptr, second, NULL));
}
