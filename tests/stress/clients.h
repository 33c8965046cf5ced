/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients that give a VM random commands over its control socket, all at once,
 * by libtorpor: valid and malformed ones, some of them closing the connection
 * before the answer. Used against a model (tests/stress/clients_stress.c) and
 * against a real VM (tests/boot/clients.c).
 *
 * The first call that is not answered in time, or is answered with what it
 * must not be, ends the process: it has printed which, and what every other
 * client was waiting for.
 */
#ifndef TORPOR_TESTS_STRESS_CLIENTS_H
#define TORPOR_TESTS_STRESS_CLIENTS_H

#include <stdbool.h>
#include <stdint.h>

#define CLIENTS_NR 8

struct clients_options {
	const char *socket;
	unsigned int seconds;
	uint64_t seed;
	/* No answer after this is a hang; above all timeouts that are sent. */
	unsigned int bound_ms;
	/* Random times are so many times longer: for a slow host. */
	unsigned int slow;
	/* Called before the process ends by a failure, on any thread; or NULL.
	 */
	void (*failed)(void);
	/*
	 * clients_settle(): does the guest run and will not sleep any more?
	 * NULL: it does. On the thread of the caller.
	 */
	bool (*guest_is_up)(void);
};

struct clients_counts {
	uint64_t calls;	   /* answered, by success or by an error */
	uint64_t errors;   /* of these */
	uint64_t suspends; /* that torpor must count: sent and not malformed */
	uint64_t asleep;   /* of these, answered so */
	uint64_t malformed;
	uint64_t closed; /* connections, before an answer or in a request */
	uint64_t events;
};

/*
 * Runs CLIENTS_NR clients in threads of their own for so long and joins them.
 */
void clients_run(const struct clients_options *options,
		 struct clients_counts *ret);

/* Requests that torpor has counted as ended, of all outcomes. */
uint64_t clients_requests(const struct clients_options *options);

/*
 * Once nobody else gives commands and the guest does not sleep by itself any
 * more: resumes and wakes until it runs, and checks what torpor says of itself.
 * @requests: that must have ended, since the VM began
 */
void clients_settle(const struct clients_options *options, uint64_t requests);

#endif
