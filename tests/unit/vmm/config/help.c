/* SPDX-License-Identifier: BSD-3-Clause */
/* The help of `torpor run` and the manual page. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/config_rig.h"
#include "tests/lib/text.h"
#include "vmm/config/options.h"

TestSuite(config, .init = config_setup, .fini = config_teardown,
	  .timeout = 120);

Test(config, help_is_wanted_only_as_an_option_of_its_own)
{
	char *yes[] = { (char[]){ "-m" }, (char[]){ "1" }, (char[]){ "-h" } };
	char *no[] = { (char[]){ "-p" }, (char[]){ "--help" }, (char[]){ "--" },
		       (char[]){ "--help" } };

	cr_assert(eq(int, config_wants_help(3, yes), 1));
	cr_assert(eq(int, config_wants_help(4, no), 0));
	cr_assert(eq(int, config_wants_help(0, NULL), 0));
}

Test(config, a_dash_alone_takes_no_value_when_help_is_looked_for)
{
	char dash[4] = "-"; /* what is behind it is not read */
	char *words[] = { dash, (char[]){ "--help" } };

	cr_assert(eq(int, config_wants_help(2, words), 1));
}

/* Reads a text file of the source tree. NULL if the tests run elsewhere. */
static char *slurp(const char *path)
{
	static char buf[1 << 16];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return NULL;
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[n] = '\0';
	return buf;
}

Test(config, help_and_manual_have_every_option_and_no_long_line)
{
	const char *man = slurp("docs/torpor.1");
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	config_print_help(f);
	fclose(f);
	for (const struct config_option *o = config_options; o->name; o++) {
		char word[64], escaped[128];
		size_t len = 0;

		(void)snprintf(word, sizeof(word), "--%s", o->name);
		cr_assert(has(text, word));
		cr_assert(
			eq(int, !!o->value.parse + !!o->group + o->is_file, 1),
			"%s", o->name);
		for (const char *p = word; *p; p++) {
			if (*p == '-')
				escaped[len++] = '\\';
			escaped[len++] = *p;
		}
		escaped[len] = '\0';
		if (man)
			cr_assert(has(man, escaped));
	}
	for (const char *p = text; *p; p += strcspn(p, "\n") + 1)
		cr_assert(le(sz, strcspn(p, "\n"), 79), "%.90s", p);
	free(text);
}
