/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What somebody would try who has taken over a device process: system calls
 * that lead out of its jail, each in a form that would be useful to him.
 * docs/sandbox.md says what each is for.
 */
#ifndef TORPOR_TESTS_SANDBOX_ATTEMPTS_H
#define TORPOR_TESTS_SANDBOX_ATTEMPTS_H

#include <stddef.h>

struct attempt {
	const char *name; /* what is tried; no blanks */
	const char *call; /* the system call, as a violation names it */
	long nr;
	long args[6];
};

extern const struct attempt attempts[];
extern const size_t nr_attempts;

/* Makes the call. Return: as syscall(2), -1 with errno. */
long attempt_make(const struct attempt *attempt);

/* NULL if there is none of that name. */
const struct attempt *attempt_find(const char *name);

#endif
