/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/char_fd.h: what a line of bytes comes from and goes to. */
#define _GNU_SOURCE
#include "vmm/char_fd.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static char dir[] = "/tmp/torpor-char-XXXXXX";
static char path[64];
static struct err err;
static int in, out;

static void setup(void)
{
	cr_assert(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/x", dir);
	in = out = -1;
}

static void teardown(void)
{
	fd_close(&in);
	fd_close(&out);
	(void)unlink(path);
	(void)rmdir(dir);
}

TestSuite(char_fd, .init = setup, .fini = teardown, .timeout = 30);

static int open_it(struct char_config *cfg)
{
	return char_fd_open(cfg, "--serial", &in, &out, &err);
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
	cr_assert(eq(int, (int)read(in, &byte, 1), 0));
	cr_assert(eq(int, (int)write(out, "x", 1), 1));
	cr_assert(eq(int, fcntl(in, F_GETFD), FD_CLOEXEC));
	cr_assert(eq(int, fcntl(out, F_GETFD), FD_CLOEXEC));
}

Test(char_fd, a_file_is_written_from_its_beginning)
{
	struct char_config cfg = { .type = CHAR_FILE, .path = path };
	struct stat st;

	cr_assert(eq(int, open_it(&cfg), 0));
	cr_assert(eq(int, (int)write(out, "abc", 3), 3));
	fd_close(&in);
	fd_close(&out);
	cr_assert(eq(int, open_it(&cfg), 0));
	cr_assert(eq(int, stat(path, &st), 0));
	cr_assert(eq(int, (int)st.st_size, 0));
}

Test(char_fd, a_file_that_cannot_be_written_is_named)
{
	struct char_config cfg = { .type = CHAR_FILE, .path = dir };

	cr_assert(eq(int, open_it(&cfg), -EISDIR));
	cr_assert(strstr(err.msg, dir) != NULL);
	cr_assert(eq(int, in, -1));
	cr_assert(eq(int, out, -1));
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
	pfd = (struct pollfd){ .fd = in, .events = POLLIN };
	cr_assert(eq(int, poll(&pfd, 1, -1), 1));
	cr_assert(eq(int, (int)read(in, buf, sizeof(buf)), 2));
	cr_assert(zero(int, memcmp(buf, "\r\n", 2)));
	/* Nobody has it open: no end of file, nothing to poll for. */
	(void)close(slave);
	pfd.revents = 0;
	cr_assert(eq(int, poll(&pfd, 1, 0), 0));
	char_fd_cleanup(&cfg);
	cr_assert(eq(u32, type_of_path(), 0));
}

Test(char_fd, what_is_no_link_is_neither_replaced_nor_removed)
{
	struct char_config cfg = { .type = CHAR_PTY, .path = path };
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)close(fd);
	cr_assert(eq(int, open_it(&cfg), -EEXIST));
	cr_assert(eq(int, in, -1));
	char_fd_cleanup(&cfg);
	cr_assert(eq(u32, type_of_path(), S_IFREG), "the user's file");
}

Test(char_fd, cleanup_of_what_has_no_link)
{
	struct char_config cfg = { .type = CHAR_PTY };

	char_fd_cleanup(&cfg);
	cfg.type = CHAR_FILE;
	cfg.path = path;
	cr_assert(eq(int, open_it(&cfg), 0));
	char_fd_cleanup(&cfg);
	cr_assert(eq(u32, type_of_path(), S_IFREG));
}

/* -------------------------------------------------------------- no waiting */

Test(char_fd, a_fifo_that_nobody_reads_is_an_error_at_once, .timeout = 10)
{
	struct char_config cfg = { .type = CHAR_FILE, .path = path };

	cr_assert(zero(int, mkfifo(path, 0600)));
	cr_assert(eq(int, open_it(&cfg), -EINVAL));
	cr_assert(strstr(err.msg, "a FIFO that nobody reads") != NULL, "%s",
		  err.msg);
}

Test(char_fd, a_fifo_that_is_read_is_a_file_like_others, .timeout = 10)
{
	struct char_config cfg = { .type = CHAR_FILE, .path = path };
	_cleanup_fd_ int reader = -1;

	cr_assert(zero(int, mkfifo(path, 0600)));
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cr_assert(zero(int, open_it(&cfg)), "%s", err.msg);
	cr_assert(zero(int, fcntl(out, F_GETFL) & O_NONBLOCK));
}

Test(char_fd, stdin_may_be_a_fifo_whose_writer_has_gone, .timeout = 10)
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
	cr_assert(zero(int, (int)read(in, &byte, 1)));
}
