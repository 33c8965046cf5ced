/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Socket device: rings and packets from the input, host programs at the other
 * end of its listening sockets' connections, and who dials for it.
 */
#define _GNU_SOURCE
#include "virtio/vsock/vsock.h"

#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/fuzz_ring.h"
#include "virtio/device.h"
#include "vmm/base/fd.h"

#define MAX_OPS	  200
#define NR_HOSTS  8U
#define GUEST_CID 3U

static struct gmem gm;
static struct fuzz_ring rings[VSOCK_NR_QUEUES];
static struct loop loop;
static uint8_t data[16 << 10];

static int hosts[NR_HOSTS]; /* ends of connections; -1: free */
static int listeners[2];    /* ours; the device has the same */
static struct sockaddr_un addresses[2];
static socklen_t address_lens[2];
static int dial_fd; /* the other end of its channel */
static int kick_fd;

/* An abstract address that the kernel chooses. */
static void listen_somewhere(int i, int type)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	address_lens[i] = sizeof(addresses[i]);
	listeners[i] = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(listeners[i] >= 0);
	fuzz_check(bind(listeners[i], (struct sockaddr *)&sa,
			sizeof(sa.sun_family)) == 0);
	fuzz_check(listen(listeners[i], 16) == 0);
	fuzz_check(getsockname(listeners[i], (struct sockaddr *)&addresses[i],
			       &address_lens[i]) == 0);
}

void fuzz_setup(void)
{
	fuzz_ram_create(&gm);
	fuzz_check(loop_init(&loop) == 0);
	kick_fd = fd_event_create();
	fuzz_check(kick_fd >= 0);
}

static void start(struct virtio_vsock *vs, struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	vs->dev.features = (vs->dev.features_offered & ~(uint64_t)(how & 7)) |
			   1ULL << VIRTIO_F_VERSION_1;
	vs->dev.started = true;
	for (unsigned int q = 0; q < VSOCK_NR_QUEUES; q++)
		fuzz_ring_start(&rings[q], &vs->dev, q, how >> 4);
}

static void stop(struct virtio_vsock *vs)
{
	for (unsigned int q = 0; q < VSOCK_NR_QUEUES; q++)
		fuzz_ring_stop(&vs->dev, q);
	vs->dev.started = false;
}

/* A packet of the guest: few ports, so that they meet. */
static void add_tx(struct virtio_vsock *vs, struct fuzz_in *in)
{
	uint64_t gpas[2] = { FUZZ_BUF_GPA, FUZZ_BUF_GPA + 64 };
	int32_t lens[2] = { VSOCK_HDR_BYTES, 0 };
	uint8_t how = fuzz_u8(in), port = fuzz_u8(in);
	uint32_t alloc = fuzz_u16(in) * 8U, fwd = fuzz_u16(in);
	uint32_t len = fuzz_u16(in);
	struct virtio_vsock_hdr h = {
		.src_cid = how == 0xff ? 9 : GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = port & 3U,
		.dst_port = port & 0x80
				    ? vs->next_host_port - 1 - (port >> 2 & 7)
				    : port >> 2 & 3U,
		.type = how & 0x40 ? VIRTIO_VSOCK_TYPE_SEQPACKET
				   : VIRTIO_VSOCK_TYPE_STREAM,
		.op = how & 15,
		.flags = how >> 4 & 3,
		.buf_alloc = alloc,
		.fwd_cnt = fwd,
		.len = len,
	};
	void *hva;

	lens[1] = how & 0x80 ? (int32_t)h.len : fuzz_u16(in);
	fuzz_check(gmem_span(&gm, gpas[0], sizeof(h), &hva) == 0);
	memcpy(hva, &h, sizeof(h));
	fuzz_ring_add(&rings[VSOCK_TX], gpas, lens, lens[1] ? 2 : 1);
	vs->dev.ops->kick(&vs->dev, VSOCK_TX);
}

static void add_rx(struct fuzz_in *in)
{
	uint64_t gpa = FUZZ_BUF_GPA + fuzz_u16(in) % 0xc000;
	int32_t len = -(int32_t)(fuzz_u16(in) % 0x3000);

	fuzz_ring_add(&rings[fuzz_u8(in) == 7 ? VSOCK_EVENT : VSOCK_RX], &gpa,
		      &len, 1);
}

/* A program of the host connects, and says what it says. */
static void host_connect(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	int *fd = &hosts[how % NR_HOSTS], i = how >> 3 & 1;
	char line[24];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", how >> 4 & 3);

	fd_close(fd);
	*fd = socket(AF_UNIX,
		     (i ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC |
			     SOCK_NONBLOCK,
		     0);
	if (connect(*fd, (struct sockaddr *)&addresses[i], address_lens[i]) <
	    0) {
		fd_close(fd);
		return;
	}
	if (how & 0x80)
		n = (int)fuzz_bytes(in, line, fuzz_u8(in) % sizeof(line));
	(void)send(*fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void host_does(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	int *fd = &hosts[how % NR_HOSTS];

	if (*fd < 0)
		return;
	switch (how >> 3 & 7) {
	case 0:
		fd_close(fd);
		break;
	case 1:
		(void)shutdown(*fd, how >> 6);
		break;
	case 2:
	case 3:
		(void)send(*fd, data, fuzz_u16(in) % sizeof(data),
			   MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	default:
		while (recv(*fd, data, sizeof(data), MSG_DONTWAIT) > 0 &&
		       how & 0x40)
			continue;
		break;
	}
}

/* The dialler answers, or does what it should not. */
static void dial(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	struct vsock_dial q;
	int pair[2], small = 4096;

	if (recv(dial_fd, &q, sizeof(q), MSG_DONTWAIT) != sizeof(q) &&
	    how != 0xfe)
		return;
	if (how & 3) {
		fuzz_check(socketpair(AF_UNIX,
				      (how & 4 ? SOCK_SEQPACKET : SOCK_STREAM) |
					      SOCK_CLOEXEC | SOCK_NONBLOCK,
				      0, pair) == 0);
		/* Soon full. */
		(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small,
				 sizeof(small));
		(void)!fd_sendmsg(dial_fd, &q, sizeof(q), &pair[0], 1);
		(void)close(pair[0]);
		fd_close(&hosts[how >> 3 & 7]);
		hosts[how >> 3 & 7] = pair[1];
	} else {
		(void)!fd_sendmsg(dial_fd, &q, sizeof(q), NULL, 0);
	}
}

static void check_conn(const struct vsock_conn *c)
{
	fuzz_check(c->rx_cnt - c->fwd_cnt <= VSOCK_BUF_BYTES);
	fuzz_check(vsock_bytes_len(&c->out) <= 2 * VSOCK_BUF_BYTES);
	fuzz_check(vsock_bytes_len(&c->part) <= VSOCK_BUF_BYTES);
	fuzz_check(vsock_bytes_len(&c->rec) <= VSOCK_RECORD_MAX);
	fuzz_check(c->state != VSOCK_GONE);
	fuzz_check(c->state != VSOCK_OPEN || c->fd >= 0);
}

static void check(const struct virtio_vsock *vs)
{
	unsigned int n = 0, pending = 0, orphans = 0, closing = 0;

	for (unsigned int i = 0; i < VSOCK_MAX_CONNS; i++) {
		const struct vsock_conn *c = vs->conns[i];

		if (!c)
			continue;
		check_conn(c);
		n++;
		pending += c->state == VSOCK_HELLO ||
			   c->state == VSOCK_WAITING ||
			   c->state == VSOCK_REQUESTED;
		orphans += c->state == VSOCK_ORPHAN;
		closing += c->state == VSOCK_CLOSING;
	}
	fuzz_check(n == vs->nr_conns && pending == vs->nr_pending);
	fuzz_check(orphans == vs->nr_orphans && closing == vs->nr_closing);
	fuzz_check(vs->nr_resets <= VSOCK_MAX_RESETS);
	fuzz_check(vs->nr_pending <= VSOCK_MAX_PENDING);
}

static void step(struct virtio_vsock *vs, struct fuzz_in *in)
{
	uint8_t op = fuzz_u8(in);
	unsigned int q = (op >> 4) % VSOCK_NR_QUEUES;

	switch (op % 16) {
	case 0:
		fuzz_ring_chain(&rings[q], in);
		break;
	case 1:
		fuzz_ring_mess(&rings[q], in);
		break;
	case 2:
		fuzz_ram_write(&gm, in);
		break;
	case 3:
	case 4:
		add_rx(in);
		break;
	case 5:
	case 6:
		add_tx(vs, in);
		break;
	case 7:
		host_connect(in);
		break;
	case 8:
	case 9:
		host_does(in);
		break;
	case 10:
		dial(in);
		break;
	case 11:
		fuzz_ring_stop(&vs->dev, q);
		fuzz_ring_start(&rings[q], &vs->dev, q, op >> 6);
		break;
	case 12:
		vs->dev.ops->wake_arm(&vs->dev, op >> 7);
		break;
	case 13:
		if (op >> 4 < 12)
			break;
		stop(vs);
		if (op & 0x10)
			vs->dev.ops->reset(&vs->dev);
		if (op & 0x20)
			vs->dev.ops->wake_arm(&vs->dev, true);
		fuzz_turn(&loop, 4);
		start(vs, in);
		break;
	case 14:
		fuzz_turn(&loop, 4);
		break;
	default:
		vs->dev.ops->kick(&vs->dev, q);
		break;
	}
}

/* @fds: the device's. */
static void give_fds(int fds[VIRTIO_DEV_MAX_FDS])
{
	int pair[2];

	fuzz_check(socketpair(AF_UNIX,
			      SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			      pair) == 0);
	dial_fd = pair[0];
	listen_somewhere(0, SOCK_STREAM);
	listen_somewhere(1, SOCK_SEQPACKET);
	fds[0] = dup(listeners[0]);
	fds[1] = dup(listeners[1]);
	fds[2] = pair[1];
	fuzz_check(fds[0] >= 0 && fds[1] >= 0);
}

void fuzz_one(struct fuzz_in *in)
{
	char cid[] = "cid=3";
	char *const args[] = { cid, NULL };
	int fds[VIRTIO_DEV_MAX_FDS] = { -1, -1, -1, -1 };
	struct virtio_dev *dev;
	struct virtio_vsock *vs;

	fuzz_ram_clear(&gm);
	for (unsigned int i = 0; i < NR_HOSTS; i++)
		hosts[i] = -1;
	for (unsigned int q = 0; q < VSOCK_NR_QUEUES; q++)
		fuzz_ring_init(&rings[q], &gm, q, 64);
	give_fds(fds);
	fuzz_check(virtio_vsock_ops.create(&loop, args, fds, &dev) == 0);
	vs = container_of(dev, struct virtio_vsock, dev);
	for (unsigned int q = 0; q < VSOCK_NR_QUEUES; q++) {
		virtq_init(&dev->queues[q]);
		dev->queues[q].kick_fd = kick_fd;
	}
	start(vs, in);
	for (int i = 0; i < MAX_OPS && in->len > 0; i++) {
		step(vs, in);
		check(vs);
	}
	stop(vs);
	virtio_vsock_ops.destroy(dev);
	for (unsigned int i = 0; i < NR_HOSTS; i++)
		fd_close(&hosts[i]);
	fd_close(&listeners[0]);
	fd_close(&listeners[1]);
	fd_close(&dial_fd);
}

/*
 * The guest connects to port 1, sends more than the host's socket takes, and
 * its end; the host reads. @kind: 0x40 records, 0 a stream.
 */
static void seed_slow_host(uint8_t kind, uint8_t len_high)
{
	uint8_t buf[256] = { 0 }, *p = buf + 1;
	const uint8_t request[] = { 5, 0x81 | kind, 5, 0, 16, 0, 0, 0, 0 };
	const uint8_t rw[] = { 5, 0x95 | kind, 5, 0, 16, 0, 0, 0, len_high };
	const uint8_t end[] = { 5, 0xa4 | kind, 5, 0, 16, 0, 0, 0, 0 };
	const uint8_t dialled[] = { 10, kind ? 5 : 1, 14 };
	const uint8_t read_all[] = { 8, 0x60, 14, 8, 0x60, 14 };

	p = mempcpy(p, request, sizeof(request));
	p = mempcpy(p, dialled, sizeof(dialled));
	for (int i = 0; i < 10; i++)
		p = mempcpy(p, rw, sizeof(rw));
	p = mempcpy(p, read_all, sizeof(read_all));
	for (int i = 0; i < 6; i++)
		p = mempcpy(p, rw, sizeof(rw));
	p = mempcpy(p, end, sizeof(end));
	p = mempcpy(p, read_all, sizeof(read_all));
	fuzz_seed(buf, (size_t)(p - buf));
}

void fuzz_seeds(void)
{
	/* rx buffers; the host connects to port 1; RESPONSE; both talk; end */
	static const uint8_t from_host[] = {
		0,    3,    0,	0,    0,    0x10, 0,	3,    0,  0x20,
		0,    0x10, 0,	3,    0,    0x40, 0,	0x10, 0,  3,
		0,    0x60, 0,	0x10, 0,    0x0f, 7,	0x10, 14, 5,
		0x82, 0x81, 0,	16,   0,    0,	  0,	0,    14, 8,
		0x10, 50,   0,	14,   5,    0x85, 0x81, 0,    16, 0,
		0,    40,   0,	9,    0x24, 8,	  0,	14,   5,  0x83,
		0x81, 0,    16, 0,    0,    0,	  0,	14,
	};
	/* the guest connects to port 1 by seqpacket and is answered */
	static const uint8_t from_guest[] = {
		0,  3, 0,  0,	 0,    0x10, 0,	   3,	 0, 0x20, 0,  0x10,
		0,  3, 0,  0x40, 0,    0x10, 0,	   0x0f, 5, 0xc1, 5,  0,
		16, 0, 0,  0,	 0,    10,   5,	   14,	 5, 0xc5, 5,  0,
		16, 0, 0,  40,	 0,    5,    0xd5, 5,	 0, 16,	  0,  0,
		40, 0, 14, 8,	 0x10, 50,   0,	   14,	 8, 0x00, 14,
	};

	fuzz_seed(from_host, sizeof(from_host));
	fuzz_seed(from_guest, sizeof(from_guest));
	seed_slow_host(0, 0x20);
	seed_slow_host(0x40, 4);
}
