/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio-mmio transport: register writes of one to three vCPUs, answers of
 * the device process, its death and its fence, sleep and wake, in any order
 * that the VM allows. Checked all along: what the status register may show.
 *
 * The mailbox is replaced by one for a single thread: a call runs the script
 * on until the write is complete, and what the script does meanwhile may be a
 * write of another vCPU.
 */
#define _GNU_SOURCE
#include "virtio/mmio/mmio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz_peer.h"
#include "tests/fuzz/fuzz_ring.h"
#include "vmm/base/fd.h"

#define MAX_OPS	    300
#define MAX_VCPUS   3
#define PATIENCE    40 /* steps of the script until a write must be over */
#define NR_QUEUES   3
#define QUEUE_SIZE  256
#define CONFIG_SIZE 24

static struct loop loop;
static struct gmem gm;
static struct virtio_mmio dev;
static struct virtio_regpage page;
static struct fuzz_peer peer;
static struct fuzz_in *script;
static unsigned int writes, vcpus, held;
static uint32_t dialect; /* in the upper word of the features */
static bool is_ready, fence_due, moving, asleep, hung;

static void play(bool may_write);

#define SUSPEND 0x10U
#define UP	(VIRTIO_CONFIG_S_DRIVER_OK | SUSPEND)

/* ------------------------------------------------------------- invariants */

static uint32_t page_reg(uint32_t offset)
{
	uint32_t v;

	memcpy(&v, page.bytes + offset, sizeof(v));
	return v;
}

static void check_state(void)
{
	uint32_t s = dev.status;

	fuzz_check(page_reg(VIRTIO_MMIO_STATUS) == s);
	fuzz_check(!held);
	if (s & UP)
		fuzz_check(s & VIRTIO_CONFIG_S_FEATURES_OK);
	/* Status of the two dialects: 0x1b, 0x1f. */
	if (s & SUSPEND) {
		fuzz_check(!(s & VIRTIO_CONFIG_S_DRIVER_OK) ==
			   !(dev.acked & VIRTIO_MMIO_SUSPEND_DRAFT));
		fuzz_check(dev.acked & VIRTIO_MMIO_SUSPEND_BOTH);
	}
	if (s & VIRTIO_CONFIG_S_FEATURES_OK) {
		fuzz_check(s & VIRTIO_CONFIG_S_DRIVER);
		fuzz_check(!(dev.acked & ~dev.offered));
		fuzz_check((dev.acked & VIRTIO_MMIO_SUSPEND_BOTH) !=
			   VIRTIO_MMIO_SUSPEND_BOTH);
		fuzz_check(dev.acked >> VIRTIO_F_VERSION_1 & 1);
	}
	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		const struct virtio_mmio_queue *q = &dev.queues[i];

		if (q->ready)
			fuzz_check(q->size && q->size <= QUEUE_SIZE);
		if (!dev.fe.rings[i].started)
			continue;
		fuzz_check(!virtio_mmio_is_dead(&dev));
		fuzz_check(q->ready && s & UP && !(s & SUSPEND));
	}
	if (asleep && !moving && !virtio_mmio_is_dead(&dev)) {
		for (unsigned int i = 0; i < NR_QUEUES; i++)
			fuzz_check(!dev.fe.rings[i].started);
	}
}

/* ---------------------------------------------------------------- the VM */

static void vm_hold(struct virtio_mmio *d)
{
	held++;
}

static void vm_release(struct virtio_mmio *d)
{
	fuzz_check(held-- == 1);
}

static void vm_event(struct virtio_mmio *d, enum virtio_mmio_event event)
{
	switch (event) {
	case VIRTIO_MMIO_WAS_RESET:
		fuzz_check(d->status == 0);
		break;
	case VIRTIO_MMIO_SUSPENDED:
		fuzz_check(d->status & 0x10);
		break;
	default:
		fuzz_check(d->status & VIRTIO_CONFIG_S_DRIVER_OK &&
			   !(d->status & 0x10));
		break;
	}
}

static void vm_failed(struct virtio_mmio *d, const char *why)
{
	fuzz_check(virtio_mmio_is_dead(d) && !fence_due);
	fence_due = true;
}

/* Another process, perhaps. */
static int vm_respawn(struct virtio_mmio *d)
{
	int pair[2], r;

	if (hung || fuzz_u8(script) & 1)
		return -ENOENT;
	fuzz_peer_finish(&peer);
	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ==
		   0);
	fuzz_peer_init(&peer, pair[1]);
	r = virtio_mmio_respawn(d, pair[0]);
	fuzz_check(r == 0);
	return r;
}

static const struct virtio_mmio_ops vm_ops = {
	.hold = vm_hold,
	.release = vm_release,
	.event = vm_event,
	.failed = vm_failed,
	.respawn = vm_respawn,
};

static void on_ready(struct virtio_mmio *d, int r)
{
	fuzz_check(!is_ready);
	is_ready = r == 0;
}

static void on_moved(struct virtio_mmio *d, int r)
{
	fuzz_check(moving);
	moving = false;
}

static void fence(bool ok)
{
	/* What is late may tell once more. */
	if (!fence_due && !virtio_mmio_is_dead(&dev))
		return;
	fence_due = false;
	virtio_mmio_fenced(&dev, ok);
}

/* --------------------------------------------------------------- mailbox */

static sem_t waits;

/* The coordinator, which does not wait for ever for what is late. */
static void sleep_or_wake(void)
{
	if (moving)
		virtio_mmio_abandon_move(&dev);
	moving = true;
	asleep = !asleep;
	if (asleep)
		virtio_mmio_quiesce(&dev, on_moved);
	else
		virtio_mmio_restart(&dev, on_moved);
}

void mailbox_complete(struct mailbox_item *item)
{
	fuzz_check(item->done == &waits);
	item->done = NULL;
}

void mailbox_call(struct mailbox *mb, struct mailbox_item *item)
{
	item->done = &waits;
	item->fn(item);
	for (int i = 0; i < PATIENCE && item->done; i++)
		play(true);
	if (item->done && asleep)
		sleep_or_wake();
	if (item->done) {
		/* The deadline of the operation has passed. */
		hung = true;
		virtio_mmio_died(&dev, "hung");
		fuzz_peer_finish(&peer);
		for (int i = 0; i < PATIENCE && item->done; i++) {
			fuzz_turn(&loop, 4);
			fence(true);
		}
		hung = false;
	}
	fuzz_check(!item->done);
}

/* ---------------------------------------------------------------- script */

static void vcpu_write(uint32_t offset, uint64_t value, uint32_t len)
{
	uint32_t before = dev.status;
	unsigned int nth = ++writes;

	vcpus++;
	dev.bus.ops->write(&dev.bus, offset, &value, len);
	vcpus--;
	check_state();
	/* Unless another vCPU has written meanwhile. */
	if (offset != VIRTIO_MMIO_STATUS || len != 4 || nth != writes ||
	    vcpus > 0)
		return;
	if ((uint32_t)value == 0)
		fuzz_check(!dev.status || dev.life == VIRTIO_MMIO_LOST);
	else
		fuzz_check(((before ^ dev.status) & before &
			    ~(SUSPEND | VIRTIO_CONFIG_S_DRIVER_OK)) == 0);
}

static void write_any(struct fuzz_in *in)
{
	static const uint16_t regs[] = { 0x14, 0x20, 0x24, 0x30, 0x38, 0x44,
					 0x50, 0x64, 0x70, 0x80, 0x84, 0x90,
					 0x94, 0xa0, 0xa4, 0xac };
	uint8_t how = fuzz_u8(in);
	uint32_t offset = regs[how & 15], len = 4;
	uint64_t value = fuzz_u8(in);

	if (how & 0x10)
		value = fuzz_u64(in);
	if (how & 0x20) {
		offset = fuzz_u16(in) % (VIRTIO_REGPAGE_SIZE - 7);
		len = 1U << (how >> 6);
	}
	vcpu_write(offset, value, len);
}

static void write_config(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	vcpu_write(VIRTIO_MMIO_CONFIG + how % 32, fuzz_u8(in),
		   1U << (how >> 6));
}

/* What a driver does, all of it but perhaps one write. */
static void drive(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t driver[][2] = {
		{ VIRTIO_MMIO_STATUS, 0 },
		{ VIRTIO_MMIO_STATUS, 1 },
		{ VIRTIO_MMIO_STATUS, 3 },
		{ VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1 },
		{ VIRTIO_MMIO_DRIVER_FEATURES, 1 | dialect },
		{ VIRTIO_MMIO_STATUS, 11 },
		{ VIRTIO_MMIO_QUEUE_SEL, how >> 5 },
		{ VIRTIO_MMIO_QUEUE_NUM, 16 },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, FUZZ_RAM_GPA },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, FUZZ_RAM_GPA + 0x1000 },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, FUZZ_RAM_GPA + 0x2000 },
		{ VIRTIO_MMIO_QUEUE_READY, 1 },
		{ VIRTIO_MMIO_STATUS, 15 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(driver); i++) {
		if (i != (how & 0x1fU))
			vcpu_write(driver[i][0], driver[i][1], 4);
	}
}

static void peer_step(struct fuzz_in *in, uint8_t op)
{
	switch (op >> 4) {
	case 0:
		fuzz_peer_raw(&peer, in);
		break;
	case 1:
	case 2:
		fuzz_peer_answer(&peer, in, op >> 5);
		break;
	case 3: /* devctl: configuration changed */
		virtio_mmio_config_changed(&dev);
		break;
	case 4:
	case 5:
		fd_event_signal(dev.err_fd);
		break;
	case 6:
		fuzz_peer_finish(&peer);
		break;
	case 7:
		virtio_mmio_died(&dev, "killed");
		break;
	case 8:
		fence(true);
		break;
	case 9:
		fence(false);
		break;
	default:
		sleep_or_wake();
		break;
	}
}

/* One step of the script. @may_write: as another vCPU. */
static void play(bool may_write)
{
	uint8_t op = fuzz_u8(script);
	bool awake = !asleep && !moving;

	may_write = may_write && awake && vcpus < MAX_VCPUS && script->len;
	switch (op & 15) {
	case 1:
	case 2:
	case 3:
		if (may_write)
			write_any(script);
		break;
	case 4:
		if (may_write)
			write_config(script);
		break;
	case 5:
		if (may_write)
			drive(script);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		peer_step(script, op);
		break;
	default:
		fuzz_peer_answer(&peer, NULL, UINT32_MAX);
		fuzz_turn(&loop, 4);
		break;
	}
	check_state();
}

/* ------------------------------------------------------------- life cycle */

void fuzz_setup(void)
{
	fuzz_check(loop_init(&loop) == 0);
	fuzz_ram_create(&gm);
	/* To be sent; what it is, no one looks at. */
	for (unsigned int i = 0; i < gm.nr; i++)
		gm.regions[i].fd = loop.epoll_fd;
}

void fuzz_one(struct fuzz_in *in)
{
	static const uint64_t dialects[] = { 0, VIRTIO_MMIO_SUSPEND_V14,
					     VIRTIO_MMIO_SUSPEND_DRAFT,
					     VIRTIO_MMIO_SUSPEND_BOTH };
	struct virtio_mmio_config cfg = { .ops = &vm_ops,
					  .name = "fuzz0",
					  .device_id = 1,
					  .queue_size = QUEUE_SIZE,
					  .nr_queues = NR_QUEUES,
					  .config_size = CONFIG_SIZE,
					  .page = &page,
					  .deadline_ns = 1ULL << 40,
					  .suspend_deadline_ns = 1ULL << 40 };
	int pair[2];

	script = in;
	cfg.suspend = dialects[fuzz_u8(in) & 3];
	dialect = cfg.suspend == VIRTIO_MMIO_SUSPEND_BOTH
			  ? VIRTIO_MMIO_SUSPEND_V14 >> 32
			  : (uint32_t)(cfg.suspend >> 32);
	writes = vcpus = held = 0;
	is_ready = fence_due = moving = asleep = hung = false;
	memset(&page, 0, sizeof(page));
	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ==
		   0);
	cfg.vhost_fd = pair[0];
	fuzz_peer_init(&peer, pair[1]);
	fuzz_check(virtio_mmio_init(&dev, &cfg, &loop, NULL, &gm, on_ready) ==
		   0);
	for (int i = 0; i < 16 && !is_ready; i++)
		play(false);
	/* A VM whose device is not ready does not start. */
	for (int i = 0; i < MAX_OPS && in->len > 0 && is_ready; i++)
		play(true);
	fuzz_peer_finish(&peer);
	fuzz_turn(&loop, 16);
	fuzz_check(!moving && !dev.waiting && !dev.op_item);
	virtio_mmio_finish(&dev);
}

void fuzz_seeds(void)
{
	static const uint8_t sleep_and_wake[] = {
		0, 0, 0, 5, 0x1f, 0, 0, 0xa6, 0,    0,	  0xa6, 0, 0, 4, 1, 7,
		0, 0, 1, 8, 0,	  0, 0, 5,    0x1f, 0x36, 0,	1, 5, 0, 0, 0,
	};
	static const uint8_t die[] = {
		0, 0, 0,  5,	0x1f, 0,    1, 8,    0,	   0x66,
		0, 1, 8,  0,	0x86, 0,    5, 0x1f, 0x46, 0,
		1, 8, 15, 0x76, 0,    0x96, 1, 8,    0,
	};

	static const uint8_t respawn[] = {
		1,    0, 0, 0, 0, 5, 0x1f, 0, 0,    1, 8, 0x1f, 0, 0, 0x76,
		0x86, 0, 0, 0, 0, 0, 1,	   8, 0x1f, 0, 0, 0,	1, 8, 0x1f,
	};

	fuzz_seed(respawn, sizeof(respawn));
	fuzz_seed(sleep_and_wake, sizeof(sleep_and_wake));
	fuzz_seed(die, sizeof(die));
}
