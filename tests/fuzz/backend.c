/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user back end and its control channel: the front end sends what
 * the input says, with fds of all kinds, while real devices serve the rings it
 * sets up. Half of the messages are sensible, or no ring would ever run.
 */
#define _GNU_SOURCE
#include "virtio/vhost_user/backend.h"

#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz_ring.h"
#include "virtio/devctl.h"
#include "virtio/device.h"
#include "virtio/vhost_user/vhost_user.h"
#include "vmm/base/fd.h"

#define MAX_OPS	    100
#define MAX_FDS	    10U
#define RAM_BYTES   0x30000ULL
#define IMAGE_BYTES (64U << 10)

static struct loop loop;
static struct gmem gm; /* as the driver sees it */
static int ram = -1, image = -1;
static struct virtio_dev *dev;
static int sock = -1, ctl = -1, kick = -1, call = -1;
static struct fuzz_ring rings[VIRTIO_DEV_MAX_QUEUES];

void fuzz_setup(void)
{
	struct gmem_region region = { .gpa = FUZZ_RAM_GPA,
				      .size = RAM_BYTES,
				      .fd = -1 };

	fuzz_check(loop_init(&loop) == 0);
	ram = fd_memfd_sealed("ram", RAM_BYTES, 0);
	image = fd_memfd_sealed("disk", IMAGE_BYTES, 0);
	fuzz_check(ram >= 0 && image >= 0);
	region.hva = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			  ram, 0);
	fuzz_check(region.hva != MAP_FAILED);
	fuzz_check(gmem_add(&gm, &region) == 0);
}

/* ------------------------------------------------------------------- fds */

static int memfd_of(uint64_t size)
{
	int fd = memfd_create("odd", MFD_CLOEXEC);

	fuzz_check(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

static int pipe_end(int which)
{
	int pair[2];

	fuzz_check(pipe2(pair, O_CLOEXEC) == 0);
	fd_close(&pair[!which]);
	return pair[which];
}

static int make_fd(struct fuzz_in *in)
{
	uint8_t kind = fuzz_u8(in);

	switch (kind % 10) {
	case 0:
	case 1:
		return fcntl(ram, F_DUPFD_CLOEXEC, 0);
	case 2:
		return memfd_of(fuzz_u16(in) * 16ULL + kind / 16);
	case 3:
		return fd_memfd_sealed("small", fuzz_u8(in) * 4096ULL, 0);
	case 4:
		return pipe_end(kind & 1);
	case 5:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	case 6:
		return open("/", O_RDONLY | O_CLOEXEC);
	case 7: /* blocks, and is ready */
		return eventfd(kind & 0x10, EFD_CLOEXEC);
	default:
		return fcntl(kind & 1 ? kick : call, F_DUPFD_CLOEXEC, 0);
	}
}

static void send_fds(const void *buf, size_t len, int *fds, unsigned int nr)
{
	(void)!fd_sendmsg(sock, buf, len, fds, nr);
	while (nr > 0)
		fd_close(&fds[--nr]);
}

/* -------------------------------------------------------------- messages */

static void send_sane(uint32_t request, const void *payload, uint32_t size,
		      int fd)
{
	struct vhost_user_msg m = { .hdr = { request, VHOST_USER_VERSION,
					     size } };

	memcpy(&m.payload, payload, size);
	(void)!fd_sendmsg(sock, &m, sizeof(m.hdr) + size, &fd, fd >= 0);
}

static void send_u64(uint32_t request, uint64_t v, int fd)
{
	send_sane(request, &v, sizeof(v), fd);
}

static void send_state(uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_vring_state s = { index, num };

	send_sane(request, &s, sizeof(s), -1);
}

static void negotiate(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint64_t off = how & 0x80 ? fuzz_u64(in) : 0;
	struct vhost_user_mem_table t = {
		.nr = 1,
		.regions = { { FUZZ_RAM_GPA, RAM_BYTES, FUZZ_RAM_GPA, 0 } },
	};

	send_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 0xa209 & ~(off >> 48), -1);
	send_u64(VHOST_USER_SET_FEATURES,
		 (dev->features_offered & ~off) | (how & 1 ? 0 : 1ULL << 30),
		 -1);
	send_sane(VHOST_USER_SET_MEM_TABLE, &t, 8 + 32, ram);
}

static void start_ring(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t i = how % dev->nr_queues;
	struct fuzz_ring *r = &rings[i];
	struct vhost_user_vring_addr addr = { .index = i };

	fuzz_ring_init(r, &gm, i, (uint16_t)(1U << (how >> 4) % 9));
	addr.desc_user = r->desc_gpa;
	addr.avail_user = r->avail_gpa;
	addr.used_user = r->used_gpa;
	r->avail_idx = r->avail->idx;
	send_state(VHOST_USER_SET_VRING_NUM, i, r->size);
	send_state(VHOST_USER_SET_VRING_BASE, i, r->avail_idx);
	send_sane(VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	send_u64(VHOST_USER_SET_VRING_CALL, i, call);
	send_u64(VHOST_USER_SET_VRING_KICK, i, kick);
	send_state(VHOST_USER_SET_VRING_ENABLE, i, 1);
}

/* A message of the right form, or nearly so, with arguments of the input. */
static void send_message(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	struct vhost_user_msg m = { .hdr = { .request = fuzz_u8(in) % 40,
					     .flags = VHOST_USER_VERSION } };
	int fds[MAX_FDS];
	unsigned int nr = 0;

	if (how & 1)
		m.hdr.flags |= VHOST_USER_FLAG_NEED_REPLY;
	if (how & 2)
		m.hdr.flags = fuzz_u8(in);
	switch (m.hdr.request) {
	case VHOST_USER_SET_VRING_ADDR:
		m.hdr.size = sizeof(m.payload.addr);
		break;
	case VHOST_USER_SET_MEM_TABLE:
		m.hdr.size = 8 + (how >> 5) * 32U;
		break;
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		m.hdr.size = sizeof(m.payload.mem_reg);
		break;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		m.hdr.size = 12 + fuzz_u8(in);
		break;
	default:
		m.hdr.size = how & 4 ? 0 : 8;
		break;
	}
	if (how & 8)
		m.hdr.size = fuzz_u16(in);
	for (nr = 0; nr < (how >> 5) + (how >> 4 & 1) && nr < MAX_FDS; nr++)
		fds[nr] = make_fd(in);
	(void)fuzz_bytes(in, (uint8_t *)&m + sizeof(m.hdr),
			 MIN(m.hdr.size, sizeof(m.payload)));
	send_fds(&m, sizeof(m.hdr) + MIN(m.hdr.size, sizeof(m.payload)), fds,
		 nr);
}

static void send_raw(struct fuzz_in *in)
{
	uint8_t buf[256];
	uint8_t how = fuzz_u8(in);
	int fds[MAX_FDS];
	unsigned int nr = 0;
	size_t n;

	if (how & 1)
		fds[nr++] = make_fd(in);
	n = fuzz_bytes(in, buf, 1 + how);
	send_fds(buf, n, fds, nr);
}

static void send_ctl(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	struct devctl_msg m = { .type = how & 3,
				.generation = fuzz_u8(in),
				.arg = how >> 2 & 7 };
	uint8_t buf[64];

	if (how & 0x80)
		(void)!send(ctl, buf, fuzz_bytes(in, buf, how & 0x3f),
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		(void)!fd_sendmsg(ctl, &m, sizeof(m), how & 0x40 ? &ram : NULL,
				  how >> 6);
}

/* Replies are whole messages, marked as such. */
static void read_replies(void)
{
	static uint8_t buf[1 << 16];
	ssize_t n = recv(sock, buf, sizeof(buf), MSG_DONTWAIT);
	struct vhost_user_hdr h;

	for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(h) + h.size)) {
		fuzz_check(n - at >= (ssize_t)sizeof(h));
		memcpy(&h, buf + at, sizeof(h));
		fuzz_check(h.flags ==
			   (VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY));
		fuzz_check(n - at - (ssize_t)sizeof(h) >= (ssize_t)h.size);
	}
	while (recv(ctl, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void step(struct fuzz_in *in)
{
	uint8_t op = fuzz_u8(in);
	struct fuzz_ring *r = &rings[(op >> 4) % dev->nr_queues];

	switch (op % 16) {
	case 0:
		send_raw(in);
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		send_message(in);
		break;
	case 5:
		negotiate(in);
		break;
	case 6:
	case 7:
		start_ring(in);
		break;
	case 8:
		send_ctl(in);
		break;
	case 9:
		if (r->size)
			fuzz_ring_chain(r, in);
		break;
	case 10:
		if (r->size)
			fuzz_ring_mess(r, in);
		break;
	case 11:
		fuzz_ram_write(&gm, in);
		break;
	case 12:
		fd_event_signal(kick);
		break;
	case 13:
		read_replies();
		break;
	default:
		fuzz_turn(&loop, 20);
		break;
	}
}

/* ------------------------------------------------------------- life cycle */

/* @fds: of the device's far side, to be closed. */
static const struct virtio_dev_ops *make_device(uint8_t how, int fds[2])
{
	static const struct virtio_dev_ops *const types[] = {
		&virtio_rng_ops, &virtio_rng_ops, &virtio_console_ops,
		&virtio_blk_ops
	};
	const struct virtio_dev_ops *ops = types[how % 4];
	char words[2][40] = { "", "" };
	char *args[4] = { NULL };

	if (ops == &virtio_blk_ops) {
		(void)snprintf(words[0], sizeof(words[0]),
			       "path=/proc/self/fd/%d", image);
		args[0] = words[0];
		args[1] = how & 4 ? (char[]){ "engine=threads" } : NULL;
		fuzz_check(ops->create(&loop, args, virtio_no_fds, &dev) == 0);
		return ops;
	}
	if (ops == &virtio_console_ops) {
		fuzz_check(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
		fuzz_check(write(fds[1], "console", 7) == 7);
		(void)snprintf(words[0], sizeof(words[0]),
			       "in=/proc/self/fd/%d", fds[0]);
		(void)snprintf(words[1], sizeof(words[1]),
			       "out=/proc/self/fd/%d", fds[1]);
		args[0] = words[0];
		args[1] = words[1];
	}
	fuzz_check(ops->create(&loop, args, virtio_no_fds, &dev) == 0);
	return ops;
}

static struct backend *connect_backend(void)
{
	struct backend_config cfg;
	struct backend *be;
	int pair[2];

	fuzz_check(socketpair(AF_UNIX,
			      SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			      pair) == 0);
	sock = pair[0];
	cfg.vhost_fd = pair[1];
	fuzz_check(socketpair(AF_UNIX,
			      SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			      pair) == 0);
	ctl = pair[0];
	cfg.ctl_fd = pair[1];
	cfg.regpage_fd = fd_memfd_sealed("page", VIRTIO_REGPAGE_SIZE, 0);
	cfg.wake_fd = fd_event_create();
	fuzz_check(backend_create(dev, &loop, &cfg, &be) == 0);
	return be;
}

void fuzz_one(struct fuzz_in *in)
{
	const struct virtio_dev_ops *ops;
	struct backend *be;
	int fds[2] = { -1, -1 };

	fuzz_ram_clear(&gm);
	memset(rings, 0, sizeof(rings));
	loop.stopped = false;
	kick = fd_event_create();
	call = fd_event_create();
	ops = make_device(fuzz_u8(in), fds);
	be = connect_backend();
	for (int i = 0; i < MAX_OPS && in->len > 0 && !loop.stopped; i++)
		step(in);
	fuzz_turn(&loop, 20);
	read_replies();
	backend_destroy(be);
	ops->destroy(dev);
	(void)fd_event_drain(loop.stop_fd);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	fd_close(&sock);
	fd_close(&ctl);
	fd_close(&kick);
	fd_close(&call);
}

void fuzz_seeds(void)
{
	/* Role; negotiate, start both rings, a chain, kick, turn. */
	static const uint8_t serve[] = {
		0, 5,  0,  6,  0x40, 7, 0x41, 14, 9, 0, 0, 0,  1,  0,
		1, 12, 14, 13, 1,    0, 11,   0,  0, 0, 0, 14, 13,
	};
	/* Messages one by one, with acknowledgements. */
	static const uint8_t talk[] = {
		1,  5, 0, 14, 1,  0x31, 37, 0,	0, 0, 0,  0, 0, 0,  0,	0,
		0,  0, 0, 16, 0,  0,	0,  0,	0, 0, 16, 0, 0, 0,  0,	0,
		14, 1, 5, 34, 14, 1,	1,  24, 4, 0, 0,  0, 0, 4,  0,	0,
		0,  0, 0, 0,  0,  14,	13, 8,	1, 1, 8,  5, 2, 14, 13,
	};
	uint8_t buf[sizeof(serve)];

	for (uint8_t role = 0; role < 4; role++) {
		memcpy(buf, serve, sizeof(serve));
		buf[0] = role;
		fuzz_seed(buf, sizeof(buf));
	}
	fuzz_seed(talk, sizeof(talk));
}
