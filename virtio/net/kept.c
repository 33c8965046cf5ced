/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets kept for a guest that sleeps, in order; and a place behind the last
 * into which the next one is read. Loop thread only.
 *
 * System calls, for the seccomp policy: madvise.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "virtio/net/net.h"

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

uint8_t *net_kept_room(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;

	if (w->tail + LEN_BYTES + NET_BOUNCE_BYTES > NET_STORE_BYTES) {
		memmove(w->store, w->store + w->head, store_used(w));
		w->tail -= w->head;
		w->head = 0;
	}
	w->store_dirty = true;
	return w->store + w->tail + LEN_BYTES;
}

void net_kept_trim(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;

	if (w->nr)
		return;
	w->head = w->tail = 0;
	if (w->store_dirty)
		(void)madvise(w->store, NET_STORE_BYTES, MADV_DONTNEED);
	w->store_dirty = false;
}

bool net_kept_has_place(const struct virtio_net *net, uint32_t len)
{
	const struct net_wake *w = &net->wake;

	return w->nr < NET_KEPT_PACKETS &&
	       store_used(w) + LEN_BYTES + len <= NET_KEPT_BYTES;
}

void net_keep(struct virtio_net *net, uint32_t len)
{
	struct net_wake *w = &net->wake;

	memcpy(w->store + w->tail, &len, sizeof(len));
	w->tail += (uint32_t)LEN_BYTES + len;
	w->nr++;
}

bool net_kept_take(struct virtio_net *net)
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
	w->nr--;
	net_kept_trim(net);
	return true;
}

/*
 * Packets that are here already count as well: a guest that was woken and
 * sleeps again without having taken them is woken again. Only one that may
 * wake can lie beyond the limits; if its time has passed, by a new address or
 * receive mode, the limits hold again.
 */
bool net_kept_wakes(struct virtio_net *net)
{
	struct net_wake *w = &net->wake;
	uint32_t at = w->head, end = w->head;
	unsigned int nr = 0;

	if (net->rx.held &&
	    net_judge(net, net->rx.bounce, net->rx.held) == NET_WAKE)
		return true;
	for (unsigned int i = 0; i < w->nr; i++) {
		uint32_t len = store_len(w, at);

		if (net_judge(net, w->store + at + LEN_BYTES, len) == NET_WAKE)
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

int net_kept_init(struct virtio_net *net)
{
	/* Pages come into being where a packet lies. */
	void *p = mmap(NULL, NET_STORE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	net->wake.store = p;
	return 0;
}

void net_kept_finish(struct virtio_net *net)
{
	(void)munmap(net->wake.store, NET_STORE_BYTES);
}
