/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/vm/char_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define RELAY_STACK_BYTES (64UL * 1024)
#define RELAY_BYTES	  4096 /* at a time, and read ahead at most */

/* At the end: for a reader that reads on, and for one that does not. */
#define END_TICK_NS    10000000L
#define END_TICKS      100
#define END_IDLE_TICKS 30

static int dup_cloexec(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/* ------------------------------------------------------------------ relay */

/* Until @fd is ready, if its user has made it non-blocking. */
static bool wait_for(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return errno == EINTR || (errno == EAGAIN && poll(&pfd, 1, -1) >= 0);
}

static bool relay_write(int fd, const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && !wait_for(fd, POLLOUT))
			return false;
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		}
	}
	return true;
}

static void *relay_main(void *arg)
{
	struct char_relay *relay = arg;
	char buf[RELAY_BYTES];
	int r = 0;

	(void)pthread_setname_np(pthread_self(), "relay");
	if (relay->jail.insns)
		r = jail_thread(&relay->jail);
	if (r < 0)
		log_err("a console's copying thread cannot be narrowed: %s",
			strerrordesc_np(-r));
	while (r == 0) {
		ssize_t n = read(relay->from, buf, sizeof(buf));

		if (n == 0 || (n < 0 && !wait_for(relay->from, POLLIN)) ||
		    (n > 0 && !relay_write(relay->to, buf, (size_t)n)))
			break;
	}
	/* The other side sees the end. */
	fd_close(&relay->from);
	fd_close(&relay->to);
	return NULL;
}

/* @theirs: the user's file. Return: our end of a pipe, or -errno. */
static int relay_start(struct char_relay *relay, int theirs, bool input,
		       enum sandbox_mode sandbox)
{
	_cleanup_fd_ int copy = dup_cloexec(theirs), ours = -1, far = -1;
	pthread_attr_t attr;
	int pipe[2];
	int r;

	if (copy < 0)
		return copy;
	if (pipe2(pipe, O_CLOEXEC) < 0)
		return -errno;
	ours = pipe[input ? 0 : 1];
	far = pipe[input ? 1 : 0];
	r = fd_set_nonblock(ours, 1);
	if (r < 0)
		return r;
	if (input)
		(void)fcntl(far, F_SETPIPE_SZ, RELAY_BYTES);
	relay->from = input ? copy : far;
	relay->to = input ? far : copy;
	r = sandbox == SANDBOX_OFF ? 0 : jail_relay_prepare(&relay->jail);
	if (r < 0)
		return r;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, RELAY_STACK_BYTES);
	r = -pthread_create(&relay->thread, &attr, relay_main, relay);
	(void)pthread_attr_destroy(&attr);
	if (r < 0)
		return r;
	relay->started = true;
	(void)TAKE_FD(copy);
	(void)TAKE_FD(far);
	return TAKE_FD(ours);
}

/* What is on its way arrives, if its reader reads. */
static void relay_end(struct char_relay *relay)
{
	struct timespec ts;

	if (!relay->started)
		return;
	relay->started = false;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec++;
	/* Else it waits for its user, holds nothing, and ends with us. */
	if (pthread_timedjoin_np(relay->thread, NULL, &ts) != 0)
		(void)pthread_detach(relay->thread);
	else
		jail_program_free(&relay->jail);
}

/* ------------------------------------------------------------------- open */

static int open_null(int flags)
{
	int fd = open("/dev/null", flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Opening it again makes another one. */
static bool is_multiplexer(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(5, 2); /* ptmx */
}

/* The user's standard input or output, as a file of our own. */
static int reopen(struct char_relay *relay, int fd, int flags,
		  enum sandbox_mode sandbox)
{
	char path[32];
	struct stat st;
	int own;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode))
		return dup_cloexec(fd);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = is_multiplexer(&st)
		      ? -1
		      : open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	return own < 0 ? relay_start(relay, fd, flags == O_RDONLY, sandbox)
		       : own;
}

static int open_file(const char *path)
{
	const int flags = O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
	struct stat st;
	int fd = -1;

	if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
		fd = open(path, O_RDWR | flags);
	if (fd < 0)
		fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
	return fd < 0 ? -errno : fd;
}

static int make_link(const char *target, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		(void)unlink(path);
	return symlink(target, path) < 0 ? -errno : 0;
}

static int open_pty(const struct char_config *cfg, const char *option,
		    struct char_fd *fd, struct err *err)
{
	struct termios raw;
	char name[64];
	int r;

	/*
	 * The slave stays open for the VM's life: without one, a read of the
	 * master fails with EIO and would have to be polled.
	 */
	if (openpty(&fd->in, &fd->slave, name, NULL, NULL) < 0)
		return err_set_errno(err, -errno, "%s type=pty", option);
	if (tcgetattr(fd->slave, &raw) == 0) {
		cfmakeraw(&raw);
		(void)tcsetattr(fd->slave, TCSANOW, &raw);
	}
	(void)fcntl(fd->in, F_SETFD, FD_CLOEXEC);
	(void)fcntl(fd->slave, F_SETFD, FD_CLOEXEC);
	r = fd_set_nonblock(fd->in, 1);
	if (r >= 0)
		r = fd->out = dup_cloexec(fd->in);
	if (r < 0)
		return err_set_errno(err, r, "%s type=pty", option);
	r = cfg->path ? make_link(name, cfg->path) : 0;
	if (r < 0)
		return err_usage_errno(err, r, "%s type=pty,path=%s", option,
				       cfg->path);
	log_info("%s is on %s", option, name);
	return 0;
}

static int open_failed(const struct char_config *cfg, const char *option, int r,
		       struct err *err)
{
	if (cfg->type != CHAR_FILE)
		return err_set_errno(err, r, "%s", option);
	if (r == -ENXIO)
		return err_usage(err, r,
				 "%s path=%s: a socket, or a FIFO without a "
				 "reader; start its reader first",
				 option, cfg->path);
	return err_usage_errno(err, r, "%s path=%s: cannot write to it", option,
			       cfg->path);
}

int char_fd_open(const struct char_config *cfg, const char *option,
		 enum sandbox_mode sandbox, struct char_fd *ret,
		 struct err *err)
{
	*ret = (struct char_fd)CHAR_FD_NONE;
	if (cfg->type == CHAR_PTY)
		return open_pty(cfg, option, ret, err);
	if (cfg->type == CHAR_STDIO)
		ret->in =
			reopen(&ret->in_relay, STDIN_FILENO, O_RDONLY, sandbox);
	else
		ret->in = open_null(O_RDONLY);
	if (cfg->type == CHAR_FILE)
		ret->out = open_file(cfg->path);
	else if (cfg->type == CHAR_NONE)
		ret->out = open_null(O_WRONLY);
	else
		ret->out = reopen(&ret->out_relay, STDOUT_FILENO, O_WRONLY,
				  sandbox);
	if (ret->out < 0)
		return open_failed(cfg, option, ret->out, err);
	return ret->in < 0 ? open_failed(cfg, option, ret->in, err) : 0;
}

/* ------------------------------------------------------------------ close */

/*
 * Return: bytes that its reader has not taken. A worker of the kernel carries
 * them from the master, at any later time; poll() waits for it.
 */
static int pty_unread(int slave)
{
	struct pollfd pfd = { .fd = slave, .events = POLLIN };
	int n;

	(void)poll(&pfd, 1, 0);
	return ioctl(slave, FIONREAD, &n) < 0 ? -errno : n;
}

/*
 * A terminal that loses its master loses what was not read, and tells its
 * reader of the end at once.
 */
static void pty_drain(int slave)
{
	const struct timespec tick = { .tv_nsec = END_TICK_NS };
	int last = -1, idle = 0;

	for (int i = 0; i < END_TICKS; i++) {
		int n = pty_unread(slave);

		idle = n == last ? idle + 1 : 0;
		if (n <= 0 || idle == END_IDLE_TICKS)
			return;
		last = n;
		(void)nanosleep(&tick, NULL);
	}
}

void char_fd_close(const struct char_config *cfg, struct char_fd *fd)
{
	bool linked = fd->slave >= 0 && cfg->path;
	struct stat st;

	if (fd->slave >= 0)
		pty_drain(fd->slave);
	fd_close(&fd->in);
	fd_close(&fd->out);
	fd_close(&fd->slave);
	/* Whoever gives input may never end it: that one is not waited for. */
	if (fd->in_relay.started)
		(void)pthread_detach(fd->in_relay.thread);
	fd->in_relay.started = false;
	relay_end(&fd->out_relay);
	/* Anything but a link was there before us, and made the start fail. */
	if (linked && lstat(cfg->path, &st) == 0 && S_ISLNK(st.st_mode))
		(void)unlink(cfg->path);
}
