/* SPDX-License-Identifier: BSD-3-Clause */
/* The vhost-user back end over a device that records what it is told. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define V1  (1ULL << VIRTIO_F_VERSION_1)
#define F30 (1ULL << VHOST_USER_F_PROTOCOL_FEATURES)

/* ------------------------------------------------------- recording device */

struct fake {
	struct virtio_dev dev;
	unsigned int starts, stops, kicks[2], stop_queues[2], arms;
	bool armed;
	int start_result;
	uint16_t held; /* chain kept between kick and stop_queue, or -1 */
	bool hold;     /* take a chain and give it back only when stopped */
	bool has_held;
};

static struct fake *fake_of(struct virtio_dev *dev)
{
	return container_of(dev, struct fake, dev);
}

static int fake_start(struct virtio_dev *dev)
{
	fake_of(dev)->starts++;
	return fake_of(dev)->start_result;
}

/* Uses every chain at once with the length of its writable part. */
static void fake_kick(struct virtio_dev *dev, unsigned int queue)
{
	struct virtq *vq = &dev->queues[queue];
	struct fake *f = fake_of(dev);
	struct iovec iov[VIRTQ_MAX_CHAIN];
	struct virtq_chain c;

	f->kicks[queue]++;
	while (virtq_pop(vq, &c, iov, ARRAY_SIZE(iov)) == 1) {
		if (f->hold) {
			f->held = c.head;
			f->has_held = true;
			return;
		}
		virtq_push(vq, c.head, (uint32_t)c.len_in);
	}
	(void)virtq_signal(vq);
}

static void fake_stop_queue(struct virtio_dev *dev, unsigned int queue)
{
	struct fake *f = fake_of(dev);

	f->stop_queues[queue]++;
	if (f->has_held)
		virtq_unpop(&dev->queues[queue], &f->held, 1);
	f->has_held = false;
}

static void fake_stop(struct virtio_dev *dev)
{
	fake_of(dev)->stops++;
}

static void fake_config_write(struct virtio_dev *dev, uint32_t off,
			      const void *data, uint32_t len)
{
	/* The first four bytes are writable. */
	if (off < 4)
		memcpy(dev->config + off, data, MIN(len, 4 - off));
}

static void fake_wake_arm(struct virtio_dev *dev, bool armed)
{
	fake_of(dev)->arms++;
	fake_of(dev)->armed = armed;
}

static const struct virtio_type fake_type = {
	.name = "fake",
	.id = VIRTIO_ID_RNG,
	.queue_size = 16,
	.config_size = 8,
};

static const struct virtio_dev_ops fake_ops = {
	.type = &fake_type,
	.start = fake_start,
	.kick = fake_kick,
	.stop_queue = fake_stop_queue,
	.stop = fake_stop,
	.config_write = fake_config_write,
	.wake_arm = fake_wake_arm,
};

static struct front f;
static struct fake dev;
static uint64_t buf;

static void setup(void)
{
	memset(&dev, 0, sizeof(dev));
	dev.dev.ops = &fake_ops;
	dev.dev.nr_queues = 2;
	dev.dev.features_offered = V1 | 1ULL << VIRTIO_RING_F_EVENT_IDX |
				   1ULL << VIRTIO_RING_F_INDIRECT_DESC;
	memcpy(dev.dev.config, "12345678", 8);
	front_init(&f);
	dev.dev.loop = &f.loop;
	front_connect(&f, &dev.dev);
	buf = guest_alloc(&f.g, 4096, 4096);
}

static void teardown(void)
{
	front_finish(&f);
}

TestSuite(backend, .init = setup, .fini = teardown, .timeout = 120);

static struct vhost_user_msg msg(uint32_t request, uint32_t size)
{
	struct vhost_user_msg m;

	memset(&m, 0, sizeof(m));
	m.hdr.request = request;
	m.hdr.size = size;
	return m;
}

static uint64_t ask_state(uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_msg m = msg(request, 8);

	m.payload.state.index = index;
	m.payload.state.num = num;
	return front_request(&f, &m, NULL, 0);
}

static uint64_t ask_u64(uint32_t request, uint64_t v, const int *fds,
			unsigned int nr)
{
	struct vhost_user_msg m = msg(request, 8);

	m.payload.u64 = v;
	return front_request(&f, &m, fds, nr);
}

/* The connection must end and the loop with it. */
static void assert_closed(void)
{
	char c;

	front_wait_fd(&f, f.sock);
	cr_assert(eq(int, (int)recv(f.sock, &c, 1, MSG_DONTWAIT), 0));
	front_settle(&f);
	cr_assert(f.loop.stopped);
}

static unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static uint16_t add_in(unsigned int queue, uint32_t len)
{
	return guest_ring_add(&f.ring[queue],
			      &(struct guest_buf){ buf, len, true }, 1);
}

/* -------------------------------------------------------------- negotiation */

Test(backend, offers_features_and_protocol_features)
{
	cr_assert(eq(u64, front_get_u64(&f, VHOST_USER_GET_FEATURES),
		     dev.dev.features_offered | F30));
	cr_assert(eq(u64, front_get_u64(&f, VHOST_USER_GET_PROTOCOL_FEATURES),
		     1 << 0 | 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15));
}

Test(backend, answers_counts)
{
	front_negotiate(&f, V1);
	cr_assert(eq(u64, front_get_u64(&f, VHOST_USER_GET_QUEUE_NUM), 2));
	cr_assert(eq(u64, front_get_u64(&f, VHOST_USER_GET_MAX_MEM_SLOTS),
		     GMEM_MAX_REGIONS));
}

Test(backend, refuses_features_it_did_not_offer)
{
	front_negotiate(&f, V1);
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_FEATURES, 1ULL << 41, NULL, 0),
		     1));
	cr_assert(
		eq(u64,
		   ask_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1 << 12, NULL, 0),
		   1));
}

Test(backend, refuses_other_features_while_a_ring_runs)
{
	front_negotiate(&f, V1);
	front_start(&f, 0);
	cr_assert(
		zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1 | F30, NULL, 0)));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_FEATURES, F30, NULL, 0), 1));
	cr_assert(eq(u64, dev.dev.features, V1));
}

Test(backend, ignores_reset_owner)
{
	struct vhost_user_msg m = msg(VHOST_USER_RESET_OWNER, 0);

	front_negotiate(&f, V1);
	front_start(&f, 0);
	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	cr_assert(dev.dev.queues[0].running);
}

/* --------------------------------------------------------- broken messages */

Test(backend, unknown_request_is_refused)
{
	struct vhost_user_msg m = msg(99, 0);

	front_negotiate(&f, V1);
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	m = msg(VHOST_USER_NET_SET_MTU, 8);
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	m = msg(0, 0);
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
}

Test(backend, unknown_request_without_need_reply_closes)
{
	struct vhost_user_msg m = msg(99, 0);

	front_negotiate(&f, V1);
	front_send(&f, &m, NULL, 0);
	assert_closed();
}

Test(backend, need_reply_without_reply_ack_is_not_answered)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_OWNER, 0);

	m.hdr.flags = VHOST_USER_FLAG_NEED_REPLY;
	front_send(&f, &m, NULL, 0);
	front_settle(&f);
	cr_assert(eq(int, (int)recv(f.sock, &m, 1, MSG_DONTWAIT), -1));
	cr_assert(eq(int, errno, EAGAIN));
}

Test(backend, wrong_payload_sizes_are_refused)
{
	static const struct {
		uint32_t request, size;
	} bad[] = {
		{ VHOST_USER_SET_FEATURES, 0 },
		{ VHOST_USER_SET_FEATURES, 4 },
		{ VHOST_USER_SET_FEATURES, 16 },
		{ VHOST_USER_SET_OWNER, 8 },
		{ VHOST_USER_SET_VRING_NUM, 4 },
		{ VHOST_USER_SET_VRING_ADDR, 32 },
		{ VHOST_USER_SET_MEM_TABLE, 4 },
		{ VHOST_USER_SET_MEM_TABLE, 200 },
		{ VHOST_USER_ADD_MEM_REG, 32 },
		{ VHOST_USER_SET_CONFIG, 8 },
		{ VHOST_USER_RESET_DEVICE, 8 },
	};

	front_negotiate(&f, V1);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vhost_user_msg m = msg(bad[i].request, bad[i].size);

		cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1), "case %u",
			  i);
	}
}

Test(backend, payload_beyond_any_message_closes)
{
	struct vhost_user_hdr h = { .request = VHOST_USER_SET_FEATURES,
				    .flags = VHOST_USER_VERSION,
				    .size = 0xffffffffU };

	cr_assert(eq(int, (int)send(f.sock, &h, sizeof(h), 0), sizeof(h)));
	assert_closed();
}

Test(backend, wrong_version_closes)
{
	struct vhost_user_hdr h = { .request = VHOST_USER_GET_FEATURES,
				    .flags = 2 };

	cr_assert(eq(int, (int)send(f.sock, &h, sizeof(h), 0), sizeof(h)));
	assert_closed();
}

Test(backend, reply_flag_in_a_request_closes)
{
	struct vhost_user_msg m = msg(VHOST_USER_GET_FEATURES, 0);

	m.hdr.flags = VHOST_USER_FLAG_REPLY;
	front_send(&f, &m, NULL, 0);
	assert_closed();
}

Test(backend, end_of_file_in_a_message_closes_and_drops_its_fds)
{
	struct vhost_user_hdr h = { .request = VHOST_USER_SET_VRING_KICK,
				    .flags = VHOST_USER_VERSION,
				    .size = 8 };
	unsigned int before = count_fds();
	int fd = fd_event_create();

	cr_assert(eq(int, (int)fd_sendmsg(f.sock, &h, sizeof(h), &fd, 1),
		     sizeof(h)));
	fd_close(&fd);
	front_settle(&f);
	(void)shutdown(f.sock, SHUT_WR);
	assert_closed();
	/* The socket of the back end is gone as well. */
	cr_assert(eq(uint, count_fds(), before - 1));
}

Test(backend, message_in_single_bytes_is_put_together)
{
	struct vhost_user_msg m = msg(VHOST_USER_GET_FEATURES, 0);

	m.hdr.flags = VHOST_USER_VERSION;
	for (size_t i = 0; i < sizeof(m.hdr); i++) {
		cr_assert(eq(int, (int)send(f.sock, (char *)&m + i, 1, 0), 1));
		front_settle(&f);
	}
	cr_assert(front_recv(&f, &m));
	cr_assert(eq(u64, m.payload.u64, dev.dev.features_offered | F30));
}

Test(backend, missing_and_extra_fds_are_refused_and_closed)
{
	int fds[8];
	unsigned int before;

	front_negotiate(&f, V1);
	for (int i = 0; i < 8; i++)
		fds[i] = fd_event_create();
	before = count_fds();
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_CALL, 0, NULL, 0), 1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_CALL, 0, fds, 2), 1));
	cr_assert(eq(u64,
		     ask_u64(VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NOFD,
			     fds, 1),
		     1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_FEATURES, V1, fds, 8), 1));
	cr_assert(eq(uint, count_fds(), before));
}

Test(backend, more_fds_than_any_message_has_close)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_OWNER, 0);
	int fds[9];
	unsigned int before;

	front_negotiate(&f, V1);
	for (int i = 0; i < 9; i++)
		fds[i] = fd_event_create();
	before = count_fds();
	front_send(&f, &m, fds, 9);
	assert_closed();
	cr_assert(eq(uint, count_fds(), before - 1));
}

Test(backend, indexes_out_of_range_are_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_VRING_ADDR, 40);
	int fd = fd_event_create();

	front_negotiate(&f, V1);
	m.payload.addr.index = 2;
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_NUM, 2, 16), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_BASE, ~0U, 0), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 2, 1), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_GET_VRING_BASE, 2, 0), 1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 2, &fd, 1), 1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_CALL, 255, &fd, 1), 1));
	cr_assert(eq(u64, ask_u64(VHOST_USER_SET_VRING_ERR, 1ULL << 32, &fd, 1),
		     1));
}

Test(backend, bad_ring_values_are_refused)
{
	static const uint32_t sizes[] = { 0, 3, 2048, 65536 + 8 };

	front_negotiate(&f, V1);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		cr_assert(eq(u64,
			     ask_state(VHOST_USER_SET_VRING_NUM, 0, sizes[i]),
			     1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_BASE, 0, 65536), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 2), 1));
	cr_assert(eq(u64,
		     ask_u64(VHOST_USER_SET_VRING_KICK, VHOST_USER_VRING_NOFD,
			     NULL, 0),
		     1));
}

Test(backend, ring_addresses_outside_memory_are_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_VRING_ADDR, 40);

	front_negotiate(&f, V1);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_NUM, 0, 16)));
	m.payload.addr.desc_user = 0x1000;
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	m = msg(VHOST_USER_SET_VRING_ADDR, 40);
	m.payload.addr.flags = 1; /* dirty logging */
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
}

Test(backend, kick_fd_that_cannot_be_waited_for_is_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_VRING_KICK, 8);

	front_negotiate(&f, V1);
	front_start(&f, 0);
	/* A memfd: epoll says EPERM. */
	cr_assert(eq(u64, front_request(&f, &m, &f.g.memfd, 1), 1));
	cr_assert(not(dev.dev.queues[0].running));
	cr_assert(eq(uint, dev.stops, 1));
}

/* ------------------------------------------------------------------- memory */

Test(backend, mem_table_with_wrong_fds_is_refused_and_the_old_one_kept)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 32);
	int fds[2] = { f.g.memfd, f.g.memfd };

	front_negotiate(&f, V1);
	m.payload.mem.nr = 1;
	m.payload.mem.regions[0].gpa = 0;
	m.payload.mem.regions[0].size = 4096;
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 32);
	m.payload.mem.nr = 1;
	m.payload.mem.regions[0].size = 4096;
	cr_assert(eq(u64, front_request(&f, &m, fds, 2), 1));
	m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 32);
	m.payload.mem.nr = 9;
	cr_assert(eq(u64, front_request(&f, &m, fds, 1), 1));
	cr_assert(eq(uint, dev.dev.gmem.nr, 1));
	front_start(&f, 0);
	cr_assert(eq(u32, front_wait_used(&f, 0, add_in(0, 5)), 5));
}

Test(backend, mem_table_with_overlap_is_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 64);
	int fds[2] = { f.g.memfd, f.g.memfd };

	front_negotiate(&f, V1);
	m.payload.mem.nr = 2;
	m.payload.mem.regions[0].size = 8192;
	m.payload.mem.regions[1].gpa = 4096;
	m.payload.mem.regions[1].size = 8192;
	cr_assert(eq(u64, front_request(&f, &m, fds, 2), 1));
	cr_assert(eq(uint, dev.dev.gmem.nr, 1));
}

Test(backend, mem_table_replaced_under_a_running_ring_goes_on)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_MEM_TABLE, 8 + 32);

	front_negotiate(&f, V1);
	front_start(&f, 0);
	cr_assert(eq(u32, front_wait_used(&f, 0, add_in(0, 5)), 5));
	m.payload.mem.nr = 1;
	m.payload.mem.regions[0].gpa = GUEST_RAM_GPA;
	m.payload.mem.regions[0].size = f.g.size;
	m.payload.mem.regions[0].user_addr = (uint64_t)(uintptr_t)f.g.ram;
	cr_assert(zero(u64, front_request(&f, &m, &f.g.memfd, 1)));
	cr_assert(eq(uint, dev.stop_queues[0], 1));
	cr_assert(eq(u32, front_wait_used(&f, 0, add_in(0, 6)), 6));
}

static struct vhost_user_msg region(uint32_t request, uint64_t gpa)
{
	struct vhost_user_msg m = msg(request, 40);

	m.payload.mem_reg.region.gpa = gpa;
	m.payload.mem_reg.region.size = 4096;
	m.payload.mem_reg.region.user_addr = 0x1000;
	return m;
}

Test(backend, regions_are_added_and_removed_singly)
{
	struct vhost_user_msg m;

	front_negotiate(&f, V1);
	front_start(&f, 0);
	m = region(VHOST_USER_ADD_MEM_REG, 1ULL << 32);
	cr_assert(zero(u64, front_request(&f, &m, &f.g.memfd, 1)));
	cr_assert(eq(uint, dev.dev.gmem.nr, 2));
	m = region(VHOST_USER_ADD_MEM_REG, 1ULL << 32);
	cr_assert(eq(u64, front_request(&f, &m, &f.g.memfd, 1), 1));
	m = region(VHOST_USER_ADD_MEM_REG, 1ULL << 33);
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	m = region(VHOST_USER_REM_MEM_REG, 1ULL << 33);
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	m = region(VHOST_USER_REM_MEM_REG, 1ULL << 32);
	cr_assert(zero(u64, front_request(&f, &m, &f.g.memfd, 1)));
	cr_assert(eq(uint, dev.dev.gmem.nr, 1));
	/* Refused or not, the ring goes on. */
	cr_assert(eq(u32, front_wait_used(&f, 0, add_in(0, 5)), 5));
}

/* -------------------------------------------------------------------- rings */

Test(backend, ring_runs_only_when_enabled)
{
	struct guest_ring *r = &f.ring[0];

	front_negotiate(&f, V1);
	front_start(&f, 0);
	(void)front_stop(&f, 0);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 0)));
	cr_assert(zero(u64,
		       ask_u64(VHOST_USER_SET_VRING_KICK, 0, &r->kick_fd, 1)));
	cr_assert(not(dev.dev.queues[0].running));
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 1)));
	cr_assert(dev.dev.queues[0].running);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 0)));
	cr_assert(not(dev.dev.queues[0].running));
	(void)add_in(0, 4);
	guest_ring_kick(r);
	front_settle(&f);
	cr_assert(zero(u16, r->used->idx));
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 1)));
	cr_assert(eq(u16, r->used->idx, 1));
}

Test(backend, without_protocol_features_a_ring_starts_enabled)
{
	front_negotiate(&f, V1);
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1, NULL, 0)));
	/* As front_start() does, without ENABLE. */
	cr_assert(
		zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1 | F30, NULL, 0)));
	front_start(&f, 0);
	(void)front_stop(&f, 0);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1, NULL, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 0,
				    &f.ring[0].kick_fd, 1)));
	cr_assert(dev.dev.queues[0].running);
}

/* QEMU's network cards do it in this order. */
Test(backend, a_ring_enabled_before_the_features_is_enabled)
{
	front_negotiate(&f, V1);
	front_start(&f, 0);
	(void)front_stop(&f, 0);
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_FEATURES, 0, NULL, 0)));
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 1)));
	cr_assert(not(dev.dev.queues[0].running));
	cr_assert(
		zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1 | F30, NULL, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 0,
				    &f.ring[0].kick_fd, 1)));
	cr_assert(dev.dev.queues[0].running);
}

Test(backend, buffers_there_before_the_start_are_processed)
{
	front_negotiate(&f, V1);
	front_start(&f, 0);
	(void)front_stop(&f, 0);
	(void)add_in(0, 9);
	front_start(&f, 0);
	cr_assert(eq(u16, f.ring[0].used->idx, 1));
}

Test(backend, device_starts_with_the_first_ring_and_stops_with_the_last)
{
	front_negotiate(&f, V1);
	front_start_all(&f, 2);
	cr_assert(eq(uint, dev.starts, 1));
	(void)front_stop(&f, 0);
	cr_assert(zero(uint, dev.stops));
	cr_assert(dev.dev.started);
	(void)front_stop(&f, 1);
	cr_assert(eq(uint, dev.stops, 1));
	cr_assert(not(dev.dev.started));
	front_start(&f, 1);
	cr_assert(eq(uint, dev.starts, 2));
}

Test(backend, get_vring_base_gives_back_what_was_not_used)
{
	front_negotiate(&f, V1);
	front_start(&f, 0);
	cr_assert(eq(u32, front_wait_used(&f, 0, add_in(0, 3)), 3));
	dev.hold = true;
	(void)add_in(0, 4);
	guest_ring_kick(&f.ring[0]);
	front_settle(&f);
	cr_assert(dev.has_held);
	cr_assert(eq(u16, front_stop(&f, 0), 1));
	cr_assert(eq(u16, f.ring[0].used->idx, 1));
	cr_assert(eq(int, dev.dev.queues[0].kick_fd, -1));
	cr_assert(eq(int, dev.dev.queues[0].call_fd, -1));
	/* Again: the same answer, nothing asked of the device. */
	cr_assert(eq(u16, front_stop(&f, 0), 1));
	cr_assert(eq(uint, dev.stop_queues[0], 1));
	dev.hold = false;
	front_start(&f, 0);
	cr_assert(eq(u16, f.ring[0].used->idx, 2));
}

Test(backend, several_get_vring_base_in_one_write_are_all_answered)
{
	struct {
		struct vhost_user_hdr hdr;
		struct vhost_user_vring_state state;
	} __attribute__((packed)) two[2];
	struct vhost_user_msg m;

	front_negotiate(&f, V1);
	front_start_all(&f, 2);
	for (uint32_t i = 0; i < 2; i++) {
		two[i].hdr = (struct vhost_user_hdr){ VHOST_USER_GET_VRING_BASE,
						      VHOST_USER_VERSION, 8 };
		two[i].state = (struct vhost_user_vring_state){ i, 0 };
	}
	cr_assert(eq(int, (int)send(f.sock, two, sizeof(two), 0), sizeof(two)));
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert(front_recv(&f, &m));
		cr_assert(eq(u32, m.payload.state.index, i));
	}
	cr_assert(eq(uint, dev.stops, 1));
}

Test(backend, ring_setters_are_refused_while_it_runs)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_VRING_ADDR, 40);

	front_negotiate(&f, V1);
	front_start(&f, 0);
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_NUM, 0, 8), 1));
	cr_assert(eq(u64, ask_state(VHOST_USER_SET_VRING_BASE, 0, 8), 1));
	m.payload.addr.desc_user = 0x1000;
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
}

Test(backend, new_call_fd_is_signalled_at_once)
{
	int fd = fd_event_create();

	front_negotiate(&f, V1);
	front_start(&f, 0);
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_CALL, 0, &fd, 1)));
	cr_assert(eq(u64, fd_event_drain(fd), 1));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_CALL,
				    VHOST_USER_VRING_NOFD, NULL, 0)));
	cr_assert(eq(int, dev.dev.queues[0].call_fd, -1));
}

Test(backend, negotiated_ring_features_reach_the_ring)
{
	front_negotiate(&f, V1 | 1ULL << VIRTIO_RING_F_EVENT_IDX);
	front_start(&f, 0);
	cr_assert(dev.dev.queues[0].event_idx);
	cr_assert(not(dev.dev.queues[0].indirect));
}

Test(backend, interrupts_go_through_the_register_page)
{
	uint32_t isr;

	front_negotiate(&f, V1);
	front_start(&f, 0);
	(void)front_wait_used(&f, 0, add_in(0, 3));
	memcpy(&isr, f.page->bytes + VIRTIO_MMIO_INTERRUPT_STATUS, 4);
	cr_assert(eq(u32, isr, VIRTIO_MMIO_INT_VRING));
}

Test(backend, broken_ring_signals_its_err_fd_and_others_go_on)
{
	front_negotiate(&f, V1);
	front_start_all(&f, 2);
	guest_ring_avail(&f.ring[0], 999);
	guest_ring_kick(&f.ring[0]);
	front_wait_fd(&f, f.ring[0].err_fd);
	cr_assert(eq(u32, front_wait_used(&f, 1, add_in(1, 5)), 5));
	cr_assert(zero(u16, front_stop(&f, 0)));
}

Test(backend, failed_start_breaks_every_ring_until_stopped)
{
	dev.start_result = -ENOMEM;
	front_negotiate(&f, V1);
	front_start_all(&f, 2);
	for (int i = 0; i < 2; i++) {
		cr_assert(eq(u64, fd_event_drain(f.ring[i].err_fd), 1));
		cr_assert(zero(uint, dev.kicks[i]));
		(void)front_stop(&f, (unsigned int)i);
	}
	dev.start_result = 0;
	front_start(&f, 0);
	cr_assert(eq(u32, front_wait_used(&f, 0, add_in(0, 5)), 5));
}

Test(backend, a_device_that_fails_breaks_every_ring)
{
	front_negotiate(&f, V1);
	front_start_all(&f, 2);
	virtio_dev_fail(&dev.dev, "test");
	cr_assert(eq(u64, fd_event_drain(f.ring[0].err_fd), 1));
	cr_assert(eq(u64, fd_event_drain(f.ring[1].err_fd), 1));
}

Test(backend, kick_source_that_hangs_up_does_not_spin)
{
	int p[2];

	front_negotiate(&f, V1);
	front_start(&f, 0);
	cr_assert(zero(int, pipe(p)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 0, p, 1)));
	fd_close(&p[0]);
	fd_close(&p[1]);
	for (int i = 0; i < 3; i++)
		cr_assert(zero(int, loop_turn(&f.loop, 0)));
	cr_assert(zero(int, loop_turn(&f.loop, 0)));
	cr_assert(eq(int, f.loop.batch_len, 0));
	(void)front_stop(&f, 0);
}

/* ------------------------------------------------------------------- config */

Test(backend, config_is_read_and_written)
{
	char got[8];

	front_negotiate(&f, V1);
	cr_assert(front_get_config(&f, 0, got, 8));
	cr_assert(zero(int, memcmp(got, "12345678", 8)));
	cr_assert(front_set_config(&f, 2, "xxxx", 4));
	cr_assert(front_get_config(&f, 2, got, 4));
	cr_assert(zero(int, memcmp(got, "xx56", 4)));
}

Test(backend, config_out_of_bounds_is_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_SET_CONFIG, 12 + 4);
	char got[16];

	front_negotiate(&f, V1);
	cr_assert(not(front_get_config(&f, 0, got, 9)));
	cr_assert(not(front_get_config(&f, 8, got, 1)));
	cr_assert(not(front_get_config(&f, 0xffffffffU, got, 4)));
	cr_assert(not(front_set_config(&f, 6, "xxxx", 4)));
	m.payload.config.size = 200;
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	m = msg(VHOST_USER_SET_CONFIG, 12 + 4);
	m.payload.config.size = 4;
	m.payload.config.flags = 1;
	cr_assert(eq(u64, front_request(&f, &m, NULL, 0), 1));
	cr_assert(zero(int, memcmp(dev.dev.config, "12345678", 8)));
}

Test(backend, config_without_its_protocol_feature_is_refused)
{
	struct vhost_user_msg m = msg(VHOST_USER_GET_CONFIG, 12 + 4);

	m.payload.config.size = 4;
	front_send(&f, &m, NULL, 0);
	assert_closed();
}

/* -------------------------------------------------------------------- reset */

Test(backend, reset_device_equals_fresh)
{
	struct vhost_user_msg m = msg(VHOST_USER_RESET_DEVICE, 0);
	char got[8];

	front_negotiate(&f, V1);
	front_start_all(&f, 2);
	(void)front_wait_used(&f, 0, add_in(0, 3));
	cr_assert(front_set_config(&f, 0, "xxxx", 4));
	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	cr_assert(eq(uint, dev.stops, 1));
	cr_assert(zero(u64, dev.dev.features));
	for (int i = 0; i < 2; i++) {
		cr_assert(not(dev.dev.queues[i].running));
		cr_assert(eq(int, dev.dev.queues[i].kick_fd, -1));
		cr_assert(eq(int, dev.dev.queues[i].call_fd, -1));
		cr_assert(eq(int, dev.dev.queues[i].err_fd, -1));
	}
	cr_assert(front_get_config(&f, 0, got, 8));
	cr_assert(zero(int, memcmp(got, "12345678", 8)));
	/* A kick fd alone starts nothing: size and addresses are forgotten. */
	cr_assert(
		zero(u64, ask_u64(VHOST_USER_SET_FEATURES, V1 | F30, NULL, 0)));
	cr_assert(zero(u64, ask_u64(VHOST_USER_SET_VRING_KICK, 0,
				    &f.ring[0].kick_fd, 1)));
	cr_assert(zero(u64, ask_state(VHOST_USER_SET_VRING_ENABLE, 0, 1)));
	cr_assert(not(dev.dev.queues[0].running));
	front_ring_reset(&f, 0);
	front_start(&f, 0);
	cr_assert(eq(u32, front_wait_used(&f, 0, add_in(0, 3)), 3));
}

Test(backend, end_of_the_front_end_stops_everything)
{
	front_negotiate(&f, V1);
	front_start_all(&f, 2);
	(void)shutdown(f.sock, SHUT_WR);
	assert_closed();
	cr_assert(eq(uint, dev.stops, 1));
	cr_assert(not(dev.dev.queues[0].running));
	cr_assert(not(dev.dev.queues[1].running));
}

/* ---------------------------------------------------------- control channel */

static void ctl_send(uint32_t type, uint32_t generation, uint64_t arg)
{
	struct devctl_msg m = { type, generation, arg };

	cr_assert(eq(int, (int)send(f.ctl, &m, sizeof(m), 0), sizeof(m)));
	front_settle(&f);
}

static bool ctl_acked(uint32_t generation)
{
	struct devctl_msg m;

	if (recv(f.ctl, &m, sizeof(m), MSG_DONTWAIT) != sizeof(m))
		return false;
	return m.type == DEVCTL_ACK && m.generation == generation;
}

Test(backend, wake_arm_is_passed_on_and_acknowledged)
{
	front_wake_arm(&f, true);
	cr_assert(dev.armed);
	front_wake_arm(&f, false);
	cr_assert(not(dev.armed));
	cr_assert(eq(uint, dev.arms, 2));
}

Test(backend, wake_is_written_once_per_arming)
{
	virtio_dev_wake(&dev.dev);
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	front_wake_arm(&f, true);
	virtio_dev_wake(&dev.dev);
	virtio_dev_wake(&dev.dev);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	front_wake_arm(&f, false);
	virtio_dev_wake(&dev.dev);
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	front_wake_arm(&f, true);
	virtio_dev_wake(&dev.dev);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	virtio_dev_wake(&(struct virtio_dev){ 0 });
}

Test(backend, older_generations_are_ignored)
{
	ctl_send(DEVCTL_WAKE_ARM, 0xfffffffeU, 1);
	cr_assert(ctl_acked(0xfffffffeU));
	/* Newer, across the wrap. */
	ctl_send(DEVCTL_WAKE_ARM, 1, 0);
	cr_assert(ctl_acked(1));
	ctl_send(DEVCTL_WAKE_ARM, 0xffffffffU, 1);
	cr_assert(not(ctl_acked(0xffffffffU)));
	cr_assert(not(dev.armed));
	cr_assert(eq(uint, dev.arms, 2));
	/* The same one may be repeated. */
	ctl_send(DEVCTL_WAKE_ARM, 1, 1);
	cr_assert(ctl_acked(1));
	cr_assert(dev.armed);
}

Test(backend, log_level_is_set)
{
	enum log_level before = log_get_level();

	ctl_send(DEVCTL_LOG_LEVEL, 1, LOG_LEVEL_ERR);
	cr_assert(ctl_acked(1));
	cr_assert(eq(int, log_get_level(), LOG_LEVEL_ERR));
	ctl_send(DEVCTL_LOG_LEVEL, 2, 77);
	cr_assert(not(ctl_acked(2)));
	cr_assert(eq(int, log_get_level(), LOG_LEVEL_ERR));
	log_set_level(before);
}

Test(backend, control_packets_of_a_wrong_form_are_dropped)
{
	unsigned int before = count_fds();
	char junk[64] = { 0 };
	struct devctl_msg m = { DEVCTL_WAKE_ARM, 1, 1 };
	int fd = fd_event_create();

	cr_assert(eq(int, (int)send(f.ctl, junk, 3, 0), 3));
	cr_assert(eq(int, (int)send(f.ctl, junk, 64, 0), 64));
	cr_assert(eq(int, (int)fd_sendmsg(f.ctl, &m, sizeof(m), &fd, 1),
		     sizeof(m)));
	fd_close(&fd);
	ctl_send(77, 1, 0);
	cr_assert(zero(uint, dev.arms));
	cr_assert(eq(uint, count_fds(), before));
	front_wake_arm(&f, true);
	cr_assert(dev.armed);
}

static bool acknowledged; /* among what was told */

static unsigned int config_changes_told(void)
{
	struct devctl_msg m;
	unsigned int n = 0;

	acknowledged = false;
	while (recv(f.ctl, &m, sizeof(m), MSG_DONTWAIT) == sizeof(m)) {
		n += m.type == DEVCTL_CONFIG_CHANGED;
		acknowledged |= m.type == DEVCTL_ACK;
	}
	return n;
}

Test(backend, config_changes_leave_room_for_an_acknowledgement)
{
	front_negotiate(&f, V1);
	for (unsigned int i = 0; i < 10000; i++)
		virtio_dev_config_changed(&dev.dev);
	ctl_send(DEVCTL_WAKE_ARM, 1, 1);
	cr_assert(dev.armed);
	cr_assert(eq(uint, config_changes_told(), 1));
	cr_assert(acknowledged);
	/* The last one, when the first is published. */
	ctl_send(DEVCTL_CONFIG_PUBLISHED, 1, 0);
	cr_assert(not(virtio_dev_config_published(&dev.dev)));
	cr_assert(eq(uint, config_changes_told(), 1));
	ctl_send(DEVCTL_CONFIG_PUBLISHED, 10000, 0);
	cr_assert(virtio_dev_config_published(&dev.dev));
	cr_assert(eq(uint, config_changes_told(), 0));
}

Test(backend, end_of_the_control_channel_does_not_spin)
{
	fd_close(&f.ctl);
	front_settle(&f);
	front_negotiate(&f, V1);
	cr_assert(zero(int, loop_turn(&f.loop, 0)));
	cr_assert(not(f.loop.stopped));
}

Test(backend, destroy_disarms)
{
	front_wake_arm(&f, true);
	backend_destroy(f.be);
	f.be = NULL;
	cr_assert(not(dev.armed));
	cr_assert(dev.dev.host == NULL);
}

/* --------------------------------------------------------------- by itself */

Test(backend_create, leaves_the_fds_to_the_caller_on_failure, .timeout = 120)
{
	struct backend_config cfg = { .ctl_fd = -1,
				      .regpage_fd = -1,
				      .wake_fd = -1 };
	struct virtio_dev d = { .ops = &fake_ops, .nr_queues = 1 };
	struct backend *be = NULL;
	struct loop loop;
	int p[2];

	cr_assert(zero(int, loop_init(&loop)));
	cfg.vhost_fd = -1;
	cr_assert(eq(int, backend_create(&d, &loop, &cfg, &be), -EBADF));
	cr_assert(zero(int, pipe(p)));
	cfg.vhost_fd = p[0];
	cfg.regpage_fd = p[1]; /* cannot be mapped */
	cr_assert(lt(int, backend_create(&d, &loop, &cfg, &be), 0));
	cr_assert(be == NULL);
	cr_assert(zero(int, close(p[0])));
	cr_assert(zero(int, close(p[1])));
	backend_destroy(NULL);
	loop_finish(&loop);
}

Test(vhost_user, names_of_requests, .timeout = 120)
{
	cr_assert(zero(int, strcmp(vhost_user_name(VHOST_USER_SET_MEM_TABLE),
				   "SET_MEM_TABLE")));
	cr_assert(zero(int, strcmp(vhost_user_name(0), "unknown")));
	cr_assert(zero(int, strcmp(vhost_user_name(19), "unknown")));
	cr_assert(zero(int, strcmp(vhost_user_name(~0U), "unknown")));
}
