/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clients of tests/stress/clients.h against a real VM; for clients.sh.
 *
 *	clients run SOCKET SECONDS SEED SLOW
 *	clients check SOCKET REQUESTS
 *
 * "run" prints what was done and, on its last line, how many suspend requests
 * torpor must have counted since the VM began. "check" takes that number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/stress/clients.h"

#define BOUND_MS 120000

static unsigned long number(const char *word)
{
	return strtoul(word, NULL, 10);
}

static int run(const struct clients_options *options)
{
	struct clients_counts counts;
	uint64_t requests = clients_requests(options);

	clients_run(options, &counts);
	requests += counts.suspends;
	(void)printf("%llu calls answered, %llu by errors; %llu suspends, %llu "
		     "asleep; %llu malformed, %llu closed, %llu events\n",
		     (unsigned long long)counts.calls,
		     (unsigned long long)counts.errors,
		     (unsigned long long)counts.suspends,
		     (unsigned long long)counts.asleep,
		     (unsigned long long)counts.malformed,
		     (unsigned long long)counts.closed,
		     (unsigned long long)counts.events);
	(void)printf("%llu\n", (unsigned long long)requests);
	return 0;
}

int main(int argc, char **argv)
{
	struct clients_options options = { .bound_ms = BOUND_MS, .slow = 1 };

	if (argc == 6 && !strcmp(argv[1], "run")) {
		options.socket = argv[2];
		options.seconds = (unsigned int)number(argv[3]);
		options.seed = number(argv[4]);
		options.slow = (unsigned int)number(argv[5]);
		return run(&options);
	}
	if (argc == 4 && !strcmp(argv[1], "check")) {
		options.socket = argv[2];
		clients_settle(&options, number(argv[3]));
		return 0;
	}
	(void)fprintf(stderr, "usage: clients run SOCKET SECONDS SEED SLOW\n"
			      "       clients check SOCKET REQUESTS\n");
	return 2;
}
