/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop of every process: epoll, level triggered, and one timerfd
 * for all timers. Single-threaded: every call is made by the thread that runs
 * the loop, except loop_stop(), which any thread or signal handler may call.
 *
 * A loop with nothing to do sleeps in epoll_wait() without a timeout, and an
 * unarmed timer costs nothing, so that a sleeping VM has no wake-ups.
 *
 * A loop may be watched: the vDSO's clock times each callback, without system
 * calls or timers. If a callback held the loop for longer than LOOP_STALL_NS,
 * loop.stalled() reports it afterwards. While it lasts, any thread that waits
 * for the loop can report it by loop_look().
 */
#ifndef TORPOR_VMM_BASE_LOOP_H
#define TORPOR_VMM_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "vmm/base/util.h"

struct loop;

#define LOOP_STALL_NS 1000000000ULL

/* Embedded in its owner; zero-initialise with fd = -1. */
struct loop_source {
	int fd;		  /* borrowed; -1 when not in a loop */
	uint32_t events;  /* EPOLLIN, EPOLLOUT ... as last set */
	const char *name; /* "file.c:fn" */
	/* See loop_pace(). */
	bool paced, resting;
	uint32_t paced_calls; /* in the window */
	uint64_t paced_ns;    /* when that began, CLOCK_MONOTONIC */
	struct loop_source *next_resting;
	/* Called with the ready events; may remove any source. */
	void (*fn)(struct loop_source *src, uint32_t events);
};

struct loop_timer {
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; 0 = not armed */
	const char *name;     /* "file.c:fn" */
	void (*fn)(struct loop_timer *timer);
	/* Links of the loop's heap, see vmm/base/timer_heap.h. */
	struct loop_timer *child, *next, *prev;
	uint64_t seq; /* for equal deadlines: the first armed fires first */
};

struct timer_heap {
	struct loop_timer *first; /* the next to fire, or NULL */
	uint64_t next_seq;
};

#define LOOP_BATCH    16
#define LOOP_NAME_MAX 64

struct loop_watch {
	/* For loop_look(): CLOCK_MONOTONIC, 0 if no callback runs. */
	_Atomic uint64_t since_ns;
	_Atomic(const char *) in; /* name of the source or timer */
	_Atomic(const char *) of; /* name of the object it works on, or NULL */
	/* The rest is the loop's own. */
	uint64_t stalls;		/* turns longer than LOOP_STALL_NS */
	uint64_t longest_ns;		/* turn so far */
	char longest_in[LOOP_NAME_MAX]; /* its longest callback; "": none yet */
	/* This turn: its time, and its longest callback. */
	uint64_t turn_ns, worst_ns;
	const char *worst_in, *worst_of;
};

struct loop {
	int epoll_fd;
	int stop_fd;
	struct loop_source stop_src;
	struct loop_source timer_src;
	int timer_fd;
	uint64_t timer_set_ns; /* the timerfd's setting; 0 = disarmed */
	struct timer_heap timers;
	struct loop_source *resting;
	struct loop_timer rest_timer;
	bool stopped;
	struct epoll_event batch[LOOP_BATCH];
	int batch_len;
	bool watched; /* this and the next: set by the owner; may be NULL */
	void (*stalled)(struct loop *loop, const char *in, uint64_t ns);
	struct loop_watch watch;
};

int loop_init(struct loop *loop) must_check;
/* Closes the loop's own fds. @loop may be NULL, zeroed or half-built. */
void loop_finish(struct loop *loop);

/* Watches @fd. @src must not be in a loop. Return: 0 or -errno. */
int loop_add_named(struct loop *loop, struct loop_source *src, int fd,
		   uint32_t events,
		   void (*fn)(struct loop_source *src, uint32_t events),
		   const char *name) must_check;
#define loop_add(loop, src, fd, events, fn)                 \
	loop_add_named((loop), (src), (fd), (events), (fn), \
		       __FILE_NAME__ ":" #fn)
/* Changes the events of a source; 0 keeps only EPOLLHUP and EPOLLERR. */
int loop_modify(struct loop *loop, struct loop_source *src,
		uint32_t events) must_check;
/* Stops watching; no-op if not in the loop. Pending events are forgotten. */
void loop_remove(struct loop *loop, struct loop_source *src);

/*
 * Paces a source that another process can keep ready forever: after
 * LOOP_PACE_CALLS callbacks in LOOP_PACE_NS the loop ignores it for as long.
 * @src is in a loop; the pacing ends with its removal.
 */
void loop_pace(struct loop_source *src);
#define LOOP_PACE_CALLS 32U
#define LOOP_PACE_NS	10000000ULL

/* Arms @timer, which calls @fn once after @delay_ns (0 = next turn). */
void loop_timer_set_named(struct loop *loop, struct loop_timer *timer,
			  uint64_t delay_ns,
			  void (*fn)(struct loop_timer *timer),
			  const char *name);
#define loop_timer_set(loop, timer, delay_ns, fn)               \
	loop_timer_set_named((loop), (timer), (delay_ns), (fn), \
			     __FILE_NAME__ ":" #fn)
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* Runs until loop_stop(). Return: 0 or -errno of epoll. */
int loop_run(struct loop *loop) must_check;
/* One turn; @timeout_ms as epoll_wait. Return: 0 or -errno. */
int loop_turn(struct loop *loop, int timeout_ms) must_check;
void loop_stop(struct loop *loop);

/*
 * Names the object that the running callback works on: a command, a device.
 * @what is borrowed for the loop's life; the name holds until the callback
 * returns.
 */
void loop_doing(struct loop *loop, const char *what);
/*
 * Any thread: logs, limited, if a callback runs for longer than LOOP_STALL_NS.
 * Return: whether a callback runs.
 */
bool loop_look(struct loop *loop);

/* CLOCK_BOOTTIME in nanoseconds: deadlines hold across a host suspend. */
uint64_t time_boot_ns(void);

#endif
