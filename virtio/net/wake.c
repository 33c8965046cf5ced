/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network card of a sleeping guest: which packet wakes it, and what
 * becomes of the others. Loop thread only.
 *
 * From arming to the first packet that wakes, and while the receive ring does
 * not run (or has no buffers), the device watches the tap:
 *
 *	not the guest's, by its receive filter	dropped, by the kernel before
 *						it is queued, where it can be
 *						told to, else here
 *	the guest's, and may wake it		kept; the wake-up; no more is
 *						read, the rest stays in the tap
 *	the guest's, and may not (wake=unicast)	kept, since a tap has no peek
 *						and it would hide what follows
 *
 * Kept packets are the first the guest gets, in order. If there is no place
 * for one more, the newest is dropped, as by a card whose buffers are full;
 * and as none of its kind can be kept any more, the kernel is told to drop
 * them as well.
 *
 * At other times the device reads nothing here, polls nothing, and the kernel
 * filters nothing: a guest that is awake gets whatever is in the tap.
 *
 * What the kernel lets through costs a wake-up of this process and a read. If
 * it does not end, a pause is made after each batch.
 *
 * System calls, for the seccomp policy: read, madvise, epoll_ctl,
 * timerfd_settime, ioctl with TUNSETTXFILTER; write of the wake eventfd.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio/net/net.h"

/* 50,000 packets a second are looked at, for some percent of a CPU. */
#define BATCH_PACKETS 256U
#define PAUSE_NS      5000000ULL

/* In the store before each packet. */
#define LEN_BYTES sizeof(uint32_t)

/* The limit kept to, a packet that wakes, and one being read. */
_Static_assert(NET_STORE_BYTES >= NET_KEPT_BYTES + NET_BOUNCE_BYTES + LEN_BYTES,
	       "a packet that wakes always has its place");

static uint32_t store_used(const struct net_wake *w)
{
	return w->tail - w->head;
}

static uint32_t store_len(const struct net_wake *w, uint32_t at)
{
	uint32_t len;

	memcpy(&len, w->store + at, sizeof(len));
	return len;
}

/* Room behind the tail to read any packet. */
static void store_make_room(struct net_wake *w)
{
	if (w->tail + LEN_BYTES + NET_BOUNCE_BYTES <= NET_STORE_BYTES)
		return;
	memmove(w->store, w->store + w->head, store_used(w));
	w->tail -= w->head;
	w->head = 0;
}

static void store_free(struct net_wake *w)
{
	w->head = w->tail = 0;
	if (w->store_dirty)
		(void)madvise(w->store, NET_STORE_BYTES, MADV_DONTNEED);
	w->store_dirty = false;
}

bool net_wake_take(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;
	uint32_t len;

	if (!w->nr)
		return false;
	len = store_len(w, w->head);
	memcpy(net->rx.bounce, w->store + w->head + LEN_BYTES, len);
	net->rx.held = len;
	net->rx.bounce_used = true;
	w->head += (uint32_t)LEN_BYTES + len;
	if (--w->nr == 0)
		store_free(w);
	return true;
}

/* ------------------------------------------------------------- verdicts */

enum verdict {
	DROP,
	KEEP,
	WAKE,
};

/* @dest: of the frame. */
static enum verdict judge(const struct virtio_net *net,
			  const struct virtio_net_hdr_v1 *hdr,
			  const uint8_t *dest)
{
	/* What the driver takes, or took before it stopped. */
	uint64_t offloads =
		net->dev.started ? net->guest_offloads : net->wake.offloads;
	enum net_match match;

	if (!net_rx_allowed(offloads, hdr))
		return DROP;
	match = net_filter_match(&net->filter, dest);
	if (match == NET_MATCH_NONE)
		return DROP;
	return match == NET_MATCH_OWN || !net->wake.unicast ? WAKE : KEEP;
}

/* @p: header and frame in one piece. */
static enum verdict judge_packet(const struct virtio_net *net, const uint8_t *p,
				 uint64_t len)
{
	struct virtio_net_hdr_v1 hdr;

	if (len < NET_HDR_BYTES + ETH_HLEN ||
	    len > NET_HDR_BYTES + NET_FRAME_MAX)
		return DROP;
	memcpy(&hdr, p, sizeof(hdr));
	return judge(net, &hdr, p + NET_HDR_BYTES);
}

static void wake(struct virtio_net *net)
{
	net->woken = true;
	virtio_dev_wake(&net->dev);
}

static void tell_frame(const uint8_t *p)
{
	log_debug("woken by a frame from %02x:%02x:%02x:%02x:%02x:%02x to "
		  "%02x:%02x:%02x:%02x:%02x:%02x, type %02x%02x",
		  p[6], p[7], p[8], p[9], p[10], p[11], p[0], p[1], p[2], p[3],
		  p[4], p[5], p[12], p[13]);
}

void net_wake_seen(struct virtio_net *net, const struct virtio_net_hdr_v1 *hdr,
		   const uint8_t *frame)
{
	if (judge(net, hdr, frame) != WAKE)
		return;
	tell_frame(frame);
	wake(net);
}

/* -------------------------------------------------- the kernel's filter */

enum kernel_filter {
	KERNEL_NONE,
	KERNEL_ALL_OURS, /* what net_filter_match() passes */
	KERNEL_OWN,	 /* only to the guest's own address */
};

static void set_kernel_filter(struct virtio_net *net, enum kernel_filter kind)
{
	struct net_tap_filter filter;
	bool on;
	int r;

	if (!net->is_tap || net->gone || net->wake.kernel == kind)
		return;
	on = kind != KERNEL_NONE &&
	     net_filter_for_tap(&net->filter, kind == KERNEL_OWN, &filter);
	if (on || net->wake.kernel != KERNEL_NONE) {
		r = net_tap_set_filter(net->fd, on ? &filter : NULL);
		/* No tun: all packets are then looked at here. */
		if (r < 0)
			log_debug("filter of the tap: %s (ignored)",
				  strerror(-r));
	}
	net->wake.kernel = (uint8_t)kind;
}

void net_wake_filter_changed(struct virtio_net *net)
{
	if (!net->wake.watching)
		return;
	set_kernel_filter(net, KERNEL_NONE);
	set_kernel_filter(net, KERNEL_ALL_OURS);
}

/* -------------------------------------------------------------- watching */

static void keep(struct virtio_net *net, uint32_t len)
{
	struct net_wake *w = &net->wake;

	memcpy(w->store + w->tail, &len, sizeof(len));
	w->tail += (uint32_t)LEN_BYTES + len;
	w->nr++;
}

static bool has_place(const struct net_wake *w, uint32_t len)
{
	return w->nr < NET_KEPT_PACKETS &&
	       store_used(w) + LEN_BYTES + len <= NET_KEPT_BYTES;
}

/* A packet of @len bytes lies behind the tail. */
static void look_at(struct virtio_net *net, uint32_t len)
{
	struct net_wake *w = &net->wake;
	const uint8_t *p = w->store + w->tail + LEN_BYTES;

	switch (judge_packet(net, p, len)) {
	case DROP:
		w->not_ours++;
		return;
	case KEEP:
		if (has_place(w, len)) {
			keep(net, len);
			return;
		}
		w->no_place++;
		/* Or this one was just too large. */
		if (!has_place(w, NET_HDR_BYTES + ETH_FRAME_LEN))
			set_kernel_filter(net, KERNEL_OWN);
		return;
	case WAKE:
		tell_frame(p + NET_HDR_BYTES);
		keep(net, len);
		wake(net);
		return;
	}
}

static void on_pause_over(struct loop_timer *timer)
{
	struct virtio_net *net =
		container_of(timer, struct virtio_net, wake.pause);

	net->wake.paused = false;
	net_wake_look(net);
	net_watch(net);
}

void net_wake_look(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;

	for (unsigned int n = 0; n < BATCH_PACKETS; n++) {
		ssize_t got;

		if (!w->watching || net->woken)
			return;
		store_make_room(w);
		w->store_dirty = true;
		do {
			got = read(net->fd, w->store + w->tail + LEN_BYTES,
				   NET_BOUNCE_BYTES);
		} while (got < 0 && errno == EINTR);
		if (got <= 0) {
			net_rx_failed(net, got < 0 ? -errno : -EPIPE);
			return;
		}
		look_at(net, (uint32_t)got);
	}
	w->paused = true;
	loop_timer_set(net->dev.loop, &w->pause, PAUSE_NS, on_pause_over);
}

static void watch_begin(struct virtio_net *net)
{
	net->wake.watching = true;
	set_kernel_filter(net, KERNEL_ALL_OURS);
}

static void watch_end(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;

	w->watching = false;
	w->paused = false;
	loop_timer_cancel(net->dev.loop, &w->pause);
	set_kernel_filter(net, KERNEL_NONE);
	if (!w->nr)
		store_free(w);
	if (w->not_ours || w->no_place)
		log_debug("packets while asleep: %llu not the guest's, %llu "
			  "its own but without a place; dropped",
			  (unsigned long long)w->not_ours,
			  (unsigned long long)w->no_place);
	w->not_ours = w->no_place = 0;
}

bool net_wake_update(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;
	bool want = net->armed && !net->woken && !net->gone &&
		    !(net->rx_on && !net->rx_starved);

	if (want && !w->watching)
		watch_begin(net);
	else if (!want && w->watching)
		watch_end(net);
	return w->watching && !w->paused;
}

/* --------------------------------------------------------------- arming */

/*
 * Packets that are here already count as well: a guest that was woken and
 * sleeps again without having taken them is woken again. Only one that may
 * wake can lie beyond the limits; if its time has passed, by a new address or
 * receive mode, the limits hold again.
 */
static bool kept_wakes(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;
	uint32_t at = w->head, end = w->head;
	unsigned int nr = 0;

	if (net->rx.held &&
	    judge_packet(net, net->rx.bounce, net->rx.held) == WAKE)
		return true;
	for (unsigned int i = 0; i < w->nr; i++) {
		uint32_t len = store_len(w, at);

		if (judge_packet(net, w->store + at + LEN_BYTES, len) == WAKE)
			return true;
		at += (uint32_t)LEN_BYTES + len;
		if (nr == i && nr < NET_KEPT_PACKETS &&
		    at - w->head <= NET_KEPT_BYTES) {
			nr++;
			end = at;
		}
	}
	w->no_place += w->nr - nr;
	w->nr = nr;
	w->tail = end;
	return false;
}

void net_wake_arm(struct virtio_dev *dev, bool armed)
{
	struct virtio_net *net = container_of(dev, struct virtio_net, dev);

	net->armed = armed;
	net->woken = false;
	/* So that a filter that has changed, or was narrowed, is set anew. */
	if (net->wake.watching)
		watch_end(net);
	if (armed && kept_wakes(net))
		wake(net);
	net_watch(net);
	if (!armed || net->woken || net->gone)
		return;
	/* What is in the tap came before the arming and counts as well. */
	if (net->wake.watching)
		net_wake_look(net);
	else
		net_rx_run(net);
	net_watch(net);
}

int net_wake_init(struct virtio_net *net, bool unicast)
{
	/* Pages come into being where a packet lies. */
	void *p = mmap(NULL, NET_STORE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	net->wake.store = p;
	net->wake.unicast = unicast;
	return 0;
}

void net_wake_finish(struct virtio_net *net)
{
	if (net->wake.watching)
		watch_end(net);
	(void)munmap(net->wake.store, NET_STORE_BYTES);
}
