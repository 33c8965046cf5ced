/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An error that a person will read. Functions that parse a person's input (the
 * command line, files, control messages, kernel images) take a struct err
 * beside returning -errno. It is set only on failure, names the thing, the
 * value and the remedy, and has no newline.
 */
#ifndef TORPOR_VMM_BASE_ERR_H
#define TORPOR_VMM_BASE_ERR_H

#include <stdbool.h>

struct err {
	char msg[512];
	bool usage; /* the user's input is wrong, see err_usage() */
};

/**
 * err_set() - record an error message
 * @err: may be NULL, then only @code is returned
 * @code: a negative errno
 * @fmt: printf format of the message
 *
 * Return: @code, so that callers can write return err_set(err, -EINVAL, ...).
 */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* err_set() with ": strerror(-code)" appended. Return: @code. */
int err_set_errno(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * The same for a fault in the user's input: an option, its value or the file it
 * names. The finder of the fault has to say so, because no errno does. An open
 * of the user's path may also fail because the host has run out of a resource:
 * with -EMFILE, -ENFILE, -ENOBUFS and -EIO both act as err_set().
 */
int err_usage(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int err_usage_errno(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
