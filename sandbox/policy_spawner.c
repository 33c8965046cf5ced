/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The spawner's own allow-list. Filters are inherited, so it also holds what
 * a device does before it has its own filter; the tables of the roles are
 * added by name. A call outside it answers ENOSYS (SECCOMP_RET_TRACE without a
 * tracer): the only action that is denied here and yet weaker than a device's
 * SECCOMP_RET_USER_NOTIF, which must win in a device, or nobody would learn
 * which system call it tried.
 */
#define _GNU_SOURCE
#include "sandbox/policy.h"

static const struct policy_rule spawner[] = {
	/* Create, watch, end and reap devices. */
	POLICY_ALLOW(clone3),
	POLICY_ALLOW(waitid),
	POLICY_ALLOW(pidfd_send_signal),
	POLICY_ALLOW(socketpair),
	POLICY_ALLOW(sendto),
	POLICY_ALLOW(recvfrom),
	/* A device's log; and the log itself where it cannot be opened again.
	 */
	POLICY_ALLOW(pipe2),
	POLICY_ALLOW(pwritev2),
	/* /proc/PID/uid_map, gid_map and setgroups. */
	POLICY_ALLOW(openat),
	/* SECCOMP_IOCTL_NOTIF_*; after it, the roles' own. */
	POLICY_ALLOW(ioctl),
	POLICY_ALLOW(seccomp),
	/* Stage 1, in the child. */
	POLICY_ALLOW(prctl),
	POLICY_ALLOW(capget),
	POLICY_ALLOW(capset),
	POLICY_ALLOW(setgroups),
	POLICY_ALLOW(setresuid),
	POLICY_ALLOW(setresgid),
	POLICY_ALLOW(sethostname),
	POLICY_ALLOW(mount),
	POLICY_ALLOW(umount2),
	POLICY_ALLOW(pivot_root),
	POLICY_ALLOW(chroot),
	/* A shared directory and /proc/self/fd become mounts of their own. */
	POLICY_ALLOW(open_tree),
	POLICY_ALLOW(mount_setattr),
	POLICY_ALLOW(chdir),
	POLICY_ALLOW(prlimit64),
	POLICY_ALLOW(fcntl),
	POLICY_ALLOW(dup3),
	POLICY_ALLOW(close_range),
	POLICY_ALLOW(execveat),
	/* Start of a static-pie program. */
	POLICY_ALLOW(arch_prctl),
	POLICY_ALLOW(set_tid_address),
	POLICY_ALLOW(set_robust_list),
	POLICY_ALLOW(rseq),
	POLICY_ALLOW(readlink),
	POLICY_ALLOW(geteuid),
	/* Stage 2: a device opens what it serves with. */
	POLICY_ALLOW(rt_sigaction),
	POLICY_ALLOW(io_uring_setup),
	POLICY_ALLOW(io_uring_register),
	POLICY_ALLOW(epoll_create1),
	POLICY_ALLOW(eventfd2),
	POLICY_ALLOW(timerfd_create),
	POLICY_ALLOW(dup),
	POLICY_ALLOW(pread64),
	POLICY_ALLOW(setsockopt),
	POLICY_ALLOW(fstatfs),
	POLICY_ALLOW(fchdir),
	POLICY_ALLOW(umask),
	/* Stage 3, of a device without an empty root. */
	POLICY_ALLOW(landlock_create_ruleset),
	POLICY_ALLOW(landlock_add_rule),
	POLICY_ALLOW(landlock_restrict_self),
	/* What the probe of the tests says of itself. */
	POLICY_ALLOW(uname),
	POLICY_ALLOW(getuid),
	POLICY_ALLOW(getgid),
	/* Sanitizer builds. */
	POLICY_ALLOW(sigaltstack),
	POLICY_ALLOW(mlock),
	POLICY_ALLOW(sched_yield),
};

const struct policy_table policy_spawner = { spawner, ARRAY_SIZE(spawner) };
