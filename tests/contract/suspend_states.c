/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VIRTIO_F_SUSPEND with the real process of every device type: what a driver
 * does in each state, above all in those that last only a moment. They last
 * while the process is stopped by SIGSTOP.
 */
#define _GNU_SOURCE
#include <criterion/parameterized.h>
#include <sched.h>
#include <string.h>

#include "tests/contract/device_test.h"

/* Before DRIVER_OK is written. */
#define READY (RIG_INIT | VIRTIO_CONFIG_S_FEATURES_OK)

static struct snapshot before, after;
static struct vcpu vcpu;

/* QUIESCING: the process does not answer, the vCPU has been let go. */
static void quiescing(void)
{
	rig.impatient = true;
	rig_freeze();
	cr_assert(eq(u32, rig_put_status(RIG_LIVE | RIG_SUSPEND), RIG_LIVE));
	cr_assert(eq(int, rig.dev.op, VIRTIO_OP_SUSPEND));
}

/* It is live again, and the process does not yet know. */
static void resuming(void)
{
	rig_suspend();
	rig_freeze();
	cr_assert(eq(u32, rig_put_status(rig_resume_value()), RIG_LIVE));
	cr_assert(eq(int, rig.dev.op, VIRTIO_OP_RESUME));
}

static void io_works(void)
{
	rig.subject->begin(rig.subject->depth);
	rig_finish_io();
	rig.subject->flood();
	rig_finish_io();
}

/* After a reset: everything as at first, and suspend too. */
static void start_over(void)
{
	rig.impatient = false;
	rig_live();
	io_works();
	rig_suspend();
	rig_resume();
	io_works();
}

static void until_suspended(void)
{
	while (rig_status() != rig_suspended())
		rig_turn();
}

/* ------------------------------------------------------------------- INIT */

DEVICE_TEST_INIT(init_suspend_is_ignored)
{
	cr_assert(zero(u32, rig_put_status(RIG_SUSPEND)));
	rig_negotiate();
	cr_assert(eq(u32, rig_put_status(READY | RIG_SUSPEND), READY));
	cr_assert(eq(u32, rig_put_status(RIG_LIVE | RIG_SUSPEND), RIG_LIVE),
		  "it goes live only");
	rig.subject->live();
	io_works();
	cr_assert(zero(u32, rig.nr_suspended));
}

DEVICE_TEST_INIT(init_reset_and_anew)
{
	rig_negotiate();
	rig_reset();
	start_over();
}

DEVICE_TEST_INIT(init_death_shows_at_driver_ok)
{
	rig_negotiate();
	rig_kill();
	cr_assert(eq(u32, rig_status(), READY));
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE | RIG_NR));
	cr_assert(eq(u32, rig_put_status(RIG_LIVE | RIG_SUSPEND),
		     RIG_LIVE | RIG_NR));
}

/* ------------------------------------------------------------------- LIVE */

DEVICE_TEST(live_resume_is_a_no_op)
{
	rig_messages_clear();
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE));
	cr_assert(zero(uint, rig_messages()));
	io_works();
}

DEVICE_TEST(live_reset_with_requests_in_flight)
{
	rig.subject->begin(rig.subject->depth);
	rig_reset();
	snapshot_take(&before);
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "after the reset");
	start_over();
}

/* ------------------------------------------------- SUSPENDED, and no further
 */

DEVICE_TEST(suspend_twice_resume_twice)
{
	rig_suspend();
	/* In 1.4 the value that suspended it resumes it: the state decides. */
	cr_assert(eq(u32,
		     rig_put_status(rig.dialect == V14
					    ? 0x1b
					    : (RIG_LIVE | RIG_SUSPEND)),
		     rig_suspended()));
	cr_assert(eq(u32, rig.nr_suspended, 1));
	rig_resume();
	rig_messages_clear();
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE));
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE));
	cr_assert(zero(uint, rig_messages()));
	io_works();
}

DEVICE_TEST(suspended_bits_that_are_taken_back_stay)
{
	rig_suspend();
	if (rig.dialect == V14)
		cr_assert(eq(u32, rig_put_status(READY), 0x1b),
			  "it takes DRIVER_OK to resume");
	cr_assert(eq(u32,
		     rig_put_status(rig.dialect == V14
					    ? RIG_LIVE
					    : VIRTIO_CONFIG_S_ACKNOWLEDGE),
		     RIG_LIVE));
	io_works();
}

DEVICE_TEST(suspended_reset_and_anew)
{
	rig.subject->begin(rig.subject->depth);
	rig_suspend();
	rig_messages_clear();
	rig_reset();
	cr_assert(eq(uint, rig.sent[VHOST_USER_RESET_DEVICE], 1),
		  "the process forgets what it kept");
	start_over();
}

/* ---------------------------------------------------------------- QUIESCING */

DEVICE_TEST(quiescing_shows_live_until_it_is_drained)
{
	uint64_t deadline;

	rig.subject->begin(rig.subject->depth);
	quiescing();
	/* What is kicked now is not for this side of it, or is drained. */
	rig.subject->begin(rig.subject->depth / 4);
	deadline = rig.dev.suspend.timer.deadline_ns;
	cr_assert(eq(u32, rig_put_status(RIG_LIVE | RIG_SUSPEND), RIG_LIVE));
	cr_assert(eq(u64, rig.dev.suspend.timer.deadline_ns, deadline),
		  "asking again wins no time");
	cr_assert(eq(uint, rig.sent[VHOST_USER_GET_VRING_BASE],
		     rig.type->nr_queues));
	rig_thaw();
	until_suspended();
	snapshot_take(&before);
	rig_assert_drained(&before);
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "drained");
	rig_resume();
	rig_finish_io();
}

DEVICE_TEST(quiescing_taken_back)
{
	rig.subject->begin(rig.subject->depth);
	quiescing();
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE));
	rig_thaw();
	if (rig.dialect == V14) { /* which has no way back */
		until_suspended();
		rig_resume();
	} else {
		while (rig.dev.op != VIRTIO_OP_NONE ||
		       !rig.dev.fe.rings[0].started) {
			cr_assert(eq(u32, rig_status(), RIG_LIVE));
			rig_turn();
		}
		cr_assert(zero(u32, rig.nr_suspended));
	}
	rig_finish_io();
	io_works();
}

DEVICE_TEST(quiescing_config_writes_are_ignored)
{
	quiescing();
	vcpu_begin(&vcpu, VIRTIO_MMIO_CONFIG, 0x5a, 1);
	while (!rig.dev.waiting)
		rig_turn();
	rig_thaw();
	(void)vcpu_end(&vcpu);
	cr_assert(eq(u32, rig_status(), rig_suspended()));
	cr_assert(zero(uint, rig.sent[VHOST_USER_SET_CONFIG]));
	rig_resume();
	io_works();
}

DEVICE_TEST(quiescing_reset_waits_for_the_process)
{
	rig.subject->begin(rig.subject->depth);
	quiescing();
	vcpu_begin(&vcpu, VIRTIO_MMIO_STATUS, 0, 4);
	while (!rig.dev.waiting)
		rig_turn();
	cr_assert(eq(u32, rig_status(), RIG_LIVE));
	cr_assert(not(atomic_load(&vcpu.done)));
	rig_thaw();
	cr_assert(zero(u32, vcpu_end(&vcpu)));
	cr_assert(zero(u32, rig.nr_suspended), "it was cancelled");
	rig_round_trip();
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS)));
	start_over();
}

DEVICE_TEST(quiescing_too_long_needs_reset)
{
	struct loop_timer *timer = &rig.dev.suspend.timer;
	uint64_t irqs = rig_irqs();

	quiescing();
	/* It is there, and passes now. */
	cr_assert(gt(u64, timer->deadline_ns, time_boot_ns()));
	loop_timer_set(&rig.loop, timer, 0, timer->fn);
	while (rig_status() == RIG_LIVE)
		rig_turn();
	cr_assert(eq(u32, rig_status(), RIG_LIVE | RIG_NR));
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG),
		  "%s", rig.subject->name);
	cr_assert(gt(u64, rig_irqs(), irqs));
	rig_thaw();
	rig_until_idle();
	cr_assert(eq(u32, rig_status(), RIG_LIVE | RIG_NR), "late is late");
	rig_reset();
	start_over();
}

/* ----------------------------------------------------------------- RESUMING */

DEVICE_TEST(resuming_resume_twice)
{
	resuming();
	rig_messages_clear();
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE));
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE));
	rig_thaw();
	rig_until_idle();
	cr_assert(zero(uint, rig_messages()));
	io_works();
}

DEVICE_TEST(resuming_suspend_again)
{
	resuming();
	rig.subject->begin(rig.subject->depth);
	vcpu_begin(&vcpu, VIRTIO_MMIO_STATUS, RIG_LIVE | RIG_SUSPEND, 4);
	while (!rig.dev.suspend.wanted)
		rig_turn();
	cr_assert(eq(u32, rig_status(), RIG_LIVE));
	rig_thaw();
	cr_assert(eq(u32, vcpu_end(&vcpu), rig_suspended()));
	snapshot_take(&before);
	rig_assert_drained(&before);
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "suspended again");
	rig_resume();
	rig_finish_io();
}

DEVICE_TEST(resuming_reset_waits_for_the_process)
{
	resuming();
	vcpu_begin(&vcpu, VIRTIO_MMIO_STATUS, 0, 4);
	while (!rig.dev.waiting)
		rig_turn();
	cr_assert(eq(u32, rig_status(), RIG_LIVE));
	rig_thaw();
	cr_assert(zero(u32, vcpu_end(&vcpu)));
	start_over();
}

/* ------------------------------------------------------------ NEEDS_RESET */

static void break_ring(void)
{
	struct guest_ring *r = &rig.ring[rig.type->nr_queues - 1];

	shared_store_release(&r->avail->idx, (uint16_t)(r->avail_idx + 1000));
	rig_kick(rig.type->nr_queues - 1);
}

DEVICE_TEST(a_broken_ring_needs_reset_which_is_all_that_helps)
{
	break_ring();
	while (rig_status() == RIG_LIVE)
		rig_turn();
	rig_until_idle();
	cr_assert(eq(u32, rig_status(), RIG_LIVE | RIG_NR));
	(void)rig_put_status(RIG_LIVE | RIG_SUSPEND);
	(void)rig_put_status(RIG_LIVE);
	(void)rig_put_status(RIG_SUSPEND);
	cr_assert(eq(u32, rig_status(), RIG_LIVE | RIG_NR));
	rig_reset();
	start_over();
}

/* Broken while suspended: it shows when the ring is looked at again. */
DEVICE_TEST(a_ring_broken_while_suspended_needs_reset_on_resume)
{
	rig_suspend();
	break_ring();
	snapshot_take(&before);
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "broken while suspended");
	/* Live, which may be over before the vCPU looks. */
	(void)rig_put_status(rig_resume_value());
	while (rig_status() == RIG_LIVE)
		rig_turn();
	cr_assert(eq(u32, rig_status(), RIG_LIVE | RIG_NR));
	cr_assert(gt(u64, rig_irqs(), after.irqs));
	rig_until_idle();
	rig_reset();
	start_over();
}

/* ------------------------------------------------------------------- death */

/* Status 0 waits until nothing of the process is left. It stays broken. */
static void reset_after_the_fence(uint32_t status)
{
	cr_assert(eq(u32, rig_status(), status));
	(void)rig_put_status(rig_resume_value());
	(void)rig_put_status(RIG_LIVE | RIG_SUSPEND);
	cr_assert(eq(u32, rig_status(), status), "only a reset leaves it");
	vcpu_begin(&vcpu, VIRTIO_MMIO_STATUS, 0, 4);
	while (rig.dev.op != VIRTIO_OP_RESET)
		rig_turn();
	cr_assert(eq(u32, rig_status(), status), "not before the fence");
	cr_assert(not(atomic_load(&vcpu.done)));
	while (rig.subject->fenced && !rig.subject->fenced())
		(void)sched_yield();
	virtio_mmio_fenced(&rig.dev, true);
	cr_assert(zero(u32, vcpu_end(&vcpu)));
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS)));
	rig_negotiate();
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE | RIG_NR));
	cr_assert(zero(u32, rig_put_status(0)));
}

static void death_is_told(uint64_t irqs)
{
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG | VIRTIO_MMIO_INT_VRING));
	cr_assert(gt(u64, rig_irqs(), irqs));
	reset_after_the_fence(RIG_LIVE | RIG_NR);
}

DEVICE_TEST(live_death)
{
	uint64_t irqs;

	rig.subject->begin(rig.subject->depth);
	irqs = rig_irqs();
	rig_kill();
	death_is_told(irqs);
}

DEVICE_TEST(quiescing_death)
{
	uint64_t irqs;

	rig.subject->begin(rig.subject->depth);
	quiescing();
	irqs = rig_irqs();
	rig_kill();
	death_is_told(irqs);
	cr_assert(zero(u32, rig.nr_suspended));
}

DEVICE_TEST(suspended_death_is_silent)
{
	rig.subject->begin(rig.subject->depth);
	rig_suspend();
	snapshot_take(&before);
	rig_kill();
	snapshot_take(&after);
	/* All that tells is the bit. */
	cr_assert(eq(u8, after.page.bytes[VIRTIO_MMIO_STATUS],
		     rig_suspended() | RIG_NR));
	after.page.bytes[VIRTIO_MMIO_STATUS] &= (uint8_t)~RIG_NR;
	snapshot_same(&before, &after, "death");
	reset_after_the_fence(rig_suspended() | RIG_NR);
}

DEVICE_TEST(resuming_death)
{
	uint64_t irqs;

	resuming();
	irqs = rig_irqs();
	rig_kill();
	death_is_told(irqs);
}

DEVICE_TEST(needs_reset_death)
{
	break_ring();
	while (rig_status() == RIG_LIVE)
		rig_turn();
	rig_until_idle();
	rig_kill();
	reset_after_the_fence(RIG_LIVE | RIG_NR);
}
