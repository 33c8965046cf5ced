/* SPDX-License-Identifier: BSD-3-Clause */
/* See text.h. */
#include "tests/lib/text.h"

#include <criterion/criterion.h>
#include <string.h>

bool same(const char *got, const char *want)
{
	if (got && !strcmp(got, want))
		return true;
	cr_log_error("got '%s', want '%s'", got ? got : "(null)", want);
	return false;
}

bool has(const char *text, const char *part)
{
	if (text && strstr(text, part))
		return true;
	cr_log_error("no '%s' in '%s'", part, text ? text : "(null)");
	return false;
}
