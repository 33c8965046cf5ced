/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process of a suspended device dies: another takes its place, or the
 * device needs a reset, in the dialect of virtio 1.4.
 */
#include "tests/lib/mmio_test.h"

#define SUSPENDED 0x1bU
#define TO_RESUME 0x1fU

static struct fake_backend second; /* the process that takes its place */
static unsigned int respawns;
static int respawn_result;

static int op_respawn(struct virtio_mmio *d)
{
	int r;

	respawns++;
	if (respawn_result < 0)
		return respawn_result;
	fake_stop(&second);
	second.protocol = UINT64_MAX;
	fake_start(&second);
	r = virtio_mmio_respawn(d, second.peer);
	cr_assert(eq(int, r, 0));
	return r;
}

static void setup_respawn(void)
{
	ops.respawn = op_respawn;
	setup_suspend();
	second.fd = -1;
	second.features = fb.features;
	memcpy(second.config, fb.config, sizeof(fb.config));
}

static void teardown_respawn(void)
{
	teardown();
	fake_stop(&second);
}

TestSuite(mmio_respawn, .init = setup_respawn, .fini = teardown_respawn,
	  .timeout = 120);

static void suspend(void)
{
	put_status(LIVE | 0x10);
	while (status() != SUSPENDED)
		turn();
}

static void live_and_suspended(void)
{
	negotiate(VERSION_1 | VIRTIO_MMIO_SUSPEND_V14);
	(void)make_ready(0);
	(void)make_ready(1);
	put_status(LIVE);
	fb.bases[0] = 7;
	fb.bases[1] = 65535;
	suspend();
}

static void dies(struct fake_backend *process)
{
	unsigned int before = failures;

	(void)shutdown(process->fd, SHUT_RDWR);
	while (failures == before)
		turn();
	cr_assert(virtio_mmio_is_dead(&dev));
}

static void resumes(void)
{
	put_status(TO_RESUME);
	cr_assert(eq(u32, status(), LIVE));
	until_idle();
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(dev.fe.rings[0].started && dev.fe.rings[1].started);
}

Test(mmio_respawn, another_takes_its_place)
{
	live_and_suspended();
	dies(&fb);
	cr_assert(eq(u32, status(), SUSPENDED));
	cr_assert(eq(u32, respawns, 0), "not before the fence");
	virtio_mmio_fenced(&dev, true);
	until_idle();
	cr_assert(eq(u32, respawns, 1));
	cr_assert(eq(u32, status(), SUSPENDED));
	cr_assert(not(virtio_mmio_is_dead(&dev)));
	cr_assert(not(irq_raised()));
	resumes();
	cr_assert(eq(u32, second.set_base[0], 7));
	cr_assert(eq(u32, second.set_base[1], 65535));
	cr_assert(not(irq_raised()));
	cr_assert(eq(u64, dev.resets, 0));
	/* And lives as the first did. */
	suspend();
	resumes();
	put_status(0);
	cr_assert(eq(u32, status(), 0));
}

Test(mmio_respawn, the_driver_resumes_before_it_is_there)
{
	live_and_suspended();
	dies(&fb);
	put_status(TO_RESUME);
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(not(dev.fe.rings[0].started));
	virtio_mmio_fenced(&dev, true);
	until_idle();
	cr_assert(eq(u32, status(), LIVE));
	cr_assert(dev.fe.rings[0].started);
	cr_assert(eq(u32, second.set_base[0], 7));
}

Test(mmio_respawn, the_driver_resets_before_it_is_there)
{
	static struct vcpu_write w;

	live_and_suspended();
	dies(&fb);
	write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (dev.op != VIRTIO_OP_RESET)
		turn();
	cr_assert(eq(u32, status(), SUSPENDED), "not before the fence");
	virtio_mmio_fenced(&dev, true);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
	until_idle();
	go_live();
	cr_assert(dev.fe.rings[0].started);
	cr_assert(eq(u32, second.set_base[0], 0));
}

Test(mmio_respawn, a_pause_meanwhile_stays_one)
{
	live_and_suspended();
	dies(&fb);
	put_status(TO_RESUME);
	virtio_mmio_quiesce(&dev, NULL);
	virtio_mmio_fenced(&dev, true);
	until_idle();
	cr_assert(not(dev.fe.rings[0].started));
	virtio_mmio_restart(&dev, NULL);
	until_idle();
	cr_assert(dev.fe.rings[0].started);
}

Test(mmio_respawn, its_other_config_is_told_on_resume)
{
	live_and_suspended();
	second.config[0] = 1;
	dies(&fb);
	virtio_mmio_fenced(&dev, true);
	until_idle();
	cr_assert(eq(u8, page.bytes[0x100], 0x80));
	resumes();
	cr_assert(eq(u8, page.bytes[0x100], 1));
	cr_assert(eq(u32, get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(irq_raised());
}

/* What is said of a device that cannot be had back. */
static void is_silent_and_needs_reset(void)
{
	until_idle();
	cr_assert(eq(u32, status(), SUSPENDED | NEEDS_RESET));
	cr_assert(not(irq_raised()));
	put_status(TO_RESUME);
	cr_assert(eq(u32, status(), SUSPENDED | NEEDS_RESET));
}

Test(mmio_respawn, one_that_dies_again_is_not_replaced)
{
	live_and_suspended();
	dies(&fb);
	virtio_mmio_fenced(&dev, true);
	until_idle();
	dies(&second);
	virtio_mmio_fenced(&dev, true);
	cr_assert(eq(u32, respawns, 1));
	is_silent_and_needs_reset();
	put_status(0);
	cr_assert(eq(u32, status(), 0));
}

/* Its pidfd tells before its socket does. */
Test(mmio_respawn, one_that_dies_in_the_handshake_is_not_replaced)
{
	live_and_suspended();
	dies(&fb);
	fake_misbehave(&second, VHOST_USER_GET_FEATURES, FAKE_WAITS);
	virtio_mmio_fenced(&dev, true);
	while (!atomic_load(&second.waiting))
		turn();
	virtio_mmio_died(&dev, "died");
	virtio_mmio_fenced(&dev, true);
	cr_assert(eq(u32, respawns, 1));
	fake_misbehave(&second, 0, FAKE_GOOD);
	(void)shutdown(second.fd, SHUT_RDWR);
	fake_go_on(&second);
	is_silent_and_needs_reset();
	put_status(0);
	cr_assert(eq(u32, status(), 0));
}

Test(mmio_respawn, one_that_was_of_use_is)
{
	live_and_suspended();
	dies(&fb);
	virtio_mmio_fenced(&dev, true);
	until_idle();
	resumes();
	suspend();
	dies(&second);
	virtio_mmio_fenced(&dev, true);
	until_idle();
	cr_assert(eq(u32, respawns, 2));
	resumes();
}

Test(mmio_respawn, not_while_the_dead_one_has_something_in_flight)
{
	live_and_suspended();
	dies(&fb);
	virtio_mmio_fenced(&dev, false);
	cr_assert(eq(u32, respawns, 0));
	is_silent_and_needs_reset();
}

Test(mmio_respawn, none_can_be_made)
{
	respawn_result = -ENOENT;
	live_and_suspended();
	dies(&fb);
	virtio_mmio_fenced(&dev, true);
	is_silent_and_needs_reset();
}

Test(mmio_respawn, it_is_another_device)
{
	live_and_suspended();
	second.features = INDIRECT | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES;
	dies(&fb);
	virtio_mmio_fenced(&dev, true);
	is_silent_and_needs_reset();
}

Test(mmio_respawn, it_dies_in_the_handshake_of_a_live_device)
{
	live_and_suspended();
	dies(&fb);
	put_status(TO_RESUME);
	fake_misbehave(&second, VHOST_USER_GET_FEATURES, FAKE_CLOSES);
	virtio_mmio_fenced(&dev, true);
	while (failures == 1)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(irq_raised());
}

Test(mmio_respawn, a_live_device_is_not_replaced)
{
	live_and_suspended();
	resumes();
	dies(&fb);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	die_and_recover();
	cr_assert(eq(u32, respawns, 0));
}

/* As fast as its driver can suspend it; a minute has not passed. */
Test(mmio_respawn, one_that_dies_at_each_suspend_stays_dead_soon)
{
	live_and_suspended();
	for (unsigned int i = 1; i <= VIRTIO_MMIO_MAX_RESPAWNS; i++) {
		dies(i == 1 ? &fb : &second);
		virtio_mmio_fenced(&dev, true);
		until_idle();
		cr_assert(eq(u32, respawns, i));
		resumes();
		suspend();
	}
	dies(&second);
	virtio_mmio_fenced(&dev, true);
	until_idle();
	cr_assert(eq(u32, respawns, VIRTIO_MMIO_MAX_RESPAWNS));
	cr_assert(eq(u32, status() & 0x40, 0x40));
	put_status(0);
	cr_assert(eq(u32, status(), 0));
}

Test(mmio_respawn, one_more_a_minute)
{
	live_and_suspended();
	dev.respawns_used = VIRTIO_MMIO_MAX_RESPAWNS;
	dev.respawn_back_ns = time_boot_ns();
	dies(&fb);
	virtio_mmio_fenced(&dev, true);
	until_idle();
	cr_assert(eq(u32, respawns, 1));
	cr_assert(eq(u32, dev.respawns_used, VIRTIO_MMIO_MAX_RESPAWNS));
	resumes();
}
