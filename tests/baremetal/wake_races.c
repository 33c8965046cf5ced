/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wake events at random moments of a guest that goes to sleep for ever again.
 * Reads the console of the `sleeper` payload on standard input and presses
 * power and sleep button in turn through the control socket, so that two
 * presses never merge into one status bit. After each press the guest has to
 * report a wake-up: it was asleep and woke, or it was on its way and turned
 * back. A press without one within the bound is a lost wake-up.
 *
 *	torpor run ... sleeper.elf | wake_races SOCKET PRESSES SEED
 *
 * Prints "presses=N wakes=N"; exit status 1 if one was lost.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/torpor.h"

#define BOUND_MS     10000
#define MAX_DELAY_US 4000
#define MARK	     "WAKE cycle="

struct console {
	char line[512];
	size_t len;
	unsigned long lines, wakes;
};

static void take_line(struct console *con)
{
	con->lines++;
	if (!strncmp(con->line, MARK, strlen(MARK)))
		con->wakes++;
	else if (!strncmp(con->line, "FAIL", 4))
		fprintf(stderr, "%s\n", con->line);
	con->len = 0;
}

/* Reads what is there within @timeout_ms. Return: 0, or -1 at the end. */
static int pump(struct console *con, int timeout_ms)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char buf[4096];
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return 0;
	n = read(STDIN_FILENO, buf, sizeof(buf));
	if (n <= 0)
		return -1;
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n') {
			con->line[con->len] = '\0';
			take_line(con);
		} else if (con->len + 1 < sizeof(con->line)) {
			con->line[con->len++] = buf[i];
		}
	}
	return 0;
}

static long now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000L + ts.tv_nsec / 1000;
}

static int race(struct torpor *t, struct console *con, long press)
{
	long until = now_us() + rand() % MAX_DELAY_US;
	unsigned long before;
	int r = 0;

	while (now_us() < until && r == 0)
		r = pump(con, 0);
	before = con->wakes;
	if (r == 0)
		r = press & 1 ? torpor_sleepbtn(t, BOUND_MS)
			      : torpor_powerbtn(t, BOUND_MS);
	until = now_us() + BOUND_MS * 1000L;
	while (r == 0 && con->wakes == before && now_us() < until)
		r = pump(con, 50);
	if (r == 0 && con->wakes == before)
		r = -ETIMEDOUT;
	return r;
}

int main(int argc, char **argv)
{
	struct console con = { .len = 0 };
	struct torpor *t = NULL;
	long presses, i;
	int r = -ENOENT;

	if (argc != 4) {
		fprintf(stderr, "usage: wake_races SOCKET PRESSES SEED\n");
		return 2;
	}
	presses = strtol(argv[2], NULL, 10);
	srand((unsigned int)strtoul(argv[3], NULL, 10));
	/* The guest's first sleep: the VM is there. */
	while (con.lines == 0 && pump(&con, BOUND_MS) == 0)
		;
	r = torpor_connect(argv[1], BOUND_MS, &t);
	if (r < 0) {
		fprintf(stderr, "connect: %s\n", strerror(-r));
		return 1;
	}
	for (i = 0; i < presses && r == 0; i++)
		r = race(t, &con, i);
	if (r != 0)
		fprintf(stderr, "press %ld: %s\n", i,
			strerror(r < 0 ? -r : EPIPE));
	printf("presses=%ld wakes=%lu\n", i, con.wakes);
	(void)torpor_stop(t, BOUND_MS);
	torpor_close(t);
	return r != 0;
}
