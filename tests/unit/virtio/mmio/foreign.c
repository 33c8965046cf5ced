/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio/mmio/mmio.h on a back end that is not a process of ours. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/mmio_rig.h"

#define OURS   (1ULL << 5)
#define HIDDEN (1ULL << 17)

static struct virtio_mmio_foreign offer = {
	.fe = { .config_from = FRONTEND_CONFIG_OURS },
	.features_hidden = HIDDEN,
	.features_ours = OURS,
	.min_queues = 2,
};
static uint8_t config[CONFIG_SIZE] = { 0x42 };

static void setup_foreign(void)
{
	mr_setup();
	mr.fb.queue_num = 2;
	mr.fb.features |= HIDDEN;
	offer.config = config;
	mr.foreign = &offer;
}

static void setup_foreign_ready(void)
{
	setup_foreign();
	mr_begin();
	cr_assert(eq(int, mr.ready, 0));
}

TestSuite(mmio_foreign, .init = setup_foreign_ready, .fini = mr_teardown,
	  .timeout = 120);
TestSuite(mmio_foreign_raw, .init = setup_foreign, .fini = mr_teardown,
	  .timeout = 120);

static void forget_interrupts(void)
{
	mr_put(VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
	(void)fd_event_drain(mr.dev.irq_fd);
}

static bool interrupted(void)
{
	bool bit = mr_get(VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_VRING;
	bool signalled = fd_event_drain(mr.dev.irq_fd) > 0;

	cr_assert(eq(int, bit, signalled));
	return bit;
}

/* ------------------------------------------------------------------ offer */

Test(mmio_foreign, what_the_vmm_adds_is_offered_and_kept_from_the_back_end)
{
	cr_assert(eq(u64, mr.dev.offered & OURS, OURS));
	cr_assert(zero(u64, mr.dev.offered & HIDDEN));
	cr_assert(eq(u8, mr.page.bytes[0x100], 0x42));
	mr_negotiate(VERSION_1 | OURS);
	cr_assert(eq(u32, mr_make_ready(0), 1));
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(eq(u64, mr.fb.acked,
		     VERSION_1 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES));
}

Test(mmio_foreign, what_the_back_end_has_hidden_is_refused)
{
	mr_negotiate(VERSION_1 | HIDDEN);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER));
}

Test(mmio_foreign, its_config_space_stays_as_it_is)
{
	mr_go_live();
	mr_put_len(0x100, 1, 1);
	cr_assert(eq(u8, mr.page.bytes[0x100], 0x42));
	cr_assert(zero(uint, mr_count(VHOST_USER_SET_CONFIG)));
}

Test(mmio_foreign_raw, with_config_space_of_theirs_features_are_theirs_too)
{
	offer.fe.config_from = FRONTEND_CONFIG_THEIRS;
	mr_begin();
	cr_assert(eq(int, mr.ready, 0));
	cr_assert(zero(u64, mr.dev.offered & OURS));
	cr_assert(eq(u8, mr.page.bytes[0x100], 0x80));
}

static const char *refused(void)
{
	mr_begin();
	cr_assert(eq(int, mr.ready, -EPROTONOSUPPORT));
	cr_assert(ne(ptr, (void *)(uintptr_t)mr.dev.refused, NULL));
	return mr.dev.refused;
}

Test(mmio_foreign_raw, too_few_queues_are_told)
{
	mr.fb.queue_num = 1;
	cr_assert(ne(ptr, strstr(refused(), "too few queues"), NULL));
}

Test(mmio_foreign_raw, an_old_virtio_is_told)
{
	mr.fb.features &= ~VERSION_1;
	cr_assert(ne(ptr, strstr(refused(), "virtio 1"), NULL));
}

Test(mmio_foreign_raw, a_missing_config_space_is_told)
{
	offer.fe.config_from = FRONTEND_CONFIG_THEIRS;
	mr.fb.protocol = 0;
	mr_begin();
	cr_assert(eq(int, mr.ready, -ENODATA));
	cr_assert(ne(ptr, strstr(mr.dev.refused, "no config space"), NULL));
}

/* ------------------------------------------------------------- interrupts */

Test(mmio_foreign, its_call_becomes_an_interrupt)
{
	mr_go_live();
	forget_interrupts();
	cr_assert(ne(int, mr.dev.fe.rings[0].call_fd, mr.dev.irq_fd));
	for (int i = 0; i < 3; i++) {
		fd_event_signal(mr.dev.call_fd);
		mr_turn();
		cr_assert(interrupted());
		forget_interrupts();
		mr_turn();
		cr_assert(not(interrupted()));
	}
}

Test(mmio_raw_own, a_process_of_ours_signals_the_irqfd_itself, .init = mr_setup,
     .fini = mr_teardown, .timeout = 120)
{
	mr_begin();
	cr_assert(eq(int, mr.dev.fe.rings[0].call_fd, mr.dev.used_irq_fd));
	cr_assert(ne(int, mr.dev.used_irq_fd, mr.dev.irq_fd));
	cr_assert(eq(int, mr.dev.call_fd, -1));
}

Test(mmio_foreign, a_call_before_the_stop_is_told_before_the_stop_is)
{
	mr_go_live();
	forget_interrupts();
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	mr.moved = 1;
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	while (!atomic_load(&mr.fb.waiting))
		(void)usleep(1000);
	fd_event_signal(mr.dev.call_fd);
	fake_go_on(&mr.fb);
	while (mr.moved == 1)
		mr_turn();
	cr_assert(interrupted());
}

Test(mmio_foreign, a_stopped_one_does_not_interrupt)
{
	mr_go_live();
	cr_assert(eq(int, mr_quiesce(), 0));
	forget_interrupts();
	fd_event_signal(mr.dev.call_fd);
	mr_turn();
	cr_assert(not(interrupted()));
	cr_assert(eq(int, mr_restart(), 0));
	cr_assert(interrupted(), "for all that was used meanwhile");
}

/* -------------------------------------------------------- held and dead */

static void set_used(uint16_t idx)
{
	void *p;

	cr_assert(eq(int, gmem_span(&mr.gm, 0x1000 + 0x800 + 2, 2, &p), 0));
	__atomic_store_n((uint16_t *)p, idx, __ATOMIC_RELEASE);
}

Test(mmio_foreign, goes_on_where_its_ring_is_not_where_it_says)
{
	mr_go_live();
	set_used(37);
	cr_assert(eq(int, mr_quiesce(), 0));
	cr_assert(eq(int, mr_restart(), 0));
	cr_assert(eq(u16, mr.fb.set_base[0], 37));
}

Test(mmio_foreign, a_reset_is_not_over_while_requests_are_held)
{
	static struct vcpu_write w;

	mr_go_live();
	set_used(3);
	mr.fb.bases[0] = 5;
	mr_write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (!mr.dev.fe.draining)
		mr_turn();
	mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE));
	set_used(5);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_status(), 0));
}

/* It may live on with the guest's memory: no reset is ever acknowledged. */
Test(mmio_foreign, a_lost_one_is_lost)
{
	mr_go_live();
	(void)shutdown(mr.fb.fd, SHUT_RDWR);
	while (!mr.failures)
		mr_turn();
	virtio_mmio_fenced(&mr.dev, false);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_put(VIRTIO_MMIO_QUEUE_SEL, 0);
	mr_put(VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 1));
}
