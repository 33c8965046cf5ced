/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VIRTIO_F_SUSPEND with the real process of every device type, in both
 * dialects: what a driver sees, and that a suspended device touches nothing.
 * Each cell of the transport's table against a scripted back end is in
 * tests/unit/virtio/mmio/suspend.c.
 */
#define _GNU_SOURCE
#include <criterion/parameterized.h>
#include <string.h>

#include "tests/contract/device_test.h"
#include "tests/contract/stores.h"
#include "vmm/base/fd.h"

static struct snapshot first, before, after;

/* The driver's write of SUSPEND, and what it sees right after it. */
static void suspend_into(struct snapshot *s)
{
	struct vcpu v = { .snap = s };

	vcpu_begin(&v, VIRTIO_MMIO_STATUS, RIG_LIVE | RIG_SUSPEND, 4);
	cr_assert(eq(u32, vcpu_end(&v), rig_suspended()));
}

/* --------------------------------------------------------------- sequence */

struct registers {
	struct virtio_regpage page;
	uint64_t acked;
	struct virtio_mmio_queue queues[VIRTIO_MMIO_MAX_QUEUES];
};

static void registers_take(struct registers *r)
{
	memcpy(&r->page, rig.page, sizeof(r->page));
	/* What a driver can only write. */
	r->acked = rig.dev.acked;
	memcpy(r->queues, rig.dev.queues, sizeof(r->queues));
}

static void registers_same(const struct registers *a, const struct registers *b)
{
	cr_assert(zero(int, memcmp(&a->page, &b->page, sizeof(a->page))));
	cr_assert(eq(u64, a->acked, b->acked));
	for (unsigned int q = 0; q < VIRTIO_MMIO_MAX_QUEUES; q++) {
		const struct virtio_mmio_queue *x = &a->queues[q];
		const struct virtio_mmio_queue *y = &b->queues[q];

		cr_assert(eq(u32, x->size, y->size));
		cr_assert(eq(int, x->ready, y->ready));
		cr_assert(eq(u64, x->desc_gpa, y->desc_gpa));
		cr_assert(eq(u64, x->driver_gpa, y->driver_gpa));
		cr_assert(eq(u64, x->device_gpa, y->device_gpa));
	}
}

/* Nothing is slow: the first read finds it. Then all is as it was. */
DEVICE_TEST(suspends_within_the_write_and_resumes_as_it_was)
{
	static struct registers was, is;

	rig.subject->begin(rig.subject->depth);
	rig_finish_io();
	registers_take(&was);
	for (unsigned int i = 0; i < 10; i++) {
		rig_suspend();
		cr_assert(
			eq(u32, rig_get(VIRTIO_MMIO_STATUS), rig_suspended()));
		rig_resume();
		registers_take(&is);
		registers_same(&was, &is);
	}
	cr_assert(zero(u64, rig.dev.resets));
	cr_assert(eq(u32, rig.nr_suspended, 10));
	rig.subject->begin(rig.subject->depth);
	rig_finish_io();
	if (rig.subject->kept)
		rig.subject->kept();
}

/* A reader that does not exit sees no state in between: there is none. */
DEVICE_TEST(each_change_of_status_is_one_store)
{
	uint32_t seen[16];
	unsigned int n;

	rig_finish_io();
	stores_begin();
	for (unsigned int i = 0; i < 3; i++) {
		rig_suspend();
		rig_resume();
	}
	n = stores_end(seen, ARRAY_SIZE(seen));
	cr_assert(eq(uint, n, 6));
	for (unsigned int i = 0; i < n; i++)
		cr_assert(eq(u32, seen[i], i % 2 ? RIG_LIVE : rig_suspended()),
			  "change %u", i);
}

/* ------------------------------------------------------------------ drain */

DEVICE_TEST(what_is_in_flight_is_completed_before_it_is_acknowledged)
{
	for (unsigned int round = 0; round < 10; round++) {
		rig.subject->begin(rig.subject->depth);
		/* The process may have taken none, some or all of them. */
		for (unsigned int i = 0; i < round % 3; i++)
			rig_turn_now();
		suspend_into(&first);
		rig_assert_drained(&first);
		rig_round_trip();
		snapshot_take(&after);
		snapshot_same(&first, &after, "after the acknowledgement");
		rig_resume();
		rig_finish_io();
	}
}

/* ------------------------------------------------------------------ flood */

DEVICE_TEST(a_flood_while_suspended_touches_nothing_and_is_not_lost)
{
	unsigned int fds;
	uint64_t anon;

	rig.subject->begin(rig.subject->depth);
	suspend_into(&first);
	rig_assert_drained(&first);
	fds = rig_fds();
	anon = rig_anon_kib();
	/* A driver that must not do so. */
	rig.subject->begin(rig.subject->depth / 4);
	for (unsigned int q = 0; q < rig.type->nr_queues; q++)
		rig_kick(q);
	rig_put(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	snapshot_take(&before);
	rig.subject->flood();
	virtio_mmio_config_changed(&rig.dev);
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "flooded");
	cr_assert(eq(u64, before.irqs, first.irqs));
	rig_until_asleep();
	cr_assert(eq(uint, rig_fds(), fds));
	rig_assert_flat(anon);
	rig_resume();
	/* They were counted. */
	cr_assert(ge(u64, rig.dev.suspend.kicks, rig.type->nr_queues));
	rig_finish_io();
	if (rig.subject->kept)
		rig.subject->kept();
}

/* Armed, so that the process looks at its back end: into its own memory. */
DEVICE_TEST(a_flood_while_suspended_and_armed_touches_nothing_and_is_not_lost)
{
	suspend_into(&first);
	rig_arm(true);
	rig.subject->begin(rig.subject->depth / 4);
	snapshot_take(&before);
	rig.subject->flood();
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "armed and flooded");
	rig_until_asleep();
	cr_assert(le(u64, fd_event_drain(rig.wake_fd), 1));
	rig_resume();
	rig_finish_io();
	rig_arm(false);
}

/* ------------------------------------------------------------- registers */

DEVICE_TEST(suspended_registers_and_config_space_do_not_take_writes)
{
	uint64_t acked;

	rig_suspend();
	acked = rig.dev.acked;
	rig_put(VIRTIO_MMIO_QUEUE_SEL, 0);
	snapshot_take(&before);
	rig_messages_clear();
	for (uint32_t off = 0; off < rig.type->config_size; off += 4)
		rig_put(VIRTIO_MMIO_CONFIG + off, 0x5a5a5a5a);
	rig_put(VIRTIO_MMIO_DRIVER_FEATURES, 0);
	rig_put(VIRTIO_MMIO_QUEUE_NUM, 2);
	rig_put(VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
	rig_put(VIRTIO_MMIO_QUEUE_READY, 1);
	rig_put(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "registers written");
	cr_assert(zero(uint, rig_messages()),
		  "the process does not hear of it");
	cr_assert(eq(u64, rig.dev.acked, acked));
	cr_assert(eq(u32, rig.dev.queues[0].size, rig.type->queue_size));
	rig_resume();
	rig.subject->begin(rig.subject->depth);
	rig_finish_io();
}

DEVICE_TEST(suspended_a_ring_that_was_given_up_does_not_come_back)
{
	rig_suspend();
	rig_put(VIRTIO_MMIO_QUEUE_SEL, 0);
	rig_put(VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_QUEUE_READY)));
	rig_put(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_QUEUE_READY)));
	rig.subject->begin(1);
	snapshot_take(&before);
	rig_round_trip();
	cr_assert(eq(u32, rig_put_status(rig_resume_value()), RIG_LIVE));
	rig_until_idle();
	rig_kick(0);
	rig_round_trip();
	cr_assert(not(rig.dev.fe.rings[0].started));
	cr_assert(zero(
		int, memcmp(before.ram + (rig.ring[0].used_gpa - GUEST_RAM_GPA),
			    rig.ring[0].used, 4)));
	rig_reset();
}

DEVICE_TEST(suspended_interrupt_status_can_be_acknowledged)
{
	rig.subject->begin(1);
	while (!rig_get(VIRTIO_MMIO_INTERRUPT_STATUS))
		rig_turn();
	rig_suspend();
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_VRING));
	rig_ack(VIRTIO_MMIO_INT_VRING);
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS)));
	rig_round_trip();
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS)));
	rig_resume();
	rig_finish_io();
}

/* ----------------------------------------------------------- config space */

/*
 * A change by the driver's command, if there is one, until its process has told
 * of it. A round trip on the vhost-user socket does not wait for that: the kick
 * goes another way.
 */
static void change_held(void)
{
	unsigned int n = rig.subject->change != NULL;

	rig.hold_config = true;
	if (n)
		rig.subject->change();
	while (rig.config_held < n)
		rig_turn();
	rig_round_trip();
	cr_assert(eq(uint, rig.config_held, n));
}

/* Types whose config space never changes are told of changes that are none. */
DEVICE_TEST(a_config_change_is_told_once_on_resume)
{
	uint32_t generation, isr;
	bool real = rig.subject->change != NULL;

	rig_finish_io();
	change_held();
	rig_suspend();
	generation = rig_get(VIRTIO_MMIO_CONFIG_GENERATION);
	snapshot_take(&before);
	/* Told once too often. */
	virtio_mmio_config_changed(&rig.dev);
	virtio_mmio_config_changed(&rig.dev);
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "config space has changed");
	cr_assert(eq(u32, rig_put_status(rig_resume_value()), RIG_LIVE));
	rig_until_idle();
	isr = rig_get(VIRTIO_MMIO_INTERRUPT_STATUS);
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_CONFIG_GENERATION),
		     generation + real));
	cr_assert(eq(u32, isr & VIRTIO_MMIO_INT_CONFIG,
		     real ? VIRTIO_MMIO_INT_CONFIG : 0));
	if (real) {
		cr_assert(gt(u64, rig_irqs(), before.irqs));
		cr_assert(rig.subject->changed());
	}
	/* And no second time. */
	rig_ack(isr);
	rig_suspend();
	rig_resume();
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS) &
				    VIRTIO_MMIO_INT_CONFIG));
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_CONFIG_GENERATION),
		     generation + real));
}

DEVICE_TEST(a_config_change_is_dropped_by_a_reset)
{
	rig_finish_io();
	change_held();
	rig_suspend();
	virtio_mmio_config_changed(&rig.dev);
	rig_reset();
	rig_round_trip();
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS)));
	rig.hold_config = false;
	rig_live();
	rig.subject->begin(rig.subject->depth);
	rig_finish_io();
}

DEVICE_TEST_WITH(config_space_shows_a_change_before_its_command_is_used, change)
{
	for (unsigned int i = 0; i < 20; i++) {
		rig.subject->change();
		cr_assert(rig.subject->changed());
		rig_ack(rig_get(VIRTIO_MMIO_INTERRUPT_STATUS));
	}
	rig.subject->begin(rig.subject->depth);
	rig_finish_io();
}

static int nr_moved;

static void moved(struct virtio_mmio *dev, int r)
{
	cr_assert(zero(int, r));
	nr_moved++;
}

/* What is told while the VMM has stopped it waits, and nothing waits for it. */
DEVICE_TEST_WITH(a_command_waits_for_config_space_over_a_stop, change)
{
	rig_finish_io();
	change_held();
	virtio_mmio_quiesce(&rig.dev, moved);
	while (nr_moved < 1)
		rig_turn();
	virtio_mmio_config_changed(&rig.dev);
	rig_round_trip();
	cr_assert(not(rig.subject->changed()));
	cr_assert(eq(uint, rig.subject->collect(), 1), "used already");
	rig.hold_config = false;
	virtio_mmio_restart(&rig.dev, moved);
	while (nr_moved < 2)
		rig_turn();
	rig_finish_io();
	cr_assert(rig.subject->changed());
	cr_assert(eq(uint, rig.config_held, 1), "told again");
}

/* Only an armed process looks, and tells the VMM at once. */
DEVICE_TEST_WITH(a_back_end_that_vanishes_is_told_once_on_resume, vanish)
{
	uint32_t generation;

	rig_finish_io();
	rig_suspend();
	rig_arm(true);
	generation = rig_get(VIRTIO_MMIO_CONFIG_GENERATION);
	snapshot_take(&before);
	rig.subject->vanish();
	rig_round_trip();
	cr_assert(rig.dev.config_refresh_wanted, "the VMM was told");
	snapshot_take(&after);
	snapshot_same(&before, &after, "vanished");
	cr_assert(eq(u32, rig_put_status(rig_resume_value()), RIG_LIVE));
	rig_until_idle();
	rig_round_trip();
	cr_assert(rig.subject->vanished());
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_CONFIG_GENERATION),
		     generation + 1));
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(gt(u64, rig_irqs(), before.irqs));
}

/* -------------------------------------------------------------- state kept */

/* It is in flight over the suspension, which its ring knows. */
DEVICE_TEST_WITH(a_request_that_waits_for_the_host_waits_on, hold)
{
	unsigned int q = rig.type->nr_queues - 1;

	rig_finish_io();
	rig.subject->hold();
	rig_round_trip();
	suspend_into(&before);
	cr_assert(eq(u16, rig.dev.fe.rings[q].base,
		     (uint16_t)(rig.ring[q].used->idx + 1)));
	rig.subject->release();
	rig_round_trip();
	snapshot_take(&after);
	snapshot_same(&before, &after, "what it waits for has come");
	cr_assert(eq(uint, rig.subject->collect(), 1));
	rig_resume();
	rig_finish_io();
	rig.subject->begin(rig.subject->depth);
	rig_finish_io();
}

DEVICE_TEST(no_handshake_again)
{
	unsigned int n = rig.type->nr_queues;

	rig_messages_clear();
	for (unsigned int i = 0; i < 5; i++) {
		rig_suspend();
		rig_resume();
	}
	/* Of a ring: stop, size, base, addresses, three fds, enable. */
	cr_assert(eq(uint, rig_messages(), 5 * (8 * n + 2)));
	cr_assert(eq(uint, rig.sent[VHOST_USER_GET_VRING_BASE], 5 * n));
	cr_assert(eq(uint, rig.sent[VHOST_USER_SET_VRING_KICK], 5 * n));
	cr_assert(eq(uint, rig.sent[VHOST_USER_SET_FEATURES], 5));
	/* The barrier behind the last ring's message. */
	cr_assert(eq(uint, rig.sent[VHOST_USER_GET_FEATURES], 5));
}
