/* SPDX-License-Identifier: BSD-3-Clause */
/* See virtq_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/virtq_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/virtq.h"
#include "vmm/base/fd.h"

struct virtq_rig rig;

void virtq_test_begin(uint16_t size, bool event_idx, bool indirect)
{
	guest_init(&rig.g, RAM);
	guest_ring_init(&rig.r, &rig.g, size);
	rig.buf = guest_alloc(&rig.g, 65536, 4096);
	virtq_init(&rig.vq);
	cr_assert(
		zero(int, virtq_setup(&rig.vq, &rig.g.gm, size, rig.r.desc_gpa,
				      rig.r.avail_gpa, rig.r.used_gpa)));
	rig.vq.call_fd = dup(rig.r.call_fd);
	rig.vq.err_fd = dup(rig.r.err_fd);
	rig.vq.page = &rig.page;
	virtq_start(&rig.vq, 0, event_idx, indirect);
}

void virtq_test_setup(void)
{
	virtq_test_begin(SIZE, false, true);
}

void virtq_test_setup_event_idx(void)
{
	virtq_test_begin(SIZE, true, true);
}

void virtq_test_teardown(void)
{
	virtq_finish(&rig.vq);
	guest_ring_finish(&rig.r);
	guest_finish(&rig.g);
}

int pop(void)
{
	return virtq_pop(&rig.vq, &rig.c, rig.iov, VIRTQ_MAX_CHAIN);
}

void assert_broken(void)
{
	uint16_t used = rig.r.used->idx;

	cr_assert(eq(int, pop(), -EPROTO));
	cr_assert(rig.vq.broken);
	cr_assert(eq(u64, fd_event_drain(rig.r.err_fd), 1));
	cr_assert(eq(int, pop(), -EPROTO));
	virtq_push(&rig.vq, 0, 1);
	virtq_fill(&rig.vq, 0, 1, 0);
	virtq_flush(&rig.vq, 1);
	virtq_unpop(&rig.vq, &used, 1);
	virtq_disable_kick(&rig.vq);
	cr_assert(not(virtq_signal(&rig.vq)));
	cr_assert(not(virtq_enable_kick(&rig.vq)));
	cr_assert(not(virtq_has_work(&rig.vq)));
	cr_assert(eq(u16, rig.r.used->idx, used));
	cr_assert(zero(u16, rig.r.used->flags));
	cr_assert(zero(u64, fd_event_drain(rig.r.err_fd)));
	cr_assert(zero(u64, fd_event_drain(rig.r.call_fd)));
}

uint16_t add_out(uint32_t len)
{
	return guest_ring_add(&rig.r,
			      &(struct guest_buf){ rig.buf, len, false }, 1);
}
