/* SPDX-License-Identifier: BSD-3-Clause */
/* A front end on a scripted back end, with the memory of two rings. */
#ifndef TORPOR_TESTS_FRONTEND_TEST_H
#define TORPOR_TESTS_FRONTEND_TEST_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/virtio_config.h>

#include "tests/lib/fake_backend.h"
#include "virtio/vhost_user/frontend.h"

#define MS	    1000000ULL
#define CONFIG_SIZE 24
#define PROTOCOL    (1ULL << VHOST_USER_F_PROTOCOL_FEATURES)
#define RAM_SIZE    0x100000ULL
#define RING_SIZE   8

static struct loop loop;
static struct gmem gm;
static struct fake_backend fb;
static struct frontend fe;
static unsigned int calls, failures;
static unsigned int taken; /* of the calls, by await() */
static int result;
static bool inside;

static inline void on_done(struct frontend *f, int r)
{
	cr_assert(not(inside), "never from inside the call that began it");
	calls++;
	result = r;
}

static inline void on_failed(struct frontend *f, const char *why)
{
	failures++;
}

static inline void add_ram(void)
{
	struct gmem_region reg = { .gpa = 0, .size = RAM_SIZE };

	reg.fd = fd_memfd_sealed("ram", RAM_SIZE, 0);
	cr_assert(ge(int, reg.fd, 0));
	cr_assert(eq(int, gmem_add(&gm, &reg), 0));
}

static inline void setup(void)
{
	calls = failures = taken = 0;
	fe = (struct frontend){ 0 };
	fb = (struct fake_backend){ 0 };
	cr_assert(eq(int, loop_init(&loop), 0));
	add_ram();
	fb.features = 1ULL << VIRTIO_F_VERSION_1 | PROTOCOL;
	fb.protocol = UINT64_MAX;
	for (unsigned int i = 0; i < CONFIG_SIZE; i++)
		fb.config[i] = (uint8_t)i;
	fake_start(&fb);
	cr_assert(eq(int, frontend_init(&fe, &loop, fb.peer, &gm, 20000 * MS),
		     0));
	fe.on_failed = on_failed;
}

static inline void teardown(void)
{
	frontend_finish(&fe);
	fake_stop(&fb);
	for (unsigned int i = 0; i < 2; i++) {
		if (fe.rings[i].size)
			fd_close(&fe.rings[i].kick_fd);
	}
	loop_finish(&loop);
	gmem_finish(&gm);
}

static inline void turn_until_done(unsigned int n)
{
	inside = false;
	while (calls < n)
		cr_assert(eq(int, loop_turn(&loop, 100), 0));
}

/* What the operation that was begun last has come to, or comes to. */
static inline int await(void)
{
	turn_until_done(taken + 1);
	taken = calls;
	return result;
}

static inline int handshake(void)
{
	taken = calls;
	inside = true;
	frontend_handshake(&fe, CONFIG_SIZE, on_done);
	return await();
}

static inline void make_rings(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct frontend_ring *ring = &fe.rings[i];

		ring->size = RING_SIZE;
		ring->base = (uint16_t)(7 + i);
		ring->desc_gpa = 0x1000 * (i + 1);
		ring->avail_gpa = ring->desc_gpa + 0x400;
		ring->used_gpa = ring->desc_gpa + 0x800;
		if (ring->kick_fd <= 0)
			ring->kick_fd = fd_event_create();
		ring->call_fd = ring->err_fd = ring->kick_fd;
	}
}

#endif
