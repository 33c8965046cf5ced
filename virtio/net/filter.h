/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receive filter of a network card: which frames are the guest's by what
 * its driver has set over the control queue. No I/O. Loop thread only. Spec:
 * virtio 1.x, 5.1.6.5.1 and 5.1.6.5.2.
 *
 * It says what may wake a sleeping guest; frames to a guest that is awake do
 * not pass it (virtio/net/wake.c). So it has to outlive the reset that a stock
 * driver makes on the way to sleep. Linux' virtio_net sends its receive mode
 * when the interface is opened and when addresses change, and not in its
 * restore path; and having set a MAC address it does not set it again. What it
 * had set until the reset is what the guest still believes to be in force.
 *
 * Hence a reset changes nothing here. A driver that comes after it and has not
 * negotiated VIRTIO_NET_F_CTRL_RX cannot say what it wants and is given the
 * default: what a card does that nobody has told anything, frames to its
 * address, broadcast, and, for want of a list, every multicast. A driver that
 * has negotiated it sends its mode before it needs it. The promiscuous default
 * that the data path has would let all noise wake a guest.
 */
#ifndef TORPOR_VIRTIO_NET_FILTER_H
#define TORPOR_VIRTIO_NET_FILTER_H

#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/net/tap.h"

/* Addresses of a kind that are told apart; with more, all of it pass. */
#define NET_FILTER_MACS 64U

struct net_mac_table {
	unsigned int nr;
	bool all; /* too many, or no table was ever set: all of the kind */
	uint8_t macs[NET_FILTER_MACS][ETH_ALEN];
};

struct net_filter {
	uint8_t own[ETH_ALEN];
	bool own_known; /* else any unicast may be to it */
	bool own_set;	/* by the driver, not by us */
	bool promisc;
	bool allmulti;
	struct net_mac_table unicast, multicast;
};

enum net_match {
	NET_MATCH_NONE,	 /* not the guest's */
	NET_MATCH_GROUP, /* the guest's, to it among others */
	NET_MATCH_OWN,	 /* to its own address */
};

/* @mac: the address the device offers, or NULL if it offers none. */
void net_filter_init(struct net_filter *f, const uint8_t *mac);
/* A driver has started with these VIRTIO_NET_F_* bits. */
void net_filter_start(struct net_filter *f, uint64_t features);
/* The driver has set its address. */
void net_filter_set_mac(struct net_filter *f, const uint8_t *mac);
/* Empties @t for a table of @entries addresses, to be added one by one. */
void net_mac_table_begin(struct net_mac_table *t, uint32_t entries);
/* Addresses of the other kind (@group) are left out: they match nothing. */
void net_mac_table_add(struct net_mac_table *t, const uint8_t *mac, bool group);

/* @dest: the 6 bytes a frame starts with. */
enum net_match net_filter_match(const struct net_filter *f,
				const uint8_t *dest);

/**
 * net_filter_for_tap() - the same for the kernel, as near as it can be said
 * @own_only: nothing but frames to the guest's own address
 * @ret: passes at least what the filter passes; of multicast maybe more
 *
 * Return: false if the kernel cannot do it, and has to pass everything.
 */
bool net_filter_for_tap(const struct net_filter *f, bool own_only,
			struct net_tap_filter *ret);

#endif
