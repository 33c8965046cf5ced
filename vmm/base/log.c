/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/util.h"

/* How a line is written so that nobody is waited for. */
enum log_way {
	LOG_WAY_WRITE,	/* a description of our own, or a file */
	LOG_WAY_SEND,	/* a socket */
	LOG_WAY_NOWAIT, /* a description that others have as well */
};

const char *const log_level_words[] = {
	[LOG_LEVEL_ERR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
	NULL,
};

/* Where this process's lines go. */
static struct {
	char tag[16];
	int fd;
	enum log_way way;
	enum log_level max;
	uint64_t lost; /* lines since the last one that was written */
	bool torn;     /* the last one that was written has no end */
} sink = {
	.tag = "torpor",
	.fd = STDERR_FILENO,
	.way = LOG_WAY_NOWAIT,
	.max = LOG_LEVEL_INFO,
};

static enum log_way way_of(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return LOG_WAY_WRITE;
	if (S_ISSOCK(st.st_mode))
		return LOG_WAY_SEND;
	return flags & O_NONBLOCK || S_ISREG(st.st_mode) ? LOG_WAY_WRITE
							 : LOG_WAY_NOWAIT;
}

void log_init(const char *tag, int fd, enum log_level level)
{
	(void)snprintf(sink.tag, sizeof(sink.tag), "%s", tag);
	sink.fd = fd;
	sink.way = way_of(fd);
	sink.max = level;
}

int log_open(int fd)
{
	char path[32];
	struct stat st;
	int own = -1;

	if (fstat(fd, &st) < 0)
		return -errno;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/*
	 * A file is shared for its offset, a socket cannot be opened. A pipe or
	 * terminal of another user stays what it is: sink.way knows.
	 */
	if (!S_ISREG(st.st_mode) && !S_ISSOCK(st.st_mode))
		own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (own < 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return own < 0 ? -errno : own;
}

static ssize_t put_nowait(const void *buf, size_t len)
{
	const struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct pollfd pfd = { .fd = sink.fd, .events = POLLOUT };
	ssize_t n = pwritev2(sink.fd, &iov, 1, -1, RWF_NOWAIT);

	if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
		return n;
	/* A terminal, or a pipe before Linux 6.4. */
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
		return -1;
	return write(sink.fd, buf, len);
}

static bool put(const void *buf, size_t len)
{
	ssize_t n;

	if (sink.way == LOG_WAY_SEND)
		n = send(sink.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (sink.way == LOG_WAY_WRITE)
		n = write(sink.fd, buf, len);
	else
		n = put_nowait(buf, len);
	if (n > 0)
		__atomic_store_n(&sink.torn, (size_t)n < len, __ATOMIC_RELAXED);
	return n == (ssize_t)len;
}

/* A full or closed log must never stop the VM: the line is lost, and counted.
 */
static void put_line(const char *line, size_t len)
{
	uint64_t lost = __atomic_exchange_n(&sink.lost, 0, __ATOMIC_RELAXED);
	char note[96];
	int n;

	if (lost) {
		n = snprintf(note, sizeof(note),
			     "%s%s%swarning: %llu lines lost, the log was "
			     "full\n",
			     sink.torn ? "\n" : "", sink.tag,
			     sink.tag[0] ? ": " : "", (unsigned long long)lost);
		if (put(note, (size_t)n))
			lost = 0;
	}
	if (lost || !put(line, len))
		(void)__atomic_add_fetch(&sink.lost, lost + 1,
					 __ATOMIC_RELAXED);
}

enum log_level log_get_level(void)
{
	return sink.max;
}

void log_set_level(enum log_level level)
{
	sink.max = level;
}

/* Text from a guest or a peer must not drive the terminal it ends up on. */
static void scrub(char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			line[i] = '?';
	}
}

__attribute__((format(printf, 2, 0))) static void
log_line(enum log_level level, const char *fmt, va_list ap, const char *suffix)
{
	static const char *const names[] = { "error: ", "warning: ", "",
					     "debug: " };
	char line[LOG_LINE_MAX];
	int n, m;
	size_t len;

	if (level > sink.max)
		return;
	n = snprintf(line, sizeof(line), "%s%s%s", sink.tag,
		     sink.tag[0] ? ": " : "", names[level]);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	if (m < 0)
		return;
	len = strlen(line);
	if (suffix) {
		(void)snprintf(line + len, sizeof(line) - len - 1, "%s",
			       suffix);
		len = strlen(line);
	}
	scrub(line, len);
	line[len++] = '\n';
	put_line(line, len);
}

void log_relay(const char *tag, const char *text, size_t len)
{
	char line[LOG_LINE_MAX + 32];
	int n = snprintf(line, sizeof(line), "%.16s: ", tag);

	len = MIN(len, sizeof(line) - (size_t)n - 1);
	for (size_t i = 0; i < len; i++) {
		bool shown =
			(text[i] >= 0x20 && text[i] < 0x7f) || text[i] == '\t';

		line[n++] = shown ? text[i] : '?';
	}
	line[n++] = '\n';
	put_line(line, (size_t)n);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(level, fmt, ap, NULL);
	va_end(ap);
}

int log_errno(int code, const char *fmt, ...)
{
	char suffix[128];
	va_list ap;

	(void)snprintf(suffix, sizeof(suffix), ": %s", strerror(-code));
	va_start(ap, fmt);
	log_line(LOG_LEVEL_ERR, fmt, ap, suffix);
	va_end(ap);
	return code;
}

void log_limited(struct log_limit *limit, const char *fmt, ...)
{
	char suffix[40] = "";
	uint64_t n = __atomic_add_fetch(&limit->count, 1, __ATOMIC_RELAXED);
	va_list ap;

	if (n & (n - 1))
		return;
	if (n > 1)
		(void)snprintf(suffix, sizeof(suffix), " (%llu times)",
			       (unsigned long long)n);
	va_start(ap, fmt);
	log_line(LOG_LEVEL_WARN, fmt, ap, suffix);
	va_end(ap);
}
