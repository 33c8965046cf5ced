/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VIRTIO_F_SUSPEND in the transport, in both dialects: with pauses of the VMM
 * around it, and very often.
 */
#include "tests/lib/suspend_rig.h"

TestSuite(mmio_suspend, .init = mr_setup_suspend, .fini = mr_teardown,
	  .timeout = 600);

static struct vcpu_write write_;

/* ------------------------------------------------- the VMM stops it as well */

FOR_BOTH(a_pause_around_it_changes_nothing)
{
	mr_live_with(mr_feature());
	mr_suspend();
	cr_assert(eq(int, mr_quiesce(), 0));
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	cr_assert(eq(int, mr_restart(), 0));
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	cr_assert(not(mr.dev.fe.rings[0].started));
	mr_resume();
}

FOR_BOTH(a_pause_in_its_drain)
{
	mr_quiescing();
	mr.moved = 1;
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	cr_assert(eq(int, mr.moved, 1), "waits for it");
	fake_go_on(&mr.fb);
	while (mr.moved == 1)
		mr_turn();
	cr_assert(eq(int, mr.moved, 0));
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	cr_assert(eq(int, mr_restart(), 0));
	mr_resume();
}

/* What its driver wants next is done after the pause, not in it. */
Test(mmio_suspend, a_pause_in_a_drain_that_was_taken_back_draft)
{
	mr_dialect = DRAFT;
	mr_quiescing();
	mr_put_status(LIVE);
	mr.moved = 1;
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	fake_go_on(&mr.fb);
	while (mr.moved == 1)
		mr_turn();
	mr_until_idle();
	cr_assert(eq(u32, mr_count(VHOST_USER_SET_VRING_KICK), 2),
		  "never started");
	cr_assert(not(mr.dev.fe.rings[0].started));
	cr_assert(not(mr.dev.fe.rings[1].started));
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(eq(int, mr_restart(), 0));
	mr_until_idle();
	cr_assert(mr.dev.fe.rings[0].started && mr.dev.fe.rings[1].started);
	mr_suspend();
	mr_resume();
}

FOR_BOTH(a_pause_while_its_rings_start)
{
	mr_starting();
	mr.moved = 1;
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	fake_go_on(&mr.fb);
	while (mr.moved == 1)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(not(mr.dev.fe.rings[0].started));
	cr_assert(eq(int, mr_restart(), 0));
	cr_assert(mr.dev.fe.rings[0].started);
	mr_suspend();
	mr_resume();
}

FOR_BOTH(in_a_pause_what_is_written_waits)
{
	mr_live_with(mr_feature());
	cr_assert(eq(int, mr_quiesce(), 0));
	mr_write_begin(&write_, VIRTIO_MMIO_STATUS, LIVE | SUSPEND, 4);
	while (!mr.dev.waiting)
		mr_turn();
	cr_assert(not(mr.dev.suspend.wanted));
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(eq(int, mr_restart(), 0));
	mr_write_end(&write_);
	while (mr_status() != mr_suspended())
		mr_turn();
	mr_resume();
}

/* ---------------------------------------------------------- many, and races */

FOR_BOTH(a_thousand_times)
{
	mr_live_with(mr_feature());
	for (unsigned int i = 0; i < 1000; i++) {
		mr_suspend();
		cr_assert(not(mr.dev.fe.rings[0].started));
		mr_put_status(mr_resume_value());
		cr_assert(eq(u32, mr_status(), LIVE));
	}
	mr_until_idle();
	cr_assert(eq(u64, mr.dev.suspend.count, 1000));
	cr_assert(eq(u64, mr.dev.resets, 0));
}

struct storm {
	pthread_t thread;
	uint32_t values[4]; /* written in turn */
	unsigned int n;	    /* writes; 0: until stopped */
	atomic_bool stop, done;
};

static void *storm_main(void *arg)
{
	struct storm *storm = arg;

	for (unsigned int i = 0;
	     storm->n ? i < storm->n : !atomic_load(&storm->stop); i++)
		mr.dev.bus.ops->write(&mr.dev.bus, VIRTIO_MMIO_STATUS,
				      &storm->values[i & 3], 4);
	atomic_store(&storm->done, true);
	return NULL;
}

static void storm_begin(struct storm *storm)
{
	cr_assert(eq(int,
		     pthread_create(&storm->thread, NULL, storm_main, storm),
		     0));
}

static void storm_end(struct storm *storm)
{
	atomic_store(&storm->stop, true);
	while (!atomic_load(&storm->done))
		mr_turn();
	(void)pthread_join(storm->thread, NULL);
}

/* The draft's driver toggles the bit: nothing is sent, one drain goes on. */
Test(mmio_suspend, abort_storm_draft)
{
	static struct storm down = { .values = { 0x1f, 0x1f, 0x1f, 0x1f },
				     .n = 100000 };
	static struct storm up = { .values = { 0x0f, 0x0f, 0x0f, 0x0f } };
	unsigned int before;

	mr_dialect = DRAFT;
	/* The storm takes as long as it takes. */
	mr.dev.fe.deadline_ns = UINT64_MAX / 4;
	mr_quiescing();
	before = atomic_load(&mr.fb.nr);
	storm_begin(&up);
	storm_begin(&down);
	while (!atomic_load(&down.done)) {
		/* The drain has its deadline. */
		loop_timer_cancel(&mr.loop, &mr.dev.suspend.timer);
		cr_assert(eq(int, loop_turn(&mr.loop, 1), 0));
	}
	storm_end(&down);
	storm_end(&up);
	cr_assert(eq(u32, atomic_load(&mr.fb.nr), before));
	fake_go_on(&mr.fb);
	mr_until_idle();
	mr_reset_works();
}

/* Two vCPUs that do not agree: a reader sees the states of the mr_dialect
 * only. */
FOR_BOTH(two_vcpus)
{
	static struct storm storms[2];

	mr_live_with(mr_feature());
	for (int i = 0; i < 2; i++) {
		storms[i] =
			(struct storm){ .values = { 0x1f, 0x0f, 0x1f, 0x0b },
					.n = 2000 };
		storm_begin(&storms[i]);
	}
	while (!atomic_load(&storms[0].done) || !atomic_load(&storms[1].done)) {
		uint32_t s = mr_status();

		cr_assert(s == LIVE || s == mr_suspended(), "status %#x", s);
		cr_assert(eq(int, loop_turn(&mr.loop, 1), 0));
	}
	for (int i = 0; i < 2; i++)
		storm_end(&storms[i]);
	mr_until_idle();
	mr_reset_works();
}
