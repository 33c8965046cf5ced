/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user front end against a hostile device process: its replies are
 * true, nearly true or anything. Every operation ends once, not within the
 * call that began it.
 */
#define _GNU_SOURCE
#include "virtio/vhost_user/frontend.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz_peer.h"
#include "tests/fuzz/fuzz_ring.h"
#include "vmm/base/fd.h"

#define MAX_OPS	    100
#define NR_RINGS    3
#define CONFIG_SIZE 24

static struct loop loop;
static struct gmem gm;
static struct frontend fe;
static struct fuzz_peer peer;
static bool begun, within_call, failed;

void fuzz_setup(void)
{
	fuzz_check(loop_init(&loop) == 0);
	fuzz_ram_create(&gm);
	/* To be sent; what it is, no one looks at. */
	for (unsigned int i = 0; i < gm.nr; i++)
		gm.regions[i].fd = loop.epoll_fd;
}

static void on_failed(struct frontend *f, const char *why)
{
	fuzz_check(f->failed && !failed && !within_call);
	failed = true;
}

static void done(struct frontend *f, int r)
{
	fuzz_check(begun && !within_call && !f->busy);
	fuzz_check(r <= 0);
	begun = false;
}

static void set_rings(struct fuzz_in *in)
{
	for (unsigned int i = 0; i < NR_RINGS; i++) {
		uint8_t how = fuzz_u8(in);

		fe.rings[i].size = (uint16_t)(1U << (how & 7));
		fe.rings[i].base = how;
		fe.rings[i].desc_gpa = FUZZ_RAM_GPA + (how >> 3) * 0x1000ULL;
		fe.rings[i].avail_gpa = FUZZ_RAM_GPA;
		fe.rings[i].used_gpa = FUZZ_FAR_GPA + (how >> 3) * 0x100ULL;
	}
}

static void operate(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t mask = how >> 3 & 7;
	uint8_t data[8] = { how };

	if (begun)
		return;
	begun = true;
	within_call = true;
	switch (how & 7) {
	case 0:
	case 1:
		set_rings(in);
		frontend_start(&fe, 1ULL << 32, mask, done);
		break;
	case 2:
		frontend_stop(&fe, mask, done);
		break;
	case 3:
		frontend_reset(&fe, done);
		break;
	case 4:
		frontend_set_config(&fe, how >> 3, data, how >> 5, done);
		break;
	case 5:
		frontend_get_config(&fe, done);
		break;
	default:
		frontend_handshake(&fe, how & 0x80 ? 0 : CONFIG_SIZE, done);
		break;
	}
	within_call = false;
}

static void step(struct fuzz_in *in)
{
	uint8_t op = fuzz_u8(in);

	switch (op % 8) {
	case 0:
	case 1:
		operate(in);
		break;
	case 2:
		fuzz_peer_raw(&peer, in);
		break;
	case 3:
		fuzz_peer_answer(&peer, in, op >> 3);
		break;
	case 4:
		if (op == 0xfc)
			fd_close(&peer.fd);
		break;
	default:
		fuzz_peer_answer(&peer, NULL, UINT32_MAX);
		fuzz_turn(&loop, 4);
		break;
	}
}

static void make_fds(int fds[3])
{
	for (unsigned int i = 0; i < 3; i++) {
		fds[i] = fd_event_create();
		fuzz_check(fds[i] >= 0);
	}
	for (unsigned int i = 0; i < FRONTEND_MAX_RINGS; i++) {
		fe.rings[i].kick_fd = fds[0];
		fe.rings[i].call_fd = i ? fds[1] : -1;
		fe.rings[i].err_fd = fds[2];
	}
}

void fuzz_one(struct fuzz_in *in)
{
	int fds[3], pair[2];

	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ==
		   0);
	fuzz_check(frontend_init(&fe, &loop, pair[0], &gm, 1ULL << 40) == 0);
	fuzz_peer_init(&peer, pair[1]);
	fe.on_failed = on_failed;
	make_fds(fds);
	begun = true;
	failed = false;
	frontend_handshake(&fe, CONFIG_SIZE, done);
	for (int i = 0; i < MAX_OPS && in->len > 0; i++)
		step(in);
	/* Whatever state it is in, the end of the peer ends the operation. */
	fuzz_peer_finish(&peer);
	for (int i = 0; i < 1000 && begun; i++)
		fuzz_check(loop_turn(&loop, 10) == 0);
	fuzz_check(!begun);
	frontend_finish(&fe);
	for (unsigned int i = 0; i < 3; i++)
		fd_close(&fds[i]);
}

void fuzz_seeds(void)
{
	static const uint8_t live[] = {
		5, 5,	 5,    0, 0x38, 3,    4, 5, 5,	  0, 0x3a,
		5, 0,	 0x8c, 5, 0,	0x0d, 5, 0, 0x3b, 5, 5,
		0, 0x38, 3,    4, 5,	3,    1, 5, 5,
	};
	static const uint8_t lies[] = {
		5, 3, 0x10, 5, 2, 20, 1, 0, 0, 0, 5, 0,	   0, 0, 8, 0,
		0, 0, 1,    2, 3, 4,  5, 6, 7, 8, 5, 0xfc, 0, 3, 5,
	};

	fuzz_seed(live, sizeof(live));
	fuzz_seed(lies, sizeof(lies));
}
