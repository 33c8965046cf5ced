/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts compared; what differs is logged. */
#ifndef TORPOR_TESTS_LIB_TEXT_H
#define TORPOR_TESTS_LIB_TEXT_H

#include <stdbool.h>

bool same(const char *got, const char *want);
/* @part is somewhere in @text. */
bool has(const char *text, const char *part);

#endif
