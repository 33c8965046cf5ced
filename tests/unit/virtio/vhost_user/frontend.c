/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio/vhost_user/frontend.h against good, bad, slow and dead back ends. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/frontend_rig.h"

TestSuite(frontend, .init = fr_setup, .fini = fr_teardown, .timeout = 120);

static int start(void)
{
	unsigned int n = fr.calls + 1;

	fr_make_rings();
	fr.inside = true;
	frontend_start(&fr.fe, 1ULL << VIRTIO_F_VERSION_1, 3, fr_on_done);
	fr_turn_until_done(n);
	return fr.result;
}

static int stop(uint32_t mask)
{
	unsigned int n = fr.calls + 1;

	fr.inside = true;
	frontend_stop(&fr.fe, mask, fr_on_done);
	fr_turn_until_done(n);
	return fr.result;
}

static uint32_t logged(unsigned int i)
{
	return fr.fb.log[i].hdr.request;
}

/* ------------------------------------------------------------- good ones */

Test(frontend, handshake_in_the_order_of_the_text)
{
	static const uint32_t order[] = {
		VHOST_USER_GET_FEATURES,
		VHOST_USER_GET_PROTOCOL_FEATURES,
		VHOST_USER_SET_PROTOCOL_FEATURES,
		VHOST_USER_SET_OWNER,
		VHOST_USER_SET_MEM_TABLE,
		VHOST_USER_GET_CONFIG,
	};

	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(u32, atomic_load(&fr.fb.nr), ARRAY_SIZE(order)));
	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++)
		cr_assert(eq(u32, logged(i), order[i]), "message %u", i);
	cr_assert(eq(u64, fr.fe.features, fr.fb.features));
	cr_assert(eq(u64, fr.fb.log[2].payload.u64,
		     1ULL << VHOST_USER_PROTOCOL_F_MQ |
			     1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK |
			     1ULL << VHOST_USER_PROTOCOL_F_CONFIG |
			     1ULL << VHOST_USER_PROTOCOL_F_RESET_DEVICE),
		  "only what is understood");
	cr_assert(eq(u32, fr.fb.log[4].payload.mem.nr, 1));
	cr_assert(eq(u32, fr.fb.log_fds[4], 1));
	cr_assert(eq(u64, fr.fb.log[4].payload.mem.regions[0].size, RAM_SIZE));
	cr_assert(zero(int, memcmp(fr.fe.config, fr.fb.config, CONFIG_SIZE)));
}

Test(frontend, a_back_end_without_protocol_features_will_do)
{
	fr.fb.features = 1ULL << VIRTIO_F_VERSION_1;
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(int, start(), 0)); /* ends with an answer */
	cr_assert(eq(u32, logged(0), VHOST_USER_GET_FEATURES));
	cr_assert(eq(u32, logged(1), VHOST_USER_SET_OWNER));
	for (unsigned int i = 0; i < atomic_load(&fr.fb.nr); i++) {
		cr_assert(ne(u32, logged(i), VHOST_USER_SET_VRING_ENABLE));
		cr_assert(zero(u32, fr.fb.log[i].hdr.flags &
					    VHOST_USER_FLAG_NEED_REPLY));
	}
	cr_assert(eq(int, stop(UINT32_MAX), 0));
}

Test(frontend, a_ring_is_kicked_last_and_enabled_after_that)
{
	static const uint32_t order[] = {
		VHOST_USER_SET_VRING_NUM,    VHOST_USER_SET_VRING_BASE,
		VHOST_USER_SET_VRING_ADDR,   VHOST_USER_SET_VRING_ERR,
		VHOST_USER_SET_VRING_CALL,   VHOST_USER_SET_VRING_KICK,
		VHOST_USER_SET_VRING_ENABLE,
	};
	unsigned int n, first;

	cr_assert(eq(int, fr_handshake(), 0));
	first = atomic_load(&fr.fb.nr);
	cr_assert(eq(int, start(), 0));
	n = atomic_load(&fr.fb.nr);
	cr_assert(eq(u32, n, first + 1 + 2 * 7 + 1));
	cr_assert(eq(u32, logged(first), VHOST_USER_SET_FEATURES));
	cr_assert(eq(u64, fr.fb.acked, 1ULL << VIRTIO_F_VERSION_1 | PROTOCOL));
	for (unsigned int i = 0; i < 14; i++)
		cr_assert(eq(u32, logged(first + 1 + i), order[i % 7]));
	cr_assert(eq(u32, logged(n - 1), VHOST_USER_GET_FEATURES));
	cr_assert(eq(u32, fr.fb.set_base[1], 8));
	cr_assert(fr.fe.rings[0].started && fr.fe.rings[1].started);
	/* Which a process of ours may hold full and blocking. */
	cr_assert(zero(u64, fd_event_drain(fr.fe.rings[0].kick_fd)));
}

Test(frontend, stopping_asks_for_all_rings_before_any_reply)
{
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(int, start(), 0));
	fr.fb.bases[0] = 100;
	fr.fb.bases[1] = 65535;
	cr_assert(eq(int, stop(UINT32_MAX), 0));
	cr_assert(eq(u32, fr.fe.rings[0].base, 100));
	cr_assert(eq(u32, fr.fe.rings[1].base, 65535));
	cr_assert(not(fr.fe.rings[0].started || fr.fe.rings[1].started));
	/* Nothing runs: nothing is asked. */
	unsigned int n = atomic_load(&fr.fb.nr);

	cr_assert(eq(int, stop(UINT32_MAX), 0));
	cr_assert(eq(u32, atomic_load(&fr.fb.nr), n));
}

Test(frontend, one_ring_is_stopped_alone)
{
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(int, start(), 0));
	cr_assert(eq(int, stop(2), 0));
	cr_assert(fr.fe.rings[0].started);
	cr_assert(not(fr.fe.rings[1].started));
}

Test(frontend, replies_may_come_in_pieces)
{
	fake_misbehave(&fr.fb, VHOST_USER_GET_CONFIG, FAKE_PIECEMEAL);
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(zero(int, memcmp(fr.fe.config, fr.fb.config, CONFIG_SIZE)));
}

Test(frontend, config_is_written_and_read_back)
{
	static const uint8_t data[] = { 0xaa, 0xbb };

	cr_assert(eq(int, fr_handshake(), 0));
	fr.inside = true;
	frontend_set_config(&fr.fe, 4, data, 2, fr_on_done);
	fr_turn_until_done(2);
	cr_assert(eq(int, fr.result, 0));
	cr_assert(eq(u8, fr.fe.config[4], 0xaa));
	cr_assert(eq(u8, fr.fe.config[5], 0xbb));
	fr.fb.config[0] = 0x77;
	fr.inside = true;
	frontend_get_config(&fr.fe, fr_on_done);
	fr_turn_until_done(3);
	cr_assert(eq(u8, fr.fe.config[0], 0x77));
}

Test(frontend, config_cannot_be_written_where_there_is_none)
{
	fr.fb.protocol = 0;
	cr_assert(eq(int, fr_handshake(), 0));
	fr.inside = true;
	frontend_set_config(&fr.fe, 0, "x", 1, fr_on_done);
	fr_turn_until_done(2);
	cr_assert(eq(int, fr.result, -EOPNOTSUPP));
	cr_assert(eq(u32, fr.failures, 0));
}

static int reset(void)
{
	unsigned int n = fr.calls + 1;

	fr.inside = true;
	frontend_reset(&fr.fe, fr_on_done);
	fr_turn_until_done(n);
	return fr.result;
}

Test(frontend, reset_stops_all_and_tells_who_understands_it)
{
	unsigned int n;

	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(int, start(), 0));
	n = atomic_load(&fr.fb.nr);
	fr.fb.config[3] = 0x55;
	cr_assert(eq(int, reset(), 0));
	cr_assert(eq(u32, logged(n), VHOST_USER_GET_VRING_BASE));
	cr_assert(eq(u32, logged(n + 1), VHOST_USER_GET_VRING_BASE));
	cr_assert(eq(u32, logged(n + 2), VHOST_USER_RESET_DEVICE));
	cr_assert(eq(u8, fr.fe.config[3], 0x55));
	cr_assert(not(fr.fe.rings[0].started || fr.fe.rings[1].started));
}

Test(frontend, reset_is_not_sent_to_who_does_not_understand_it)
{
	fr.fb.protocol = 1ULL << VHOST_USER_PROTOCOL_F_CONFIG;
	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(eq(int, start(), 0));
	cr_assert(eq(int, reset(), 0));
	for (unsigned int i = 0; i < atomic_load(&fr.fb.nr); i++)
		cr_assert(ne(u32, logged(i), VHOST_USER_RESET_DEVICE));
}

/* -------------------------------------------------------------- bad ones */

enum operation {
	HANDSHAKE,
	START,
	STOP,
	RESET,
};

static const struct {
	enum operation op;
	uint32_t at;
	enum fake_fault fault;
} bad[] = {
	{ HANDSHAKE, VHOST_USER_GET_FEATURES, FAKE_CLOSES },
	{ HANDSHAKE, VHOST_USER_GET_FEATURES, FAKE_MUTE },
	{ HANDSHAKE, VHOST_USER_GET_FEATURES, FAKE_OTHER_REPLY },
	{ HANDSHAKE, VHOST_USER_GET_FEATURES, FAKE_NO_FLAG },
	{ HANDSHAKE, VHOST_USER_GET_FEATURES, FAKE_SHORT },
	{ HANDSHAKE, VHOST_USER_GET_FEATURES, FAKE_HUGE },
	{ HANDSHAKE, VHOST_USER_GET_FEATURES, FAKE_TWICE },
	{ HANDSHAKE, VHOST_USER_GET_PROTOCOL_FEATURES, FAKE_CLOSES },
	{ HANDSHAKE, VHOST_USER_GET_PROTOCOL_FEATURES, FAKE_SHORT },
	{ HANDSHAKE, VHOST_USER_SET_MEM_TABLE, FAKE_CLOSES },
	{ HANDSHAKE, VHOST_USER_SET_MEM_TABLE, FAKE_MUTE },
	{ HANDSHAKE, VHOST_USER_SET_MEM_TABLE, FAKE_SHORT },
	{ HANDSHAKE, VHOST_USER_GET_CONFIG, FAKE_CLOSES },
	{ HANDSHAKE, VHOST_USER_GET_CONFIG, FAKE_SHORT },
	{ HANDSHAKE, VHOST_USER_GET_CONFIG, FAKE_OTHER_REPLY },
	{ START, VHOST_USER_SET_FEATURES, FAKE_CLOSES },
	{ START, VHOST_USER_SET_VRING_ADDR, FAKE_MUTE },
	{ START, VHOST_USER_SET_VRING_KICK, FAKE_CLOSES },
	{ START, VHOST_USER_GET_FEATURES, FAKE_SHORT },
	{ STOP, VHOST_USER_GET_VRING_BASE, FAKE_CLOSES },
	{ STOP, VHOST_USER_GET_VRING_BASE, FAKE_MUTE },
	{ STOP, VHOST_USER_GET_VRING_BASE, FAKE_WRONG_RING },
	{ STOP, VHOST_USER_GET_VRING_BASE, FAKE_SHORT },
	{ STOP, VHOST_USER_GET_VRING_BASE, FAKE_HUGE },
	{ STOP, VHOST_USER_GET_VRING_BASE, FAKE_OTHER_REPLY },
	{ RESET, VHOST_USER_GET_VRING_BASE, FAKE_CLOSES },
	{ RESET, VHOST_USER_RESET_DEVICE, FAKE_MUTE },
	{ RESET, VHOST_USER_RESET_DEVICE, FAKE_CLOSES },
};

static void run_bad_case(size_t index)
{
	enum operation op = bad[index].op;
	int r;

	fr.fe.deadline_ns = (bad[index].fault == FAKE_MUTE ? 30 : 10000) * MS;
	if (op != HANDSHAKE)
		cr_assert(eq(int, fr_handshake(), 0));
	if (op == STOP || op == RESET)
		cr_assert(eq(int, start(), 0));
	fake_misbehave(&fr.fb, bad[index].at, bad[index].fault);
	r = op == HANDSHAKE ? fr_handshake()
	    : op == START   ? start()
	    : op == STOP    ? stop(3)
			    : reset();
	/* A reply too many comes when the operation may be over. */
	if (bad[index].fault != FAKE_TWICE || r < 0)
		cr_assert(eq(int, r, -EIO), "case %zu", index);
	while (!fr.failures)
		cr_assert(eq(int, loop_turn(&fr.loop, 100), 0));
	cr_assert(eq(u32, fr.failures, 1));
	/* From now on all fail, later and without a word to the back end. */
	cr_assert(eq(int, stop(UINT32_MAX), -EIO));
	fr.inside = true;
	frontend_start(&fr.fe, 0, 3, fr_on_done);
	fr_turn_until_done(fr.calls + 1);
	cr_assert(eq(int, fr.result, -EIO));
	fr.inside = true;
	frontend_set_config(&fr.fe, 0, "x", 1, fr_on_done);
	fr_turn_until_done(fr.calls + 1);
	cr_assert(eq(int, fr.result, -EIO));
	cr_assert(eq(int, fr_handshake(), -EIO));
	cr_assert(eq(u32, fr.failures, 1));
}

Test(frontend, a_bad_back_end_fails_once_and_for_all)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fr_teardown();
		fr_setup();
		run_bad_case(i);
	}
}

Test(frontend, what_it_refuses_is_no_failure_of_the_connection)
{
	cr_assert(eq(int, fr_handshake(), 0));
	fake_misbehave(&fr.fb, VHOST_USER_SET_VRING_NUM, FAKE_REFUSES);
	cr_assert(eq(int, start(), -EREMOTEIO));
	cr_assert(eq(u32, fr.failures, 0));
	cr_assert(eq(int, stop(UINT32_MAX), 0));
}

Test(frontend, a_word_nobody_asked_for_is_a_failure)
{
	struct vhost_user_msg msg = {
		.hdr = { .request = VHOST_USER_GET_FEATURES,
			 .flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY,
			 .size = 8 },
	};

	cr_assert(eq(int, fr_handshake(), 0));
	cr_assert(fake_send(&fr.fb, &msg, FAKE_GOOD));
	while (!fr.failures)
		cr_assert(eq(int, loop_turn(&fr.loop, 100), 0));
	cr_assert(eq(u32, fr.calls, 1));
}

Test(frontend, one_that_dies_idle_is_noticed)
{
	cr_assert(eq(int, fr_handshake(), 0));
	(void)shutdown(fr.fb.fd, SHUT_RDWR);
	while (!fr.failures)
		cr_assert(eq(int, loop_turn(&fr.loop, 100), 0));
	cr_assert(eq(u32, fr.failures, 1));
	cr_assert(eq(u32, fr.calls, 1));
}

Test(frontend, a_ring_outside_ram_is_not_started)
{
	cr_assert(eq(int, fr_handshake(), 0));
	fr_make_rings();
	fr.fe.rings[0].desc_gpa = RAM_SIZE - 16;
	fr.inside = true;
	frontend_start(&fr.fe, 0, 1, fr_on_done);
	fr_turn_until_done(2);
	cr_assert(lt(int, fr.result, 0));
	cr_assert(not(fr.fe.rings[0].started));
}
