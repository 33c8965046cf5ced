/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel command line that the guest gets, see config.h. Main thread. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "vmm/config/config.h"

/* As Linux: quotes keep spaces, and what follows "--" is for init. */
static size_t word_len(const char *p)
{
	bool quoted = false;
	size_t n = 0;

	for (; p[n] && (quoted || p[n] != ' '); n++)
		quoted ^= p[n] == '"';
	return n;
}

/* @name: with its '='. */
static bool has_param(const char *line, const char *name)
{
	size_t n;

	for (const char *p = line; *p; p += n) {
		p += strspn(p, " ");
		n = word_len(p);
		if (n == 2 && !strncmp(p, "--", 2))
			return false;
		if (!strncmp(p + (*p == '"'), name, strlen(name)))
			return true;
	}
	return false;
}

char *config_cmdline(const struct vm_config *cfg)
{
	const char *params = cfg->params ? cfg->params : "";
	bool console =
		cfg->serial.type != CHAR_NONE && !has_param(params, "console=");
	char *line;

	/* In front: after a "--" they would be init's. */
	if (asprintf(&line, "%s%s%s",
		     has_param(params, "panic=") ? ""
						 : CONFIG_CMDLINE_PANIC " ",
		     console ? CONFIG_CMDLINE_CONSOLE " " : "", params) < 0)
		return NULL;
	return line;
}
