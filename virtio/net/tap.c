/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tap interfaces. See tap.h.
 *
 * System calls, for the seccomp policy of the device process: ioctl with
 * TUNSETOFFLOAD and TUNSETTXFILTER while it runs. TUNGETIFF, TUNSETVNETHDRSZ
 * and fcntl only before the policy is loaded.
 */
#define _GNU_SOURCE
#include "virtio/net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/fd.h"

#define TUN_PATH  "/dev/net/tun"
#define TAP_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

_Static_assert(offsetof(struct net_tap_filter, addr) ==
		       sizeof(struct tun_filter),
	       "the kernel's layout");

/* For ioctls that name an interface. Return: fd or -errno. */
static int any_socket(void)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return sock < 0 ? -errno : sock;
}

/* Return: 1, 0 or -errno. No libc look-up: that would pull in netlink. */
static int interface_exists(const char *name)
{
	_cleanup_fd_ int sock = any_socket();
	struct ifreq ifr = { 0 };

	if (sock < 0)
		return sock;
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (ioctl(sock, SIOCGIFINDEX, &ifr) == 0)
		return 1;
	return errno == ENODEV ? 0 : -errno;
}

static int attach_failed(const char *name, int code, struct err *err)
{
	switch (code) {
	case -EBUSY:
		return err_usage(err, code,
				 "tap '%s' is in use by another process; each "
				 "guest needs its own",
				 name);
	case -EPERM:
	case -EACCES:
		return err_usage(
			err, code,
			"no permission to use tap '%s'; give it to this "
			"user: ip tuntap del dev %s mode tap; ip tuntap "
			"add dev %s mode tap user %u",
			name, name, name, (unsigned int)getuid());
	case -EINVAL:
		return err_usage(
			err, code,
			"'%s' is not a tap, or was made with multi_queue; "
			"make one: ip tuntap add dev NAME mode tap",
			name);
	default:
		return err_set_errno(err, code, "attach to tap '%s'", name);
	}
}

static int set_up(int fd, struct err *err)
{
	int size = NET_TAP_HDR_BYTES;
	int r;

	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return err_set_errno(err, -errno,
				     "set the tap's header size to %d", size);
	r = fd_set_nonblock(fd, 1);
	if (r < 0)
		return err_set_errno(err, r, "make the tap non-blocking");
	/* Offloads left on by another process would reach the guest. */
	r = net_tap_set_offload(fd, 0);
	if (r < 0)
		return err_set_errno(err, r, "turn the tap's offloads off");
	/* A leftover filter would keep packets out. A macvtap has none. */
	r = net_tap_set_filter(fd, NULL);
	if (r < 0 && r != -EINVAL)
		return err_set_errno(err, r, "remove the tap's filter");
	return 0;
}

int net_tap_open(const char *name, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	struct ifreq ifr = { .ifr_flags = TAP_FLAGS };
	int r;

	if (!name[0] || strlen(name) >= sizeof(ifr.ifr_name))
		return err_usage(err, -EINVAL,
				 "tap name '%s': 1 to %zu characters expected",
				 name, sizeof(ifr.ifr_name) - 1);
	/* For root, TUNSETIFF would create a tap that leads nowhere. */
	r = interface_exists(name);
	if (r < 0)
		return err_set_errno(err, r, "look for tap '%s'", name);
	if (!r)
		return err_usage(
			err, -ENODEV,
			"tap '%s' does not exist; as root: ip tuntap "
			"add dev %s mode tap user %u; ip link set %s up",
			name, name, (unsigned int)getuid(), name);
	fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		return err_set_errno(
			err, r, "open " TUN_PATH " for tap '%s'%s", name,
			r == -ENOENT || r == -ENODEV ? " (modprobe tun?)" : "");
	}
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return attach_failed(name, -errno, err);
	r = set_up(fd, err);
	if (r < 0)
		return r;
	return TAKE_FD(fd);
}

int net_tap_check(int fd, struct err *err)
{
	struct ifreq ifr = { 0 };

	if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
		int r = -errno;

		if (r == -EBADF)
			return err_usage(err, r, "fd %d is not open", fd);
		return err_usage(err, -EINVAL,
				 "fd %d is not a tap attached by TUNSETIFF",
				 fd);
	}
	if (!(ifr.ifr_flags & IFF_TAP))
		return err_usage(err, -EINVAL,
				 "fd %d ('%s') is a tun, not a tap (IFF_TAP)",
				 fd, ifr.ifr_name);
	if (!(ifr.ifr_flags & IFF_NO_PI) || !(ifr.ifr_flags & IFF_VNET_HDR))
		return err_usage(
			err, -EINVAL,
			"tap fd %d ('%s') must be opened with IFF_NO_PI "
			"and IFF_VNET_HDR",
			fd, ifr.ifr_name);
	return set_up(fd, err);
}

int net_tap_mtu(int fd)
{
	_cleanup_fd_ int sock = any_socket();
	struct ifreq tap = { 0 }, named = { 0 }, mtu = { 0 };

	if (sock < 0)
		return sock;
	if (ioctl(fd, TUNGETIFF, &tap) < 0)
		return -errno;
	memcpy(named.ifr_name, tap.ifr_name, sizeof(named.ifr_name));
	memcpy(mtu.ifr_name, tap.ifr_name, sizeof(mtu.ifr_name));
	/* The one of that name may be another, here. */
	if (ioctl(fd, SIOCGIFHWADDR, &tap) < 0 ||
	    ioctl(sock, SIOCGIFHWADDR, &named) < 0 ||
	    ioctl(sock, SIOCGIFMTU, &mtu) < 0)
		return -errno;
	if (memcmp(tap.ifr_hwaddr.sa_data, named.ifr_hwaddr.sa_data,
		   ETH_ALEN) != 0)
		return -ENODEV;
	return mtu.ifr_mtu;
}

uint16_t net_tap_mtu_told(int mtu)
{
	return mtu >= NET_MTU_MIN && mtu <= UINT16_MAX && mtu != ETH_DATA_LEN
		       ? (uint16_t)mtu
		       : 0;
}

int net_tap_set_offload(int fd, unsigned int tun_f)
{
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)tun_f) < 0 ? -errno : 0;
}

/*
 * Not TUNATTACHFILTER, which could do more: the kernel keeps the program's
 * address for the next process that attaches a persistent tap. If ours dies
 * with a filter on, that one cannot use the tap.
 */
int net_tap_set_filter(int fd, const struct net_tap_filter *filter)
{
	static const struct net_tap_filter none;

	return ioctl(fd, TUNSETTXFILTER, filter ? filter : &none) < 0 ? -errno
								      : 0;
}

unsigned int net_tap_offloads(int fd)
{
	/* Each needs those before it. */
	static const unsigned int tries[] = {
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
		TUN_F_CSUM,
	};
	unsigned int found = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tries) && !found; i++) {
		if (net_tap_set_offload(fd, tries[i]) == 0)
			found = tries[i];
	}
	return net_tap_set_offload(fd, 0) == 0 ? found : 0;
}
