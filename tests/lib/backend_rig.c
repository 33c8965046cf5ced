/* SPDX-License-Identifier: BSD-3-Clause */
/* See backend_rig.h. */
#define _GNU_SOURCE
#include "tests/lib/backend_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lib/guest_ring.h"

struct recorder rec;

static struct recorder *record_of(struct virtio_dev *dev)
{
	return container_of(dev, struct recorder, dev);
}

static int record_start(struct virtio_dev *dev)
{
	record_of(dev)->starts++;
	return record_of(dev)->start_result;
}

/* Uses every chain at once with the length of its writable part. */
static void record_kick(struct virtio_dev *dev, unsigned int queue)
{
	struct virtq *vq = &dev->queues[queue];
	struct recorder *r = record_of(dev);
	struct iovec iov[VIRTQ_MAX_CHAIN];
	struct virtq_chain c;

	r->kicks[queue]++;
	while (virtq_pop(vq, &c, iov, ARRAY_SIZE(iov)) == 1) {
		if (r->hold) {
			r->held = c.head;
			r->has_held = true;
			return;
		}
		virtq_push(vq, c.head, (uint32_t)c.len_in);
	}
	(void)virtq_signal(vq);
}

static void record_stop_queue(struct virtio_dev *dev, unsigned int queue)
{
	struct recorder *r = record_of(dev);

	r->stop_queues[queue]++;
	if (r->has_held)
		virtq_unpop(&dev->queues[queue], &r->held, 1);
	r->has_held = false;
}

static void record_stop(struct virtio_dev *dev)
{
	record_of(dev)->stops++;
}

static void record_config_write(struct virtio_dev *dev, uint32_t off,
				const void *data, uint32_t len)
{
	/* The first four bytes are writable. */
	if (off < 4)
		memcpy(dev->config + off, data, MIN(len, 4 - off));
}

static void record_wake_arm(struct virtio_dev *dev, bool armed)
{
	record_of(dev)->arms++;
	record_of(dev)->armed = armed;
}

static const struct virtio_type record_type = {
	.name = "fake",
	.id = VIRTIO_ID_RNG,
	.queue_size = 16,
	.config_size = 8,
};

const struct virtio_dev_ops recorder_ops = {
	.type = &record_type,
	.start = record_start,
	.kick = record_kick,
	.stop_queue = record_stop_queue,
	.stop = record_stop,
	.config_write = record_config_write,
	.wake_arm = record_wake_arm,
};

void backend_setup(void)
{
	memset(&rec, 0, sizeof(rec));
	rec.dev.ops = &recorder_ops;
	rec.dev.nr_queues = 2;
	rec.dev.features_offered = V1 | 1ULL << VIRTIO_RING_F_EVENT_IDX |
				   1ULL << VIRTIO_RING_F_INDIRECT_DESC;
	memcpy(rec.dev.config, "12345678", 8);
	front_init(&rec.f);
	rec.dev.loop = &rec.f.loop;
	front_connect(&rec.f, &rec.dev);
	rec.buf = guest_alloc(&rec.f.g, 4096, 4096);
}

void backend_teardown(void)
{
	front_finish(&rec.f);
}

struct vhost_user_msg msg(uint32_t request, uint32_t size)
{
	struct vhost_user_msg m;

	memset(&m, 0, sizeof(m));
	m.hdr.request = request;
	m.hdr.size = size;
	return m;
}

uint64_t ask_state(uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_msg m = msg(request, 8);

	m.payload.state.index = index;
	m.payload.state.num = num;
	return front_request(&rec.f, &m, NULL, 0);
}

uint64_t ask_u64(uint32_t request, uint64_t v, const int *fds, unsigned int nr)
{
	struct vhost_user_msg m = msg(request, 8);

	m.payload.u64 = v;
	return front_request(&rec.f, &m, fds, nr);
}

void assert_closed(void)
{
	char c;

	front_wait_fd(&rec.f, rec.f.sock);
	cr_assert(eq(int, (int)recv(rec.f.sock, &c, 1, MSG_DONTWAIT), 0));
	front_settle(&rec.f);
	cr_assert(rec.f.loop.stopped);
}

unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

uint16_t add_in(unsigned int queue, uint32_t len)
{
	return guest_ring_add(&rec.f.ring[queue],
			      &(struct guest_buf){ rec.buf, len, true }, 1);
}
