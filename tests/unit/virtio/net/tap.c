/* SPDX-License-Identifier: BSD-3-Clause */
/* The network device on a real tap, where one can be made. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/net_rig.h"
#include "virtio/net/tap.h"
#include "vmm/base/fd.h"

struct tap {
	char name[IFNAMSIZ];
	int sock; /* packet socket on it */
};

static int tap_ioctl_make(const char *name, short flags, bool persist)
{
	struct ifreq ifr = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 ||
	    ioctl(fd, TUNSETPERSIST, (unsigned long)persist) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* A persistent tap that is up, without IPv6, or the test is skipped. */
static void tap_make(struct tap *tap)
{
	struct sockaddr_ll sll = { .sll_family = AF_PACKET,
				   .sll_protocol = 0x0300 /* ETH_P_ALL */ };
	struct ifreq ifr = { 0 };
	char path[80];
	int fd;

	(void)snprintf(tap->name, sizeof(tap->name), "trp%d", (int)getpid());
	fd = tap_ioctl_make(tap->name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
			    true);
	if (fd < 0)
		cr_skip("no tap can be made here");
	(void)close(fd);
	(void)snprintf(path, sizeof(path),
		       "/proc/sys/net/ipv6/conf/%s/disable_ipv6", tap->name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, "1", 1);
		(void)close(fd);
	}
	tap->sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	cr_assert(ge(int, tap->sock, 0));
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", tap->name);
	cr_assert(zero(int, ioctl(tap->sock, SIOCGIFFLAGS, &ifr)));
	ifr.ifr_flags |= IFF_UP;
	cr_assert(zero(int, ioctl(tap->sock, SIOCSIFFLAGS, &ifr)));
	cr_assert(zero(int, ioctl(tap->sock, SIOCGIFINDEX, &ifr)));
	sll.sll_ifindex = ifr.ifr_ifindex;
	cr_assert(zero(int,
		       bind(tap->sock, (struct sockaddr *)&sll, sizeof(sll))));
}

/*
 * The device has attached: waits until the kernel has noticed the carrier,
 * from a work item of its own; what is sent before is lost.
 */
static void tap_wait_running(struct tap *tap)
{
	struct ifreq ifr = { 0 };
	char path[64], state[8] = "";

	/* Not IFF_RUNNING, which a state not known yet sets too. */
	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/operstate",
		       tap->name);
	while (strncmp(state, "up", 2) != 0) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		cr_assert(ge(int, fd, 0));
		cr_assert(gt(long, read(fd, state, sizeof(state)), 0));
		(void)close(fd);
		(void)poll(NULL, 0, 1);
	}
	/* No change; but it takes the lock that work item holds. */
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", tap->name);
	cr_assert(zero(int, ioctl(tap->sock, SIOCGIFFLAGS, &ifr)));
	cr_assert(zero(int, ioctl(tap->sock, SIOCSIFFLAGS, &ifr)));
}

static void tap_delete(struct tap *tap)
{
	int fd = tap_ioctl_make(tap->name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
				false);

	if (fd >= 0)
		(void)close(fd);
	(void)close(tap->sock);
}

static ssize_t tap_recv(struct nic *t, struct tap *tap, uint8_t *buf,
			size_t len)
{
	front_wait_fd(&t->f, tap->sock);
	return recv(tap->sock, buf, len, MSG_DONTWAIT);
}

Test(net, a_real_tap_carries_packets_both_ways, .timeout = 120)
{
	static const char mac[] = "mac=52:54:00:AB:cd:ef";
	static uint8_t frame[2048], got[2048];
	struct virtio_net_hdr_v1 ret;
	char tap_word[32], mac_word[32];
	char *args[] = { tap_word, mac_word, NULL };
	struct virtio_dev *dev = NULL;
	struct nic t = { 0 };
	struct tap tap;
	uint64_t gpa;

	tap_make(&tap);
	(void)snprintf(tap_word, sizeof(tap_word), "tap=%s", tap.name);
	(void)snprintf(mac_word, sizeof(mac_word), "%s", mac);
	front_init(&t.f);
	cr_assert(zero(int, virtio_net_ops.create(&t.f.loop, args,
						  virtio_no_fds, &dev)));
	t.net = container_of(dev, struct virtio_net, dev);
	t.peer = -1;
	tap_wait_running(&tap);
	front_connect(&t.f, dev);
	front_negotiate(&t.f, WITH_CTRL | OFFLOADS);
	cr_assert(eq(u64, t.f.features & OFFLOADS, OFFLOADS));
	cr_assert(eq(u8, dev->config[5], 0xef));
	front_start_all(&t.f, 3);
	/* Out: type 0x88b5, for experiments; nobody answers. */
	frame_fill(frame, sizeof(frame));
	memset(frame, 0xff, 6);
	frame[6] = 0x52;
	frame[12] = 0x88;
	frame[13] = 0xb5;
	gpa = guest_alloc(&t.f.g, 2048, 16);
	memset(guest_ptr(&t.f.g, gpa), 0, 12);
	memcpy((uint8_t *)guest_ptr(&t.f.g, gpa) + 12, frame, 200);
	(void)front_wait_used(
		&t.f, NET_TX,
		guest_ring_add(&t.f.ring[NET_TX],
			       &(struct guest_buf){ gpa, 212, false }, 1));
	cr_assert(eq(long, tap_recv(&t, &tap, got, sizeof(got)), 200));
	cr_assert(zero(int, memcmp(got, frame, 200)));
	/* In. */
	gpa = rx_add(&t, 1526);
	rx_kick(&t);
	cr_assert(eq(long, send(tap.sock, frame, 300, 0), 300));
	front_wait_fd(&t.f, t.f.ring[NET_RX].call_fd);
	cr_assert(eq(u32, rx_len(&t), 312));
	memcpy(&ret, guest_ptr(&t.f.g, gpa), sizeof(ret));
	cr_assert(eq(u16, ret.num_buffers, 1));
	cr_assert(zero(int, memcmp((uint8_t *)guest_ptr(&t.f.g, gpa) + 12,
				   frame, 300)));
	nic_close(&t);
	tap_delete(&tap);
}

Test(net, a_real_tap_wakes_and_keeps_the_packet, .timeout = 120)
{
	static uint8_t frame[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	char tap_word[32];
	char *args[] = { tap_word, NULL };
	struct virtio_dev *dev = NULL;
	struct nic t = { 0 };
	struct tap tap;

	tap_make(&tap);
	(void)snprintf(tap_word, sizeof(tap_word), "tap=%s", tap.name);
	front_init(&t.f);
	cr_assert(zero(int, virtio_net_ops.create(&t.f.loop, args,
						  virtio_no_fds, &dev)));
	t.net = container_of(dev, struct virtio_net, dev);
	t.peer = -1;
	tap_wait_running(&tap);
	front_connect(&t.f, dev);
	cr_assert(zero(u64, dev->features_offered & BIT(VIRTIO_NET_F_MAC)));
	front_wake_arm(&t.f, true);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	cr_assert(eq(long, send(tap.sock, frame, sizeof(frame), 0), 64));
	front_wait_fd(&t.f, t.f.wake_fd);
	front_negotiate(&t.f, MERGE & ~BIT(VIRTIO_NET_F_MAC));
	front_start_all(&t.f, 2);
	(void)rx_add(&t, 1526);
	rx_kick(&t);
	front_wait_fd(&t.f, t.f.ring[NET_RX].call_fd);
	cr_assert(eq(u32, rx_len(&t), 76));
	nic_close(&t);
	tap_delete(&tap);
}

Test(net, a_deleted_tap_is_not_polled_for_ever, .timeout = 120)
{
	char tap_word[32], delete_it[64];
	char *args[] = { tap_word, NULL };
	struct virtio_net_config config;
	struct virtio_dev *dev = NULL;
	struct devctl_msg told;
	struct nic t = { 0 };
	struct tap tap;

	tap_make(&tap);
	(void)snprintf(tap_word, sizeof(tap_word), "tap=%s", tap.name);
	(void)snprintf(delete_it, sizeof(delete_it), "ip link del %s",
		       tap.name);
	front_init(&t.f);
	cr_assert(zero(int, virtio_net_ops.create(&t.f.loop, args,
						  virtio_no_fds, &dev)));
	t.net = container_of(dev, struct virtio_net, dev);
	t.peer = -1;
	tap_wait_running(&tap);
	front_connect(&t.f, dev);
	front_negotiate(&t.f, MERGE & ~BIT(VIRTIO_NET_F_MAC));
	front_start_all(&t.f, 2);
	(void)rx_add(&t, 1526);
	rx_kick(&t);
	cr_assert(ge(int, t.net->src.fd, 0));
	cr_assert(zero(int, system(delete_it)));
	for (int i = 0; i < 10 && !t.net->gone; i++)
		cr_assert(zero(int, loop_turn(&t.f.loop, 1000)));
	cr_assert(t.net->gone);
	cr_assert(lt(int, t.net->src.fd, 0));
	/* The driver is told that the link is down, once. */
	front_wait_fd(&t.f, t.f.ctl);
	cr_assert(eq(sz, (size_t)recv(t.f.ctl, &told, sizeof(told), 0),
		     sizeof(told)));
	cr_assert(eq(u32, told.type, DEVCTL_CONFIG_CHANGED));
	cr_assert(front_get_config(&t.f, 0, &config, sizeof(config)));
	cr_assert(zero(u16, config.status));
	/* Arming is answered, and nothing wakes. */
	front_wake_arm(&t.f, true);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	nic_close(&t);
	(void)close(tap.sock);
}

static void tap_set_mtu(struct tap *tap, int mtu)
{
	struct ifreq ifr = { .ifr_mtu = mtu };

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", tap->name);
	cr_assert(zero(int, ioctl(tap->sock, SIOCSIFMTU, &ifr)));
}

Test(net, tap_errors_name_the_tap_and_the_remedy, .timeout = 120)
{
	struct err err = { 0 };
	struct tap tap;
	int fd;

	cr_assert(eq(int, net_tap_open("torpor-none", &err), -ENODEV));
	cr_assert(strstr(err.msg, "'torpor-none' does not exist") != NULL);
	cr_assert(strstr(err.msg, "ip tuntap add dev torpor-none") != NULL);
	cr_assert(eq(int, net_tap_open("", &err), -EINVAL));
	cr_assert(eq(int, net_tap_open("a-name-that-is-long", &err), -EINVAL));
	tap_make(&tap);
	fd = net_tap_open(tap.name, &err);
	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, net_tap_open(tap.name, &err), -EBUSY));
	cr_assert(strstr(err.msg, "in use") != NULL);
	cr_assert(zero(int, net_tap_check(fd, &err)));
	cr_assert(ne(uint, net_tap_offloads(fd), 0));
	cr_assert(eq(int, net_tap_mtu(fd), 1500));
	tap_set_mtu(&tap, 9000);
	cr_assert(eq(int, net_tap_mtu(fd), 9000));
	(void)close(fd);
	cr_assert(eq(int, net_tap_open("lo", &err), -EINVAL));
	cr_assert(strstr(err.msg, "'lo' is not a tap") != NULL);
	tap_delete(&tap);
}

Test(net, an_fd_that_is_no_fit_tap_is_refused, .timeout = 120)
{
	struct err err = { 0 };
	int fd;

	cr_assert(eq(int, net_tap_check(-1, &err), -EBADF));
	fd = fd_event_create();
	cr_assert(eq(int, net_tap_check(fd, &err), -EINVAL));
	(void)close(fd);
	fd = tap_ioctl_make("trpx%d", IFF_TUN | IFF_NO_PI, false);
	if (fd < 0)
		cr_skip("no tap can be made here");
	cr_assert(eq(int, net_tap_check(fd, &err), -EINVAL));
	cr_assert(strstr(err.msg, "tun, not a tap") != NULL);
	(void)close(fd);
	fd = tap_ioctl_make("trpx%d", IFF_TAP | IFF_NO_PI, false);
	cr_assert(eq(int, net_tap_check(fd, &err), -EINVAL));
	cr_assert(strstr(err.msg, "IFF_VNET_HDR") != NULL);
	(void)close(fd);
}
