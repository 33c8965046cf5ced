/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tap interfaces: opening one by name, checking one that was given as an fd,
 * and its offloads. Used by the VMM, which opens the tap, and by the device
 * process, which sets the offloads. No state, no threads. Interface: Linux
 * Documentation/networking/tuntap.rst.
 */
#ifndef TORPOR_VIRTIO_NET_TAP_H
#define TORPOR_VIRTIO_NET_TAP_H

#include <linux/if_ether.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

/* Bytes before each packet: struct virtio_net_hdr_v1. */
#define NET_TAP_HDR_BYTES 12

/**
 * net_tap_open() - open an existing tap interface by name
 * @name: interface name
 * @err: names the tap and what to do
 *
 * With a virtio-net header before each packet, no offloads, non-blocking.
 * Return: fd, owned by the caller; -ENODEV no such interface, -EPERM or
 * -EACCES not this user's, -EBUSY used by another process, -EINVAL the name
 * is none or the interface is not a tap, -ENOENT no /dev/net/tun; or -errno.
 */
int net_tap_open(const char *name, struct err *err) must_check;

/**
 * net_tap_check() - make a tap given as an fd fit for use
 * @fd: borrowed
 *
 * It must be a tap with IFF_NO_PI and IFF_VNET_HDR; header size and
 * non-blocking mode are set.
 * Return: 0; -EINVAL something else; or -errno.
 */
int net_tap_check(int fd, struct err *err) must_check;

/*
 * The interface's MTU, in bytes. Return: -ENODEV if it is in another network
 * namespace than the caller, or -errno. Not for the device process.
 */
int net_tap_mtu(int fd) must_check;

/* The least that config space may say, bytes (virtio 1.x, 5.1.4.1). */
#define NET_MTU_MIN 68
/*
 * What a guest is told of it, 0 for nothing: of Ethernet's 1500, which it takes
 * for granted (and told, it could never set a larger one), or if @mtu is an
 * error.
 */
uint16_t net_tap_mtu_told(int mtu);

/* TUN_F_* that the tap takes, found out by trying; all are off afterwards. */
unsigned int net_tap_offloads(int fd);

/* TUN_F_* of packets the guest takes. Return: 0 or -errno. */
int net_tap_set_offload(int fd, unsigned int tun_f) must_check;

#define NET_TAP_FILTER_MACS 130U

/* struct tun_filter with its addresses. */
struct net_tap_filter {
	uint16_t flags; /* TUN_FLT_ALLMULTI */
	uint16_t count;
	uint8_t addr[NET_TAP_FILTER_MACS][ETH_ALEN];
};

/**
 * net_tap_set_filter() - have the kernel drop what goes into the tap
 * @filter: destination addresses that pass, the unicast ones first, at most 8
 *	of them; NULL: everything passes
 *
 * What is in the tap's queue already stays there. The filter belongs to the
 * interface, not to the fd, and a persistent one keeps it: net_tap_open() and
 * net_tap_check() take off what a process that was killed has left.
 * Return: 0; -EINVAL not a tap of the tun driver (a macvtap), or -errno.
 */
int net_tap_set_filter(int fd, const struct net_tap_filter *filter) must_check;

#endif
