/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Four vCPUs that go to sleep as Linux does, again and again, while a button is
 * pressed at a random moment. A lost wake or a stuck thread hangs it.
 */
#ifndef TORPOR_TESTS_LIB_POWER_RACE_H
#define TORPOR_TESTS_LIB_POWER_RACE_H

#include "tests/lib/power_model.h"

/* Return: in how many of @rounds the guest slept before it was woken. */
unsigned int power_race(struct model *m, unsigned int rounds,
			unsigned int seed);

#endif
