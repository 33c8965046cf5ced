/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fake_backend.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static bool fake_read(int fd, void *buf, size_t len, int *fds, size_t *n_fds)
{
	size_t have = 0, n = 0, left = *n_fds;

	*n_fds = 0;
	while (have < len) {
		ssize_t r = fd_recvmsg(fd, (char *)buf + have, len - have, fds,
				       left, &n, 0);

		if (r <= 0)
			return false;
		if (n) {
			*n_fds = n;
			left = 0;
		}
		have += (size_t)r;
	}
	return true;
}

bool fake_send(struct fake_backend *fb, struct vhost_user_msg *msg,
	       enum fake_fault fault)
{
	size_t len = sizeof(msg->hdr) + msg->hdr.size;
	const char *p = (const char *)msg;

	if (fault == FAKE_OTHER_REPLY)
		msg->hdr.request = VHOST_USER_GET_QUEUE_NUM;
	if (fault == FAKE_NO_FLAG)
		msg->hdr.flags &= ~VHOST_USER_FLAG_REPLY;
	if (fault == FAKE_SHORT) {
		msg->hdr.size -= 4;
		len -= 4;
	}
	if (fault == FAKE_EMPTY) {
		msg->hdr.size = 0;
		len = sizeof(msg->hdr);
	}
	if (fault == FAKE_HUGE)
		msg->hdr.size = 0x7fffffff;
	if (fault == FAKE_WRONG_RING)
		msg->payload.state.index ^= 1;
	if (fault == FAKE_REFUSES)
		msg->payload.u64 = 1;
	if (fault == FAKE_PIECEMEAL) {
		for (size_t i = 0; i < len; i++) {
			if (send(fb->fd, p + i, 1, MSG_NOSIGNAL) != 1)
				return false;
			sched_yield();
		}
		return true;
	}
	if (send(fb->fd, p, len, MSG_NOSIGNAL) != (ssize_t)len)
		return false;
	if (fault == FAKE_TWICE)
		return send(fb->fd, p, len, MSG_NOSIGNAL) == (ssize_t)len;
	return true;
}

/* Return: whether the request has a reply, put into @msg. */
static bool fake_answer(struct fake_backend *fb, struct vhost_user_msg *msg)
{
	bool ack = msg->hdr.flags & VHOST_USER_FLAG_NEED_REPLY;

	switch (msg->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		msg->payload.u64 = fb->features;
		msg->hdr.size = 8;
		return true;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		msg->payload.u64 = fb->protocol;
		msg->hdr.size = 8;
		return true;
	case VHOST_USER_GET_QUEUE_NUM:
		msg->payload.u64 = fb->queue_num;
		msg->hdr.size = 8;
		return true;
	case VHOST_USER_GET_VRING_BASE:
		msg->payload.state.num =
			fb->bases[msg->payload.state.index & 7];
		return true;
	case VHOST_USER_GET_CONFIG:
		memcpy(msg->payload.config.data, fb->config,
		       msg->payload.config.size);
		return true;
	case VHOST_USER_SET_CONFIG:
		memcpy(fb->config + msg->payload.config.offset,
		       msg->payload.config.data, msg->payload.config.size);
		break;
	case VHOST_USER_SET_FEATURES:
		fb->acked = msg->payload.u64;
		break;
	case VHOST_USER_SET_VRING_BASE:
		fb->set_base[msg->payload.state.index & 7] =
			(uint16_t)msg->payload.state.num;
		break;
	default:
		break;
	}
	msg->payload.u64 = 0;
	msg->hdr.size = 8;
	return ack;
}

static bool fake_serve_one(struct fake_backend *fb)
{
	struct vhost_user_msg msg;
	int fds[8];
	size_t n_fds = 8, none = 0;
	enum fake_fault fault = FAKE_GOOD;
	unsigned int n = atomic_load(&fb->nr) % FAKE_MAX_LOG;

	memset(&msg, 0, sizeof(msg));
	if (!fake_read(fb->fd, &msg.hdr, sizeof(msg.hdr), fds, &n_fds) ||
	    msg.hdr.size > sizeof(msg.payload) ||
	    !fake_read(fb->fd, &msg.payload, msg.hdr.size, NULL, &none))
		return false;
	fb->log[n] = msg;
	fb->log_fds[n] = (unsigned int)n_fds;
	for (size_t i = 0; i < n_fds; i++) {
		if (msg.hdr.request == VHOST_USER_SET_VRING_ERR) {
			fd_close(&fb->err_fd);
			fb->err_fd = TAKE_FD(fds[i]);
		}
		fd_close(&fds[i]);
	}
	(void)atomic_fetch_add(&fb->nr, 1);
	if (fb->fault != FAKE_GOOD && msg.hdr.request == fb->at) {
		fault = fb->fault;
		if (fault != FAKE_WAITS)
			fb->fault = FAKE_GOOD;
	}
	if (fault == FAKE_CLOSES)
		return false;
	fb->mute |= fault == FAKE_MUTE;
	if (fault == FAKE_WAITS) {
		atomic_store(&fb->waiting, true);
		(void)sem_wait(&fb->go_on);
		atomic_store(&fb->waiting, false);
	}
	if (!fake_answer(fb, &msg) || fb->mute)
		return true;
	msg.hdr.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
	return fake_send(fb, &msg, fault);
}

static void *fake_main(void *arg)
{
	struct fake_backend *fb = arg;

	while (fake_serve_one(fb))
		;
	(void)shutdown(fb->fd, SHUT_RDWR);
	return NULL;
}

void fake_start(struct fake_backend *fb)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	fb->fd = pair[0];
	fb->peer = pair[1];
	fb->err_fd = -1;
	(void)sem_init(&fb->go_on, 0, 0);
	if (pthread_create(&fb->thread, NULL, fake_main, fb))
		abort();
}

void fake_go_on(struct fake_backend *fb)
{
	fb->fault = FAKE_GOOD;
	(void)sem_post(&fb->go_on);
}

void fake_stop(struct fake_backend *fb)
{
	if (fb->fd < 0)
		return;
	fake_go_on(fb);
	(void)shutdown(fb->fd, SHUT_RDWR);
	(void)pthread_join(fb->thread, NULL);
	fd_close(&fb->fd);
	fd_close(&fb->err_fd);
	(void)sem_destroy(&fb->go_on);
}

void fake_misbehave(struct fake_backend *fb, uint32_t at, enum fake_fault fault)
{
	fb->at = at;
	fb->fault = fault;
}

unsigned int fake_count(struct fake_backend *fb, uint32_t request)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < atomic_load(&fb->nr); i++)
		n += fb->log[i].hdr.request == request;
	return n;
}
