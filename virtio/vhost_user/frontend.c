/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/vhost_user/frontend.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "virtio/vhost_user/frontend_drain.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define HDR_SIZE sizeof(struct vhost_user_hdr)

/* Between two looks at what a stopped ring has still to use. */
#define DRAIN_POLL_NS 5000000ULL

/* Used if offered; none is required of a back end. */
#define PROTOCOL_WANTED                            \
	(1ULL << VHOST_USER_PROTOCOL_F_MQ |        \
	 1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK | \
	 1ULL << VHOST_USER_PROTOCOL_F_CONFIG |    \
	 1ULL << VHOST_USER_PROTOCOL_F_RESET_DEVICE)

static bool has_protocol(const struct frontend *fe, unsigned int bit)
{
	return fe->protocol_features >> bit & 1;
}

/* ------------------------------------------------------- end of operations */

static void finish_op(struct frontend *fe, int r)
{
	void (*done)(struct frontend * fe, int r) = fe->done;

	loop_timer_cancel(fe->loop, &fe->timer);
	fe->busy = false;
	fe->done = NULL;
	fe->next = NULL;
	fe->nr_pending = 0;
	fe->draining = false;
	if (done)
		done(fe, r);
}

static void fail(struct frontend *fe, const char *why)
{
	if (fe->failed)
		return;
	fe->failed = true;
	loop_remove(fe->loop, &fe->src);
	fd_close(&fe->fd);
	if (fe->busy)
		finish_op(fe, -EIO);
	fe->on_failed(fe, why);
}

static void on_deadline(struct loop_timer *timer)
{
	struct frontend *fe = container_of(timer, struct frontend, timer);

	/* The first and the third ended inside the call that began them. */
	if (fe->failed)
		finish_op(fe, -EIO);
	else if (fe->send_failed)
		fail(fe, "cannot send: it hangs or is gone");
	else if (!fe->nr_pending)
		finish_op(fe, fe->result);
	else
		fail(fe, "no answer within the deadline");
}

/* Ends the operation on the next turn of the loop. */
static void finish_later(struct frontend *fe, int r)
{
	fe->result = r;
	fe->nr_pending = 0;
	fe->next = NULL;
	loop_timer_set(fe->loop, &fe->timer, 0, on_deadline);
}

static void begin_op(struct frontend *fe, void (*done)(struct frontend *, int),
		     int (*next)(struct frontend *fe))
{
	assert(!fe->busy);
	fe->busy = true;
	fe->done = done;
	fe->next = next;
	fe->result = 0;
	fe->nr_pending = 0;
}

/* Messages are out: wait for the replies, or end if none is to come. */
static void await_op(struct frontend *fe, int r)
{
	if (r < 0 || fe->failed || !fe->nr_pending)
		finish_later(fe, r);
	else
		loop_timer_set(fe->loop, &fe->timer, fe->deadline_ns,
			       on_deadline);
}

/* ----------------------------------------------------------------- sending */

static void expect(struct frontend *fe, uint32_t request, uint32_t ring)
{
	assert(fe->nr_pending < FRONTEND_MAX_PENDING);
	fe->pending[fe->nr_pending].request = request;
	fe->pending[fe->nr_pending].ring = ring;
	fe->nr_pending++;
}

static struct vhost_user_msg message(uint32_t request, size_t size)
{
	return (struct vhost_user_msg){
		.hdr = { .request = request,
			 .flags = VHOST_USER_VERSION,
			 .size = (uint32_t)size },
	};
}

/*
 * A back end that does not read until the socket is full is as good as hung,
 * and at most one operation is in the socket: -EAGAIN is a failure.
 */
static int send_bytes(struct frontend *fe, const void *buf, size_t len,
		      const int *fds, size_t n_fds)
{
	ssize_t n = fd_sendmsg(fe->fd, buf, len, fds, n_fds);

	fe->messages++;
	if (n == (ssize_t)len)
		return 0;
	fe->send_failed = true;
	return n < 0 ? (int)n : -EIO;
}

static int send_msg(struct frontend *fe, struct vhost_user_msg *msg,
		    const int *fds, size_t n_fds)
{
	/* With REPLY_ACK whatever has no reply of its own is acknowledged. */
	if (has_protocol(fe, VHOST_USER_PROTOCOL_F_REPLY_ACK) &&
	    msg->hdr.request != VHOST_USER_SET_PROTOCOL_FEATURES) {
		msg->hdr.flags |= VHOST_USER_FLAG_NEED_REPLY;
		expect(fe, msg->hdr.request, 0);
	}
	return send_bytes(fe, msg, HDR_SIZE + msg->hdr.size, fds, n_fds);
}

static int send_u64(struct frontend *fe, uint32_t request, uint64_t value)
{
	struct vhost_user_msg msg = message(request, sizeof(uint64_t));

	msg.payload.u64 = value;
	return send_msg(fe, &msg, NULL, 0);
}

static int send_empty(struct frontend *fe, uint32_t request)
{
	struct vhost_user_msg msg = message(request, 0);

	return send_msg(fe, &msg, NULL, 0);
}

static int send_state(struct frontend *fe, uint32_t request, uint32_t index,
		      uint32_t num)
{
	struct vhost_user_msg msg =
		message(request, sizeof(struct vhost_user_vring_state));

	msg.payload.state.index = index;
	msg.payload.state.num = num;
	return send_msg(fe, &msg, NULL, 0);
}

static int send_ring_fd(struct frontend *fe, uint32_t request, uint32_t index,
			int fd)
{
	struct vhost_user_msg msg = message(request, sizeof(uint64_t));

	msg.payload.u64 = index | (fd < 0 ? VHOST_USER_VRING_NOFD : 0);
	return send_msg(fe, &msg, &fd, fd >= 0);
}

/* A request with a reply of its own. */
static int send_query(struct frontend *fe, uint32_t request)
{
	struct vhost_user_msg msg = message(request, 0);

	expect(fe, request, 0);
	return send_bytes(fe, &msg, HDR_SIZE, NULL, 0);
}

static int send_get_config(struct frontend *fe)
{
	uint32_t size = fe->config_size;
	struct vhost_user_msg msg =
		message(VHOST_USER_GET_CONFIG,
			offsetof(struct vhost_user_config, data) + size);

	if (!size || fe->config_ours ||
	    !has_protocol(fe, VHOST_USER_PROTOCOL_F_CONFIG))
		return 0;
	msg.payload.config.size = size;
	expect(fe, VHOST_USER_GET_CONFIG, 0);
	return send_bytes(fe, &msg, HDR_SIZE + msg.hdr.size, NULL, 0);
}

static int send_mem_table(struct frontend *fe)
{
	struct vhost_user_msg msg = message(
		VHOST_USER_SET_MEM_TABLE,
		offsetof(struct vhost_user_mem_table, regions) +
			fe->gm->nr * sizeof(struct vhost_user_mem_region));
	int fds[VHOST_USER_MEM_MAX];

	if (fe->gm->nr > VHOST_USER_MEM_MAX)
		return -E2BIG;
	msg.payload.mem.nr = fe->gm->nr;
	for (unsigned int i = 0; i < fe->gm->nr; i++) {
		const struct gmem_region *r = &fe->gm->regions[i];

		msg.payload.mem.regions[i] = (struct vhost_user_mem_region){
			.gpa = r->gpa,
			.size = r->size,
			.user_addr = (uint64_t)(uintptr_t)r->hva,
			.mmap_offset = r->fd_offset,
		};
		fds[i] = r->fd;
	}
	return send_msg(fe, &msg, fds, fe->gm->nr);
}

static int send_vring_addr(struct frontend *fe, uint32_t index)
{
	const struct frontend_ring *ring = &fe->rings[index];
	struct vhost_user_msg msg =
		message(VHOST_USER_SET_VRING_ADDR,
			sizeof(struct vhost_user_vring_addr));
	void *desc, *avail, *used;
	int r;

	r = gmem_span(fe->gm, ring->desc_gpa, 16ULL * ring->size, &desc);
	if (r == 0)
		r = gmem_span(fe->gm, ring->avail_gpa, 6 + 2ULL * ring->size,
			      &avail);
	if (r == 0)
		r = gmem_span(fe->gm, ring->used_gpa, 6 + 8ULL * ring->size,
			      &used);
	if (r != 0)
		return r;
	msg.payload.addr.index = index;
	msg.payload.addr.desc_user = (uint64_t)(uintptr_t)desc;
	msg.payload.addr.avail_user = (uint64_t)(uintptr_t)avail;
	msg.payload.addr.used_user = (uint64_t)(uintptr_t)used;
	return send_msg(fe, &msg, NULL, 0);
}

/* --------------------------------------------------------------- receiving */

/* Checks and takes one reply. Return: 0 or -EPROTO. */
static int take_reply(struct frontend *fe)
{
	const struct vhost_user_msg *msg = &fe->rx;
	uint32_t request = fe->pending[0].request;
	uint32_t ring = fe->pending[0].ring;

	if (!fe->nr_pending || msg->hdr.request != request ||
	    !(msg->hdr.flags & VHOST_USER_FLAG_REPLY))
		return -EPROTO;
	fe->nr_pending--;
	memmove(&fe->pending[0], &fe->pending[1],
		fe->nr_pending * sizeof(fe->pending[0]));
	switch (request) {
	case VHOST_USER_GET_VRING_BASE:
		if (msg->hdr.size != sizeof(msg->payload.state) ||
		    msg->payload.state.index != ring)
			return -EPROTO;
		fe->rings[ring].base = (uint16_t)msg->payload.state.num;
		fe->rings[ring].started = false;
		return 0;
	case VHOST_USER_GET_CONFIG:
		if (msg->hdr.size == 0) { /* how it says no */
			fe->result = -EREMOTEIO;
			return 0;
		}
		if (msg->hdr.size !=
		    offsetof(struct vhost_user_config, data) + fe->config_size)
			return -EPROTO;
		memcpy(fe->config, msg->payload.config.data, fe->config_size);
		return 0;
	default:
		break;
	}
	if (msg->hdr.size != sizeof(msg->payload.u64))
		return -EPROTO;
	if (request == VHOST_USER_GET_FEATURES)
		fe->features = msg->payload.u64;
	else if (request == VHOST_USER_GET_PROTOCOL_FEATURES)
		fe->protocol_features = msg->payload.u64 & PROTOCOL_WANTED;
	else if (request == VHOST_USER_GET_QUEUE_NUM)
		fe->queue_num = msg->payload.u64;
	else if (msg->payload.u64 != 0 && fe->result == 0)
		fe->result = -EREMOTEIO; /* refused */
	return 0;
}

static void replies_done(struct frontend *fe)
{
	int (*next)(struct frontend * fe) = fe->next;
	int r = fe->result;

	fe->next = NULL;
	if (r == 0 && next) {
		r = next(fe);
		if (r == 0 && (fe->nr_pending || fe->draining))
			return;
		if (fe->send_failed) {
			fail(fe, "cannot send: it hangs or is gone");
			return;
		}
	}
	finish_op(fe, r);
}

/* Reads what is there of one message. Return: 1 whole, 0 not yet, -errno. */
static int read_msg(struct frontend *fe)
{
	uint8_t *buf = (uint8_t *)&fe->rx;
	size_t want = HDR_SIZE, n_fds;
	ssize_t n;

	for (;;) {
		if (fe->rx_len >= HDR_SIZE) {
			if (fe->rx.hdr.size > sizeof(fe->rx.payload))
				return -EPROTO;
			want = HDR_SIZE + fe->rx.hdr.size;
		}
		if (fe->rx_len == want)
			return 1;
		n = fd_recvmsg(fe->fd, buf + fe->rx_len, want - fe->rx_len,
			       NULL, 0, &n_fds, MSG_DONTWAIT);
		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return n < 0 ? (int)n : -ECONNRESET;
		fe->rx_len += (size_t)n;
	}
}

static void on_socket(struct loop_source *src, uint32_t events)
{
	struct frontend *fe = container_of(src, struct frontend, src);

	while (!fe->failed) {
		int r = read_msg(fe);

		if (r == 0)
			return;
		if (r > 0) {
			fe->rx_len = 0;
			r = take_reply(fe);
		}
		if (r < 0) {
			fail(fe, r == -EPROTO ? "protocol error"
					      : "connection closed");
			return;
		}
		if (!fe->nr_pending)
			replies_done(fe);
	}
}

/* --------------------------------------------------------------- operations */

int frontend_init(struct frontend *fe, struct loop *loop, int fd,
		  const struct gmem *gm, uint64_t deadline_ns)
{
	int r;

	*fe = (struct frontend){ .loop = loop,
				 .gm = gm,
				 .fd = -1,
				 .src.fd = -1,
				 .deadline_ns = deadline_ns };
	r = loop_add(loop, &fe->src, fd, EPOLLIN, on_socket);
	if (r == 0)
		fe->fd = fd;
	return r;
}

void frontend_finish(struct frontend *fe)
{
	if (!fe->loop)
		return;
	loop_timer_cancel(fe->loop, &fe->timer);
	loop_remove(fe->loop, &fe->src);
	fd_close(&fe->fd);
	fe->loop = NULL;
}

/* A foreign back end: may it do without a config space, or with ours? */
static int choose_config(struct frontend *fe)
{
	const struct frontend_foreign *f = fe->foreign;
	bool theirs = has_protocol(fe, VHOST_USER_PROTOCOL_F_CONFIG);

	if (!f || !fe->config_size)
		return 0;
	fe->config_ours =
		f->config_from == FRONTEND_CONFIG_OURS ||
		(f->config_from == FRONTEND_CONFIG_OURS_IF_NONE && !theirs);
	return fe->config_ours || theirs ? 0 : -ENODATA;
}

static int handshake_memory(struct frontend *fe)
{
	int r = choose_config(fe);

	if (r == 0 && fe->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1)
		r = send_u64(fe, VHOST_USER_SET_PROTOCOL_FEATURES,
			     fe->protocol_features);
	if (r == 0 && fe->foreign && has_protocol(fe, VHOST_USER_PROTOCOL_F_MQ))
		r = send_query(fe, VHOST_USER_GET_QUEUE_NUM);
	if (r == 0)
		r = send_empty(fe, VHOST_USER_SET_OWNER);
	if (r == 0)
		r = send_mem_table(fe);
	if (r == 0)
		r = send_get_config(fe);
	return r;
}

static int handshake_protocol(struct frontend *fe)
{
	if (!(fe->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1))
		return handshake_memory(fe);
	fe->next = handshake_memory;
	return send_query(fe, VHOST_USER_GET_PROTOCOL_FEATURES);
}

void frontend_handshake(struct frontend *fe, uint32_t config_size,
			void (*done)(struct frontend *fe, int r))
{
	assert(config_size <= sizeof(fe->config));
	begin_op(fe, done, handshake_protocol);
	fe->config_size = config_size;
	await_op(fe,
		 fe->failed ? -EIO : send_query(fe, VHOST_USER_GET_FEATURES));
}

/* The order NUM, BASE, ADDR, ERR, CALL, KICK: a ring may start at KICK. */
static int start_ring(struct frontend *fe, uint32_t index)
{
	struct frontend_ring *ring = &fe->rings[index];
	int r;

	r = send_state(fe, VHOST_USER_SET_VRING_NUM, index, ring->size);
	if (r == 0)
		r = send_state(fe, VHOST_USER_SET_VRING_BASE, index,
			       ring->base);
	if (r == 0)
		r = send_vring_addr(fe, index);
	if (r == 0)
		r = send_ring_fd(fe, VHOST_USER_SET_VRING_ERR, index,
				 ring->err_fd);
	if (r == 0)
		r = send_ring_fd(fe, VHOST_USER_SET_VRING_CALL, index,
				 ring->call_fd);
	if (r == 0 && fe->renew_kick)
		r = fe->renew_kick(fe, index);
	if (r == 0)
		r = send_ring_fd(fe, VHOST_USER_SET_VRING_KICK, index,
				 ring->kick_fd);
	if (r == 0 && fe->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1)
		r = send_state(fe, VHOST_USER_SET_VRING_ENABLE, index, 1);
	ring->started = r == 0;
	return r;
}

void frontend_start(struct frontend *fe, uint64_t features, uint32_t mask,
		    void (*done)(struct frontend *fe, int r))
{
	uint64_t protocol =
		fe->features & 1ULL << VHOST_USER_F_PROTOCOL_FEATURES;
	int r;

	begin_op(fe, done, NULL);
	r = fe->failed ? -EIO
		       : send_u64(fe, VHOST_USER_SET_FEATURES,
				  features | protocol);
	for (uint32_t i = 0; i < FRONTEND_MAX_RINGS && r == 0; i++) {
		if (mask >> i & 1)
			r = start_ring(fe, i);
	}
	/* Works with every back end, acknowledgements or not: a barrier. */
	if (r == 0)
		r = send_query(fe, VHOST_USER_GET_FEATURES);
	await_op(fe, r);
}

/* GET_VRING_BASE for each ring of @mask that runs, in one write. */
static int send_stop(struct frontend *fe, uint32_t mask)
{
	struct {
		struct vhost_user_hdr hdr;
		struct vhost_user_vring_state state;
	} __attribute__((packed)) msgs[FRONTEND_MAX_RINGS];
	size_t n = 0;

	fe->stopping = 0;
	for (uint32_t i = 0; i < FRONTEND_MAX_RINGS; i++) {
		if (!(mask >> i & 1) || !fe->rings[i].started)
			continue;
		msgs[n].hdr = message(VHOST_USER_GET_VRING_BASE,
				      sizeof(msgs[n].state))
				      .hdr;
		msgs[n].state = (struct vhost_user_vring_state){ .index = i };
		expect(fe, VHOST_USER_GET_VRING_BASE, i);
		fe->stopping |= 1U << i;
		n++;
	}
	if (n == 0)
		return 0;
	fe->messages += n - 1; /* the last one is counted as it is sent */
	return send_bytes(fe, msgs, n * sizeof(msgs[0]), NULL, 0);
}

static void on_drain(struct loop_timer *timer)
{
	struct frontend *fe = container_of(timer, struct frontend, timer);

	if (frontend_drained(fe))
		finish_op(fe, 0);
	else if (time_boot_ns() < fe->drain_end_ns)
		loop_timer_set(fe->loop, timer, DRAIN_POLL_NS, on_drain);
	else
		fail(fe, "kept requests of a ring that it had stopped");
}

/* Every ring of a foreign back end has stopped, as it says. */
static int drain(struct frontend *fe)
{
	if (frontend_drained(fe))
		return 0;
	fe->draining = true;
	fe->drain_end_ns = time_boot_ns() + fe->deadline_ns;
	loop_timer_set(fe->loop, &fe->timer, DRAIN_POLL_NS, on_drain);
	return 0;
}

void frontend_stop(struct frontend *fe, uint32_t mask,
		   void (*done)(struct frontend *fe, int r))
{
	begin_op(fe, done, fe->foreign ? drain : NULL);
	await_op(fe, fe->failed ? -EIO : send_stop(fe, mask));
}

void frontend_reset(struct frontend *fe,
		    void (*done)(struct frontend *fe, int r))
{
	int r;

	begin_op(fe, done, fe->foreign ? drain : NULL);
	r = fe->failed ? -EIO : send_stop(fe, UINT32_MAX);
	if (r == 0 && has_protocol(fe, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
		r = send_empty(fe, VHOST_USER_RESET_DEVICE);
	if (r == 0)
		r = send_get_config(fe);
	await_op(fe, r);
}

void frontend_set_config(struct frontend *fe, uint32_t offset, const void *data,
			 uint32_t len, void (*done)(struct frontend *fe, int r))
{
	struct vhost_user_msg msg =
		message(VHOST_USER_SET_CONFIG,
			offsetof(struct vhost_user_config, data) + len);
	int r = -EIO;

	assert(len <= VHOST_USER_CONFIG_MAX);
	begin_op(fe, done, NULL);
	msg.payload.config.offset = offset;
	msg.payload.config.size = len;
	memcpy(msg.payload.config.data, data, len);
	if (!fe->failed)
		r = has_protocol(fe, VHOST_USER_PROTOCOL_F_CONFIG) &&
				    !fe->config_ours
			    ? send_msg(fe, &msg, NULL, 0)
			    : -EOPNOTSUPP;
	if (r == 0)
		r = send_get_config(fe);
	await_op(fe, r);
}

void frontend_get_config(struct frontend *fe,
			 void (*done)(struct frontend *fe, int r))
{
	begin_op(fe, done, NULL);
	await_op(fe, fe->failed ? -EIO : send_get_config(fe));
}
