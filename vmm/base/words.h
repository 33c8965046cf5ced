/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of an enum: an array in the enum's order, ending with NULL. One
 * array serves both to read a word and to write it. No state.
 */
#ifndef TORPOR_VMM_BASE_WORDS_H
#define TORPOR_VMM_BASE_WORDS_H

#include "vmm/base/util.h"

/* Return: the index of @word in @words; -EINVAL if it is missing. */
int words_find(const char *const *words, const char *word) must_check;

/* "a, b, c" with @separator ", ", cut where @size ends. Return: @buf. */
char *words_join(const char *const *words, const char *separator, char *buf,
		 size_t size);

#endif
