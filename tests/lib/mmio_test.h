/* SPDX-License-Identifier: BSD-3-Clause */
/* A transport on a scripted back end, driven by vCPUs that are threads. */
#ifndef TORPOR_TESTS_MMIO_TEST_H
#define TORPOR_TESTS_MMIO_TEST_H

#include "virtio/mmio/mmio.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/virtio_config.h>

#include "tests/lib/fake_backend.h"

#define MS	    1000000ULL
#define CONFIG_SIZE 24
#define RAM_SIZE    0x100000ULL
#define VERSION_1   (1ULL << VIRTIO_F_VERSION_1)
#define INDIRECT    (1ULL << 28)
#define NR_QUEUES   2
#define QUEUE_SIZE  64

#define ACK	    VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER	    VIRTIO_CONFIG_S_DRIVER
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define DRIVER_OK   VIRTIO_CONFIG_S_DRIVER_OK
#define FAILED	    VIRTIO_CONFIG_S_FAILED
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define LIVE	    (ACK | DRIVER | FEATURES_OK | DRIVER_OK)

static struct loop loop;
static struct mailbox mailbox;
static struct gmem gm;
static struct fake_backend fb;
static struct virtio_mmio dev;
static struct virtio_regpage page __attribute__((aligned(4096)));
static int ready = 1; /* until told */
static unsigned int holds, releases, resets, lives, failures;
static bool held;

static inline void op_hold(struct virtio_mmio *d)
{
	held = true;
	holds++;
}

static inline void op_release(struct virtio_mmio *d)
{
	held = false;
	releases++;
}

static inline void op_event(struct virtio_mmio *d, enum virtio_mmio_event event)
{
	resets += event == VIRTIO_MMIO_WAS_RESET;
	lives += event == VIRTIO_MMIO_WENT_LIVE;
}

static inline void op_failed(struct virtio_mmio *d, const char *why)
{
	failures++;
}

static struct virtio_mmio_ops ops = {
	.hold = op_hold,
	.release = op_release,
	.event = op_event,
	.failed = op_failed,
};

static inline void on_ready(struct virtio_mmio *d, int r)
{
	ready = r;
}

static inline void turn(void)
{
	cr_assert(eq(int, loop_turn(&loop, 10), 0));
}

static uint64_t suspend_offer;			  /* VIRTIO_F_SUSPEND */
static const struct virtio_mmio_foreign *foreign; /* a back end, or NULL */

static inline void begin(void)
{
	const struct virtio_mmio_config cfg = {
		.ops = &ops,
		.name = "test0",
		.device_id = 2,
		.queue_size = QUEUE_SIZE,
		.nr_queues = NR_QUEUES,
		.config_size = CONFIG_SIZE,
		.gpa = 0xd0000000,
		.page = &page,
		.vhost_fd = fb.peer,
		.deadline_ns = 5000 * MS,
		.suspend = suspend_offer,
		.suspend_deadline_ns = 1000 * MS,
		.foreign = foreign,
	};

	cr_assert(
		eq(int,
		   virtio_mmio_init(&dev, &cfg, &loop, &mailbox, &gm, on_ready),
		   0));
	while (ready == 1)
		turn();
}

static inline void setup(void)
{
	struct gmem_region reg = { .gpa = 0, .size = RAM_SIZE };

	cr_assert(eq(int, loop_init(&loop), 0));
	cr_assert(eq(int, mailbox_init(&mailbox, &loop), 0));
	reg.fd = fd_memfd_sealed("ram", RAM_SIZE, 0);
	cr_assert(eq(int, gmem_add(&gm, &reg), 0));
	fb.features =
		VERSION_1 | INDIRECT | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES;
	fb.protocol = UINT64_MAX;
	for (unsigned int i = 0; i < CONFIG_SIZE; i++)
		fb.config[i] = (uint8_t)(0x80 + i);
	fake_start(&fb);
}

static inline void setup_ready(void)
{
	setup();
	begin();
	cr_assert(eq(int, ready, 0));
}

static inline void setup_suspend(void)
{
	suspend_offer = VIRTIO_MMIO_SUSPEND_BOTH;
	setup_ready();
}

static inline void teardown(void)
{
	virtio_mmio_finish(&dev);
	fake_stop(&fb);
	mailbox_finish(&mailbox);
	loop_finish(&loop);
	gmem_finish(&gm);
}

/* ---------------------------------------------------------------- a vCPU */

struct vcpu_write {
	pthread_t thread;
	uint64_t offset;
	uint64_t value;
	uint32_t len;
	atomic_bool done;
};

static inline void *vcpu_main(void *arg)
{
	struct vcpu_write *w = arg;

	dev.bus.ops->write(&dev.bus, w->offset, &w->value, w->len);
	atomic_store(&w->done, true);
	return NULL;
}

static inline void write_begin(struct vcpu_write *w, uint64_t offset,
			       uint64_t value, uint32_t len)
{
	*w = (struct vcpu_write){ .offset = offset,
				  .value = value,
				  .len = len };
	cr_assert(eq(int, pthread_create(&w->thread, NULL, vcpu_main, w), 0));
}

static inline void write_end(struct vcpu_write *w)
{
	while (!atomic_load(&w->done))
		turn();
	(void)pthread_join(w->thread, NULL);
}

static inline void put_len(uint64_t offset, uint64_t value, uint32_t len)
{
	static struct vcpu_write w;

	write_begin(&w, offset, value, len);
	write_end(&w);
}

static inline void put(uint64_t offset, uint32_t value)
{
	put_len(offset, value, 4);
}

static inline uint32_t get(uint64_t offset)
{
	uint32_t value;

	dev.bus.ops->read(&dev.bus, offset, &value, 4);
	return value;
}

static inline uint32_t status(void)
{
	return get(VIRTIO_MMIO_STATUS);
}

static inline void put_status(uint32_t value)
{
	put(VIRTIO_MMIO_STATUS, value);
}

static inline void accept_features(uint64_t features)
{
	for (uint32_t i = 0; i < 2; i++) {
		put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		put(VIRTIO_MMIO_DRIVER_FEATURES,
		    (uint32_t)(features >> (32 * i)));
	}
}

static inline void negotiate(uint64_t features)
{
	put_status(ACK);
	put_status(ACK | DRIVER);
	accept_features(features);
	put_status(ACK | DRIVER | FEATURES_OK);
}

static inline void describe(uint32_t queue, uint32_t size, uint64_t desc,
			    uint64_t driver, uint64_t device)
{
	put(VIRTIO_MMIO_QUEUE_SEL, queue);
	put(VIRTIO_MMIO_QUEUE_NUM, size);
	put(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
	put(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(desc >> 32));
	put(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(driver >> 32));
	put(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)driver);
	put(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)device);
	put(VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(device >> 32));
}

static inline uint32_t make_ready(uint32_t queue)
{
	uint64_t base = 0x1000ULL * (queue + 1);

	describe(queue, 16, base, base + 0x400, base + 0x800);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	return get(VIRTIO_MMIO_QUEUE_READY);
}

static inline void go_live(void)
{
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(0), 1));
	cr_assert(eq(u32, make_ready(1), 1));
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE));
}

static inline unsigned int count(uint32_t request)
{
	return fake_count(&fb, request);
}

static inline void until_idle(void)
{
	while (dev.op != VIRTIO_OP_NONE)
		turn();
}

static inline bool irq_raised(void)
{
	return fd_event_drain(dev.irq_fd) > 0;
}

/* --------------------------------------------- stopped, started by the VMM */

static int moved = 1; /* until told */

static inline void on_moved(struct virtio_mmio *d, int r)
{
	cr_assert(eq(int, moved, 1), "once");
	moved = r;
}

/* Return: what was told. */
static inline int quiesce(void)
{
	moved = 1;
	virtio_mmio_quiesce(&dev, on_moved);
	while (moved == 1)
		turn();
	return moved;
}

static inline int restart(void)
{
	moved = 1;
	virtio_mmio_restart(&dev, on_moved);
	while (moved == 1)
		turn();
	return moved;
}

/* Once the process has died: no reset before the fence, and none that helps. */
static inline void die_and_recover(void)
{
	static struct vcpu_write w;

	cr_assert(eq(u32, failures, 1));
	cr_assert(virtio_mmio_is_dead(&dev));
	write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (dev.op != VIRTIO_OP_RESET)
		turn();
	cr_assert(ne(u32, status(), 0), "not before the fence");
	virtio_mmio_fenced(&dev, true);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
	/* It stays broken, and says so. */
	negotiate(VERSION_1);
	(void)make_ready(0);
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	put_len(0x100, 1, 1);
	put_status(0);
	cr_assert(eq(u32, status(), 0));
}

#endif
