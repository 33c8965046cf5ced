/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logging to one fd, one line per call, prefixed by the process's tag
 * ("torpor:", "spawner:"). Each line is one write(2), so the lines of processes
 * that share the fd do not mix. Thread safe. Formats carry no newline.
 *
 * No process waits for the reader of the log: a line that finds it full is
 * lost, and the next line that finds room is preceded by the number of lost
 * lines. No flag of a shared description is changed.
 *
 * Libraries do not log at error level: they return -errno and the caller that
 * knows the purpose logs once, return log_errno(r, "open disk '%s'", path).
 * Every message that a guest or a peer can trigger goes through log_limited().
 */
#ifndef TORPOR_VMM_BASE_LOG_H
#define TORPOR_VMM_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/util.h"

/* Bytes of a line with its tag and its end. */
#define LOG_LINE_MAX 1024

enum log_level {
	LOG_LEVEL_ERR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};
extern const char *const log_level_words[];

/**
 * log_open() - where to log, for a process that must not wait
 * @fd: the user's: a file, terminal, pipe or socket
 *
 * Return: a close-on-exec fd, with its own non-blocking description if
 * possible; a copy of @fd for a file, a socket and an fd that may not be
 * reopened; -errno.
 */
int log_open(int fd) must_check;

/*
 * @tag is copied, at most 15 bytes; empty: another process adds the tag. @fd is
 * borrowed for the process's life.
 */
void log_init(const char *tag, int fd, enum log_level level);
enum log_level log_get_level(void);
void log_set_level(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_err(...)   log_write(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Logs a line of another process, after "@tag: ". Bytes other than printable
 * ASCII and tabs become '?', so that the line cannot drive a terminal.
 */
void log_relay(const char *tag, const char *text, size_t len);

/* Logs "<message>: <strerror>" at error level. Return: @code (-errno). */
int log_errno(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A budget of messages for one kind of event; zero-initialised. */
struct log_limit {
	uint64_t count; /* events seen */
};

/* Logs the 1st, 2nd, 4th, 8th ... event of @limit at warn level, with count. */
void log_limited(struct log_limit *limit, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
