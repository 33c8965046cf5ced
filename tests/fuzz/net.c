/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network device: rings from the input, and packets from the far side of a
 * datagram socket in place of the tap.
 */
#define _GNU_SOURCE
#include "virtio/net/net.h"

#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz_ring.h"
#include "vmm/base/fd.h"

#define MAX_OPS 200
#define TUN_ALL (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)

static struct gmem gm;
static struct fuzz_ring rings[NET_NR_QUEUES];
static struct loop loop;
static uint8_t packet[80 << 10];

void fuzz_setup(void)
{
	fuzz_ram_create(&gm);
	fuzz_check(loop_init(&loop) == 0);
}

static void start(struct virtio_net *net, struct fuzz_in *in)
{
	uint64_t off = (uint64_t)fuzz_u32(in);

	net->dev.features = (net->dev.features_offered & ~(off & 0x7fffff)) |
			    1ULL << VIRTIO_F_VERSION_1;
	fuzz_check(net->dev.ops->start(&net->dev) == 0);
	net->dev.started = true;
	for (unsigned int q = 0; q < NET_NR_QUEUES; q++)
		fuzz_ring_start(&rings[q], &net->dev, q, (uint8_t)(off >> 30));
}

static void stop(struct virtio_net *net)
{
	for (unsigned int q = 0; q < NET_NR_QUEUES; q++)
		fuzz_ring_stop(&net->dev, q);
	net->dev.ops->stop(&net->dev);
	net->dev.started = false;
}

static void wire_send(int peer, struct fuzz_in *in)
{
	struct virtio_net_hdr_v1 hdr = { 0 };
	size_t len = fuzz_u16(in);

	hdr.flags = fuzz_u8(in);
	hdr.gso_type = fuzz_u8(in);
	hdr.gso_size = hdr.gso_type;
	memcpy(packet, &hdr, sizeof(hdr));
	(void)fuzz_bytes(in, packet + sizeof(hdr), MIN(len, 64U));
	(void)send(peer, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What the device sends is what was agreed on. */
static void wire_recv(const struct virtio_net *net, int peer)
{
	struct virtio_net_hdr_v1 hdr;
	ssize_t n;

	while ((n = recv(peer, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
		fuzz_check(n > (ssize_t)sizeof(hdr) &&
			   n <= (ssize_t)(sizeof(hdr) + NET_FRAME_MAX));
		memcpy(&hdr, packet, sizeof(hdr));
		fuzz_check(!hdr.flags ||
			   virtio_dev_has(&net->dev, VIRTIO_NET_F_CSUM));
		fuzz_check(!hdr.gso_type ||
			   virtio_dev_has(&net->dev, VIRTIO_NET_F_HOST_TSO4) ||
			   virtio_dev_has(&net->dev, VIRTIO_NET_F_HOST_TSO6));
	}
}

static void add_rx(struct fuzz_in *in)
{
	uint64_t gpa = FUZZ_BUF_GPA + fuzz_u16(in) % 0xc000;
	int32_t len = -(int32_t)fuzz_u16(in);

	fuzz_ring_add(&rings[NET_RX], &gpa, &len, 1);
}

static void add_tx(struct fuzz_in *in)
{
	uint64_t gpas[2] = { FUZZ_BUF_GPA, FUZZ_BUF_GPA + 64 };
	int32_t lens[2] = { NET_HDR_BYTES, fuzz_u16(in) };
	struct virtio_net_hdr_v1 hdr = { 0 };
	void *hva;

	hdr.flags = fuzz_u8(in);
	hdr.gso_type = fuzz_u8(in);
	hdr.hdr_len = fuzz_u8(in);
	hdr.gso_size = fuzz_u8(in);
	hdr.csum_start = fuzz_u8(in);
	hdr.csum_offset = fuzz_u8(in);
	fuzz_check(gmem_span(&gm, gpas[0], sizeof(hdr), &hva) == 0);
	memcpy(hva, &hdr, sizeof(hdr));
	fuzz_ring_add(&rings[NET_TX], gpas, lens, 2);
}

static void add_ctrl(struct fuzz_in *in)
{
	uint64_t at = FUZZ_BUF_GPA + 0x100;
	uint64_t gpas[3] = { at, at + 8, at + 0x80 };
	int32_t lens[3] = { 2, 1 + fuzz_u8(in) % 64, -1 };
	uint8_t *hva;

	fuzz_check(gmem_span(&gm, at, 0x80, (void **)&hva) == 0);
	(void)fuzz_bytes(in, hva, 2);
	(void)fuzz_bytes(in, hva + 8, (size_t)lens[1]);
	fuzz_ring_add(&rings[NET_CTRL], gpas, lens, 3);
}

/* What is kept for a sleeping guest has its place, and is whole. */
static void check_kept(const struct virtio_net *net)
{
	const struct net_wake *w = &net->wake;
	uint32_t at = w->head;

	fuzz_check(w->nr <= NET_KEPT_PACKETS + 1);
	fuzz_check(w->tail <= NET_KEPT_BYTES + NET_BOUNCE_BYTES + 4 ||
		   w->head > 0);
	for (unsigned int i = 0; i < w->nr; i++) {
		uint32_t len;

		memcpy(&len, w->store + at, sizeof(len));
		fuzz_check(len >= NET_HDR_BYTES + ETH_HLEN &&
			   len <= NET_HDR_BYTES + NET_FRAME_MAX);
		at += 4 + len;
	}
	fuzz_check(at == w->tail && at <= NET_STORE_BYTES);
	fuzz_check(!w->watching || (net->armed && !net->woken));
}

/* In reset and armed, up to seven packets come; then the driver is back. */
static void sleep_a_while(struct virtio_net *net, int peer, uint8_t how,
			  struct fuzz_in *in)
{
	stop(net);
	/* Sent under what was agreed on until now. */
	wire_recv(net, peer);
	net->dev.ops->wake_arm(&net->dev, true);
	for (unsigned int i = 0; i < (how & 7); i++) {
		wire_send(peer, in);
		if (how & 8)
			fuzz_turn(&loop, 4);
		check_kept(net);
	}
	net->dev.ops->wake_arm(&net->dev, false);
	check_kept(net);
	start(net, in);
}

static void step(struct virtio_net *net, int *peer, struct fuzz_in *in)
{
	uint8_t op = fuzz_u8(in);
	unsigned int q = (op >> 4) % NET_NR_QUEUES;

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
		add_tx(in);
		break;
	case 6:
		add_ctrl(in);
		break;
	case 7:
	case 8:
		wire_send(*peer, in);
		break;
	case 9:
		fuzz_ring_stop(&net->dev, q);
		fuzz_ring_start(&rings[q], &net->dev, q, op >> 6);
		break;
	case 10:
		net->dev.ops->wake_arm(&net->dev, op >> 7);
		break;
	case 11:
		if (op == 0xfb)
			fd_close(peer);
		if (op == 0xeb) {
			stop(net);
			/* Sent under what was agreed on until now. */
			wire_recv(net, *peer);
			start(net, in);
		}
		break;
	case 12:
		wire_recv(net, *peer);
		break;
	case 13:
		fuzz_turn(&loop, 4);
		break;
	case 15:
		sleep_a_while(net, *peer, op >> 4, in);
		break;
	default:
		net->dev.ops->kick(&net->dev, q);
		break;
	}
}

void fuzz_one(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	struct net_params cfg = { .has_mac = how & 1,
				  .wake_unicast = how & 0x80,
				  .tun_f = how & 2 ? TUN_ALL : 0 };
	struct virtio_net *net;
	int pair[2];

	fuzz_ram_clear(&gm);
	for (unsigned int q = 0; q < NET_NR_QUEUES; q++)
		fuzz_ring_init(&rings[q], &gm, q,
			       (uint16_t)(4U << (how >> 2) % 7));
	fuzz_check(socketpair(AF_UNIX,
			      SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			      pair) == 0);
	cfg.fd = pair[0];
	fuzz_check(net_create(&loop, &cfg, &net) == 0);
	start(net, in);
	for (int i = 0; i < MAX_OPS && in->len > 0; i++) {
		step(net, &pair[1], in);
		check_kept(net);
	}
	stop(net);
	virtio_net_ops.destroy(&net->dev);
	fd_close(&pair[1]);
}

/* Asleep with wake=unicast: a broadcast, a foreign frame, its own. */
static void seed_asleep(void)
{
	static const uint8_t head[] = { 0x93, 0, 0, 0, 0, 3, 0,
					1,    0, 3, 0, 1, 0, 0xbf };
	static const uint8_t dests[3][ETH_ALEN] = {
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 2 },
		{ 0 },
	};
	uint8_t buf[sizeof(head) + 3 * 30 + 8] = { 0 };
	uint8_t *p = buf + sizeof(head);

	memcpy(buf, head, sizeof(head));
	for (unsigned int i = 0; i < ARRAY_SIZE(dests); i++, p += 30) {
		/* Length, flags, kind of segments; 26 bytes, as many used. */
		p[0] = NET_HDR_BYTES + ETH_HLEN;
		memcpy(p + 4, dests[i], ETH_ALEN);
	}
	fuzz_seed(buf, sizeof(buf));
}

void fuzz_seeds(void)
{
	static const uint8_t receive[] = {
		0x13, 0,    0,	0,  0,	  3,	0,    1, 0,    8, 3, 0,	   16,
		0,    8,    14, 7,  0x40, 6,	1,    0, 1,    2, 3, 4,	   5,
		6,    7,    8,	9,  10,	  7,	0x40, 0, 0,    0, 1, 1,	   1,
		1,    0x0d, 9,	10, 14,	  0x0d, 0x8a, 7, 0x20, 0, 0, 0x0d, 0x0a,
	};
	static const uint8_t send_and_control[] = {
		0x13, 0,    0,	  0,	0, 5, 0x40, 0, 1, 1, 0, 60,   0,    14,
		16,   0x1e, 0x0c, 6,	5, 1, 1,    2, 4, 6, 8, 9,    6,    0,
		0,    0,    1,	  0x2e, 6, 7, 5,    0, 1, 0, 0, 0x2e, 0x0d,
	};

	seed_asleep();
	fuzz_seed(receive, sizeof(receive));
	fuzz_seed(send_and_control, sizeof(send_and_control));
}
