/* SPDX-License-Identifier: BSD-3-Clause */
/* See config_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/config_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config/config.h"
#include "vmm/config/options.h"

struct vm_config cfg;

void config_setup(void)
{
	config_init(&cfg);
}

void config_teardown(void)
{
	config_finish(&cfg);
}

int parse(const char *const *words, struct err *err)
{
	char *argv[64];
	int argc = 0, r;

	for (; words[argc]; argc++)
		argv[argc] = strdup(words[argc]);
	r = config_parse_args(&cfg, argc, argv, err);
	while (argc > 0)
		free(argv[--argc]); /* nothing of them may be kept */
	return r;
}
