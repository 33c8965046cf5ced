/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the network device, shared by its parts. Loop thread only. One
 * calls those below it:
 *
 *	device.c	role, rings, life, what is polled
 *	rx.c tx.c ctrl.c
 *			the three queues
 *	wake.c		watches the tap for a guest that sleeps
 *	kept.c		what was read meanwhile
 *	judge.c		which packets it takes, which wake it
 *	filter.c	which are to it
 *	link.c tap.c	the tap
 *
 * Spec: virtio 1.x, 5.1.
 */
#ifndef TORPOR_VIRTIO_NET_NET_H
#define TORPOR_VIRTIO_NET_NET_H

#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/device.h"
#include "virtio/net/filter.h"
#include "vmm/base/log.h"

#define NET_HDR_BYTES sizeof(struct virtio_net_hdr_v1)
/* Largest frame either way: 64 KiB of IP, Ethernet and VLAN headers. */
#define NET_VLAN_BYTES 4U
#define NET_FRAME_MAX  (65535U + ETH_HLEN + NET_VLAN_BYTES)
/* Header and frame of one packet, and room to see that one is too long. */
#define NET_BOUNCE_BYTES (68U << 10)

/* Packets that a sleeping guest is kept, with 4 bytes each; and the store. */
#define NET_KEPT_PACKETS 64U
#define NET_KEPT_BYTES	 (256U << 10)
#define NET_STORE_BYTES	 (NET_KEPT_BYTES + (136U << 10))

enum net_queue {
	NET_RX,
	NET_TX,
	NET_CTRL,
};

/*
 * Receive buffers taken from the ring ahead of the packet that will fill them,
 * as many as the packets of late needed. They go back at a stop.
 */
struct net_rx {
	unsigned int nr; /* chains */
	unsigned int nr_iov;
	uint64_t room; /* bytes of them all */
	uint64_t want; /* bytes to have before the next read */
	uint16_t heads[NET_QUEUE_SIZE];
	uint32_t lens[NET_QUEUE_SIZE];
	uint16_t iovs[NET_QUEUE_SIZE];
	/*
	 * [0] is the header's and the one after the last the bounce buffer's:
	 * what readv() gets is this very array.
	 */
	struct iovec iov[VIRTQ_MAX_CHAIN + 2];
	uint8_t *bounce; /* NET_BOUNCE_BYTES, mapped, mostly untouched */
	bool bounce_used;
	uint32_t held;	    /* bytes of an undelivered packet in bounce */
	unsigned int burst; /* packets to read in one turn */
};

/* Watching the tap for a guest that sleeps, and what was read from it. */
struct net_wake {
	bool unicast;  /* only frames to its own address wake */
	bool watching; /* armed, not woken, and not delivering */
	bool paused;   /* after much traffic, until the timer */
	uint8_t kernel;
	struct loop_timer pause;
	uint64_t offloads; /* guest_offloads before the last stop */
	uint8_t *store;	   /* NET_STORE_BYTES, mapped: length, packet ... */
	bool store_dirty;
	uint32_t head, tail;	     /* bytes; the packets are between */
	unsigned int nr;	     /* packets */
	uint64_t not_ours, no_place; /* dropped since watching began */
};

struct virtio_net {
	struct virtio_dev dev;
	int fd;			 /* owned; tap, or a socket in its stead */
	bool is_tap;		 /* has offloads to set */
	bool gone;		 /* the interface was deleted */
	bool rx_on;		 /* the receive ring runs */
	bool rx_starved;	 /* and has no buffers; a kick ends it */
	bool armed;		 /* wake when there is a packet for it */
	bool woken;		 /* has been done for this arming */
	bool ctrl_waits;	 /* until the driver reads the new address */
	uint64_t guest_offloads; /* VIRTIO_NET_F_GUEST_* in force, bits */
	struct loop_source src;	 /* the tap */
	struct log_limit rx_drops, tx_drops;
	struct net_rx rx;
	struct net_filter filter;
	struct net_wake wake;
	struct iovec tx_iov[VIRTQ_MAX_CHAIN];
};

struct net_params {
	int fd; /* tap, non-blocking; owned by the device after success */
	bool is_tap;
	bool has_mac;
	bool wake_unicast; /* only frames to the guest's own address wake */
	uint8_t mac[ETH_ALEN];
	unsigned int tun_f; /* TUN_F_* that can be used */
	uint16_t mtu;	    /* bytes; 0: not told to the guest */
};

/* Makes the device. Return: 0 and *ret, or -errno. */
int net_create(struct loop *loop, const struct net_params *cfg,
	       struct virtio_net **ret) must_check;

/* --- link.c --- */

/* Applies VIRTIO_NET_F_GUEST_* bits to the tap. Return: 0 or -errno. */
int net_set_offloads(struct virtio_net *net, uint64_t bits) must_check;
/* The tap will never give or take a packet again: the link is down. */
void net_gone(struct virtio_net *net);
/* A read from the tap has failed: -EAGAIN is nothing, others end it. */
void net_read_failed(struct virtio_net *net, int code);

/* --- judge.c --- */

enum net_verdict {
	NET_DROP,
	NET_KEEP,
	NET_WAKE,
};

/* Whether a guest with these VIRTIO_NET_F_GUEST_* bits takes such a packet. */
bool net_allowed(uint64_t offloads, const struct virtio_net_hdr_v1 *hdr);
/* @packet: header and frame in one piece. */
enum net_verdict net_judge(const struct virtio_net *net, const uint8_t *packet,
			   uint64_t len);
/* The guest is to wake; once an arming. @frame: that woke it, or NULL. */
void net_wake_guest(struct virtio_net *net, const uint8_t *frame);
/* Armed, not woken, a packet goes to the guest. @frame: its first ETH_HLEN. */
void net_wake_seen(struct virtio_net *net, const struct virtio_net_hdr_v1 *hdr,
		   const uint8_t *frame);

/* --- kept.c --- */

int net_kept_init(struct virtio_net *net) must_check;
void net_kept_finish(struct virtio_net *net);
/* Where the next packet may be read to, NET_BOUNCE_BYTES. */
uint8_t *net_kept_room(struct virtio_net *net);
/* Within the limits of what is kept. */
bool net_kept_has_place(const struct virtio_net *net, uint32_t len);
/* The @len bytes in net_kept_room() are a packet to be kept. */
void net_keep(struct virtio_net *net, uint32_t len);
/* The first packet kept becomes rx.held. Return: false if there is none. */
bool net_kept_take(struct virtio_net *net);
/* Whether what is here wakes a guest that goes to sleep. */
bool net_kept_wakes(struct virtio_net *net);
/* If none is kept: frees the memory. */
void net_kept_trim(struct virtio_net *net);

/* --- rx.c --- */

/* Reads and delivers what there is, within limits. */
void net_rx_run(struct virtio_net *net);
/* Gives unused buffers back. A held packet stays. */
void net_rx_stop(struct virtio_net *net);
/* Frees memory that only traffic needs; not of a held packet. */
void net_rx_trim(struct virtio_net *net);

/* --- tx.c --- */

void net_tx_run(struct virtio_net *net);

/* --- ctrl.c --- */

void net_ctrl_run(struct virtio_net *net);
/* ops->config_published */
void net_ctrl_published(struct virtio_dev *dev);

/* --- wake.c --- */

void net_wake_finish(struct virtio_net *net);
/* Shall wake the guest from now on, or not; does so for what is kept. */
void net_wake_arm(struct virtio_net *net, bool armed);
/* Begins or ends watching. Return: whether it wants the tap polled. */
bool net_wake_update(struct virtio_net *net);
/* The tap is readable, and watched. May leave wake.paused set. */
void net_wake_look(struct virtio_net *net);
/* net->filter is another now. */
void net_wake_filter_changed(struct virtio_net *net);

#endif
