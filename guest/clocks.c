/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * clocks: prints MONOTONIC, BOOTTIME and REALTIME in nanoseconds on one line.
 * A shell has no other way to read the first two. Statically linked; runs in
 * the guest and beside it.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		return -1;
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int main(void)
{
	int64_t mono = now_ns(CLOCK_MONOTONIC);
	int64_t boot = now_ns(CLOCK_BOOTTIME);
	int64_t real = now_ns(CLOCK_REALTIME);

	printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", mono, boot, real);
	return mono < 0 || boot < 0 || real < 0;
}
