/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VIRTIO_F_SUSPEND with the real process of every device type, many times over
 * and from several vCPUs at once.
 */
#define _GNU_SOURCE
#include <criterion/parameterized.h>

#include "tests/contract/device_test.h"

#define CYCLES 1000U

static void cycle(unsigned int i)
{
	rig.subject->begin(rig.subject->depth / 2);
	if (i % 16 == 0)
		rig.subject->flood();
	rig_suspend();
	cr_assert(eq(u32, rig_put_status(rig_resume_value()), RIG_LIVE));
	rig_finish_io();
}

DEVICE_TEST(a_thousand_times_under_load_nothing_is_lost)
{
	unsigned int fds;
	uint64_t kib;

	for (unsigned int i = 0; i < CYCLES / 10; i++)
		cycle(i);
	rig_until_idle();
	fds = rig_fds();
	kib = rig_anon_kib();
	for (unsigned int i = 0; i < CYCLES; i++)
		cycle(i);
	rig_until_idle();
	cr_assert(eq(uint, rig_fds(), fds));
	rig_assert_flat(kib);
	cr_assert(eq(u32, rig.nr_suspended, CYCLES + CYCLES / 10));
	cr_assert(zero(u64, rig.dev.resets));
	if (rig.subject->kept)
		rig.subject->kept();
}

/* ------------------------------------------------------------------ storms */

struct storm {
	pthread_t thread;
	uint32_t values[2]; /* written in turn */
	unsigned int n;	    /* writes */
	atomic_bool done;
};

static void *storm_main(void *arg)
{
	struct storm *storm = arg;

	for (unsigned int i = 0; i < storm->n; i++)
		rig.dev.bus.ops->write(&rig.dev.bus, VIRTIO_MMIO_STATUS,
				       &storm->values[i & 1], 4);
	atomic_store(&storm->done, true);
	return NULL;
}

static bool is_allowed(uint32_t status)
{
	return status == RIG_LIVE || status == rig_suspended();
}

static void storm(struct storm *a, struct storm *b)
{
	struct storm *storms[2] = { a, b };

	for (unsigned int i = 0; i < 2; i++)
		cr_assert(zero(int, pthread_create(&storms[i]->thread, NULL,
						   storm_main, storms[i])));
	while (!atomic_load(&a->done) || !atomic_load(&b->done)) {
		cr_assert(is_allowed(rig_status()));
		/* The last write of all wakes nobody. */
		cr_assert(zero(int, loop_turn(&rig.loop, 1)));
	}
	for (unsigned int i = 0; i < 2; i++)
		(void)pthread_join(storms[i]->thread, NULL);
}

/* Two vCPUs that do not agree. In the draft each may take back the other's. */
DEVICE_TEST(a_storm_from_two_vcpus)
{
	unsigned int n = rig.dialect == DRAFT ? 50000 : 1000;
	static struct storm a, b;
	unsigned int fds, starts;
	uint64_t kib;

	a = (struct storm){ .values = { 0x1f, 0x1f }, .n = n };
	b = (struct storm){ .values = { 0x0f, 0x1f }, .n = n };
	if (rig.dialect == DRAFT)
		b.values[1] = 0x0f;
	rig_suspend();
	rig_resume();
	fds = rig_fds();
	kib = rig_anon_kib();
	rig_messages_clear();
	rig.subject->begin(rig.subject->depth);
	storm(&a, &b);
	rig_until_idle();
	starts = rig.sent[VHOST_USER_SET_FEATURES];
	/* However often it was asked: a stop, a start, a stop. */
	cr_assert(le(uint, rig.sent[VHOST_USER_GET_VRING_BASE],
		     (starts + 1) * rig.type->nr_queues));
	cr_assert(eq(uint, rig.sent[VHOST_USER_SET_VRING_KICK],
		     starts * rig.type->nr_queues));
	cr_assert(le(uint, starts, 2 * n));
	if (rig_status() != RIG_LIVE)
		rig_resume();
	rig_until_idle();
	rig_finish_io();
	cr_assert(eq(uint, rig_fds(), fds));
	rig_assert_flat(kib);
	rig_suspend();
	rig_resume();
	rig.subject->begin(rig.subject->depth);
	rig_finish_io();
	if (rig.subject->kept)
		rig.subject->kept();
}

/* Taken back 10^4 times while one drain goes on: not a message more. */
DEVICE_TEST(a_storm_while_it_drains)
{
	static struct storm a, b;
	unsigned int sent;

	a = (struct storm){ .values = { 0x1f, 0x1f }, .n = 10000 };
	b = (struct storm){ .values = { 0x0f, 0x0f }, .n = 10000 };
	rig.subject->begin(rig.subject->depth);
	rig.impatient = true;
	rig_freeze();
	cr_assert(eq(u32, rig_put_status(0x1f), RIG_LIVE));
	sent = rig_messages();
	if (rig.dialect == DRAFT)
		storm(&a, &b);
	else
		for (unsigned int i = 0; i < 1000; i++)
			(void)rig_put_status(i % 2 ? 0x1f : 0x0f);
	cr_assert(eq(uint, rig_messages(), sent));
	rig_thaw();
	rig_until_idle();
	if (rig_status() != RIG_LIVE)
		rig_resume();
	rig_finish_io();
}
