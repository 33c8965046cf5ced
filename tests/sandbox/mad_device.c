/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In the place of torpor-device (--device-exe): a captured process of a disk,
 * which does its worst to who shares descriptors with it. The VMM must not
 * wait for it. It starts its rings as it should, then does what the first word
 * of its image says (without an image, no more than that):
 *
 *	fill   makes each eventfd it was given blocking, and keeps it full
 *	steal  the same, and reads what is written to them before others do
 *	flood  signals its eventfds and writes to its control channel for ever
 *	mute   reads its sockets no more
 *	stuff  the same, and fills them
 *	dumb   answers nothing, from the beginning
 *	slow   answers a fifth of a second late
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/device_fds.h"
#include "virtio/devctl.h"
#include "virtio/vhost_user/vhost_user.h"
#include "vmm/base/fd.h"

#define FEATURES (1ULL << 32 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES)
#define PROTOCOL                                   \
	(1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK | \
	 1ULL << VHOST_USER_PROTOCOL_F_CONFIG)

static char mode[16];

static bool mode_is(const char *word)
{
	return strncmp(mode, word, strlen(word)) == 0;
}

/* ---------------------------------------------------------- descriptors */

static void *keep_full(void *arg)
{
	const int fd = (int)(intptr_t)arg;
	const uint64_t all = UINT64_MAX - 1, one = 1;

	for (;;) {
		if (write(fd, &all, sizeof(all)) < 0 ||
		    write(fd, &one, sizeof(one)) < 0)
			(void)usleep(1000);
	}
	return NULL;
}

static void *keep_empty(void *arg)
{
	const int fd = (int)(intptr_t)arg;
	uint64_t count;

	for (;;) {
		if (read(fd, &count, sizeof(count)) < 0)
			(void)usleep(1000);
	}
	return NULL;
}

static void *keep_signalling(void *arg)
{
	const int fd = (int)(intptr_t)arg;

	for (;;)
		fd_event_signal(fd);
	return NULL;
}

static void *flood_control(void *arg)
{
	const struct devctl_msg msg = { .type = DEVCTL_CONFIG_CHANGED };

	for (;;)
		(void)!fd_sendmsg(DEVFD_CTL, &msg, sizeof(msg), NULL, 0);
	return NULL;
}

static void begin(void *(*fn)(void *arg), int fd)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, (void *)(intptr_t)fd) != 0)
		abort();
}

static void abuse(int fd)
{
	if (mode_is("fill") || mode_is("steal"))
		(void)fcntl(fd, F_SETFL, 0);
	if (mode_is("fill"))
		begin(keep_full, fd);
	if (mode_is("steal"))
		begin(keep_empty, fd);
	if (mode_is("flood"))
		begin(keep_signalling, fd);
}

/*
 * The first kick, call and error eventfd; those that come later are the same,
 * or others of the same. Never the guest's memory: that is the guest's own.
 */
static void take_fd(uint32_t request, int fd)
{
	static bool seen[VHOST_USER_SET_VRING_ERR + 1];

	if (request < VHOST_USER_SET_VRING_KICK ||
	    request > VHOST_USER_SET_VRING_ERR || seen[request]) {
		(void)close(fd);
		return;
	}
	seen[request] = true;
	abuse(fd);
}

static void be_mute(void)
{
	static const char rubbish[4096];

	while (mode_is("stuff") &&
	       (send(DEVFD_VHOST, rubbish, sizeof(rubbish), MSG_DONTWAIT) > 0 ||
		send(DEVFD_CTL, rubbish, 16, MSG_DONTWAIT) > 0))
		continue;
	for (;;)
		(void)pause();
}

/* ------------------------------------------------------------ vhost-user */

static bool receive(void *buf, size_t len, int *fds, size_t max, size_t *ret_n)
{
	size_t have = 0, n = 0;

	while (have < len) {
		ssize_t r = fd_recvmsg(DEVFD_VHOST, (char *)buf + have,
				       len - have, fds, max, &n, 0);

		if (r <= 0)
			return false;
		if (n) {
			*ret_n = n;
			max = 0;
		}
		have += (size_t)r;
	}
	return true;
}

/* Return: whether it has a reply, which is in @msg. */
static bool answer(struct vhost_user_msg *msg)
{
	bool ack = msg->hdr.flags & VHOST_USER_FLAG_NEED_REPLY;

	switch (msg->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		msg->payload.u64 = FEATURES;
		ack = true;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		msg->payload.u64 = PROTOCOL;
		ack = true;
		break;
	case VHOST_USER_GET_CONFIG:
		memset(msg->payload.config.data, 0,
		       sizeof(msg->payload.config.data));
		return true;
	case VHOST_USER_GET_VRING_BASE:
		msg->payload.state.num = 0;
		return true;
	default:
		msg->payload.u64 = 0;
		break;
	}
	msg->hdr.size = sizeof(msg->payload.u64);
	return ack;
}

static bool serve_one(void)
{
	static struct vhost_user_msg msg;
	int fds[VHOST_USER_MEM_MAX];
	size_t n_fds = 0, none = 0;
	uint32_t request;

	if (!receive(&msg.hdr, sizeof(msg.hdr), fds, ARRAY_SIZE(fds), &n_fds) ||
	    msg.hdr.size > sizeof(msg.payload) ||
	    !receive(&msg.payload, msg.hdr.size, NULL, 0, &none))
		return false;
	request = msg.hdr.request;
	for (size_t i = 0; i < n_fds; i++)
		take_fd(request, fds[i]);
	if (answer(&msg)) {
		if (mode_is("slow"))
			(void)usleep(200000);
		msg.hdr.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
		if (send(DEVFD_VHOST, &msg, sizeof(msg.hdr) + msg.hdr.size,
			 MSG_NOSIGNAL) < 0)
			return false;
	}
	if (request == VHOST_USER_SET_VRING_KICK &&
	    (mode_is("mute") || mode_is("stuff")))
		be_mute();
	return true;
}

int main(void)
{
	(void)!pread(DEVFD_BACKEND, mode, sizeof(mode) - 1, 0);
	abuse(DEVFD_WAKE);
	if (mode_is("flood"))
		begin(flood_control, DEVFD_CTL);
	if (mode_is("dumb"))
		be_mute();
	while (serve_one())
		continue;
	return 0;
}
