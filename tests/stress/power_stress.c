/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The coordinator under ThreadSanitizer, which does not run under Criterion:
 * a plain program that prints one line, or the sanitizer's report.
 */
#include <stdio.h>

#include "tests/lib/power_race.h"

#define ROUNDS 300U

int main(void)
{
	static struct model m;
	unsigned int slept = power_race(&m, ROUNDS, 7);

	model_finish(&m);
	(void)printf("ok - %u races, asleep in %u of them\n", ROUNDS, slept);
	return 0;
}
