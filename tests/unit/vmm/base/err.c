/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/base/err.h: messages, and whose fault they tell of. */
#include "vmm/base/err.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "vmm/base/util.h"

TestSuite(err, .timeout = 120);

Test(err, a_message_has_its_values_and_the_errno)
{
	struct err err = { .msg = "" };

	cr_assert(eq(int, err_set(&err, -EINVAL, "n=%d", 7), -EINVAL));
	cr_assert(zero(int, strcmp(err.msg, "n=7")));
	cr_assert(eq(int, err_set_errno(&err, -ENOENT, "'%s'", "x"), -ENOENT));
	cr_assert(zero(int, strcmp(err.msg, "'x': No such file or directory")));
	cr_assert(eq(int, err_usage(NULL, -EINVAL, "n=%d", 7), -EINVAL));
	cr_assert(eq(int, err_usage_errno(NULL, -EINVAL, "n"), -EINVAL));
}

Test(err, whose_fault_it_is_was_said_and_is_not_guessed)
{
	static const int codes[] = { -ENOENT, -ENOMEM, -EINVAL, -E2BIG };
	struct err err = { .msg = "" };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		(void)err_usage(&err, codes[i], "x");
		cr_assert(err.usage);
		(void)err_set(&err, codes[i], "x");
		cr_assert(not(err.usage));
		(void)err_usage_errno(&err, codes[i], "x");
		cr_assert(err.usage);
		(void)err_set_errno(&err, codes[i], "x");
		cr_assert(not(err.usage));
	}
}

Test(err, what_the_host_has_run_out_of_is_not_the_users_fault)
{
	static const int codes[] = { -EMFILE, -ENFILE, -ENOBUFS, -EIO };
	struct err err = { .msg = "" };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		(void)err_usage_errno(&err, codes[i], "open it");
		cr_assert(not(err.usage));
		(void)err_usage(&err, codes[i], "open it");
		cr_assert(not(err.usage));
	}
}

Test(err, a_long_message_is_cut)
{
	struct err err = { .msg = "" };
	char text[2000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_usage_errno(&err, -ENOENT, "%s", text);
	cr_assert(eq(sz, strlen(err.msg), sizeof(err.msg) - 1));
}
