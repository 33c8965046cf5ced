/* SPDX-License-Identifier: BSD-3-Clause */
/* Entropy: buffers to fill, and no back end that could be busy. */
#include <string.h>

#include "tests/contract/rig.h"

#define DEPTH	 32U
#define SLOTS	 RNG_QUEUE_SIZE
#define BUF_SIZE 64U /* bytes */

static uint64_t bufs;	    /* SLOTS of them */
static bool pending[SLOTS]; /* by head, which is the slot */
static unsigned int nr_pending;

static void open_nothing(struct spawn_request *req)
{
}

static void close_nothing(void)
{
}

static unsigned int request(struct guest *g, struct guest_buf *b, uint64_t gpa)
{
	b[0] = (struct guest_buf){ gpa, 64, true };
	return 1;
}

static void live(void)
{
	if (!bufs)
		bufs = guest_alloc(&rig.g, SLOTS * BUF_SIZE, 64);
	memset(pending, 0, sizeof(pending));
	nr_pending = 0;
}

static void begin(unsigned int n)
{
	while (n--) {
		uint16_t slot = rig.ring[0].next_desc;
		struct guest_buf b = { bufs + slot * BUF_SIZE, BUF_SIZE, true };

		cr_assert(not(pending[slot]));
		memset(guest_ptr(&rig.g, b.gpa), 0, BUF_SIZE);
		pending[guest_ring_add(&rig.ring[0], &b, 1)] = true;
		nr_pending++;
	}
	rig_kick(0);
}

static void flood(void)
{
}

static unsigned int collect(void)
{
	static const uint8_t zeros[BUF_SIZE];
	uint16_t head;
	uint32_t len;

	while (guest_ring_reap(&rig.ring[0], &head, &len)) {
		cr_assert(pending[head], "completed twice");
		cr_assert(eq(u32, len, BUF_SIZE));
		cr_assert(ne(int,
			     memcmp(guest_ptr(&rig.g, bufs + head * BUF_SIZE),
				    zeros, BUF_SIZE),
			     0));
		pending[head] = false;
		nr_pending--;
	}
	return nr_pending;
}

const struct contract_subject contract_rng[] = {
	{
		.name = "rng",
		.type = VIRTIO_TYPE_RNG,
		.open = open_nothing,
		.close = close_nothing,
		.request = request,
		.depth = DEPTH,
		.live = live,
		.begin = begin,
		.flood = flood,
		.collect = collect,
	},
	{ NULL },
};
