/* SPDX-License-Identifier: BSD-3-Clause */
/* A device process, truthful or not. */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz_peer.h"

#include <string.h>
#include <sys/socket.h>

#include "vmm/base/fd.h"

#define HDR sizeof(struct vhost_user_hdr)

static uint32_t pack(uint32_t request, uint32_t ring, uint32_t size)
{
	return request | (ring & 0xff) << 8 | (size & 0xffff) << 16;
}

void fuzz_peer_init(struct fuzz_peer *p, int fd)
{
	p->fd = fd;
	p->protocol = 0;
	p->nr = 0;
	p->len = 0;
	fuzz_check(fd_set_nonblock(fd, 1) == 0);
}

void fuzz_peer_finish(struct fuzz_peer *p)
{
	fd_close(&p->fd);
}

/* Notes what wants a reply. Return: bytes of the message, 0 if not whole. */
static size_t take_request(struct fuzz_peer *p, const uint8_t *at, size_t len)
{
	struct vhost_user_msg m;
	bool reply;

	if (len < HDR)
		return 0;
	memcpy(&m, at, HDR);
	fuzz_check(m.hdr.size <= sizeof(m.payload));
	if (len < HDR + m.hdr.size)
		return 0;
	memcpy(&m, at, HDR + m.hdr.size);
	if (m.hdr.request == VHOST_USER_SET_PROTOCOL_FEATURES)
		p->protocol = m.payload.u64;
	reply = m.hdr.request == VHOST_USER_GET_FEATURES ||
		m.hdr.request == VHOST_USER_GET_PROTOCOL_FEATURES ||
		m.hdr.request == VHOST_USER_GET_CONFIG ||
		m.hdr.request == VHOST_USER_GET_VRING_BASE ||
		m.hdr.flags & VHOST_USER_FLAG_NEED_REPLY;
	if (reply && p->nr < ARRAY_SIZE(p->asked))
		p->asked[p->nr++] =
			pack(m.hdr.request, m.payload.state.index, m.hdr.size);
	return HDR + m.hdr.size;
}

static void read_requests(struct fuzz_peer *p)
{
	for (;;) {
		size_t at = 0, n;
		ssize_t got = recv(p->fd, p->buf + p->len,
				   sizeof(p->buf) - p->len, MSG_DONTWAIT);

		if (got <= 0)
			return;
		p->len += (size_t)got;
		while ((n = take_request(p, p->buf + at, p->len - at)))
			at += n;
		p->len -= at;
		memmove(p->buf, p->buf + at, p->len);
	}
}

static void make_reply(uint32_t asked, struct vhost_user_msg *m)
{
	m->hdr.request = asked & 0xff;
	m->hdr.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
	m->hdr.size = 8;
	switch (m->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		m->payload.u64 = FUZZ_PEER_FEATURES;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->payload.u64 = UINT64_MAX;
		break;
	case VHOST_USER_GET_VRING_BASE:
		m->payload.state.index = asked >> 8 & 0xff;
		break;
	case VHOST_USER_GET_CONFIG:
		m->hdr.size = asked >> 16;
		break;
	default:
		break;
	}
}

/* Bends a reply as the input says. */
static void bend(struct vhost_user_msg *m, struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	switch (how & 7) {
	case 0:
		m->hdr.request = fuzz_u8(in);
		break;
	case 1:
		m->hdr.flags = fuzz_u8(in);
		break;
	case 2:
		m->hdr.size = fuzz_u16(in) >> (how >> 4);
		break;
	case 3:
		m->payload.u64 = fuzz_u64(in);
		break;
	case 4:
		m->payload.u64 ^= 1ULL << (fuzz_u8(in) & 63);
		break;
	case 5:
		(void)fuzz_bytes(in, (uint8_t *)m + HDR, how);
		break;
	default:
		break;
	}
}

void fuzz_peer_answer(struct fuzz_peer *p, struct fuzz_in *in, uint32_t n)
{
	unsigned int i;

	if (p->fd < 0)
		return;
	read_requests(p);
	for (i = 0; i < p->nr && i <= n; i++) {
		struct vhost_user_msg m;
		size_t len;

		memset(&m, 0, sizeof(m));
		make_reply(p->asked[i], &m);
		if (in && i == n)
			bend(&m, in);
		len = HDR + MIN(m.hdr.size, sizeof(m.payload));
		(void)send(p->fd, &m, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	p->nr -= i;
	memmove(p->asked, p->asked + i, p->nr * sizeof(p->asked[0]));
}

void fuzz_peer_raw(struct fuzz_peer *p, struct fuzz_in *in)
{
	uint8_t buf[256];
	size_t n = fuzz_bytes(in, buf, fuzz_u8(in));

	if (p->fd >= 0 && n > 0)
		(void)send(p->fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}
