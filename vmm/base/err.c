/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set(struct err *err, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void set_errno(struct err *err, int code, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void set(struct err *err, const char *fmt, va_list ap)
{
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	err->usage = false;
}

static void set_errno(struct err *err, int code, const char *fmt, va_list ap)
{
	size_t len;

	set(err, fmt, ap);
	len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof(err->msg) - len, ": %s",
		       strerror(-code));
}

static bool is_hosts(int code)
{
	return code == -EMFILE || code == -ENFILE || code == -ENOBUFS ||
	       code == -EIO;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	set(err, fmt, ap);
	va_end(ap);
	return code;
}

int err_set_errno(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	set_errno(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_usage(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	set(err, fmt, ap);
	va_end(ap);
	err->usage = !is_hosts(code);
	return code;
}

int err_usage_errno(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	set_errno(err, code, fmt, ap);
	va_end(ap);
	err->usage = !is_hosts(code);
	return code;
}
