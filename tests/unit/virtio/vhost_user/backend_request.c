/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests to the vhost-user back end: negotiation, memory, config, broken
 * ones. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/backend_rig.h"
#include "vmm/base/fd.h"

TestSuite(backend, .init = backend_setup, .fini = backend_teardown,
	  .timeout = 120);

Test(backend, offers_features_and_protocol_features)
{
	cr_assert(eq(u64, front_get_u64(&rec.f, VHOST_USER_GET_FEATURES),
		     rec.dev.features_offered | F30));
	cr_assert(eq(u64,
		     front_get_u64(&rec.f, VHOST_USER_GET_PROTOCOL_FEATURES),
		     1 << 0 | 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15));
}

Test(backend, answers_counts)
{
	front_negotiate(&rec.f, V1);
	cr_assert(eq(u64, front_get_u64(&rec.f, VHOST_USER_GET_QUEUE_NUM), 2));
	cr_assert(eq(u64, front_get_u64(&rec.f, VHOST_USER_GET_MAX_MEM_SLOTS),
		     GMEM_MAX_REGIONS));
}

Test(backend, refuses_features_it_did_not_offer)
{
	front_negotiate(&rec.f, V1);
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_FEATURES, 1ULL << 41, NULL, 0),
		     1));
	cr_assert(
		eq(u64,
		   ask_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1 << 12, NULL, 0),
		   1));
}

Test(backend, refuses_other_features_while_a_ring_runs)
{
	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	cr_assert(
		zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1 | F30, NULL, 0)));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_FEATURES, F30, NULL, 0), 1));
	cr_assert(eq(u64, rec.dev.features, V1));
}

Test(backend, ignores_reset_owner)
{
	struct vhost_user_msg m = msg(VHOST_USER_RESET_OWNER, 0);

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	cr_assert(zero(u64, front_request(&rec.f, &m, NULL, 0)));
	cr_assert(rec.dev.queues[0].running);
}

/* --------------------------------------------------------- broken messages */

Test(backend, unknown_request_is_refused)
{
	struct vhost_user_msg m = msg(99, 0);

	front_negotiate(&rec.f, V1);
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	m = msg(VHOST_USER_NET_SET_MTU, 8);
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	m = msg(0, 0);
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
}

Test(backend, unknown_request_without_need_reply_closes)
{
	struct vhost_user_msg m = msg(99, 0);

	front_negotiate(&rec.f, V1);
	front_send(&rec.f, &m, NULL, 0);
	assert_closed();
}

Test(backend, need_reply_without_reply_ack_is_not_answered)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_OWNER, 0);

	m.hdr.flags = VHOST_USER_FLAG_NEED_REPLY;
	front_send(&rec.f, &m, NULL, 0);
	front_settle(&rec.f);
	cr_assert(eq(int, (int)recv(rec.f.sock, &m, 1, MSG_DONTWAIT), -1));
	cr_assert(eq(int, errno, EAGAIN));
}

Test(backend, wrong_payload_sizes_are_refused)
{
	static const struct {
		uint32_t request, size;
	} bad[] = {
		{ VHOST_USER_SET_FEATURES, 0 },
		{ VHOST_USER_SET_FEATURES, 4 },
		{ VHOST_USER_SET_FEATURES, 16 },
		{ VHOST_USER_SET_OWNER, 8 },
		{ VHOST_USER_SET_VRING_NUM, 4 },
		{ VHOST_USER_SET_VRING_ADDR, 32 },
		{ VHOST_USER_SET_MEM_TABLE, 4 },
		{ VHOST_USER_SET_MEM_TABLE, 200 },
		{ VHOST_USER_ADD_MEM_REG, 32 },
		{ VHOST_USER_SET_CONFIG, 8 },
		{ VHOST_USER_RESET_DEVICE, 8 },
	};

	front_negotiate(&rec.f, V1);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vhost_user_msg m = msg(bad[i].request, bad[i].size);

		cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1),
			  "case %u", i);
	}
}

Test(backend, payload_beyond_any_message_closes)
{
	struct vhost_user_hdr h = { .request = VHOST_USER_SET_FEATURES,
				    .flags = VHOST_USER_VERSION,
				    .size = 0xffffffffU };

	cr_assert(eq(int, (int)send(rec.f.sock, &h, sizeof(h), 0), sizeof(h)));
	assert_closed();
}

Test(backend, wrong_version_closes)
{
	struct vhost_user_hdr h = { .request = VHOST_USER_GET_FEATURES,
				    .flags = 2 };

	cr_assert(eq(int, (int)send(rec.f.sock, &h, sizeof(h), 0), sizeof(h)));
	assert_closed();
}

Test(backend, reply_flag_in_a_request_closes)
{
	struct vhost_user_msg m = msg(VHOST_USER_GET_FEATURES, 0);

	m.hdr.flags = VHOST_USER_FLAG_REPLY;
	front_send(&rec.f, &m, NULL, 0);
	assert_closed();
}

Test(backend, end_of_file_in_a_message_closes_and_drops_its_fds)
{
	struct vhost_user_hdr h = { .request = VHOST_USER_SET_VRING_KICK,
				    .flags = VHOST_USER_VERSION,
				    .size = 8 };
	unsigned int before = count_fds();
	int fd = fd_event_create();

	cr_assert(eq(int, (int)fd_sendmsg(rec.f.sock, &h, sizeof(h), &fd, 1),
		     sizeof(h)));
	fd_close(&fd);
	front_settle(&rec.f);
	(void)shutdown(rec.f.sock, SHUT_WR);
	assert_closed();
	/* The socket of the back end is gone as well. */
	cr_assert(eq(uint, count_fds(), before - 1));
}

Test(backend, message_in_single_bytes_is_put_together)
{
	struct vhost_user_msg m = msg(VHOST_USER_GET_FEATURES, 0);

	m.hdr.flags = VHOST_USER_VERSION;
	for (size_t i = 0; i < sizeof(m.hdr); i++) {
		cr_assert(eq(int, (int)send(rec.f.sock, (char *)&m + i, 1, 0),
			     1));
		front_settle(&rec.f);
	}
	cr_assert(front_recv(&rec.f, &m));
	cr_assert(eq(u64, m.payload.u64, rec.dev.features_offered | F30));
}

Test(backend, missing_and_extra_fds_are_refused_and_closed)
{
	int fds[8];
	unsigned int before;

	front_negotiate(&rec.f, V1);
	for (int i = 0; i < 8; i++)
		fds[i] = fd_event_create();
	before = count_fds();
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_CALL, 0, NULL, 0), 1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_CALL, 0, fds, 2), 1));
	cr_assert(eq(u64,
		     ask_u64(VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NOFD,
			     fds, 1),
		     1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_FEATURES, V1, fds, 8), 1));
	cr_assert(eq(uint, count_fds(), before));
}

Test(backend, more_fds_than_any_message_has_close)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_OWNER, 0);
	int fds[9];
	unsigned int before;

	front_negotiate(&rec.f, V1);
	for (int i = 0; i < 9; i++)
		fds[i] = fd_event_create();
	before = count_fds();
	front_send(&rec.f, &m, fds, 9);
	assert_closed();
	cr_assert(eq(uint, count_fds(), before - 1));
}

Test(backend, indexes_out_of_range_are_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_VRING_ADDR, 40);
	int fd = fd_event_create();

	front_negotiate(&rec.f, V1);
	m.payload.addr.index = 2;
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_NUM, 2, 16), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_BASE, ~0U, 0), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 2, 1), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_GET_VRING_BASE, 2, 0), 1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 2, &fd, 1), 1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_CALL, 255, &fd, 1), 1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_ERR, 1ULL << 32, &fd, 1),
		     1));
}

Test(backend, bad_ring_values_are_refused)
{
	static const uint32_t sizes[] = { 0, 3, 2048, 65536 + 8 };

	front_negotiate(&rec.f, V1);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		cr_assert(eq(u64,
			     ask_state(VHOST_USER_SET_VRING_NUM, 0, sizes[i]),
			     1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_BASE, 0, 65536), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 2), 1));
	cr_assert(eq(u64,
		     ask_u64(VHOST_USER_SET_VRING_KICK, VHOST_USER_VRING_NOFD,
			     NULL, 0),
		     1));
}

Test(backend, ring_addresses_outside_memory_are_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_VRING_ADDR, 40);

	front_negotiate(&rec.f, V1);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_NUM, 0, 16)));
	m.payload.addr.desc_user = 0x1000;
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	m = msg(VHOST_USER_SET_VRING_ADDR, 40);
	m.payload.addr.flags = 1; /* dirty logging */
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
}

Test(backend, kick_fd_that_cannot_be_waited_for_is_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_VRING_KICK, 8);

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	/* A memfd: epoll says EPERM. */
	cr_assert(eq(u64, front_request(&rec.f, &m, &rec.f.g.memfd, 1), 1));
	cr_assert(not(rec.dev.queues[0].running));
	cr_assert(eq(uint, rec.stops, 1));
}

/* ------------------------------------------------------------------- memory */

Test(backend, mem_table_with_wrong_fds_is_refused_and_the_old_one_kept)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 32);
	int fds[2] = { rec.f.g.memfd, rec.f.g.memfd };

	front_negotiate(&rec.f, V1);
	m.payload.mem.nr = 1;
	m.payload.mem.regions[0].gpa = 0;
	m.payload.mem.regions[0].size = 4096;
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 32);
	m.payload.mem.nr = 1;
	m.payload.mem.regions[0].size = 4096;
	cr_assert(eq(u64, front_request(&rec.f, &m, fds, 2), 1));
	m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 32);
	m.payload.mem.nr = 9;
	cr_assert(eq(u64, front_request(&rec.f, &m, fds, 1), 1));
	cr_assert(eq(uint, rec.dev.gmem.nr, 1));
	front_start(&rec.f, 0);
	cr_assert(eq(u32, front_wait_used(&rec.f, 0, add_in(0, 5)), 5));
}

Test(backend, mem_table_with_overlap_is_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 64);
	int fds[2] = { rec.f.g.memfd, rec.f.g.memfd };

	front_negotiate(&rec.f, V1);
	m.payload.mem.nr = 2;
	m.payload.mem.regions[0].size = 8192;
	m.payload.mem.regions[1].gpa = 4096;
	m.payload.mem.regions[1].size = 8192;
	cr_assert(eq(u64, front_request(&rec.f, &m, fds, 2), 1));
	cr_assert(eq(uint, rec.dev.gmem.nr, 1));
}

Test(backend, mem_table_replaced_under_a_running_ring_goes_on)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 32);

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	cr_assert(eq(u32, front_wait_used(&rec.f, 0, add_in(0, 5)), 5));
	m.payload.mem.nr = 1;
	m.payload.mem.regions[0].gpa = GUEST_RAM_GPA;
	m.payload.mem.regions[0].size = rec.f.g.size;
	m.payload.mem.regions[0].user_addr = (uint64_t)(uintptr_t)rec.f.g.ram;
	cr_assert(zero(u64, front_request(&rec.f, &m, &rec.f.g.memfd, 1)));
	cr_assert(eq(uint, rec.stop_queues[0], 1));
	cr_assert(eq(u32, front_wait_used(&rec.f, 0, add_in(0, 6)), 6));
}

static struct vhost_user_msg region(uint32_t request, uint64_t gpa)
{
	struct vhost_user_msg m = msg(request, 40);

	m.payload.mem_reg.region.gpa = gpa;
	m.payload.mem_reg.region.size = 4096;
	m.payload.mem_reg.region.user_addr = 0x1000;
	return m;
}

Test(backend, regions_are_added_and_removed_singly)
{
	struct vhost_user_msg m;

	front_negotiate(&rec.f, V1);
	front_start(&rec.f, 0);
	m = region(VHOST_USER_ADD_MEM_REG, 1ULL << 32);
	cr_assert(zero(u64, front_request(&rec.f, &m, &rec.f.g.memfd, 1)));
	cr_assert(eq(uint, rec.dev.gmem.nr, 2));
	m = region(VHOST_USER_ADD_MEM_REG, 1ULL << 32);
	cr_assert(eq(u64, front_request(&rec.f, &m, &rec.f.g.memfd, 1), 1));
	m = region(VHOST_USER_ADD_MEM_REG, 1ULL << 33);
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	m = region(VHOST_USER_REM_MEM_REG, 1ULL << 33);
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	m = region(VHOST_USER_REM_MEM_REG, 1ULL << 32);
	cr_assert(zero(u64, front_request(&rec.f, &m, &rec.f.g.memfd, 1)));
	cr_assert(eq(uint, rec.dev.gmem.nr, 1));
	/* Refused or not, the ring goes on. */
	cr_assert(eq(u32, front_wait_used(&rec.f, 0, add_in(0, 5)), 5));
}

/* ------------------------------------------------------------------- config */

Test(backend, config_is_read_and_written)
{
	char got[8];

	front_negotiate(&rec.f, V1);
	cr_assert(front_get_config(&rec.f, 0, got, 8));
	cr_assert(zero(int, memcmp(got, "12345678", 8)));
	cr_assert(front_set_config(&rec.f, 2, "xxxx", 4));
	cr_assert(front_get_config(&rec.f, 2, got, 4));
	cr_assert(zero(int, memcmp(got, "xx56", 4)));
}

Test(backend, config_out_of_bounds_is_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_CONFIG, 12 + 4);
	char got[16];

	front_negotiate(&rec.f, V1);
	cr_assert(not(front_get_config(&rec.f, 0, got, 9)));
	cr_assert(not(front_get_config(&rec.f, 8, got, 1)));
	cr_assert(not(front_get_config(&rec.f, 0xffffffffU, got, 4)));
	cr_assert(not(front_set_config(&rec.f, 6, "xxxx", 4)));
	m.payload.config.size = 200;
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	m = msg(VHOST_USER_SET_CONFIG, 12 + 4);
	m.payload.config.size = 4;
	m.payload.config.flags = 1;
	cr_assert(eq(u64, front_request(&rec.f, &m, NULL, 0), 1));
	cr_assert(zero(int, memcmp(rec.dev.config, "12345678", 8)));
}

Test(backend, config_without_its_protocol_feature_is_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_GET_CONFIG, 12 + 4);

	m.payload.config.size = 4;
	front_send(&rec.f, &m, NULL, 0);
	assert_closed();
}

Test(vhost_user, names_of_requests, .timeout = 120)
{
	cr_assert(zero(int, strcmp(vhost_user_name(VHOST_USER_SET_MEM_TABLE),
				   "SET_MEM_TABLE")));
	cr_assert(zero(int, strcmp(vhost_user_name(0), "unknown")));
	cr_assert(zero(int, strcmp(vhost_user_name(19), "unknown")));
	cr_assert(zero(int, strcmp(vhost_user_name(~0U), "unknown")));
}
