/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/mmio_rig.h"

#include <string.h>

#include "vmm/base/fd.h"

static void op_hold(struct virtio_mmio *d)
{
	mr.held = true;
	mr.holds++;
}

static void op_release(struct virtio_mmio *d)
{
	mr.held = false;
	mr.releases++;
}

static void op_event(struct virtio_mmio *d, enum virtio_mmio_event event)
{
	mr.resets += event == VIRTIO_MMIO_WAS_RESET;
	mr.lives += event == VIRTIO_MMIO_WENT_LIVE;
}

static void op_failed(struct virtio_mmio *d, const char *why)
{
	mr.failures++;
}

struct mmio_rig mr = {
	.ops = { .hold = op_hold,
		 .release = op_release,
		 .event = op_event,
		 .failed = op_failed },
	.ready = 1,
	.moved = 1,
};

static void on_ready(struct virtio_mmio *d, int r)
{
	mr.ready = r;
}

void mr_turn(void)
{
	cr_assert(eq(int, loop_turn(&mr.loop, 10), 0));
}

void mr_begin(void)
{
	const struct virtio_mmio_config cfg = {
		.ops = &mr.ops,
		.name = "test0",
		.device_id = 2,
		.queue_size = QUEUE_SIZE,
		.nr_queues = NR_QUEUES,
		.config_size = CONFIG_SIZE,
		.gpa = 0xd0000000,
		.page = &mr.page,
		.vhost_fd = mr.fb.peer,
		.deadline_ns = 5000 * MS,
		.suspend = mr.suspend_offer,
		.suspend_deadline_ns = 1000 * MS,
		.foreign = mr.foreign,
	};

	cr_assert(eq(int,
		     virtio_mmio_init(&mr.dev, &cfg, &mr.loop, &mr.mailbox,
				      &mr.gm, on_ready),
		     0));
	while (mr.ready == 1)
		mr_turn();
}

void mr_setup(void)
{
	struct gmem_region reg = { .gpa = 0, .size = RAM_SIZE };

	cr_assert(eq(int, loop_init(&mr.loop), 0));
	cr_assert(eq(int, mailbox_init(&mr.mailbox, &mr.loop), 0));
	reg.fd = fd_memfd_sealed("ram", RAM_SIZE, 0);
	cr_assert(eq(int, gmem_add(&mr.gm, &reg), 0));
	mr.fb.features =
		VERSION_1 | INDIRECT | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES;
	mr.fb.protocol = UINT64_MAX;
	for (unsigned int i = 0; i < CONFIG_SIZE; i++)
		mr.fb.config[i] = (uint8_t)(0x80 + i);
	fake_start(&mr.fb);
}

void mr_setup_ready(void)
{
	mr_setup();
	mr_begin();
	cr_assert(eq(int, mr.ready, 0));
}

void mr_setup_suspend(void)
{
	mr.suspend_offer = VIRTIO_MMIO_SUSPEND_BOTH;
	mr_setup_ready();
}

void mr_teardown(void)
{
	virtio_mmio_finish(&mr.dev);
	fake_stop(&mr.fb);
	mailbox_finish(&mr.mailbox);
	loop_finish(&mr.loop);
	gmem_finish(&mr.gm);
}

void mr_renew(void)
{
	mr_teardown();
	mr.ready = 1;
	mr.failures = 0;
	memset(&mr.page, 0, sizeof(mr.page));
	memset(&mr.fb, 0, sizeof(mr.fb));
	memset(&mr.gm, 0, sizeof(mr.gm));
}

/* ---------------------------------------------------------------- a vCPU */

static void *vcpu_main(void *arg)
{
	struct vcpu_write *w = arg;

	mr.dev.bus.ops->write(&mr.dev.bus, w->offset, &w->value, w->len);
	atomic_store(&w->done, true);
	return NULL;
}

void mr_write_begin(struct vcpu_write *w, uint64_t offset, uint64_t value,
		    uint32_t len)
{
	*w = (struct vcpu_write){ .offset = offset,
				  .value = value,
				  .len = len };
	cr_assert(eq(int, pthread_create(&w->thread, NULL, vcpu_main, w), 0));
}

void mr_write_end(struct vcpu_write *w)
{
	while (!atomic_load(&w->done))
		mr_turn();
	(void)pthread_join(w->thread, NULL);
}

void mr_put_len(uint64_t offset, uint64_t value, uint32_t len)
{
	static struct vcpu_write w;

	mr_write_begin(&w, offset, value, len);
	mr_write_end(&w);
}

void mr_put(uint64_t offset, uint32_t value)
{
	mr_put_len(offset, value, 4);
}

uint32_t mr_get(uint64_t offset)
{
	uint32_t value;

	mr.dev.bus.ops->read(&mr.dev.bus, offset, &value, 4);
	return value;
}

uint32_t mr_status(void)
{
	return mr_get(VIRTIO_MMIO_STATUS);
}

void mr_put_status(uint32_t value)
{
	mr_put(VIRTIO_MMIO_STATUS, value);
}

void mr_accept_features(uint64_t features)
{
	for (uint32_t i = 0; i < 2; i++) {
		mr_put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		mr_put(VIRTIO_MMIO_DRIVER_FEATURES,
		       (uint32_t)(features >> (32 * i)));
	}
}

void mr_negotiate(uint64_t features)
{
	mr_put_status(ACK);
	mr_put_status(ACK | DRIVER);
	mr_accept_features(features);
	mr_put_status(ACK | DRIVER | FEATURES_OK);
}

void mr_describe(uint32_t queue, uint32_t size, uint64_t desc, uint64_t driver,
		 uint64_t device)
{
	mr_put(VIRTIO_MMIO_QUEUE_SEL, queue);
	mr_put(VIRTIO_MMIO_QUEUE_NUM, size);
	mr_put(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
	mr_put(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(desc >> 32));
	mr_put(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(driver >> 32));
	mr_put(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)driver);
	mr_put(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)device);
	mr_put(VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(device >> 32));
}

uint32_t mr_make_ready(uint32_t queue)
{
	uint64_t base = 0x1000ULL * (queue + 1);

	mr_describe(queue, 16, base, base + 0x400, base + 0x800);
	mr_put(VIRTIO_MMIO_QUEUE_READY, 1);
	return mr_get(VIRTIO_MMIO_QUEUE_READY);
}

void mr_go_live(void)
{
	mr_negotiate(VERSION_1);
	cr_assert(eq(u32, mr_make_ready(0), 1));
	cr_assert(eq(u32, mr_make_ready(1), 1));
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE));
}

unsigned int mr_count(uint32_t request)
{
	return fake_count(&mr.fb, request);
}

void mr_until_idle(void)
{
	while (mr.dev.op != VIRTIO_OP_NONE)
		mr_turn();
}

bool mr_irq_raised(void)
{
	return fd_event_drain(mr.dev.irq_fd) > 0;
}

/* --------------------------------------------- stopped, started by the VMM */

void mr_on_moved(struct virtio_mmio *d, int r)
{
	cr_assert(eq(int, mr.moved, 1), "once");
	mr.moved = r;
}

int mr_quiesce(void)
{
	mr.moved = 1;
	virtio_mmio_quiesce(&mr.dev, mr_on_moved);
	while (mr.moved == 1)
		mr_turn();
	return mr.moved;
}

int mr_restart(void)
{
	mr.moved = 1;
	virtio_mmio_restart(&mr.dev, mr_on_moved);
	while (mr.moved == 1)
		mr_turn();
	return mr.moved;
}

void mr_die_and_recover(void)
{
	static struct vcpu_write w;

	cr_assert(eq(u32, mr.failures, 1));
	cr_assert(virtio_mmio_is_dead(&mr.dev));
	mr_write_begin(&w, VIRTIO_MMIO_STATUS, 0, 4);
	while (mr.dev.op != VIRTIO_OP_RESET)
		mr_turn();
	cr_assert(ne(u32, mr_status(), 0), "not before the fence");
	virtio_mmio_fenced(&mr.dev, true);
	mr_write_end(&w);
	cr_assert(eq(u32, mr_status(), 0));
	/* It stays broken, and says so. */
	mr_negotiate(VERSION_1);
	(void)mr_make_ready(0);
	mr_put_status(LIVE);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	mr_put_len(0x100, 1, 1);
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
}
