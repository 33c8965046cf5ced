/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network transmit: from the guest's buffers to the tap. Loop thread only.
 * Spec: virtio 1.x, 5.1.9.2. The header is copied once and what goes to the
 * host's kernel is made again from what was agreed on; a packet that makes no
 * sense, and one the tap does not take, is dropped, as on a wire.
 *
 * System calls, for the seccomp policy: writev; write of the call and kick
 * eventfds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/uio.h>

#include "virtio/iov.h"
#include "virtio/net/net.h"
#include "virtio/turn.h"

/* A guest that never stops must not starve the loop. */
#define TURN_PACKETS 256U
#define TURN_BYTES   (4U << 20)
/* One entry is the header's. */
#define TX_IOV_MAX (VIRTQ_MAX_CHAIN - 1)

/* Return: NULL or why the packet of @len bytes cannot be sent. */
static const char *gso_clean(const struct virtio_net *net,
			     const struct virtio_net_hdr_v1 *in, uint64_t len,
			     struct virtio_net_hdr_v1 *out)
{
	unsigned int bit;

	switch (in->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		bit = VIRTIO_NET_F_HOST_TSO4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		bit = VIRTIO_NET_F_HOST_TSO6;
		break;
	default:
		return "unknown segmentation type";
	}
	if (!virtio_dev_has(&net->dev, bit))
		return "segmentation was not negotiated";
	if ((in->gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	    !virtio_dev_has(&net->dev, VIRTIO_NET_F_HOST_ECN))
		return "ECN was not negotiated";
	if (!in->gso_size)
		return "segments of no size";
	if (!(in->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return "segmentation without checksum";
	/* A hint, not passed on: the kernel finds the headers itself. */
	if (in->hdr_len > len)
		return "headers longer than the packet";
	out->gso_type = in->gso_type;
	out->gso_size = in->gso_size;
	return NULL;
}

static const char *header_clean(const struct virtio_net *net,
				const struct virtio_net_hdr_v1 *in,
				uint64_t len, struct virtio_net_hdr_v1 *out)
{
	*out = (struct virtio_net_hdr_v1){ 0 };
	/* Other flags are to be ignored. */
	if (in->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (!virtio_dev_has(&net->dev, VIRTIO_NET_F_CSUM))
			return "checksum offload was not negotiated";
		if ((uint64_t)in->csum_start + in->csum_offset +
			    sizeof(uint16_t) >
		    len)
			return "checksum outside the packet";
		out->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		out->csum_start = in->csum_start;
		out->csum_offset = in->csum_offset;
	}
	if (in->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return NULL;
	return gso_clean(net, in, len, out);
}

static const char *send_packet(struct virtio_net *net,
			       const struct virtq_chain *c)
{
	struct virtio_net_hdr_v1 in, out;
	const char *why;
	uint64_t len;
	ssize_t sent;
	int n;

	if (iov_read(c->iov, c->nr_out, 0, &in, sizeof(in)) < sizeof(in))
		return "no header";
	len = c->len_out - sizeof(in);
	if (len < ETH_HLEN || len > NET_FRAME_MAX)
		return "not the size of a frame";
	why = header_clean(net, &in, len, &out);
	if (why)
		return why;
	n = iov_slice(c->iov, c->nr_out, sizeof(in), len, net->tx_iov + 1,
		      TX_IOV_MAX);
	if (n < 0)
		return "too many buffers";
	net->tx_iov[0] = (struct iovec){ &out, sizeof(out) };
	do {
		sent = writev(net->fd, net->tx_iov, n + 1);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? "the tap does not take it" : NULL;
}

static bool serve(struct virtio_dev *dev, struct virtq *vq,
		  const struct virtq_chain *chain, struct turn *turn)
{
	struct virtio_net *net = container_of(dev, struct virtio_net, dev);
	const char *why = send_packet(net, chain);

	if (why)
		log_limited(&net->tx_drops, "packet not sent: %s", why);
	virtq_push(vq, chain->head, 0);
	return true;
}

void net_tx_run(struct virtio_net *net)
{
	struct turn turn = turn_begin(TURN_PACKETS, TURN_BYTES);

	virtq_serve(&net->dev, &net->dev.queues[NET_TX], &turn, serve);
}
