/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio/mmio/mmio.h: what the page shows after what the driver writes. */
#include <errno.h>
#include <string.h>

#include "tests/lib/mmio_rig.h"

TestSuite(mmio, .init = mr_setup_ready, .fini = mr_teardown, .timeout = 120);
TestSuite(mmio_raw, .init = mr_setup, .fini = mr_teardown, .timeout = 120);

/* ------------------------------------------------------ handshake, page */

Test(mmio, page_identifies_the_device)
{
	cr_assert(eq(u32, mr_get(0x000), 0x74726976));
	cr_assert(eq(u32, mr_get(0x004), 2));
	cr_assert(eq(u32, mr_get(0x008), 2));
	cr_assert(eq(u32, mr_status(), 0));
	cr_assert(eq(u32, mr_get(0x0b0), UINT32_MAX), "no shared memory");
	cr_assert(eq(u32, mr_get(0x0b4), UINT32_MAX));
	cr_assert(eq(u32, mr_get(0x0b8), UINT32_MAX));
	cr_assert(eq(u32, mr_get(0x0bc), UINT32_MAX));
	cr_assert(eq(u32, mr_get(0x0c0), 0), "no ring reset");
	cr_assert(zero(
		int, memcmp(mr.page.bytes + 0x100, mr.fb.config, CONFIG_SIZE)));
	cr_assert(eq(u32, mr_get(0x100 + CONFIG_SIZE), 0));
}

Test(mmio, device_features_by_word_and_zero_beyond)
{
	cr_assert(eq(u32, mr_get(0x010), (uint32_t)INDIRECT),
		  "bit 30 is not the driver's");
	mr_put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert(eq(u32, mr_get(0x010), 1));
	mr_put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	cr_assert(eq(u32, mr_get(0x010), 0));
	mr_put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	cr_assert(eq(u32, mr_get(0x010), 0));
}

Test(mmio_raw, features_this_transport_lacks_are_not_offered)
{
	mr.fb.features = UINT64_MAX;
	mr_begin();
	cr_assert(eq(int, mr.ready, 0));
	for (unsigned int bit = 0; bit < 64; bit++) {
		bool hidden = bit == 24 || bit == 26 || bit == 30 ||
			      bit == 33 || bit == 34 ||
			      (bit >= 37 && bit <= 43);

		cr_assert(eq(u64, mr.dev.offered >> bit & 1, !hidden), "%u",
			  bit);
	}
}

Test(mmio_raw, a_back_end_without_version_1_is_refused)
{
	mr.fb.features &= ~VERSION_1;
	mr_begin();
	cr_assert(eq(int, mr.ready, -EPROTONOSUPPORT));
}

Test(mmio_raw, a_back_end_that_dies_in_the_handshake)
{
	fake_misbehave(&mr.fb, VHOST_USER_SET_MEM_TABLE, FAKE_CLOSES);
	mr_begin();
	cr_assert(eq(int, mr.ready, -EIO));
	cr_assert(virtio_mmio_is_dead(&mr.dev));
	cr_assert(eq(u32, mr.failures, 1));
	/* A driver finds a device that can only be refused. */
	mr_put_status(LIVE);
	cr_assert(zero(u32, mr_status() & DRIVER_OK));
}

Test(mmio, queue_beyond_the_last_reads_zero_and_ignores_writes)
{
	cr_assert(eq(u32, mr_get(0x034), QUEUE_SIZE));
	mr_put(VIRTIO_MMIO_QUEUE_SEL, 1);
	cr_assert(eq(u32, mr_get(0x034), QUEUE_SIZE));
	mr_put(VIRTIO_MMIO_QUEUE_SEL, NR_QUEUES);
	cr_assert(eq(u32, mr_get(0x034), 0));
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_make_ready(NR_QUEUES), 0));
	cr_assert(eq(u32, mr_make_ready(UINT32_MAX), 0));
}

/* ------------------------------------------------------------- features */

Test(mmio, features_ok_only_for_what_is_offered)
{
	mr_negotiate(VERSION_1 | INDIRECT);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER | FEATURES_OK));
	mr_put_status(0);
	mr_negotiate(VERSION_1 | 1ULL << 5);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER), "not offered");
	mr_put_status(0);
	mr_negotiate(INDIRECT);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER), "VERSION_1 missing");
	mr_put_status(0);
	mr_negotiate(VERSION_1 | 1ULL << 30);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER), "ours");
	mr_put_status(0);
	mr_put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	mr_put(VIRTIO_MMIO_DRIVER_FEATURES, 1);
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER), "beyond 63");
	mr_put_status(0);
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER | FEATURES_OK));
}

Test(mmio, features_after_features_ok_are_ignored)
{
	mr_negotiate(VERSION_1);
	mr_accept_features(VERSION_1 | INDIRECT | 1ULL << 5);
	cr_assert(eq(u64, mr.dev.acked, VERSION_1));
	mr_put_status(LIVE);
	cr_assert(eq(u64, mr.fb.acked,
		     VERSION_1 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES));
}

Test(mmio, features_ok_needs_driver)
{
	mr_accept_features(VERSION_1);
	mr_put_status(ACK | FEATURES_OK);
	cr_assert(eq(u32, mr_status(), ACK));
}

Test(mmio, driver_ok_needs_features_ok)
{
	mr_put_status(ACK | DRIVER | DRIVER_OK);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER));
	cr_assert(eq(u32, mr.lives, 0));
}

Test(mmio, failed_never_goes_live)
{
	mr_negotiate(VERSION_1);
	mr_put_status(ACK | DRIVER | FEATURES_OK | FAILED);
	mr_put_status(LIVE | FAILED);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER | FEATURES_OK | FAILED));
}

Test(mmio, status_is_cumulative_and_foreign_bits_are_ignored)
{
	mr_go_live();
	mr_put_status(ACK);
	cr_assert(eq(u32, mr_status(), LIVE));
	mr_put_status(LIVE | 0x20 | 0x40 | 0xffffff00);
	cr_assert(eq(u32, mr_status(), LIVE));
	mr_put_status(LIVE | 0x10);
	cr_assert(eq(u32, mr_status(), LIVE), "suspend was not negotiated");
}

/* ---------------------------------------------------------------- queues */

static const struct {
	const char *what;
	uint32_t size;
	uint64_t desc, driver, device;
} refused[] = {
	{ "size 0", 0, 0x1000, 0x2000, 0x3000 },
	{ "size 3", 3, 0x1000, 0x2000, 0x3000 },
	{ "size above the maximum", 128, 0x1000, 0x2000, 0x3000 },
	{ "size that truncates well", 65536 + 8, 0x1000, 0x2000, 0x3000 },
	{ "size 2^31", 1U << 31, 0x1000, 0x2000, 0x3000 },
	{ "desc unaligned", 16, 0x1008, 0x2000, 0x3000 },
	{ "driver unaligned", 16, 0x1000, 0x2001, 0x3000 },
	{ "device unaligned", 16, 0x1000, 0x2000, 0x3002 },
	{ "desc outside RAM", 16, RAM_SIZE, 0x2000, 0x3000 },
	{ "desc across the end", 16, RAM_SIZE - 16, 0x2000, 0x3000 },
	{ "driver across the end", 16, 0x1000, RAM_SIZE - 2, 0x3000 },
	{ "device across the end", 16, 0x1000, 0x2000, RAM_SIZE - 4 },
	{ "desc wraps", 16, UINT64_MAX - 15, 0x2000, 0x3000 },
	{ "device wraps", 16, 0x1000, 0x2000, UINT64_MAX - 3 },
};

Test(mmio, a_bad_queue_is_not_made_ready)
{
	mr_negotiate(VERSION_1);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		mr_describe(0, refused[i].size, refused[i].desc,
			    refused[i].driver, refused[i].device);
		mr_put(VIRTIO_MMIO_QUEUE_READY, 1);
		cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0), "%s",
			  refused[i].what);
	}
	cr_assert(eq(u32, mr_make_ready(0), 1));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_DESC_LOW), 0), "write-only");
}

Test(mmio, overlapping_rings_are_the_drivers_business)
{
	mr_negotiate(VERSION_1);
	mr_describe(0, 16, 0x1000, 0x1000, 0x1000);
	mr_put(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 1));
}

Test(mmio, a_ready_queue_keeps_its_description)
{
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_make_ready(0), 1));
	mr_describe(0, 8, 0x7000, 0x8000, 0x9000);
	cr_assert(eq(u64, mr.dev.queues[0].desc_gpa, 0x1000));
	cr_assert(eq(u32, mr.dev.queues[0].size, 16));
	mr_put(VIRTIO_MMIO_QUEUE_READY, 2);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 1));
	mr_put(VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0));
	mr_put(VIRTIO_MMIO_QUEUE_READY, 2);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0));
}

Test(mmio, ready_is_for_between_features_ok_and_driver_ok)
{
	cr_assert(eq(u32, mr_make_ready(0), 0), "before FEATURES_OK");
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_make_ready(0), 1));
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_make_ready(1), 0), "after DRIVER_OK");
}

Test(mmio, only_ready_queues_are_started)
{
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_make_ready(1), 1));
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr.lives, 1));
	cr_assert(eq(u32, mr_count(VHOST_USER_SET_VRING_KICK), 1));
	cr_assert(not(mr.dev.fe.rings[0].started));
	cr_assert(mr.dev.fe.rings[1].started);
}

Test(mmio, queue_ready_0_waits_until_the_ring_has_stopped)
{
	static struct vcpu_write w;

	mr_go_live();
	mr_put(VIRTIO_MMIO_QUEUE_SEL, 0);
	fake_misbehave(&mr.fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	mr_write_begin(&w, VIRTIO_MMIO_QUEUE_READY, 0, 4);
	while (!atomic_load(&mr.fb.waiting))
		mr_turn();
	cr_assert(not(atomic_load(&w.done)));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 1));
	fake_go_on(&mr.fb);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0));
	cr_assert(mr.dev.fe.rings[1].started);
	cr_assert(eq(u32, mr_status(), LIVE));
}

Test(mmio, queue_ready_0_of_a_dead_device_waits_for_the_fence)
{
	static struct vcpu_write w;

	mr_go_live();
	mr_put(VIRTIO_MMIO_QUEUE_SEL, 0);
	virtio_mmio_died(&mr.dev, "test");
	mr_write_begin(&w, VIRTIO_MMIO_QUEUE_READY, 0, 4);
	while (mr.dev.op != VIRTIO_OP_RING)
		mr_turn();
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 1));
	virtio_mmio_fenced(&mr.dev, true);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_QUEUE_READY), 0));
}

/* -------------------------------------------------------------- accesses */

Test(mmio, accesses_that_no_driver_makes_are_ignored)
{
	mr_negotiate(VERSION_1);
	mr_put_len(VIRTIO_MMIO_STATUS, 0, 1);
	mr_put_len(VIRTIO_MMIO_STATUS, 0, 2);
	mr_put_len(VIRTIO_MMIO_STATUS, 0, 8);
	mr_put_len(VIRTIO_MMIO_STATUS + 2, 0, 4);
	mr_put_len(0xfc, 0, 8);
	cr_assert(eq(u32, mr_status(), ACK | DRIVER | FEATURES_OK));
	/* Read-only, unknown, legacy and the last ones of the page. */
	for (uint32_t offset = 0; offset < 0x30; offset += 4) {
		if (offset != 0x14 && offset != 0x20 && offset != 0x24)
			mr_put(offset, UINT32_MAX);
	}
	mr_put(0x34, UINT32_MAX);
	mr_put(0x3c, UINT32_MAX);
	mr_put(0x40, UINT32_MAX);
	mr_put(0x60, UINT32_MAX);
	mr_put(0xc0, 1);
	mr_put(0xfc, UINT32_MAX);
	mr_put(0xffc, UINT32_MAX);
	mr_put_len(0xfff, 0xff, 1);
	cr_assert(eq(u32, mr_get(0x000), 0x74726976));
	cr_assert(eq(u32, mr_get(0x034), QUEUE_SIZE));
	cr_assert(eq(u32, mr_get(0x060), 0));
	cr_assert(eq(u32, mr_get(0x0c0), 0));
	cr_assert(eq(u32, mr_get(0xffc), 0));
}

Test(mmio, interrupt_ack_clears_only_what_is_set)
{
	mr_go_live();
	regpage_raise(&mr.page, VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
	mr_put(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING | 0xfffffff0);
	cr_assert(eq(u32, mr_get(0x060), VIRTIO_MMIO_INT_CONFIG));
	mr_put(VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
	cr_assert(eq(u32, mr_get(0x060), 0));
	mr_put(VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
	cr_assert(eq(u32, mr_get(0x060), 0));
}

Test(mmio, kicks_of_nothing_are_ignored)
{
	mr_put(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	mr_go_live();
	mr_put(VIRTIO_MMIO_QUEUE_NOTIFY, NR_QUEUES);
	mr_put(VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	cr_assert(eq(u32, mr_status(), LIVE));
}

Test(mmio, config_writes_take_effect_before_they_return)
{
	uint32_t gen = mr_get(0x0fc);

	mr_put_len(0x101, 0x5a, 1);
	cr_assert(eq(u8, mr.page.bytes[0x101], 0x5a));
	cr_assert(ne(u32, mr_get(0x0fc), gen));
	cr_assert(eq(u32, mr.holds, mr.releases));
	mr_put_len(0x102, 0x1234, 2);
	cr_assert(eq(u8, mr.page.bytes[0x103], 0x12));
	gen = mr_get(0x0fc);
	mr_put_len(0x103, 1, 2);
	mr_put_len(0x100 + CONFIG_SIZE - 4, 1, 8);
	mr_put_len(0x100 + CONFIG_SIZE, 1, 4);
	mr_put_len(0x100 + CONFIG_SIZE - 2, 1, 4);
	cr_assert(eq(u32, mr_get(0x0fc), gen));
	cr_assert(eq(u32, mr_count(VHOST_USER_SET_CONFIG), 2));
}

Test(mmio, a_config_change_is_published_with_no_vcpu_running)
{
	unsigned int before = mr.holds;
	uint32_t gen = mr_get(0x0fc);

	mr_go_live();
	mr.fb.config[0] = 1;
	virtio_mmio_config_changed(&mr.dev);
	while (mr_get(0x0fc) == gen)
		mr_turn();
	cr_assert(eq(u8, mr.page.bytes[0x100], 1));
	cr_assert(eq(u32, mr.holds, before + 1));
	cr_assert(not(mr.held));
	cr_assert(eq(u32, mr_get(0x060), VIRTIO_MMIO_INT_CONFIG));
	cr_assert(eq(u64, fd_event_drain(mr.dev.irq_fd), 1));
}
