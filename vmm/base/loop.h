/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop of every process: epoll, level triggered, and one timerfd
 * for all timers. Single-threaded: every call is made by the thread that runs
 * the loop, except loop_stop(), which any thread or signal handler may call.
 *
 * A loop with nothing to do sleeps in epoll_wait() without a timeout, and an
 * unarmed timer costs nothing, so that a sleeping VM has no wake-ups.
 */
#ifndef TORPOR_BASE_LOOP_H
#define TORPOR_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "vmm/base/util.h"

struct loop;

/* Embedded in its owner; zero-initialise with fd = -1. */
struct loop_source {
	int fd;		 /* borrowed; -1 when not in a loop */
	uint32_t events; /* EPOLLIN, EPOLLOUT ... as last set */
	/* Called with the events that are ready; may remove any source. */
	void (*fn)(struct loop_source *src, uint32_t events);
};

struct loop_timer {
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; 0 = not armed */
	void (*fn)(struct loop_timer *timer);
	struct loop_timer *next; /* in the loop's list, by deadline */
};

#define LOOP_BATCH 16

struct loop {
	int epoll_fd;
	int stop_fd;
	struct loop_source stop_src;
	struct loop_source timer_src;
	int timer_fd;
	uint64_t timer_set_ns; /* what the timerfd is set to; 0 = disarmed */
	struct loop_timer *timers;
	bool stopped;
	struct epoll_event batch[LOOP_BATCH];
	int batch_len;
};

int loop_init(struct loop *loop) must_check;
/* Closes the loop's own fds. NULL, zeroed and half-built loops are fine. */
void loop_finish(struct loop *loop);

/* Watches @fd. @src must not be in a loop. Return: 0 or -errno. */
int loop_add(struct loop *loop, struct loop_source *src, int fd,
	     uint32_t events,
	     void (*fn)(struct loop_source *src, uint32_t events)) must_check;
/* Changes the events of a source; 0 keeps only EPOLLHUP and EPOLLERR. */
int loop_modify(struct loop *loop, struct loop_source *src,
		uint32_t events) must_check;
/* Stops watching; no-op if not in the loop. Pending events are forgotten. */
void loop_remove(struct loop *loop, struct loop_source *src);

/* Arms @timer, which calls @fn once after @delay_ns (0 = next turn). */
void loop_timer_set(struct loop *loop, struct loop_timer *timer,
		    uint64_t delay_ns, void (*fn)(struct loop_timer *timer));
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* Runs until loop_stop(). Return: 0 or -errno of epoll. */
int loop_run(struct loop *loop) must_check;
/* One turn; @timeout_ms as epoll_wait. Return: 0 or -errno. */
int loop_turn(struct loop *loop, int timeout_ms) must_check;
void loop_stop(struct loop *loop);

/* CLOCK_BOOTTIME in nanoseconds: deadlines hold across a host suspend. */
uint64_t time_boot_ns(void);

#endif
