/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-net: a tap interface as one pair of queues and a control queue. Loop
 * thread only. Spec: virtio 1.x, 5.1.
 *
 * The tap is polled only while someone waits for a packet: the receive ring
 * runs and has buffers, or the VMM has armed the wake-up (wake.c). A device
 * that neither runs nor is armed costs nothing; packets wait in the tap.
 *
 * Words: mac=aa:bb:cc:dd:ee:ff, wake=unicast, mtu=BYTES, and tap=NAME by hand.
 * Without tap the fd is the one it is given, opened by the VMM.
 */
#define _GNU_SOURCE
#include "virtio/net/net.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "virtio/net/tap.h"
#include "vmm/base/fd.h"
#include "vmm/base/mac.h"

/*
 * Between batches of packets for a guest that sleeps, so that 50,000 packets a
 * second are looked at, for some percent of a CPU.
 */
#define PAUSE_NS 5000000ULL

#define GUEST_OFFLOADS                                                 \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))

_Static_assert(NET_HDR_BYTES == NET_TAP_HDR_BYTES, "the tap's header is ours");
_Static_assert(NET_BOUNCE_BYTES > NET_HDR_BYTES + NET_FRAME_MAX, "and more");

static struct virtio_net *to_net(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_net, dev);
}

static void watch(struct virtio_net *net);

static void on_tap(struct loop_source *src, uint32_t events)
{
	struct virtio_net *net = container_of(src, struct virtio_net, src);

	if (net->rx_on && !net->rx_starved && (events & EPOLLIN))
		net_rx_run(net);
	else if (net->wake.watching && (events & EPOLLIN))
		net_wake_look(net);
	/* The interface was deleted, or the peer is gone. */
	if ((events & (EPOLLERR | EPOLLHUP)) && !(events & EPOLLIN))
		net_gone(net);
	watch(net);
}

static void on_pause_over(struct loop_timer *timer)
{
	struct virtio_net *net =
		container_of(timer, struct virtio_net, wake.pause);

	net->wake.paused = false;
	net_wake_look(net);
	watch(net);
}

/* The last act of an entry: the tap is polled if someone waits for packets. */
static void watch(struct virtio_net *net)
{
	static struct log_limit limit;
	bool watched = net_wake_update(net);
	bool want = watched || (!net->gone && net->rx_on && !net->rx_starved);
	int r;

	if (net->wake.paused && !net->wake.pause.deadline_ns)
		loop_timer_set(net->dev.loop, &net->wake.pause, PAUSE_NS,
			       on_pause_over);
	if (!want) {
		loop_remove(net->dev.loop, &net->src);
		return;
	}
	if (net->src.fd >= 0)
		return;
	r = loop_add(net->dev.loop, &net->src, net->fd, EPOLLIN, on_tap);
	if (r < 0) {
		log_limited(&limit, "watch the tap: %s", strerror(-r));
		virtio_dev_fail(&net->dev, "the tap cannot be polled");
	}
}

/* Segmentation needs the checksum, ECN segmentation (5.1.3.1). */
static uint64_t offloads_of(uint64_t features)
{
	uint64_t bits = features & GUEST_OFFLOADS;

	if (!(bits & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		return 0;
	if (!(bits &
	      (BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6))))
		bits &= ~BIT(VIRTIO_NET_F_GUEST_ECN);
	return bits;
}

static int net_start(struct virtio_dev *dev)
{
	struct virtio_net *net = to_net(dev);

	net_filter_start(&net->filter, dev->features);
	net_wake_filter_changed(net);
	return net_set_offloads(net, offloads_of(dev->features));
}

static void net_kick(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_net *net = to_net(dev);

	switch (queue) {
	case NET_RX:
		net->rx_on = true;
		net->rx_starved = false;
		/* Otherwise the loop tells when there is something. */
		if (net->rx.held || net->wake.nr)
			net_rx_run(net);
		watch(net);
		break;
	case NET_TX:
		net_tx_run(net);
		break;
	case NET_CTRL:
		net_ctrl_run(net);
		break;
	}
}

static void net_stop_queue(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_net *net = to_net(dev);

	if (queue == NET_CTRL)
		net->ctrl_waits = false;
	if (queue != NET_RX)
		return;
	net->rx_on = false;
	net->rx_starved = false;
	net_rx_stop(net);
	watch(net);
}

static void net_stop(struct virtio_dev *dev)
{
	struct virtio_net *net = to_net(dev);

	net->wake.offloads = net->guest_offloads;
	/* What comes while the guest is away must suit whoever comes back. */
	if (net_set_offloads(net, 0) < 0)
		log_debug("the tap's offloads cannot be turned off (ignored)");
	net_rx_trim(net);
}

static void net_arm(struct virtio_dev *dev, bool armed)
{
	struct virtio_net *net = to_net(dev);

	net_wake_arm(net, armed);
	watch(net);
	if (!armed || net->woken || net->gone)
		return;
	/* What is in the tap came before the arming and counts as well. */
	if (net->wake.watching)
		net_wake_look(net);
	else
		net_rx_run(net);
	watch(net);
}

/* ------------------------------------------------------------ creation */

static uint64_t features_of(const struct net_params *cfg)
{
	uint64_t f = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) |
		     BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
		     BIT(VIRTIO_NET_F_CTRL_MAC_ADDR);

	if (cfg->has_mac)
		f |= BIT(VIRTIO_NET_F_MAC);
	if (cfg->mtu)
		f |= BIT(VIRTIO_NET_F_MTU);
	if (cfg->tun_f & TUN_F_CSUM)
		f |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
		     BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (cfg->tun_f & TUN_F_TSO4)
		f |= BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO4);
	if (cfg->tun_f & TUN_F_TSO6)
		f |= BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_GUEST_TSO6);
	if (cfg->tun_f & TUN_F_TSO_ECN)
		f |= BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_ECN);
	return f;
}

int net_create(struct loop *loop, const struct net_params *cfg,
	       struct virtio_net **ret)
{
	struct virtio_net_config config = { .status = VIRTIO_NET_S_LINK_UP,
					    .max_virtqueue_pairs = 1,
					    .mtu = cfg->mtu };
	struct virtio_net *net = calloc(1, sizeof(*net));
	int r;

	if (!net)
		return -ENOMEM;
	/* Pages come into being where a packet overflows into them. */
	net->rx.bounce = mmap(NULL, NET_BOUNCE_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (net->rx.bounce == MAP_FAILED) {
		free(net);
		return -ENOMEM;
	}
	r = net_kept_init(net);
	if (r < 0) {
		(void)munmap(net->rx.bounce, NET_BOUNCE_BYTES);
		free(net);
		return r;
	}
	net->wake.unicast = cfg->wake_unicast;
	net_filter_init(&net->filter, cfg->has_mac ? cfg->mac : NULL);
	virtio_dev_init(&net->dev, &virtio_net_ops, loop);
	net->dev.features_offered |= features_of(cfg);
	net->fd = cfg->fd;
	net->is_tap = cfg->is_tap;
	net->src.fd = -1;
	memcpy(config.mac, cfg->mac, sizeof(config.mac));
	memcpy(net->dev.config, &config, sizeof(config));
	*ret = net;
	return 0;
}

/* -------------------------------------------------- from words and fds */

/* Takes the address of one station only. */
static int parse_mac(const char *text, uint8_t *ret)
{
	uint8_t mac[MAC_BYTES];

	if (mac_parse(text, mac) < 0 || mac_is_group(mac))
		return -EINVAL;
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

static int parse_mtu(const char *text, uint16_t *ret)
{
	unsigned int mtu = 0;

	for (; *text >= '0' && *text <= '9' && mtu <= UINT16_MAX; text++)
		mtu = mtu * 10 + (unsigned int)(*text - '0');
	if (*text || mtu < NET_MTU_MIN || mtu > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)mtu;
	return 0;
}

static int parse_words(char *const *args, struct net_params *cfg,
		       const char **ret_tap)
{
	for (; *args; args++) {
		const char *word = *args;

		if (strncmp(word, "mac=", 4) == 0) {
			if (parse_mac(word + 4, cfg->mac) < 0)
				return log_errno(-EINVAL,
						 "%s: a unicast address like "
						 "52:54:00:12:34:56 expected",
						 word);
			cfg->has_mac = true;
		} else if (strncmp(word, "mtu=", 4) == 0) {
			if (parse_mtu(word + 4, &cfg->mtu) < 0)
				return log_errno(-EINVAL,
						 "%s: 68 to 65535 expected",
						 word);
		} else if (strcmp(word, "wake=unicast") == 0) {
			cfg->wake_unicast = true;
		} else if (strncmp(word, "tap=", 4) == 0) {
			*ret_tap = word + 4;
		} else {
			return log_errno(-EINVAL, "net: unknown word '%s'",
					 word);
		}
	}
	return 0;
}

static int role_create(struct loop *loop, char *const *args, const int *fds,
		       struct virtio_dev **ret_dev)
{
	struct net_params cfg = { .fd = fds[0], .is_tap = true };
	struct virtio_net *net;
	const char *tap = NULL;
	struct err err = { 0 };
	int r;

	r = parse_words(args, &cfg, &tap);
	if (r < 0)
		return r;
	if (tap)
		cfg.fd = r = net_tap_open(tap, &err);
	else
		r = net_tap_check(cfg.fd, &err);
	if (r < 0) {
		log_err("%s", err.msg);
		return r;
	}
	if (tap)
		cfg.mtu = net_tap_mtu_told(net_tap_mtu(cfg.fd));
	cfg.tun_f = net_tap_offloads(cfg.fd);
	r = net_create(loop, &cfg, &net);
	if (r < 0) {
		if (tap)
			fd_close(&cfg.fd);
		return log_errno(r, "create the network device");
	}
	*ret_dev = &net->dev;
	return 0;
}

static void role_destroy(struct virtio_dev *dev)
{
	struct virtio_net *net;

	if (!dev)
		return;
	net = to_net(dev);
	loop_remove(dev->loop, &net->src);
	net_wake_finish(net);
	net_kept_finish(net);
	fd_close(&net->fd);
	(void)munmap(net->rx.bounce, NET_BOUNCE_BYTES);
	free(net);
}

const struct virtio_dev_ops virtio_net_ops = {
	.type = &virtio_types[VIRTIO_TYPE_NET],
	.usage = "tap=NAME",
	.create = role_create,
	.destroy = role_destroy,
	.start = net_start,
	.kick = net_kick,
	.stop_queue = net_stop_queue,
	.stop = net_stop,
	.config_published = net_ctrl_published,
	.wake_arm = net_arm,
};
