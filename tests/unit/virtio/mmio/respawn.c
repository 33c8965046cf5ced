/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process of a suspended device dies: another takes its place, or the
 * device needs a reset, in the dialect of virtio 1.4.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/mmio_rig.h"

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
	mr.ops.respawn = op_respawn;
	mr_setup_suspend();
	second.fd = -1;
	second.features = mr.fb.features;
	memcpy(second.config, mr.fb.config, sizeof(mr.fb.config));
}

static void teardown_respawn(void)
{
	mr_teardown();
	fake_stop(&second);
}

TestSuite(mmio_respawn, .init = setup_respawn, .fini = teardown_respawn,
	  .timeout = 120);

static void suspend(void)
{
	mr_put_status(LIVE | 0x10);
	while (mr_status() != SUSPENDED)
		mr_turn();
}

static void live_and_suspended(void)
{
	mr_negotiate(VERSION_1 | VIRTIO_MMIO_SUSPEND_V14);
	(void)mr_make_ready(0);
	(void)mr_make_ready(1);
	mr_put_status(LIVE);
	mr.fb.bases[0] = 7;
	mr.fb.bases[1] = 65535;
	suspend();
}

static void dies(struct fake_backend *process)
{
	unsigned int before = mr.failures;

	(void)shutdown(process->fd, SHUT_RDWR);
	while (mr.failures == before)
		mr_turn();
	cr_assert(virtio_mmio_is_dead(&mr.dev));
}

static void resumes(void)
{
	mr_put_status(TO_RESUME);
	cr_assert(eq(u32, mr_status(), LIVE));
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(mr.dev.fe.rings[0].started && mr.dev.fe.rings[1].started);
}

Test(mmio_respawn, another_takes_its_place)
{
	live_and_suspended();
	dies(&mr.fb);
	cr_assert(eq(u32, mr_status(), SUSPENDED));
	cr_assert(eq(u32, respawns, 0), "not before the fence");
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	cr_assert(eq(u32, respawns, 1));
	cr_assert(eq(u32, mr_status(), SUSPENDED));
	cr_assert(not(virtio_mmio_is_dead(&mr.dev)));
	cr_assert(not(mr_irq_raised()));
	resumes();
	cr_assert(eq(u32, second.set_base[0], 7));
	cr_assert(eq(u32, second.set_base[1], 65535));
	cr_assert(not(mr_irq_raised()));
	cr_assert(eq(u64, mr.dev.resets, 0));
	/* And lives as the first did. */
	suspend();
	resumes();
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_respawn, the_driver_resumes_before_it_is_there)
{
	live_and_suspended();
	dies(&mr.fb);
	mr_put_status(TO_RESUME);
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(not(mr.dev.fe.rings[0].started));
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), LIVE));
	cr_assert(mr.dev.fe.rings[0].started);
	cr_assert(eq(u32, second.set_base[0], 7));
}

Test(mmio_respawn, the_driver_resets_before_it_is_there)
{
	static struct vcpu_write w;

	live_and_suspended();
	dies(&mr.fb);
	mr_write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (mr.dev.op != VIRTIO_OP_RESET)
		mr_turn();
	cr_assert(eq(u32, mr_status(), SUSPENDED), "not before the fence");
	virtio_mmio_fenced(&mr.dev, true);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_status(), 0));
	mr_until_idle();
	mr_go_live();
	cr_assert(mr.dev.fe.rings[0].started);
	cr_assert(eq(u32, second.set_base[0], 0));
}

Test(mmio_respawn, a_pause_meanwhile_stays_one)
{
	live_and_suspended();
	dies(&mr.fb);
	mr_put_status(TO_RESUME);
	virtio_mmio_quiesce(&mr.dev, NULL);
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	cr_assert(not(mr.dev.fe.rings[0].started));
	virtio_mmio_restart(&mr.dev, NULL);
	mr_until_idle();
	cr_assert(mr.dev.fe.rings[0].started);
}

Test(mmio_respawn, its_other_config_is_told_on_resume)
{
	live_and_suspended();
	second.config[0] = 1;
	dies(&mr.fb);
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	cr_assert(eq(u8, mr.page.bytes[0x100], 0x80));
	resumes();
	cr_assert(eq(u8, mr.page.bytes[0x100], 1));
	cr_assert(eq(u32, mr_get(VIRTIO_MMIO_INTERRUPT_STATUS),
		     VIRTIO_MMIO_INT_CONFIG));
	cr_assert(mr_irq_raised());
}

/* What is said of a device that cannot be had back. */
static void is_silent_and_needs_reset(void)
{
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), SUSPENDED | NEEDS_RESET));
	cr_assert(not(mr_irq_raised()));
	mr_put_status(TO_RESUME);
	cr_assert(eq(u32, mr_status(), SUSPENDED | NEEDS_RESET));
}

Test(mmio_respawn, one_that_dies_again_is_not_replaced)
{
	live_and_suspended();
	dies(&mr.fb);
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	dies(&second);
	virtio_mmio_fenced(&mr.dev, true);
	cr_assert(eq(u32, respawns, 1));
	is_silent_and_needs_reset();
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
}

/* Its pidfd tells before its socket does. */
Test(mmio_respawn, one_that_dies_in_the_handshake_is_not_replaced)
{
	live_and_suspended();
	dies(&mr.fb);
	fake_misbehave(&second, VHOST_USER_GET_FEATURES, FAKE_WAITS);
	virtio_mmio_fenced(&mr.dev, true);
	while (!atomic_load(&second.waiting))
		mr_turn();
	virtio_mmio_died(&mr.dev, "died");
	virtio_mmio_fenced(&mr.dev, true);
	cr_assert(eq(u32, respawns, 1));
	fake_misbehave(&second, 0, FAKE_GOOD);
	(void)shutdown(second.fd, SHUT_RDWR);
	fake_go_on(&second);
	is_silent_and_needs_reset();
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_respawn, one_that_was_of_use_is)
{
	live_and_suspended();
	dies(&mr.fb);
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	resumes();
	suspend();
	dies(&second);
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	cr_assert(eq(u32, respawns, 2));
	resumes();
}

Test(mmio_respawn, not_while_the_dead_one_has_something_in_flight)
{
	live_and_suspended();
	dies(&mr.fb);
	virtio_mmio_fenced(&mr.dev, false);
	cr_assert(eq(u32, respawns, 0));
	is_silent_and_needs_reset();
}

Test(mmio_respawn, none_can_be_made)
{
	respawn_result = -ENOENT;
	live_and_suspended();
	dies(&mr.fb);
	virtio_mmio_fenced(&mr.dev, true);
	is_silent_and_needs_reset();
}

Test(mmio_respawn, it_is_another_device)
{
	live_and_suspended();
	second.features = INDIRECT | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES;
	dies(&mr.fb);
	virtio_mmio_fenced(&mr.dev, true);
	is_silent_and_needs_reset();
}

Test(mmio_respawn, it_dies_in_the_handshake_of_a_live_device)
{
	live_and_suspended();
	dies(&mr.fb);
	mr_put_status(TO_RESUME);
	fake_misbehave(&second, VHOST_USER_GET_FEATURES, FAKE_CLOSES);
	virtio_mmio_fenced(&mr.dev, true);
	while (mr.failures == 1)
		mr_turn();
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(mr_irq_raised());
}

Test(mmio_respawn, a_live_device_is_not_replaced)
{
	live_and_suspended();
	resumes();
	dies(&mr.fb);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_die_and_recover();
	cr_assert(eq(u32, respawns, 0));
}

/* As fast as its driver can suspend it; a minute has not passed. */
Test(mmio_respawn, one_that_dies_at_each_suspend_stays_dead_soon)
{
	live_and_suspended();
	for (unsigned int i = 1; i <= VIRTIO_MMIO_MAX_RESPAWNS; i++) {
		dies(i == 1 ? &mr.fb : &second);
		virtio_mmio_fenced(&mr.dev, true);
		mr_until_idle();
		cr_assert(eq(u32, respawns, i));
		resumes();
		suspend();
	}
	dies(&second);
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	cr_assert(eq(u32, respawns, VIRTIO_MMIO_MAX_RESPAWNS));
	cr_assert(eq(u32, mr_status() & 0x40, 0x40));
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_respawn, one_more_a_minute)
{
	live_and_suspended();
	mr.dev.respawns_used = VIRTIO_MMIO_MAX_RESPAWNS;
	mr.dev.respawn_back_ns = time_boot_ns();
	dies(&mr.fb);
	virtio_mmio_fenced(&mr.dev, true);
	mr_until_idle();
	cr_assert(eq(u32, respawns, 1));
	cr_assert(eq(u32, mr.dev.respawns_used, VIRTIO_MMIO_MAX_RESPAWNS));
	resumes();
}
