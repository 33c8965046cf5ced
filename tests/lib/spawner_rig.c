/* SPDX-License-Identifier: BSD-3-Clause */
/* See spawner_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/spawner_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
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
#include "vmm/base/log.h"

int probe_open(void)
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

void become(size_t who)
{
	if (who == 0)
		return;
	if (geteuid() != 0)
		cr_skip_test("is an ordinary user already");
	cr_assert(zero(int, setgroups(0, NULL)));
	cr_assert(zero(int, setresgid(ORDINARY_ID, ORDINARY_ID, ORDINARY_ID)));
	cr_assert(zero(int, setresuid(ORDINARY_ID, ORDINARY_ID, ORDINARY_ID)));
	cr_assert(zero(int, clearenv()));
	cr_assert(zero(int, prctl(PR_SET_DUMPABLE, 1)));
}

void bench_init(struct bench *b, size_t who)
{
	int pipe_fds[2];

	memset(b, 0, sizeof(*b));
	b->exe_fd = probe_open();
	cr_assert(ge(int, b->exe_fd, 0), "open probe-device: make it first");
	cr_assert(zero(int, pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK)));
	b->log_rd = pipe_fds[0];
	b->log_wr = pipe_fds[1];
	become(who);
}

int bench_create(struct bench *b, enum sandbox_mode mode)
{
	const struct spawner_config cfg = { .device_exe_fd = b->exe_fd,
					    .log_fd = b->log_wr,
					    .mode = mode,
					    .shares = b->share != NULL };

	return spawner_create(&cfg, &b->sp, &b->err);
}

void bench_start(struct bench *b, size_t who, enum sandbox_mode mode)
{
	bench_init(b, who);
	cr_assert(zero(int, bench_create(b, mode)), "%s", b->err.msg);
}

void bench_finish(struct bench *b)
{
	spawner_destroy(b->sp);
	b->sp = NULL;
	fd_close(&b->exe_fd);
	fd_close(&b->log_rd);
	fd_close(&b->log_wr);
}

bool log_wait(struct bench *b, const char *text)
{
	while (!strstr(b->log, text)) {
		struct pollfd pfd = { .fd = b->log_rd, .events = POLLIN };
		ssize_t n;

		if (poll(&pfd, 1, WAIT_MS) <= 0)
			return false;
		n = read(b->log_rd, b->log + b->log_len,
			 sizeof(b->log) - 1 - b->log_len);
		if (n <= 0)
			return false;
		b->log_len += (size_t)n;
	}
	return true;
}

bool died(int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	return poll(&pfd, 1, WAIT_MS) == 1;
}

int device_spawn(struct bench *b, struct device *d, const char *role,
		 const char *words)
{
	char *copy = strdup(words);
	char *save = NULL;
	struct spawn_request req = { .role = role,
				     .name = "probe0",
				     .vhost_fd = -1,
				     .ctl_fd = -1,
				     .regpage_fd = -1,
				     .wake_fd = -1 };
	unsigned int n = 0;
	int pair[2];
	int r;

	if (b->share) {
		req.share = b->share;
		req.backend_fds[req.nr_backend_fds++] = b->share_fd;
	}
	memset(d, 0, sizeof(*d));
	d->res.pidfd = -1;
	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, pair)));
	d->ctl = pair[0];
	req.ctl_fd = req.vhost_fd = pair[1];
	for (char *w = strtok_r(copy, " ", &save); w;
	     w = strtok_r(NULL, " ", &save))
		req.args[n++] = w;
	r = spawner_spawn(b->sp, &req, &d->res, &b->err);
	(void)close(pair[1]);
	free(copy);
	return r;
}

void device_listen(struct device *d)
{
	size_t len = 0;

	while (len < sizeof(d->text) - 2) {
		struct pollfd pfd = { .fd = d->ctl, .events = POLLIN };
		ssize_t n;

		cr_assert(eq(int, poll(&pfd, 1, WAIT_MS), 1),
			  "silence after %s", d->text);
		n = recv(d->ctl, d->text + len, sizeof(d->text) - 2 - len, 0);
		if (n <= 0 || strncmp(d->text + len, "ready", 5) == 0)
			return;
		len += (size_t)n;
		d->text[len++] = '\n';
	}
}

void device_start(struct bench *b, struct device *d, const char *role,
		  const char *words)
{
	int r = device_spawn(b, d, role, words);

	cr_assert(zero(int, r), "%s", b->err.msg);
	device_listen(d);
}

void device_finish(struct device *d)
{
	fd_close(&d->ctl);
	cr_assert(died(d->res.pidfd), "device outlives its channel");
	fd_close(&d->res.pidfd);
}

bool says(const struct device *d, const char *line)
{
	return strstr(d->text, line) != NULL;
}

const char *proc_text(pid_t pid, const char *file)
{
	static char text[8192];
	char path[64];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(ge(int, fd, 0), "%s", path);
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	(void)close(fd);
	return text;
}

long long status_field(pid_t pid, const char *name, int base)
{
	const char *p = strstr(proc_text(pid, "status"), name);

	cr_assert(p != NULL, "%s", name);
	return (long long)strtoull(p + strlen(name), NULL, base);
}

size_t fd_count(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	cr_assert(d != NULL, "%s", dir);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}
