/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/vm/char_fd.h: what a line of bytes comes from and goes to. */
#define _GNU_SOURCE
#include "vmm/vm/char_fd.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static char dir[] = "/tmp/torpor-char-XXXXXX";
static char path[64];
static struct err err;
static struct char_fd fds;

static void setup(void)
{
	cr_assert(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/x", dir);
	fds = (struct char_fd)CHAR_FD_NONE;
}

static void teardown(void)
{
	fd_close(&fds.in);
	fd_close(&fds.out);
	fd_close(&fds.slave);
	(void)unlink(path);
	(void)rmdir(dir);
}

TestSuite(char_fd, .init = setup, .fini = teardown, .timeout = 120);

static int open_it(struct char_config *cfg)
{
	return char_fd_open(cfg, "--serial", SANDBOX_FULL, &fds, &err);
}

static mode_t type_of_path(void)
{
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

Test(char_fd, none_reads_nothing_and_swallows_all)
{
	struct char_config cfg = { .type = CHAR_NONE };
	char byte;

	cr_assert(eq(int, open_it(&cfg), 0));
	cr_assert(eq(int, (int)read(fds.in, &byte, 1), 0));
	cr_assert(eq(int, (int)write(fds.out, "x", 1), 1));
	cr_assert(eq(int, fcntl(fds.in, F_GETFD), FD_CLOEXEC));
	cr_assert(eq(int, fcntl(fds.out, F_GETFD), FD_CLOEXEC));
}

static off_t size_of_path(void)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

Test(char_fd, a_file_is_kept_and_appended_to)
{
	struct char_config cfg = { .type = CHAR_FILE, .path = path };

	cr_assert(eq(int, open_it(&cfg), 0));
	cr_assert(eq(int, (int)write(fds.out, "abc", 3), 3));
	char_fd_close(&cfg, &fds);
	cr_assert(eq(int, open_it(&cfg), 0));
	cr_assert(eq(int, (int)write(fds.out, "de", 2), 2));
	cr_assert(eq(long, size_of_path(), 5));
	/* logrotate's copytruncate leaves no hole. */
	cr_assert(eq(int, truncate(path, 0), 0));
	cr_assert(eq(int, (int)write(fds.out, "f", 1), 1));
	cr_assert(eq(long, size_of_path(), 1));
}

Test(char_fd, a_fifo_waits_for_its_reader_and_nobody_else_does)
{
	struct char_config cfg = { .type = CHAR_FILE, .path = path };
	_cleanup_fd_ int reader = -1;
	char byte;

	cr_assert(eq(int, mkfifo(path, 0600), 0));
	cr_assert(eq(int, open_it(&cfg), 0), "%s", err.msg);
	cr_assert(eq(int, (int)write(fds.out, "x", 1), 1));
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cr_assert(eq(int, (int)read(reader, &byte, 1), 1));
	cr_assert(eq(chr, byte, 'x'));
}

/* Standard input and output as a shell gives them, shared with it. */
static void shell_gives(int fd_in, int fd_out)
{
	cr_assert(eq(int, dup2(fd_in, STDIN_FILENO), STDIN_FILENO));
	cr_assert(eq(int, dup2(fd_out, STDOUT_FILENO), STDOUT_FILENO));
}

static void never_blocks(void)
{
	struct char_config cfg = { .type = CHAR_STDIO };
	int in_flags = fcntl(STDIN_FILENO, F_GETFL);
	int out_flags = fcntl(STDOUT_FILENO, F_GETFL);
	static char page[4096];
	char byte;

	cr_assert(eq(int, open_it(&cfg), 0), "%s", err.msg);
	cr_assert(eq(int, (int)read(fds.in, &byte, 1), -1));
	cr_assert(eq(int, errno, EAGAIN));
	while (write(fds.out, page, sizeof(page)) > 0)
		;
	cr_assert(eq(int, errno, EAGAIN));
	cr_assert(eq(int, fcntl(STDIN_FILENO, F_GETFL), in_flags));
	cr_assert(eq(int, fcntl(STDOUT_FILENO, F_GETFL), out_flags));
}

Test(char_fd, pipes_of_the_shell_never_block_and_keep_their_flags)
{
	int to[2], from[2];

	cr_assert(eq(int, pipe2(to, O_CLOEXEC), 0));
	cr_assert(eq(int, pipe2(from, O_CLOEXEC), 0));
	shell_gives(to[0], from[1]);
	never_blocks();
}

Test(char_fd, a_terminal_of_the_shell_never_blocks_and_keeps_its_flags)
{
	int master, slave;

	cr_assert(eq(int, openpty(&master, &slave, NULL, NULL, NULL), 0));
	shell_gives(slave, slave);
	never_blocks();
}

/* Opened again it would be another pair. */
Test(char_fd, a_master_of_the_shell_never_blocks_and_is_the_same)
{
	struct char_config cfg = { .type = CHAR_STDIO };
	int master, slave;
	char byte;

	cr_assert(eq(int, openpty(&master, &slave, NULL, NULL, NULL), 0));
	shell_gives(master, master);
	cr_assert(eq(int, open_it(&cfg), 0));
	cr_assert(eq(int, (int)write(fds.out, "x\n", 2), 2));
	cr_assert(eq(int, (int)read(slave, &byte, 1), 1));
	cr_assert(eq(chr, byte, 'x'));
}

/* It cannot be opened again; a thread waits for it. */
Test(char_fd, a_socket_of_the_shell_never_blocks_and_keeps_its_flags)
{
	int pair[2];

	cr_assert(eq(int,
		     socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		     0));
	shell_gives(pair[0], pair[0]);
	never_blocks();
}

Test(char_fd, a_socket_carries_all_both_ways_and_its_end)
{
	struct char_config cfg = { .type = CHAR_STDIO };
	struct pollfd pfd = { .events = POLLIN };
	char buf[8];
	int pair[2];

	cr_assert(eq(int,
		     socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		     0));
	shell_gives(pair[0], pair[0]);
	cr_assert(eq(int, open_it(&cfg), 0), "%s", err.msg);
	cr_assert(eq(int, (int)write(pair[1], "in", 2), 2));
	pfd.fd = fds.in;
	cr_assert(eq(int, poll(&pfd, 1, -1), 1));
	cr_assert(eq(int, (int)read(fds.in, buf, sizeof(buf)), 2));
	cr_assert(eq(int, (int)write(fds.out, "out", 3), 3));
	cr_assert(eq(int, (int)read(pair[1], buf, sizeof(buf)), 3));
	cr_assert(eq(int, shutdown(pair[1], SHUT_WR), 0));
	cr_assert(eq(int, poll(&pfd, 1, -1), 1));
	cr_assert(eq(int, (int)read(fds.in, buf, sizeof(buf)), 0));
	/* What was written last arrives. */
	cr_assert(eq(int, (int)write(fds.out, "end", 3), 3));
	char_fd_close(&cfg, &fds);
	cr_assert(
		eq(int, (int)recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT), 3));
}

Test(char_fd, a_file_that_cannot_be_written_is_named)
{
	struct char_config cfg = { .type = CHAR_FILE, .path = dir };

	cr_assert(eq(int, open_it(&cfg), -EISDIR));
	cr_assert(strstr(err.msg, dir) != NULL);
	char_fd_close(&cfg, &fds);
	cr_assert(eq(int, fds.in, -1));
	cr_assert(eq(int, fds.out, -1));
}

Test(char_fd, a_pty_is_raw_and_its_link_leads_there)
{
	struct char_config cfg = { .type = CHAR_PTY, .path = path };
	struct pollfd pfd;
	char buf[4] = "";
	int slave;

	cr_assert(eq(int, symlink("/nonexistent", path), 0), "an old one");
	cr_assert(eq(int, open_it(&cfg), 0));
	slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert(ge(int, slave, 0));
	cr_assert(eq(int, (int)write(slave, "\r\n", 2), 2));
	pfd = (struct pollfd){ .fd = fds.in, .events = POLLIN };
	cr_assert(eq(int, poll(&pfd, 1, -1), 1));
	cr_assert(eq(int, (int)read(fds.in, buf, sizeof(buf)), 2));
	cr_assert(zero(int, memcmp(buf, "\r\n", 2)));
	/* Nobody has it open: no end of file, nothing to poll for. */
	(void)close(slave);
	pfd.revents = 0;
	cr_assert(eq(int, poll(&pfd, 1, 0), 0));
	char_fd_close(&cfg, &fds);
	cr_assert(eq(u32, type_of_path(), 0));
}

static void *read_late(void *arg)
{
	const struct timespec late = { .tv_nsec = 50000000 };
	int slave = *(int *)arg;
	char *text = calloc(1, 64);

	(void)nanosleep(&late, NULL);
	cr_assert(gt(int, (int)read(slave, text, 63), 0));
	return text;
}

/* A reader that is on its way has what was written before the end. */
Test(char_fd, a_pty_is_read_to_its_end)
{
	struct char_config cfg = { .type = CHAR_PTY, .path = path };
	pthread_t thread;
	void *text;
	int slave;

	cr_assert(eq(int, open_it(&cfg), 0));
	slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert(eq(int, (int)write(fds.out, "last line", 9), 9));
	cr_assert(eq(int, pthread_create(&thread, NULL, read_late, &slave), 0));
	char_fd_close(&cfg, &fds);
	cr_assert(eq(int, pthread_join(thread, &text), 0));
	cr_assert(zero(int, strcmp(text, "last line")), "%s", (char *)text);
	free(text);
	(void)close(slave);
}

Test(char_fd, a_pty_that_nobody_reads_does_not_hold_up_the_end)
{
	struct char_config cfg = { .type = CHAR_PTY };
	static char page[4096];

	cr_assert(eq(int, open_it(&cfg), 0));
	while (write(fds.out, page, sizeof(page)) > 0)
		;
	cr_assert(eq(int, errno, EAGAIN));
	char_fd_close(&cfg, &fds);
	cr_assert(eq(int, fds.out, -1));
}

Test(char_fd, what_is_no_link_is_neither_replaced_nor_removed)
{
	struct char_config cfg = { .type = CHAR_PTY, .path = path };
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)close(fd);
	cr_assert(eq(int, open_it(&cfg), -EEXIST));
	char_fd_close(&cfg, &fds);
	cr_assert(eq(u32, type_of_path(), S_IFREG), "the user's file");
}

Test(char_fd, cleanup_of_what_has_no_link)
{
	struct char_config cfg = { .type = CHAR_PTY };

	char_fd_close(&cfg, &fds);
	cfg.type = CHAR_FILE;
	cfg.path = path;
	cr_assert(eq(int, open_it(&cfg), 0));
	char_fd_close(&cfg, &fds);
	cr_assert(eq(u32, type_of_path(), S_IFREG));
}

/* -------------------------------------------------------------- no waiting */

Test(char_fd, stdin_may_be_a_fifo_whose_writer_has_gone, .timeout = 80)
{
	struct char_config cfg = { .type = CHAR_STDIO };
	_cleanup_fd_ int saved = dup(STDIN_FILENO), fifo = -1;
	char byte;
	int r;

	cr_assert(zero(int, mkfifo(path, 0600)));
	fifo = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cr_assert(eq(int, dup2(fifo, STDIN_FILENO), STDIN_FILENO));
	r = open_it(&cfg);
	cr_assert(eq(int, dup2(saved, STDIN_FILENO), STDIN_FILENO));
	cr_assert(zero(int, r), "%s", err.msg);
	cr_assert(zero(int, (int)read(fds.in, &byte, 1)));
}
