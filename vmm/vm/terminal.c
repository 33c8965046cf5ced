/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/vm/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE_KEY 0x01 /* Ctrl-A */

static struct termios saved;
static volatile sig_atomic_t raw_fd = -1;

void terminal_restore(void)
{
	int fd = raw_fd;

	if (fd < 0)
		return;
	raw_fd = -1;
	(void)tcsetattr(fd, TCSANOW, &saved);
}

static void on_fatal(int sig)
{
	terminal_restore();
	/* SA_RESETHAND: this time it ends us, with the right status. */
	(void)raise(sig);
}

static void catch_fatal(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS,	 SIGILL,
				       SIGFPE,	SIGABRT, SIGQUIT };
	struct sigaction sa = { .sa_handler = on_fatal,
				.sa_flags = SA_RESETHAND };

	(void)sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaction(signals[i], &sa, NULL);
}

int terminal_raw(int fd)
{
	struct termios raw;

	if (!isatty(fd))
		return 0;
	/* In the background a change of mode would stop us (SIGTTOU). */
	if (tcgetpgrp(fd) != getpgrp())
		return 0;
	if (tcgetattr(fd, &saved) < 0)
		return -errno;
	raw = saved;
	cfmakeraw(&raw);
	/* Log lines of ours still want their carriage return. */
	raw.c_oflag |= OPOST | ONLCR;
	if (atexit(terminal_restore) != 0)
		return -ENOMEM;
	catch_fatal();
	raw_fd = fd;
	return tcsetattr(fd, TCSANOW, &raw) < 0 ? -errno : 0;
}

enum terminal_key terminal_key(bool *escaped, uint8_t byte)
{
	bool was = *escaped;

	*escaped = !was && byte == ESCAPE_KEY;
	if (was && byte == 'x')
		return TERMINAL_KEY_LEAVE;
	return *escaped ? TERMINAL_KEY_TAKEN : TERMINAL_KEY_PLAIN;
}
