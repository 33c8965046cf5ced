/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket device and a guest that lies, floods, stops, resets and sleeps.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/vsock_rig.h"
#include "vmm/base/fd.h"

TestSuite(vsock_life, .init = vsock_test_setup_started,
	  .fini = vsock_test_teardown, .timeout = 240);
TestSuite(vsock_life_empty, .init = vsock_test_setup,
	  .fini = vsock_test_teardown, .timeout = 240);

/* ---------------------------------------------------------- a guest that lies
 */

Test(vsock_life, packets_that_are_dropped_or_reset)
{
	struct virtio_vsock_hdr h;
	struct guest_buf b = { vsock.tx_buf, 20, false };
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	/* Spoofed addresses: not a word. */
	h = hdr(STREAM, VIRTIO_VSOCK_OP_REQUEST, 1, 2);
	h.src_cid = CID + 1;
	tx(&h, NULL, 0);
	h.src_cid = CID | BIT(40);
	tx(&h, NULL, 0);
	h.src_cid = CID;
	h.dst_cid = 3;
	tx(&h, NULL, 0);
	/* Half a header. */
	cr_assert(zero(u32,
		       front_wait_used(&vsock.f, VSOCK_TX,
				       guest_ring_add(&vsock.f.ring[VSOCK_TX],
						      &b, 1))));
	rx_nothing();
	/* A RST is answered by nothing, all else to nobody by a RST. */
	tx_op(STREAM, VIRTIO_VSOCK_OP_RST, 77, 78);
	rx_nothing();
	for (uint16_t op = 0; op < 12; op++) {
		if (op == VIRTIO_VSOCK_OP_RST || op == VIRTIO_VSOCK_OP_REQUEST)
			continue;
		tx_op(STREAM, op, 77, 78);
		rx_op(&p, VIRTIO_VSOCK_OP_RST);
		cr_assert(eq(u32, p.h.dst_port, 77));
		cr_assert(eq(u32, p.h.src_port, 78));
	}
	/* An unknown type, with its type. */
	tx_op(9, VIRTIO_VSOCK_OP_REQUEST, 77, 78);
	rx_op(&p, VIRTIO_VSOCK_OP_RST);
	cr_assert(eq(u16, p.h.type, 9));
	/* The open one has not noticed. */
	tx_data(STREAM, 8, hport, "x", 1, 0);
	cr_assert(eq(u32, vsock.vs->nr_conns, 1));
	fd_close(&fd);
}

Test(vsock_life, wrong_packets_of_a_connection_reset_it)
{
	for (int i = 0; i < 5; i++) {
		struct virtio_vsock_hdr h;
		struct packet p;
		uint32_t hport;
		int fd = open_from_host(STREAM, 8, &hport);

		h = hdr(STREAM, VIRTIO_VSOCK_OP_RW, 8, hport);
		switch (i) {
		case 0: /* longer than its buffer */
			h.len = 100;
			tx(&h, "abc", 3);
			break;
		case 1:
			h.len = UINT32_MAX;
			tx(&h, "abc", 3);
			break;
		case 2:
			h.op = 0;
			tx(&h, NULL, 0);
			break;
		case 3:
			h.op = VIRTIO_VSOCK_OP_RESPONSE;
			tx(&h, NULL, 0);
			break;
		default: /* after its end */
			tx_shutdown(STREAM, 8, hport, VSOCK_SHUT_SEND);
			h.len = 1;
			tx(&h, "a", 1);
			break;
		}
		rx_op(&p, VIRTIO_VSOCK_OP_RST);
		cr_assert(eq(u32, p.h.src_port, hport));
		host_sees_end(fd);
		fd_close(&fd);
	}
	cr_assert(zero(u32, vsock.vs->nr_conns));
}

Test(vsock_life, a_request_for_an_open_pair_begins_anew)
{
	int fd = open_from_guest(STREAM, 3000, 52), again;
	char name[80];

	(void)snprintf(name, sizeof(name), "%s_52", vsock.path);
	cr_assert(zero(int, unlink(name)));
	again = open_from_guest(STREAM, 3000, 52);
	host_sees_end(fd);
	cr_assert(eq(u32, vsock.vs->nr_conns, 1));
	fd_close(&fd);
	fd_close(&again);
}

static void count(unsigned int *resets, unsigned int *responses)
{
	struct packet p;

	while (rx_maybe(&p)) {
		*resets += p.h.op == VIRTIO_VSOCK_OP_RST;
		*responses += p.h.op == VIRTIO_VSOCK_OP_RESPONSE;
	}
}

Test(vsock_life, a_flood_of_requests_is_bounded)
{
	unsigned int resets = 0, responses = 0;
	int listener = host_listen(STREAM, 52);

	for (uint32_t i = 0; i < 2000; i++) {
		tx_op(STREAM, VIRTIO_VSOCK_OP_REQUEST, 10000 + i, 52);
		cr_assert(le(u32, vsock.vs->nr_conns, VSOCK_MAX_CONNS));
		count(&resets, &responses);
	}
	while (vsock.vs->dial_busy) {
		dialled();
		count(&resets, &responses);
	}
	/* The listener's queue takes 64 or so; all others were refused. */
	cr_assert(ge(u32, responses, 60));
	cr_assert(le(u32, responses, 70));
	cr_assert(eq(u32, responses + resets, 2000));
	cr_assert(eq(u32, vsock.vs->nr_conns, responses));
	fd_close(&listener);
}

Test(vsock_life_empty, a_flood_without_receive_buffers_waits)
{
	const struct guest_buf b = { vsock.tx_buf,
				     sizeof(struct virtio_vsock_hdr), false };
	struct virtio_vsock_hdr h = hdr(STREAM, VIRTIO_VSOCK_OP_RW, 1, 2);
	unsigned int resets = 0;
	struct packet p;

	start_rings();
	memcpy(guest_ptr(&vsock.f.g, vsock.tx_buf), &h, sizeof(h));
	for (unsigned int i = 0; i < 200; i++)
		(void)guest_ring_add(&vsock.f.ring[VSOCK_TX], &b, 1);
	guest_ring_kick(&vsock.f.ring[VSOCK_TX]);
	assert_idle();
	/* As many as there is a place for; then the ring waits. */
	cr_assert(eq(u16, vsock.f.ring[VSOCK_TX].used->idx, VSOCK_MAX_RESETS));
	fill_rx(NR_RX);
	while (rx_maybe(&p)) {
		cr_assert(eq(u16, p.h.op, VIRTIO_VSOCK_OP_RST));
		resets++;
	}
	cr_assert(eq(u32, resets, 200));
	cr_assert(eq(u16, vsock.f.ring[VSOCK_TX].used->idx, 200));
}

Test(vsock_life_empty, tx_goes_on_without_receive_buffers)
{
	struct packet p;
	uint32_t hport;
	char got[8];
	int fd;

	start_rings();
	fill_rx(1);
	fd = open_from_host(STREAM, 8, &hport);
	/* The one buffer is in use for this. */
	host_send(fd, "x", 1);
	front_settle(&vsock.f);
	host_send(fd, "y", 1);
	assert_idle();
	for (int i = 0; i < 100; i++) {
		tx_data(STREAM, 8, hport, "abc", 3, 0);
		cr_assert(eq(sz, (size_t)host_recv(fd, got, sizeof(got)), 3));
	}
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	fd_close(&fd);
}

Test(vsock_life, hosts_that_say_nothing_do_not_fill_it)
{
	int fds[VSOCK_MAX_PENDING + 10];
	struct packet p;

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = host_connect(STREAM);
		front_settle(&vsock.f);
	}
	cr_assert(eq(u32, vsock.vs->nr_pending, VSOCK_MAX_PENDING));
	assert_idle();
	fd_close(&fds[0]);
	front_settle(&vsock.f);
	cr_assert(eq(u32, vsock.vs->nr_pending, VSOCK_MAX_PENDING));
	for (unsigned int i = 1; i < ARRAY_SIZE(fds); i++)
		fd_close(&fds[i]);
	rx_nothing();
	cr_assert(zero(u32, vsock.vs->nr_conns));
	fds[0] = host_connect(STREAM);
	host_send(fds[0], "CONNECT 1\n", 10);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	fd_close(&fds[0]);
}

Test(vsock_life_empty, a_receive_buffer_without_room_breaks_the_ring)
{
	const struct guest_buf b = { vsock.rx_buf,
				     sizeof(struct virtio_vsock_hdr), true };

	start_rings();
	(void)guest_ring_add(&vsock.f.ring[VSOCK_RX], &b, 1);
	guest_ring_kick(&vsock.f.ring[VSOCK_RX]);
	tx_op(STREAM, VIRTIO_VSOCK_OP_RW, 1, 2);
	front_wait_fd(&vsock.f, vsock.f.ring[VSOCK_RX].err_fd);
	assert_idle();
}

/* ------------------------------------------------- stop, start, reset, events
 */

static void stop_all(void)
{
	for (unsigned int q = 0; q < VSOCK_NR_QUEUES; q++) {
		uint16_t base = front_stop(&vsock.f, q);

		/* Nothing is held: buffers not used were given back. */
		cr_assert(eq(u16, base, vsock.f.ring[q].used->idx));
	}
	assert_idle();
}

Test(vsock_life, connections_stay_over_a_stop)
{
	struct packet p;
	uint32_t hport, gport = 3000;
	char got[8];
	int a = open_from_host(STREAM, 8, &hport);
	int b = open_from_guest(SEQPACKET, gport, 52);
	uint16_t used;

	for (int i = 0; i < 3; i++) {
		stop_all();
		used = vsock.f.ring[VSOCK_RX].used->idx;
		host_send(a, "while", 5);
		host_send(b, "stopped", 7);
		assert_idle();
		cr_assert(eq(u16, vsock.f.ring[VSOCK_RX].used->idx, used));
		start_rings();
		/* In either order. */
		for (int n = 0; n < 2; n++) {
			rx_op(&p, VIRTIO_VSOCK_OP_RW);
			cr_assert(eq(u32, p.h.len, p.h.type == STREAM ? 5 : 7));
		}
		tx_data(STREAM, 8, hport, "a", 1, 0);
		cr_assert(eq(sz, (size_t)host_recv(a, got, sizeof(got)), 1));
		tx_data(SEQPACKET, gport, 52, "b", 1, VIRTIO_VSOCK_SEQ_EOM);
		cr_assert(eq(sz, (size_t)host_recv(b, got, sizeof(got)), 1));
	}
	/* Ended while stopped: told after. */
	stop_all();
	fd_close(&a);
	assert_idle();
	start_rings();
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert(eq(u32, p.h.src_port, hport));
	rx_nothing();
	fd_close(&b);
}

Test(vsock_life, bytes_of_the_guest_go_on_while_stopped)
{
	uint32_t hport;
	static uint8_t got[65536];
	size_t n = 0, sent = 0;
	ssize_t more;
	int fd = open_from_host(STREAM, 8, &hport);

	fill_big();
	while (!vsock_bytes_len(&vsock.vs->conns[0]->out)) {
		tx_data(STREAM, 8, hport, vsock.big + sent, 60000, 0);
		sent += 60000;
	}
	stop_all();
	while ((more = host_recv(fd, got, sizeof(got))) > 0) {
		check_at(got, (size_t)more, n);
		n += (size_t)more;
	}
	cr_assert(eq(sz, n, sent));
	fd_close(&fd);
}

static void reset(void)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };

	cr_assert(zero(u64, front_request(&vsock.f, &m, NULL, 0)));
	for (unsigned int q = 0; q < VSOCK_NR_QUEUES; q++)
		front_ring_reset(&vsock.f, q);
	front_negotiate(&vsock.f, ALL);
}

Test(vsock_life, a_reset_drops_connections_and_keeps_those_to_come)
{
	struct packet p;
	uint32_t hport;
	int open = open_from_host(STREAM, 8, &hport);
	int asked = host_connect(STREAM), silent = host_connect(STREAM), late;

	host_send(asked, "CONNECT 9\n", 10);
	host_send(silent, "CONN", 4);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	stop_all();
	reset();
	host_sees_end(open);
	late = host_connect(STREAM);
	host_send(late, "CONNECT 10\n", 11);
	assert_idle();
	host_send(silent, "ECT 11\n", 7);
	assert_idle();
	start_rings();
	fill_rx(NR_RX);
	/* All three are asked for, of the driver that is there now. */
	for (int n = 0, seen = 0; n < 3; n++) {
		rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
		cr_assert(p.h.dst_port >= 9 && p.h.dst_port <= 11);
		cr_assert(zero(int, seen & 1 << p.h.dst_port));
		seen |= 1 << p.h.dst_port;
	}
	rx_nothing();
	/* It is a reset, not another machine. */
	cr_assert(zero(u16, vsock.f.ring[VSOCK_EVENT].used->idx));
	fd_close(&open);
	fd_close(&asked);
	fd_close(&silent);
	fd_close(&late);
}

Test(vsock_life_empty, a_process_that_takes_over_says_so)
{
	const uint64_t gpa = guest_alloc(&vsock.f.g, 64, 8);
	const struct guest_buf b = { gpa, 8, true };
	uint32_t id = 77;
	uint16_t head;

	memcpy(guest_ptr(&vsock.f.g, gpa), &id, sizeof(id));
	/* Rings that another process has used. */
	front_start_at(&vsock.f, VSOCK_RX, 0);
	(void)front_stop(&vsock.f, VSOCK_RX);
	vsock.vs->seen_rings = false;
	vsock.f.ring[VSOCK_RX].used->idx = vsock.f.ring[VSOCK_RX].avail->idx =
		7;
	vsock.f.ring[VSOCK_RX].avail_idx = vsock.f.ring[VSOCK_RX].last_used = 7;
	front_start_at(&vsock.f, VSOCK_RX, 7);
	front_start_at(&vsock.f, VSOCK_TX, 0);
	front_start_at(&vsock.f, VSOCK_EVENT, 0);
	head = guest_ring_add(&vsock.f.ring[VSOCK_EVENT], &b, 1);
	cr_assert(eq(u32, front_wait_used(&vsock.f, VSOCK_EVENT, head), 4));
	memcpy(&id, guest_ptr(&vsock.f.g, gpa), sizeof(id));
	cr_assert(eq(u32, id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET));
	/* Once. */
	(void)guest_ring_add(&vsock.f.ring[VSOCK_EVENT], &b, 1);
	guest_ring_kick(&vsock.f.ring[VSOCK_EVENT]);
	front_settle(&vsock.f);
	cr_assert(eq(u16, vsock.f.ring[VSOCK_EVENT].used->idx, 1));
}

/* As QEMU's front end does. */
Test(vsock_life_empty, works_without_the_event_queue)
{
	uint32_t hport;
	int fd;

	front_start_all(&vsock.f, 2);
	fill_rx(NR_RX);
	fd = open_from_host(STREAM, 8, &hport);
	fd_close(&fd);
}

/* --------------------------------------------------------------------- wake */

Test(vsock_life_empty, a_connection_wakes_once_and_is_delivered)
{
	struct packet p;
	int fd;

	front_wake_arm(&vsock.f, true);
	assert_idle();
	/* Not before it says where to. */
	fd = host_connect(STREAM);
	host_send(fd, "CONN", 4);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(vsock.f.wake_fd)));
	host_send(fd, "ECT 7\n", 6);
	front_wait_fd(&vsock.f, vsock.f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(vsock.f.wake_fd), 1));
	assert_idle();
	start_rings();
	fill_rx(NR_RX);
	rx_op(&p, VIRTIO_VSOCK_OP_REQUEST);
	cr_assert(eq(u32, p.h.dst_port, 7));
	fd_close(&fd);
}

Test(vsock_life_empty, once_it_has_woken_nothing_wakes_the_process)
{
	int fds[8];

	front_wake_arm(&vsock.f, true);
	for (int i = 0; i < 8; i++) {
		fds[i] = host_connect(STREAM);
		host_send(fds[i], "CONNECT 7\n", 10);
	}
	front_wait_fd(&vsock.f, vsock.f.wake_fd);
	front_settle(&vsock.f);
	for (int i = 0; i < 8; i++)
		fd_close(&fds[i]);
	assert_idle();
	cr_assert(eq(u64, fd_event_drain(vsock.f.wake_fd), 1));
}

Test(vsock_life_empty,
     a_connection_there_already_wakes_before_the_acknowledgement)
{
	int fd = host_connect(SEQPACKET);

	host_send(fd, "CONNECT 7", 9);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(vsock.f.wake_fd)));
	front_wake_arm(&vsock.f, true);
	cr_assert(eq(u64, fd_event_drain(vsock.f.wake_fd), 1));
	/* And again, as long as the guest has not taken it. */
	front_wake_arm(&vsock.f, true);
	cr_assert(eq(u64, fd_event_drain(vsock.f.wake_fd), 1));
	fd_close(&fd);
}

Test(vsock_life_empty, disarmed_or_wrong_it_does_not_wake)
{
	int fd;

	front_wake_arm(&vsock.f, true);
	fd = host_connect(STREAM);
	host_send(fd, "GET / HTTP/1.1\n", 15);
	front_settle(&vsock.f);
	host_sees_end(fd);
	fd_close(&fd);
	front_wake_arm(&vsock.f, false);
	fd = host_connect(STREAM);
	host_send(fd, "CONNECT 7\n", 10);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(vsock.f.wake_fd)));
	fd_close(&fd);
}

Test(vsock_life, bytes_and_the_end_of_an_open_connection_wake)
{
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	stop_all();
	front_wake_arm(&vsock.f, true);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(vsock.f.wake_fd)));
	host_send(fd, "x", 1);
	front_wait_fd(&vsock.f, vsock.f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(vsock.f.wake_fd), 1));
	host_send(fd, "y", 1);
	assert_idle();
	start_rings();
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u32, p.h.len, 2));
	stop_all();
	front_wake_arm(&vsock.f, true);
	fd_close(&fd);
	front_wait_fd(&vsock.f, vsock.f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(vsock.f.wake_fd), 1));
	assert_idle();
	start_rings();
	rx_op(&p, VIRTIO_VSOCK_OP_SHUTDOWN);
}

Test(vsock_life, bytes_without_credit_do_not_wake)
{
	struct virtio_vsock_hdr h;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	h = hdr(STREAM, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, hport);
	h.buf_alloc = 0;
	tx(&h, NULL, 0);
	host_send(fd, "x", 1);
	stop_all();
	front_wake_arm(&vsock.f, true);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(vsock.f.wake_fd)));
	fd_close(&fd);
}

Test(vsock_life, armed_while_live_delivers_and_wakes)
{
	struct packet p;
	uint32_t hport;
	int fd = open_from_host(STREAM, 8, &hport);

	front_wake_arm(&vsock.f, true);
	host_send(fd, "x", 1);
	rx_op(&p, VIRTIO_VSOCK_OP_RW);
	cr_assert(eq(u64, fd_event_drain(vsock.f.wake_fd), 1));
	fd_close(&fd);
}

/* ------------------------------------------------------------------ dialling
 */

Test(vsock_life_dial, answers_what_keeps_to_the_rules, .timeout = 240)
{
	struct vsock_dial q = { .port = 1, .type = STREAM };
	int pair[2];

	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, pair)));
	cr_assert(zero(int, vsock_dial_answer(pair[0], "/nonexistent/s")));
	cr_assert(eq(sz, (size_t)send(pair[1], &q, sizeof(q), 0), sizeof(q)));
	cr_assert(eq(int, vsock_dial_answer(pair[0], "/nonexistent/s"), 1));
	cr_assert(eq(sz, (size_t)recv(pair[1], &q, sizeof(q), 0), sizeof(q)));
	cr_assert(eq(sz, (size_t)send(pair[1], &q, 3, 0), 3));
	cr_assert(lt(int, vsock_dial_answer(pair[0], "/nonexistent/s"), 0));
	cr_assert(eq(sz, (size_t)send(pair[1], vsock.big, 100, 0), 100));
	cr_assert(lt(int, vsock_dial_answer(pair[0], "/nonexistent/s"), 0));
	q.type = 3;
	cr_assert(eq(int, vsock_dial("/tmp/x", &q), -EINVAL));
	fd_close(&pair[1]);
	cr_assert(eq(int, vsock_dial_answer(pair[0], "/x"), -ECONNRESET));
	fd_close(&pair[0]);
}
