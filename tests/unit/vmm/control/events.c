/* SPDX-License-Identifier: BSD-3-Clause */
/* Events on the control socket: who gets them, and what a slow client loses. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/control_rig.h"
#include "tests/lib/text.h"

TestSuite(control, .init = control_setup, .fini = control_teardown,
	  .timeout = 120);

Test(control, events_go_to_those_who_asked)
{
	int fd = dial(), deaf = dial();
	json_t *r;

	say(fd, "{\"id\":1,\"command\":\"events\"}\n");
	r = hear(fd);
	cr_assert(is_ok(r));
	json_decref(r);
	control_event(server.ctl, "SUSPENDED",
		      json_pack("{s:s}", "kind", "s2idle"));
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
		control_event(server.ctl, "RUNNING",
			      json_pack("{s:s}", "t", text));
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
	control_event(server.ctl, "SUSPENDED", NULL);
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
		control_event(server.ctl, begin ? "SUSPENDING" : "RUNNING",
			      json_pack("{s:I}", "i", i));
		begin = !begin;
		/* Rare ones are not lost in it, each of another device. */
		if (i == flood / 2 || i == flood / 2 + 1)
			control_event(server.ctl, "DEVICE_DIED",
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
		control_event(server.ctl, "RUNNING", NULL);
		(void)!recv(fd, taken, sizeof(taken), MSG_DONTWAIT);
	}
	control_event(server.ctl, "EXIT", NULL);
	control_destroy(TAKE(server.ctl));
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
	control_event(server.ctl, "RUNNING", data);
	cr_assert(eq(sz, data->refcount, 1));
	json_decref(data);
}
