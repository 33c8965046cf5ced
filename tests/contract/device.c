/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every device type must do, whatever it is: each test runs for each
 * subject, in this process, driven over vhost-user.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/contract/subject.h"
#include "tests/lib/guest_ring.h"
#include "virtio/device.h"
#include "vmm/base/fd.h"

#define FEATURES (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_EVENT_IDX)
#define BUF_SIZE 4096U

static struct front f;
static struct virtio_dev *dev;
static const struct contract_subject *subject;
static const struct virtio_dev_ops *ops;
static uint64_t buf;

static struct criterion_test_params all(void)
{
	static int numbers[64];
	int n = (int)contract_nr_subjects();

	for (int i = 0; i < n; i++)
		numbers[i] = i;
	return cr_make_param_array(int, numbers, (size_t)n);
}

#define CONTRACT(name)                                            \
	static void name(void);                                   \
	ParameterizedTestParameters(contract, name)               \
	{                                                         \
		return all();                                     \
	}                                                         \
	ParameterizedTest(int *i, contract, name, .timeout = 120) \
	{                                                         \
		begin(*i);                                        \
		name();                                           \
		end();                                            \
	}                                                         \
	static void name(void)

static void begin(int i)
{
	struct spawn_request req = { .role = NULL };
	int fds[VIRTIO_DEV_MAX_FDS];

	subject = contract_subject((unsigned int)i);
	ops = virtio_type_ops[subject->type];
	(void)signal(SIGPIPE, SIG_IGN);
	front_init(&f);
	subject->open(&req);
	memcpy(fds, virtio_no_fds, sizeof(fds));
	memcpy(fds, req.backend_fds, req.nr_backend_fds * sizeof(fds[0]));
	cr_assert(zero(int, ops->create(&f.loop, req.args, fds, &dev)),
		  "create %s", subject->name);
	front_connect(&f, dev);
	buf = guest_alloc(&f.g, VIRTQ_MAX_SIZE * BUF_SIZE, 4096);
}

static void end(void)
{
	front_finish(&f);
	ops->destroy(dev);
	subject->close();
}

static void host(void)
{
	if (subject->host)
		subject->host();
}

static void start(void)
{
	front_negotiate(&f, FEATURES);
	front_start_all(&f, dev->nr_queues);
}

static uint16_t add_request(unsigned int slot)
{
	struct guest_buf b[4];
	unsigned int n =
		subject->request(&f.g, b, buf + (uint64_t)slot * BUF_SIZE);

	return guest_ring_add(&f.ring[subject->queue], b, n);
}

static void one_request(void)
{
	uint16_t head = add_request(0);

	host();
	cr_assert(gt(u32, front_wait_used(&f, subject->queue, head), 0));
	/* What host() gave too much is for later requests. */
}

static void stop_all(void)
{
	for (unsigned int q = 0; q < dev->nr_queues; q++)
		cr_assert(eq(u16, front_stop(&f, q), f.ring[q].used->idx));
}

/* ------------------------------------------------------------------- tests */

CONTRACT(offers_only_what_is_defined)
{
	const uint64_t transport = ~0ULL << 24 & ~(~0ULL << 51);
	const uint64_t known = 1ULL << VIRTIO_F_VERSION_1 |
			       1ULL << VIRTIO_RING_F_EVENT_IDX |
			       1ULL << VIRTIO_RING_F_INDIRECT_DESC;
	uint16_t size = dev->ops->type->queue_size;

	cr_assert(dev->features_offered >> VIRTIO_F_VERSION_1 & 1);
	cr_assert(zero(u64, dev->features_offered & transport & ~known));
	cr_assert(gt(uint, dev->nr_queues, 0));
	cr_assert(le(uint, dev->nr_queues, VIRTIO_DEV_MAX_QUEUES));
	cr_assert(zero(u16, size & (size - 1)));
	cr_assert(le(u16, size, VIRTQ_MAX_SIZE));
	cr_assert(ops == dev->ops);
}

CONTRACT(a_request_is_completed)
{
	start();
	one_request();
}

CONTRACT(it_works_without_event_index)
{
	front_negotiate(&f, 1ULL << VIRTIO_F_VERSION_1);
	front_start_all(&f, dev->nr_queues);
	one_request();
}

CONTRACT(stop_may_be_repeated_and_restarted)
{
	start();
	one_request();
	for (int i = 0; i < 3; i++) {
		stop_all();
		stop_all();
		cr_assert(not(dev->started));
		front_start_all(&f, dev->nr_queues);
		one_request();
	}
}

CONTRACT(stop_of_a_ring_that_never_ran_is_fine)
{
	front_negotiate(&f, FEATURES);
	for (unsigned int q = 0; q < dev->nr_queues; q++)
		cr_assert(zero(u16, front_stop(&f, q)));
}

/* Everything the device may write to but the guest's data buffers. */
struct snapshot {
	struct virtio_regpage page;
	uint8_t config[256];
	uint16_t used_idx[VIRTIO_DEV_MAX_QUEUES];
	uint8_t ram[64 << 10]; /* the rings are at the start of memory */
	uint8_t data[8 << 10];
};

static void snapshot_take(struct snapshot *s)
{
	memset(s, 0, sizeof(*s));
	s->page = *f.page;
	memcpy(s->config, dev->config, sizeof(s->config));
	for (unsigned int q = 0; q < dev->nr_queues; q++)
		s->used_idx[q] = f.ring[q].used->idx;
	memcpy(s->ram, guest_ptr(&f.g, f.ring[0].desc_gpa & ~4095ULL),
	       sizeof(s->ram));
	memcpy(s->data, guest_ptr(&f.g, buf), sizeof(s->data));
}

CONTRACT(nothing_is_touched_while_stopped_however_busy_it_was)
{
	static struct snapshot before, after;
	struct guest_ring *r = &f.ring[subject->queue];

	start();
	for (int round = 0; round < 20; round++) {
		uint16_t head;
		uint32_t len;

		while ((uint16_t)(r->avail_idx - r->last_used) < r->size / 4)
			(void)add_request(r->avail_idx % r->size);
		host();
		guest_ring_kick(r);
		for (int turn = 0; turn < round % 4; turn++)
			cr_assert(zero(int, loop_turn(&f.loop, 0)));
		stop_all();
		for (unsigned int q = 0; q < dev->nr_queues; q++)
			(void)fd_event_drain(f.ring[q].call_fd);
		(void)fd_event_drain(f.wake_fd);

		snapshot_take(&before);
		host();
		guest_ring_kick(r);
		front_settle(&f);
		snapshot_take(&after);
		cr_assert(zero(int, memcmp(&before, &after, sizeof(before))),
			  "round %d", round);
		for (unsigned int q = 0; q < dev->nr_queues; q++)
			cr_assert(zero(u64, fd_event_drain(f.ring[q].call_fd)));
		cr_assert(zero(u64, fd_event_drain(f.wake_fd)));

		front_start_all(&f, dev->nr_queues);
		while (guest_ring_reap(r, &head, &len))
			continue;
	}
	/* All of them are completed in the end, none twice. */
	while (r->last_used != r->avail_idx) {
		uint16_t head;
		uint32_t len;

		if (guest_ring_reap(r, &head, &len)) {
			cr_assert(gt(u32, len, 0));
			continue;
		}
		host();
		guest_ring_kick(r);
		front_wait_fd(&f, r->call_fd);
		(void)fd_event_drain(r->call_fd);
	}
	front_settle(&f);
	cr_assert(eq(u16, r->used->idx, r->avail_idx));
}

CONTRACT(reset_device_equals_fresh)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };
	uint8_t fresh[256];

	memcpy(fresh, dev->config, sizeof(fresh));
	start();
	one_request();
	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	cr_assert(not(dev->started));
	cr_assert(zero(u64, dev->features));
	cr_assert(zero(int, memcmp(fresh, dev->config, sizeof(fresh))));
	for (unsigned int q = 0; q < dev->nr_queues; q++) {
		cr_assert(not(dev->queues[q].running));
		cr_assert(zero(u16, dev->queues[q].in_flight));
		front_ring_reset(&f, q);
	}
	start();
	one_request();
}

CONTRACT(reset_with_requests_in_flight_leaves_nothing_behind)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };
	static struct snapshot before, after;

	start();
	for (unsigned int i = 0; i < 8; i++)
		(void)add_request(i);
	host();
	guest_ring_kick(&f.ring[subject->queue]);
	cr_assert(zero(int, loop_turn(&f.loop, 0)));
	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	snapshot_take(&before);
	host();
	front_settle(&f);
	snapshot_take(&after);
	cr_assert(zero(int, memcmp(&before, &after, sizeof(before))));
}

CONTRACT(malformed_ring_is_reported_and_survived)
{
	start();
	for (unsigned int q = 0; q < dev->nr_queues; q++) {
		uint16_t used = f.ring[q].used->idx;

		guest_ring_avail(&f.ring[q], 0xffff);
		guest_ring_kick(&f.ring[q]);
		/* A device that looks only when it has something to say. */
		host();
		front_wait_fd(&f, f.ring[q].err_fd);
		cr_assert(eq(u64, fd_event_drain(f.ring[q].err_fd), 1));
		cr_assert(eq(u16, f.ring[q].used->idx, used));
		guest_ring_kick(&f.ring[q]);
		front_settle(&f);
		cr_assert(zero(u64, fd_event_drain(f.ring[q].err_fd)));
	}
	for (unsigned int q = 0; q < dev->nr_queues; q++) {
		(void)front_stop(&f, q);
		front_ring_reset(&f, q);
	}
	front_start_all(&f, dev->nr_queues);
	one_request();
}

CONTRACT(end_of_the_front_end_ends_the_loop)
{
	start();
	for (unsigned int i = 0; i < 8; i++)
		(void)add_request(i);
	guest_ring_kick(&f.ring[subject->queue]);
	(void)shutdown(f.sock, SHUT_RDWR);
	cr_assert(zero(int, loop_run(&f.loop)));
	for (unsigned int q = 0; q < dev->nr_queues; q++)
		cr_assert(not(dev->queues[q].running));
	cr_assert(not(dev->started));
}

CONTRACT(wake_may_be_armed_in_any_state)
{
	front_wake_arm(&f, true);
	front_wake_arm(&f, false);
	start();
	front_wake_arm(&f, true);
	one_request();
	stop_all();
	front_wake_arm(&f, true);
	front_wake_arm(&f, false);
	front_settle(&f);
}

CONTRACT(config_is_readable_to_its_end_and_no_further)
{
	uint32_t size = dev->ops->type->config_size;
	uint8_t got[256];

	front_negotiate(&f, FEATURES);
	/* One that has none does not offer to be asked for it. */
	cr_assert(eq(int, f.protocol >> VHOST_USER_PROTOCOL_F_CONFIG & 1,
		     size != 0));
	if (!size)
		return;
	cr_assert(front_get_config(&f, 0, got, size));
	cr_assert(zero(int, memcmp(got, dev->config, size)));
	cr_assert(front_get_config(&f, size - 1, got, 1));
	cr_assert(not(front_get_config(&f, size, got, 1)));
}
