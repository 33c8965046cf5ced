/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio/mmio.h: what the register page shows after what the driver writes,
 * with a back end that is good, slow, broken or dead. A vCPU is a thread.
 */
#include "virtio/mmio.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/virtio_config.h>

#include "tests/unit/fake_backend.h"

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
static int moved = 1;
static unsigned int holds, releases, resets, lives, failures;
static bool held;

static void op_hold(struct virtio_mmio *d)
{
	held = true;
	holds++;
}

static void op_release(struct virtio_mmio *d)
{
	held = false;
	releases++;
}

static void op_was_reset(struct virtio_mmio *d)
{
	resets++;
}

static void op_went_live(struct virtio_mmio *d)
{
	lives++;
}

static void op_failed(struct virtio_mmio *d, const char *why)
{
	failures++;
}

static const struct virtio_mmio_ops ops = {
	.hold = op_hold,
	.release = op_release,
	.was_reset = op_was_reset,
	.went_live = op_went_live,
	.failed = op_failed,
};

static void on_ready(struct virtio_mmio *d, int r)
{
	ready = r;
}

static void on_moved(struct virtio_mmio *d, int r)
{
	cr_assert(eq(int, moved, 1), "once");
	moved = r;
}

static void turn(void)
{
	cr_assert(eq(int, loop_turn(&loop, 10), 0));
}

static void begin(void)
{
	const struct virtio_mmio_config cfg = {
		.name = "test0",
		.device_id = 2,
		.queue_size = QUEUE_SIZE,
		.nr_queues = NR_QUEUES,
		.config_size = CONFIG_SIZE,
		.gpa = 0xd0000000,
		.page = &page,
		.vhost_fd = fb.peer,
		.deadline_ns = 5000 * MS,
	};

	dev.ops = &ops;
	cr_assert(
		eq(int,
		   virtio_mmio_init(&dev, &cfg, &loop, &mailbox, &gm, on_ready),
		   0));
	while (ready == 1)
		turn();
}

static void setup(void)
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

static void setup_ready(void)
{
	setup();
	begin();
	cr_assert(eq(int, ready, 0));
}

static void teardown(void)
{
	virtio_mmio_finish(&dev);
	fake_stop(&fb);
	mailbox_finish(&mailbox);
	loop_finish(&loop);
	gmem_finish(&gm);
}

TestSuite(mmio, .init = setup_ready, .fini = teardown, .timeout = 30);
TestSuite(mmio_raw, .init = setup, .fini = teardown, .timeout = 30);

/* ---------------------------------------------------------------- a vCPU */

struct vcpu_write {
	pthread_t thread;
	uint64_t offset;
	uint64_t value;
	uint32_t len;
	atomic_bool done;
};

static void *vcpu_main(void *arg)
{
	struct vcpu_write *w = arg;

	dev.bus.ops->write(&dev.bus, w->offset, &w->value, w->len);
	atomic_store(&w->done, true);
	return NULL;
}

static void write_begin(struct vcpu_write *w, uint64_t offset, uint64_t value,
			uint32_t len)
{
	*w = (struct vcpu_write){ .offset = offset,
				  .value = value,
				  .len = len };
	cr_assert(eq(int, pthread_create(&w->thread, NULL, vcpu_main, w), 0));
}

static void write_end(struct vcpu_write *w)
{
	while (!atomic_load(&w->done))
		turn();
	(void)pthread_join(w->thread, NULL);
}

static void put_len(uint64_t offset, uint64_t value, uint32_t len)
{
	static struct vcpu_write w;

	write_begin(&w, offset, value, len);
	write_end(&w);
}

static void put(uint64_t offset, uint32_t value)
{
	put_len(offset, value, 4);
}

static uint32_t get(uint64_t offset)
{
	uint32_t value;

	dev.bus.ops->read(&dev.bus, offset, &value, 4);
	return value;
}

static uint32_t status(void)
{
	return get(VIRTIO_MMIO_STATUS_REG);
}

static void put_status(uint32_t value)
{
	put(VIRTIO_MMIO_STATUS_REG, value);
}

static void accept_features(uint64_t features)
{
	for (uint32_t i = 0; i < 2; i++) {
		put(VIRTIO_MMIO_DRIVER_FEATURES_SEL_REG, i);
		put(VIRTIO_MMIO_DRIVER_FEATURES_REG,
		    (uint32_t)(features >> (32 * i)));
	}
}

static void negotiate(uint64_t features)
{
	put_status(ACK);
	put_status(ACK | DRIVER);
	accept_features(features);
	put_status(ACK | DRIVER | FEATURES_OK);
}

static void describe(uint32_t queue, uint32_t size, uint64_t desc,
		     uint64_t driver, uint64_t device)
{
	put(VIRTIO_MMIO_QUEUE_SEL_REG, queue);
	put(VIRTIO_MMIO_QUEUE_SIZE_REG, size);
	put(VIRTIO_MMIO_QUEUE_DESC_LO_REG, (uint32_t)desc);
	put(VIRTIO_MMIO_QUEUE_DESC_HI_REG, (uint32_t)(desc >> 32));
	put(VIRTIO_MMIO_QUEUE_DRIVER_HI_REG, (uint32_t)(driver >> 32));
	put(VIRTIO_MMIO_QUEUE_DRIVER_LO_REG, (uint32_t)driver);
	put(VIRTIO_MMIO_QUEUE_DEVICE_LO_REG, (uint32_t)device);
	put(VIRTIO_MMIO_QUEUE_DEVICE_HI_REG, (uint32_t)(device >> 32));
}

static uint32_t make_ready(uint32_t queue)
{
	uint64_t base = 0x1000ULL * (queue + 1);

	describe(queue, 16, base, base + 0x400, base + 0x800);
	put(VIRTIO_MMIO_QUEUE_READY_REG, 1);
	return get(VIRTIO_MMIO_QUEUE_READY_REG);
}

static void go_live(void)
{
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(0), 1));
	cr_assert(eq(u32, make_ready(1), 1));
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE));
}

static unsigned int count(uint32_t request)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < atomic_load(&fb.nr); i++)
		n += fb.log[i].hdr.request == request;
	return n;
}

/* ------------------------------------------------------ handshake, page */

Test(mmio, page_identifies_the_device)
{
	cr_assert(eq(u32, get(0x000), 0x74726976));
	cr_assert(eq(u32, get(0x004), 2));
	cr_assert(eq(u32, get(0x008), 2));
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, get(0x0b0), UINT32_MAX), "no shared memory");
	cr_assert(eq(u32, get(0x0b4), UINT32_MAX));
	cr_assert(eq(u32, get(0x0b8), UINT32_MAX));
	cr_assert(eq(u32, get(0x0bc), UINT32_MAX));
	cr_assert(eq(u32, get(0x0c0), 0), "no ring reset");
	cr_assert(
		zero(int, memcmp(page.bytes + 0x100, fb.config, CONFIG_SIZE)));
	cr_assert(eq(u32, get(0x100 + CONFIG_SIZE), 0));
}

Test(mmio, device_features_by_word_and_zero_beyond)
{
	cr_assert(eq(u32, get(0x010), (uint32_t)INDIRECT),
		  "bit 30 is not the driver's");
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL_REG, 1);
	cr_assert(eq(u32, get(0x010), 1));
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL_REG, 2);
	cr_assert(eq(u32, get(0x010), 0));
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL_REG, UINT32_MAX);
	cr_assert(eq(u32, get(0x010), 0));
}

Test(mmio_raw, features_this_transport_lacks_are_not_offered)
{
	fb.features = UINT64_MAX;
	begin();
	cr_assert(eq(int, ready, 0));
	for (unsigned int bit = 0; bit < 64; bit++) {
		bool hidden = bit == 24 || bit == 26 || bit == 30 ||
			      bit == 34 || (bit >= 37 && bit <= 43);

		cr_assert(eq(u64, dev.offered >> bit & 1, !hidden), "%u", bit);
	}
}

Test(mmio_raw, a_back_end_without_version_1_is_refused)
{
	fb.features &= ~VERSION_1;
	begin();
	cr_assert(eq(int, ready, -EPROTONOSUPPORT));
}

Test(mmio_raw, a_back_end_that_dies_in_the_handshake)
{
	fake_misbehave(&fb, VHOST_USER_SET_MEM_TABLE, FAKE_CLOSES);
	begin();
	cr_assert(eq(int, ready, -EIO));
	cr_assert(dev.dead);
	cr_assert(eq(u32, failures, 1));
	/* A driver finds a device that can only be refused. */
	put_status(LIVE);
	cr_assert(zero(u32, status() & DRIVER_OK));
}

Test(mmio, queue_beyond_the_last_reads_zero_and_ignores_writes)
{
	cr_assert(eq(u32, get(0x034), QUEUE_SIZE));
	put(VIRTIO_MMIO_QUEUE_SEL_REG, 1);
	cr_assert(eq(u32, get(0x034), QUEUE_SIZE));
	put(VIRTIO_MMIO_QUEUE_SEL_REG, NR_QUEUES);
	cr_assert(eq(u32, get(0x034), 0));
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(NR_QUEUES), 0));
	cr_assert(eq(u32, make_ready(UINT32_MAX), 0));
}

/* ------------------------------------------------------------- features */

Test(mmio, features_ok_only_for_what_is_offered)
{
	negotiate(VERSION_1 | INDIRECT);
	cr_assert(eq(u32, status(), ACK | DRIVER | FEATURES_OK));
	put_status(0);
	negotiate(VERSION_1 | 1ULL << 5);
	cr_assert(eq(u32, status(), ACK | DRIVER), "not offered");
	put_status(0);
	negotiate(INDIRECT);
	cr_assert(eq(u32, status(), ACK | DRIVER), "VERSION_1 missing");
	put_status(0);
	negotiate(VERSION_1 | 1ULL << 30);
	cr_assert(eq(u32, status(), ACK | DRIVER), "ours");
	put_status(0);
	put(VIRTIO_MMIO_DRIVER_FEATURES_SEL_REG, 2);
	put(VIRTIO_MMIO_DRIVER_FEATURES_REG, 1);
	negotiate(VERSION_1);
	cr_assert(eq(u32, status(), ACK | DRIVER), "beyond 63");
	put_status(0);
	negotiate(VERSION_1);
	cr_assert(eq(u32, status(), ACK | DRIVER | FEATURES_OK));
}

Test(mmio, features_after_features_ok_are_ignored)
{
	negotiate(VERSION_1);
	accept_features(VERSION_1 | INDIRECT | 1ULL << 5);
	cr_assert(eq(u64, dev.acked, VERSION_1));
	put_status(LIVE);
	cr_assert(eq(u64, fb.acked,
		     VERSION_1 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES));
}

Test(mmio, features_ok_needs_driver)
{
	accept_features(VERSION_1);
	put_status(ACK | FEATURES_OK);
	cr_assert(eq(u32, status(), ACK));
}

Test(mmio, driver_ok_needs_features_ok)
{
	put_status(ACK | DRIVER | DRIVER_OK);
	cr_assert(eq(u32, status(), ACK | DRIVER));
	cr_assert(eq(u32, lives, 0));
}

Test(mmio, failed_never_goes_live)
{
	negotiate(VERSION_1);
	put_status(ACK | DRIVER | FEATURES_OK | FAILED);
	put_status(LIVE | FAILED);
	cr_assert(eq(u32, status(), ACK | DRIVER | FEATURES_OK | FAILED));
}

Test(mmio, status_is_cumulative_and_foreign_bits_are_ignored)
{
	go_live();
	put_status(ACK);
	cr_assert(eq(u32, status(), LIVE));
	put_status(LIVE | 0x20 | 0x40 | 0xffffff00);
	cr_assert(eq(u32, status(), LIVE));
	put_status(LIVE | 0x10);
	cr_assert(eq(u32, status(), LIVE), "suspend was not negotiated");
}

/* ---------------------------------------------------------------- queues */

static const struct {
	const char *what;
	uint32_t size;
	uint64_t desc, driver, device;
} refused[] = {
	{ "size 0", 0, 0x1000, 0x2000, 0x3000 },
	{ "size 3", 3, 0x1000, 0x2000, 0x3000 },
	{ "size above the maximum", 128, 0x1000, 0x2000, 0x3000 },
	{ "size that truncates well", 65536 + 8, 0x1000, 0x2000, 0x3000 },
	{ "size 2^31", 1U << 31, 0x1000, 0x2000, 0x3000 },
	{ "desc unaligned", 16, 0x1008, 0x2000, 0x3000 },
	{ "driver unaligned", 16, 0x1000, 0x2001, 0x3000 },
	{ "device unaligned", 16, 0x1000, 0x2000, 0x3002 },
	{ "desc outside RAM", 16, RAM_SIZE, 0x2000, 0x3000 },
	{ "desc across the end", 16, RAM_SIZE - 16, 0x2000, 0x3000 },
	{ "driver across the end", 16, 0x1000, RAM_SIZE - 2, 0x3000 },
	{ "device across the end", 16, 0x1000, 0x2000, RAM_SIZE - 4 },
	{ "desc wraps", 16, UINT64_MAX - 15, 0x2000, 0x3000 },
	{ "device wraps", 16, 0x1000, 0x2000, UINT64_MAX - 3 },
};

Test(mmio, a_bad_queue_is_not_made_ready)
{
	negotiate(VERSION_1);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		describe(0, refused[i].size, refused[i].desc, refused[i].driver,
			 refused[i].device);
		put(VIRTIO_MMIO_QUEUE_READY_REG, 1);
		cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 0), "%s",
			  refused[i].what);
	}
	cr_assert(eq(u32, make_ready(0), 1));
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_DESC_LO_REG), 0), "write-only");
}

Test(mmio, overlapping_rings_are_the_drivers_business)
{
	negotiate(VERSION_1);
	describe(0, 16, 0x1000, 0x1000, 0x1000);
	put(VIRTIO_MMIO_QUEUE_READY_REG, 1);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 1));
}

Test(mmio, a_ready_queue_keeps_its_description)
{
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(0), 1));
	describe(0, 8, 0x7000, 0x8000, 0x9000);
	cr_assert(eq(u64, dev.queues[0].desc_gpa, 0x1000));
	cr_assert(eq(u32, dev.queues[0].size, 16));
	put(VIRTIO_MMIO_QUEUE_READY_REG, 2);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 1));
	put(VIRTIO_MMIO_QUEUE_READY_REG, 0);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 0));
	put(VIRTIO_MMIO_QUEUE_READY_REG, 2);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 0));
}

Test(mmio, ready_is_for_between_features_ok_and_driver_ok)
{
	cr_assert(eq(u32, make_ready(0), 0), "before FEATURES_OK");
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(0), 1));
	put_status(LIVE);
	cr_assert(eq(u32, make_ready(1), 0), "after DRIVER_OK");
}

Test(mmio, only_ready_queues_are_started)
{
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(1), 1));
	put_status(LIVE);
	cr_assert(eq(u32, lives, 1));
	cr_assert(eq(u32, count(VHOST_USER_SET_VRING_KICK), 1));
	cr_assert(not(dev.fe.rings[0].started));
	cr_assert(dev.fe.rings[1].started);
}

Test(mmio, queue_ready_0_waits_until_the_ring_has_stopped)
{
	static struct vcpu_write w;

	go_live();
	put(VIRTIO_MMIO_QUEUE_SEL_REG, 0);
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&w, VIRTIO_MMIO_QUEUE_READY_REG, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	cr_assert(not(atomic_load(&w.done)));
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 1));
	fake_go_on(&fb);
	write_end(&w);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 0));
	cr_assert(dev.fe.rings[1].started);
	cr_assert(eq(u32, status(), LIVE));
}

Test(mmio, queue_ready_0_of_a_dead_device_waits_for_the_fence)
{
	static struct vcpu_write w;

	go_live();
	put(VIRTIO_MMIO_QUEUE_SEL_REG, 0);
	virtio_mmio_died(&dev, "test");
	write_begin(&w, VIRTIO_MMIO_QUEUE_READY_REG, 0, 4);
	while (dev.op != VIRTIO_OP_RING)
		turn();
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 1));
	virtio_mmio_fenced(&dev, true);
	write_end(&w);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 0));
}

/* -------------------------------------------------------------- accesses */

Test(mmio, accesses_that_no_driver_makes_are_ignored)
{
	negotiate(VERSION_1);
	put_len(VIRTIO_MMIO_STATUS_REG, 0, 1);
	put_len(VIRTIO_MMIO_STATUS_REG, 0, 2);
	put_len(VIRTIO_MMIO_STATUS_REG, 0, 8);
	put_len(VIRTIO_MMIO_STATUS_REG + 2, 0, 4);
	put_len(0xfc, 0, 8);
	cr_assert(eq(u32, status(), ACK | DRIVER | FEATURES_OK));
	/* Read-only, unknown, legacy and the last ones of the page. */
	for (uint32_t offset = 0; offset < 0x30; offset += 4) {
		if (offset != 0x14 && offset != 0x20 && offset != 0x24)
			put(offset, UINT32_MAX);
	}
	put(0x34, UINT32_MAX);
	put(0x3c, UINT32_MAX);
	put(0x40, UINT32_MAX);
	put(0x60, UINT32_MAX);
	put(0xc0, 1);
	put(0xfc, UINT32_MAX);
	put(0xffc, UINT32_MAX);
	put_len(0xfff, 0xff, 1);
	cr_assert(eq(u32, get(0x000), 0x74726976));
	cr_assert(eq(u32, get(0x034), QUEUE_SIZE));
	cr_assert(eq(u32, get(0x060), 0));
	cr_assert(eq(u32, get(0x0c0), 0));
	cr_assert(eq(u32, get(0xffc), 0));
}

Test(mmio, interrupt_ack_clears_only_what_is_set)
{
	go_live();
	regpage_raise(&page, VIRTIO_INT_USED | VIRTIO_INT_CONFIG);
	put(VIRTIO_MMIO_INT_ACK_REG, VIRTIO_INT_USED | 0xfffffff0);
	cr_assert(eq(u32, get(0x060), VIRTIO_INT_CONFIG));
	put(VIRTIO_MMIO_INT_ACK_REG, UINT32_MAX);
	cr_assert(eq(u32, get(0x060), 0));
	put(VIRTIO_MMIO_INT_ACK_REG, UINT32_MAX);
	cr_assert(eq(u32, get(0x060), 0));
}

Test(mmio, kicks_of_nothing_are_ignored)
{
	put(VIRTIO_MMIO_QUEUE_NOTIFY_REG, 0);
	go_live();
	put(VIRTIO_MMIO_QUEUE_NOTIFY_REG, NR_QUEUES);
	put(VIRTIO_MMIO_QUEUE_NOTIFY_REG, UINT32_MAX);
	cr_assert(eq(u32, status(), LIVE));
}

Test(mmio, config_writes_take_effect_before_they_return)
{
	uint32_t gen = get(0x0fc);

	put_len(0x101, 0x5a, 1);
	cr_assert(eq(u8, page.bytes[0x101], 0x5a));
	cr_assert(ne(u32, get(0x0fc), gen));
	cr_assert(eq(u32, holds, releases));
	put_len(0x102, 0x1234, 2);
	cr_assert(eq(u8, page.bytes[0x103], 0x12));
	gen = get(0x0fc);
	put_len(0x103, 1, 2);
	put_len(0x100 + CONFIG_SIZE - 4, 1, 8);
	put_len(0x100 + CONFIG_SIZE, 1, 4);
	put_len(0x100 + CONFIG_SIZE - 2, 1, 4);
	cr_assert(eq(u32, get(0x0fc), gen));
	cr_assert(eq(u32, count(VHOST_USER_SET_CONFIG), 2));
}

Test(mmio, a_config_change_is_published_with_no_vcpu_running)
{
	unsigned int before = holds;
	uint32_t gen = get(0x0fc);

	go_live();
	fb.config[0] = 1;
	virtio_mmio_config_changed(&dev);
	while (get(0x0fc) == gen)
		turn();
	cr_assert(eq(u8, page.bytes[0x100], 1));
	cr_assert(eq(u32, holds, before + 1));
	cr_assert(not(held));
	cr_assert(eq(u32, get(0x060), VIRTIO_INT_CONFIG));
	cr_assert(eq(u64, fd_event_drain(dev.irq_fd), 1));
}

/* ----------------------------------------------------------------- reset */

Test(mmio, reset_waits_for_the_drain)
{
	static struct vcpu_write w;

	go_live();
	regpage_raise(&page, VIRTIO_INT_USED);
	fd_event_signal(dev.kick_fds[0]);
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&w, VIRTIO_MMIO_STATUS_REG, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	cr_assert(not(atomic_load(&w.done)));
	cr_assert(eq(u32, status(), LIVE));
	fake_go_on(&fb);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, get(0x060), 0));
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 0));
	cr_assert(eq(u64, fd_event_drain(dev.kick_fds[0]), 0));
	cr_assert(eq(u64, dev.acked, 0));
	cr_assert(eq(u64, dev.queues[0].desc_gpa, 0));
	cr_assert(eq(u32, resets, 1));
	/* And once more, from the start. */
	go_live();
	cr_assert(eq(u32, lives, 2));
	cr_assert(eq(u32, fb.set_base[0], 0));
}

Test(mmio, two_vcpus_race_reset_and_register_writes)
{
	static struct vcpu_write reset[2], select;

	go_live();
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&reset[0], VIRTIO_MMIO_STATUS_REG, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	write_begin(&reset[1], VIRTIO_MMIO_STATUS_REG, 0, 4);
	write_begin(&select, VIRTIO_MMIO_QUEUE_SEL_REG, 1, 4);
	while (!dev.waiting || !dev.waiting->next)
		turn();
	cr_assert(not(atomic_load(&reset[1].done)));
	cr_assert(not(atomic_load(&select.done)));
	fake_go_on(&fb);
	write_end(&reset[0]);
	write_end(&reset[1]);
	write_end(&select);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, resets, 1));
}

Test(mmio, reset_of_a_device_that_never_ran_is_at_once)
{
	unsigned int n = atomic_load(&fb.nr);

	negotiate(VERSION_1);
	put_status(0);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, atomic_load(&fb.nr), n));
	cr_assert(eq(u32, resets, 0), "it was not live");
}

Test(mmio, a_refused_reset_does_not_hang_the_vcpu)
{
	go_live();
	fake_misbehave(&fb, VHOST_USER_RESET_DEVICE, FAKE_REFUSES);
	put_status(0);
	cr_assert(eq(u32, status(), 0));
	cr_assert(eq(u32, failures, 0));
}

/* ---------------------------------------------------------------- faults */

Test(mmio, a_refused_start_needs_reset)
{
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(0), 1));
	fake_misbehave(&fb, VHOST_USER_SET_VRING_ADDR, FAKE_REFUSES);
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, get(0x060) & VIRTIO_INT_CONFIG, VIRTIO_INT_CONFIG));
	cr_assert(eq(u32, lives, 0));
	while (dev.fe.rings[0].started)
		turn();
	put_status(0);
	go_live();
}

Test(mmio, a_broken_ring_needs_reset_and_is_stopped)
{
	go_live();
	fd_event_signal(fb.err_fd);
	while (status() == LIVE)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, get(0x060), VIRTIO_INT_CONFIG));
	while (dev.fe.rings[0].started || dev.fe.rings[1].started)
		turn();
	/* Only a reset helps. */
	put_status(LIVE);
	put_len(0x100, 1, 1);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, count(VHOST_USER_SET_CONFIG), 0));
	put_status(0);
	go_live();
}

Test(mmio, a_stale_ring_error_is_ignored)
{
	int err;

	go_live();
	err = dup(fb.err_fd);
	/* Written by the old rings, seen only when the new ones run. */
	loop_remove(&loop, &dev.err_src);
	fd_event_signal(err);
	put_status(0);
	go_live();
	cr_assert(eq(u64, fd_event_drain(dev.err_fd), 0));
	cr_assert(eq(u32, status(), LIVE));
	(void)close(err);
}

Test(mmio, a_ring_error_without_driver_is_ignored)
{
	fd_event_signal(dev.err_fd);
	turn();
	cr_assert(eq(u32, status(), 0));
}

static void die_and_recover(void)
{
	static struct vcpu_write w;

	cr_assert(eq(u32, failures, 1));
	cr_assert(dev.dead);
	write_begin(&w, VIRTIO_MMIO_STATUS_REG, 0, 4);
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

Test(mmio, one_that_dies_live_needs_reset_and_a_fence)
{
	go_live();
	(void)shutdown(fb.fd, SHUT_RDWR);
	while (!failures)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	cr_assert(eq(u32, get(0x060), VIRTIO_INT_USED | VIRTIO_INT_CONFIG));
	cr_assert(gt(u64, fd_event_drain(dev.irq_fd), 0));
	virtio_mmio_died(&dev, "again");
	die_and_recover();
}

Test(mmio, one_that_dies_in_start)
{
	negotiate(VERSION_1);
	cr_assert(eq(u32, make_ready(0), 1));
	fake_misbehave(&fb, VHOST_USER_SET_VRING_CALL, FAKE_CLOSES);
	put_status(LIVE);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	while (!failures)
		turn();
	die_and_recover();
}

Test(mmio, one_that_dies_or_hangs_in_reset)
{
	static struct vcpu_write w;

	go_live();
	dev.fe.deadline_ns = 30 * MS;
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_MUTE);
	write_begin(&w, VIRTIO_MMIO_STATUS_REG, 0, 4);
	while (!failures)
		turn();
	cr_assert(not(atomic_load(&w.done)));
	virtio_mmio_fenced(&dev, true);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
}

Test(mmio, the_fence_before_the_end_of_file_is_as_good)
{
	static struct vcpu_write w;

	go_live();
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&w, VIRTIO_MMIO_STATUS_REG, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	virtio_mmio_died(&dev, "died");
	virtio_mmio_fenced(&dev, true);
	write_end(&w);
	cr_assert(eq(u32, status(), 0));
	fake_stop(&fb);
	while (dev.fe.busy)
		turn();
	put_status(ACK);
	cr_assert(eq(u32, status(), ACK));
}

Test(mmio, one_whose_fence_fails_is_never_reset)
{
	go_live();
	virtio_mmio_died(&dev, "died");
	virtio_mmio_fenced(&dev, false);
	put_status(0);
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	put(VIRTIO_MMIO_QUEUE_SEL_REG, 0);
	put(VIRTIO_MMIO_QUEUE_READY_REG, 0);
	cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_READY_REG), 1));
}

Test(mmio, one_that_dies_in_a_config_write_lets_the_vcpu_go)
{
	fake_misbehave(&fb, VHOST_USER_SET_CONFIG, FAKE_CLOSES);
	put_len(0x100, 1, 1);
	while (!failures)
		turn();
	put_status(ACK);
	cr_assert(eq(u32, status(), ACK));
}

/* --------------------------------------------------------------- quiesce */

static int quiesce(void)
{
	moved = 1;
	virtio_mmio_quiesce(&dev, on_moved);
	while (moved == 1)
		turn();
	return moved;
}

static int restart(void)
{
	moved = 1;
	virtio_mmio_restart(&dev, on_moved);
	while (moved == 1)
		turn();
	return moved;
}

Test(mmio, quiesce_and_restart_go_on_where_it_was)
{
	go_live();
	fb.bases[0] = 100;
	fb.bases[1] = 40000;
	cr_assert(eq(int, quiesce(), 0));
	cr_assert(eq(u32, status(), LIVE), "the guest sees nothing of it");
	cr_assert(not(dev.fe.rings[0].started || dev.fe.rings[1].started));
	cr_assert(eq(int, restart(), 0));
	cr_assert(eq(u32, fb.set_base[0], 100));
	cr_assert(eq(u32, fb.set_base[1], 40000));
	cr_assert(dev.fe.rings[0].started && dev.fe.rings[1].started);
	cr_assert(eq(u32, lives, 1));
	cr_assert(eq(u32, resets, 0));
}

Test(mmio, a_config_change_in_its_sleep_is_told_after_it)
{
	go_live();
	cr_assert(eq(int, quiesce(), 0));
	fb.config[0] = 1;
	virtio_mmio_config_changed(&dev);
	cr_assert(eq(int, dev.op, VIRTIO_OP_NONE));
	cr_assert(eq(int, restart(), 0));
	while (page.bytes[0x100] != 1)
		turn();
	cr_assert(eq(u32, get(0x060), VIRTIO_INT_CONFIG));
}

Test(mmio, a_device_that_is_not_live_has_nothing_to_stop)
{
	unsigned int n = atomic_load(&fb.nr);

	cr_assert(eq(int, quiesce(), 0));
	cr_assert(eq(int, restart(), 0));
	virtio_mmio_died(&dev, "died");
	cr_assert(eq(int, quiesce(), 0));
	cr_assert(eq(int, restart(), 0));
	cr_assert(eq(u32, atomic_load(&fb.nr), n));
}

Test(mmio, quiesce_waits_for_what_is_going_on)
{
	static struct vcpu_write w;

	go_live();
	fake_misbehave(&fb, VHOST_USER_SET_CONFIG, FAKE_WAITS);
	write_begin(&w, 0x100, 1, 1);
	while (!atomic_load(&fb.waiting))
		turn();
	moved = 1;
	virtio_mmio_quiesce(&dev, on_moved);
	cr_assert(eq(int, moved, 1));
	fake_go_on(&fb);
	write_end(&w);
	while (moved == 1)
		turn();
	cr_assert(eq(int, moved, 0));
	cr_assert(dev.quiesced);
}

Test(mmio, one_that_dies_in_quiesce_fails_it)
{
	go_live();
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_CLOSES);
	cr_assert(eq(int, quiesce(), -EIO));
	while (!failures)
		turn();
	cr_assert(eq(int, restart(), 0));
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	die_and_recover();
}

Test(mmio, one_that_dies_in_restart_needs_reset)
{
	go_live();
	cr_assert(eq(int, quiesce(), 0));
	fake_misbehave(&fb, VHOST_USER_SET_VRING_NUM, FAKE_CLOSES);
	cr_assert(eq(int, restart(), -EIO));
	while (!failures)
		turn();
	cr_assert(eq(u32, status(), LIVE | NEEDS_RESET));
	die_and_recover();
}

Test(mmio, the_end_of_the_vm_lets_waiting_vcpus_go)
{
	static struct vcpu_write reset, other;

	go_live();
	fake_misbehave(&fb, VHOST_USER_GET_VRING_BASE, FAKE_WAITS);
	write_begin(&reset, VIRTIO_MMIO_STATUS_REG, 0, 4);
	while (!atomic_load(&fb.waiting))
		turn();
	write_begin(&other, VIRTIO_MMIO_QUEUE_SEL_REG, 0, 4);
	while (!dev.waiting)
		turn();
	mailbox_close(&mailbox);
	virtio_mmio_release_waiters(&dev);
	(void)pthread_join(reset.thread, NULL);
	(void)pthread_join(other.thread, NULL);
	put_status(ACK); /* returns at once, undone */
	cr_assert(eq(u32, status(), LIVE));
}
