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
#include <unistd.h>

#include "virtio/net/net.h"

#define BATCH_PACKETS 256U

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

/* @p: a packet of @len bytes, where the next to be kept would lie. */
static void look_at(struct virtio_net *net, const uint8_t *p, uint32_t len)
{
	struct net_wake *w = &net->wake;

	switch (net_judge(net, p, len)) {
	case NET_DROP:
		w->not_ours++;
		return;
	case NET_KEEP:
		if (net_kept_has_place(net, len)) {
			net_keep(net, len);
			return;
		}
		w->no_place++;
		/* Or this one was just too large. */
		if (!net_kept_has_place(net, NET_HDR_BYTES + ETH_FRAME_LEN))
			set_kernel_filter(net, KERNEL_OWN);
		return;
	case NET_WAKE:
		net_keep(net, len);
		net_wake_guest(net, p + NET_HDR_BYTES);
		return;
	}
}

void net_wake_look(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;

	for (unsigned int n = 0; n < BATCH_PACKETS; n++) {
		uint8_t *p;
		ssize_t got;

		if (!w->watching || net->woken)
			return;
		p = net_kept_room(net);
		do {
			got = read(net->fd, p, NET_BOUNCE_BYTES);
		} while (got < 0 && errno == EINTR);
		if (got <= 0) {
			net_read_failed(net, got < 0 ? -errno : -EPIPE);
			return;
		}
		look_at(net, p, (uint32_t)got);
	}
	w->paused = true;
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
	net_kept_trim(net);
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

void net_wake_arm(struct virtio_net *net, bool armed)
{
	net->armed = armed;
	net->woken = false;
	/* So that a filter that has changed, or was narrowed, is set again. */
	if (net->wake.watching)
		watch_end(net);
	if (armed && net_kept_wakes(net))
		net_wake_guest(net, NULL);
}

void net_wake_finish(struct virtio_net *net)
{
	if (net->wake.watching)
		watch_end(net);
}
