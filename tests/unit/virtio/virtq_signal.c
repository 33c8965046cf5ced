/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts and kicks of a split ring, with and without EVENT_IDX. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/virtq_rig.h"
#include "vmm/base/fd.h"

TestSuite(virtq, .init = virtq_test_setup, .fini = virtq_test_teardown,
	  .timeout = 120);

TestSuite(virtq_event, .init = virtq_test_setup_event_idx,
	  .fini = virtq_test_teardown, .timeout = 120);

static void use_one(void)
{
	uint16_t got;
	uint32_t len;

	(void)add_out(4);
	cr_assert(eq(int, pop(), 1));
	virtq_push(&rig.vq, rig.c.head, 0);
	cr_assert(guest_ring_reap(&rig.r, &got, &len));
}

static uint32_t isr(void)
{
	uint32_t v;

	memcpy(&v, rig.page.bytes + VIRTIO_MMIO_INTERRUPT_STATUS, sizeof(v));
	return v;
}

Test(virtq, signal_raises_the_status_bit_and_the_call_eventfd)
{
	regpage_ack(&rig.page, ~0U);
	use_one();
	cr_assert(virtq_signal(&rig.vq));
	cr_assert(eq(u32, isr(), VIRTIO_MMIO_INT_VRING));
	cr_assert(eq(u64, fd_event_drain(rig.r.call_fd), 1));
	/* Also when the bit is set already. */
	use_one();
	cr_assert(virtq_signal(&rig.vq));
	cr_assert(eq(u64, fd_event_drain(rig.r.call_fd), 1));
}

Test(virtq, signal_of_a_relayed_ring_writes_the_call_eventfd_only)
{
	regpage_ack(&rig.page, ~0U);
	rig.vq.page = NULL;
	use_one();
	cr_assert(virtq_signal(&rig.vq));
	cr_assert(zero(u32, isr()));
	cr_assert(eq(u64, fd_event_drain(rig.r.call_fd), 1));
}

Test(virtq, signal_without_anything_used_is_silent)
{
	cr_assert(not(virtq_signal(&rig.vq)));
	use_one();
	cr_assert(virtq_signal(&rig.vq));
	cr_assert(not(virtq_signal(&rig.vq)));
	cr_assert(eq(u64, fd_event_drain(rig.r.call_fd), 1));
}

Test(virtq, signal_without_a_call_fd_is_fine)
{
	fd_close(&rig.vq.call_fd);
	use_one();
	cr_assert(virtq_signal(&rig.vq));
}

Test(virtq, signal_honours_no_interrupt_and_ignores_used_event)
{
	rig.r.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	rig.r.avail->ring[SIZE] = 0;
	use_one();
	cr_assert(not(virtq_signal(&rig.vq)));
	rig.r.avail->flags = 0;
	rig.r.avail->ring[SIZE] = 1000;
	use_one();
	cr_assert(virtq_signal(&rig.vq));
}

Test(virtq_event, signal_honours_used_event_and_ignores_flags)
{
	rig.r.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	rig.r.avail->ring[SIZE] = 0;
	use_one();
	cr_assert(virtq_signal(&rig.vq));
	/* The driver wants to hear of the fourth. */
	rig.r.avail->ring[SIZE] = 3;
	use_one();
	cr_assert(not(virtq_signal(&rig.vq)));
	use_one();
	cr_assert(not(virtq_signal(&rig.vq)));
	use_one();
	cr_assert(virtq_signal(&rig.vq));
	use_one();
	cr_assert(not(virtq_signal(&rig.vq)));
}

Test(virtq_event, signal_counts_the_whole_batch)
{
	use_one();
	(void)virtq_signal(&rig.vq);
	rig.r.avail->ring[SIZE] = 2;
	for (int i = 0; i < 4; i++)
		use_one();
	cr_assert(virtq_signal(&rig.vq));
}

Test(virtq_event, signal_is_right_across_the_wrap)
{
	unsigned int raised = 0;

	/* The driver asks for every one. */
	for (unsigned int i = 0; i < 65536 + 100; i++) {
		rig.r.avail->ring[SIZE] = rig.r.last_used;
		use_one();
		raised += virtq_signal(&rig.vq);
	}
	cr_assert(eq(uint, raised, 65536 + 100));
	/* One, 50 ahead. */
	raised = 0;
	rig.r.avail->ring[SIZE] = (uint16_t)(rig.r.last_used + 49);
	for (unsigned int i = 0; i < 65536; i++) {
		use_one();
		raised += virtq_signal(&rig.vq);
	}
	cr_assert(eq(uint, raised, 1));
}

/* As another process would go on with the ring. */
static void begin_anew(uint16_t base, bool event_idx)
{
	virtq_finish(&rig.vq);
	cr_assert(
		zero(int, virtq_setup(&rig.vq, &rig.g.gm, SIZE, rig.r.desc_gpa,
				      rig.r.avail_gpa, rig.r.used_gpa)));
	rig.vq.call_fd = dup(rig.r.call_fd);
	rig.vq.page = &rig.page;
	virtq_start(&rig.vq, base, event_idx, true);
}

Test(virtq_event, a_used_event_far_ahead_is_silent_on_a_ring_just_started)
{
	rig.r.avail->ring[SIZE] = 500;
	use_one();
	cr_assert(not(virtq_signal(&rig.vq)), "never used before");
	cr_assert(eq(u16, virtq_stop(&rig.vq), 1));
	virtq_start(&rig.vq, 1, true, true);
	use_one();
	cr_assert(not(virtq_signal(&rig.vq)), "stopped and started");
	cr_assert(eq(u16, virtq_stop(&rig.vq), 2));
	begin_anew(2, true);
	use_one();
	cr_assert(not(virtq_signal(&rig.vq)), "another process");
	rig.r.avail->ring[SIZE] = 3;
	use_one();
	cr_assert(virtq_signal(&rig.vq));
}

Test(virtq_event, a_start_says_nothing_again_of_what_was_told)
{
	use_one();
	cr_assert(virtq_signal(&rig.vq));
	cr_assert(eq(u16, virtq_stop(&rig.vq), 1));
	virtq_start(&rig.vq, 1, true, true);
	use_one();
	/* used_event is still 0. */
	cr_assert(not(virtq_signal(&rig.vq)));
}

/* The process that used the entry did not live to say so. */
Test(virtq_event, what_nobody_may_have_been_told_of_is_told_after_a_start)
{
	use_one();
	begin_anew(1, true);
	cr_assert(virtq_signal(&rig.vq));
	cr_assert(not(virtq_signal(&rig.vq)), "once");
}

Test(virtq, what_nobody_may_have_been_told_of_is_told_after_a_start)
{
	use_one();
	begin_anew(1, false);
	cr_assert(virtq_signal(&rig.vq));
	cr_assert(not(virtq_signal(&rig.vq)), "once");
}

/* --------------------------------------------------------------------- kicks
 */

Test(virtq, kicks_are_turned_off_and_on_by_flags)
{
	virtq_disable_kick(&rig.vq);
	cr_assert(eq(u16, rig.r.used->flags, VRING_USED_F_NO_NOTIFY));
	cr_assert(not(virtq_enable_kick(&rig.vq)));
	cr_assert(zero(u16, rig.r.used->flags));
}

Test(virtq_event, kicks_are_asked_for_by_avail_event_and_flags_stay_0)
{
	uint16_t *avail_event = (uint16_t *)(void *)&rig.r.used->ring[SIZE];

	use_one();
	use_one();
	virtq_disable_kick(&rig.vq);
	cr_assert(zero(u16, rig.r.used->flags));
	cr_assert(not(virtq_enable_kick(&rig.vq)));
	cr_assert(zero(u16, rig.r.used->flags));
	cr_assert(eq(u16, *avail_event, 2));
}

/*
 * A driver that adds while kicks are off does not kick. Whoever turns them on
 * again must see that buffer.
 */
Test(virtq, lost_kick_is_caught_by_enable_kick)
{
	virtq_disable_kick(&rig.vq);
	cr_assert(zero(int, pop()));
	(void)add_out(4);
	cr_assert(virtq_enable_kick(&rig.vq));
	cr_assert(eq(int, pop(), 1));
	cr_assert(not(virtq_enable_kick(&rig.vq)));
}

Test(virtq_event, lost_kick_is_caught_by_enable_kick)
{
	use_one();
	(void)add_out(4);
	cr_assert(virtq_enable_kick(&rig.vq));
	cr_assert(eq(int, pop(), 1));
	cr_assert(not(virtq_enable_kick(&rig.vq)));
}

Test(virtq, start_asks_for_kicks)
{
	virtq_disable_kick(&rig.vq);
	(void)virtq_stop(&rig.vq);
	/* Nothing is written while it is stopped. */
	cr_assert(eq(u16, rig.r.used->flags, VRING_USED_F_NO_NOTIFY));
	cr_assert(not(virtq_enable_kick(&rig.vq)));
	virtq_disable_kick(&rig.vq);
	cr_assert(not(virtq_signal(&rig.vq)));
	cr_assert(eq(u16, rig.r.used->flags, VRING_USED_F_NO_NOTIFY));
	virtq_start(&rig.vq, 0, false, true);
	cr_assert(zero(u16, rig.r.used->flags));
}
