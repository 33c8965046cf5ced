/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "sandbox/device_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/fd.h"

/* At once, a sanitizer's report for example; and 86 MB a day. */
#define BURST_BYTES    65536ULL
#define BYTES_A_SECOND 1024ULL
/* Who has used that up goes on when there is this much again. */
#define RESUME_BYTES 4096ULL
/* And is read no more often than this meanwhile. */
#define PAUSE_NS 100000000ULL
/* A pipe's capacity is not more than this many reads. */
#define READ_BYTES 4096
#define MAX_READS  32

static void on_readable(struct loop_source *src, uint32_t events);
static void on_pause_over(struct loop_timer *timer);

static void refill(struct device_log *log)
{
	uint64_t now = time_boot_ns();
	uint64_t bytes = (now - log->filled_ns) / (NS_PER_S / BYTES_A_SECOND);

	if (!bytes)
		return;
	log->budget = MIN(log->budget + bytes, BURST_BYTES);
	log->filled_ns = now;
}

/* Return: whether the budget allows @bytes, again or still. */
static bool may_log(struct device_log *log, size_t bytes)
{
	refill(log);
	if (log->left_out && log->budget >= RESUME_BYTES) {
		log_warn("%s: %" PRIu64 " lines dropped", log->name,
			 log->left_out);
		log->left_out = 0;
	}
	return !log->left_out && log->budget >= bytes;
}

/* Emits the line gathered so far. */
static void emit(struct device_log *log)
{
	size_t bytes = log->len + strlen(log->name) + 3;

	if (may_log(log, bytes)) {
		log->budget -= bytes;
		log_relay(log->name, log->line, log->len);
	} else {
		if (!log->left_out)
			log_warn("%s: logs too much; its lines are dropped "
				 "from here on",
				 log->name);
		log->left_out++;
	}
	log->len = 0;
}

static void take(struct device_log *log, const char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (buf[i] == '\n') {
			emit(log);
			continue;
		}
		if (log->len == sizeof(log->line))
			emit(log);
		log->line[log->len++] = buf[i];
	}
}

/* Return: as read(2), -EAGAIN if there is nothing now. */
static ssize_t read_some(struct device_log *log)
{
	char buf[READ_BYTES];
	ssize_t n = read(log->fd, buf, sizeof(buf));

	if (n < 0)
		return -errno;
	take(log, buf, (size_t)n);
	return n;
}

static void watch(struct device_log *log)
{
	if (loop_add(log->loop, &log->src, log->fd, EPOLLIN, on_readable) < 0)
		loop_timer_set(log->loop, &log->pause, PAUSE_NS, on_pause_over);
}

/* Who floods is read by the clock, so that it costs us no more than that. */
static void on_readable(struct loop_source *src, uint32_t events)
{
	struct device_log *log = container_of(src, struct device_log, src);
	ssize_t n = read_some(log);

	if (n <= 0 && n != -EAGAIN) {
		loop_remove(log->loop, src);
	} else if (log->left_out) {
		loop_remove(log->loop, src);
		loop_timer_set(log->loop, &log->pause, PAUSE_NS, on_pause_over);
	}
}

static void on_pause_over(struct loop_timer *timer)
{
	struct device_log *log = container_of(timer, struct device_log, pause);
	ssize_t n = read_some(log);

	if (n <= 0 && n != -EAGAIN)
		return;
	if (n == -EAGAIN)
		(void)may_log(log, 0);
	if (log->left_out)
		loop_timer_set(log->loop, timer, PAUSE_NS, on_pause_over);
	else
		watch(log);
}

int device_log_open(struct device_log *log, struct loop *loop, const char *name)
{
	int fds[2];
	int r;

	/* Each end is a description of its own. */
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	r = loop_add(loop, &log->src, fds[0], EPOLLIN, on_readable);
	if (r < 0) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		return r;
	}
	log->loop = loop;
	log->fd = fds[0];
	log->budget = BURST_BYTES;
	log->filled_ns = time_boot_ns();
	(void)snprintf(log->name, sizeof(log->name), "%s", name);
	return fds[1];
}

void device_log_drain(struct device_log *log)
{
	if (log->fd < 0)
		return;
	for (int i = 0; i < MAX_READS && read_some(log) > 0; i++)
		;
}

void device_log_finish(struct device_log *log)
{
	if (log->fd < 0)
		return;
	device_log_drain(log);
	if (log->len)
		emit(log);
	if (log->left_out)
		log_warn("%s: %" PRIu64 " lines dropped", log->name,
			 log->left_out);
	loop_remove(log->loop, &log->src);
	loop_timer_cancel(log->loop, &log->pause);
	fd_close(&log->fd);
}
