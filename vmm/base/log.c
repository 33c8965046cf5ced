/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static char log_tag[16] = "torpor";
static int log_fd = STDERR_FILENO;
static enum log_level log_max = LOG_LEVEL_INFO;

void log_init(const char *tag, int fd, enum log_level level)
{
	(void)snprintf(log_tag, sizeof(log_tag), "%s", tag);
	log_fd = fd;
	log_max = level;
}

enum log_level log_get_level(void)
{
	return log_max;
}

void log_set_level(enum log_level level)
{
	log_max = level;
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
	char line[LINE_MAX_BYTES];
	int n, m;
	size_t len;

	if (level > log_max)
		return;
	n = snprintf(line, sizeof(line), "%s: %s", log_tag, names[level]);
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
	/* A full or closed log must never stop the VM: the line is lost. */
	(void)!write(log_fd, line, len);
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
