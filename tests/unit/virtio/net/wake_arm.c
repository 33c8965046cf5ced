/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network device of a sleeping guest: arming and disarming at any time, and
 * the kernel's part of the filter, which needs a real tap.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/net_wake_rig.h"
#include "vmm/base/fd.h"

/* --------------------------------------------------- arming and disarming */

Test(net_wake_arm, packets_from_before_the_arming_are_looked_at, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	linux_opens(&t);
	driver_suspends(&t);
	wire(&t, foreign, 1);
	wire(&t, other_mcast, 2);
	front_wake_arm(&t.f, true);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	front_wake_arm(&t.f, false);
	wire(&t, foreign, 3);
	wire(&t, own, 4);
	front_wake_arm(&t.f, true);
	/* Before the acknowledgement: no turn of the loop in between. */
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	driver_resumes(&t, 4);
	cr_assert(eq(int, next_tag(&t), 4));
	cr_assert(eq(int, next_tag(&t), -1));
	nic_close(&t);
}

Test(net_wake_arm, not_armed_nothing_is_read, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	driver_suspends(&t);
	wire(&t, foreign, 1);
	wire(&t, own, 2);
	cr_assert(not(woken(&t)));
	cr_assert(lt(int, t.net->src.fd, 0));
	cr_assert(zero(u64, t.net->wake.not_ours));
	/* Awake the guest gets all there is. */
	driver_resumes(&t, 4);
	cr_assert(eq(int, next_tag(&t), 1));
	cr_assert(eq(int, next_tag(&t), 2));
	nic_close(&t);
}

Test(net_wake_arm, disarmed_before_it_looks_it_does_not_wake, .timeout = 480)
{
	struct nic t;

	nic_open_unicast(&t, WITH_CTRL);
	sleep_armed(&t);
	wire(&t, bcast, 1);
	cr_assert(not(woken(&t)));
	wire(&t, own, 2);
	/* The loop has not turned since, and both are ready now. */
	front_wake_arm(&t.f, false);
	if (fd_event_drain(t.f.wake_fd) == 0)
		cr_assert(eq(uint, t.net->wake.nr, 1));
	wire(&t, own, 3);
	cr_assert(not(woken(&t)), "disarmed");
	cr_assert(lt(int, t.net->src.fd, 0));
	driver_resumes(&t, 4);
	for (int i = 1; i <= 3; i++)
		cr_assert(eq(int, next_tag(&t), i));
	cr_assert(eq(int, next_tag(&t), -1));
	nic_close(&t);
}

Test(net_wake_arm, a_packet_nobody_took_wakes_again, .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	sleep_armed(&t);
	wire(&t, own, 1);
	cr_assert(woken(&t));
	for (int i = 0; i < 3; i++) {
		front_wake_arm(&t.f, false);
		cr_assert(not(woken(&t)));
		front_wake_arm(&t.f, true);
		cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	}
	driver_resumes(&t, 4);
	cr_assert(eq(int, next_tag(&t), 1));
	cr_assert(eq(int, next_tag(&t), -1));
	front_wake_arm(&t.f, false);
	sleep_armed(&t);
	cr_assert(not(woken(&t)), "it was taken");
	nic_close(&t);
}

Test(net_wake_arm, what_no_longer_wakes_is_kept_within_the_bounds,
     .timeout = 480)
{
	struct nic t;

	nic_open_unicast(&t, WITH_CTRL);
	sleep_armed(&t);
	for (uint8_t i = 0; i < NET_KEPT_PACKETS; i++)
		wire(&t, bcast, i);
	cr_assert(not(woken(&t)));
	wire(&t, own, 100);
	cr_assert(woken(&t));
	cr_assert(eq(uint, t.net->wake.nr, NET_KEPT_PACKETS + 1));
	/* Back without buffers, it takes another address and sleeps again. */
	front_wake_arm(&t.f, false);
	driver_resumes(&t, 0);
	set_mac(&t, second);
	sleep_armed(&t);
	cr_assert(not(woken(&t)));
	cr_assert(eq(uint, t.net->wake.nr, NET_KEPT_PACKETS));
	wire(&t, own, 101);
	cr_assert(not(woken(&t)));
	wire(&t, second, 102);
	cr_assert(woken(&t));
	nic_close(&t);
}

Test(net_wake_arm, armed_while_live_all_is_delivered_and_some_wakes,
     .timeout = 480)
{
	struct nic t;

	nic_open(&t, WITH_CTRL);
	driver_resumes(&t, 8);
	front_wake_arm(&t.f, true);
	wire(&t, foreign, 1);
	cr_assert(not(woken(&t)));
	cr_assert(eq(int, next_tag(&t), 1));
	wire(&t, own, 2);
	cr_assert(woken(&t));
	cr_assert(eq(int, next_tag(&t), 2));
	/* One that waits is seen at the arming, before anything else runs. */
	front_wake_arm(&t.f, false);
	wire(&t, own, 3);
	t.net->dev.ops->wake_arm(&t.net->dev, true);
	cr_assert(t.net->woken);
	cr_assert(eq(int, next_tag(&t), 3));
	nic_close(&t);
}

/* The frame's first bytes are not in one buffer, or not in any. */
Test(net_wake_arm, armed_while_live_with_tiny_buffers, .timeout = 480)
{
	for (uint32_t len = 12; len < 40; len++) {
		struct nic t;

		nic_open(&t, WITH_CTRL);
		front_wake_arm(&t.f, true);
		for (unsigned int i = 0; i < 20; i++) {
			struct guest_buf b = { guest_alloc(&t.f.g, len, 1), len,
					       true };

			(void)guest_ring_add(&t.f.ring[NET_RX], &b, 1);
		}
		guest_ring_kick(&t.f.ring[NET_RX]);
		wire(&t, foreign, 1);
		cr_assert(not(woken(&t)), "%u", len);
		wire(&t, own, 2);
		cr_assert(woken(&t), "%u", len);
		nic_close(&t);
	}
}

Test(net_wake_arm, armed_without_buffers_packets_are_kept, .timeout = 480)
{
	struct nic t;

	nic_open_unicast(&t, WITH_CTRL);
	driver_resumes(&t, 1);
	front_wake_arm(&t.f, true);
	for (uint8_t i = 1; i < 4; i++)
		wire(&t, bcast, i);
	cr_assert(not(woken(&t)));
	cr_assert(eq(int, next_tag(&t), 1));
	cr_assert(eq(uint, t.net->wake.nr, 2));
	wire(&t, own, 4);
	cr_assert(woken(&t));
	driver_resumes(&t, 8);
	for (int i = 2; i < 5; i++)
		cr_assert(eq(int, next_tag(&t), i));
	cr_assert(eq(int, next_tag(&t), -1));
	nic_close(&t);
}

Test(net_wake_arm, armed_in_reset_before_any_driver, .timeout = 480)
{
	struct nic t;

	nic_create(&t, 0);
	front_wake_arm(&t.f, true);
	wire(&t, foreign, 1);
	cr_assert(not(woken(&t)));
	wire(&t, bcast, 2);
	cr_assert(woken(&t));
	nic_start(&t, WITH_CTRL);
	driver_resumes(&t, 4);
	cr_assert(eq(int, next_tag(&t), 2));
	nic_close(&t);
}

/* --------------------------------------------------- the kernel's filter */

Test(net_wake_arm, the_kernel_is_told_what_it_can_do, .timeout = 480)
{
	struct net_tap_filter k;
	struct net_filter f;
	uint8_t mac[ETH_ALEN];

	net_filter_init(&f, NULL);
	cr_assert(not(net_filter_for_tap(&f, false, &k)), "no address");
	net_filter_init(&f, own);
	cr_assert(net_filter_for_tap(&f, false, &k));
	cr_assert(eq(u16, k.flags, TUN_FLT_ALLMULTI));
	cr_assert(eq(u16, k.count, 2));
	cr_assert(zero(int, memcmp(k.addr[0], own, ETH_ALEN)));
	cr_assert(zero(int, memcmp(k.addr[1], bcast, ETH_ALEN)));
	cr_assert(net_filter_for_tap(&f, true, &k));
	cr_assert(zero(u16, k.flags));
	cr_assert(eq(u16, k.count, 1));
	/* Eight unicast addresses, and any number of multicast ones. */
	memcpy(mac, second, sizeof(mac));
	net_mac_table_begin(&f.unicast, 7);
	for (unsigned int i = 0; i < 7; i++, mac[5]++)
		net_mac_table_add(&f.unicast, mac, false);
	memcpy(mac, mcast, sizeof(mac));
	net_mac_table_begin(&f.multicast, NET_FILTER_MACS);
	for (unsigned int i = 0; i < NET_FILTER_MACS; i++, mac[5]++)
		net_mac_table_add(&f.multicast, mac, true);
	cr_assert(net_filter_for_tap(&f, false, &k));
	cr_assert(zero(u16, k.flags));
	cr_assert(eq(u16, k.count, 1 + 7 + 1 + NET_FILTER_MACS));
	net_mac_table_add(&f.unicast, foreign, false);
	cr_assert(not(net_filter_for_tap(&f, false, &k)), "nine");
	cr_assert(net_filter_for_tap(&f, true, &k));
	net_mac_table_begin(&f.unicast, 0);
	f.promisc = true;
	cr_assert(not(net_filter_for_tap(&f, false, &k)));
}

/* A tap in a network namespace of its own, where nobody else talks. */
struct tap {
	int sock; /* packet socket on it */
	int fd;	  /* the device's */
};

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	(void)close(fd);
}

static void tap_send(const struct tap *tap, const uint8_t *dest, uint8_t tag)
{
	uint8_t frame[60];

	memset(frame, tag, sizeof(frame));
	memcpy(frame, dest, ETH_ALEN);
	(void)send(tap->sock, frame, sizeof(frame), 0);
}

static bool tap_readable(const struct tap *tap, int timeout_ms)
{
	struct pollfd p = { .fd = tap->fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static void tap_make(struct tap *tap, const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct sockaddr_ll sll = { .sll_family = AF_PACKET };
	int fd;

	if (geteuid() != 0)
		cr_skip("a network namespace of its own needs root");
	if (unshare(CLONE_NEWNET) < 0)
		cr_skip("no network namespace can be made here");
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		cr_skip("no tap can be made here");
	/* It ends with the namespace, at the latest. */
	cr_assert(zero(int, ioctl(fd, TUNSETPERSIST, 1UL)));
	(void)close(fd);
	tap->sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	cr_assert(ge(int, tap->sock, 0));
	cr_assert(zero(int, ioctl(tap->sock, SIOCGIFFLAGS, &ifr)));
	ifr.ifr_flags |= IFF_UP;
	cr_assert(zero(int, ioctl(tap->sock, SIOCSIFFLAGS, &ifr)));
	cr_assert(zero(int, ioctl(tap->sock, SIOCGIFINDEX, &ifr)));
	sll.sll_ifindex = ifr.ifr_ifindex;
	cr_assert(zero(int,
		       bind(tap->sock, (struct sockaddr *)&sll, sizeof(sll))));
}

static void tap_nic(struct tap *tap, struct nic *t, const char *name,
		    bool unicast)
{
	char tap_word[32], mac_word[] = "mac=52:54:00:01:02:03",
			   wake_word[] = "wake=unicast";
	char *args[] = { tap_word, mac_word, unicast ? wake_word : NULL, NULL };
	struct virtio_dev *dev = NULL;
	uint8_t buf[256];

	(void)snprintf(tap_word, sizeof(tap_word), "tap=%s", name);
	memset(t, 0, sizeof(*t));
	front_init(&t->f);
	cr_assert(zero(int, virtio_net_ops.create(&t->f.loop, args,
						  virtio_no_fds, &dev)));
	t->net = container_of(dev, struct virtio_net, dev);
	t->peer = -1;
	tap->fd = t->net->fd;
	/* The carrier comes a little later; what is sent before is lost. */
	do {
		tap_send(tap, bcast, 0);
	} while (!tap_readable(tap, 10));
	while (read(tap->fd, buf, sizeof(buf)) > 0)
		;
	front_connect(&t->f, dev);
	nic_start(t, WITH_CTRL);
}

Test(net_wake_arm, a_real_tap_drops_in_the_kernel_and_costs_nothing,
     .timeout = 480)
{
	struct tap tap;
	struct nic t;

	tap_make(&tap, "wake0");
	tap_nic(&tap, &t, "wake0", false);
	linux_opens(&t);
	/* Before the filter is on: looked at by the process. */
	driver_suspends(&t);
	tap_send(&tap, foreign, 1);
	cr_assert(tap_readable(&tap, 0));
	front_wake_arm(&t.f, true);
	cr_assert(eq(u64, t.net->wake.not_ours, 1));
	for (unsigned int i = 0; i < 20000; i++) {
		tap_send(&tap, i & 1 ? foreign : second, 2);
		cr_assert(not(tap_readable(&tap, 0)), "%u", i);
	}
	tap_send(&tap, other_mcast, 3);
	cr_assert(not(tap_readable(&tap, 0)));
	cr_assert(eq(u64, t.net->wake.not_ours, 1), "the process saw none");
	cr_assert(not(woken(&t)));
	tap_send(&tap, mcast, 4);
	cr_assert(woken(&t));
	/* Woken, the filter is off: the guest is on its way. */
	tap_send(&tap, foreign, 5);
	cr_assert(tap_readable(&tap, 0));
	driver_resumes(&t, 8);
	cr_assert(eq(int, next_tag(&t), 4));
	cr_assert(eq(int, next_tag(&t), 5));
	cr_assert(eq(int, next_tag(&t), -1));
	nic_close(&t);
	(void)close(tap.sock);
}

Test(net_wake_arm, a_real_tap_is_narrowed_when_no_more_can_be_kept,
     .timeout = 480)
{
	struct tap tap;
	struct nic t;

	tap_make(&tap, "wake0");
	tap_nic(&tap, &t, "wake0", true);
	linux_opens(&t);
	sleep_armed(&t);
	for (unsigned int i = 0; i <= NET_KEPT_PACKETS; i++) {
		tap_send(&tap, bcast, (uint8_t)i);
		cr_assert(tap_readable(&tap, 0));
		cr_assert(not(woken(&t)));
	}
	cr_assert(eq(u64, t.net->wake.no_place, 1));
	tap_send(&tap, bcast, 100);
	cr_assert(not(tap_readable(&tap, 0)), "the kernel drops it");
	tap_send(&tap, own, 101);
	cr_assert(woken(&t));
	driver_resumes(&t, 128);
	for (int i = 0; i < (int)NET_KEPT_PACKETS; i++)
		cr_assert(eq(int, next_tag(&t), i));
	cr_assert(eq(int, next_tag(&t), 101));
	tap_send(&tap, bcast, 102);
	front_settle(&t.f);
	cr_assert(eq(int, next_tag(&t), 102));
	nic_close(&t);
	(void)close(tap.sock);
}

Test(net_wake_arm, a_filter_does_not_outlive_its_device, .timeout = 480)
{
	struct net_tap_filter left = { .count = 1 };
	struct err err = { 0 };
	struct tap tap;
	struct nic t;

	tap_make(&tap, "wake0");
	tap_nic(&tap, &t, "wake0", false);
	sleep_armed(&t);
	nic_close(&t);
	/* tap_nic() has the foreign broadcast arrive, or never ends. */
	tap_nic(&tap, &t, "wake0", false);
	/* As a process that was killed leaves it. */
	memcpy(left.addr[0], own, ETH_ALEN);
	cr_assert(zero(int, net_tap_set_filter(tap.fd, &left)));
	tap_send(&tap, foreign, 1);
	cr_assert(not(tap_readable(&tap, 0)));
	cr_assert(zero(int, net_tap_check(tap.fd, &err)), "%s", err.msg);
	tap_send(&tap, foreign, 2);
	cr_assert(tap_readable(&tap, 0));
	nic_close(&t);
	(void)close(tap.sock);
}

Test(net_wake_arm, a_tap_deleted_while_watched_is_not_polled, .timeout = 480)
{
	struct tap tap;
	struct nic t;

	tap_make(&tap, "wake0");
	tap_nic(&tap, &t, "wake0", true);
	sleep_armed(&t);
	tap_send(&tap, bcast, 1);
	cr_assert(not(woken(&t)));
	cr_assert(zero(int, system("ip link del wake0")));
	for (int i = 0; i < 10 && !t.net->gone; i++)
		cr_assert(zero(int, loop_turn(&t.f.loop, 1000)));
	cr_assert(t.net->gone);
	cr_assert(not(woken(&t)));
	cr_assert(lt(int, t.net->src.fd, 0));
	driver_resumes(&t, 4);
	cr_assert(eq(int, next_tag(&t), 1), "what was kept is there");
	nic_close(&t);
	(void)close(tap.sock);
}

/* -------------------------------------------------- with and without rings */

Test(net_wake_arm, armed_without_rings_it_wakes_once_and_keeps_the_packet,
     .timeout = 120)
{
	struct nic t;

	nic_create(&t, 0);
	wire_send_own(&t, 60);
	front_settle(&t.f);
	cr_assert(lt(int, t.net->src.fd, 0), "not armed: not polled");
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	front_wake_arm(&t.f, true);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1), "it was there");
	wire_send_own(&t, 60);
	front_settle(&t.f);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)), "once per arming");
	cr_assert(lt(int, t.net->src.fd, 0), "and not polled any more");
	front_wake_arm(&t.f, false);
	/* The guest comes back and gets both. */
	front_negotiate(&t.f, MERGE);
	front_start_all(&t.f, 2);
	(void)rx_add(&t, 1526);
	(void)rx_add(&t, 1526);
	rx_kick(&t);
	cr_assert(eq(u32, rx_len(&t), 72));
	cr_assert(eq(u32, rx_len(&t), 72));
	nic_close(&t);
}

Test(net_wake_arm, a_packet_after_arming_wakes, .timeout = 120)
{
	struct nic t;

	nic_create(&t, 0);
	front_wake_arm(&t.f, true);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	wire_send_own(&t, 60);
	front_wait_fd(&t.f, t.f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	front_settle(&t.f);
	/* Armed again it tells again: nobody has taken the packet. */
	front_wake_arm(&t.f, true);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	nic_close(&t);
}

Test(net_wake_arm, disarmed_it_does_not_wake, .timeout = 120)
{
	struct nic t;

	nic_create(&t, 0);
	front_wake_arm(&t.f, true);
	front_wake_arm(&t.f, false);
	wire_send_own(&t, 60);
	front_settle(&t.f);
	cr_assert(zero(u64, fd_event_drain(t.f.wake_fd)));
	cr_assert(lt(int, t.net->src.fd, 0));
	nic_close(&t);
}

Test(net_wake_arm, armed_while_live_it_wakes_and_delivers, .timeout = 120)
{
	struct nic t;

	nic_open(&t, MERGE);
	(void)rx_add(&t, 1526);
	rx_kick(&t);
	front_wake_arm(&t.f, true);
	wire_send_own(&t, 60);
	front_settle(&t.f);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	cr_assert(eq(u32, rx_len(&t), 72));
	nic_close(&t);
}

Test(net_wake_arm, a_held_packet_wakes, .timeout = 120)
{
	struct nic t;

	nic_open(&t, MERGE);
	(void)rx_add(&t, 100);
	rx_kick(&t);
	wire_send_own(&t, 1500);
	front_settle(&t.f);
	(void)front_stop(&t.f, NET_RX);
	(void)front_stop(&t.f, NET_TX);
	front_wake_arm(&t.f, true);
	cr_assert(eq(u64, fd_event_drain(t.f.wake_fd), 1));
	nic_close(&t);
}
