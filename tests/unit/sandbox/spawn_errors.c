/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests that the spawner refuses, and hosts that forbid what it needs. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/spawner_rig.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

static struct spawn_request plain_request(void)
{
	return (struct spawn_request){ .role = "blk",
				       .name = "blk0",
				       .vhost_fd = -1,
				       .ctl_fd = -1,
				       .regpage_fd = -1,
				       .wake_fd = -1 };
}

static void refused(struct bench *b, const struct spawn_request *req, int error,
		    const char *text)
{
	struct spawn_result res = { .pid = -7, .pidfd = -7 };

	cr_assert(eq(int, spawner_spawn(b->sp, req, &res, &b->err), error),
		  "%s", text);
	cr_assert(strstr(b->err.msg, text) != NULL, "'%s' misses '%s'",
		  b->err.msg, text);
	cr_assert(eq(int, res.pidfd, -7));
}

static int answer(struct bench *b, struct spawn_result *res)
{
	struct pollfd pfd = { .fd = spawner_fd(b->sp), .events = POLLIN };

	cr_assert(eq(int, poll(&pfd, 1, -1), 1));
	return spawner_spawn_end(b->sp, "device", res, &b->err);
}

/* Whoever asks does not wait: not for a spawner that is stopped either. */
AS_BOTH_USERS(spawner, answers_come_in_the_order_of_the_requests)
{
	struct spawn_request good = plain_request(), bad = plain_request();
	struct spawn_result res[2] = { { .pidfd = -1 }, { .pidfd = -1 } };
	struct bench b;

	bench_start(&b, *who, SANDBOX_FULL);
	bad.share = "/share"; /* but no fd of it */
	cr_assert(zero(int, kill(spawner_pid(b.sp), SIGSTOP)));
	cr_assert(zero(int, spawner_spawn_begin(b.sp, &good, &b.err)));
	cr_assert(zero(int, spawner_spawn_begin(b.sp, &bad, &b.err)));
	cr_assert(zero(int, spawner_spawn_begin(b.sp, &good, &b.err)));
	cr_assert(eq(int, spawner_spawn_end(b.sp, "device", &res[0], &b.err),
		     -EINPROGRESS));
	cr_assert(zero(int, kill(spawner_pid(b.sp), SIGCONT)));
	cr_assert(zero(int, answer(&b, &res[0])), "%s", b.err.msg);
	cr_assert(lt(int, answer(&b, &res[1]), 0));
	cr_assert(zero(int, answer(&b, &res[1])), "%s", b.err.msg);
	cr_assert(eq(int, spawner_spawn_end(b.sp, "device", &res[1], &b.err),
		     -EINPROGRESS));
	cr_assert(ne(int, res[0].pid, res[1].pid));
	fd_close(&res[0].pidfd);
	fd_close(&res[1].pidfd);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, bad_request_is_refused_and_leaves_nothing)
{
	char long_word[SPAWN_MAX_ARG_BYTES + 1];
	char empty[] = "";
	struct spawn_request req = plain_request();
	struct bench b;
	struct device d;
	char path[64];
	size_t fds = 0;
	bool look;

	bench_start(&b, *who, SANDBOX_FULL);
	look = geteuid() == 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", spawner_pid(b.sp));
	if (look)
		fds = fd_count(path);
	memset(long_word, 'x', sizeof(long_word));
	long_word[SPAWN_MAX_ARG_BYTES] = '\0';
	req.args[0] = long_word;
	refused(&b, &req, -EINVAL, "device argument 'xxx");
	req.args[0] = empty;
	refused(&b, &req, -EINVAL, "device argument ''");
	req = plain_request();
	req.name = "blk4567890123456";
	refused(&b, &req, -EINVAL, "device name 'blk4567890123456'");
	req = plain_request();
	req.role = "";
	refused(&b, &req, -EINVAL, "role ''");
	req = plain_request();
	req.nr_backend_fds = SPAWN_MAX_BACKEND_FDS + 1;
	refused(&b, &req, -EINVAL, "back-end fds");
	req = plain_request();
	req.ctl_fd = 1000;
	refused(&b, &req, -EBADF, "start device blk0");
	/* It goes on after all that. */
	device_start(&b, &d, "blk", "jail");
	device_finish(&d);
	cr_assert(zero(int, device_spawn(&b, &d, "blk", "jail exit3")));
	cr_assert(log_wait(&b, "exited with status 3"));
	fd_close(&d.ctl);
	if (look)
		cr_assert(eq(sz, fd_count(path), fds), "fds are left");
	(void)snprintf(path, sizeof(path), "task/%d/children",
		       spawner_pid(b.sp));
	cr_assert(zero(sz, strlen(proc_text(spawner_pid(b.sp), path))));
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, all_places_are_filled)
{
	struct spawn_request req = plain_request();
	char word[] = "fds";
	struct bench b;
	struct device d = { 0 };
	int pair[2];

	bench_start(&b, *who, SANDBOX_FULL);
	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, pair)));
	req.ctl_fd = req.vhost_fd = req.regpage_fd = req.wake_fd = pair[1];
	for (unsigned int i = 0; i < SPAWN_MAX_BACKEND_FDS; i++)
		req.backend_fds[i] = pair[1];
	req.nr_backend_fds = SPAWN_MAX_BACKEND_FDS;
	req.args[0] = word;
	cr_assert(zero(int, spawner_spawn(b.sp, &req, &d.res, &b.err)), "%s",
		  b.err.msg);
	(void)close(pair[1]);
	d.ctl = pair[0];
	device_listen(&d);
	cr_assert(says(&d, "fds 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n"), "%s",
		  d.text);
	device_finish(&d);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, program_that_cannot_be_executed_is_named)
{
	struct spawn_request req = plain_request();
	struct bench b;
	char path[64];

	bench_init(&b, 0);
	fd_close(&b.exe_fd);
	b.exe_fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	become(*who);
	cr_assert(zero(int, bench_create(&b, SANDBOX_FULL)), "%s", b.err.msg);
	refused(&b, &req, -EACCES, "execute torpor-device: Permission denied");
	refused(&b, &req, -EACCES, "must allow others to execute");
	(void)snprintf(path, sizeof(path), "task/%d/children",
		       spawner_pid(b.sp));
	cr_assert(zero(sz, strlen(proc_text(spawner_pid(b.sp), path))));
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, missing_program_is_refused)
{
	struct bench b;

	bench_init(&b, *who);
	fd_close(&b.exe_fd);
	cr_assert(eq(int, bench_create(&b, SANDBOX_FULL), -EBADF));
	cr_assert(strstr(b.err.msg, "torpor-device") != NULL, "%s", b.err.msg);
	bench_finish(&b);
}

/*
 * What a VMM sees that is root of a user namespace of one id. A process of its
 * own: Criterion's has threads, and those cannot unshare.
 */
struct outcome {
	int full, weak, device; /* results; 1 = not reached */
	struct err err;
	char text[4096]; /* of the device */
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));

	fd_close(&fd);
	return r;
}

static int enter_single_id(void)
{
	unsigned int uid = geteuid();
	unsigned int gid = getegid();
	char map[32];
	int r;

	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	r = write_file("/proc/self/setgroups", "deny");
	if (r < 0)
		return r;
	(void)snprintf(map, sizeof(map), "0 %u 1", uid);
	r = write_file("/proc/self/uid_map", map);
	if (r < 0)
		return r;
	(void)snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

static void inner_vmm(struct bench *b, const char *forbidden,
		      struct outcome *out)
{
	struct device d;

	if (enter_single_id() < 0)
		return;
	if (forbidden && write_file(forbidden, "0") < 0)
		return;
	out->full = bench_create(b, SANDBOX_FULL);
	out->err = b->err;
	if (out->full == 0) {
		out->device = device_spawn(b, &d, "blk", "ids jail");
		if (out->device == 0)
			device_listen(&d);
		(void)snprintf(out->text, sizeof(out->text), "%s", d.text);
		spawner_destroy(b->sp);
	}
	out->weak = bench_create(b, SANDBOX_WEAK);
	if (out->weak == 0)
		spawner_destroy(b->sp);
}

static void run_inner_vmm(size_t who, const char *forbidden,
			  struct outcome *ret)
{
	struct outcome *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct bench b;
	pid_t pid;

	cr_assert(shared != MAP_FAILED);
	*shared = (struct outcome){ .full = 1, .weak = 1, .device = 1 };
	bench_init(&b, who);
	pid = fork();
	if (pid == 0) {
		inner_vmm(&b, forbidden, shared);
		_exit(0);
	}
	cr_assert(eq(int, waitpid(pid, NULL, 0), pid));
	*ret = *shared;
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, forbidden_user_namespaces_are_explained)
{
	struct outcome out;

	run_inner_vmm(*who, "/proc/sys/user/max_user_namespaces", &out);
	cr_assert(eq(int, out.full, -ENOSPC), "%s", out.err.msg);
	cr_assert(strstr(out.err.msg, "user.max_user_namespaces is 0") != NULL,
		  "%s", out.err.msg);
	cr_assert(strstr(out.err.msg, "--sandbox=weak") != NULL, "%s",
		  out.err.msg);
	/* And that remedy is one. */
	cr_assert(zero(int, out.weak));
}

/* Found by the trial launch: the spawner itself needs none. */
AS_BOTH_USERS(spawner, forbidden_pid_namespaces_are_explained)
{
	struct outcome out;

	run_inner_vmm(*who, "/proc/sys/user/max_pid_namespaces", &out);
	cr_assert(eq(int, out.full, -ENOSPC), "%s", out.err.msg);
	cr_assert(strstr(out.err.msg, "user.max_pid_namespaces is 0") != NULL,
		  "%s", out.err.msg);
	cr_assert(zero(int, out.weak));
}

AS_BOTH_USERS(spawner, root_of_one_id_is_an_ordinary_user)
{
	struct outcome out;

	run_inner_vmm(*who, NULL, &out);
	cr_assert(zero(int, out.full), "%s", out.err.msg);
	cr_assert(zero(int, out.device));
	cr_assert(strstr(out.text, "pid 1 uid 0 gid 0") != NULL, "%s",
		  out.text);
	cr_assert(zero(int, out.weak));
}
