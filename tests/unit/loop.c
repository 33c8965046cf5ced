/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/loop.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "vmm/base/fd.h"

#define MS 1000000ULL

static struct loop loop;

struct counter {
	struct loop_source src;
	struct loop_timer timer;
	struct counter *victim; /* removed by the callback */
	unsigned int calls;
	unsigned int order; /* of the last timer call */
	unsigned int again; /* times the timer arms itself anew */
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

TestSuite(loop, .init = setup, .fini = teardown, .timeout = 30);

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
	cr_assert(loop.timers == NULL);
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
	cr_assert(loop.timers == NULL);
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
