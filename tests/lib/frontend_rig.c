/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/frontend_rig.h"

#include "vmm/base/fd.h"

struct frontend_rig fr;

void fr_on_done(struct frontend *f, int r)
{
	cr_assert(not(fr.inside), "never from inside the call that began it");
	fr.calls++;
	fr.result = r;
}

static void on_failed(struct frontend *f, const char *why)
{
	fr.failures++;
}

static void add_ram(void)
{
	struct gmem_region reg = { .gpa = 0, .size = RAM_SIZE };

	reg.fd = fd_memfd_sealed("ram", RAM_SIZE, 0);
	cr_assert(ge(int, reg.fd, 0));
	cr_assert(eq(int, gmem_add(&fr.gm, &reg), 0));
}

void fr_setup(void)
{
	fr.calls = fr.failures = fr.taken = 0;
	fr.fe = (struct frontend){ 0 };
	fr.fb = (struct fake_backend){ 0 };
	cr_assert(eq(int, loop_init(&fr.loop), 0));
	add_ram();
	fr.fb.features = 1ULL << VIRTIO_F_VERSION_1 | PROTOCOL;
	fr.fb.protocol = UINT64_MAX;
	for (unsigned int i = 0; i < CONFIG_SIZE; i++)
		fr.fb.config[i] = (uint8_t)i;
	fake_start(&fr.fb);
	cr_assert(eq(
		int,
		frontend_init(&fr.fe, &fr.loop, fr.fb.peer, &fr.gm, 20000 * MS),
		0));
	fr.fe.on_failed = on_failed;
}

void fr_teardown(void)
{
	frontend_finish(&fr.fe);
	fake_stop(&fr.fb);
	for (unsigned int i = 0; i < 2; i++) {
		if (fr.fe.rings[i].size)
			fd_close(&fr.fe.rings[i].kick_fd);
	}
	loop_finish(&fr.loop);
	gmem_finish(&fr.gm);
}

void fr_turn_until_done(unsigned int n)
{
	fr.inside = false;
	while (fr.calls < n)
		cr_assert(eq(int, loop_turn(&fr.loop, 100), 0));
}

int fr_await(void)
{
	fr_turn_until_done(fr.taken + 1);
	fr.taken = fr.calls;
	return fr.result;
}

int fr_handshake(void)
{
	fr.taken = fr.calls;
	fr.inside = true;
	frontend_handshake(&fr.fe, CONFIG_SIZE, fr_on_done);
	return fr_await();
}

void fr_make_rings(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct frontend_ring *ring = &fr.fe.rings[i];

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
