/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * on-wake COMMAND [ARG]...: runs a command after each sleep of the system,
 * which does not sleep again before the command has ended. A shell can do
 * neither: to a kernel with autosleep the time between two sleeps is nothing.
 *
 * A timer on CLOCK_REALTIME is cancelled when the clock jumps, which it does
 * over a sleep. With EPOLLWAKEUP the kernel holds a wakeup source from that
 * moment, before processes are thawed, until the next epoll_wait(). Needs
 * CAP_BLOCK_SUSPEND. Statically linked; runs in the guest.
 */
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* Return: a timer that is readable when the clock has jumped; -1 and errno. */
static int jump_timer(void)
{
	/* Beyond the clock's end: it never expires. */
	const struct itimerspec never = { .it_value.tv_sec = INT64_MAX };
	const int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
	int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0 || timerfd_settime(fd, flags, &never, NULL) < 0)
		return -1;
	return fd;
}

static int run(char **argv)
{
	pid_t pid;
	int r = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (r == 0 && waitpid(pid, NULL, 0) < 0)
		r = errno;
	return r;
}

int main(int argc, char **argv)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLWAKEUP };
	int timer, epoll;

	if (argc < 2) {
		(void)fprintf(stderr, "usage: on-wake COMMAND [ARG]...\n");
		return 2;
	}
	timer = jump_timer();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (timer < 0 || epoll < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event) < 0) {
		perror("on-wake: watch the clock");
		return 1;
	}
	for (;;) {
		uint64_t ticks;
		int r;

		if (epoll_wait(epoll, &event, 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			perror("on-wake: wait");
			return 1;
		}
		if (read(timer, &ticks, sizeof(ticks)) >= 0 ||
		    errno != ECANCELED)
			continue;
		r = run(argv + 1);
		if (r) {
			errno = r;
			perror("on-wake: run the command");
			return 1;
		}
	}
}
