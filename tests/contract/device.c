/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every device type must do, whatever it is: each test runs for each role
 * that needs nothing special of the host, driven over vhost-user.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <linux/fuse.h>
#include <linux/virtio_blk.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/device.h"
#include "virtio/vsock/vsock.h"
#include "vmm/base/fd.h"

#define FEATURES (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_EVENT_IDX)
#define BUF_SIZE 4096U

struct subject {
	const struct virtio_dev_ops *ops;
	/* Opens the back end, writes the role's words. */
	void (*open)(void);
	/* The host's part of a request, before it. */
	void (*host)(void);
	unsigned int queue; /* on which a request is made */
	/* Buffers of a request that can be completed at once. */
	unsigned int (*request)(struct guest_buf *bufs, uint64_t gpa);
	void (*close)(void); /* what open() has left; or NULL */
};

static struct front f;
static struct virtio_dev *dev;
static const struct subject *subject;
static char words[2][64];
static int host_fds[4] = { -1, -1, -1, -1 };
static uint64_t buf;

static void nothing(void)
{
}

/* --- rng --- */

static unsigned int rng_request(struct guest_buf *bufs, uint64_t gpa)
{
	bufs[0] = (struct guest_buf){ gpa, 64, true };
	return 1;
}

/* --- console: receives, so that requests can also wait --- */

static void console_open(void)
{
	int in[2], out[2];

	cr_assert(zero(int, pipe(in)));
	cr_assert(zero(int, pipe(out)));
	memcpy(host_fds, in, sizeof(in));
	memcpy(host_fds + 2, out, sizeof(out));
	(void)snprintf(words[0], sizeof(words[0]), "in=/proc/self/fd/%d",
		       in[0]);
	(void)snprintf(words[1], sizeof(words[1]), "out=/proc/self/fd/%d",
		       out[1]);
}

static void console_host(void)
{
	cr_assert(zero(int, fd_write_all(host_fds[1], "0123456789", 10)));
}

static unsigned int console_request(struct guest_buf *bufs, uint64_t gpa)
{
	bufs[0] = (struct guest_buf){ gpa, 4, true };
	return 1;
}

/* --- blk --- */

static void blk_open(void)
{
	int fd = fd_memfd_sealed("disk", 1 << 20, 0);

	cr_assert(ge(int, fd, 0));
	host_fds[0] = fd;
	(void)snprintf(words[0], sizeof(words[0]), "path=/proc/self/fd/%d", fd);
}

static unsigned int blk_request(struct guest_buf *bufs, uint64_t gpa)
{
	struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN };

	memcpy(guest_ptr(&f.g, gpa), &h, sizeof(h));
	bufs[0] = (struct guest_buf){ gpa, sizeof(h), false };
	bufs[1] = (struct guest_buf){ gpa + 512, 1024, true };
	bufs[2] = (struct guest_buf){ gpa + 4000, 1, true };
	return 3;
}

/* --- fs: FUSE_INIT, which any state takes --- */

static char share[] = "/tmp/torpor-contract-XXXXXX";

static void fs_open(void)
{
	cr_assert(mkdtemp(share) != NULL);
	(void)snprintf(words[0], sizeof(words[0]), "path=%s", share);
	(void)snprintf(words[1], sizeof(words[1]), "tag=contract");
}

static void fs_close(void)
{
	(void)rmdir(share);
}

static unsigned int fs_request(struct guest_buf *bufs, uint64_t gpa)
{
	struct {
		struct fuse_in_header h;
		struct fuse_init_in in;
	} m = { .h = { .len = sizeof(m), .opcode = FUSE_INIT, .unique = 1 },
		.in = { .major = 7, .minor = 31 } };

	memcpy(guest_ptr(&f.g, gpa), &m, sizeof(m));
	bufs[0] = (struct guest_buf){ gpa, sizeof(m), false };
	bufs[1] = (struct guest_buf){ gpa + 512, 1024, true };
	return 2;
}

/* --- vsock: a request for nobody, which is taken and refused --- */

static char vsock_dir[] = "/tmp/torpor-contract-v-XXXXXX";

static void vsock_open(void)
{
	cr_assert(mkdtemp(vsock_dir) != NULL);
	(void)snprintf(words[0], sizeof(words[0]), "cid=3");
	(void)snprintf(words[1], sizeof(words[1]), "path=%s/s", vsock_dir);
}

/* Somebody wants something of the guest. */
static void vsock_host(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	fd_close(&host_fds[0]);
	host_fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s",
		       words[1] + strlen("path="));
	cr_assert(zero(
		int, connect(host_fds[0], (struct sockaddr *)&sa, sizeof(sa))));
	cr_assert(zero(int, fd_write_all(host_fds[0], "CONNECT 1\n", 10)));
}

static void vsock_close(void)
{
	char path[80];

	(void)unlink(words[1] + strlen("path="));
	(void)snprintf(path, sizeof(path), "%s" VSOCK_SEQPACKET_SUFFIX,
		       words[1] + strlen("path="));
	(void)unlink(path);
	(void)rmdir(vsock_dir);
}

static unsigned int vsock_request(struct guest_buf *bufs, uint64_t gpa)
{
	struct virtio_vsock_hdr h = { .src_cid = 3,
				      .dst_cid = VSOCK_HOST_CID,
				      .type = VIRTIO_VSOCK_TYPE_STREAM,
				      .op = VIRTIO_VSOCK_OP_RST };

	memcpy(guest_ptr(&f.g, gpa), &h, sizeof(h));
	bufs[0] = (struct guest_buf){ gpa, sizeof(h), false };
	return 1;
}

static const struct subject subjects[] = {
	{ &virtio_rng_ops, nothing, nothing, 0, rng_request },
	{ &virtio_console_ops, console_open, console_host, 0, console_request },
	{ &virtio_blk_ops, blk_open, nothing, 0, blk_request },
	{ &virtio_fs_ops, fs_open, nothing, 1, fs_request, fs_close },
	{ &virtio_vsock_ops, vsock_open, vsock_host, VSOCK_TX, vsock_request,
	  vsock_close },
};

static int indexes[] = { 0, 1, 2, 3, 4 };

static struct criterion_test_params all(void)
{
	return cr_make_param_array(int, indexes, ARRAY_SIZE(indexes));
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
	char *args[3] = { NULL };

	subject = &subjects[i];
	(void)signal(SIGPIPE, SIG_IGN);
	front_init(&f);
	subject->open();
	for (int w = 0; w < 2 && words[w][0]; w++)
		args[w] = words[w];
	cr_assert(zero(int, subject->ops->create(&f.loop, args, virtio_no_fds,
						 &dev)),
		  "create %s", subject->ops->type->name);
	front_connect(&f, dev);
	buf = guest_alloc(&f.g, VIRTQ_MAX_SIZE * BUF_SIZE, 4096);
}

static void end(void)
{
	front_finish(&f);
	subject->ops->destroy(dev);
	if (subject->close)
		subject->close();
	for (int i = 0; i < 4; i++)
		fd_close(&host_fds[i]);
}

static void start(void)
{
	front_negotiate(&f, FEATURES);
	front_start_all(&f, dev->nr_queues);
}

static uint16_t add_request(unsigned int slot)
{
	struct guest_buf b[4];
	unsigned int n = subject->request(b, buf + (uint64_t)slot * BUF_SIZE);

	return guest_ring_add(&f.ring[subject->queue], b, n);
}

static void one_request(void)
{
	uint16_t head = add_request(0);

	subject->host();
	cr_assert(gt(u32, front_wait_used(&f, subject->queue, head), 0));
	/* What console_host() wrote too much is for later requests. */
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
	cr_assert(subject->ops == dev->ops);
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
		subject->host();
		guest_ring_kick(r);
		for (int turn = 0; turn < round % 4; turn++)
			cr_assert(zero(int, loop_turn(&f.loop, 0)));
		stop_all();
		for (unsigned int q = 0; q < dev->nr_queues; q++)
			(void)fd_event_drain(f.ring[q].call_fd);
		(void)fd_event_drain(f.wake_fd);

		snapshot_take(&before);
		subject->host();
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
		subject->host();
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
	subject->host();
	guest_ring_kick(&f.ring[subject->queue]);
	cr_assert(zero(int, loop_turn(&f.loop, 0)));
	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	snapshot_take(&before);
	subject->host();
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
		subject->host();
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
