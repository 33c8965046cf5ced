/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/loop.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/fd.h"

#define NS_PER_SEC 1000000000ULL

uint64_t time_boot_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void on_stop(struct loop_source *src, uint32_t events)
{
	struct loop *loop = container_of(src, struct loop, stop_src);

	(void)fd_event_drain(loop->stop_fd);
	loop->stopped = true;
}

/* Sets the timerfd to the first deadline, only when that has changed. */
static void timer_program(struct loop *loop)
{
	uint64_t want = loop->timers ? loop->timers->deadline_ns : 0;
	struct itimerspec its = { 0 };

	if (want == loop->timer_set_ns)
		return;
	its.it_value.tv_sec = (time_t)(want / NS_PER_SEC);
	its.it_value.tv_nsec = (long)(want % NS_PER_SEC);
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
	while (loop->timers && loop->timers->deadline_ns <= now) {
		struct loop_timer *t = loop->timers;

		loop->timers = t->next;
		t->deadline_ns = 0;
		t->next = NULL;
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
	loop->timers = NULL;
}

int loop_add(struct loop *loop, struct loop_source *src, int fd,
	     uint32_t events,
	     void (*fn)(struct loop_source *src, uint32_t events))
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	src->fd = fd;
	src->events = events;
	src->fn = fn;
	return 0;
}

int loop_modify(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	if (src->events == events)
		return 0;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, src->fd, &ev) < 0)
		return -errno;
	src->events = events;
	return 0;
}

void loop_remove(struct loop *loop, struct loop_source *src)
{
	if (src->fd < 0)
		return;
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, src->fd, NULL);
	src->fd = -1;
	/* The source may be freed now: forget what this turn still holds. */
	for (int i = 0; i < loop->batch_len; i++) {
		if (loop->batch[i].data.ptr == src)
			loop->batch[i].data.ptr = NULL;
	}
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer,
		    uint64_t delay_ns, void (*fn)(struct loop_timer *timer))
{
	struct loop_timer **p;

	loop_timer_cancel(loop, timer);
	timer->deadline_ns = time_boot_ns() + delay_ns;
	timer->fn = fn;
	for (p = &loop->timers; *p; p = &(*p)->next) {
		if ((*p)->deadline_ns > timer->deadline_ns)
			break;
	}
	timer->next = *p;
	*p = timer;
	timer_program(loop);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	if (!timer->deadline_ns)
		return;
	for (struct loop_timer **p = &loop->timers; *p; p = &(*p)->next) {
		if (*p != timer)
			continue;
		*p = timer->next;
		break;
	}
	timer->deadline_ns = 0;
	timer->next = NULL;
	timer_program(loop);
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	int n = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batch_len = n;
	for (int i = 0; i < n; i++) {
		struct loop_source *src = loop->batch[i].data.ptr;

		if (src)
			src->fn(src, loop->batch[i].events);
	}
	loop->batch_len = 0;
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
