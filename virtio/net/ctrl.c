/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network device's control queue. Loop thread only. Spec: virtio 1.x,
 * 5.1.9.5. Commands run in order; what is unknown, was not negotiated or is
 * malformed is answered VIRTIO_NET_ERR.
 *
 * Receive modes and addresses say what may wake the guest when it sleeps. What
 * reaches it awake is not filtered: the driver does not say again what it wants
 * after it has reset the device for suspend, and might have changed its mind
 * (filter.h).
 */
#define _GNU_SOURCE
#include <string.h>

#include "virtio/iov.h"
#include "virtio/net/net.h"
#include "virtio/turn.h"

/* The largest command we know is two tables of this many addresses. */
#define MAC_TABLE_MAX 1024U
#define TURN_COMMANDS 256U
#define TURN_BYTES    (1U << 20)

_Static_assert(sizeof(struct virtio_net_ctrl_hdr) == 2, "wire format");

/* One command: its data lie behind the header in the chain. */
struct command {
	const struct virtq_chain *chain;
	uint64_t len; /* bytes of data */
	uint8_t cmd;
};

/* Return: false if there are not @len bytes at @off. */
static bool data_read(const struct command *c, size_t off, void *buf,
		      size_t len)
{
	return iov_read(c->chain->iov, c->chain->nr_out,
			sizeof(struct virtio_net_ctrl_hdr) + off, buf,
			len) == len;
}

static bool rx_mode(struct virtio_net *net, const struct command *c)
{
	bool *mode = c->cmd == VIRTIO_NET_CTRL_RX_PROMISC
			     ? &net->filter.promisc
			     : &net->filter.allmulti;
	uint8_t on;

	if (!virtio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_RX) ||
	    (c->cmd != VIRTIO_NET_CTRL_RX_PROMISC &&
	     c->cmd != VIRTIO_NET_CTRL_RX_ALLMULTI) ||
	    c->len != sizeof(on) || !data_read(c, 0, &on, sizeof(on)) || on > 1)
		return false;
	*mode = on;
	net_wake_filter_changed(net);
	return true;
}

/* Two tables, each a count and so many addresses, and nothing more. */
static bool mac_tables(const struct command *c, uint32_t ret_entries[2])
{
	uint64_t off = 0;

	for (int i = 0; i < 2; i++) {
		if (!data_read(c, off, &ret_entries[i],
			       sizeof(ret_entries[i])) ||
		    ret_entries[i] > MAC_TABLE_MAX)
			return false;
		off += sizeof(ret_entries[i]) +
		       (uint64_t)ret_entries[i] * ETH_ALEN;
	}
	return off == c->len;
}

static bool set_mac_tables(struct virtio_net *net, const struct command *c)
{
	struct net_mac_table *tables[2] = { &net->filter.unicast,
					    &net->filter.multicast };
	uint8_t macs[NET_FILTER_MACS][ETH_ALEN];
	uint32_t entries[2];
	uint64_t off = 0;

	if (!mac_tables(c, entries))
		return false;
	for (unsigned int i = 0; i < 2; i++) {
		off += sizeof(entries[i]);
		net_mac_table_begin(tables[i], entries[i]);
		/* One pass over the buffers: they may be of a byte each. */
		if (!tables[i]->all &&
		    data_read(c, off, macs, (size_t)entries[i] * ETH_ALEN)) {
			for (uint32_t k = 0; k < entries[i]; k++)
				net_mac_table_add(tables[i], macs[k], i == 1);
		}
		off += (uint64_t)entries[i] * ETH_ALEN;
	}
	net_wake_filter_changed(net);
	return true;
}

static bool mac(struct virtio_net *net, const struct command *c)
{
	uint8_t *shown =
		net->dev.config + offsetof(struct virtio_net_config, mac);
	uint8_t addr[ETH_ALEN];

	if (c->cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return virtio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_RX) &&
		       set_mac_tables(net, c);
	if (c->cmd != VIRTIO_NET_CTRL_MAC_ADDR_SET ||
	    !virtio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    c->len != sizeof(addr) || !data_read(c, 0, addr, sizeof(addr)))
		return false;
	/* A group address belongs to nobody. */
	if (addr[0] & 1)
		return false;
	net_filter_set_mac(&net->filter, addr);
	net_wake_filter_changed(net);
	if (memcmp(shown, addr, sizeof(addr)) != 0) {
		memcpy(shown, addr, sizeof(addr));
		virtio_dev_config_changed(&net->dev);
	}
	return true;
}

static bool guest_offloads(struct virtio_net *net, const struct command *c)
{
	const uint64_t tso = 1ULL << VIRTIO_NET_F_GUEST_TSO4 |
			     1ULL << VIRTIO_NET_F_GUEST_TSO6;
	const uint64_t csum = 1ULL << VIRTIO_NET_F_GUEST_CSUM;
	const uint64_t ecn = 1ULL << VIRTIO_NET_F_GUEST_ECN;
	uint64_t bits;

	if (c->cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !virtio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    c->len != sizeof(bits) || !data_read(c, 0, &bits, sizeof(bits)))
		return false;
	if (bits & ~(net->dev.features & (tso | csum | ecn)))
		return false;
	if (((bits & tso) && !(bits & csum)) || ((bits & ecn) && !(bits & tso)))
		return false;
	return net_set_offloads(net, bits) == 0;
}

static bool execute(struct virtio_net *net, const struct virtq_chain *chain)
{
	struct command c = { .chain = chain };
	struct virtio_net_ctrl_hdr hdr;

	if (iov_read(chain->iov, chain->nr_out, 0, &hdr, sizeof(hdr)) <
	    sizeof(hdr))
		return false;
	c.len = chain->len_out - sizeof(hdr);
	c.cmd = hdr.cmd;
	switch (hdr.class) {
	case VIRTIO_NET_CTRL_RX:
		return rx_mode(net, &c);
	case VIRTIO_NET_CTRL_MAC:
		return mac(net, &c);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return guest_offloads(net, &c);
	default:
		return false;
	}
}

static bool serve(struct virtio_dev *dev, struct virtq *vq,
		  const struct virtq_chain *c, struct turn *turn)
{
	struct virtio_net *net = container_of(dev, struct virtio_net, dev);
	uint8_t ack = VIRTIO_NET_ERR;

	if (!c->len_in) {
		virtq_push(vq, c->head, 0);
		virtq_break(vq, "command without room for an answer");
		return false;
	}
	if (execute(net, c))
		ack = VIRTIO_NET_OK;
	/*
	 * Config space shows what it changed before it is used (5.1.6.5.2.1).
	 * Until then it is as if it had not been taken, so that a stop need
	 * not wait; executed twice, it does the same.
	 */
	if (!virtio_dev_config_published(dev)) {
		virtq_unpop(vq, &c->head, 1);
		net->ctrl_waits = true;
		return false;
	}
	(void)iov_write(c->iov + c->nr_out, c->nr_in, 0, &ack, sizeof(ack));
	virtq_push(vq, c->head, sizeof(ack));
	return true;
}

void net_ctrl_run(struct virtio_net *net)
{
	struct turn turn = turn_begin(TURN_COMMANDS, TURN_BYTES);

	if (!net->ctrl_waits)
		virtq_serve(&net->dev, &net->dev.queues[NET_CTRL], &turn,
			    serve);
}

void net_ctrl_published(struct virtio_dev *dev)
{
	struct virtio_net *net = container_of(dev, struct virtio_net, dev);

	if (!net->ctrl_waits)
		return;
	net->ctrl_waits = false;
	net_ctrl_run(net);
}
