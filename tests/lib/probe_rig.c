/* SPDX-License-Identifier: BSD-3-Clause */
/* See probe_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/probe_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/spawner.h"
#include "vmm/base/fd.h"

void vmm_start(struct vmm *v, size_t who, int log_fd, bool shares)
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
		cr_assert(zero(int, setresgid(PROBE_ID, PROBE_ID, PROBE_ID)));
		cr_assert(zero(int, setresuid(PROBE_ID, PROBE_ID, PROBE_ID)));
		cr_assert(zero(int, prctl(PR_SET_DUMPABLE, 1)));
	}
	cr_assert(zero(int, spawner_create(&cfg, &v->sp, &err)), "%s", err.msg);
}

int vmm_spawn(struct vmm *v, const char *role, const char *share, int share_fd,
	      const char *words)
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

void vmm_probe(struct vmm *v, const char *role, const char *share, int share_fd,
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

void vmm_finish(struct vmm *v)
{
	fd_close(&v->ctl);
	spawner_destroy(v->sp);
	fd_close(&v->res.pidfd);
	fd_close(&v->exe_fd);
}
