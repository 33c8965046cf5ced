/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/suspend_rig.h"

enum dialect mr_dialect;

uint64_t mr_feature(void)
{
	static const uint64_t bits[] = { BIT_V14, BIT_DRAFT, 0 };

	return bits[mr_dialect];
}

uint32_t mr_suspended(void)
{
	return mr_dialect == V14 ? (LIVE & ~DRIVER_OK) | SUSPEND
				 : LIVE | SUSPEND;
}

uint32_t mr_resume_value(void)
{
	return mr_dialect == V14 ? LIVE | SUSPEND : LIVE;
}

void mr_live_with(uint64_t features)
{
	mr_negotiate(VERSION_1 | features);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER | FEATURES_OK));
	cr_assert(eq(u32, mr_make_ready(0), 1));
	cr_assert(eq(u32, mr_make_ready(1), 1));
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE));
}

void mr_suspend(void)
{
	mr_put_status(LIVE | SUSPEND);
	while (mr_status() != mr_suspended())
		mr_turn();
}

void mr_resume(void)
{
	mr_put_status(mr_resume_value());
	cr_assert(eq(u32, mr_status(), LIVE), "at once");
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(mr.dev.fe.rings[0].started && mr.dev.fe.rings[1].started);
}

void mr_quiescing(void)
{
	mr_live_with(mr_feature());
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	mr_put_status(LIVE | SUSPEND);
	cr_assert(eq(u32, mr_status(), LIVE));
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	cr_assert(eq(int, mr.dev.op, VIRTIO_OP_SUSPEND));
}

void mr_starting(void)
{
	mr_live_with(mr_feature());
	mr_suspend();
	fake_misbehave(&mr.fb, VHOST_USER_SET_VRING_NUM, FAKE_WAITS);
	mr_put_status(mr_resume_value());
	cr_assert(eq(u32, mr_status(), LIVE));
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	cr_assert(eq(int, mr.dev.op, VIRTIO_OP_RESUME));
}

void mr_reset_works(void)
{
	uint64_t before = mr.dev.resets;

	(void)mr_irq_raised();
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS), 0));
	cr_assert(eq(u64, mr.dev.resets, before + 1));
	for (uint32_t q = 0; q < NR_QUEUES; q++) {
		mr_put(VIRTIO_MMIO_QUEUE_SEL, q);
		cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0));
	}
	cr_assert(not(mr_irq_raised()), "a reset replays nothing");
	mr_live_with(mr_feature());
	mr_suspend();
	mr_resume();
}
