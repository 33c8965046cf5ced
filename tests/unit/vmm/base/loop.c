/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/loop.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/machine/mailbox.h"

#define MS 1000000ULL

static struct loop loop;

struct counter {
	struct loop_source src;
	struct loop_timer timer;
	struct counter *victim; /* removed by the callback */
	unsigned int calls;
	unsigned int order; /* of the last timer call */
	unsigned int again; /* times the timer arms itself again */
};

static unsigned int timer_calls;

static void setup(void)
{
	timer_calls = 0;
	cr_assert(zero(int, loop_init(&loop)));
}

static void teardown(void)
{
	loop_finish(&loop);
}

TestSuite(loop, .init = setup, .fini = teardown, .timeout = 120);

static void on_event(struct loop_source *src, uint32_t events)
{
	struct counter *c = container_of(src, struct counter, src);

	c->calls++;
	(void)fd_event_drain(src->fd);
	if (c->victim)
		loop_remove(&loop, &c->victim->src);
}

static void watch(struct counter *c)
{
	int fd = fd_event_create();

	*c = (struct counter){ .src.fd = -1 };
	cr_assert(ge(int, fd, 0));
	cr_assert(zero(int, loop_add(&loop, &c->src, fd, EPOLLIN, on_event)));
}

static void on_timer(struct loop_timer *t)
{
	struct counter *c = container_of(t, struct counter, timer);

	c->calls++;
	c->order = ++timer_calls;
	if (c->again) {
		c->again--;
		loop_timer_set(&loop, t, 0, on_timer);
	}
}

Test(loop, finish_takes_null_zeroed_and_finished)
{
	struct loop l = { .epoll_fd = -1, .stop_fd = -1, .timer_fd = -1 };

	loop_finish(NULL);
	loop_finish(&l);
	loop_finish(&l);
}

Test(loop, calls_the_source_that_is_ready)
{
	struct counter a, b;

	watch(&a);
	watch(&b);
	fd_event_signal(b.src.fd);
	cr_assert(zero(int, loop_turn(&loop, 0)));
	cr_assert(zero(uint, a.calls));
	cr_assert(eq(uint, b.calls, 1));
	cr_assert(zero(int, loop_turn(&loop, 0)));
	cr_assert(eq(uint, b.calls, 1));
}

Test(loop, add_tells_what_cannot_be_watched)
{
	struct loop_source s = { .fd = -1 };
	int fd = fd_memfd_sealed("t", 4096, 0);

	cr_assert(eq(int, loop_add(&loop, &s, fd, EPOLLIN, on_event), -EPERM));
	cr_assert(eq(int, s.fd, -1));
	cr_assert(eq(int, loop_add(&loop, &s, -1, EPOLLIN, on_event), -EBADF));
}

Test(loop, modify_changes_what_is_waited_for)
{
	struct counter a;

	watch(&a);
	fd_event_signal(a.src.fd);
	cr_assert(zero(int, loop_modify(&loop, &a.src, 0)));
	cr_assert(zero(int, loop_turn(&loop, 0)));
	cr_assert(zero(uint, a.calls));
	cr_assert(zero(int, loop_modify(&loop, &a.src, EPOLLIN)));
	cr_assert(zero(int, loop_modify(&loop, &a.src, EPOLLIN)));
	cr_assert(zero(int, loop_turn(&loop, 0)));
	cr_assert(eq(uint, a.calls, 1));
}

Test(loop, remove_forgets_events_of_this_turn)
{
	struct counter a, b;

	watch(&a);
	watch(&b);
	a.victim = &b;
	b.victim = &a;
	fd_event_signal(a.src.fd);
	fd_event_signal(b.src.fd);
	cr_assert(zero(int, loop_turn(&loop, 0)));
	cr_assert(eq(uint, a.calls + b.calls, 1));
	loop_remove(&loop, &a.src);
	loop_remove(&loop, &a.src);
	cr_assert(eq(int, a.src.fd, -1));
}

Test(loop, timers_fire_once_in_order_of_their_deadlines)
{
	struct counter a = { .src.fd = -1 }, b = a, c = a;

	loop_timer_set(&loop, &a.timer, 2 * MS, on_timer);
	loop_timer_set(&loop, &b.timer, 1 * MS, on_timer);
	loop_timer_set(&loop, &c.timer, 3 * MS, on_timer);
	while (!c.calls)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(eq(uint, b.order, 1));
	cr_assert(eq(uint, a.order, 2));
	cr_assert(eq(uint, c.order, 3));
	cr_assert(zero(u64, a.timer.deadline_ns));
	cr_assert(loop.timers.first == NULL);
	cr_assert(zero(u64, loop.timer_set_ns));
}

Test(loop, timer_set_again_moves_it)
{
	struct counter a = { .src.fd = -1 }, b = a;

	loop_timer_set(&loop, &a.timer, 3600 * 1000 * MS, on_timer);
	loop_timer_set(&loop, &b.timer, 0, on_timer);
	loop_timer_set(&loop, &a.timer, 0, on_timer);
	while (!a.calls)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(eq(uint, b.order, 1));
	cr_assert(eq(uint, a.order, 2));
}

Test(loop, timer_may_arm_itself_anew)
{
	struct counter a = { .src.fd = -1, .again = 3 };

	loop_timer_set(&loop, &a.timer, 0, on_timer);
	while (a.calls < 4)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(loop.timers.first == NULL);
}

Test(loop, cancelled_timer_does_not_fire_and_disarms_the_fd)
{
	struct counter a = { .src.fd = -1 }, b = a;

	loop_timer_set(&loop, &a.timer, 1 * MS, on_timer);
	loop_timer_set(&loop, &b.timer, 2 * MS, on_timer);
	loop_timer_cancel(&loop, &a.timer);
	loop_timer_cancel(&loop, &a.timer);
	while (!b.calls)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(zero(uint, a.calls));
	loop_timer_set(&loop, &a.timer, 0, on_timer);
	loop_timer_cancel(&loop, &a.timer);
	cr_assert(zero(u64, loop.timer_set_ns));
	cr_assert(zero(int, loop_turn(&loop, 0)));
	cr_assert(zero(uint, a.calls));
}

static void *stopper(void *arg)
{
	loop_stop(arg);
	return NULL;
}

Test(loop, stop_from_another_thread_ends_run)
{
	pthread_t t;

	cr_assert(zero(int, pthread_create(&t, NULL, stopper, &loop)));
	cr_assert(zero(int, loop_run(&loop)));
	cr_assert(zero(int, pthread_join(t, NULL)));
}

Test(loop, stop_before_run_ends_it_at_once)
{
	loop_stop(&loop);
	cr_assert(zero(int, loop_run(&loop)));
}

Test(loop, turn_reports_a_lost_epoll_fd)
{
	fd_close(&loop.epoll_fd);
	cr_assert(eq(int, loop_turn(&loop, 0), -EBADF));
	cr_assert(eq(int, loop_run(&loop), -EBADF));
}

Test(loop, time_goes_forward)
{
	uint64_t a = time_boot_ns();

	cr_assert(ge(u64, time_boot_ns(), a));
	cr_assert(gt(u64, a, 0));
}

/* ------------------------------------------------------------------ pacing */

static void on_flood(struct loop_source *src, uint32_t events)
{
	container_of(src, struct counter, src)->calls++;
}

Test(loop, a_paced_source_that_is_always_ready_rests_and_others_go_on)
{
	struct counter flood = { .src.fd = -1 }, other;
	const uint64_t begin = time_boot_ns();
	uint64_t windows;

	watch(&other);
	flood.src.fd = fd_event_create();
	cr_assert(zero(int, loop_add(&loop, &flood.src, flood.src.fd, EPOLLIN,
				     on_flood)));
	loop_pace(&flood.src);
	fd_event_signal(flood.src.fd);
	while (time_boot_ns() - begin < 100 * MS) {
		fd_event_signal(other.src.fd);
		cr_assert(zero(int, loop_turn(&loop, -1)));
	}
	windows = (time_boot_ns() - begin) / LOOP_PACE_NS + 2;
	cr_assert(gt(uint, other.calls, flood.calls));
	cr_assert(ge(uint, flood.calls, LOOP_PACE_CALLS));
	cr_assert(le(u64, flood.calls, windows * LOOP_PACE_CALLS));
	/* What is set meanwhile holds afterwards. */
	while (!flood.src.resting)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(zero(int, loop_modify(&loop, &flood.src, 0)));
	while (flood.src.resting)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	flood.calls = 0;
	cr_assert(zero(int, loop_turn(&loop, 20)));
	cr_assert(zero(uint, flood.calls));
	cr_assert(eq(ptr, loop.timers.first, NULL));
}

Test(loop, a_source_may_be_removed_while_it_rests)
{
	struct counter flood = { .src.fd = -1 };
	int fd = fd_event_create();

	cr_assert(
		zero(int, loop_add(&loop, &flood.src, fd, EPOLLIN, on_flood)));
	loop_pace(&flood.src);
	fd_event_signal(fd);
	while (!flood.src.resting)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	loop_remove(&loop, &flood.src);
	cr_assert(eq(ptr, loop.resting, NULL));
	cr_assert(zero(int, loop_turn(&loop, 20)));
	/* And the same one again. */
	flood.calls = 0;
	cr_assert(
		zero(int, loop_add(&loop, &flood.src, fd, EPOLLIN, on_flood)));
	cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(eq(uint, flood.calls, 1));
}

/* ---------------------------------------------------------------- watchdog */

static struct {
	unsigned int calls;
	uint64_t ns;
	char in[LOOP_NAME_MAX];
} stall;

static void on_stalled(struct loop *l, const char *in, uint64_t ns)
{
	stall.calls++;
	stall.ns = ns;
	(void)snprintf(stall.in, sizeof(stall.in), "%s", in);
}

static struct mailbox mailbox;
static atomic_uint seen; /* turns in which another thread was told of it */

/* Until another thread that waits for the loop has looked two times. */
static void on_slow_item(struct mailbox_item *item)
{
	const uint64_t begin = time_boot_ns();

	while (time_boot_ns() - begin < LOOP_STALL_NS * 3 / 2)
		(void)usleep(10000);
	atomic_fetch_add(&seen, loop_look(&loop));
	mailbox_complete(item);
}

static void *call_slow_item(void *arg)
{
	mailbox_call(&mailbox, arg);
	return NULL;
}

static void watch_loop(void)
{
	setup();
	loop.watched = true;
	loop.stalled = on_stalled;
	cr_assert(zero(int, mailbox_init(&mailbox, &loop)));
}

Test(loop_watch, a_long_turn_is_counted_and_named, .init = watch_loop,
     .fini = teardown, .timeout = 240)
{
	struct mailbox_item item = { .fn = on_slow_item, .what = "blk7" };
	struct counter c;
	pthread_t thread;

	watch(&c);
	fd_event_signal(c.src.fd);
	cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(eq(uint, c.calls, 1));
	cr_assert(zero(u64, loop.watch.stalls));
	cr_assert(gt(u64, loop.watch.longest_ns, 0));
	cr_assert(zero(int, strcmp(loop.watch.longest_in, "loop.c:on_event")));
	cr_assert(not(loop_look(&loop)));
	cr_assert(zero(int,
		       pthread_create(&thread, NULL, call_slow_item, &item)));
	while (!stall.calls)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(eq(uint, stall.calls, 1));
	cr_assert(zero(int, strcmp(stall.in, "mailbox.c:on_event (blk7)")));
	cr_assert(gt(u64, stall.ns, LOOP_STALL_NS));
	cr_assert(eq(uint, atomic_load(&seen), 1));
	cr_assert(eq(u64, loop.watch.stalls, 1));
	cr_assert(ge(u64, loop.watch.longest_ns, stall.ns));
	cr_assert(zero(int, strcmp(loop.watch.longest_in, stall.in)));
	(void)pthread_join(thread, NULL);
	mailbox_finish(&mailbox);
}

static struct {
	char text[512];
	int fd;
} logged;

/* The line comes while the callback still runs: it waits for it. */
static void on_item_until_logged(struct mailbox_item *item)
{
	ssize_t n = read(logged.fd, logged.text, sizeof(logged.text) - 1);

	logged.text[n > 0 ? n : 0] = '\0';
	mailbox_complete(item);
}

Test(loop_watch, who_waits_names_what_still_holds_the_loop, .init = watch_loop,
     .fini = teardown, .timeout = 240)
{
	struct mailbox_item item = { .fn = on_item_until_logged,
				     .what = "fs0" };
	int pair[2];
	pthread_t thread;

	cr_assert(zero(int, pipe(pair)));
	logged.fd = pair[0];
	log_init("test", pair[1], LOG_LEVEL_INFO);
	cr_assert(zero(int,
		       pthread_create(&thread, NULL, call_slow_item, &item)));
	while (!stall.calls)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(strstr(logged.text, "stalls in mailbox.c:on_event "
				      "(fs0)") != NULL,
		  "%s", logged.text);
	(void)pthread_join(thread, NULL);
	mailbox_finish(&mailbox);
}

Test(loop_watch, a_timer_is_named, .init = watch_loop, .fini = teardown,
     .timeout = 240)
{
	struct counter c = { .src.fd = -1 };

	loop_timer_set(&loop, &c.timer, 0, on_timer);
	while (!c.calls)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(strncmp(loop.watch.longest_in, "loop.c:on_timer", 15) == 0,
		  "%s", loop.watch.longest_in);
	mailbox_finish(&mailbox);
}
