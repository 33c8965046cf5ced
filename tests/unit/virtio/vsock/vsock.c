/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket device over its back end: each line of the checklist for what it
 * offers (virtio 1.x, 5.10), in both directions.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/vsock_rig.h"
#include "vmm/base/fd.h"

TestSuite(vsock, .init = vsock_test_setup_started, .fini = vsock_test_teardown,
	  .timeout = 240);
TestSuite(vsock_empty, .init = vsock_test_setup, .fini = vsock_test_teardown,
	  .timeout = 240);

/* ------------------------------------------------------- config and features
 */

Test(vsock, config_has_the_cid)
{
	uint64_t cid = 0;

	cr_assert(front_get_config(&vsock.f, 0, &cid, sizeof(cid)));
	cr_assert(eq(u64, cid, CID));
	cid = 77;
	cr_assert(front_set_config(&vsock.f, 0, &cid, sizeof(cid)));
	cr_assert(front_get_config(&vsock.f, 0, &cid, sizeof(cid)));
	cr_assert(eq(u64, cid, CID));
	cr_assert(eq(u64, vsock.f.features & 7, 7));
}

Test(vsock_create, refuses_reserved_cids_and_bad_words, .timeout = 240)
{
	static const char *const bad[] = {
		"cid=0", "cid=1",	   "cid=2",
		"cid=",	 "cid=4294967295", "cid=18446744073709551615",
		"cid=x", "what",	   "path=/nonexistent/x",
	};
	struct virtio_dev *d = NULL;
	struct loop loop;

	cr_assert(zero(int, loop_init(&loop)));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		char word[64], p[] = "path=/nonexistent/x";
		char *const args[] = { word, p, NULL };

		(void)snprintf(word, sizeof(word), "%s", bad[i]);
		cr_assert(lt(int,
			     virtio_vsock_ops.create(&loop, args, virtio_no_fds,
						     &d),
			     0),
			  "%s", bad[i]);
		cr_assert(d == NULL);
	}
	loop_finish(&loop);
	virtio_vsock_ops.destroy(NULL);
}

Test(vsock_empty, without_a_feature_bit_it_is_a_stream)
{
	struct packet p;
	int fd;
	uint32_t hport;

	front_negotiate(&vsock.f, BIT(VIRTIO_F_VERSION_1));
	start_rings();
	fill_rx(NR_RX);
	fd = open_from_host(STREAM, 7, &hport);
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	tx_op(SEQPACKET, VIRTIO_VSOCK_OP_REQUEST, 1, 2);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(eq(u16, p.h.type, SEQPACKET));
	/* And the host learns that there are no such sockets. */
	fd = host_connect(SEQPACKET);
	host_send(fd, "CONNECT 7\n", 10);
	front_settle(&vsock.f);
	host_sees_end(fd);
	fd_close(&fd);
}

Test(vsock_empty, no_implied_stream_means_it)
{
	struct packet p;
	int fd;

	front_negotiate(&vsock.f, BIT(VIRTIO_F_VERSION_1) |
					  BIT(VSOCK_F_SEQPACKET) |
					  BIT(VSOCK_F_NO_IMPLIED_STREAM));
	start_rings();
	fill_rx(NR_RX);
	tx_op(STREAM, VIRTIO_VSOCK_OP_REQUEST, 1, 2);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	fd = open_from_guest(SEQPACKET, 1, 3);
	fd_close(&fd);
}

/* ------------------------------------------------------------ opening, ending
 */

Test(vsock, host_connects_and_both_talk)
{
	struct packet p;
	uint32_t hport;
	char got[16];
	int fd = open_from_host(STREAM, 1024, &hport);

	host_send(fd, "hello", 5);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 5));
	cr_assert(zero(int, memcmp(p.data, "hello", 5)));
	tx_data(STREAM, 1024, hport, "hi", 2, 0);
	cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 2));
	cr_assert(zero(int, memcmp(got, "hi", 2)));
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.flags, VSOCK_SHUT_BOTH));
	tx_op(STREAM, VIRTIO_VSOCK_OP_RST, 1024, hport);
	rx_nothing();
	cr_assert(zero(u32, vsock.vs->nr_conns));
	assert_idle();
}

Test(vsock, bytes_behind_the_line_are_the_guests)
{
	struct packet p;
	int fd = host_connect(STREAM);
	char got[16];

	host_send(fd, "connect 9", 9);
	rx_nothing();
	host_send(fd, "9\nrest", 6);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	cr_assert(eq(u32, p.h.dst_port, 99));
	rx_nothing();
	tx_op(STREAM, VIRTIO_VSOCK_OP_RESPONSE, 99, p.h.src_port);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 4));
	cr_assert(zero(int, memcmp(p.data, "rest", 4)));
	cr_assert(gt(int, (int)host_recv(fd, got, sizeof(got)), 0));
	fd_close(&fd);
}

Test(vsock, wrong_first_lines_are_closed)
{
	static const char *const bad[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT 1 2\n",
		"CONNECT 4294967295\n",
		"CONNECT -1\n",
		"HELLO 5\n",
		"CONNECT 99999999999999999999\n",
		"CONNECT 1                                        \n",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = host_connect(STREAM);

		host_send(fd, bad[i], strlen(bad[i]));
		rx_nothing();
		host_sees_end(fd);
		fd_close(&fd);
	}
	cr_assert(zero(u32, vsock.vs->nr_conns));
}

Test(vsock, refused_by_the_guest)
{
	struct packet p;
	int fd = host_connect(STREAM);

	host_send(fd, "CONNECT 5\n", 10);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	tx_op(STREAM, VIRTIO_VSOCK_OP_RST, 5, p.h.src_port);
	host_sees_end(fd);
	rx_nothing();
	fd_close(&fd);
}

Test(vsock, host_gives_up_before_the_answer)
{
	struct packet p;
	int fd = host_connect(STREAM);

	host_send(fd, "CONNECT 5\n", 10);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(zero(u32, vsock.vs->nr_conns));
	/* A late answer finds nobody. */
	tx_op(STREAM, VIRTIO_VSOCK_OP_RESPONSE, 5, p.h.src_port);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
}

Test(vsock, guest_connects_and_both_talk)
{
	struct packet p;
	char got[16];
	int fd = open_from_guest(STREAM, 3000, 52);

	tx_data(STREAM, 3000, 52, "hello", 5, 0);
	cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 5));
	host_send(fd, "hi", 2);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 2));
	tx_op(STREAM, VIRTIO_VSOCK_OP_RST, 3000, 52);
	host_sees_end(fd);
	fd_close(&fd);
}

Test(vsock, nobody_listens_on_the_host)
{
	struct packet p;
	int fd;

	tx_op(STREAM, VIRTIO_VSOCK_OP_REQUEST, 1, 53);
	dialled();
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(eq(u32, p.h.src_port, 53));
	cr_assert(eq(u32, p.h.dst_port, 1));
	/* A listener of the other type is none. */
	fd = host_listen(SEQPACKET, 54);
	tx_op(STREAM, VIRTIO_VSOCK_OP_REQUEST, 1, 54);
	dialled();
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	fd_close(&fd);
	cr_assert(zero(u32, vsock.vs->nr_conns));
}

Test(vsock, half_close_by_the_host)
{
	struct packet p;
	char got[8];
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	host_send(fd, "last", 4);
	cr_assert(zero(int, shutdown(fd, SHUT_WR)));
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 4));
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.flags, VSOCK_SHUT_SEND));
	assert_idle();
	tx_data(STREAM, 8, hport, "more", 4, 0);
	cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 4));
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.flags, VSOCK_SHUT_BOTH));
	assert_idle();
}

Test(vsock, half_closes_by_the_guest_are_sticky)
{
	struct packet p;
	uint32_t hport;
	char got[8];
	int fd = open_from_host(STREAM, 8, &hport);

	tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_SEND);
	cr_assert(zero(int, (int)host_recv(fd, got, sizeof(got))));
	host_send(fd, "on", 2);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	tx_shutdown(STREAM, 8, hport, 0);
	rx_nothing();
	tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_RCV);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(zero(u32, vsock.vs->nr_conns));
	fd_close(&fd);
}

Test(vsock, guest_that_receives_no_more_stops_the_host)
{
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_RCV);
	cr_assert(lt(int, (int)send(fd, "x", 1, MSG_NOSIGNAL), 0));
	cr_assert(eq(int, errno, EPIPE));
	assert_idle();
	fd_close(&fd);
}

Test(vsock, both_ends_of_the_guest_with_bytes_left_for_the_host)
{
	struct packet p;
	uint32_t hport;
	size_t n = 0;
	ssize_t more;
	int fd = open_from_host(STREAM, 8, &hport);
	static uint8_t got[VSOCK_BUF_BYTES * 2];
	uint32_t sent = 0;

	fill_big();
	/* Until the host's socket is full and our buffer has some. */
	while (!vsock_bytes_len(&vsock.vs->conns[0]->out)) {
		tx_data(STREAM, 8, hport, vsock.big, 65536, 0);
		sent += 65536;
		cr_assert(le(u32, sent, sizeof(vsock.big)));
		memmove(vsock.big, vsock.big + 65536,
			sizeof(vsock.big) - 65536);
	}
	tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_BOTH);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(eq(u32, vsock.vs->nr_orphans, 1));
	/* The guest may have the same ports at once. */
	while ((more = host_recv(fd, got, sizeof(got))) > 0) {
		check_at(got, (size_t)more, n);
		n += (size_t)more;
	}
	cr_assert(eq(sz, n, sent));
	cr_assert(zero(u32, vsock.vs->nr_conns));
	fd_close(&fd);
}

Test(vsock, a_guest_that_does_not_end_is_reset_after_a_time)
{
	struct packet p;
	uint32_t hport;
	struct pollfd pfd = { .fd = vsock.f.loop.epoll_fd, .events = POLLIN };
	int fd = open_from_host(STREAM, 8, &hport);

	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, vsock.vs->nr_conns, 1));
	/* Stopped, its time stands still. */
	(void)front_stop(&vsock.f, VSOCK_RX);
	(void)front_stop(&vsock.f, VSOCK_TX);
	cr_assert(zero(u64, vsock.vs->close_timer.deadline_ns));
	front_start(&vsock.f, VSOCK_RX);
	front_start(&vsock.f, VSOCK_TX);
	front_settle(&vsock.f);
	cr_assert(vsock.vs->close_timer.deadline_ns != 0);
	for (int i = 0; i < 2; i++) {
		cr_assert(eq(int, poll(&pfd, 1, 30000), 1));
		front_settle(&vsock.f);
	}
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(zero(u32, vsock.vs->nr_conns));
	assert_idle();
}

/* ------------------------------------------------------------------- credit */

Test(vsock, credit_is_told_and_asked)
{
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	tx_data(STREAM, 8, hport, "abc", 3, 0);
	rx_nothing();
	tx_op(STREAM, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 8, hport);
	cr_assert(rx_maybe(&p));
	cr_assert(eq(u16, p.h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE));
	cr_assert(eq(u32, p.h.buf_alloc, VSOCK_BUF_BYTES));
	cr_assert(eq(u32, p.h.fwd_cnt, 3));
	fd_close(&fd);
}

Test(vsock, no_more_than_the_guest_has_credit_for)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport, got = 0;
	int fd = open_from_host(STREAM, 8, &hport);

	h = hdr(STREAM, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 10000;
	tx(&h, NULL, 0);
	fill_big();
	host_send(fd, vsock.big, 30000);
	while (rx_maybe(&p) && p.h.op == VIRTIO_VSOCK_OP_RW) {
		check_at(p.data, p.h.len, got);
		got += p.h.len;
	}
	cr_assert(eq(u32, got, 10000));
	cr_assert(eq(u16, p.h.op, VIRTIO_VSOCK_OP_CREDIT_REQUEST));
	/* Asked for once; the socket is not polled. */
	rx_nothing();
	assert_idle();
	h.fwd_cnt = 4000;
	tx(&h, NULL, 0);
	while (rx_maybe(&p) && p.h.op == VIRTIO_VSOCK_OP_RW)
		got += p.h.len;
	cr_assert(eq(u32, got, 14000));
	/* A liar gets nothing. */
	h.fwd_cnt = 99999;
	tx(&h, NULL, 0);
	while (rx_maybe(&p))
		cr_assert(ne(u16, p.h.op, VIRTIO_VSOCK_OP_RW));
	assert_idle();
	fd_close(&fd);
}

Test(vsock, counters_wrap)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport;
	char got[8];
	int fd = open_from_host(STREAM, 8, &hport);
	struct vsock_conn *c = vsock.vs->conns[0];

	c->rx_cnt = c->fwd_cnt = c->told_fwd_cnt = UINT32_MAX - 1;
	c->tx_cnt = UINT32_MAX - 2;
	h = hdr(STREAM, VIRTIO_VSOCK_OP_RW, 8, hport);
	h.fwd_cnt = UINT32_MAX - 2;
	h.len = 5;
	tx(&h, "12345", 5);
	cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 5));
	cr_assert(eq(u32, c->fwd_cnt, 3));
	host_send(fd, "123456", 6);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 6));
	cr_assert(eq(u32, p.h.fwd_cnt, 3));
	cr_assert(eq(u32, vsock_credit(c), PEER_ALLOC - 6));
	fd_close(&fd);
}

/* The host does not read: the guest may send its credit, and a byte more not.
 */
static void overrun(uint16_t type)
{
	struct packet p;
	uint32_t hport, sent = 0, fwd = 0;
	int fd = open_from_host(type, 8, &hport);

	fill_big();
	while (vsock.vs->nr_conns && sent - fwd < VSOCK_BUF_BYTES) {
		uint32_t n = MIN(VSOCK_BUF_BYTES - (sent - fwd), 50000U);

		tx_data(type, 8, hport, vsock.big, n, VIRTIO_VSOCK_SEQ_EOM);
		sent += n;
		while (rx_maybe(&p))
			cr_assert(
				eq(u16, p.h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE));
		/* What it knows may be less than it has. */
		fwd = vsock.vs->conns[0]->fwd_cnt;
	}
	assert_idle();
	cr_assert(le(u32, vsock_bytes_len(&vsock.vs->conns[0]->out),
		     2 * VSOCK_BUF_BYTES));
	tx_data(type, 8, hport, vsock.big, 1, VIRTIO_VSOCK_SEQ_EOM);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(zero(u32, vsock.vs->nr_conns));
	fd_close(&fd);
}

Test(vsock, credit_overrun_is_reset)
{
	overrun(STREAM);
}

Test(vsock, credit_overrun_by_records_is_reset)
{
	overrun(SEQPACKET);
}

Test(vsock, tiny_records_stay_within_twice_their_bytes)
{
	struct packet p;
	uint32_t hport;
	struct vsock_conn *c;
	int fd = open_from_host(SEQPACKET, 8, &hport);
	unsigned int n = 0, m = 0;
	char byte;

	c = vsock.vs->conns[0];
	/* More than a socket takes; a part of the credit is enough. */
	while (c->rx_cnt - c->fwd_cnt < 3000) {
		byte = (char)n++;
		tx_data(SEQPACKET, 8, hport, &byte, 1, VIRTIO_VSOCK_SEQ_EOM);
	}
	cr_assert(le(u32, vsock_bytes_len(&c->out), 6000));
	while (rx_maybe(&p))
		continue;
	while (host_recv(fd, &byte, 1) == 1)
		cr_assert(eq(u8, (uint8_t)byte, (uint8_t)m++));
	cr_assert(eq(u32, m, n));
	fd_close(&fd);
}

/* -------------------------------------------------------------- a lot of bytes
 */

Test(vsock, stream_to_a_slow_host_is_whole)
{
	struct packet p;
	uint32_t hport, sent = 0;
	size_t n = 0;
	static uint8_t got[4096];
	int fd = open_from_host(STREAM, 8, &hport);
	struct vsock_conn *c = vsock.vs->conns[0];

	fill_big();
	while (n < sizeof(vsock.big)) {
		uint32_t room = VSOCK_BUF_BYTES - (c->rx_cnt - c->told_fwd_cnt);
		uint32_t len = MIN(room, 60000U);
		ssize_t r;

		len = MIN(len, (uint32_t)sizeof(vsock.big) - sent);
		if (len)
			tx_data(STREAM, 8, hport, vsock.big + sent, len, 0);
		sent += len;
		r = host_recv(fd, got, sizeof(got));
		cr_assert(gt(int, (int)r, 0), "stuck at %zu of %u", n, sent);
		check_at(got, (size_t)r, n);
		n += (size_t)r;
		while (rx_maybe(&p))
			cr_assert(
				eq(u16, p.h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE));
	}
	fd_close(&fd);
}

Test(vsock, stream_to_a_slow_guest_is_whole)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport, got = 0;
	size_t sent = 0;
	int fd = open_from_host(STREAM, 8, &hport);

	fill_big();
	h = hdr(STREAM, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 20000;
	tx(&h, NULL, 0);
	while (got < sizeof(vsock.big)) {
		ssize_t n = send(fd, vsock.big + sent, sizeof(vsock.big) - sent,
				 MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		while (rx_maybe(&p)) {
			if (p.h.op != VIRTIO_VSOCK_OP_RW)
				continue;
			check_at(p.data, p.h.len, got);
			got += p.h.len;
			cr_assert(le(u32, got - h.fwd_cnt, 20000));
		}
		h.fwd_cnt = got;
		tx(&h, NULL, 0);
	}
	fd_close(&fd);
}

/* ------------------------------------------------------------------- records
 */

Test(vsock, records_keep_their_bounds)
{
	struct packet p;
	uint32_t hport, got = 0;
	char buf[64];
	int fd = open_from_host(SEQPACKET, 8, &hport);

	tx_data(SEQPACKET, 8, hport, "one", 3, VIRTIO_VSOCK_SEQ_EOM);
	tx_data(SEQPACKET, 8, hport, "tw", 2, 0);
	cr_assert(eq(sz, (size_t)host_recv(fd, buf, sizeof(buf)), 3));
	cr_assert(eq(int, (int)host_recv(fd, buf, sizeof(buf)), -EAGAIN));
	tx_data(SEQPACKET, 8, hport, "o", 1,
		VIRTIO_VSOCK_SEQ_EOM | VIRTIO_VSOCK_SEQ_EOR);
	cr_assert(eq(sz, (size_t)host_recv(fd, buf, sizeof(buf)), 3));
	cr_assert(zero(int, memcmp(buf, "two", 3)));
	/* An empty one is dropped either way, and ends nothing. */
	tx_data(SEQPACKET, 8, hport, "", 0, VIRTIO_VSOCK_SEQ_EOM);
	host_send(fd, "", 0);
	front_settle(&vsock.f);
	host_send(fd, "", 0);
	host_send(fd, "three", 5);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 5));
	cr_assert(eq(u32, p.h.flags, VIRTIO_VSOCK_SEQ_EOM));
	/* In many packets, the last of which says so. */
	fill_big();
	host_send(fd, vsock.big, 20000);
	do {
		rx_op(&p, VIRTIO_VSOCK_OP_RW);
		check_at(p.data, p.h.len, got);
		got += p.h.len;
		cr_assert(eq(u32, p.h.flags,
			     got == 20000 ? VIRTIO_VSOCK_SEQ_EOM : 0));
	} while (got < 20000);
	fd_close(&fd);
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.flags, VSOCK_SHUT_BOTH));
}

Test(vsock, a_record_waits_for_credit_and_is_whole)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport, got = 0;
	int fd = open_from_host(SEQPACKET, 8, &hport);

	fill_big();
	h = hdr(SEQPACKET, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 50000;
	tx(&h, NULL, 0);
	host_send(fd, vsock.big, 30000);
	host_send(fd, vsock.big + 30000, 30000);
	(void)shutdown(fd, SHUT_WR);
	while (rx_maybe(&p)) {
		cr_assert(eq(u16, p.h.op, VIRTIO_VSOCK_OP_RW));
		check_at(p.data, p.h.len, got);
		got += p.h.len;
	}
	cr_assert(eq(u32, got, 50000));
	assert_idle();
	h.fwd_cnt = 30000;
	tx(&h, NULL, 0);
	while (got < 60000) {
		rx_op(&p, VIRTIO_VSOCK_OP_RW);
		got += p.h.len;
	}
	cr_assert(eq(u32, p.h.flags, VIRTIO_VSOCK_SEQ_EOM));
	/* The end comes after it. */
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	fd_close(&fd);
}

Test(vsock, records_beyond_the_limits_are_reset)
{
	struct virtio_vsock_hdr h;
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(SEQPACKET, 8, &hport);

	host_send(fd, vsock.big, VSOCK_RECORD_MAX + 1);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	host_sees_end(fd);
	fd_close(&fd);
	/* More than the guest could ever hold. */
	fd = open_from_host(SEQPACKET, 8, &hport);
	h = hdr(SEQPACKET, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 100;
	tx(&h, NULL, 0);
	host_send(fd, vsock.big, 101);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	fd_close(&fd);
}

Test(vsock, guest_connects_by_seqpacket)
{
	struct packet p;
	char buf[8];
	int fd = open_from_guest(SEQPACKET, 30, 60);

	tx_data(SEQPACKET, 30, 60, "ab", 2, VIRTIO_VSOCK_SEQ_EOM);
	cr_assert(eq(sz, (size_t)host_recv(fd, buf, sizeof(buf)), 2));
	host_send(fd, "c", 1);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	fd_close(&fd);
}
