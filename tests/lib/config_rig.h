/* SPDX-License-Identifier: BSD-3-Clause */
/* A configuration, empty when a test starts, and options that fill it. */
#ifndef TORPOR_TESTS_LIB_CONFIG_RIG_H
#define TORPOR_TESTS_LIB_CONFIG_RIG_H

#include <stdbool.h>

#include "vmm/base/err.h"
#include "vmm/config/config.h"

extern struct vm_config cfg;

void config_setup(void);
void config_teardown(void);
/* Parses NULL-terminated words. */
int parse(const char *const *words, struct err *err);

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL }, &err)

#endif
