/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest RAM, driver side of a ring and vhost-user front end for tests. */
#define _GNU_SOURCE
#include "tests/lib/guest_ring.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/fd.h"

#define FRONT_RAM    (16U << 20)
#define WAIT_MS	     10000
#define USER_OF(f)   ((uint64_t)(uintptr_t)(f)->g.ram)
#define PAGE_BYTES   4096U
#define RING_ALIGN   16U
#define ALL_PROTOCOL (~0ULL)

/* ----------------------------------------------------------- guest memory */

void guest_init(struct guest *g, uint64_t size)
{
	struct gmem_region region = { .gpa = GUEST_RAM_GPA, .size = size };

	*g = (struct guest){ .size = size, .used = PAGE_BYTES };
	g->memfd = fd_memfd_sealed("guest", size, 0);
	cr_assert(ge(int, g->memfd, 0));
	g->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, g->memfd,
		      0);
	cr_assert(g->ram != MAP_FAILED);
	region.fd = dup(g->memfd);
	region.user_addr = (uint64_t)(uintptr_t)g->ram;
	cr_assert(zero(int, gmem_add(&g->gm, &region)));
}

void guest_finish(struct guest *g)
{
	gmem_finish(&g->gm);
	(void)munmap(g->ram, g->size);
	fd_close(&g->memfd);
}

uint64_t guest_alloc(struct guest *g, uint64_t size, uint64_t align)
{
	uint64_t at = (g->used + align - 1) & ~(align - 1);

	cr_assert(at + size <= g->size, "test guest is out of memory");
	g->used = at + size;
	memset(g->ram + at, 0, size);
	return GUEST_RAM_GPA + at;
}

void *guest_ptr(const struct guest *g, uint64_t gpa)
{
	cr_assert(gpa >= GUEST_RAM_GPA && gpa - GUEST_RAM_GPA < g->size);
	return g->ram + (gpa - GUEST_RAM_GPA);
}

/* -------------------------------------------------------- driver's ring */

static int eventfd_new(void)
{
	int fd = fd_event_create();

	cr_assert(ge(int, fd, 0));
	return fd;
}

static void ring_layout(struct guest_ring *r)
{
	size_t desc = r->size * sizeof(struct vring_desc);
	size_t avail = sizeof(struct vring_avail) + (r->size + 1U) * 2U;
	size_t used = sizeof(struct vring_used) + r->size * 8U + 2U;

	r->desc = guest_ptr(r->g, r->desc_gpa);
	r->avail = guest_ptr(r->g, r->avail_gpa);
	r->used = guest_ptr(r->g, r->used_gpa);
	memset(r->desc, 0, desc);
	memset(r->avail, 0, avail);
	memset(r->used, 0, used);
	r->next_desc = 0;
	r->avail_idx = 0;
	r->last_used = 0;
}

void guest_ring_init(struct guest_ring *r, struct guest *g, uint16_t size)
{
	*r = (struct guest_ring){ .g = g, .size = size };
	r->desc_gpa =
		guest_alloc(g, size * sizeof(struct vring_desc), RING_ALIGN);
	r->avail_gpa = guest_alloc(
		g, sizeof(struct vring_avail) + (size + 1U) * 2U, RING_ALIGN);
	r->used_gpa = guest_alloc(g, sizeof(struct vring_used) + size * 8U + 2U,
				  RING_ALIGN);
	ring_layout(r);
	r->kick_fd = eventfd_new();
	r->call_fd = eventfd_new();
	r->err_fd = eventfd_new();
}

void guest_ring_finish(struct guest_ring *r)
{
	fd_close(&r->kick_fd);
	fd_close(&r->call_fd);
	fd_close(&r->err_fd);
}

void guest_ring_desc(struct guest_ring *r, uint16_t i, uint64_t addr,
		     uint32_t len, uint16_t flags, uint16_t next)
{
	r->desc[i] = (struct vring_desc){
		.addr = addr, .len = len, .flags = flags, .next = next
	};
}

void guest_ring_avail(struct guest_ring *r, uint16_t head)
{
	r->avail->ring[r->avail_idx & (r->size - 1)] = head;
	r->avail_idx++;
	shared_store_release(&r->avail->idx, r->avail_idx);
}

static uint16_t desc_flags(const struct guest_buf *b, bool last)
{
	return (uint16_t)((b->in ? VRING_DESC_F_WRITE : 0) |
			  (last ? 0 : VRING_DESC_F_NEXT));
}

uint16_t guest_ring_add(struct guest_ring *r, const struct guest_buf *bufs,
			unsigned int n)
{
	uint16_t mask = (uint16_t)(r->size - 1);
	uint16_t head = r->next_desc;

	cr_assert(n > 0 && n <= r->size);
	for (unsigned int i = 0; i < n; i++) {
		uint16_t at = (uint16_t)((head + i) & mask);

		guest_ring_desc(r, at, bufs[i].gpa, bufs[i].len,
				desc_flags(&bufs[i], i == n - 1),
				(uint16_t)((at + 1) & mask));
	}
	r->next_desc = (uint16_t)((head + n) & mask);
	guest_ring_avail(r, head);
	return head;
}

uint16_t guest_ring_add_indirect(struct guest_ring *r,
				 const struct guest_buf *bufs, unsigned int n)
{
	uint64_t gpa = guest_alloc(r->g, n * sizeof(struct vring_desc), 16);
	struct vring_desc *table = guest_ptr(r->g, gpa);
	uint16_t head = r->next_desc;

	for (unsigned int i = 0; i < n; i++) {
		table[i] = (struct vring_desc){ .addr = bufs[i].gpa,
						.len = bufs[i].len,
						.flags = desc_flags(&bufs[i],
								    i == n - 1),
						.next = (uint16_t)(i + 1) };
	}
	guest_ring_desc(r, head, gpa, (uint32_t)(n * sizeof(*table)),
			VRING_DESC_F_INDIRECT, 0);
	r->next_desc = (uint16_t)((head + 1) & (r->size - 1));
	guest_ring_avail(r, head);
	return head;
}

void guest_ring_kick(struct guest_ring *r)
{
	fd_event_signal(r->kick_fd);
}

bool guest_ring_reap(struct guest_ring *r, uint16_t *ret_head,
		     uint32_t *ret_len)
{
	const struct vring_used_elem *e;

	if (shared_load_acquire(&r->used->idx) == r->last_used) {
		/*
		 * With the event index: tell me of the next one. Then the last
		 * look, pairs with the device's fence before it decides.
		 */
		shared_store(&r->avail->ring[r->size], r->last_used);
		atomic_thread_fence(memory_order_seq_cst);
		if (shared_load_acquire(&r->used->idx) == r->last_used)
			return false;
	}
	e = &r->used->ring[r->last_used & (r->size - 1)];
	r->last_used++;
	*ret_head = (uint16_t)e->id;
	*ret_len = e->len;
	return true;
}

/* ---------------------------------------------------- vhost-user front end */

void front_init(struct front *f)
{
	memset(f, 0, sizeof(*f));
	f->sock = -1;
	f->ctl = -1;
	f->wake_fd = -1;
	f->regpage_fd = -1;
	guest_init(&f->g, FRONT_RAM);
	cr_assert(zero(int, loop_init(&f->loop)));
}

void front_connect(struct front *f, struct virtio_dev *dev)
{
	struct backend_config cfg;
	int stream[2], seq[2];

	f->dev = dev;
	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				       stream)));
	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, seq)));
	f->sock = stream[0];
	f->ctl = seq[0];
	f->wake_fd = eventfd_new();
	f->regpage_fd = fd_memfd_sealed("regpage", VIRTIO_REGPAGE_SIZE, 0);
	cr_assert(ge(int, f->regpage_fd, 0));
	f->page = mmap(NULL, VIRTIO_REGPAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED, f->regpage_fd, 0);
	cr_assert(f->page != MAP_FAILED);
	cfg = (struct backend_config){ .vhost_fd = stream[1],
				       .ctl_fd = seq[1],
				       .regpage_fd = dup(f->regpage_fd),
				       .wake_fd = dup(f->wake_fd) };
	cr_assert(zero(int, backend_create(dev, &f->loop, &cfg, &f->be)));
}

void front_finish(struct front *f)
{
	backend_destroy(f->be);
	fd_close(&f->sock);
	fd_close(&f->ctl);
	fd_close(&f->wake_fd);
	fd_close(&f->regpage_fd);
	if (f->page)
		(void)munmap(f->page, VIRTIO_REGPAGE_SIZE);
	for (unsigned int i = 0; i < f->nr_rings; i++) {
		if (f->ring[i].g)
			guest_ring_finish(&f->ring[i]);
	}
	loop_finish(&f->loop);
	guest_finish(&f->g);
}

void front_settle(struct front *f)
{
	struct pollfd p = { .fd = f->loop.epoll_fd, .events = POLLIN };

	for (int i = 0; i < 1000 && poll(&p, 1, 0) == 1; i++)
		cr_assert(zero(int, loop_turn(&f->loop, 0)));
}

void front_wait_fd(struct front *f, int fd)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
			       { .fd = f->loop.epoll_fd, .events = POLLIN } };

	for (;;) {
		int n = poll(p, 2, WAIT_MS);

		cr_assert(gt(int, n, 0), "the device did not answer in time");
		if (p[0].revents)
			return;
		cr_assert(zero(int, loop_turn(&f->loop, 0)));
	}
}

void front_send(struct front *f, const struct vhost_user_msg *msg,
		const int *fds, unsigned int nr_fds)
{
	struct vhost_user_msg m = *msg;
	size_t len = sizeof(m.hdr) + m.hdr.size;

	m.hdr.flags |= VHOST_USER_VERSION;
	cr_assert(
		eq(sz, (size_t)fd_sendmsg(f->sock, &m, len, fds, nr_fds), len));
}

static bool read_exactly(struct front *f, void *buf, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n;

		front_wait_fd(f, f->sock);
		n = recv(f->sock, (uint8_t *)buf + have, len - have,
			 MSG_DONTWAIT);
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	return true;
}

bool front_recv(struct front *f, struct vhost_user_msg *msg)
{
	if (!read_exactly(f, &msg->hdr, sizeof(msg->hdr)))
		return false;
	cr_assert(le(sz, msg->hdr.size, sizeof(msg->payload)));
	cr_assert(eq(u32, msg->hdr.flags,
		     VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY));
	return read_exactly(f, &msg->payload, msg->hdr.size);
}

uint64_t front_request(struct front *f, struct vhost_user_msg *msg,
		       const int *fds, unsigned int nr_fds)
{
	uint32_t request = msg->hdr.request;

	msg->hdr.flags |= VHOST_USER_FLAG_NEED_REPLY;
	front_send(f, msg, fds, nr_fds);
	cr_assert(front_recv(f, msg), "connection lost at %s",
		  vhost_user_name(request));
	cr_assert(eq(u32, msg->hdr.request, request));
	cr_assert(eq(u32, msg->hdr.size, sizeof(uint64_t)));
	return msg->payload.u64;
}

uint64_t front_get_u64(struct front *f, uint32_t request)
{
	struct vhost_user_msg m = { .hdr.request = request };

	front_send(f, &m, NULL, 0);
	cr_assert(front_recv(f, &m));
	cr_assert(eq(u32, m.hdr.size, sizeof(uint64_t)));
	return m.payload.u64;
}

static void set_u64(struct front *f, uint32_t request, uint64_t value,
		    const int *fds, unsigned int nr_fds)
{
	struct vhost_user_msg m = { .hdr = { .request = request, .size = 8 },
				    .payload.u64 = value };

	cr_assert(zero(u64, front_request(f, &m, fds, nr_fds)), "%s refused",
		  vhost_user_name(request));
}

static void set_state(struct front *f, uint32_t request, uint32_t index,
		      uint32_t num)
{
	struct vhost_user_msg m = { .hdr = { .request = request, .size = 8 },
				    .payload.state = { index, num } };

	cr_assert(zero(u64, front_request(f, &m, NULL, 0)), "%s refused",
		  vhost_user_name(request));
}

static void set_mem_table(struct front *f)
{
	struct vhost_user_msg m = {
		.hdr = { .request = VHOST_USER_SET_MEM_TABLE, .size = 8 + 32 },
		.payload.mem = { .nr = 1,
				 .regions = { { .gpa = GUEST_RAM_GPA,
						.size = f->g.size,
						.user_addr = USER_OF(f) } } }
	};

	cr_assert(zero(u64, front_request(f, &m, &f->g.memfd, 1)));
}

void front_negotiate(struct front *f, uint64_t features)
{
	struct vhost_user_msg owner = { .hdr.request = VHOST_USER_SET_OWNER };
	struct vhost_user_msg m = {
		.hdr = { .request = VHOST_USER_SET_PROTOCOL_FEATURES,
			 .size = 8 }
	};

	f->features = front_get_u64(f, VHOST_USER_GET_FEATURES);
	cr_assert(f->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1);
	f->protocol = front_get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES);
	/* Not acknowledged yet: REPLY_ACK comes with this very message. */
	m.payload.u64 = f->protocol & ALL_PROTOCOL;
	front_send(f, &m, NULL, 0);
	cr_assert(zero(u64, front_request(f, &owner, NULL, 0)));
	set_u64(f, VHOST_USER_SET_FEATURES,
		features | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES, NULL, 0);
	set_mem_table(f);
}

static uint64_t user_of(const struct front *f, uint64_t gpa)
{
	return USER_OF(f) + (gpa - GUEST_RAM_GPA);
}

static struct guest_ring *ring_need(struct front *f, unsigned int queue)
{
	struct guest_ring *r = &f->ring[queue];

	cr_assert(lt(uint, queue, VIRTIO_DEV_MAX_QUEUES));
	if (!r->g)
		guest_ring_init(r, &f->g, f->dev->ops->type->queue_size);
	f->nr_rings = MAX(f->nr_rings, queue + 1);
	return r;
}

void front_start(struct front *f, unsigned int queue)
{
	front_start_at(f, queue, ring_need(f, queue)->used->idx);
}

void front_start_at(struct front *f, unsigned int queue, uint16_t base)
{
	struct guest_ring *r = ring_need(f, queue);
	struct vhost_user_msg addr = {
		.hdr = { .request = VHOST_USER_SET_VRING_ADDR, .size = 40 },
		.payload.addr = { .index = queue,
				  .desc_user = user_of(f, r->desc_gpa),
				  .avail_user = user_of(f, r->avail_gpa),
				  .used_user = user_of(f, r->used_gpa) }
	};

	set_state(f, VHOST_USER_SET_VRING_NUM, queue, r->size);
	set_state(f, VHOST_USER_SET_VRING_BASE, queue, base);
	cr_assert(zero(u64, front_request(f, &addr, NULL, 0)));
	set_u64(f, VHOST_USER_SET_VRING_ERR, queue, &r->err_fd, 1);
	set_u64(f, VHOST_USER_SET_VRING_CALL, queue, &r->call_fd, 1);
	set_u64(f, VHOST_USER_SET_VRING_KICK, queue, &r->kick_fd, 1);
	set_state(f, VHOST_USER_SET_VRING_ENABLE, queue, 1);
}

void front_start_all(struct front *f, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		front_start(f, i);
}

uint16_t front_stop(struct front *f, unsigned int queue)
{
	struct vhost_user_msg m = {
		.hdr = { .request = VHOST_USER_GET_VRING_BASE, .size = 8 },
		.payload.state = { .index = queue }
	};

	front_send(f, &m, NULL, 0);
	cr_assert(front_recv(f, &m));
	cr_assert(eq(u32, m.hdr.size, 8));
	cr_assert(eq(u32, m.payload.state.index, queue));
	return (uint16_t)m.payload.state.num;
}

void front_ring_reset(struct front *f, unsigned int queue)
{
	ring_layout(ring_need(f, queue));
}

uint32_t front_wait_used(struct front *f, unsigned int queue, uint16_t head)
{
	struct guest_ring *r = &f->ring[queue];
	uint16_t got;
	uint32_t len;

	guest_ring_kick(r);
	while (!guest_ring_reap(r, &got, &len)) {
		front_wait_fd(f, r->call_fd);
		(void)fd_event_drain(r->call_fd);
	}
	cr_assert(eq(u16, got, head));
	return len;
}

bool front_get_config(struct front *f, uint32_t off, void *buf, uint32_t len)
{
	struct vhost_user_msg m = {
		.hdr = { .request = VHOST_USER_GET_CONFIG, .size = 12 + len },
		.payload.config = { .offset = off, .size = len }
	};

	front_send(f, &m, NULL, 0);
	cr_assert(front_recv(f, &m));
	if (!m.hdr.size)
		return false;
	cr_assert(eq(u32, m.hdr.size, 12 + len));
	memcpy(buf, m.payload.config.data, len);
	return true;
}

bool front_set_config(struct front *f, uint32_t off, const void *buf,
		      uint32_t len)
{
	struct vhost_user_msg m = {
		.hdr = { .request = VHOST_USER_SET_CONFIG, .size = 12 + len },
		.payload.config = { .offset = off, .size = len }
	};

	memcpy(m.payload.config.data, buf, len);
	return !front_request(f, &m, NULL, 0);
}

void front_wake_arm(struct front *f, bool armed)
{
	struct devctl_msg m = { .type = DEVCTL_WAKE_ARM,
				.generation = ++f->generation,
				.arg = armed };

	cr_assert(eq(sz, (size_t)send(f->ctl, &m, sizeof(m), 0), sizeof(m)));
	front_wait_fd(f, f->ctl);
	cr_assert(eq(sz, (size_t)recv(f->ctl, &m, sizeof(m), 0), sizeof(m)));
	cr_assert(eq(u32, m.type, DEVCTL_ACK));
	cr_assert(eq(u32, m.generation, f->generation));
	cr_assert(eq(u64, m.arg, DEVCTL_WAKE_ARM));
}

void front_publish_config(struct front *f)
{
	struct devctl_msg m;

	front_wait_fd(f, f->ctl);
	cr_assert(eq(sz, (size_t)recv(f->ctl, &m, sizeof(m), 0), sizeof(m)));
	cr_assert(eq(u32, m.type, DEVCTL_CONFIG_CHANGED));
	m.type = DEVCTL_CONFIG_PUBLISHED;
	cr_assert(eq(sz, (size_t)send(f->ctl, &m, sizeof(m), 0), sizeof(m)));
	front_settle(f);
}
