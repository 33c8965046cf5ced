/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio/mmio/mmio.h: reset, faults and death of the back end. */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/mmio_rig.h"

TestSuite(mmio_life, .init = mr_setup_ready, .fini = mr_teardown,
	  .timeout = 120);

/* ----------------------------------------------------------------- reset */

Test(mmio_life, reset_waits_for_the_drain)
{
	static struct vcpu_write w;

	mr_go_live();
	regpage_raise(&mr.page, VIRTIO_MMIO_INT_VRING);
	fd_event_signal(mr.dev.kick_fds[0]);
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	mr_write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	cr_assert(not(atomic_load(&w.done)));
	cr_assert(eq(u32, mr_status(), LIVE));
	fake_go_on(&mr.fb);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_status(), 0));
	cr_assert(eq(u32, mr_get(0x060), 0));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0));
	cr_assert(eq(u64, fd_event_drain(mr.dev.kick_fds[0]), 0));
	cr_assert(eq(u64, mr.dev.acked, 0));
	cr_assert(eq(u64, mr.dev.queues[0].desc_gpa, 0));
	cr_assert(eq(u32, mr.resets, 1));
	/* And once more, from the start. */
	mr_go_live();
	cr_assert(eq(u32, mr.lives, 2));
	cr_assert(eq(u32, mr.fb.set_base[0], 0));
}

Test(mmio_life, two_vcpus_race_reset_and_register_writes)
{
	static struct vcpu_write reset[2], select;

	mr_go_live();
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	mr_write_begin(&reset[0], VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	mr_write_begin(&reset[1], VIRTIO_MMIO_STATUS, 0, 4);
	mr_write_begin(&select, VIRTIO_MMIO_QUEUE_SEL, 1, 4);
	while (!mr.dev.waiting || !mr.dev.waiting->next)
		mr_turn();
	cr_assert(not(atomic_load(&reset[1].done)));
	cr_assert(not(atomic_load(&select.done)));
	fake_go_on(&mr.fb);
	mr_write_end(&reset[0]);
	mr_write_end(&reset[1]);
	mr_write_end(&select);
	cr_assert(eq(u32, mr_status(), 0));
	cr_assert(eq(u32, mr.resets, 1));
}

Test(mmio_life, reset_of_a_device_that_never_ran_is_at_once)
{
	unsigned int n = atomic_load(&mr.fb.nr);

	mr_negotiate(VERSION_1);
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
	cr_assert(eq(u32, atomic_load(&mr.fb.nr), n));
	cr_assert(eq(u32, mr.resets, 0), "it was not live");
}

Test(mmio_life, a_refused_reset_does_not_hang_the_vcpu)
{
	mr_go_live();
	fake_misbehave(&mr.fb, VHOST_USER_RESET_DEVICE, FAKE_REFUSES);
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
	cr_assert(eq(u32, mr.failures, 0));
}

/* ---------------------------------------------------------------- faults */

Test(mmio_life, a_refused_start_needs_reset)
{
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_make_ready(0), 1));
	fake_misbehave(&mr.fb, VHOST_USER_SET_VRING_ADDR, FAKE_REFUSES);
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, mr_get(0x060) & VIRTIO_MMIO_INT_CONFIG,
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(eq(u32, mr.lives, 0));
	while (mr.dev.fe.rings[0].started)
		mr_turn();
	mr_put_status(0);
	mr_go_live();
}

Test(mmio_life, a_broken_ring_needs_reset_and_is_stopped)
{
	mr_go_live();
	fd_event_signal(mr.fb.err_fd);
	while (mr_status() == LIVE)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, mr_get(0x060), VIRTIO_MMIO_INT_CONFIG));
	while (mr.dev.fe.rings[0].started || mr.dev.fe.rings[1].started)
		mr_turn();
	/* Only a reset helps. */
	mr_put_status(LIVE);
	mr_put_len(0x100, 1, 1);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, mr_count(VHOST_USER_SET_CONFIG), 0));
	mr_put_status(0);
	mr_go_live();
}

Test(mmio_life, a_stale_ring_error_is_ignored)
{
	int err;

	mr_go_live();
	err = dup(mr.fb.err_fd);
	/* Written by the old rings, seen only when the new ones run. */
	loop_remove(&mr.loop, &mr.dev.err_src);
	fd_event_signal(err);
	mr_put_status(0);
	mr_go_live();
	cr_assert(eq(u64, fd_event_drain(mr.dev.err_fd), 0));
	cr_assert(eq(u32, mr_status(), LIVE));
	(void)close(err);
}

Test(mmio_life, a_ring_error_without_driver_is_ignored)
{
	fd_event_signal(mr.dev.err_fd);
	mr_turn();
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_life, one_that_dies_live_needs_reset_and_a_fence)
{
	mr_go_live();
	(void)shutdown(mr.fb.fd, SHUT_RDWR);
	while (!mr.failures)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, mr_get(0x060),
		     VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG));
	cr_assert(gt(u64, fd_event_drain(mr.dev.irq_fd), 0));
	virtio_mmio_died(&mr.dev, "again");
	mr_die_and_recover();
}

Test(mmio_life, one_that_dies_in_start)
{
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_make_ready(0), 1));
	fake_misbehave(&mr.fb, VHOST_USER_SET_VRING_CALL, FAKE_CLOSES);
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	while (!mr.failures)
		mr_turn();
	mr_die_and_recover();
}

Test(mmio_life, one_that_dies_or_hangs_in_reset)
{
	static struct vcpu_write w;

	mr_go_live();
	mr.dev.fe.deadline_ns = 30 * MS;
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_MUTE);
	mr_write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!mr.failures)
		mr_turn();
	cr_assert(not(atomic_load(&w.done)));
	virtio_mmio_fenced(&mr.dev, true);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_life, the_fence_before_the_end_of_file_is_as_good)
{
	static struct vcpu_write w;

	mr_go_live();
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	mr_write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	virtio_mmio_died(&mr.dev, "died");
	virtio_mmio_fenced(&mr.dev, true);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_status(), 0));
	fake_stop(&mr.fb);
	while (mr.dev.fe.busy)
		mr_turn();
	mr_put_status(ACK);
	cr_assert(eq(u32, mr_status(), ACK));
}

/* The pidfd was looked at before the socket. */
Test(mmio_life, an_answer_of_one_that_has_died_is_no_fence)
{
	static struct vcpu_write w;

	mr_go_live();
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	mr_write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	virtio_mmio_died(&mr.dev, "died");
	fake_go_on(&mr.fb);
	while (mr.dev.fe.busy)
		mr_turn();
	cr_assert(not(atomic_load(&w.done)));
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	virtio_mmio_fenced(&mr.dev, true);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_life, one_whose_fence_fails_is_never_reset)
{
	mr_go_live();
	virtio_mmio_died(&mr.dev, "died");
	virtio_mmio_fenced(&mr.dev, false);
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_put(VIRTIO_MMIO_QUEUE_SEL, 0);
	mr_put(VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 1));
}

Test(mmio_life, one_that_dies_in_a_config_write_lets_the_vcpu_go)
{
	fake_misbehave(&mr.fb, VHOST_USER_SET_CONFIG, FAKE_CLOSES);
	mr_put_len(0x100, 1, 1);
	while (!mr.failures)
		mr_turn();
	mr_put_status(ACK);
	cr_assert(eq(u32, mr_status(), ACK));
}

Test(mmio_life, the_end_of_the_vm_lets_waiting_vcpus_go)
{
	static struct vcpu_write reset, other;

	mr_go_live();
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	mr_write_begin(&reset, VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	mr_write_begin(&other, VIRTIO_MMIO_QUEUE_SEL, 0, 4);
	while (!mr.dev.waiting)
		mr_turn();
	mailbox_close(&mr.mailbox);
	virtio_mmio_release_waiters(&mr.dev);
	(void)pthread_join(reset.thread, NULL);
	(void)pthread_join(other.thread, NULL);
	mr_put_status(ACK); /* returns at once, undone */
	cr_assert(eq(u32, mr_status(), LIVE));
}
