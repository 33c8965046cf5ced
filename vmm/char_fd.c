/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/char_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"

static int open_null(int flags)
{
	int fd = open("/dev/null", flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int dup_cloexec(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/*
 * A path from outside may be a FIFO without another side or a terminal without
 * a carrier: opened without waiting, then as if it had waited. -ENXIO: a FIFO
 * that nobody reads.
 */
static int open_at_once(const char *path, int flags)
{
	_cleanup_fd_ int fd =
		open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_set_nonblock(fd, 0);
	return r < 0 ? r : TAKE_FD(fd);
}

/*
 * A device process sets what it gets to non-blocking, which would change the
 * user's own terminal or pipe if it shared their description. A description
 * of our own does not. Files are shared, for their offset; sockets have to be.
 */
static int reopen(int fd, int flags)
{
	char path[32];
	struct stat st;
	int own;

	if (fstat(fd, &st) < 0 || S_ISREG(st.st_mode))
		return dup_cloexec(fd);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open_at_once(path, flags);
	return own < 0 ? dup_cloexec(fd) : own;
}

static int make_link(const char *target, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		(void)unlink(path);
	return symlink(target, path) < 0 ? -errno : 0;
}

static int open_pty(const struct char_config *cfg, const char *option,
		    int *ret_in, int *ret_out, struct err *err)
{
	_cleanup_fd_ int master = -1, slave = -1, copy = -1;
	struct termios raw;
	char name[64];
	int r;

	if (openpty(&master, &slave, name, NULL, NULL) < 0)
		return err_set_errno(err, -errno, "%s type=pty", option);
	if (tcgetattr(slave, &raw) == 0) {
		cfmakeraw(&raw);
		(void)tcsetattr(slave, TCSANOW, &raw);
	}
	(void)fcntl(master, F_SETFD, FD_CLOEXEC);
	copy = r = dup_cloexec(master);
	if (r < 0)
		return err_set_errno(err, r, "%s type=pty", option);
	r = cfg->path ? make_link(name, cfg->path) : 0;
	if (r < 0)
		return err_usage_errno(err, r, "%s type=pty,path=%s", option,
				       cfg->path);
	log_info("%s is on %s", option, name);
	/*
	 * The slave stays open in us for the VM's life: without one, a read
	 * of the master fails with EIO and would have to be polled.
	 */
	(void)fcntl(TAKE_FD(slave), F_SETFD, FD_CLOEXEC);
	*ret_in = TAKE_FD(master);
	*ret_out = TAKE_FD(copy);
	return 0;
}

int char_fd_open(const struct char_config *cfg, const char *option, int *ret_in,
		 int *ret_out, struct err *err)
{
	_cleanup_fd_ int in = -1, out = -1;

	switch (cfg->type) {
	case CHAR_PTY:
		return open_pty(cfg, option, ret_in, ret_out, err);
	case CHAR_STDIO:
		in = reopen(STDIN_FILENO, O_RDONLY);
		out = reopen(STDOUT_FILENO, O_WRONLY);
		break;
	case CHAR_STDOUT:
		in = open_null(O_RDONLY);
		out = reopen(STDOUT_FILENO, O_WRONLY);
		break;
	case CHAR_FILE:
		in = open_null(O_RDONLY);
		out = open_at_once(cfg->path, O_WRONLY | O_CREAT | O_TRUNC);
		if (out == -ENXIO)
			return err_usage(
				err, -EINVAL,
				"%s path=%s: a FIFO that nobody reads; "
				"start its reader first",
				option, cfg->path);
		if (out < 0)
			return err_usage_errno(err, out,
					       "%s path=%s: cannot write it",
					       option, cfg->path);
		break;
	case CHAR_NONE:
		in = open_null(O_RDONLY);
		out = open_null(O_WRONLY);
		break;
	}
	if (in < 0 || out < 0)
		return err_set_errno(err, in < 0 ? in : out, "%s", option);
	*ret_in = TAKE_FD(in);
	*ret_out = TAKE_FD(out);
	return 0;
}

void char_fd_cleanup(const struct char_config *cfg)
{
	struct stat st;

	/* Anything but a link was there before us, and made the start fail. */
	if (cfg->type == CHAR_PTY && cfg->path && lstat(cfg->path, &st) == 0 &&
	    S_ISLNK(st.st_mode))
		(void)unlink(cfg->path);
}
