/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/timer_heap.h"

uint64_t time_boot_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* A host that sleeps holds nobody up. */
static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---------------------------------------------------------------- watching */

static void put_name(char *buf, const char *in, const char *of)
{
	(void)snprintf(buf, LOOP_NAME_MAX, "%s%s%s%s", in ? in : "?",
		       of ? " (" : "", of ? of : "", of ? ")" : "");
}

/* A callback begins. The time is stored last: who sees it sees its name. */
static void watch_begin(struct loop *loop, const char *in, uint64_t now_ns)
{
	atomic_store(&loop->watch.since_ns, 0);
	atomic_store(&loop->watch.of, NULL);
	atomic_store(&loop->watch.in, in);
	atomic_store(&loop->watch.since_ns, now_ns);
}

/* It has ended. Return: now. */
static uint64_t watch_end(struct loop *loop)
{
	struct loop_watch *w = &loop->watch;
	uint64_t now_ns = monotonic_ns();
	uint64_t ns = now_ns - atomic_load(&w->since_ns);

	w->turn_ns += ns;
	if (ns > w->worst_ns) {
		w->worst_ns = ns;
		w->worst_in = atomic_load(&w->in);
		w->worst_of = atomic_load(&w->of);
	}
	atomic_store(&w->since_ns, 0);
	return now_ns;
}

static void watch_turn(struct loop *loop)
{
	struct loop_watch *w = &loop->watch;
	uint64_t turn_ns = w->turn_ns;
	char name[LOOP_NAME_MAX];

	w->turn_ns = w->worst_ns = 0;
	if (turn_ns > w->longest_ns) {
		w->longest_ns = turn_ns;
		put_name(w->longest_in, w->worst_in, w->worst_of);
	}
	if (turn_ns <= LOOP_STALL_NS)
		return;
	w->stalls++;
	put_name(name, w->worst_in, w->worst_of);
	if (loop->stalled)
		loop->stalled(loop, name, turn_ns);
}

void loop_doing(struct loop *loop, const char *what)
{
	if (loop->watched)
		atomic_store(&loop->watch.of, what);
}

bool loop_look(struct loop *loop)
{
	static struct log_limit limit;
	uint64_t since_ns = atomic_load(&loop->watch.since_ns);
	const char *in = atomic_load(&loop->watch.in);
	const char *of = atomic_load(&loop->watch.of);
	char name[LOOP_NAME_MAX];
	uint64_t now_ns = monotonic_ns();

	/* Another turn by now? Then the name may be of another. */
	if (!since_ns || since_ns != atomic_load(&loop->watch.since_ns))
		return since_ns;
	if (now_ns > since_ns && now_ns - since_ns > LOOP_STALL_NS) {
		put_name(name, in, of);
		log_limited(&limit, "the main loop stalls in %s", name);
	}
	return true;
}

/* ------------------------------------------------------------------- loop */

static void on_stop(struct loop_source *src, uint32_t events)
{
	struct loop *loop = container_of(src, struct loop, stop_src);

	(void)fd_event_drain(loop->stop_fd);
	loop->stopped = true;
}

/* Sets the timerfd to the first deadline, only when that has changed. */
static void timer_program(struct loop *loop)
{
	const struct loop_timer *first = loop->timers.first;
	uint64_t want = first ? first->deadline_ns : 0;
	struct itimerspec its = { 0 };

	if (want == loop->timer_set_ns)
		return;
	its.it_value.tv_sec = (time_t)(want / NS_PER_S);
	its.it_value.tv_nsec = (long)(want % NS_PER_S);
	(void)timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
	loop->timer_set_ns = want;
}

static void on_timer(struct loop_source *src, uint32_t events)
{
	struct loop *loop = container_of(src, struct loop, timer_src);
	uint64_t now = time_boot_ns(), expirations;

	/* Nobody else has it, so its O_NONBLOCK holds. */
	(void)!read(loop->timer_fd, &expirations, sizeof(expirations));
	loop->timer_set_ns = 0;
	while (loop->timers.first && loop->timers.first->deadline_ns <= now) {
		struct loop_timer *t = loop->timers.first;

		timer_heap_remove(&loop->timers, t);
		t->deadline_ns = 0;
		if (loop->watched)
			watch_begin(loop, t->name, watch_end(loop));
		t->fn(t);
	}
	timer_program(loop);
}

int loop_init(struct loop *loop)
{
	int r;

	*loop = (struct loop){ .epoll_fd = -1,
			       .stop_fd = -1,
			       .timer_fd = -1,
			       .stop_src.fd = -1,
			       .timer_src.fd = -1 };
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		goto fail_errno;
	loop->timer_fd =
		timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timer_fd < 0)
		goto fail_errno;
	loop->stop_fd = r = fd_event_create();
	if (r < 0)
		goto fail;
	r = loop_add(loop, &loop->stop_src, loop->stop_fd, EPOLLIN, on_stop);
	if (r < 0)
		goto fail;
	r = loop_add(loop, &loop->timer_src, loop->timer_fd, EPOLLIN, on_timer);
	if (r < 0)
		goto fail;
	return 0;

fail_errno:
	r = -errno;
fail:
	loop_finish(loop);
	return r;
}

void loop_finish(struct loop *loop)
{
	if (!loop)
		return;
	fd_close(&loop->epoll_fd);
	fd_close(&loop->timer_fd);
	fd_close(&loop->stop_fd);
	loop->timers.first = NULL;
}

int loop_add_named(struct loop *loop, struct loop_source *src, int fd,
		   uint32_t events,
		   void (*fn)(struct loop_source *src, uint32_t events),
		   const char *name)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	src->fd = fd;
	src->events = events;
	src->fn = fn;
	src->name = name;
	src->paced = src->resting = false;
	return 0;
}

int loop_modify(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	if (src->events == events)
		return 0;
	if (src->resting) {
		src->events = events;
		return 0;
	}
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, src->fd, &ev) < 0)
		return -errno;
	src->events = events;
	return 0;
}

/* ---------------------------------------------------------------- pacing */

void loop_pace(struct loop_source *src)
{
	src->paced = true;
	src->paced_calls = 0;
	src->paced_ns = 0;
}

static int set_events(struct loop *loop, struct loop_source *src,
		      uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, src->fd, &ev);
}

static void rest_end(struct loop *loop, struct loop_source *src)
{
	struct loop_source **p = &loop->resting;

	if (!src->resting)
		return;
	while (*p != src)
		p = &(*p)->next_resting;
	*p = src->next_resting;
	src->resting = false;
	if (src->fd >= 0)
		(void)set_events(loop, src, src->events);
}

static void on_rest_timer(struct loop_timer *timer)
{
	struct loop *loop = container_of(timer, struct loop, rest_timer);

	while (loop->resting)
		rest_end(loop, loop->resting);
}

/* Return: whether the source may have a callback now. */
static bool may_call(struct loop *loop, struct loop_source *src,
		     uint32_t events)
{
	uint64_t now_ns;

	/* The end of something is told once, whatever came before. */
	if (!src->paced || events & (EPOLLHUP | EPOLLERR))
		return true;
	now_ns = monotonic_ns();
	if (now_ns - src->paced_ns > LOOP_PACE_NS) {
		src->paced_ns = now_ns;
		src->paced_calls = 0;
	}
	if (src->paced_calls++ < LOOP_PACE_CALLS)
		return true;
	if (set_events(loop, src, 0) < 0)
		return true;
	src->resting = true;
	src->next_resting = loop->resting;
	loop->resting = src;
	if (!loop->rest_timer.deadline_ns)
		loop_timer_set(loop, &loop->rest_timer, LOOP_PACE_NS,
			       on_rest_timer);
	return false;
}

void loop_remove(struct loop *loop, struct loop_source *src)
{
	if (src->fd < 0)
		return;
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, src->fd, NULL);
	src->fd = -1;
	rest_end(loop, src);
	/* The source may be freed now: forget what this turn still holds. */
	for (int i = 0; i < loop->batch_len; i++) {
		if (loop->batch[i].data.ptr == src)
			loop->batch[i].data.ptr = NULL;
	}
}

void loop_timer_set_named(struct loop *loop, struct loop_timer *timer,
			  uint64_t delay_ns,
			  void (*fn)(struct loop_timer *timer),
			  const char *name)
{
	if (timer->deadline_ns)
		timer_heap_remove(&loop->timers, timer);
	timer->deadline_ns = time_boot_ns() + delay_ns;
	timer->fn = fn;
	timer->name = name;
	timer_heap_insert(&loop->timers, timer);
	timer_program(loop);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	if (!timer->deadline_ns)
		return;
	timer->deadline_ns = 0;
	/* A loop that has ended has forgotten its timers. */
	if (!loop->timers.first)
		return;
	timer_heap_remove(&loop->timers, timer);
	timer_program(loop);
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	int n = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout_ms);
	bool watched = loop->watched && n > 0;
	uint64_t now_ns = watched ? monotonic_ns() : 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batch_len = n;
	for (int i = 0; i < n; i++) {
		struct loop_source *src = loop->batch[i].data.ptr;

		if (!src || !may_call(loop, src, loop->batch[i].events))
			continue;
		if (watched)
			watch_begin(loop, src->name, now_ns);
		src->fn(src, loop->batch[i].events);
		if (watched)
			now_ns = watch_end(loop);
	}
	loop->batch_len = 0;
	if (watched)
		watch_turn(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	int r = 0;

	loop->stopped = false;
	while (!loop->stopped && r == 0)
		r = loop_turn(loop, -1);
	return r;
}

void loop_stop(struct loop *loop)
{
	fd_event_signal(loop->stop_fd);
}
