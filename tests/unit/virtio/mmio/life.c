/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio/mmio/mmio.h: reset, faults and death of the back end. */
#include "tests/lib/mmio_test.h"

TestSuite(mmio_life, .init = setup_ready, .fini = teardown, .timeout = 120);

/* ----------------------------------------------------------------- reset */

Test(mmio_life, reset_waits_for_the_drain)
{
	static struct vcpu_write w;

	go_live();
	regpage_raise(&page, VIRTIO_MMIO_INT_VRING);
	fd_event_signal(dev.kick_fds[0]);
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	cr_assert(not(atomic_load(&w.done)));
	cr_assert(eq(u32, status(), LIVE));
	fake_go_on(&fb);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, get(0x060), 0));
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY), 0));
	cr_assert(eq(u64, fd_event_drain(dev.kick_fds[0]), 0));
	cr_assert(eq(u64, dev.acked, 0));
	cr_assert(eq(u64, dev.queues[0].desc_gpa, 0));
	cr_assert(eq(u32, resets, 1));
	/* And once more, from the start. */
	go_live();
	cr_assert(eq(u32, lives, 2));
	cr_assert(eq(u32, fb.set_base[0], 0));
}

Test(mmio_life, two_vcpus_race_reset_and_register_writes)
{
	static struct vcpu_write reset[2], select;

	go_live();
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&reset[0], VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	write_begin(&reset[1], VIRTIO_MMIO_STATUS, 0, 4);
	write_begin(&select, VIRTIO_MMIO_QUEUE_SEL, 1, 4);
	while (!dev.waiting || !dev.waiting->next)
		turn();
	cr_assert(not(atomic_load(&reset[1].done)));
	cr_assert(not(atomic_load(&select.done)));
	fake_go_on(&fb);
	write_end(&reset[0]);
	write_end(&reset[1]);
	write_end(&select);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, resets, 1));
}

Test(mmio_life, reset_of_a_device_that_never_ran_is_at_once)
{
	unsigned int n = atomic_load(&fb.nr);

	negotiate(VERSION_1);
	put_status(0);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, atomic_load(&fb.nr), n));
	cr_assert(eq(u32, resets, 0), "it was not live");
}

Test(mmio_life, a_refused_reset_does_not_hang_the_vcpu)
{
	go_live();
	fake_misbehave(&fb, VHOST_USER_RESET_DEVICE, FAKE_REFUSES);
	put_status(0);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, failures, 0));
}

/* ---------------------------------------------------------------- faults */

Test(mmio_life, a_refused_start_needs_reset)
{
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(0), 1));
	fake_misbehave(&fb, VHOST_USER_SET_VRING_ADDR, FAKE_REFUSES);
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, get(0x060) & VIRTIO_MMIO_INT_CONFIG,
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(eq(u32, lives, 0));
	while (dev.fe.rings[0].started)
		turn();
	put_status(0);
	go_live();
}

Test(mmio_life, a_broken_ring_needs_reset_and_is_stopped)
{
	go_live();
	fd_event_signal(fb.err_fd);
	while (status() == LIVE)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, get(0x060), VIRTIO_MMIO_INT_CONFIG));
	while (dev.fe.rings[0].started || dev.fe.rings[1].started)
		turn();
	/* Only a reset helps. */
	put_status(LIVE);
	put_len(0x100, 1, 1);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, count(VHOST_USER_SET_CONFIG), 0));
	put_status(0);
	go_live();
}

Test(mmio_life, a_stale_ring_error_is_ignored)
{
	int err;

	go_live();
	err = dup(fb.err_fd);
	/* Written by the old rings, seen only when the new ones run. */
	loop_remove(&loop, &dev.err_src);
	fd_event_signal(err);
	put_status(0);
	go_live();
	cr_assert(eq(u64, fd_event_drain(dev.err_fd), 0));
	cr_assert(eq(u32, status(), LIVE));
	(void)close(err);
}

Test(mmio_life, a_ring_error_without_driver_is_ignored)
{
	fd_event_signal(dev.err_fd);
	turn();
	cr_assert(eq(u32, status(), 0));
}

Test(mmio_life, one_that_dies_live_needs_reset_and_a_fence)
{
	go_live();
	(void)shutdown(fb.fd, SHUT_RDWR);
	while (!failures)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, get(0x060),
		     VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG));
	cr_assert(gt(u64, fd_event_drain(dev.irq_fd), 0));
	virtio_mmio_died(&dev, "again");
	die_and_recover();
}

Test(mmio_life, one_that_dies_in_start)
{
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(0), 1));
	fake_misbehave(&fb, VHOST_USER_SET_VRING_CALL, FAKE_CLOSES);
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	while (!failures)
		turn();
	die_and_recover();
}

Test(mmio_life, one_that_dies_or_hangs_in_reset)
{
	static struct vcpu_write w;

	go_live();
	dev.fe.deadline_ns = 30 * MS;
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_MUTE);
	write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!failures)
		turn();
	cr_assert(not(atomic_load(&w.done)));
	virtio_mmio_fenced(&dev, true);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
}

Test(mmio_life, the_fence_before_the_end_of_file_is_as_good)
{
	static struct vcpu_write w;

	go_live();
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	virtio_mmio_died(&dev, "died");
	virtio_mmio_fenced(&dev, true);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
	fake_stop(&fb);
	while (dev.fe.busy)
		turn();
	put_status(ACK);
	cr_assert(eq(u32, status(), ACK));
}

/* The pidfd was looked at before the socket. */
Test(mmio_life, an_answer_of_one_that_has_died_is_no_fence)
{
	static struct vcpu_write w;

	go_live();
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	virtio_mmio_died(&dev, "died");
	fake_go_on(&fb);
	while (dev.fe.busy)
		turn();
	cr_assert(not(atomic_load(&w.done)));
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	virtio_mmio_fenced(&dev, true);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
}

Test(mmio_life, one_whose_fence_fails_is_never_reset)
{
	go_live();
	virtio_mmio_died(&dev, "died");
	virtio_mmio_fenced(&dev, false);
	put_status(0);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	put(VIRTIO_MMIO_QUEUE_SEL, 0);
	put(VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY), 1));
}

Test(mmio_life, one_that_dies_in_a_config_write_lets_the_vcpu_go)
{
	fake_misbehave(&fb, VHOST_USER_SET_CONFIG, FAKE_CLOSES);
	put_len(0x100, 1, 1);
	while (!failures)
		turn();
	put_status(ACK);
	cr_assert(eq(u32, status(), ACK));
}

Test(mmio_life, the_end_of_the_vm_lets_waiting_vcpus_go)
{
	static struct vcpu_write reset, other;

	go_live();
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&reset, VIRTIO_MMIO_STATUS, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	write_begin(&other, VIRTIO_MMIO_QUEUE_SEL, 0, 4);
	while (!dev.waiting)
		turn();
	mailbox_close(&mailbox);
	virtio_mmio_release_waiters(&dev);
	(void)pthread_join(reset.thread, NULL);
	(void)pthread_join(other.thread, NULL);
	put_status(ACK); /* returns at once, undone */
	cr_assert(eq(u32, status(), LIVE));
}
