/* SPDX-License-Identifier: BSD-3-Clause */
/* See filter.h. */
#define _GNU_SOURCE
#include "virtio/net/filter.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>

/* Addresses that tun compares; the others are hashed, multicast only. */
#define TUN_EXACT 8U

_Static_assert(NET_TAP_FILTER_MACS >= 2 + 2 * NET_FILTER_MACS, "all fit");

static const uint8_t broadcast[ETH_ALEN] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff
};

static void set_defaults(struct net_filter *f)
{
	f->promisc = false;
	f->allmulti = false;
	net_mac_table_begin(&f->unicast, 0);
	net_mac_table_begin(&f->multicast, 0);
	f->multicast.all = true;
}

void net_filter_init(struct net_filter *f, const uint8_t *mac)
{
	memset(f, 0, sizeof(*f));
	set_defaults(f);
	if (!mac)
		return;
	memcpy(f->own, mac, sizeof(f->own));
	f->own_known = true;
}

void net_filter_start(struct net_filter *f, uint64_t features)
{
	if (!(features >> VIRTIO_NET_F_CTRL_RX & 1))
		set_defaults(f);
	/* Without MAC a driver makes up an address, and may tell us. */
	f->own_known =
		features >> VIRTIO_NET_F_MAC & 1 ||
		(f->own_set && features >> VIRTIO_NET_F_CTRL_MAC_ADDR & 1);
}

void net_filter_set_mac(struct net_filter *f, const uint8_t *mac)
{
	memcpy(f->own, mac, sizeof(f->own));
	f->own_known = true;
	f->own_set = true;
}

void net_mac_table_begin(struct net_mac_table *t, uint32_t entries)
{
	t->nr = 0;
	t->all = entries > NET_FILTER_MACS;
}

void net_mac_table_add(struct net_mac_table *t, const uint8_t *mac, bool group)
{
	if (t->nr < NET_FILTER_MACS && (mac[0] & 1) == group)
		memcpy(t->macs[t->nr++], mac, ETH_ALEN);
}

static bool table_has(const struct net_mac_table *t, const uint8_t *mac)
{
	if (t->all)
		return true;
	for (unsigned int i = 0; i < t->nr; i++) {
		if (memcmp(t->macs[i], mac, ETH_ALEN) == 0)
			return true;
	}
	return false;
}

enum net_match net_filter_match(const struct net_filter *f, const uint8_t *dest)
{
	bool pass;

	if (dest[0] & 1) {
		pass = f->allmulti || memcmp(dest, broadcast, ETH_ALEN) == 0 ||
		       table_has(&f->multicast, dest);
	} else {
		if (!f->own_known || memcmp(dest, f->own, ETH_ALEN) == 0)
			return NET_MATCH_OWN;
		pass = table_has(&f->unicast, dest);
	}
	return pass || f->promisc ? NET_MATCH_GROUP : NET_MATCH_NONE;
}

static void add(struct net_tap_filter *t, const uint8_t *mac)
{
	memcpy(t->addr[t->count++], mac, ETH_ALEN);
}

bool net_filter_for_tap(const struct net_filter *f, bool own_only,
			struct net_tap_filter *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!f->own_known)
		return false;
	add(ret, f->own);
	if (own_only)
		return true;
	if (f->promisc || f->unicast.all || f->unicast.nr >= TUN_EXACT)
		return false;
	for (unsigned int i = 0; i < f->unicast.nr; i++)
		add(ret, f->unicast.macs[i]);
	add(ret, broadcast);
	if (f->allmulti || f->multicast.all)
		ret->flags = TUN_FLT_ALLMULTI;
	else
		for (unsigned int i = 0; i < f->multicast.nr; i++)
			add(ret, f->multicast.macs[i]);
	return true;
}
