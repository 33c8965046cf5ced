/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings of the vhost-user back end: start, stop, breakage, reset. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/backend_rig.h"
#include "vmm/base/fd.h"

TestSuite(backend, .init = backend_setup, .fini = backend_teardown,
	  .timeout = 120);

Test(backend, ring_runs_only_when_enabled)
{
	struct guest_ring *r = &rec.f.ring[0];

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	(void)front_stop(&rec.f, 0);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 0)));
	cr_assert(zero(u64,
		       ask_u64(VHOST_USER_SET_VRING_KICK, 0, &r->kick_fd, 1)));
	cr_assert(not(rec.dev.queues[0].running));
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 1)));
	cr_assert(rec.dev.queues[0].running);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 0)));
	cr_assert(not(rec.dev.queues[0].running));
	(void)add_in(0, 4);
	guest_ring_kick(r);
	front_settle(&rec.f);
	cr_assert(zero(u16, r->used->idx));
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 1)));
	cr_assert(eq(u16, r->used->idx, 1));
}

Test(backend, without_protocol_features_a_ring_starts_enabled)
{
	front_negotiate(&rec.f, V1);
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1, NULL, 0)));
	/* As front_start() does, without ENABLE. */
	cr_assert(
		zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1 | F30, NULL, 0)));
	front_start(&rec.f, 0);
	(void)front_stop(&rec.f, 0);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1, NULL, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 0,
				    &rec.f.ring[0].kick_fd, 1)));
	cr_assert(rec.dev.queues[0].running);
}

/* QEMU's network cards do it in this order. */
Test(backend, a_ring_enabled_before_the_features_is_enabled)
{
	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	(void)front_stop(&rec.f, 0);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_FEATURES, 0, NULL, 0)));
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 1)));
	cr_assert(not(rec.dev.queues[0].running));
	cr_assert(
		zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1 | F30, NULL, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 0,
				    &rec.f.ring[0].kick_fd, 1)));
	cr_assert(rec.dev.queues[0].running);
}

Test(backend, buffers_there_before_the_start_are_processed)
{
	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	(void)front_stop(&rec.f, 0);
	(void)add_in(0, 9);
	front_start(&rec.f, 0);
	cr_assert(eq(u16, rec.f.ring[0].used->idx, 1));
}

Test(backend, device_starts_with_the_first_ring_and_stops_with_the_last)
{
	front_negotiate(&rec.f, V1);
	front_start_all(&rec.f, 2);
	cr_assert(eq(uint, rec.starts, 1));
	(void)front_stop(&rec.f, 0);
	cr_assert(zero(uint, rec.stops));
	cr_assert(rec.dev.started);
	(void)front_stop(&rec.f, 1);
	cr_assert(eq(uint, rec.stops, 1));
	cr_assert(not(rec.dev.started));
	front_start(&rec.f, 1);
	cr_assert(eq(uint, rec.starts, 2));
}

Test(backend, get_vring_base_gives_back_what_was_not_used)
{
	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	cr_assert(eq(u32, front_wait_used(&rec.f, 0, add_in(0, 3)), 3));
	rec.hold = true;
	(void)add_in(0, 4);
	guest_ring_kick(&rec.f.ring[0]);
	front_settle(&rec.f);
	cr_assert(rec.has_held);
	cr_assert(eq(u16, front_stop(&rec.f, 0), 1));
	cr_assert(eq(u16, rec.f.ring[0].used->idx, 1));
	cr_assert(eq(int, rec.dev.queues[0].kick_fd, -1));
	cr_assert(eq(int, rec.dev.queues[0].call_fd, -1));
	/* Again: the same answer, nothing asked of the device. */
	cr_assert(eq(u16, front_stop(&rec.f, 0), 1));
	cr_assert(eq(uint, rec.stop_queues[0], 1));
	rec.hold = false;
	front_start(&rec.f, 0);
	cr_assert(eq(u16, rec.f.ring[0].used->idx, 2));
}

Test(backend, several_get_vring_base_in_one_write_are_all_answered)
{
	struct {
		struct vhost_user_hdr hdr;
		struct vhost_user_vring_state state;
	} __attribute__((packed)) two[2];
	struct vhost_user_msg m;

	front_negotiate(&rec.f, V1);
	front_start_all(&rec.f, 2);
	for (uint32_t i = 0; i < 2; i++) {
		two[i].hdr = (struct vhost_user_hdr){ VHOST_USER_GET_VRING_BASE,
						      VHOST_USER_VERSION, 8 };
		two[i].state = (struct vhost_user_vring_state){ i, 0 };
	}
	cr_assert(eq(int, (int)send(rec.f.sock, two, sizeof(two), 0),
		     sizeof(two)));
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert(front_recv(&rec.f, &m));
		cr_assert(eq(u32, m.payload.state.index, i));
	}
	cr_assert(eq(uint, rec.stops, 1));
}

Test(backend, ring_setters_are_refused_while_it_runs)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_VRING_ADDR, 40);

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_NUM, 0, 8), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_BASE, 0, 8), 1));
	m.payload.addr.desc_user = 0x1000;
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
}

Test(backend, new_call_fd_is_signalled_at_once)
{
	int fd = fd_event_create();

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_CALL, 0, &fd, 1)));
	cr_assert(eq(u64, fd_event_drain(fd), 1));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_CALL,
				    VHOST_USER_VRING_NOFD, NULL, 0)));
	cr_assert(eq(int, rec.dev.queues[0].call_fd, -1));
}

Test(backend, negotiated_ring_features_reach_the_ring)
{
	front_negotiate(&rec.f, V1 | 1ULL << VIRTIO_RING_F_EVENT_IDX);
	front_start(&rec.f, 0);
	cr_assert(rec.dev.queues[0].event_idx);
	cr_assert(not(rec.dev.queues[0].indirect));
}

Test(backend, interrupts_go_through_the_register_page)
{
	uint32_t isr;

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	(void)front_wait_used(&rec.f, 0, add_in(0, 3));
	memcpy(&isr, rec.f.page->bytes + VIRTIO_MMIO_INTERRUPT_STATUS, 4);
	cr_assert(eq(u32, isr, VIRTIO_MMIO_INT_VRING));
}

Test(backend, broken_ring_signals_its_err_fd_and_others_go_on)
{
	front_negotiate(&rec.f, V1);
	front_start_all(&rec.f, 2);
	guest_ring_avail(&rec.f.ring[0], 999);
	guest_ring_kick(&rec.f.ring[0]);
	front_wait_fd(&rec.f, rec.f.ring[0].err_fd);
	cr_assert(eq(u32, front_wait_used(&rec.f, 1, add_in(1, 5)), 5));
	cr_assert(zero(u16, front_stop(&rec.f, 0)));
}

Test(backend, failed_start_breaks_every_ring_until_stopped)
{
	rec.start_result = -ENOMEM;
	front_negotiate(&rec.f, V1);
	front_start_all(&rec.f, 2);
	for (int i = 0; i < 2; i++) {
		cr_assert(eq(u64, fd_event_drain(rec.f.ring[i].err_fd), 1));
		cr_assert(zero(uint, rec.kicks[i]));
		(void)front_stop(&rec.f, (unsigned int)i);
	}
	rec.start_result = 0;
	front_start(&rec.f, 0);
	cr_assert(eq(u32, front_wait_used(&rec.f, 0, add_in(0, 5)), 5));
}

Test(backend, a_device_that_fails_breaks_every_ring)
{
	front_negotiate(&rec.f, V1);
	front_start_all(&rec.f, 2);
	virtio_dev_fail(&rec.dev, "test");
	cr_assert(eq(u64, fd_event_drain(rec.f.ring[0].err_fd), 1));
	cr_assert(eq(u64, fd_event_drain(rec.f.ring[1].err_fd), 1));
}

Test(backend, kick_source_that_hangs_up_does_not_spin)
{
	int p[2];

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	cr_assert(zero(int, pipe(p)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 0, p, 1)));
	fd_close(&p[0]);
	fd_close(&p[1]);
	for (int i = 0; i < 3; i++)
		cr_assert(zero(int, loop_turn(&rec.f.loop, 0)));
	cr_assert(zero(int, loop_turn(&rec.f.loop, 0)));
	cr_assert(eq(int, rec.f.loop.batch_len, 0));
	(void)front_stop(&rec.f, 0);
}

/* -------------------------------------------------------------------- reset */

Test(backend, reset_device_equals_fresh)
{
	struct vhost_user_msg m = msg(VHOST_USER_RESET_DEVICE, 0);
	char got[8];

	front_negotiate(&rec.f, V1);
	front_start_all(&rec.f, 2);
	(void)front_wait_used(&rec.f, 0, add_in(0, 3));
	cr_assert(front_set_config(&rec.f, 0, "xxxx", 4));
	cr_assert(zero(u64, front_request(&rec.f, &m, NULL, 0)));
	cr_assert(eq(uint, rec.stops, 1));
	cr_assert(zero(u64, rec.dev.features));
	for (int i = 0; i < 2; i++) {
		cr_assert(not(rec.dev.queues[i].running));
		cr_assert(eq(int, rec.dev.queues[i].kick_fd, -1));
		cr_assert(eq(int, rec.dev.queues[i].call_fd, -1));
		cr_assert(eq(int, rec.dev.queues[i].err_fd, -1));
	}
	cr_assert(front_get_config(&rec.f, 0, got, 8));
	cr_assert(zero(int, memcmp(got, "12345678", 8)));
	/* A kick fd alone starts nothing: size and addresses are forgotten. */
	cr_assert(
		zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1 | F30, NULL, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 0,
				    &rec.f.ring[0].kick_fd, 1)));
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 1)));
	cr_assert(not(rec.dev.queues[0].running));
	front_ring_reset(&rec.f, 0);
	front_start(&rec.f, 0);
	cr_assert(eq(u32, front_wait_used(&rec.f, 0, add_in(0, 3)), 3));
}

Test(backend, end_of_the_front_end_stops_everything)
{
	front_negotiate(&rec.f, V1);
	front_start_all(&rec.f, 2);
	(void)shutdown(rec.f.sock, SHUT_WR);
	assert_closed();
	cr_assert(eq(uint, rec.stops, 1));
	cr_assert(not(rec.dev.queues[0].running));
	cr_assert(not(rec.dev.queues[1].running));
}
