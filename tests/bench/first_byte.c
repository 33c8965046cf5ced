/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time from starting a VMM to the first byte that its guest puts out, and the
 * CPU time all its processes used until they were gone. Several commands take
 * turns, so that what else the machine does meets all of them alike.
 *
 *	first_byte TIMES NAME COMMAND [ARG]... [-- NAME COMMAND [ARG]...]...
 *
 * A command's guest puts out something at once on standard output. Prints
 * "start NAME n= wall-ms p50= p99= cpu-ms p50=", then the ratios to the first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/sample.h"

#define MAX_COMMANDS 8
#define MAX_TIMES    1000
#define GIVE_UP_MS   20000

struct command {
	const char *name;
	char **argv;
	double wall[MAX_TIMES], cpu[MAX_TIMES]; /* ms */
};

static double cpu_ms(void)
{
	struct rusage ru;

	(void)getrusage(RUSAGE_CHILDREN, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1e3 +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e3;
}

static void child(char **argv, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(out, STDOUT_FILENO);
	(void)execvp(argv[0], argv);
	(void)fprintf(stderr, "first_byte: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Return: false if nothing came out. */
static bool run_once(struct command *c, unsigned int i)
{
	double cpu = cpu_ms();
	struct pollfd p;
	uint64_t start;
	bool came;
	pid_t pid;
	int fds[2];
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	start = sample_now_ns(CLOCK_MONOTONIC);
	pid = fork();
	if (pid == 0)
		child(c->argv, fds[1]);
	(void)close(fds[1]);
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	came = pid > 0 && poll(&p, 1, GIVE_UP_MS) == 1 &&
	       read(fds[0], &byte, 1) == 1;
	c->wall[i] = (double)(sample_now_ns(CLOCK_MONOTONIC) - start) / 1e6;
	if (pid > 0)
		(void)kill(pid, SIGTERM);
	/* As their subreaper we are told of all descendants. */
	while (wait(NULL) > 0 || errno == EINTR)
		;
	c->cpu[i] = cpu_ms() - cpu;
	(void)close(fds[0]);
	if (!came)
		(void)fprintf(stderr, "first_byte: %s: nothing came out\n",
			      c->name);
	return came;
}

/* Return: number of commands. */
static unsigned int parse(char **argv, struct command *commands)
{
	unsigned int nr = 0;

	while (*argv && nr < MAX_COMMANDS) {
		struct command *c = &commands[nr++];

		c->name = *argv++;
		c->argv = argv;
		while (*argv && strcmp(*argv, "--") != 0)
			argv++;
		if (*argv)
			*argv++ = NULL;
		if (!c->argv[0])
			return 0;
	}
	return nr;
}

static void report(struct command *commands, unsigned int nr, unsigned int n)
{
	double wall[MAX_COMMANDS], cpu[MAX_COMMANDS];

	for (unsigned int i = 0; i < nr; i++) {
		struct command *c = &commands[i];

		wall[i] = sample_median(c->wall, n);
		cpu[i] = sample_median(c->cpu, n);
		printf("start %s n=%u wall-ms p50=%.1f p99=%.1f "
		       "cpu-ms p50=%.1f\n",
		       c->name, n, wall[i], sample_percentile(c->wall, n, 99),
		       cpu[i]);
	}
	for (unsigned int i = 1; i < nr; i++)
		printf("start ratio %s/%s wall=%.2f cpu=%.2f\n",
		       commands[i].name, commands[0].name, wall[i] / wall[0],
		       cpu[i] / cpu[0]);
}

int main(int argc, char **argv)
{
	static struct command commands[MAX_COMMANDS];
	unsigned long n = argc > 3 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned int nr = n ? parse(argv + 2, commands) : 0;

	if (nr == 0 || n > MAX_TIMES) {
		(void)fprintf(stderr, "usage: first_byte TIMES NAME COMMAND "
				      "[ARG]... [-- NAME COMMAND ...]\n");
		return 2;
	}
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* The first turn only fills caches. */
	for (unsigned int turn = 0; turn <= n; turn++) {
		for (unsigned int i = 0; i < nr; i++) {
			if (!run_once(&commands[i], turn ? turn - 1 : 0))
				return 1;
		}
	}
	report(commands, nr, (unsigned int)n);
	return 0;
}
