/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Suspend request to asleep, and wake event to the guest's first output, over
 * many cycles of guest/payloads/sleeper.c. The main thread asks torpor, a
 * second one stamps the lines of the guest's serial port.
 *
 *	sleep_cycles TIMES TORPOR PAYLOAD SOCKET
 *
 * The payload is awake between a line "AWAKE" and the sleep button, and says
 * "WAKE" first thing after a sleep.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/torpor.h"
#include "tests/bench/sample.h"

#define MAX_TIMES  10000
#define TIMEOUT_MS 10000

struct console {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int fd;
	unsigned int awakes, wakes; /* lines so far */
	uint64_t wake_ns;	    /* first byte of the last "WAKE" line */
	bool ended;
};

/* ------------------------------------------------------- the guest's side */

static void take_line(struct console *c, const char *line, uint64_t ns)
{
	(void)pthread_mutex_lock(&c->lock);
	if (strncmp(line, "AWAKE", 5) == 0)
		c->awakes++;
	if (strncmp(line, "WAKE", 4) == 0) {
		c->wakes++;
		c->wake_ns = ns;
	}
	(void)pthread_cond_broadcast(&c->cond);
	(void)pthread_mutex_unlock(&c->lock);
}

static void *read_console(void *arg)
{
	struct console *c = arg;
	char line[256], byte;
	uint64_t first_ns = 0;
	size_t len = 0;

	while (read(c->fd, &byte, 1) == 1) {
		if (len == 0)
			first_ns = sample_now_ns(CLOCK_BOOTTIME);
		if (byte != '\n' && len < sizeof(line) - 1) {
			line[len++] = byte;
			continue;
		}
		line[len] = '\0';
		take_line(c, line, first_ns);
		len = 0;
	}
	(void)pthread_mutex_lock(&c->lock);
	c->ended = true;
	(void)pthread_cond_broadcast(&c->cond);
	(void)pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* Waits until *@count is @want. Return: *@ns then, 0 if it does not come. */
static uint64_t wait_lines(struct console *c, const unsigned int *count,
			   unsigned int want)
{
	struct timespec end;
	uint64_t ns = 0;
	int r = 0;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += TIMEOUT_MS / 1000;
	(void)pthread_mutex_lock(&c->lock);
	while (*count < want && !c->ended && r == 0)
		r = pthread_cond_timedwait(&c->cond, &c->lock, &end);
	if (*count >= want)
		ns = c->wake_ns ? c->wake_ns : 1;
	(void)pthread_mutex_unlock(&c->lock);
	return ns;
}

/* ------------------------------------------------------------ torpor's side */

/* When torpor took notice of what woke the guest, by its own account. */
static uint64_t last_wake_ns(struct torpor *t)
{
	char *reply = NULL;
	json_t *root;
	uint64_t ns = 0;

	if (torpor_call(t, "state", NULL, TIMEOUT_MS, &reply) < 0)
		return 0;
	root = json_loads(reply, 0, NULL);
	free(reply);
	ns = (uint64_t)json_integer_value(json_object_get(
		json_object_get(json_object_get(root, "result"), "last_wake"),
		"time_ns"));
	json_decref(root);
	return ns;
}

/* One sleep. Return: NULL, or what failed. */
static const char *cycle(struct torpor *t, struct console *c, unsigned int n,
			 double *ret_sleep_ms, double *ret_wake_ms,
			 double *ret_request_ms)
{
	uint64_t start, asked, first, event;

	if (!wait_lines(c, &c->awakes, n + 1))
		return "the guest does not say AWAKE";
	start = sample_now_ns(CLOCK_BOOTTIME);
	if (torpor_suspend(t, TIMEOUT_MS, TIMEOUT_MS, NULL) < 0)
		return "suspend";
	asked = sample_now_ns(CLOCK_BOOTTIME);
	*ret_sleep_ms = (double)(asked - start) / 1e6;
	asked = sample_now_ns(CLOCK_BOOTTIME);
	if (torpor_powerbtn(t, TIMEOUT_MS) < 0)
		return "powerbtn";
	first = wait_lines(c, &c->wakes, n + 1);
	if (!first)
		return "the guest does not say WAKE";
	event = last_wake_ns(t);
	if (event < asked || event > first)
		return "torpor's time of the wake event";
	*ret_wake_ms = (double)(first - event) / 1e6;
	*ret_request_ms = (double)(first - asked) / 1e6;
	return NULL;
}

static pid_t start_torpor(char **argv, unsigned long times, int *ret_fd)
{
	char params[64];
	int fds[2];
	pid_t pid;

	(void)snprintf(params, sizeof(params), "on=sleepbtn cycles=%lu", times);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		(void)dup2(fds[1], STDOUT_FILENO);
		(void)execl(argv[2], argv[2], "run", "--serial", "stdout",
			    "--socket", argv[4], "--params", params, argv[3],
			    (char *)NULL);
		_exit(127);
	}
	(void)close(fds[1]);
	*ret_fd = fds[0];
	return pid;
}

static void report(const char *what, double *samples, unsigned int n)
{
	printf("sleep %s n=%u ms p50=%.2f p99=%.2f\n", what, n,
	       sample_median(samples, n), sample_percentile(samples, n, 99));
}

int main(int argc, char **argv)
{
	static double sleeps[MAX_TIMES], wakes[MAX_TIMES], requests[MAX_TIMES];
	struct console c = { .lock = PTHREAD_MUTEX_INITIALIZER,
			     .cond = PTHREAD_COND_INITIALIZER };
	unsigned long times = argc == 5 ? strtoul(argv[1], NULL, 10) : 0;
	const char *failed = NULL;
	struct torpor *t = NULL;
	pthread_t thread;
	unsigned int n = 0;
	pid_t pid;

	if (times == 0 || times > MAX_TIMES) {
		(void)fprintf(stderr, "usage: sleep_cycles TIMES TORPOR "
				      "PAYLOAD SOCKET\n");
		return 2;
	}
	pid = start_torpor(argv, times, &c.fd);
	if (pid < 0 || pthread_create(&thread, NULL, read_console, &c) != 0)
		return 1;
	if (!wait_lines(&c, &c.awakes, 1))
		failed = "the guest does not start";
	else if (torpor_connect(argv[4], TIMEOUT_MS, &t) < 0)
		failed = "connect";
	for (; n < times && !failed; n++)
		failed = cycle(t, &c, n, &sleeps[n], &wakes[n], &requests[n]);
	if (failed)
		(void)fprintf(stderr, "sleep_cycles: cycle %u: %s %s\n", n,
			      failed, t ? torpor_error_message(t) : "");
	torpor_close(t);
	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, NULL, 0);
	(void)pthread_join(thread, NULL);
	if (failed)
		return 1;
	report("request-to-asleep", sleeps, n);
	report("wake-event-to-output", wakes, n);
	report("powerbtn-command-to-output", requests, n);
	return 0;
}
