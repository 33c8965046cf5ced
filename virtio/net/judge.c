/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which packets a guest takes, and which wake it when it sleeps. Loop thread
 * only.
 */
#include <string.h>

#include "virtio/net/net.h"

bool net_allowed(uint64_t on, const struct virtio_net_hdr_v1 *hdr)
{
	unsigned int bit;

	if ((hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    !(on >> VIRTIO_NET_F_GUEST_CSUM & 1))
		return false;
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		bit = VIRTIO_NET_F_GUEST_TSO4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		bit = VIRTIO_NET_F_GUEST_TSO6;
		break;
	default:
		return false;
	}
	if ((hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	    !(on >> VIRTIO_NET_F_GUEST_ECN & 1))
		return false;
	return (on >> bit & 1) && hdr->gso_size &&
	       (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

/* @dest: of the frame. */
static enum net_verdict judge(const struct virtio_net *net,
			      const struct virtio_net_hdr_v1 *hdr,
			      const uint8_t *dest)
{
	/* What the driver takes, or took before it stopped. */
	uint64_t offloads =
		net->dev.started ? net->guest_offloads : net->wake.offloads;
	enum net_match match;

	if (!net_allowed(offloads, hdr))
		return NET_DROP;
	match = net_filter_match(&net->filter, dest);
	if (match == NET_MATCH_NONE)
		return NET_DROP;
	return match == NET_MATCH_OWN || !net->wake.unicast ? NET_WAKE
							    : NET_KEEP;
}

enum net_verdict net_judge(const struct virtio_net *net, const uint8_t *packet,
			   uint64_t len)
{
	struct virtio_net_hdr_v1 hdr;

	if (len < NET_HDR_BYTES + ETH_HLEN ||
	    len > NET_HDR_BYTES + NET_FRAME_MAX)
		return NET_DROP;
	memcpy(&hdr, packet, sizeof(hdr));
	return judge(net, &hdr, packet + NET_HDR_BYTES);
}

static void tell_frame(const uint8_t *p)
{
	log_debug("woken by a frame from %02x:%02x:%02x:%02x:%02x:%02x to "
		  "%02x:%02x:%02x:%02x:%02x:%02x, type %02x%02x",
		  p[6], p[7], p[8], p[9], p[10], p[11], p[0], p[1], p[2], p[3],
		  p[4], p[5], p[12], p[13]);
}

void net_wake_guest(struct virtio_net *net, const uint8_t *frame)
{
	if (frame)
		tell_frame(frame);
	net->woken = true;
	virtio_dev_wake(&net->dev);
}

void net_wake_seen(struct virtio_net *net, const struct virtio_net_hdr_v1 *hdr,
		   const uint8_t *frame)
{
	if (judge(net, hdr, frame) == NET_WAKE)
		net_wake_guest(net, frame);
}
