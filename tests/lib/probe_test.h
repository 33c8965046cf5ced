/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A spawner and one probe device after another (tests/sandbox/probe_device.c),
 * as root and as an ordinary user.
 */
#ifndef TORPOR_TESTS_PROBE_TEST_H
#define TORPOR_TESTS_PROBE_TEST_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/spawner.h"
#include "vmm/base/fd.h"

#define ORDINARY_ID 60124
#define WAIT_MS	    20000

struct vmm {
	struct spawner *sp;
	struct spawn_result res;
	int exe_fd, ctl;
	char text[4096]; /* what the probe said, a line a packet */
};

static int probe_open(void)
{
	char path[PATH_MAX + 64];
	char self[PATH_MAX] = "";

	cr_assert(gt(int,
		     (int)readlink("/proc/self/exe", self, sizeof(self) - 1),
		     0));
	(void)snprintf(path, sizeof(path), "%s/../../sandbox/probe-device",
		       dirname(self));
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* @who: 0 = who we are, 1 = an ordinary user */
static void vmm_start(struct vmm *v, size_t who, int log_fd, bool shares)
{
	const struct spawner_config cfg = { .device_exe_fd = probe_open(),
					    .log_fd = log_fd,
					    .mode = SANDBOX_FULL,
					    .shares = shares };
	struct err err = { "" };

	if (who && geteuid() != 0)
		cr_skip_test("is an ordinary user already");
	*v = (struct vmm){ .exe_fd = cfg.device_exe_fd,
			   .ctl = -1,
			   .res.pidfd = -1 };
	cr_assert(ge(int, v->exe_fd, 0));
	if (who) {
		cr_assert(zero(int, setgroups(0, NULL)));
		cr_assert(zero(
			int, setresgid(ORDINARY_ID, ORDINARY_ID, ORDINARY_ID)));
		cr_assert(zero(
			int, setresuid(ORDINARY_ID, ORDINARY_ID, ORDINARY_ID)));
		cr_assert(zero(int, prctl(PR_SET_DUMPABLE, 1)));
	}
	cr_assert(zero(int, spawner_create(&cfg, &v->sp, &err)), "%s", err.msg);
}

/*
 * Starts a probe of @role with @words. Return: 0 and the channel on which it
 * speaks in v->ctl, or what spawner_spawn() said.
 */
static int vmm_spawn(struct vmm *v, const char *role, const char *share,
		     int share_fd, const char *words)
{
	_cleanup_free_ char *copy = strdup(words);
	struct spawn_request req = { .role = role,
				     .name = "probe0",
				     .vhost_fd = -1,
				     .ctl_fd = -1,
				     .regpage_fd = -1,
				     .wake_fd = -1,
				     .share = share,
				     .backend_fds = { share_fd },
				     .nr_backend_fds = share ? 1 : 0 };
	struct err err = { "" };
	char *save = NULL;
	unsigned int n = 0;
	int pair[2];
	int r;

	for (char *w = strtok_r(copy, " ", &save); w;
	     w = strtok_r(NULL, " ", &save))
		req.args[n++] = w;
	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, pair)));
	req.ctl_fd = pair[1];
	fd_close(&v->res.pidfd);
	r = spawner_spawn(v->sp, &req, &v->res, &err);
	(void)close(pair[1]);
	fd_close(&v->ctl);
	v->ctl = pair[0];
	return r;
}

/* Runs a probe until it is ready or dead. */
static __attribute__((unused)) void vmm_probe(struct vmm *v, const char *role,
					      const char *share, int share_fd,
					      const char *words)
{
	size_t len = 0;

	cr_assert(zero(int, vmm_spawn(v, role, share, share_fd, words)));
	for (;;) {
		struct pollfd pfd = { .fd = v->ctl, .events = POLLIN };
		ssize_t got;

		cr_assert(eq(int, poll(&pfd, 1, WAIT_MS), 1), "silence");
		got = recv(v->ctl, v->text + len, sizeof(v->text) - 2 - len, 0);
		if (got <= 0 || !strncmp(v->text + len, "ready", 5))
			break;
		len += (size_t)got;
		v->text[len++] = '\n';
	}
	v->text[len] = '\0';
}

static void vmm_finish(struct vmm *v)
{
	fd_close(&v->ctl);
	spawner_destroy(v->sp);
	fd_close(&v->res.pidfd);
	fd_close(&v->exe_fd);
}

#define AS_BOTH_USERS(suite, name)                            \
	ParameterizedTestParameters(suite, name)              \
	{                                                     \
		static size_t users[2] = { 0, 1 };            \
		return cr_make_param_array(size_t, users, 2); \
	}                                                     \
	ParameterizedTest(size_t *who, suite, name, .timeout = 240)

#endif
