/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio/mmio/mmio.h: stopped for a sleep or a pause, and started again. */
#include <errno.h>
#include <sys/socket.h>

#include "tests/lib/mmio_rig.h"

TestSuite(mmio_quiesce, .init = mr_setup_ready, .fini = mr_teardown,
	  .timeout = 120);

Test(mmio_quiesce, quiesce_and_restart_go_on_where_it_was)
{
	mr_go_live();
	mr.fb.bases[0] = 100;
	mr.fb.bases[1] = 40000;
	cr_assert(eq(int, mr_quiesce(), 0));
	cr_assert(eq(u32, mr_status(), LIVE), "the guest sees nothing of it");
	cr_assert(
		not(mr.dev.fe.rings[0].started || mr.dev.fe.rings[1].started));
	cr_assert(eq(int, mr_restart(), 0));
	cr_assert(eq(u32, mr.fb.set_base[0], 100));
	cr_assert(eq(u32, mr.fb.set_base[1], 40000));
	cr_assert(mr.dev.fe.rings[0].started && mr.dev.fe.rings[1].started);
	cr_assert(eq(u32, mr.lives, 1));
	cr_assert(eq(u32, mr.resets, 0));
}

Test(mmio_quiesce, a_config_change_in_its_sleep_is_told_after_it)
{
	mr_go_live();
	cr_assert(eq(int, mr_quiesce(), 0));
	mr.fb.config[0] = 1;
	virtio_mmio_config_changed(&mr.dev);
	cr_assert(eq(int, mr.dev.op, VIRTIO_OP_NONE));
	cr_assert(eq(int, mr_restart(), 0));
	while (mr.page.bytes[0x100] != 1)
		mr_turn();
	cr_assert(eq(u32, mr_get(0x060), VIRTIO_MMIO_INT_CONFIG));
}

Test(mmio_quiesce, a_device_that_is_not_live_has_nothing_to_stop)
{
	unsigned int n = atomic_load(&mr.fb.nr);

	cr_assert(eq(int, mr_quiesce(), 0));
	cr_assert(eq(int, mr_restart(), 0));
	virtio_mmio_died(&mr.dev, "died");
	cr_assert(eq(int, mr_quiesce(), 0));
	cr_assert(eq(int, mr_restart(), 0));
	cr_assert(eq(u32, atomic_load(&mr.fb.nr), n));
}

Test(mmio_quiesce, quiesce_waits_for_what_is_going_on)
{
	static struct vcpu_write w;

	mr_go_live();
	fake_misbehave(&mr.fb, VHOST_USER_SET_CONFIG, FAKE_WAITS);
	mr_write_begin(&w, 0x100, 1, 1);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	mr.moved = 1;
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	cr_assert(eq(int, mr.moved, 1));
	fake_go_on(&mr.fb);
	mr_write_end(&w);
	while (mr.moved == 1)
		mr_turn();
	cr_assert(eq(int, mr.moved, 0));
	cr_assert(eq(int, mr.dev.run, VIRTIO_MMIO_QUIESCED));
}

Test(mmio_quiesce, one_that_dies_in_quiesce_fails_it)
{
	mr_go_live();
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_CLOSES);
	cr_assert(eq(int, mr_quiesce(), -EIO));
	while (!mr.failures)
		mr_turn();
	cr_assert(eq(int, mr_restart(), 0));
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_die_and_recover();
}

Test(mmio_quiesce, one_that_dies_in_restart_needs_reset)
{
	mr_go_live();
	cr_assert(eq(int, mr_quiesce(), 0));
	fake_misbehave(&mr.fb, VHOST_USER_SET_VRING_NUM, FAKE_CLOSES);
	cr_assert(eq(int, mr_restart(), -EIO));
	while (!mr.failures)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_die_and_recover();
}

/* ------------------------------------------- one that does not stop in time */

static struct vcpu_write write_;

/* Its drain is awaited, and given up. */
static void draining(void)
{
	mr_go_live();
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	virtio_mmio_abandon_move(&mr.dev);
	cr_assert(eq(int, mr_restart(), 0), "nobody waits for it");
}

Test(mmio_quiesce, a_late_one_starts_again_by_itself)
{
	draining();
	cr_assert(eq(int, mr.dev.op, VIRTIO_OP_QUIESCE));
	mr.moved = 2;
	fake_go_on(&mr.fb);
	while (mr.dev.op != VIRTIO_OP_NONE || !mr.dev.fe.rings[1].started)
		mr_turn();
	cr_assert(eq(int, mr.moved, 2), "told of once");
	cr_assert(eq(u32, mr_count(VHOST_USER_SET_VRING_KICK), 4));
	cr_assert(eq(int, mr.dev.run, VIRTIO_MMIO_RUNNING));
	cr_assert(eq(u32, mr_status(), LIVE));
}

Test(mmio_quiesce, a_late_one_that_is_to_stop_again_stays_stopped)
{
	draining();
	mr.moved = 1;
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	cr_assert(eq(int, mr.moved, 1), "its first drain still goes on");
	fake_go_on(&mr.fb);
	while (mr.moved == 1)
		mr_turn();
	cr_assert(eq(int, mr.moved, 0));
	cr_assert(eq(int, mr.dev.run, VIRTIO_MMIO_QUIESCED));
	cr_assert(eq(u32, mr_count(VHOST_USER_GET_VRING_BASE), 2),
		  "not asked twice");
	cr_assert(eq(int, mr_restart(), 0));
	cr_assert(mr.dev.fe.rings[0].started);
}

Test(mmio_quiesce, a_late_one_that_dies_needs_reset)
{
	draining();
	fake_misbehave(&mr.fb, 0, FAKE_GOOD);
	(void)shutdown(mr.fb.fd, SHUT_RDWR);
	(void)sem_post(&mr.fb.go_on);
	while (!mr.failures)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_die_and_recover();
}

Test(mmio_quiesce, what_a_late_one_is_written_waits_for_it)
{
	draining();
	mr_write_begin(&write_, VIRTIO_MMIO_STATUS, 0, 4);
	while (!mr.dev.waiting)
		mr_turn();
	cr_assert(not(atomic_load(&write_.done)));
	fake_go_on(&mr.fb);
	mr_write_end(&write_);
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_quiesce, nonsense_in_place_of_an_answer_fails_it)
{
	static const enum fake_fault faults[] = {
		FAKE_OTHER_REPLY, FAKE_NO_FLAG, FAKE_SHORT,
		FAKE_HUGE,	  FAKE_TWICE,	FAKE_WRONG_RING,
	};

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		if (i > 0) {
			mr_renew();
			mr_setup_ready();
		}
		mr_go_live();
		fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, faults[i]);
		/* A reply that comes twice is nonsense at the second ring. */
		cr_assert(eq(int, mr_quiesce(), -EIO), "fault %d", faults[i]);
		while (!mr.failures)
			mr_turn();
		cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	}
}

/* ------------------------------------------ one that does not start in time */

static void starting(void)
{
	mr_go_live();
	cr_assert(eq(int, mr_quiesce(), 0));
	fake_misbehave(&mr.fb, VHOST_USER_SET_VRING_NUM, FAKE_WAITS);
	mr.moved = 1;
	virtio_mmio_restart(&mr.dev, mr_on_moved);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	virtio_mmio_abandon_move(&mr.dev);
}

Test(mmio_quiesce, one_late_on_the_way_up_arrives_all_the_same)
{
	starting();
	fake_go_on(&mr.fb);
	while (mr.dev.op != VIRTIO_OP_NONE)
		mr_turn();
	cr_assert(eq(int, mr.moved, 1), "nobody waits for it");
	cr_assert(eq(u32, mr_status(), LIVE));
}

Test(mmio_quiesce, one_late_on_the_way_up_is_stopped_when_it_is_there)
{
	starting();
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	cr_assert(eq(int, mr.moved, 1));
	fake_go_on(&mr.fb);
	while (mr.moved == 1)
		mr_turn();
	cr_assert(eq(int, mr.moved, 0));
	cr_assert(eq(int, mr.dev.run, VIRTIO_MMIO_QUIESCED));
	cr_assert(not(mr.dev.fe.rings[0].started));
}

Test(mmio_quiesce, one_late_on_the_way_up_may_be_waited_for_again)
{
	starting();
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	virtio_mmio_restart(&mr.dev, mr_on_moved);
	cr_assert(eq(int, mr.moved, 1));
	fake_go_on(&mr.fb);
	while (mr.moved == 1)
		mr_turn();
	cr_assert(eq(int, mr.moved, 0));
	cr_assert(mr.dev.fe.rings[0].started);
	cr_assert(eq(u32, mr_count(VHOST_USER_GET_VRING_BASE), 2),
		  "not stopped");
}

/* ------------------------------------------------------- what waits for it */

Test(mmio_quiesce, writes_wait_until_it_is_started_again)
{
	mr_go_live();
	cr_assert(eq(int, mr_quiesce(), 0));
	mr_write_begin(&write_, VIRTIO_MMIO_QUEUE_SEL, 0, 4);
	while (!mr.dev.waiting)
		mr_turn();
	cr_assert(eq(u32, mr.dev.queue_sel, 1), "as it was");
	cr_assert(not(atomic_load(&write_.done)));
	cr_assert(eq(int, mr_restart(), 0));
	mr_write_end(&write_);
}

Test(mmio_quiesce, a_driver_does_not_start_a_device_in_a_pause)
{
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_make_ready(0), 1));
	cr_assert(eq(int, mr_quiesce(), 0));
	mr_write_begin(&write_, VIRTIO_MMIO_STATUS, LIVE, 4);
	while (!mr.dev.waiting)
		mr_turn();
	cr_assert(eq(u32, mr_status(), ACK | DRIVER | FEATURES_OK));
	cr_assert(not(mr.dev.fe.rings[0].started));
	cr_assert(eq(int, mr_restart(), 0));
	mr_write_end(&write_);
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(mr.dev.fe.rings[0].started);
}
