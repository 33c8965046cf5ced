/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network receive: from the tap into the guest's buffers. Loop thread only.
 * Spec: virtio 1.x, 5.1.9.3 and 5.1.9.4.
 *
 * A tap has no peek, and a read with too little room cuts the packet. So each
 * packet is read by one readv() into
 *
 *	| own copy of the header | buffers taken from the ring | bounce buffer |
 *
 * The header is checked and then stored, so it is never read from guest
 * memory. What does not fit into the buffers taken lands in the bounce buffer
 * and is copied into more of them; if there are no more, the packet is held in
 * the bounce buffer until the guest adds some. How many buffers are taken
 * ahead follows the packets seen, so that copying is rare.
 *
 * System calls, for the seccomp policy: readv, epoll_ctl, madvise; write of the
 * call and wake eventfds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "virtio/iov.h"
#include "virtio/net/net.h"

#define BURST_MAX 64U
/* The entries behind the header's that readv() can take: IOV_MAX - 2. */
#define RX_IOV_MAX 1022U
/* Entries the guest may cut a header into. */
#define HDR_IOV_MAX (NET_HDR_BYTES + 1)

static struct virtq *rxq(struct virtio_net *net)
{
	return &net->dev.queues[NET_RX];
}

/* The guest's buffers. */
static struct iovec *guest_iov(struct net_rx *rx)
{
	return &rx->iov[1];
}

/*
 * Return: 1 a buffer was taken; 0 none there; -ENOSPC no place for more of
 * them; -EPROTO the ring is broken.
 */
static int take_buffer(struct virtio_net *net)
{
	struct net_rx *rx = &net->rx;
	struct virtq_chain c;
	int r;

	if (rx->nr == NET_QUEUE_SIZE || rx->nr_iov == RX_IOV_MAX)
		return -ENOSPC;
	r = virtq_pop(rxq(net), &c, guest_iov(rx) + rx->nr_iov,
		      RX_IOV_MAX - rx->nr_iov);
	if (r == -ENOBUFS && rx->nr > 0) {
		virtq_unpop(rxq(net), &c.head, 1);
		return -ENOSPC;
	}
	if (r == 0 || r == -EPROTO)
		return r;
	/* A buffer must at least hold a header; and we only write. */
	if (r < 0 || c.nr_out || c.len_in < NET_HDR_BYTES) {
		virtq_break(rxq(net), "receive buffer that cannot be used");
		return -EPROTO;
	}
	rx->heads[rx->nr] = c.head;
	rx->lens[rx->nr] = (uint32_t)c.len_in;
	rx->iovs[rx->nr] = c.nr_in;
	rx->nr++;
	rx->nr_iov += c.nr_in;
	rx->room += c.len_in;
	return 1;
}

/* Takes buffers until there are @bytes. Return: as take_buffer(). */
static int take_buffers(struct virtio_net *net, uint64_t bytes)
{
	int r = 1;

	while (r > 0 && net->rx.room < bytes)
		r = take_buffer(net);
	return r;
}

/* The same, but with 0 the driver has been asked to kick for more. */
static int need_buffers(struct virtio_net *net, uint64_t bytes)
{
	int r;

	do {
		r = take_buffers(net, bytes);
	} while (r == 0 && virtq_enable_kick(rxq(net)));
	return r;
}

/* Drops the first @n buffers from our list. */
static void forget_buffers(struct net_rx *rx, unsigned int n)
{
	unsigned int iovs = 0;

	for (unsigned int i = 0; i < n; i++) {
		iovs += rx->iovs[i];
		rx->room -= rx->lens[i];
	}
	rx->nr -= n;
	rx->nr_iov -= iovs;
	memmove(rx->heads, rx->heads + n, rx->nr * sizeof(rx->heads[0]));
	memmove(rx->lens, rx->lens + n, rx->nr * sizeof(rx->lens[0]));
	memmove(rx->iovs, rx->iovs + n, rx->nr * sizeof(rx->iovs[0]));
	memmove(guest_iov(rx), guest_iov(rx) + iovs,
		rx->nr_iov * sizeof(rx->iov[0]));
}

/* Leaves in the header what was agreed on and no stray bytes. */
static void header_clean(const struct virtio_net *net,
			 struct virtio_net_hdr_v1 *hdr)
{
	if (net->guest_offloads >> VIRTIO_NET_F_GUEST_CSUM & 1)
		hdr->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM |
			      VIRTIO_NET_HDR_F_DATA_VALID;
	else
		hdr->flags = 0;
	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
		hdr->csum_start = 0;
		hdr->csum_offset = 0;
	}
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		hdr->gso_size = 0;
		hdr->hdr_len = 0;
	}
}

/*
 * Longer than the MTU that was agreed on: the tap's has been raised since
 * (5.1.4.1). What is to be segmented may be.
 */
static bool over_mtu(const struct virtio_net *net,
		     const struct virtio_net_hdr_v1 *hdr, uint64_t total)
{
	const struct virtio_net_config *config = (const void *)net->dev.config;

	return virtio_dev_has(&net->dev, VIRTIO_NET_F_MTU) &&
	       hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE &&
	       total > NET_HDR_BYTES + ETH_HLEN + NET_VLAN_BYTES + config->mtu;
}

static void drop(struct virtio_net *net, const char *why)
{
	log_limited(&net->rx_drops, "received packet dropped: %s", why);
}

/* The packet of @total bytes is in the first buffers: hand them over. */
static void deliver(struct virtio_net *net, struct virtio_net_hdr_v1 *hdr,
		    uint64_t total)
{
	struct net_rx *rx = &net->rx;
	uint64_t left = total;
	unsigned int n = 0;

	for (uint64_t sum = 0; sum < total; n++)
		sum += rx->lens[n];
	header_clean(net, hdr);
	hdr->num_buffers = (uint16_t)n;
	(void)iov_write(guest_iov(rx), rx->nr_iov, 0, hdr, sizeof(*hdr));
	/* All entries of a packet become visible together. */
	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = (uint32_t)MIN(left, (uint64_t)rx->lens[i]);

		virtq_fill(rxq(net), rx->heads[i], len, (uint16_t)i);
		left -= len;
	}
	virtq_flush(rxq(net), (uint16_t)n);
	forget_buffers(rx, n);
	/* Up at once, down slowly. */
	rx->want = MAX(total, rx->want - rx->want / 16);
}

static bool mergeable(const struct virtio_net *net)
{
	return virtio_dev_has(&net->dev, VIRTIO_NET_F_MRG_RXBUF);
}

/* Without merging a packet has to fit into the first buffer. */
static uint64_t usable_room(const struct virtio_net *net)
{
	return mergeable(net) || !net->rx.nr ? net->rx.room : net->rx.lens[0];
}

/* Return: whether the packet in rx.held is dealt with. */
static bool deliver_one_held(struct virtio_net *net)
{
	struct net_rx *rx = &net->rx;
	struct virtio_net_hdr_v1 hdr;
	uint32_t total = rx->held;
	int r = 0;

	memcpy(&hdr, rx->bounce, sizeof(hdr));
	if (!net_allowed(net->guest_offloads, &hdr)) {
		drop(net, "the guest no longer takes its kind");
		rx->held = 0;
		return true;
	}
	if (over_mtu(net, &hdr, total)) {
		drop(net, "longer than the MTU");
		rx->held = 0;
		return true;
	}
	r = need_buffers(net, mergeable(net) ? total : 1);
	if (r == 0 || r == -EPROTO)
		return false;
	if (r < 0 || usable_room(net) < total) {
		drop(net, "longer than the buffers");
	} else {
		(void)iov_write(guest_iov(rx), rx->nr_iov, 0, rx->bounce,
				total);
		deliver(net, &hdr, total);
	}
	rx->held = 0;
	return true;
}

/* In order: one that lacked buffers, and those kept while the guest slept. */
static bool deliver_held(struct virtio_net *net)
{
	while (net->rx.held || net_kept_take(net)) {
		if (!deliver_one_held(net))
			return false;
	}
	return true;
}

/* Makes what is in the buffers and behind them one piece in the bounce. */
static void hold(struct net_rx *rx, const struct virtio_net_hdr_v1 *hdr,
		 uint64_t room, uint64_t total)
{
	memmove(rx->bounce + room, rx->bounce, total - room);
	(void)iov_read(guest_iov(rx), rx->nr_iov, 0, rx->bounce, room);
	memcpy(rx->bounce, hdr, sizeof(*hdr));
	rx->held = (uint32_t)total;
}

/*
 * Reads a packet. The first 12 bytes of the buffers are left for the header:
 * the entries that hold them are cut for the call and restored after it.
 */
static ssize_t read_packet(struct virtio_net *net,
			   struct virtio_net_hdr_v1 *hdr, unsigned int nr_iov)
{
	struct net_rx *rx = &net->rx;
	struct iovec *iov = guest_iov(rx);
	struct iovec saved[HDR_IOV_MAX];
	size_t skip = NET_HDR_BYTES;
	unsigned int n = 0;
	ssize_t got;

	for (; n < nr_iov && skip > 0; n++) {
		size_t part = MIN(skip, iov[n].iov_len);

		saved[n] = iov[n];
		iov[n].iov_base = (uint8_t *)iov[n].iov_base + part;
		iov[n].iov_len -= part;
		skip -= part;
	}
	rx->iov[0] = (struct iovec){ hdr, sizeof(*hdr) };
	saved[HDR_IOV_MAX - 1] = iov[nr_iov];
	iov[nr_iov] = (struct iovec){ rx->bounce, NET_BOUNCE_BYTES };
	do {
		got = readv(net->fd, rx->iov, (int)nr_iov + 2);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		got = -errno;
	iov[nr_iov] = saved[HDR_IOV_MAX - 1];
	while (n-- > 0)
		iov[n] = saved[n];
	return got;
}

/* The frame begins in the buffers, behind the header, @room bytes of them. */
static void look_whether_it_wakes(struct virtio_net *net,
				  const struct virtio_net_hdr_v1 *hdr,
				  uint64_t room, uint64_t total)
{
	struct net_rx *rx = &net->rx;
	uint8_t frame[ETH_HLEN];
	size_t n = MIN(room - NET_HDR_BYTES, sizeof(frame));

	if (total < NET_HDR_BYTES + sizeof(frame))
		return;
	(void)iov_read(guest_iov(rx), rx->nr_iov, NET_HDR_BYTES, frame, n);
	memcpy(frame + n, rx->bounce, sizeof(frame) - n);
	net_wake_seen(net, hdr, frame);
}

/* One packet. Return: 1 go on; 0 no packet, or no place for it. */
static int receive(struct virtio_net *net)
{
	struct net_rx *rx = &net->rx;
	unsigned int nr_iov;
	struct virtio_net_hdr_v1 hdr = { 0 };
	uint64_t room, total;
	ssize_t got;
	int r;

	(void)take_buffers(net, rx->want);
	if (!rx->nr && need_buffers(net, 1) <= 0) {
		net->rx_starved = true;
		return 0;
	}
	room = usable_room(net);
	nr_iov = mergeable(net) ? rx->nr_iov : rx->iovs[0];
	got = read_packet(net, &hdr, nr_iov);
	if (got <= 0) {
		net_read_failed(net, got < 0 ? (int)got : -EPIPE);
		return 0;
	}
	total = (uint64_t)got;
	if (total > room)
		rx->bounce_used = true;
	if (total <= NET_HDR_BYTES || total > NET_HDR_BYTES + NET_FRAME_MAX) {
		drop(net, "not a frame");
		return 1;
	}
	if (!net_allowed(net->guest_offloads, &hdr)) {
		drop(net, "the guest does not take its kind");
		return 1;
	}
	if (over_mtu(net, &hdr, total)) {
		drop(net, "longer than the MTU");
		return 1;
	}
	if (total > room && !mergeable(net)) {
		drop(net, "longer than the buffer");
		return 1;
	}
	if (net->armed && !net->woken)
		look_whether_it_wakes(net, &hdr, room, total);
	if (total > room) {
		r = take_buffers(net, total);
		if (r == -ENOSPC) {
			drop(net, "longer than all buffers");
			return 1;
		}
		if (r <= 0) {
			hold(rx, &hdr, room, total);
			return 1;
		}
		(void)iov_write(guest_iov(rx), rx->nr_iov, room, rx->bounce,
				total - room);
	}
	deliver(net, &hdr, total);
	return 1;
}

/*
 * The number of packets read before going back to the loop grows while there
 * are more and shrinks when there are none: a single packet costs no second,
 * empty readv().
 */
void net_rx_run(struct virtio_net *net)
{
	struct net_rx *rx = &net->rx;
	unsigned int n = 0;
	int r = 1;

	if (!rx->burst)
		rx->burst = 1;
	virtq_disable_kick(rxq(net));
	for (;;) {
		if (!deliver_held(net)) {
			net->rx_starved = true;
			break;
		}
		if (r <= 0 || n == rx->burst)
			break;
		r = receive(net);
		n++;
	}
	if (n == rx->burst && r > 0)
		rx->burst = MIN(2 * rx->burst, BURST_MAX);
	else
		rx->burst = MAX(rx->burst / 2, 1U);
	(void)virtq_signal(rxq(net));
}

void net_rx_stop(struct virtio_net *net)
{
	struct net_rx *rx = &net->rx;

	virtq_unpop(rxq(net), rx->heads, rx->nr);
	rx->nr = 0;
	rx->nr_iov = 0;
	rx->room = 0;
	rx->want = 0;
}

void net_rx_trim(struct virtio_net *net)
{
	if (!net->rx.bounce_used || net->rx.held)
		return;
	(void)madvise(net->rx.bounce, NET_BOUNCE_BYTES, MADV_DONTNEED);
	net->rx.bounce_used = false;
}
