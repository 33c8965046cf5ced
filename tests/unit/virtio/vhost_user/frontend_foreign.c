/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio/vhost_user/frontend.h with back ends that are no processes of ours. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/frontend_rig.h"

static struct frontend_foreign foreign;

static void setup_foreign(void)
{
	fr_setup();
	fr.fb.queue_num = 2;
	memset(fr.fb.config, 0x11, sizeof(fr.fb.config));
	fr.fe.deadline_ns = 5000 * MS;
	fr.fe.foreign = &foreign;
	memset(fr.fe.config, 0x22, CONFIG_SIZE);
}

TestSuite(frontend_foreign, .init = setup_foreign, .fini = fr_teardown,
	  .timeout = 120);

static void start(void)
{
	cr_assert(eq(int, fr_handshake(), 0));
	fr_make_rings();
	fr.fe.rings[0].base = fr.fe.rings[1].base = 0;
	frontend_start(&fr.fe, 1ULL << VIRTIO_F_VERSION_1, 3, fr_on_done);
	cr_assert(eq(int, fr_await(), 0));
}

/* The device's side of ring 0 has used so many. */
static void used(uint16_t idx)
{
	void *p;

	cr_assert(eq(int, gmem_span(&fr.gm, fr.fe.rings[0].used_gpa + 2, 2, &p),
		     0));
	__atomic_store_n((uint16_t *)p, idx, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------ config space */

Test(frontend_foreign, config_space_is_theirs_by_default)
{
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(u8, fr.fe.config[0], 0x11));
	cr_assert(eq(u64, fr.fe.queue_num, 2));
}

Test(frontend_foreign, config_space_that_should_be_theirs_must_be)
{
	fr.fb.protocol = 0;
	cr_assert(eq(int, fr_handshake(), -ENODATA));
	cr_assert(eq(u32, fr.failures, 0));
}

Test(frontend_foreign, config_space_of_ours_is_never_asked_for_or_sent)
{
	foreign.config_from = FRONTEND_CONFIG_OURS;
	cr_assert(eq(int, fr_handshake(), 0));
	frontend_set_config(&fr.fe, 0, "x", 1, fr_on_done);
	cr_assert(eq(int, fr_await(), -EOPNOTSUPP));
	frontend_get_config(&fr.fe, fr_on_done);
	cr_assert(eq(int, fr_await(), 0));
	frontend_reset(&fr.fe, fr_on_done);
	cr_assert(eq(int, fr_await(), 0));
	cr_assert(zero(uint, fake_count(&fr.fb, VHOST_USER_GET_CONFIG)));
	cr_assert(zero(uint, fake_count(&fr.fb, VHOST_USER_SET_CONFIG)));
	cr_assert(eq(u8, fr.fe.config[0], 0x22));
}

Test(frontend_foreign, config_space_of_ours_only_if_there_is_no_other)
{
	foreign.config_from = FRONTEND_CONFIG_OURS_IF_NONE;
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(u8, fr.fe.config[0], 0x11));
	cr_assert(not(fr.fe.config_ours));
	fr_teardown();
	setup_foreign();
	fr.fb.protocol = ~(1ULL << VHOST_USER_PROTOCOL_F_CONFIG);
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(u8, fr.fe.config[0], 0x22));
	cr_assert(fr.fe.config_ours);
}

Test(frontend_foreign, config_space_may_be_refused)
{
	fake_misbehave(&fr.fb, VHOST_USER_GET_CONFIG, FAKE_EMPTY);
	cr_assert(eq(int, fr_handshake(), -EREMOTEIO));
	cr_assert(eq(u32, fr.failures, 0));
}

Test(frontend_foreign, number_of_queues_is_asked_only_of_who_tells_it)
{
	fr.fb.protocol = 1ULL << VHOST_USER_PROTOCOL_F_CONFIG;
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(zero(uint, fake_count(&fr.fb, VHOST_USER_GET_QUEUE_NUM)));
	cr_assert(zero(u64, fr.fe.queue_num));
}

/* --------------------------------------------------- where a ring stopped */

static const struct {
	uint16_t returned, used, base;
	bool input;
} stops[] = {
	{ 0, 0, 0, false },	    { 100, 100, 100, false },
	{ 0, 100, 100, false },	    /* forgets the ring first */
	{ 0, 40000, 40000, false }, /* the same, further round */
	{ 99, 100, 100, false },    /* read before the thread had stopped */
	{ 65535, 2, 2, false },	    /* the same at the end of the numbers */
	{ 100, 91, 91, false },	    /* more than the ring has */
	{ 2, 65534, 65534, true },  /* buffers that wait for input */
	{ 103, 100, 100, true },    { 0, 40000, 40000, true },
};

Test(frontend_foreign, a_ring_goes_on_at_its_used_index)
{
	start();
	for (size_t i = 0; i < ARRAY_SIZE(stops); i++) {
		foreign.input_rings = stops[i].input;
		fr.fe.rings[0].started = true;
		fr.fb.bases[0] = stops[i].returned;
		used(stops[i].used);
		frontend_stop(&fr.fe, 1, fr_on_done);
		cr_assert(eq(int, fr_await(), 0), "case %zu", i);
		cr_assert(eq(u16, fr.fe.rings[0].base, stops[i].base),
			  "case %zu", i);
	}
	cr_assert(fr.fe.rings[1].started);
}

/* Each way of stopping; and requests come back out of the loop's sight. */
static void stop_holding(void (*stop)(void))
{
	start();
	fr.fb.bases[0] = 12;
	used(9);
	stop();
	for (int i = 0; i < 5; i++)
		cr_assert(eq(int, loop_turn(&fr.loop, 20), 0));
	cr_assert(eq(u32, fr.calls, fr.taken));
	used(11);
	for (int i = 0; i < 5; i++)
		cr_assert(eq(int, loop_turn(&fr.loop, 20), 0));
	cr_assert(eq(u32, fr.calls, fr.taken), "one is still held");
	used(12);
	cr_assert(eq(int, fr_await(), 0));
	cr_assert(eq(u16, fr.fe.rings[0].base, 12));
	cr_assert(eq(u32, fr.failures, 0));
}

static void by_stop(void)
{
	frontend_stop(&fr.fe, UINT32_MAX, fr_on_done);
}

static void by_reset(void)
{
	frontend_reset(&fr.fe, fr_on_done);
}

Test(frontend_foreign, requests_still_held_are_waited_for)
{
	stop_holding(by_stop);
}

Test(frontend_foreign, a_reset_waits_for_them_too)
{
	stop_holding(by_reset);
}

Test(frontend_foreign, requests_held_for_ever_are_a_failure)
{
	start();
	fr.fe.deadline_ns = 50 * MS;
	fr.fb.bases[0] = 12;
	used(9);
	by_stop();
	cr_assert(eq(int, fr_await(), -EIO));
	cr_assert(eq(u32, fr.failures, 1));
}

Test(frontend_foreign, one_that_dies_while_it_is_waited_for)
{
	start();
	fr.fb.bases[0] = 12;
	used(9);
	by_stop();
	while (!fr.fe.draining)
		cr_assert(eq(int, loop_turn(&fr.loop, 20), 0));
	(void)shutdown(fr.fb.fd, SHUT_RDWR);
	cr_assert(eq(int, fr_await(), -EIO));
	cr_assert(eq(u32, fr.failures, 1));
}

/* What is ours drains: its word counts, also for chains it keeps on purpose. */
Test(frontend_foreign, a_process_of_ours_is_believed)
{
	fr.fe.foreign = NULL;
	start();
	fr.fb.bases[0] = 12;
	used(9);
	by_stop();
	cr_assert(eq(int, fr_await(), 0));
	cr_assert(eq(u16, fr.fe.rings[0].base, 12));
	cr_assert(zero(uint, fake_count(&fr.fb, VHOST_USER_GET_QUEUE_NUM)));
}
