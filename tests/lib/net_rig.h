/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network device on one end of a datagram socket, which stands in for the
 * tap where its ioctls do not matter, and a driver's side of it. One thread;
 * failures end the test.
 */
#ifndef TORPOR_TESTS_LIB_NET_RIG_H
#define TORPOR_TESTS_LIB_NET_RIG_H

#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/lib/guest_ring.h"
#include "virtio/net/net.h"

#define TUN_ALL (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define PLAIN                                              \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MAC) | \
	 BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define MERGE (PLAIN | BIT(VIRTIO_NET_F_MRG_RXBUF))
#define WITH_CTRL                                                        \
	(MERGE | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | \
	 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))
#define OFFLOADS                                                       \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |       \
	 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |   \
	 BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
	 BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))

extern const uint8_t own[ETH_ALEN]; /* the MAC address of the device */
extern const struct virtio_net_hdr_v1 no_hdr;

struct nic {
	struct front f;
	struct virtio_net *net;
	int peer; /* the far side of the wire */
	uint64_t ack;
	bool live;
};

/*
 * The device on one end of a datagram socket, in place of the tap; the test has
 * the other. Of @params, fd and mac are ours.
 */
void nic_create_with(struct nic *t, const struct net_params *params);
void nic_create(struct nic *t, uint16_t mtu);
void nic_start(struct nic *t, uint64_t features);
void nic_open(struct nic *t, uint64_t features);
/* The same; only unicast wakes. */
void nic_open_unicast(struct nic *t, uint64_t features);
void nic_close(struct nic *t);
void frame_fill(uint8_t *frame, size_t len);
/* From the wire: header @hdr and @len bytes of frame, to @mac if there is one.
 */
void wire_send_to(struct nic *t, const struct virtio_net_hdr_v1 *hdr,
		  size_t len, const uint8_t *mac);

#define wire_send(t, hdr, len) wire_send_to(t, hdr, len, NULL)

#define wire_send_own(t, len) wire_send_to(t, &no_hdr, len, own)

/* What has arrived on the wire. Return: bytes of frame, -1 if nothing. */
ssize_t wire_recv(struct nic *t, struct virtio_net_hdr_v1 *hdr, uint8_t *frame,
		  size_t max);
uint64_t rx_add(struct nic *t, uint32_t len);
/* As a driver with EVENT_IDX would, and harmless without. */
void rx_kick(struct nic *t);
uint32_t rx_len(struct nic *t);
bool rx_empty(struct nic *t);
bool frame_ok(const uint8_t *p, size_t from, size_t len);

#endif
