/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heap of a loop's timers against a model, with deadlines that the test
 * chooses; then in a loop of its own, where all of them have one timerfd.
 */
#define _GNU_SOURCE
#include "vmm/base/timer_heap.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NR 1000
#define MS 1000000ULL

static struct loop_timer timers[NR];
static struct timer_heap heap;
static unsigned int seed = 1;

static unsigned int pick(unsigned int below)
{
	seed = seed * 1103515245U + 12345U;
	return seed / 65536U % below;
}

static void arm(struct loop_timer *t, uint64_t deadline_ns)
{
	if (t->deadline_ns)
		timer_heap_remove(&heap, t);
	t->deadline_ns = deadline_ns;
	timer_heap_insert(&heap, t);
}

static void disarm(struct loop_timer *t)
{
	timer_heap_remove(&heap, t);
	t->deadline_ns = 0;
}

/* The model: all timers are looked at. */
static struct loop_timer *first_of_all(void)
{
	struct loop_timer *first = NULL;

	for (size_t i = 0; i < NR; i++) {
		struct loop_timer *t = &timers[i];

		if (!t->deadline_ns)
			continue;
		if (!first || t->deadline_ns < first->deadline_ns ||
		    (t->deadline_ns == first->deadline_ns &&
		     t->seq < first->seq))
			first = t;
	}
	return first;
}

static void arm_all(void)
{
	for (size_t i = 0; i < NR; i++)
		arm(&timers[i], 1 + pick(NR));
}

/* Takes the first until none is left. Return: how many. */
static unsigned int take_all(void)
{
	unsigned int n = 0;

	while (heap.first) {
		struct loop_timer *t = first_of_all();

		cr_assert(eq(ptr, heap.first, t));
		disarm(t);
		n++;
	}
	cr_assert(first_of_all() == NULL);
	return n;
}

Test(timer_heap, gives_a_thousand_timers_in_order)
{
	arm_all();
	cr_assert(eq(uint, take_all(), NR));
}

Test(timer_heap, equal_deadlines_come_in_the_order_they_were_armed)
{
	for (size_t i = 0; i < NR; i++)
		arm(&timers[i], 7);
	for (size_t i = 0; i < NR; i++) {
		cr_assert(eq(ptr, heap.first, &timers[i]));
		disarm(heap.first);
	}
}

Test(timer_heap, one_armed_again_comes_after_its_equals)
{
	for (size_t i = 0; i < 3; i++)
		arm(&timers[i], 7);
	arm(&timers[0], 7);
	cr_assert(eq(ptr, heap.first, &timers[1]));
	disarm(&timers[1]);
	cr_assert(eq(ptr, heap.first, &timers[2]));
	disarm(&timers[2]);
	cr_assert(eq(ptr, heap.first, &timers[0]));
}

Test(timer_heap, each_can_be_cancelled_wherever_it_is)
{
	unsigned int left = 0;

	arm_all();
	/* One taken, so that it is a heap of some depth. */
	disarm(first_of_all());
	for (size_t i = 0; i < NR; i += 2) {
		if (timers[i].deadline_ns)
			disarm(&timers[i]);
		cr_assert(eq(ptr, heap.first, first_of_all()));
	}
	for (size_t i = 0; i < NR; i++)
		left += timers[i].deadline_ns != 0;
	cr_assert(eq(uint, take_all(), left));
}

Test(timer_heap, each_can_be_moved_to_either_side)
{
	arm_all();
	disarm(first_of_all());
	for (size_t i = 0; i < NR; i++) {
		arm(&timers[i], 1 + pick(2 * NR));
		cr_assert(eq(ptr, heap.first, first_of_all()));
	}
	cr_assert(eq(uint, take_all(), NR));
}

Test(timer_heap, agrees_with_the_model_whatever_is_done)
{
	for (unsigned int i = 0; i < 20 * NR; i++) {
		struct loop_timer *t = &timers[pick(NR)];

		if (pick(3))
			arm(t, 1 + pick(100));
		else if (t->deadline_ns)
			disarm(t);
		else if (heap.first)
			disarm(heap.first);
		cr_assert(eq(ptr, heap.first, first_of_all()));
	}
	(void)take_all();
}

Test(timer_heap, rising_and_falling_deadlines_are_no_recursion)
{
	enum {
		MANY = 200000
	};
	struct loop_timer *many = calloc(MANY, sizeof(*many));
	uint64_t last = 0;

	for (uint64_t i = 0; i < MANY; i++) {
		many[i].deadline_ns = i < MANY / 2 ? i + 1 : 2 * MANY - i;
		timer_heap_insert(&heap, &many[i]);
	}
	for (size_t i = 0; i < MANY; i++) {
		cr_assert(ge(u64, heap.first->deadline_ns, last));
		last = heap.first->deadline_ns;
		timer_heap_remove(&heap, heap.first);
	}
	cr_assert(heap.first == NULL);
	free(many);
}

/* ------------------------------------------------------------- in a loop */

static struct loop loop;
static unsigned int fired;
static uint64_t last_deadline_ns;
static uint64_t deadlines_ns[NR];

static void on_timer(struct loop_timer *t)
{
	uint64_t was_ns = deadlines_ns[t - timers];

	cr_assert(ge(u64, was_ns, last_deadline_ns));
	last_deadline_ns = was_ns;
	fired++;
}

static void set(size_t i, uint64_t delay_ns)
{
	loop_timer_set(&loop, &timers[i], delay_ns, on_timer);
	deadlines_ns[i] = timers[i].deadline_ns;
}

static unsigned int count_timerfds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;
	struct dirent *entry;

	cr_assert(dir != NULL);
	while ((entry = readdir(dir))) {
		char target[64] = "";

		(void)!readlinkat(dirfd(dir), entry->d_name, target,
				  sizeof(target) - 1);
		n += strstr(target, "timerfd") != NULL;
	}
	(void)closedir(dir);
	return n;
}

Test(timer_heap, a_thousand_timers_of_a_loop_have_one_timerfd)
{
	unsigned int before = count_timerfds();

	cr_assert(zero(int, loop_init(&loop)));
	for (size_t i = 0; i < NR; i++)
		set(i, pick(20) * MS);
	/* A tenth is cancelled, a tenth moved. */
	for (size_t i = 0; i < NR; i += 10)
		loop_timer_cancel(&loop, &timers[i]);
	for (size_t i = 5; i < NR; i += 10)
		set(i, pick(20) * MS);
	cr_assert(eq(uint, count_timerfds() - before, 1));
	while (loop.timers.first)
		cr_assert(zero(int, loop_turn(&loop, -1)));
	cr_assert(eq(uint, fired, NR - NR / 10));
	cr_assert(zero(u64, loop.timer_set_ns));
	loop_finish(&loop);
}

Test(timer_heap, a_timer_may_be_cancelled_after_its_loop_has_ended)
{
	cr_assert(zero(int, loop_init(&loop)));
	for (size_t i = 0; i < 10; i++)
		set(i, 3600 * 1000 * MS);
	loop_finish(&loop);
	/* The owner of the others is gone. */
	memset(&timers[1], 0xa5, 9 * sizeof(timers[0]));
	loop_timer_cancel(&loop, &timers[0]);
	cr_assert(zero(u64, timers[0].deadline_ns));
}
