/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device process that does what its role does not need: it is named and
 * ended, or the ring refuses.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>

#include "tests/lib/spawner_rig.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* clang-format off */
static const struct violation {
	const char *role, *word, *call;
} violations[] = {
	{ "blk", "open", "openat" }, { "blk", "socket", "socket" },
	{ "blk", "ptrace", "ptrace" }, { "blk", "execve", "execve" },
	{ "blk", "fork", "clone" }, { "blk", "kill", "kill" },
	{ "blk", "tgkill", "tgkill" }, { "blk", "map-exec", "mmap" },
	{ "blk", "dumpable", "prctl" }, { "blk", "tap-ioctl", "ioctl" },
	{ "blk", "dupfd", "fcntl" }, { "blk", "sendto", "sendto" },
	{ "net", "bad-ioctl", "ioctl" }, { "net", "thread", "clone" },
	{ "console", "open", "openat" }, { "fs", "socket", "socket" },
	{ "fs", "execve", "execve" }, { "fs", "dupfd", "fcntl" },
	{ "rng", "setfl", "fcntl" }, { "vsock", "getfl", "fcntl" },
	{ "console", "seals", "fcntl" }, { "fs", "setfl", "fcntl" },
	{ "rng", "tap-ioctl", "ioctl" }, { "blk", "tap-filter", "ioctl" },
	{ "blk", "map-shared", "mmap" }, { "fs", "map-shared", "mmap" },
	{ "blk", "raise-limit", "prlimit64" },
	{ "blk", "uring-second", "io_uring_setup" },
	{ "blk", "uring-openat", "io_uring_setup" },
	{ "blk", "uring-socket", "io_uring_setup" },
	{ "blk", "uring-register", "io_uring_register" },
#ifdef __x86_64__
	{ "rng", "x32", "of the x32 ABI" },
#endif
};
/* clang-format on */

static const enum sandbox_mode violation_modes[] = { SANDBOX_FULL,
						     SANDBOX_WEAK };
#define VIOLATION_CASES (USERS * ARRAY_SIZE(violation_modes))

ParameterizedTestParameters(spawner, violation_is_named_and_fatal)
{
	static size_t index[VIOLATION_CASES * ARRAY_SIZE(violations)];

	for (size_t i = 0; i < ARRAY_SIZE(index); i++)
		index[i] = i;
	return cr_make_param_array(size_t, index, ARRAY_SIZE(index));
}

ParameterizedTest(size_t *index, spawner, violation_is_named_and_fatal,
		  .timeout = 240)
{
	const struct violation *v = &violations[*index / VIOLATION_CASES];
	char words[64], text[64];
	struct bench b;
	struct device d;

	bench_start(
		&b, *index % USERS,
		violation_modes[*index / USERS % ARRAY_SIZE(violation_modes)]);
	(void)snprintf(words, sizeof(words), "jail %s", v->word);
	device_start(&b, &d, v->role, words);
	cr_assert(says(&d, "jail ok\n"), "%s", d.text);
	cr_assert(not(says(&d, "ready")), "%s %s: %s", v->role, v->word,
		  d.text);
	cr_assert(died(d.res.pidfd), "%s %s", v->role, v->word);
	(void)snprintf(text, sizeof(text), "%s", v->call);
	cr_assert(log_wait(&b, "is not allowed for role"), "%s", v->word);
	cr_assert(log_wait(&b, text), "%s %s: %s", v->role, v->word, b.log);
	cr_assert(log_wait(&b, "was killed by signal 9"), "%s", b.log);
	fd_close(&d.res.pidfd);
	fd_close(&d.ctl);
	bench_finish(&b);
}

/* What no filter sees, the ring refuses itself, and goes on as a disk's. */
static void ring_is_a_disks(size_t who, enum sandbox_mode mode)
{
	struct bench b;
	struct device d;

	bench_start(&b, who, mode);
	device_start(&b, &d, "blk",
		     "uring jail uring-openat uring-socket uring-flag "
		     "uring-write gobble");
	if (says(&d, "uring -1 "))
		cr_skip("no io_uring on this host");
	cr_assert(says(&d, "uring-openat -1 EACCES\n"), "%s", d.text);
	cr_assert(says(&d, "uring-socket -1 EACCES\n"), "%s", d.text);
	cr_assert(says(&d, "uring-flag -1 EACCES\n"), "%s", d.text);
	cr_assert(says(&d, "uring-write 0 ok\n"), "%s", d.text);
	/* Nor the host's memory. */
	cr_assert(says(&d, "gobble below 64 MiB\nready"), "%s", d.text);
	device_finish(&d);
	bench_finish(&b);
}

/*
 * A signal's handler would bring a thread out of a call before anybody has read
 * it. There can be none.
 */
AS_BOTH_USERS(spawner, device_cannot_catch_signals)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "blk", "jail handler");
	cr_assert(says(&d, "handler -1 ENOSYS\n"), "%s", d.text);
	device_finish(&d);
	bench_finish(&b);
}

/* And if there were one: who is seen in a violation is not let go for it. */
AS_BOTH_USERS(spawner, interrupted_violation_is_fatal)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "blk", "handler jail storm");
	cr_assert(not(says(&d, "escaped")), "%s", d.text);
	cr_assert(died(d.res.pidfd));
	cr_assert(log_wait(&b, "not allowed for role blk"), "%s", b.log);
	fd_close(&d.res.pidfd);
	fd_close(&d.ctl);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, ring_of_a_disk_does_only_what_a_disk_needs)
{
	ring_is_a_disks(*who, SANDBOX_FULL);
}

AS_BOTH_USERS(spawner, ring_of_a_weak_disk_does_no_more)
{
	ring_is_a_disks(*who, SANDBOX_WEAK);
}
