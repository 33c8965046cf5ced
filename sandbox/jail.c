/* SPDX-License-Identifier: BSD-3-Clause */
/* Stage 3 of a device process. On its only thread, before it serves. */
#define _GNU_SOURCE
#include "sandbox/jail.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/caps.h"
#include "sandbox/policy.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

static void __attribute__((noreturn)) give_up(int code, const char *what)
{
	(void)log_errno(code, "sandbox: %s", what);
	_exit(1);
}

static void must(int r, const char *what)
{
	if (r < 0)
		give_up(r, what);
}

/*
 * @ret_listener: NULL: there is nobody to listen, so nobody could end the
 * process; deny and let the kernel's audit log say it
 */
static int load_filter(const struct policy_table *const *tables,
		       unsigned int nr_tables, int *ret_listener)
{
	scmp_filter_ctx ctx = NULL;
	int r = policy_begin(
		ret_listener ? SCMP_ACT_NOTIFY : SCMP_ACT_ERRNO(EPERM), &ctx);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < nr_tables && r == 0; i++)
		r = policy_add(ctx, tables[i], false);
	if (r == 0 && !ret_listener)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	/* A thread that stage 2 has started is jailed too. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r == 0)
		r = seccomp_load(ctx);
	if (r == 0 && ret_listener) {
		r = seccomp_notify_fd(ctx);
		*ret_listener = r;
	}
	seccomp_release(ctx);
	/* The filter was built in a heap that nobody needs any more. */
	(void)malloc_trim(0);
	return r < 0 ? r : 0;
}

/* Soft and hard, so that no bug of ours raises it again; never up. */
static int limit(__rlimit_resource_t what, rlim_t most)
{
	struct rlimit l;

	if (getrlimit(what, &l) < 0)
		return -errno;
	l.rlim_max = MIN(l.rlim_max, most);
	l.rlim_cur = MIN(l.rlim_cur, most);
	return setrlimit(what, &l) < 0 ? -errno : 0;
}

/* A sanitizer's shadow memory would be counted. */
static int limit_memory(const struct policy_role *role)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return 0;
#else
	struct rlimit fds;

	if (getrlimit(RLIMIT_NOFILE, &fds) < 0)
		return -errno;
	return limit(RLIMIT_DATA,
		     role->data_bytes + role->data_bytes_per_fd * fds.rlim_max);
#endif
}

void jail_limit_file_size(uint64_t bytes)
{
	must(limit(RLIMIT_FSIZE, bytes), "limit the size of files");
}

void jail_limit_files(int dir)
{
	const struct landlock_path below = { dir, LANDLOCK_MAY_ALL };
	int r;

	must(caps_gain_none(), "set no_new_privs and not dumpable");
	r = landlock_limit(&below, dir >= 0 ? 1 : 0);
	if (r != -EOPNOTSUPP) {
		must(r, "limit which files may be opened");
		return;
	}
	if (dir >= 0)
		log_warn("the kernel lacks Landlock as of Linux 5.19: only "
			 "file permissions keep this process from the host's "
			 "other files");
}

static int send_listener(int spawner_fd, int listener)
{
	ssize_t n = fd_sendmsg(spawner_fd, "", 1, &listener, 1);

	return n < 0 ? (int)n : 0;
}

void jail_device(const char *role_name, int spawner_fd, bool seccomp)
{
	const struct policy_role *role = policy_find(role_name);
	const struct policy_table *tables[] = { &policy_common,
						role ? &role->table : NULL };
	int listener = -1;
	int r;

	if (!seccomp) {
		fd_close(&spawner_fd);
		return;
	}
	must(role ? 0 : -ENOENT, "find the role's policy");
	must(caps_limit(role->caps), "drop capabilities");
	must(caps_gain_none(), "set no_new_privs and not dumpable");
	must(limit_memory(role), "limit memory");
	must(load_filter(tables, ARRAY_SIZE(tables),
			 spawner_fd >= 0 ? &listener : NULL),
	     "load the seccomp filter");
	if (spawner_fd < 0)
		return;
	r = send_listener(spawner_fd, listener);
	/*
	 * With its own listener a process could answer itself; or it would wait
	 * for itself, should a call in the next line be a violation.
	 */
	fd_close(&listener);
	must(r, "hand over the seccomp listener");
	fd_close(&spawner_fd);
}

void jail_dialler(void)
{
	static const struct policy_table *const tables[] = {
		&policy_dialler, &policy_vmm_connects
	};

	must(caps_drop_all(), "drop capabilities");
	must(caps_gain_none(), "set no_new_privs and not dumpable");
	must(load_filter(tables, ARRAY_SIZE(tables), NULL),
	     "load the seccomp filter");
}
