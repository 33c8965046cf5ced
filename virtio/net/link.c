/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network device's tap as a link: up until the interface is deleted, and
 * giving what the guest takes. Loop thread only.
 *
 * System calls, for the seccomp policy: ioctl with TUNSETOFFLOAD.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <stddef.h>
#include <string.h>

#include "virtio/net/net.h"
#include "virtio/net/tap.h"

void net_gone(struct virtio_net *net)
{
	uint16_t *status =
		(uint16_t *)(void *)(net->dev.config +
				     offsetof(struct virtio_net_config,
					      status));

	if (net->gone)
		return;
	net->gone = true;
	*status &= (uint16_t)~VIRTIO_NET_S_LINK_UP;
	virtio_dev_config_changed(&net->dev);
}

void net_read_failed(struct virtio_net *net, int code)
{
	if (code == -EAGAIN)
		return;
	/* The interface was deleted: nothing will ever come. */
	if (!net->gone)
		log_warn("read from the tap: %s; network stops",
			 strerror(-code));
	net_gone(net);
}

int net_set_offloads(struct virtio_net *net, uint64_t bits)
{
	unsigned int tun_f = 0;
	int r = 0;

	if (bits & BIT(VIRTIO_NET_F_GUEST_CSUM))
		tun_f |= TUN_F_CSUM;
	if (bits & BIT(VIRTIO_NET_F_GUEST_TSO4))
		tun_f |= TUN_F_TSO4;
	if (bits & BIT(VIRTIO_NET_F_GUEST_TSO6))
		tun_f |= TUN_F_TSO6;
	if (bits & BIT(VIRTIO_NET_F_GUEST_ECN))
		tun_f |= TUN_F_TSO_ECN;
	if (net->is_tap && !net->gone)
		r = net_tap_set_offload(net->fd, tun_f);
	if (r == 0)
		net->guest_offloads = bits;
	return r;
}
