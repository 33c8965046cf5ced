/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/base/words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int words_find(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++) {
		if (!strcmp(words[i], word))
			return i;
	}
	return -EINVAL;
}

char *words_join(const char *const *words, const char *separator, char *buf,
		 size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (int i = 0; words[i] && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s",
					i ? separator : "", words[i]);
	return buf;
}
