/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Console: a stream of bytes each way, over pipes. Each byte says where in the
 * stream it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <string.h>
#include <unistd.h>

#include "tests/contract/rig.h"
#include "tests/contract/stream.h"
#include "vmm/base/fd.h"

#define RX	 0U
#define TX	 1U
#define SLOTS	 CONSOLE_QUEUE_SIZE
#define BUF_SIZE 48U /* bytes */
#define NR_RX	 16U /* buffers to receive into */
#define DEPTH	 32U
#define FLOOD	 8192U /* bytes; more than the buffers hold */

static int in[2] = { -1, -1 };	/* the host writes in[1] */
static int out[2] = { -1, -1 }; /* the host reads out[0] */
static uint64_t rx_bufs, tx_bufs;
/* Places in the streams, and transmit buffers not used yet. */
static uint64_t tx_sent, tx_seen, host_sent, rx_seen;
static bool tx_pending[SLOTS];
static unsigned int nr_tx;

static void open_pipes(struct spawn_request *req)
{
	static char cols[] = "cols=80", rows[] = "rows=25";

	cr_assert(zero(int, pipe2(in, O_CLOEXEC)));
	cr_assert(zero(int, pipe2(out, O_CLOEXEC)));
	for (int i = 0; i < 2; i++) {
		cr_assert(zero(int, fd_set_nonblock(in[i], 1)));
		cr_assert(zero(int, fd_set_nonblock(out[i], 1)));
	}
	req->args[0] = cols;
	req->args[1] = rows;
	req->backend_fds[req->nr_backend_fds++] = TAKE_FD(in[0]);
	req->backend_fds[req->nr_backend_fds++] = TAKE_FD(out[1]);
	rig_watch_host(out[0]);
}

static void close_pipes(void)
{
	for (int i = 0; i < 2; i++) {
		fd_close(&in[i]);
		fd_close(&out[i]);
	}
}

/* Receives, so that requests can also wait. */
static unsigned int request(struct guest *g, struct guest_buf *b, uint64_t gpa)
{
	b[0] = (struct guest_buf){ gpa, 4, true };
	return 1;
}

static void host_write(void)
{
	cr_assert(zero(int, fd_write_all(in[1], "0123456789", 10)));
}

static void rx_post(uint16_t slot)
{
	struct guest_buf b = { rx_bufs + slot * BUF_SIZE, BUF_SIZE, true };

	cr_assert(eq(u16, rig.ring[RX].next_desc, slot));
	(void)guest_ring_add(&rig.ring[RX], &b, 1);
}

static void live(void)
{
	uint8_t bytes[4096];

	if (!rx_bufs) {
		rx_bufs = guest_alloc(&rig.g, SLOTS * BUF_SIZE, 64);
		tx_bufs = guest_alloc(&rig.g, SLOTS * BUF_SIZE, 64);
	}
	/* What a reset has dropped is no longer to come. */
	memset(tx_pending, 0, sizeof(tx_pending));
	nr_tx = 0;
	tx_seen = tx_sent;
	while (read(out[0], bytes, sizeof(bytes)) > 0)
		;
	for (uint16_t i = 0; i < NR_RX; i++)
		rx_post(i);
	rig_kick(RX);
}

static void begin(unsigned int n)
{
	while (n--) {
		uint16_t slot = rig.ring[TX].next_desc;
		struct guest_buf b = { tx_bufs + slot * BUF_SIZE,
				       1 + slot % BUF_SIZE, false };
		uint8_t *p = guest_ptr(&rig.g, b.gpa);

		cr_assert(not(tx_pending[slot]));
		stream_fill(p, b.len, &tx_sent);
		tx_pending[guest_ring_add(&rig.ring[TX], &b, 1)] = true;
		nr_tx++;
	}
	rig_kick(TX);
}

static void flood(void)
{
	uint8_t bytes[FLOOD];

	stream_fill(bytes, FLOOD, &host_sent);
	cr_assert(zero(int, fd_write_all(in[1], bytes, FLOOD)));
}

static void collect_rx(void)
{
	uint16_t head;
	uint32_t len;
	bool posted = false;

	while (guest_ring_reap(&rig.ring[RX], &head, &len)) {
		const struct vring_desc *d = &rig.ring[RX].desc[head];
		const uint8_t *p = guest_ptr(&rig.g, d->addr);

		cr_assert(len > 0 && len <= BUF_SIZE);
		stream_check(p, len, &rx_seen, host_sent, "input");
		rx_post((uint16_t)((head + NR_RX) % SLOTS));
		posted = true;
	}
	if (posted)
		rig_kick(RX);
}

static void collect_tx(void)
{
	uint8_t bytes[4096];
	uint16_t head;
	uint32_t len;
	ssize_t n;

	while (guest_ring_reap(&rig.ring[TX], &head, &len)) {
		cr_assert(tx_pending[head], "completed twice");
		tx_pending[head] = false;
		nr_tx--;
	}
	while ((n = read(out[0], bytes, sizeof(bytes))) > 0)
		stream_check(bytes, (size_t)n, &tx_seen, tx_sent, "output");
}

static unsigned int collect(void)
{
	collect_rx();
	collect_tx();
	return nr_tx + (unsigned int)(tx_sent - tx_seen) +
	       (unsigned int)(host_sent - rx_seen);
}

/* The size is as it was; it is in the register dump too. */
static void kept(void)
{
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_CONFIG), 80 | 25U << 16));
}

const struct contract_subject contract_console[] = {
	{
		.name = "console",
		.type = VIRTIO_TYPE_CONSOLE,
		.open = open_pipes,
		.close = close_pipes,
		.queue = RX,
		.request = request,
		.host = host_write,
		.features = 1ULL << VIRTIO_CONSOLE_F_SIZE |
			    1ULL << VIRTIO_CONSOLE_F_EMERG_WRITE,
		.depth = DEPTH,
		.live = live,
		.begin = begin,
		.flood = flood,
		.collect = collect,
		.kept = kept,
	},
	{ NULL },
};
