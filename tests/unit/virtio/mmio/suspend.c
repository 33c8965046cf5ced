/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VIRTIO_F_SUSPEND in the transport: each cell of the state table, in both
 * dialects. The back end is scripted; what real ones touch while suspended is
 * the business of tests/contract/suspend_contract.c.
 */
#include <sys/socket.h>

#include "tests/lib/suspend_rig.h"

TestSuite(mmio_suspend, .init = mr_setup_suspend, .fini = mr_teardown,
	  .timeout = 600);

static struct vcpu_write write_;

/* ------------------------------------------------------------ negotiation */

Test(mmio_suspend, both_dialects_are_offered_if_asked_for)
{
	mr_put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_DEVICE_FEATURES),
		     (uint32_t)((VERSION_1 | BIT_V14 | BIT_DRAFT) >> 32)));
}

Test(mmio_suspend, a_driver_cannot_have_both)
{
	mr_negotiate(VERSION_1 | BIT_V14 | BIT_DRAFT);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER));
}

Test(mmio_suspend, a_bit_that_was_not_offered_is_refused)
{
	mr_renew();
	mr.suspend_offer = 0;
	mr_setup_ready();
	mr_put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_DEVICE_FEATURES),
		     (uint32_t)(VERSION_1 >> 32)));
	mr_negotiate(VERSION_1 | BIT_V14);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER));
}

FOR_BOTH(the_back_end_does_not_hear_of_the_feature)
{
	mr_live_with(mr_feature());
	cr_assert(eq(u64, mr.fb.acked & VIRTIO_MMIO_SUSPEND_BOTH, 0));
	mr_suspend();
	mr_resume();
	cr_assert(eq(u64, mr.fb.acked & VIRTIO_MMIO_SUSPEND_BOTH, 0));
}

Test(mmio_suspend, without_the_feature_the_bit_is_ignored)
{
	mr_dialect = NONE;
	mr_live_with(0);
	mr_put_status(LIVE | SUSPEND);
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(eq(int, mr.dev.op, VIRTIO_OP_NONE));
	cr_assert(mr.dev.fe.rings[0].started);
	cr_assert(eq(u32, mr_count(VHOST_USER_GET_VRING_BASE), 0));
}

/* ------------------------------------------------------------------- INIT */

FOR_BOTH(init_suspend_is_ignored)
{
	mr_put_status(ACK | SUSPEND);
	cr_assert(eq(u32, mr_status(), ACK));
	mr_put_status(ACK | DRIVER | SUSPEND);
	mr_accept_features(VERSION_1 | mr_feature());
	mr_put_status(ACK | DRIVER | FEATURES_OK | SUSPEND);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER | FEATURES_OK));
	cr_assert(eq(u32, mr_make_ready(0), 1));
	/* With DRIVER_OK in one write: it goes live only. */
	mr_put_status(LIVE | SUSPEND);
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(mr.dev.fe.rings[0].started);
	cr_assert(not(mr.dev.suspend.wanted));
}

/* ------------------------------------------------------------------- LIVE */

FOR_BOTH(live_suspends_within_the_write)
{
	mr_live_with(mr_feature());
	mr.fb.bases[0] = 7;
	mr.fb.bases[1] = 65535;
	mr_suspend();
	cr_assert(
		not(mr.dev.fe.rings[0].started || mr.dev.fe.rings[1].started));
	cr_assert(eq(u32, mr_count(VHOST_USER_GET_VRING_BASE), 2));
	cr_assert(not(mr_irq_raised()));
	mr_resume();
	cr_assert(eq(u32, mr.fb.set_base[0], 7));
	cr_assert(eq(u32, mr.fb.set_base[1], 65535));
	cr_assert(eq(u64, mr.dev.resets, 0));
	cr_assert(eq(u64, mr.dev.suspend.count, 1));
}

FOR_BOTH(live_resume_is_a_no_op)
{
	mr_live_with(mr_feature());
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(eq(u32, mr_count(VHOST_USER_GET_VRING_BASE), 0));
	cr_assert(eq(int, mr.dev.op, VIRTIO_OP_NONE));
}

FOR_BOTH(live_that_has_failed_does_not_suspend)
{
	mr_live_with(mr_feature());
	mr_put_status(LIVE | FAILED);
	mr_put_status(LIVE | FAILED | SUSPEND);
	cr_assert(eq(u32, mr_status(), LIVE | FAILED));
	cr_assert(mr.dev.fe.rings[0].started);
}

FOR_BOTH(a_device_without_a_ready_queue_suspends_too)
{
	mr_negotiate(VERSION_1 | mr_feature());
	mr_put_status(LIVE);
	mr_suspend();
	mr_put_status(mr_resume_value());
	cr_assert(eq(u32, mr_status(), LIVE));
	mr_until_idle();
	mr_reset_works();
}

/* -------------------------------------------------------------- QUIESCING */

FOR_BOTH(quiescing_shows_live_until_it_is_drained)
{
	mr_quiescing();
	cr_assert(eq(u32, mr_status(), LIVE));
	fake_go_on(&mr.fb);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	mr_resume();
}

FOR_BOTH(quiescing_suspend_again_is_a_no_op)
{
	mr_quiescing();
	mr_put_status(LIVE | SUSPEND);
	mr_put_status(LIVE | SUSPEND);
	cr_assert(eq(u32, mr_status(), LIVE));
	fake_go_on(&mr.fb);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	cr_assert(eq(u32, mr_count(VHOST_USER_GET_VRING_BASE), 2));
}

Test(mmio_suspend, quiescing_driver_ok_is_a_no_op_v14)
{
	mr_dialect = V14;
	mr_quiescing();
	mr_put_status(LIVE);
	fake_go_on(&mr.fb);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), mr_suspended()));
}

Test(mmio_suspend, quiescing_is_taken_back_draft)
{
	mr_dialect = DRAFT;
	mr_quiescing();
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE));
	fake_go_on(&mr.fb);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(mr.dev.fe.rings[0].started && mr.dev.fe.rings[1].started);
	cr_assert(eq(u64, mr.dev.suspend.count, 0));
	mr_suspend();
	mr_resume();
}

Test(mmio_suspend, quiescing_taken_back_and_meant_after_all_draft)
{
	mr_dialect = DRAFT;
	mr_quiescing();
	mr_put_status(LIVE);
	/* Waits for the same drain. */
	mr_write_begin(&write_, VIRTIO_MMIO_STATUS, LIVE | SUSPEND, 4);
	while (!mr.dev.suspend.wanted)
		mr_turn();
	fake_go_on(&mr.fb);
	mr_write_end(&write_);
	while (mr_status() != mr_suspended())
		mr_turn();
	cr_assert(eq(u32, mr_count(VHOST_USER_GET_VRING_BASE), 2));
	mr_resume();
}

FOR_BOTH(quiescing_reset_waits_for_the_drain)
{
	mr_quiescing();
	mr_write_begin(&write_, VIRTIO_MMIO_STATUS, 0, 4);
	while (!mr.dev.waiting)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(not(atomic_load(&write_.done)));
	fake_go_on(&mr.fb);
	while (!atomic_load(&write_.done)) {
		cr_assert(ne(u32, mr_status(), mr_suspended()),
			  "it is cancelled");
		mr_turn();
	}
	mr_write_end(&write_);
	cr_assert(eq(u32, mr_status(), 0));
	cr_assert(eq(u64, mr.dev.suspend.count, 0));
	cr_assert(eq(u32, mr.resets, 1));
	mr_live_with(mr_feature());
	mr_reset_works();
}

FOR_BOTH(quiescing_config_writes_are_ignored)
{
	mr_quiescing();
	mr_write_begin(&write_, 0x100, 0x55, 1);
	while (!mr.dev.waiting)
		mr_turn();
	fake_go_on(&mr.fb);
	mr_write_end(&write_);
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	cr_assert(eq(u32, mr_count(VHOST_USER_SET_CONFIG), 0));
}

FOR_BOTH(quiescing_a_config_change_is_kept)
{
	mr_quiescing();
	mr.fb.config[0] = 1;
	virtio_mmio_config_changed(&mr.dev);
	fake_go_on(&mr.fb);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	cr_assert(eq(u8, mr.page.bytes[0x100], 0x80));
	cr_assert(not(mr_irq_raised()));
}

FOR_BOTH(quiescing_too_long_needs_reset)
{
	mr_quiescing();
	while (mr_status() == LIVE) /* the deadline of the fixture */
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(mr_irq_raised());
	fake_go_on(&mr.fb);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_reset_works();
}

FOR_BOTH(quiescing_death_needs_reset)
{
	mr_live_with(mr_feature());
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_CLOSES);
	mr_put_status(LIVE | SUSPEND);
	while (!mr.failures)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(mr_irq_raised());
	mr_die_and_recover();
}

FOR_BOTH(quiescing_a_broken_ring_needs_reset)
{
	mr_quiescing();
	fd_event_signal(mr.dev.err_fd);
	while (mr_status() == LIVE)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	fake_go_on(&mr.fb);
	mr_until_idle();
	mr_reset_works();
}

/* -------------------------------------------------------------- SUSPENDED */

FOR_BOTH(suspended_suspend_again)
{
	mr_live_with(mr_feature());
	mr_suspend();
	/* Cumulative bits: without DRIVER_OK it is not a resume in 1.4. */
	mr_put_status(mr_suspended());
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	if (mr_dialect == DRAFT) {
		mr_put_status(LIVE | SUSPEND);
		cr_assert(eq(u32, mr_status(), mr_suspended()));
	}
	cr_assert(eq(u64, mr.dev.suspend.count, 1));
	mr_resume();
}

/* The same value that suspended it resumes it: the state decides. */
Test(mmio_suspend, suspended_0x1f_again_resumes_v14)
{
	mr_dialect = V14;
	mr_live_with(mr_feature());
	mr_put_status(0x1f);
	while (mr_status() != 0x1b)
		mr_turn();
	mr_put_status(0x1f);
	cr_assert(eq(u32, mr_status(), 0x0f));
	mr_until_idle();
	mr_put_status(0x1f);
	while (mr_status() != 0x1b)
		mr_turn();
}

Test(mmio_suspend, suspended_tolerates_a_cleared_suspend_v14)
{
	mr_dialect = V14;
	mr_live_with(mr_feature());
	mr_suspend();
	mr_put_status(ACK | DRIVER | FEATURES_OK);
	cr_assert(eq(u32, mr_status(), mr_suspended()),
		  "it has to set DRIVER_OK");
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE));
	mr_until_idle();
	cr_assert(mr.dev.fe.rings[0].started);
}

Test(mmio_suspend, suspended_any_value_without_suspend_resumes_draft)
{
	mr_dialect = DRAFT;
	mr_live_with(mr_feature());
	mr_suspend();
	mr_put_status(ACK);
	cr_assert(eq(u32, mr_status(), LIVE), "the other bits stay");
	mr_until_idle();
	cr_assert(mr.dev.fe.rings[0].started);
}

FOR_BOTH(suspended_reset)
{
	mr_live_with(mr_feature());
	mr_suspend();
	mr.fb.config[0] = 1;
	virtio_mmio_config_changed(&mr.dev);
	mr_write_begin(&write_, VIRTIO_MMIO_STATUS, 0, 4);
	mr_write_end(&write_);
	cr_assert(eq(u32, mr_status(), 0));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
	cr_assert(not(mr_irq_raised()), "every deferral is dropped");
	cr_assert(eq(u32, mr_count(VHOST_USER_RESET_DEVICE), 1),
		  "the process forgets what it kept");
	cr_assert(eq(u32, mr.resets, 1));
	mr_live_with(mr_feature());
	mr_reset_works();
}

FOR_BOTH(suspended_kicks_stay_in_the_eventfd)
{
	unsigned int n;

	mr_live_with(mr_feature());
	mr_suspend();
	n = atomic_load(&mr.fb.nr);
	fd_event_signal(mr.dev.kick_fds[0]);
	fd_event_signal(mr.dev.kick_fds[0]);
	mr_put(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	mr_turn();
	cr_assert(eq(u32, atomic_load(&mr.fb.nr), n),
		  "the back end is left alone");
	cr_assert(eq(u32, mr_status(), mr_suspended()));
	mr_resume();
	cr_assert(eq(u64, mr.dev.suspend.kicks, 2));
	/* A process of ours looks at every ring it starts, without a kick. */
	cr_assert(zero(u64, fd_event_drain(mr.dev.kick_fds[0])));
	cr_assert(zero(u64, fd_event_drain(mr.dev.kick_fds[1])));
}

FOR_BOTH(suspended_ignores_all_but_status_and_selectors)
{
	unsigned int n;

	mr_live_with(mr_feature());
	mr_suspend();
	n = atomic_load(&mr.fb.nr);
	mr_put_len(0x100, 0x55, 1);
	mr_put_len(0x104, 0x55555555, 4);
	cr_assert(eq(u32, atomic_load(&mr.fb.nr), n));
	cr_assert(eq(u8, mr.page.bytes[0x100], 0x80));
	mr_put(VIRTIO_MMIO_DRIVER_FEATURES, 0);
	cr_assert(eq(u64, mr.dev.acked, VERSION_1 | mr_feature()));
	mr_describe(0, 32, 0x8000, 0x9000, 0xa000);
	mr_put(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert(eq(u32, mr.dev.queues[0].size, 16));
	cr_assert(eq(u64, mr.dev.queues[0].desc_gpa, 0x1000));
	mr_put(VIRTIO_MMIO_QUEUE_SEL, NR_QUEUES);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0));
	mr_put(VIRTIO_MMIO_QUEUE_SEL, 1);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 1));
	mr_put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_DEVICE_FEATURES),
		     (uint32_t)INDIRECT));
	mr_resume();
}

FOR_BOTH(suspended_a_queue_may_go)
{
	mr_live_with(mr_feature());
	mr_suspend();
	mr_put(VIRTIO_MMIO_QUEUE_SEL, 0);
	mr_put(VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0));
	/* But not come back, nor move. */
	mr_describe(0, 32, 0x8000, 0x9000, 0xa000);
	mr_put(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0));
	mr_put_status(mr_resume_value());
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(not(mr.dev.fe.rings[0].started));
	cr_assert(mr.dev.fe.rings[1].started);
}

FOR_BOTH(suspended_interrupt_status_and_ack_work)
{
	mr_live_with(mr_feature());
	(void)regpage_raise(&mr.page, VIRTIO_MMIO_INT_VRING);
	mr_suspend();
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_VRING));
	mr_put(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
}

FOR_BOTH(suspended_config_changes_are_told_on_resume)
{
	uint32_t generation;

	mr_live_with(mr_feature());
	generation = mr_get(VIRTIO_MMIO_CONFIG_GENERATION);
	mr_suspend();
	mr.fb.config[0] = 1;
	virtio_mmio_config_changed(&mr.dev);
	virtio_mmio_config_changed(&mr.dev);
	mr_turn();
	cr_assert(eq(u8, mr.page.bytes[0x100], 0x80));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_CONFIG_GENERATION), generation));
	cr_assert(not(mr_irq_raised()));
	fake_misbehave(&mr.fb, VHOST_USER_SET_VRING_KICK, FAKE_WAITS);
	mr_put_status(mr_resume_value());
	cr_assert(eq(u32, mr_status(), LIVE));
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	/* Before any ring has started. */
	cr_assert(eq(u8, mr.page.bytes[0x100], 1));
	cr_assert(
		eq(u32, mr_get(VIRTIO_MMIO_CONFIG_GENERATION), generation + 1));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(mr_irq_raised());
	fake_go_on(&mr.fb);
	mr_until_idle();
	cr_assert(not(mr_irq_raised()), "once");
}

FOR_BOTH(suspended_without_a_change_no_interrupt)
{
	mr_live_with(mr_feature());
	mr_suspend();
	virtio_mmio_config_changed(&mr.dev);
	mr_resume();
	mr_until_idle();
	cr_assert(not(mr_irq_raised()));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
}

FOR_BOTH(suspended_death_needs_reset_and_is_silent)
{
	mr_live_with(mr_feature());
	mr_suspend();
	(void)shutdown(mr.fb.fd, SHUT_RDWR);
	while (!mr.failures)
		mr_turn();
	cr_assert(eq(u32, mr_status(), mr_suspended() | NEEDS_RESET));
	cr_assert(not(mr_irq_raised()));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
	/* Only a reset leaves it. */
	mr_put_status(mr_resume_value() | NEEDS_RESET);
	cr_assert(eq(u32, mr_status(), mr_suspended() | NEEDS_RESET));
	mr_die_and_recover();
}

FOR_BOTH(suspended_a_broken_ring_needs_reset_and_is_silent)
{
	mr_live_with(mr_feature());
	mr_suspend();
	fd_event_signal(mr.dev.err_fd);
	while (!(mr_status() & NEEDS_RESET))
		mr_turn();
	cr_assert(eq(u32, mr_status(), mr_suspended() | NEEDS_RESET));
	cr_assert(not(mr_irq_raised()));
	mr_reset_works();
}

FOR_BOTH(suspended_that_failed_does_not_resume)
{
	mr_live_with(mr_feature());
	mr_suspend();
	mr_put_status(mr_suspended() | FAILED);
	mr_put_status(mr_resume_value() | FAILED);
	cr_assert(eq(u32, mr_status(), mr_suspended() | FAILED));
	cr_assert(not(mr.dev.fe.rings[0].started));
	mr_reset_works();
}

/* -------------------------------------------------------- RESUMING, and on */

FOR_BOTH(resume_twice)
{
	mr_starting();
	mr_put_status(LIVE);
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE));
	fake_go_on(&mr.fb);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(mr.dev.fe.rings[0].started);
	cr_assert(eq(u32, mr_count(VHOST_USER_SET_VRING_KICK), 4));
}

FOR_BOTH(suspended_while_its_rings_start)
{
	mr_starting();
	mr_write_begin(&write_, VIRTIO_MMIO_STATUS, LIVE | SUSPEND, 4);
	while (!mr.dev.suspend.wanted)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE));
	fake_go_on(&mr.fb);
	mr_write_end(&write_);
	while (mr_status() != mr_suspended())
		mr_turn();
	cr_assert(not(mr.dev.fe.rings[0].started));
	cr_assert(eq(u64, mr.dev.suspend.count, 2));
	mr_resume();
}

FOR_BOTH(resume_reset_waits)
{
	mr_starting();
	mr_write_begin(&write_, VIRTIO_MMIO_STATUS, 0, 4);
	while (!mr.dev.waiting)
		mr_turn();
	fake_go_on(&mr.fb);
	mr_write_end(&write_);
	cr_assert(eq(u32, mr_status(), 0));
	mr_live_with(mr_feature());
	mr_reset_works();
}

FOR_BOTH(resume_that_fails_needs_reset)
{
	mr_live_with(mr_feature());
	mr_suspend();
	fake_misbehave(&mr.fb, VHOST_USER_SET_VRING_NUM, FAKE_REFUSES);
	mr_put_status(mr_resume_value());
	while (!(mr_status() & NEEDS_RESET))
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(mr_irq_raised());
	mr_until_idle();
	mr_reset_works();
}

FOR_BOTH(resume_death_needs_reset)
{
	mr_live_with(mr_feature());
	mr_suspend();
	fake_misbehave(&mr.fb, VHOST_USER_SET_VRING_NUM, FAKE_CLOSES);
	mr_put_status(mr_resume_value());
	while (!mr.failures)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_die_and_recover();
}

/* ------------------------------------------------------------------- DEAD */

FOR_BOTH(dead_only_a_reset_leaves)
{
	mr_live_with(mr_feature());
	fd_event_signal(mr.dev.err_fd);
	while (mr_status() == LIVE)
		mr_turn();
	mr_put_status(LIVE | SUSPEND);
	mr_put_status(LIVE);
	mr_put_status(ACK);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_reset_works();
}
