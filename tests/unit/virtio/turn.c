/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a device goes on before others have their turn. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <time.h>

#include "virtio/turn.h"
#include "virtio/virtq.h"

Test(turn, a_turn_is_so_many_bytes_and_so_much_time)
{
	const struct timespec longer = { .tv_nsec = (long)TURN_NS + 1 };
	const struct virtq_chain quarter = { .nr_in = 1, .len_in = 1024 };
	struct turn turn = turn_begin(100, 4096);

	/* Whatever the clock says. */
	turn.end_ns = UINT64_MAX;
	for (unsigned int i = 1; i < 4; i++)
		cr_assert(turn_goes_on(&turn, &quarter));
	cr_assert(not(turn_goes_on(&turn, &quarter)));
	turn = turn_begin(100, 4096);
	cr_assert(not(turn_time_over(&turn)));
	cr_assert(zero(int, nanosleep(&longer, NULL)));
	cr_assert(turn_time_over(&turn));
	cr_assert(turn_over(&turn));
	/* The clock is looked at now and then even if nobody asks. */
	turn = turn_begin(TURN_CLOCK_PERIOD + 1, UINT64_MAX);
	turn.end_ns = 0;
	cr_assert(not(turn_goes_on(&turn, &quarter)));
}
