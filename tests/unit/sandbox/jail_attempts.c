/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A probe in the place of each role's main loop tries what leads out of its
 * jail (tests/sandbox/attempts.c): as who started the test and as an ordinary
 * user, in every mode that has a jail. Under a spawner an attempt is named and
 * ends the process; with --socket it is denied. What a role's own table lets
 * through is listed here, with what stops it instead.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/jail.h"
#include "sandbox/policy.h"
#include "tests/lib/spawner_rig.h"
#include "tests/sandbox/attempts.h"
#include "vmm/base/fd.h"

struct exception {
	const char *role, *attempt;
	int full, weak; /* errno */
};

/*
 * A file server opens, makes and removes files by name: a filter cannot see
 * which. Its empty root has none of the host's; without one Landlock refuses
 * all that is not below the shared directory.
 */
static const struct exception exceptions[] = {
	{ "fs", "open-file", ENOENT, EACCES },
	{ "fs", "open-file-2", ENOENT, EACCES },
	{ "fs", "open-own-memory", ENOENT, EACCES },
	{ "fs", "make-directory", ENOENT, EACCES },
	{ "fs", "make-device", ENOENT, EACCES },
	{ "fs", "remove-file", ENOENT, EACCES },
	/* Of those it has none to take. */
	{ "fs", "all-capabilities", EPERM, EPERM },
};

static const struct exception *exception_of(const char *role,
					    const char *attempt)
{
	for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++) {
		if (strcmp(exceptions[i].role, role) == 0 &&
		    strcmp(exceptions[i].attempt, attempt) == 0)
			return &exceptions[i];
	}
	return NULL;
}

/* Which user, mode and role a parameter stands for. */
struct who {
	size_t user;
	enum sandbox_mode mode;
	const char *role;
};

#define NR_MODES 2

static struct who who_at(size_t index)
{
	static const enum sandbox_mode modes[NR_MODES] = { SANDBOX_FULL,
							   SANDBOX_WEAK };

	return (struct who){
		.user = index % USERS,
		.mode = modes[index / USERS % NR_MODES],
		.role = policy_roles[index / USERS / NR_MODES].name,
	};
}

#define MAX_PARAMETERS 64
#define EACH(name, n)                                           \
	ParameterizedTestParameters(jail_attempts, name)        \
	{                                                       \
		static size_t index[MAX_PARAMETERS];            \
                                                                \
		for (size_t i = 0; i < MAX_PARAMETERS; i++)     \
			index[i] = i;                           \
		cr_assert(le(sz, (n), MAX_PARAMETERS));         \
		return cr_make_param_array(size_t, index, (n)); \
	}                                                       \
	ParameterizedTest(size_t *index, jail_attempts, name, .timeout = 600)

static void tried(struct bench *b, const struct who *who,
		  const struct attempt *a)
{
	const struct exception *x = exception_of(who->role, a->name);
	char words[64], text[96];
	struct device d;

	(void)snprintf(words, sizeof(words), "jail try=%s", a->name);
	b->log_len = 0;
	memset(b->log, 0, sizeof(b->log));
	device_start(b, &d, who->role, words);
	cr_assert(says(&d, "jail ok\n"), "%s", d.text);
	if (x) {
		int want = who->mode == SANDBOX_FULL ? x->full : x->weak;

		(void)snprintf(text, sizeof(text), " %s\n",
			       strerrorname_np(want));
		cr_expect(says(&d, text), "%s %s: %s, not %s", who->role,
			  a->name, d.text, text);
		device_finish(&d);
		return;
	}
	cr_assert(not(says(&d, "ready")), "%s %s: %s", who->role, a->name,
		  d.text);
	cr_assert(died(d.res.pidfd), "%s %s", who->role, a->name);
	(void)snprintf(text, sizeof(text), "is not allowed for role %s;",
		       who->role);
	cr_expect(log_wait(b, text), "%s %s: %s", who->role, a->name, b->log);
	(void)snprintf(text, sizeof(text), "system call %s", a->call);
	cr_expect(strstr(b->log, text) != NULL, "%s %s: %s", who->role, a->name,
		  b->log);
	/* Whole, so that nothing of it is left for the next. */
	cr_expect(log_wait(b, "was killed by signal 9"), "%s", b->log);
	fd_close(&d.res.pidfd);
	fd_close(&d.ctl);
}

EACH(each_is_named_and_fatal_under_a_spawner, policy_nr_roles *USERS *NR_MODES)
{
	struct who who = who_at(*index);
	struct bench b;

	bench_start(&b, who.user, who.mode);
	for (size_t i = 0; i < nr_attempts; i++)
		tried(&b, &who, &attempts[i]);
	bench_finish(&b);
}

/* ------------------------------------------------------ without a spawner */

/* In a process of its own. Return: how many were not denied as they should. */
static int try_all(const char *role)
{
	int wrong = 0;

	jail_limit_files(-1);
	jail_device(role, -1, true);
	for (size_t i = 0; i < nr_attempts; i++) {
		const struct exception *x =
			exception_of(role, attempts[i].name);
		int want = x ? x->weak : EPERM;
		long r;

		errno = 0;
		r = attempt_make(&attempts[i]);
		if (r < 0 && errno == want)
			continue;
		(void)dprintf(STDERR_FILENO, "%s %s: %ld %s, not %s\n", role,
			      attempts[i].name, r, strerrorname_np(errno),
			      strerrorname_np(want));
		wrong++;
	}
	return wrong;
}

EACH(each_is_denied_with_socket, policy_nr_roles *USERS)
{
	const char *role = policy_roles[*index / USERS].name;
	int status = -1;
	pid_t pid;

#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("the sanitizer's run-time makes calls of its own");
#endif
	become(*index % USERS);
	pid = fork();
	if (pid == 0)
		_exit(try_all(role));
	cr_assert(eq(int, waitpid(pid, &status, 0), pid));
	cr_assert(zero(int, status), "%s", role);
}

/* The list has not got shorter than docs/sandbox.md says. */
Test(jail_attempts, are_many_and_differ, .timeout = 120)
{
	cr_assert(ge(sz, nr_attempts, 40));
	for (size_t i = 0; i < nr_attempts; i++)
		cr_assert(attempt_find(attempts[i].name) == &attempts[i], "%s",
			  attempts[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++)
		cr_assert(attempt_find(exceptions[i].attempt) != NULL, "%s",
			  exceptions[i].attempt);
}
