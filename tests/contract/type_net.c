/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network card: numbered frames each way, through a tap in a network namespace
 * of its own, which goes with the test.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/contract/rig.h"
#include "vmm/base/fd.h"

#define RX	   0U
#define TX	   1U
#define COMMANDS   2U
#define HDR	   12U
#define BUF_SIZE   256U
#define FRAME_SIZE 90U
#define NR_RX	   64U
#define DEPTH	   64U
#define FLOOD	   200U /* frames; more than buffers, fewer than the tap's queue */
#define ETH_OURS   0x88b5 /* for experiments */

struct frame {
	uint8_t dest[ETH_ALEN], source[ETH_ALEN];
	uint16_t type;
	uint32_t number;
	uint8_t data[FRAME_SIZE - 18];
} __attribute__((packed));

static const uint8_t macs[2][ETH_ALEN] = { { 0x52, 0x54, 0, 1, 2, 3 },
					   { 0x52, 0x54, 0, 1, 2, 4 } };
static const char name[] = "torpor0";
static int sock = -1, link_sock = -1, if_index;
static uint64_t rx_bufs, tx_bufs, ctrl_buf;
static uint32_t tx_sent, tx_seen, host_sent, rx_seen;
static bool tx_pending[NET_QUEUE_SIZE];
static unsigned int nr_tx, nr_commands, mac;

/* --- the host's side --- */

enum {
	TAP,
	SOCK,
	LINK,
	NR_FDS
};

static void name_to(struct ifreq *ifr)
{
	memset(ifr, 0, sizeof(*ifr));
	memcpy(ifr->ifr_name, name, sizeof(name));
}

static int write_file(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

/* A network of its own; who may not have one gets to be its root first. */
static int enter_network(void)
{
	char uid_map[64], gid_map[64];

	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	(void)snprintf(uid_map, sizeof(uid_map), "0 %u 1", geteuid());
	(void)snprintf(gid_map, sizeof(gid_map), "0 %u 1", getegid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	if (write_file("/proc/self/setgroups", "deny") < 0 ||
	    write_file("/proc/self/gid_map", gid_map) < 0)
		return -EPERM;
	return write_file("/proc/self/uid_map", uid_map);
}

/* Attached before it is up, so no frame is lost for want of a carrier. */
static int make_tap(int *fds, int *ret_index)
{
	struct sockaddr_ll sll = { .sll_family = AF_PACKET,
				   .sll_protocol = htons(ETH_OURS) };
	struct ifreq ifr;

	fds[TAP] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	name_to(&ifr);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (fds[TAP] < 0 || ioctl(fds[TAP], TUNSETIFF, &ifr) < 0)
		return -errno;
	/* No packets of the kernel's own; a kernel without IPv6 has none. */
	(void)write_file("/proc/sys/net/ipv6/conf/torpor0/disable_ipv6", "1");
	fds[SOCK] =
		socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fds[LINK] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	name_to(&ifr);
	if (fds[SOCK] < 0 || fds[LINK] < 0 ||
	    ioctl(fds[SOCK], SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fds[SOCK], SIOCSIFFLAGS, &ifr) < 0 ||
	    ioctl(fds[SOCK], SIOCGIFINDEX, &ifr) < 0)
		return -errno;
	*ret_index = sll.sll_ifindex = ifr.ifr_ifindex;
	return bind(fds[SOCK], (struct sockaddr *)&sll, sizeof(sll)) < 0
		       ? -errno
		       : 0;
}

/* In a process of one thread, which may enter namespaces. */
static void helper(int channel)
{
	int fds[NR_FDS], answer[2] = { 0, 0 };
	int r = enter_network();

	if (r == 0)
		r = make_tap(fds, &answer[1]);
	answer[0] = r;
	_exit(fd_sendmsg(channel, answer, sizeof(answer), fds,
			 r == 0 ? NR_FDS : 0) < 0);
}

static void open_tap(struct spawn_request *req)
{
	static char word[] = "mac=52:54:00:01:02:03";
	int channel[2], fds[NR_FDS], answer[2];
	size_t n = 0;
	pid_t pid;

	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, channel)));
	pid = fork();
	cr_assert(ge(int, pid, 0));
	if (pid == 0)
		helper(channel[1]);
	(void)close(channel[1]);
	cr_assert(eq(sz,
		     (size_t)fd_recvmsg(channel[0], answer, sizeof(answer), fds,
					NR_FDS, &n, 0),
		     sizeof(answer)));
	(void)close(channel[0]);
	cr_assert(eq(int, waitpid(pid, NULL, 0), pid));
	if (answer[0] < 0)
		cr_skip("no tap can be made here: %s", strerror(-answer[0]));
	cr_assert(eq(sz, n, NR_FDS));
	sock = fds[SOCK];
	link_sock = fds[LINK];
	if_index = answer[1];
	req->args[0] = word;
	req->backend_fds[req->nr_backend_fds++] = fds[TAP];
	rig_watch_host(sock);
}

static void close_tap(void)
{
	fd_close(&sock);
	fd_close(&link_sock);
}

/* --- frames --- */

static void fill(struct frame *f, uint32_t number)
{
	*f = (struct frame){ .type = htons(ETH_OURS), .number = number };
	memcpy(f->dest, macs[mac], ETH_ALEN);
	f->source[0] = 2;
	for (size_t i = 0; i < sizeof(f->data); i++)
		f->data[i] = (uint8_t)(number * 3 + i);
}

static void check(const uint8_t *p, size_t len, uint32_t number,
		  const char *what)
{
	struct frame want, have;

	cr_assert(eq(sz, len, sizeof(have)), "%s", what);
	memcpy(&have, p, sizeof(have));
	cr_assert(eq(u32, have.number, number), "%s", what);
	fill(&want, number);
	cr_assert(zero(int, memcmp(want.data, have.data, sizeof(want.data))));
}

static void host_send(void)
{
	struct frame f;

	fill(&f, host_sent++);
	cr_assert(eq(sz, (size_t)send(sock, &f, sizeof(f), 0), sizeof(f)));
}

static void flood(void)
{
	for (unsigned int i = 0; i < FLOOD; i++)
		host_send();
}

/* Receives, so that requests can also wait. */
static unsigned int request(struct guest *g, struct guest_buf *b, uint64_t gpa)
{
	b[0] = (struct guest_buf){ gpa, BUF_SIZE, true };
	return 1;
}

/* --- the driver --- */

static void rx_post(uint16_t slot)
{
	struct guest_buf b = { rx_bufs + slot * BUF_SIZE, BUF_SIZE, true };

	cr_assert(eq(u16, rig.ring[RX].next_desc, slot));
	(void)guest_ring_add(&rig.ring[RX], &b, 1);
}

static void live(void)
{
	uint8_t bytes[2048];

	if (!rx_bufs) {
		rx_bufs = guest_alloc(&rig.g, NET_QUEUE_SIZE * BUF_SIZE, 64);
		tx_bufs = guest_alloc(&rig.g, NET_QUEUE_SIZE * BUF_SIZE, 64);
		ctrl_buf = guest_alloc(&rig.g, 64, 64);
	}
	memset(tx_pending, 0, sizeof(tx_pending));
	nr_tx = nr_commands = 0;
	mac = 0;
	tx_seen = tx_sent;
	while (recv(sock, bytes, sizeof(bytes), 0) > 0)
		;
	for (uint16_t i = 0; i < NR_RX; i++)
		rx_post(i);
	rig_kick(RX);
}

static void begin(unsigned int n)
{
	while (n--) {
		uint16_t slot = rig.ring[TX].next_desc;
		struct guest_buf b = { tx_bufs + slot * BUF_SIZE,
				       HDR + sizeof(struct frame), false };
		uint8_t *p = guest_ptr(&rig.g, b.gpa);

		cr_assert(not(tx_pending[slot]));
		memset(p, 0, HDR);
		fill((struct frame *)(void *)(p + HDR), tx_sent++);
		tx_pending[guest_ring_add(&rig.ring[TX], &b, 1)] = true;
		nr_tx++;
	}
	rig_kick(TX);
}

static void collect_rx(void)
{
	bool posted = false;
	uint16_t head;
	uint32_t len;

	while (guest_ring_reap(&rig.ring[RX], &head, &len)) {
		const uint8_t *p =
			guest_ptr(&rig.g, rig.ring[RX].desc[head].addr);

		check(p + HDR, len - HDR, rx_seen++, "received");
		cr_assert(rx_seen <= host_sent);
		rx_post((uint16_t)((head + NR_RX) % NET_QUEUE_SIZE));
		posted = true;
	}
	if (posted)
		rig_kick(RX);
}

static void collect_tx(void)
{
	uint8_t bytes[2048];
	uint16_t head;
	uint32_t len;
	ssize_t n;

	while (guest_ring_reap(&rig.ring[TX], &head, &len)) {
		cr_assert(tx_pending[head], "completed twice");
		tx_pending[head] = false;
		nr_tx--;
	}
	while ((n = recv(sock, bytes, sizeof(bytes), 0)) > 0) {
		check(bytes, (size_t)n, tx_seen++, "transmitted");
		cr_assert(tx_seen <= tx_sent);
	}
}

static bool changed(void)
{
	return !memcmp(rig.page->bytes + VIRTIO_MMIO_CONFIG, macs[mac],
		       ETH_ALEN);
}

static void collect_commands(void)
{
	uint16_t head;
	uint32_t len;

	while (guest_ring_reap(&rig.ring[COMMANDS], &head, &len)) {
		cr_assert(changed(), "used before config space shows it");
		cr_assert(
			zero(u8, *(uint8_t *)guest_ptr(&rig.g, ctrl_buf + 32)));
		nr_commands--;
	}
}

static unsigned int collect(void)
{
	collect_rx();
	collect_tx();
	collect_commands();
	return nr_tx + nr_commands + (tx_sent - tx_seen) +
	       (host_sent - rx_seen);
}

/* --- another address, by the control queue --- */

/*
 * Config space shows the address before the command is used (virtio 1.4,
 * 5.1.6.5.2.1). So a transport that does not read it yet leaves the command
 * where it is.
 */
static void change(void)
{
	struct guest_buf b[2] = { { ctrl_buf, 2 + ETH_ALEN, false },
				  { ctrl_buf + 32, 1, true } };
	uint8_t *p = guest_ptr(&rig.g, ctrl_buf);

	mac = !mac;
	p[0] = VIRTIO_NET_CTRL_MAC;
	p[1] = VIRTIO_NET_CTRL_MAC_ADDR_SET;
	memcpy(p + 2, macs[mac], ETH_ALEN);
	p[32] = 0xff;
	(void)guest_ring_add(&rig.ring[COMMANDS], b, 2);
	rig_kick(COMMANDS);
	nr_commands++;
	if (rig.hold_config)
		return;
	while (nr_commands) {
		collect_commands();
		if (nr_commands)
			rig_wait();
	}
}

/* The interface is deleted under the device. */
static void vanish(void)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg info;
	} m = { .h = { .nlmsg_len = sizeof(m),
		       .nlmsg_type = RTM_DELLINK,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.info = { .ifi_index = if_index } };
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
	} answer;

	cr_assert(eq(sz, (size_t)send(link_sock, &m, sizeof(m), 0), sizeof(m)));
	cr_assert(ge(sz, (size_t)recv(link_sock, &answer, sizeof(answer), 0),
		     sizeof(answer.h) + sizeof(answer.e.error)));
	cr_assert(zero(int, answer.e.error));
}

static bool vanished(void)
{
	const struct virtio_net_config *config =
		(const void *)(rig.page->bytes + VIRTIO_MMIO_CONFIG);

	return !(config->status & VIRTIO_NET_S_LINK_UP);
}

const struct contract_subject contract_net[] = {
	{
		.name = "net",
		.type = VIRTIO_TYPE_NET,
		.open = open_tap,
		.close = close_tap,
		.queue = RX,
		.request = request,
		.host = host_send,
		.features = 1ULL << VIRTIO_NET_F_MAC |
			    1ULL << VIRTIO_NET_F_STATUS |
			    1ULL << VIRTIO_NET_F_MRG_RXBUF |
			    1ULL << VIRTIO_NET_F_CTRL_VQ |
			    1ULL << VIRTIO_NET_F_CTRL_RX |
			    1ULL << VIRTIO_NET_F_CTRL_MAC_ADDR,
		.depth = DEPTH,
		.live = live,
		.begin = begin,
		.flood = flood,
		.collect = collect,
		.change = change,
		.changed = changed,
		.vanish = vanish,
		.vanished = vanished,
	},
	{ NULL },
};
