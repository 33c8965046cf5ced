/* SPDX-License-Identifier: BSD-3-Clause */
/* The spawner and its devices end with each other and with the VMM. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/spawner_rig.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

AS_BOTH_USERS(spawner, its_death_ends_the_devices)
{
	struct bench b;
	struct device d[3];
	struct pollfd pfd;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d[0], "blk", "");
	device_start(&b, &d[1], "net", "jail");
	device_start(&b, &d[2], "rng", "jail");
	cr_assert(zero(int, kill(spawner_pid(b.sp), SIGKILL)));
	for (size_t i = 0; i < ARRAY_SIZE(d); i++)
		cr_assert(died(d[i].res.pidfd), "device %zu lives", i);
	pfd = (struct pollfd){ .fd = spawner_fd(b.sp), .events = POLLIN };
	cr_assert(eq(int, poll(&pfd, 1, WAIT_MS), 1));
	cr_assert(eq(int, device_spawn(&b, &d[0], "blk", ""), -EPIPE));
	cr_assert(strstr(b.err.msg, "spawner") != NULL, "%s", b.err.msg);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, weak_devices_die_with_it_too)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_WEAK);
	device_start(&b, &d, "blk", "jail");
	cr_assert(zero(int, kill(spawner_pid(b.sp), SIGKILL)));
	cr_assert(died(d.res.pidfd));
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, destroy_ends_everything)
{
	struct bench b;
	struct device d[2];
	pid_t pid;

	bench_start(&b, *who, SANDBOX_FULL);
	pid = spawner_pid(b.sp);
	device_start(&b, &d[0], "blk", "");
	device_start(&b, &d[1], "net", "jail");
	spawner_destroy(b.sp);
	b.sp = NULL;
	/* Reaped, not merely dead: the pid is gone. */
	cr_assert(eq(int, kill(d[0].res.pid, 0), -1));
	cr_assert(eq(int, kill(d[1].res.pid, 0), -1));
	cr_assert(eq(int, kill(pid, 0), -1));
	cr_assert(eq(int, errno, ESRCH));
	bench_finish(&b);
	spawner_destroy(NULL);
}

/* As a card takes the filter off its tap. */
AS_BOTH_USERS(spawner, devices_may_tidy_up_at_the_end)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "net", "jail slow-end");
	fd_close(&d.ctl);
	spawner_destroy(b.sp);
	b.sp = NULL;
	cr_assert(log_wait(&b, "has tidied up"), "%s", b.log);
	cr_assert(died(d.res.pidfd));
	fd_close(&d.res.pidfd);
	bench_finish(&b);
}

/* A VMM of its own, to be killed; says the pids it made. */
static void vmm_child(struct bench *b, int out)
{
	struct device d;
	pid_t pids[2];

	if (bench_create(b, SANDBOX_FULL) < 0)
		_exit(1);
	if (device_spawn(b, &d, "blk", "jail") < 0)
		_exit(1);
	device_listen(&d);
	pids[0] = spawner_pid(b->sp);
	pids[1] = d.res.pid;
	if (fd_write_all(out, pids, sizeof(pids)) < 0)
		_exit(1);
	for (;;)
		(void)pause();
}

AS_BOTH_USERS(spawner, death_of_the_vmm_ends_everything)
{
	struct bench b;
	pid_t pids[2] = { 0 };
	int pidfds[2];
	int pipe_fds[2];
	pid_t vmm;

	bench_init(&b, *who);
	cr_assert(zero(int, pipe2(pipe_fds, O_CLOEXEC)));
	vmm = fork();
	if (vmm == 0)
		vmm_child(&b, pipe_fds[1]);
	(void)close(pipe_fds[1]);
	cr_assert(eq(int, (int)read(pipe_fds[0], pids, sizeof(pids)),
		     sizeof(pids)));
	for (size_t i = 0; i < 2; i++) {
		pidfds[i] = (int)syscall(SYS_pidfd_open, pids[i], 0);
		cr_assert(ge(int, pidfds[i], 0));
	}
	cr_assert(zero(int, kill(vmm, SIGKILL)));
	cr_assert(eq(int, waitpid(vmm, NULL, 0), vmm));
	cr_assert(died(pidfds[0]), "spawner lives");
	cr_assert(died(pidfds[1]), "device lives");
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, terminal_signals_do_not_end_it)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct bench b;
	struct device d[2];

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d[0], "blk", "jail");
	/* As root: it has no right to signal a process of another id. */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		cr_assert(zero(int, kill(spawner_pid(b.sp), signals[i])));
		cr_assert(zero(int, kill(d[0].res.pid, signals[i])));
	}
	device_start(&b, &d[1], "blk", "jail");
	device_finish(&d[0]);
	device_finish(&d[1]);
	bench_finish(&b);
}

AS_BOTH_USERS(spawner, abnormal_exit_is_logged)
{
	struct bench b;
	struct device d;

	bench_start(&b, *who, SANDBOX_FULL);
	device_start(&b, &d, "blk", "jail exit3");
	cr_assert(died(d.res.pidfd));
	cr_assert(log_wait(&b, "exited with status 3"), "%s", b.log);
	fd_close(&d.ctl);
	device_start(&b, &d, "blk", "jail");
	cr_assert(zero(int, syscall(SYS_pidfd_send_signal, d.res.pidfd, SIGKILL,
				    NULL, 0)));
	cr_assert(log_wait(&b, "was killed by signal 9"), "%s", b.log);
	fd_close(&d.ctl);
	bench_finish(&b);
}
