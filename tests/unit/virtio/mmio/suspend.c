/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VIRTIO_F_SUSPEND in the transport: each cell of the state table, in both
 * dialects. The back end is scripted; what real ones touch while suspended is
 * the business of tests/contract/suspend_contract.c.
 */
#include "tests/lib/mmio_test.h"

#define SUSPEND 0x10U
/* Of the specification and of the draft; not by the names of what is tested. */
#define BIT_V14	  (1ULL << 43)
#define BIT_DRAFT (1ULL << 42)

enum dialect {
	V14,
	DRAFT,
	NONE
};
static enum dialect dialect;

#define FOR_BOTH(name)                   \
	static void name##_(void);       \
	Test(mmio_suspend, name##_v14)   \
	{                                \
		dialect = V14;           \
		name##_();               \
	}                                \
	Test(mmio_suspend, name##_draft) \
	{                                \
		dialect = DRAFT;         \
		name##_();               \
	}                                \
	static void name##_(void)

TestSuite(mmio_suspend, .init = setup_suspend, .fini = teardown,
	  .timeout = 600);

static uint64_t feature(void)
{
	static const uint64_t bits[] = { BIT_V14, BIT_DRAFT, 0 };

	return bits[dialect];
}

/* What is read once it is suspended, and what is written to resume. */
static uint32_t suspended(void)
{
	return dialect == V14 ? (LIVE & ~DRIVER_OK) | SUSPEND : LIVE | SUSPEND;
}

static uint32_t resume_value(void)
{
	return dialect == V14 ? LIVE | SUSPEND : LIVE;
}

static void live_with(uint64_t features)
{
	negotiate(VERSION_1 | features);
	cr_assert(eq(u32, status(), ACK | DRIVER | FEATURES_OK));
	cr_assert(eq(u32, make_ready(0), 1));
	cr_assert(eq(u32, make_ready(1), 1));
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE));
}

static void suspend(void)
{
	put_status(LIVE | SUSPEND);
	while (status() != suspended())
		turn();
}

static void resume(void)
{
	put_status(resume_value());
	cr_assert(eq(u32, status(), LIVE), "at once");
	until_idle();
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(dev.fe.rings[0].started && dev.fe.rings[1].started);
}

/* QUIESCING: the back end drains, and the vCPU has been let go. */
static struct vcpu_write write_;

static void quiescing(void)
{
	live_with(feature());
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	put_status(LIVE | SUSPEND);
	cr_assert(eq(u32, status(), LIVE));
	while (!atomic_load(&fb.waiting))
		turn();
	cr_assert(eq(int, dev.op, VIRTIO_OP_SUSPEND));
}

/* The device comes up again, and its rings are being started. */
static void starting(void)
{
	live_with(feature());
	suspend();
	fake_misbehave(&fb, VHOST_USER_SET_VRING_NUM, FAKE_WAITS);
	put_status(resume_value());
	cr_assert(eq(u32, status(), LIVE));
	while (!atomic_load(&fb.waiting))
		turn();
	cr_assert(eq(int, dev.op, VIRTIO_OP_RESUME));
}

static void reset_works(void)
{
	uint64_t before = dev.resets;

	(void)irq_raised();
	put_status(0);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
	cr_assert(eq(u64, dev.resets, before + 1));
	for (uint32_t q = 0; q < NR_QUEUES; q++) {
		put(VIRTIO_MMIO_QUEUE_SEL, q);
		cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY), 0));
	}
	cr_assert(not(irq_raised()), "a reset replays nothing");
	live_with(feature());
	suspend();
	resume();
}

/* ------------------------------------------------------------ negotiation */

Test(mmio_suspend, both_dialects_are_offered_if_asked_for)
{
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert(eq(u32, get(VIRTIO_MMIO_DEVICE_FEATURES),
		     (uint32_t)((VERSION_1 | BIT_V14 | BIT_DRAFT) >> 32)));
}

Test(mmio_suspend, a_driver_cannot_have_both)
{
	negotiate(VERSION_1 | BIT_V14 | BIT_DRAFT);
	cr_assert(eq(u32, status(), ACK | DRIVER));
}

Test(mmio_suspend, a_bit_that_was_not_offered_is_refused)
{
	teardown();
	ready = 1;
	memset(&page, 0, sizeof(page));
	memset(&fb, 0, sizeof(fb));
	memset(&gm, 0, sizeof(gm));
	suspend_offer = 0;
	setup_ready();
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert(eq(u32, get(VIRTIO_MMIO_DEVICE_FEATURES),
		     (uint32_t)(VERSION_1 >> 32)));
	negotiate(VERSION_1 | BIT_V14);
	cr_assert(eq(u32, status(), ACK | DRIVER));
}

FOR_BOTH(the_back_end_does_not_hear_of_the_feature)
{
	live_with(feature());
	cr_assert(eq(u64, fb.acked & VIRTIO_MMIO_SUSPEND_BOTH, 0));
	suspend();
	resume();
	cr_assert(eq(u64, fb.acked & VIRTIO_MMIO_SUSPEND_BOTH, 0));
}

Test(mmio_suspend, without_the_feature_the_bit_is_ignored)
{
	dialect = NONE;
	live_with(0);
	put_status(LIVE | SUSPEND);
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(eq(int, dev.op, VIRTIO_OP_NONE));
	cr_assert(dev.fe.rings[0].started);
	cr_assert(eq(u32, count(VHOST_USER_GET_VRING_BASE), 0));
}

/* ------------------------------------------------------------------- INIT */

FOR_BOTH(init_suspend_is_ignored)
{
	put_status(ACK | SUSPEND);
	cr_assert(eq(u32, status(), ACK));
	put_status(ACK | DRIVER | SUSPEND);
	accept_features(VERSION_1 | feature());
	put_status(ACK | DRIVER | FEATURES_OK | SUSPEND);
	cr_assert(eq(u32, status(), ACK | DRIVER | FEATURES_OK));
	cr_assert(eq(u32, make_ready(0), 1));
	/* With DRIVER_OK in one write: it goes live only. */
	put_status(LIVE | SUSPEND);
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(dev.fe.rings[0].started);
	cr_assert(not(dev.suspend.wanted));
}

/* ------------------------------------------------------------------- LIVE */

FOR_BOTH(live_suspends_within_the_write)
{
	live_with(feature());
	fb.bases[0] = 7;
	fb.bases[1] = 65535;
	suspend();
	cr_assert(not(dev.fe.rings[0].started || dev.fe.rings[1].started));
	cr_assert(eq(u32, count(VHOST_USER_GET_VRING_BASE), 2));
	cr_assert(not(irq_raised()));
	resume();
	cr_assert(eq(u32, fb.set_base[0], 7));
	cr_assert(eq(u32, fb.set_base[1], 65535));
	cr_assert(eq(u64, dev.resets, 0));
	cr_assert(eq(u64, dev.suspend.count, 1));
}

FOR_BOTH(live_resume_is_a_no_op)
{
	live_with(feature());
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(eq(u32, count(VHOST_USER_GET_VRING_BASE), 0));
	cr_assert(eq(int, dev.op, VIRTIO_OP_NONE));
}

FOR_BOTH(live_that_has_failed_does_not_suspend)
{
	live_with(feature());
	put_status(LIVE | FAILED);
	put_status(LIVE | FAILED | SUSPEND);
	cr_assert(eq(u32, status(), LIVE | FAILED));
	cr_assert(dev.fe.rings[0].started);
}

FOR_BOTH(a_device_without_a_ready_queue_suspends_too)
{
	negotiate(VERSION_1 | feature());
	put_status(LIVE);
	suspend();
	put_status(resume_value());
	cr_assert(eq(u32, status(), LIVE));
	until_idle();
	reset_works();
}

/* -------------------------------------------------------------- QUIESCING */

FOR_BOTH(quiescing_shows_live_until_it_is_drained)
{
	quiescing();
	cr_assert(eq(u32, status(), LIVE));
	fake_go_on(&fb);
	until_idle();
	cr_assert(eq(u32, status(), suspended()));
	resume();
}

FOR_BOTH(quiescing_suspend_again_is_a_no_op)
{
	quiescing();
	put_status(LIVE | SUSPEND);
	put_status(LIVE | SUSPEND);
	cr_assert(eq(u32, status(), LIVE));
	fake_go_on(&fb);
	until_idle();
	cr_assert(eq(u32, status(), suspended()));
	cr_assert(eq(u32, count(VHOST_USER_GET_VRING_BASE), 2));
}

Test(mmio_suspend, quiescing_driver_ok_is_a_no_op_v14)
{
	dialect = V14;
	quiescing();
	put_status(LIVE);
	fake_go_on(&fb);
	until_idle();
	cr_assert(eq(u32, status(), suspended()));
}

Test(mmio_suspend, quiescing_is_taken_back_draft)
{
	dialect = DRAFT;
	quiescing();
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE));
	fake_go_on(&fb);
	until_idle();
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(dev.fe.rings[0].started && dev.fe.rings[1].started);
	cr_assert(eq(u64, dev.suspend.count, 0));
	suspend();
	resume();
}

Test(mmio_suspend, quiescing_taken_back_and_meant_after_all_draft)
{
	dialect = DRAFT;
	quiescing();
	put_status(LIVE);
	/* Waits for the same drain. */
	write_begin(&write_, VIRTIO_MMIO_STATUS, LIVE | SUSPEND, 4);
	while (!dev.suspend.wanted)
		turn();
	fake_go_on(&fb);
	write_end(&write_);
	while (status() != suspended())
		turn();
	cr_assert(eq(u32, count(VHOST_USER_GET_VRING_BASE), 2));
	resume();
}

FOR_BOTH(quiescing_reset_waits_for_the_drain)
{
	quiescing();
	write_begin(&write_, VIRTIO_MMIO_STATUS, 0, 4);
	while (!dev.waiting)
		turn();
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(not(atomic_load(&write_.done)));
	fake_go_on(&fb);
	while (!atomic_load(&write_.done)) {
		cr_assert(ne(u32, status(), suspended()), "it is cancelled");
		turn();
	}
	write_end(&write_);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u64, dev.suspend.count, 0));
	cr_assert(eq(u32, resets, 1));
	live_with(feature());
	reset_works();
}

FOR_BOTH(quiescing_config_writes_are_ignored)
{
	quiescing();
	write_begin(&write_, 0x100, 0x55, 1);
	while (!dev.waiting)
		turn();
	fake_go_on(&fb);
	write_end(&write_);
	cr_assert(eq(u32, status(), suspended()));
	cr_assert(eq(u32, count(VHOST_USER_SET_CONFIG), 0));
}

FOR_BOTH(quiescing_a_config_change_is_kept)
{
	quiescing();
	fb.config[0] = 1;
	virtio_mmio_config_changed(&dev);
	fake_go_on(&fb);
	until_idle();
	cr_assert(eq(u32, status(), suspended()));
	cr_assert(eq(u8, page.bytes[0x100], 0x80));
	cr_assert(not(irq_raised()));
}

FOR_BOTH(quiescing_too_long_needs_reset)
{
	quiescing();
	while (status() == LIVE) /* the deadline of the fixture */
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(irq_raised());
	fake_go_on(&fb);
	until_idle();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	reset_works();
}

FOR_BOTH(quiescing_death_needs_reset)
{
	live_with(feature());
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_CLOSES);
	put_status(LIVE | SUSPEND);
	while (!failures)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(irq_raised());
	die_and_recover();
}

FOR_BOTH(quiescing_a_broken_ring_needs_reset)
{
	quiescing();
	fd_event_signal(dev.err_fd);
	while (status() == LIVE)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	fake_go_on(&fb);
	until_idle();
	reset_works();
}

/* -------------------------------------------------------------- SUSPENDED */

FOR_BOTH(suspended_suspend_again)
{
	live_with(feature());
	suspend();
	/* Cumulative bits: without DRIVER_OK it is no resume in 1.4. */
	put_status(suspended());
	cr_assert(eq(u32, status(), suspended()));
	if (dialect == DRAFT) {
		put_status(LIVE | SUSPEND);
		cr_assert(eq(u32, status(), suspended()));
	}
	cr_assert(eq(u64, dev.suspend.count, 1));
	resume();
}

/* The same value that suspended it resumes it: the state decides. */
Test(mmio_suspend, suspended_0x1f_again_resumes_v14)
{
	dialect = V14;
	live_with(feature());
	put_status(0x1f);
	while (status() != 0x1b)
		turn();
	put_status(0x1f);
	cr_assert(eq(u32, status(), 0x0f));
	until_idle();
	put_status(0x1f);
	while (status() != 0x1b)
		turn();
}

Test(mmio_suspend, suspended_tolerates_a_cleared_suspend_v14)
{
	dialect = V14;
	live_with(feature());
	suspend();
	put_status(ACK | DRIVER | FEATURES_OK);
	cr_assert(eq(u32, status(), suspended()), "it has to set DRIVER_OK");
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE));
	until_idle();
	cr_assert(dev.fe.rings[0].started);
}

Test(mmio_suspend, suspended_any_value_without_suspend_resumes_draft)
{
	dialect = DRAFT;
	live_with(feature());
	suspend();
	put_status(ACK);
	cr_assert(eq(u32, status(), LIVE), "the other bits stay");
	until_idle();
	cr_assert(dev.fe.rings[0].started);
}

FOR_BOTH(suspended_reset)
{
	live_with(feature());
	suspend();
	fb.config[0] = 1;
	virtio_mmio_config_changed(&dev);
	write_begin(&write_, VIRTIO_MMIO_STATUS, 0, 4);
	write_end(&write_);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
	cr_assert(not(irq_raised()), "every deferral is dropped");
	cr_assert(eq(u32, count(VHOST_USER_RESET_DEVICE), 1),
		  "the process forgets what it kept");
	cr_assert(eq(u32, resets, 1));
	live_with(feature());
	reset_works();
}

FOR_BOTH(suspended_kicks_stay_in_the_eventfd)
{
	unsigned int n;

	live_with(feature());
	suspend();
	n = atomic_load(&fb.nr);
	fd_event_signal(dev.kick_fds[0]);
	fd_event_signal(dev.kick_fds[0]);
	put(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	turn();
	cr_assert(eq(u32, atomic_load(&fb.nr), n),
		  "the back end is left alone");
	cr_assert(eq(u32, status(), suspended()));
	resume();
	cr_assert(eq(u64, dev.suspend.kicks, 2));
	/* A process of ours looks at every ring it starts, without a kick. */
	cr_assert(zero(u64, fd_event_drain(dev.kick_fds[0])));
	cr_assert(zero(u64, fd_event_drain(dev.kick_fds[1])));
}

FOR_BOTH(suspended_ignores_all_but_status_and_selectors)
{
	unsigned int n;

	live_with(feature());
	suspend();
	n = atomic_load(&fb.nr);
	put_len(0x100, 0x55, 1);
	put_len(0x104, 0x55555555, 4);
	cr_assert(eq(u32, atomic_load(&fb.nr), n));
	cr_assert(eq(u8, page.bytes[0x100], 0x80));
	put(VIRTIO_MMIO_DRIVER_FEATURES, 0);
	cr_assert(eq(u64, dev.acked, VERSION_1 | feature()));
	describe(0, 32, 0x8000, 0x9000, 0xa000);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert(eq(u32, dev.queues[0].size, 16));
	cr_assert(eq(u64, dev.queues[0].desc_gpa, 0x1000));
	put(VIRTIO_MMIO_QUEUE_SEL, NR_QUEUES);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0));
	put(VIRTIO_MMIO_QUEUE_SEL, 1);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY), 1));
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	cr_assert(
		eq(u32, get(VIRTIO_MMIO_DEVICE_FEATURES), (uint32_t)INDIRECT));
	resume();
}

FOR_BOTH(suspended_a_queue_may_go)
{
	live_with(feature());
	suspend();
	put(VIRTIO_MMIO_QUEUE_SEL, 0);
	put(VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY), 0));
	/* But not come back, nor move. */
	describe(0, 32, 0x8000, 0x9000, 0xa000);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY), 0));
	put_status(resume_value());
	until_idle();
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(not(dev.fe.rings[0].started));
	cr_assert(dev.fe.rings[1].started);
}

FOR_BOTH(suspended_interrupt_status_and_ack_work)
{
	live_with(feature());
	(void)regpage_raise(&page, VIRTIO_MMIO_INT_VRING);
	suspend();
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_VRING));
	put(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
}

FOR_BOTH(suspended_config_changes_are_told_on_resume)
{
	uint32_t generation;

	live_with(feature());
	generation = get(VIRTIO_MMIO_CONFIG_GENERATION);
	suspend();
	fb.config[0] = 1;
	virtio_mmio_config_changed(&dev);
	virtio_mmio_config_changed(&dev);
	turn();
	cr_assert(eq(u8, page.bytes[0x100], 0x80));
	cr_assert(eq(u32, get(VIRTIO_MMIO_CONFIG_GENERATION), generation));
	cr_assert(not(irq_raised()));
	fake_misbehave(&fb, VHOST_USER_SET_VRING_KICK, FAKE_WAITS);
	put_status(resume_value());
	cr_assert(eq(u32, status(), LIVE));
	while (!atomic_load(&fb.waiting))
		turn();
	/* Before any ring has started. */
	cr_assert(eq(u8, page.bytes[0x100], 1));
	cr_assert(eq(u32, get(VIRTIO_MMIO_CONFIG_GENERATION), generation + 1));
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(irq_raised());
	fake_go_on(&fb);
	until_idle();
	cr_assert(not(irq_raised()), "once");
}

FOR_BOTH(suspended_without_a_change_no_interrupt)
{
	live_with(feature());
	suspend();
	virtio_mmio_config_changed(&dev);
	resume();
	until_idle();
	cr_assert(not(irq_raised()));
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
}

FOR_BOTH(suspended_death_needs_reset_and_is_silent)
{
	live_with(feature());
	suspend();
	(void)shutdown(fb.fd, SHUT_RDWR);
	while (!failures)
		turn();
	cr_assert(eq(u32, status(), suspended() | NEEDS_RESET));
	cr_assert(not(irq_raised()));
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
	/* Only a reset leaves it. */
	put_status(resume_value() | NEEDS_RESET);
	cr_assert(eq(u32, status(), suspended() | NEEDS_RESET));
	die_and_recover();
}

FOR_BOTH(suspended_a_broken_ring_needs_reset_and_is_silent)
{
	live_with(feature());
	suspend();
	fd_event_signal(dev.err_fd);
	while (!(status() & NEEDS_RESET))
		turn();
	cr_assert(eq(u32, status(), suspended() | NEEDS_RESET));
	cr_assert(not(irq_raised()));
	reset_works();
}

FOR_BOTH(suspended_that_failed_does_not_resume)
{
	live_with(feature());
	suspend();
	put_status(suspended() | FAILED);
	put_status(resume_value() | FAILED);
	cr_assert(eq(u32, status(), suspended() | FAILED));
	cr_assert(not(dev.fe.rings[0].started));
	reset_works();
}

/* -------------------------------------------------------- RESUMING, and on */

FOR_BOTH(resume_twice)
{
	starting();
	put_status(LIVE);
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE));
	fake_go_on(&fb);
	until_idle();
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(dev.fe.rings[0].started);
	cr_assert(eq(u32, count(VHOST_USER_SET_VRING_KICK), 4));
}

FOR_BOTH(suspended_while_its_rings_start)
{
	starting();
	write_begin(&write_, VIRTIO_MMIO_STATUS, LIVE | SUSPEND, 4);
	while (!dev.suspend.wanted)
		turn();
	cr_assert(eq(u32, status(), LIVE));
	fake_go_on(&fb);
	write_end(&write_);
	while (status() != suspended())
		turn();
	cr_assert(not(dev.fe.rings[0].started));
	cr_assert(eq(u64, dev.suspend.count, 2));
	resume();
}

FOR_BOTH(resume_reset_waits)
{
	starting();
	write_begin(&write_, VIRTIO_MMIO_STATUS, 0, 4);
	while (!dev.waiting)
		turn();
	fake_go_on(&fb);
	write_end(&write_);
	cr_assert(eq(u32, status(), 0));
	live_with(feature());
	reset_works();
}

FOR_BOTH(resume_that_fails_needs_reset)
{
	live_with(feature());
	suspend();
	fake_misbehave(&fb, VHOST_USER_SET_VRING_NUM, FAKE_REFUSES);
	put_status(resume_value());
	while (!(status() & NEEDS_RESET))
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(irq_raised());
	until_idle();
	reset_works();
}

FOR_BOTH(resume_death_needs_reset)
{
	live_with(feature());
	suspend();
	fake_misbehave(&fb, VHOST_USER_SET_VRING_NUM, FAKE_CLOSES);
	put_status(resume_value());
	while (!failures)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	die_and_recover();
}

/* ------------------------------------------------------------------- DEAD */

FOR_BOTH(dead_only_a_reset_leaves)
{
	live_with(feature());
	fd_event_signal(dev.err_fd);
	while (status() == LIVE)
		turn();
	put_status(LIVE | SUSPEND);
	put_status(LIVE);
	put_status(ACK);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	reset_works();
}

/* ------------------------------------------------- the VMM stops it as well */

FOR_BOTH(a_pause_around_it_changes_nothing)
{
	live_with(feature());
	suspend();
	cr_assert(eq(int, quiesce(), 0));
	cr_assert(eq(u32, status(), suspended()));
	cr_assert(eq(int, restart(), 0));
	cr_assert(eq(u32, status(), suspended()));
	cr_assert(not(dev.fe.rings[0].started));
	resume();
}

FOR_BOTH(a_pause_in_its_drain)
{
	quiescing();
	moved = 1;
	virtio_mmio_quiesce(&dev, on_moved);
	cr_assert(eq(int, moved, 1), "waits for it");
	fake_go_on(&fb);
	while (moved == 1)
		turn();
	cr_assert(eq(int, moved, 0));
	cr_assert(eq(u32, status(), suspended()));
	cr_assert(eq(int, restart(), 0));
	resume();
}

/* What its driver wants next is done after the pause, not in it. */
Test(mmio_suspend, a_pause_in_a_drain_that_was_taken_back_draft)
{
	dialect = DRAFT;
	quiescing();
	put_status(LIVE);
	moved = 1;
	virtio_mmio_quiesce(&dev, on_moved);
	fake_go_on(&fb);
	while (moved == 1)
		turn();
	until_idle();
	cr_assert(eq(u32, count(VHOST_USER_SET_VRING_KICK), 2),
		  "never started");
	cr_assert(not(dev.fe.rings[0].started));
	cr_assert(not(dev.fe.rings[1].started));
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(eq(int, restart(), 0));
	until_idle();
	cr_assert(dev.fe.rings[0].started && dev.fe.rings[1].started);
	suspend();
	resume();
}

FOR_BOTH(a_pause_while_its_rings_start)
{
	starting();
	moved = 1;
	virtio_mmio_quiesce(&dev, on_moved);
	fake_go_on(&fb);
	while (moved == 1)
		turn();
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(not(dev.fe.rings[0].started));
	cr_assert(eq(int, restart(), 0));
	cr_assert(dev.fe.rings[0].started);
	suspend();
	resume();
}

FOR_BOTH(in_a_pause_what_is_written_waits)
{
	live_with(feature());
	cr_assert(eq(int, quiesce(), 0));
	write_begin(&write_, VIRTIO_MMIO_STATUS, LIVE | SUSPEND, 4);
	while (!dev.waiting)
		turn();
	cr_assert(not(dev.suspend.wanted));
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(eq(int, restart(), 0));
	write_end(&write_);
	while (status() != suspended())
		turn();
	resume();
}

/* ---------------------------------------------------------- many, and races */

FOR_BOTH(a_thousand_times)
{
	live_with(feature());
	for (unsigned int i = 0; i < 1000; i++) {
		suspend();
		cr_assert(not(dev.fe.rings[0].started));
		put_status(resume_value());
		cr_assert(eq(u32, status(), LIVE));
	}
	until_idle();
	cr_assert(eq(u64, dev.suspend.count, 1000));
	cr_assert(eq(u64, dev.resets, 0));
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
		dev.bus.ops->write(&dev.bus, VIRTIO_MMIO_STATUS,
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
		turn();
	(void)pthread_join(storm->thread, NULL);
}

/* The draft's driver toggles the bit: nothing is sent, one drain goes on. */
Test(mmio_suspend, abort_storm_draft)
{
	static struct storm down = { .values = { 0x1f, 0x1f, 0x1f, 0x1f },
				     .n = 100000 };
	static struct storm up = { .values = { 0x0f, 0x0f, 0x0f, 0x0f } };
	unsigned int before;

	dialect = DRAFT;
	/* The storm takes as long as it takes. */
	dev.fe.deadline_ns = UINT64_MAX / 4;
	quiescing();
	before = atomic_load(&fb.nr);
	storm_begin(&up);
	storm_begin(&down);
	while (!atomic_load(&down.done)) {
		/* The drain has its deadline. */
		loop_timer_cancel(&loop, &dev.suspend.timer);
		cr_assert(eq(int, loop_turn(&loop, 1), 0));
	}
	storm_end(&down);
	storm_end(&up);
	cr_assert(eq(u32, atomic_load(&fb.nr), before));
	fake_go_on(&fb);
	until_idle();
	reset_works();
}

/* Two vCPUs that do not agree: a reader sees the states of the dialect only. */
FOR_BOTH(two_vcpus)
{
	static struct storm storms[2];

	live_with(feature());
	for (int i = 0; i < 2; i++) {
		storms[i] =
			(struct storm){ .values = { 0x1f, 0x0f, 0x1f, 0x0b },
					.n = 2000 };
		storm_begin(&storms[i]);
	}
	while (!atomic_load(&storms[0].done) || !atomic_load(&storms[1].done)) {
		uint32_t s = status();

		cr_assert(s == LIVE || s == suspended(), "status %#x", s);
		cr_assert(eq(int, loop_turn(&loop, 1), 0));
	}
	for (int i = 0; i < 2; i++)
		storm_end(&storms[i]);
	until_idle();
	reset_works();
}
