/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a rig, its registers and its driver. See rig.h. */
#define _GNU_SOURCE
#include "tests/contract/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/devctl.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* None: only the test's time limit. */
#define ANSWER_DEADLINE_NS (600000 * NS_PER_MS)
/* The tests of deadlines set their own. */
#define SUSPEND_DEADLINE_NS ANSWER_DEADLINE_NS

#define VERSION_1 (1ULL << VIRTIO_F_VERSION_1)
#define RING_BITS \
	(1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC)

struct rig rig;

/* ------------------------------------------------- what the transport needs */

static void op_nothing(struct virtio_mmio *dev)
{
}

static void op_event(struct virtio_mmio *dev, enum virtio_mmio_event event)
{
	if (event == VIRTIO_MMIO_SUSPENDED)
		rig.nr_suspended++;
	/* On a busy machine a drain may take longer than a vCPU waits. */
	if (event == VIRTIO_MMIO_SUSPENDING && !rig.impatient)
		loop_timer_cancel(&rig.loop, &dev->suspend.timer);
}

static void op_failed(struct virtio_mmio *dev, const char *why)
{
	rig.failures++;
}

static void op_config_published(struct virtio_mmio *dev)
{
	const struct devctl_msg m = { .type = DEVCTL_CONFIG_PUBLISHED,
				      .generation = rig.config_told };

	if (rig.config_told)
		cr_assert(eq(sz, (size_t)send(rig.ctl, &m, sizeof(m), 0),
			     sizeof(m)));
}

static const struct virtio_mmio_ops ops = {
	.hold = op_nothing,
	.release = op_nothing,
	.event = op_event,
	.failed = op_failed,
	.config_published = op_config_published,
};

static void on_ready(struct virtio_mmio *dev, int r)
{
	rig.ready = r;
}

/* ------------------------------------------------------- vhost-user messages
 */

ssize_t __real_fd_sendmsg(int sock, const void *buf, size_t len, const int *fds,
			  size_t n_fds);
ssize_t __wrap_fd_sendmsg(int sock, const void *buf, size_t len, const int *fds,
			  size_t n_fds);

/* Counts what the front end sends; one write may hold several messages. */
ssize_t __wrap_fd_sendmsg(int sock, const void *buf, size_t len, const int *fds,
			  size_t n_fds)
{
	const uint8_t *p = buf;
	struct vhost_user_hdr hdr;

	for (size_t at = 0;
	     rig.dev.loop && sock == rig.dev.fe.fd && at + sizeof(hdr) <= len;
	     at += sizeof(hdr) + hdr.size) {
		memcpy(&hdr, p + at, sizeof(hdr));
		if (hdr.request < ARRAY_SIZE(rig.sent))
			rig.sent[hdr.request]++;
	}
	return __real_fd_sendmsg(sock, buf, len, fds, n_fds);
}

unsigned int rig_messages(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(rig.sent); i++)
		n += rig.sent[i];
	return n;
}

void rig_messages_clear(void)
{
	memset(rig.sent, 0, sizeof(rig.sent));
}

/* --------------------------------------------------------------- the process
 */

static void on_ctl(struct loop_source *src, uint32_t events)
{
	struct devctl_msg msg;
	size_t n_fds;
	ssize_t n = fd_recvmsg(rig.ctl, &msg, sizeof(msg), NULL, 0, &n_fds,
			       MSG_DONTWAIT);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		loop_remove(&rig.loop, src);
		return;
	}
	cr_assert(eq(sz, (size_t)n, sizeof(msg)));
	if (msg.type == DEVCTL_ACK)
		rig.acked = msg.generation;
	else if (msg.type != DEVCTL_CONFIG_CHANGED)
		cr_fail("control message %u", msg.type);
	else {
		rig.config_told = msg.generation;
		if (rig.hold_config)
			rig.config_held++;
		else
			virtio_mmio_config_changed(&rig.dev);
	}
}

static void on_end(struct loop_source *src, uint32_t events)
{
	loop_remove(&rig.loop, src);
	rig.ended = true;
	virtio_mmio_died(&rig.dev, "died");
}

/* Wakes the loop; the counter is the number of interrupts, never reset. */
static void on_irq(struct loop_source *src, uint32_t events)
{
}

static void on_host(struct loop_source *src, uint32_t events)
{
	rig.host_events++;
}

void rig_watch_host(int fd)
{
	if (!rig.subject)
		return;
	loop_remove(&rig.loop, &rig.host_src);
	cr_assert(zero(int, loop_add(&rig.loop, &rig.host_src, fd,
				     EPOLLIN | EPOLLET, on_host)));
}

static int device_open(void)
{
	char self[PATH_MAX] = "", path[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	cr_assert(gt(int, (int)n, 0));
	(void)snprintf(path, sizeof(path), "%s/../../torpor-device",
		       dirname(self));
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Jailed as it should be, if this machine lets us. */
static void spawner_begin(void)
{
	struct spawner_config cfg = { .device_exe_fd = device_open(),
				      .log_fd = STDERR_FILENO,
				      .mode = SANDBOX_FULL,
				      .shares = true };
	struct err err = { 0 };
	int r = -EPERM;

	cr_assert(ge(int, cfg.device_exe_fd, 0), "make torpor-device first");
#if !defined(__SANITIZE_ADDRESS__)
	/* Not with a sanitizer's libraries, which an empty root lacks. */
	r = spawner_create(&cfg, &rig.sp, &err);
#endif
	if (r < 0) {
		cfg.mode = SANDBOX_OFF;
		r = spawner_create(&cfg, &rig.sp, &err);
	}
	cr_assert(zero(int, r), "%s", err.msg);
	rig.mode = cfg.mode;
	fd_close(&cfg.device_exe_fd);
}

/* Spawns it with the fds that a VMM gives it. Return: our vhost-user end. */
static int spawn(struct spawn_request *req)
{
	struct err err = { 0 };
	int vhost[2], ctl[2];

	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				       vhost)));
	cr_assert(zero(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				       0, ctl)));
	rig.page_fd = fd_memfd_sealed("page", VIRTIO_REGPAGE_SIZE, 0);
	cr_assert(ge(int, rig.page_fd, 0));
	rig.page = mmap(NULL, VIRTIO_REGPAGE_SIZE, PROT_READ | PROT_WRITE,
			MAP_SHARED, rig.page_fd, 0);
	cr_assert(rig.page != MAP_FAILED);
	rig.wake_fd = fd_event_create();
	cr_assert(ge(int, rig.wake_fd, 0));
	req->role = rig.type->name;
	req->name = rig.type->name;
	req->vhost_fd = vhost[1];
	req->ctl_fd = ctl[1];
	req->regpage_fd = rig.page_fd;
	req->wake_fd = rig.wake_fd;
	rig.subject->open(req);
	cr_assert(zero(int, spawner_spawn(rig.sp, req, &rig.proc, &err)), "%s",
		  err.msg);
	for (unsigned int i = 0; i < req->nr_backend_fds; i++)
		(void)close(req->backend_fds[i]);
	(void)close(vhost[1]);
	(void)close(ctl[1]);
	rig.ctl = ctl[0];
	return vhost[0];
}

static void watch(void)
{
	cr_assert(zero(int, loop_add(&rig.loop, &rig.ctl_src, rig.ctl, EPOLLIN,
				     on_ctl)));
	cr_assert(zero(int, loop_add(&rig.loop, &rig.pid_src, rig.proc.pidfd,
				     EPOLLIN, on_end)));
	cr_assert(zero(int, loop_add(&rig.loop, &rig.irq_src, rig.dev.irq_fd,
				     EPOLLIN | EPOLLET, on_irq)));
	cr_assert(zero(int, loop_add(&rig.loop, &rig.used_irq_src,
				     rig.dev.used_irq_fd, EPOLLIN | EPOLLET,
				     on_irq)));
}

/* -------------------------------------------------------------------- life */

static void rings_make(void)
{
	for (unsigned int q = 0; q < rig.type->nr_queues; q++) {
		struct guest_ring *r = &rig.ring[q];

		guest_ring_init(r, &rig.g, rig.type->queue_size);
		fd_close(&r->kick_fd);
		fd_close(&r->call_fd);
		fd_close(&r->err_fd);
	}
}

void rig_start(const struct contract_subject *subject, enum dialect dialect)
{
	const struct virtio_type *type = &virtio_types[subject->type];
	struct spawn_request req = { .role = NULL };
	struct virtio_mmio_config cfg = {
		.ops = &ops,
		.name = subject->name,
		.device_id = type->id,
		.queue_size = type->queue_size,
		.nr_queues = type->nr_queues,
		.config_size = type->config_size,
		.gpa = 0xd0000000,
		.deadline_ns = ANSWER_DEADLINE_NS,
		.suspend = VIRTIO_MMIO_SUSPEND_BOTH,
		.suspend_deadline_ns = SUSPEND_DEADLINE_NS,
	};

	rig = (struct rig){ .subject = subject,
			    .type = type,
			    .dialect = dialect,
			    .page_fd = -1,
			    .ctl = -1,
			    .wake_fd = -1,
			    .proc.pidfd = -1,
			    .pid_src.fd = -1,
			    .ctl_src.fd = -1,
			    .irq_src.fd = -1,
			    .used_irq_src.fd = -1,
			    .host_src.fd = -1,
			    .ready = 1 };
	(void)signal(SIGPIPE, SIG_IGN);
	spawner_begin();
	cr_assert(zero(int, loop_init(&rig.loop)));
	cr_assert(zero(int, mailbox_init(&rig.mailbox, &rig.loop)));
	guest_init(&rig.g, RIG_RAM);
	rings_make();
	cfg.vhost_fd = spawn(&req);
	cfg.page = rig.page;
	cr_assert(
		zero(int, virtio_mmio_init(&rig.dev, &cfg, &rig.loop,
					   &rig.mailbox, &rig.g.gm, on_ready)));
	watch();
	while (rig.ready == 1)
		rig_turn();
	cr_assert(zero(int, rig.ready), "the handshake");
}

void rig_finish(void)
{
	if (!rig.subject)
		return;
	if (rig.dev.loop)
		virtio_mmio_release_waiters(&rig.dev);
	virtio_mmio_finish(&rig.dev);
	spawner_destroy(rig.sp);
	rig.subject->close();
	loop_finish(&rig.loop);
	if (rig.g.ram)
		guest_finish(&rig.g);
	if (rig.page)
		(void)munmap(rig.page, VIRTIO_REGPAGE_SIZE);
	fd_close(&rig.proc.pidfd);
	fd_close(&rig.page_fd);
	fd_close(&rig.ctl);
	fd_close(&rig.wake_fd);
}

void rig_turn(void)
{
	cr_assert(zero(int, loop_turn(&rig.loop, 1000)));
}

void rig_turn_now(void)
{
	cr_assert(zero(int, loop_turn(&rig.loop, 0)));
}

/* --------------------------------------------------------------- registers */

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;

	rig.dev.bus.ops->write(&rig.dev.bus, v->offset, &v->value, v->len);
	v->seen = rig_status();
	if (v->snap)
		snapshot_take(v->snap);
	atomic_store(&v->done, true);
	/* So that the loop looks. */
	fd_event_signal(rig.mailbox.event_fd);
	return NULL;
}

void vcpu_begin(struct vcpu *v, uint32_t offset, uint32_t value, uint32_t len)
{
	v->offset = offset;
	v->value = value;
	v->len = len;
	atomic_store(&v->done, false);
	cr_assert(zero(int, pthread_create(&v->thread, NULL, vcpu_main, v)));
}

uint32_t vcpu_end(struct vcpu *v)
{
	while (!atomic_load(&v->done))
		rig_turn();
	(void)pthread_join(v->thread, NULL);
	return v->seen;
}

void rig_put_len(uint32_t offset, uint32_t value, uint32_t len)
{
	struct vcpu v = { .snap = NULL };

	vcpu_begin(&v, offset, value, len);
	(void)vcpu_end(&v);
}

void rig_put(uint32_t offset, uint32_t value)
{
	rig_put_len(offset, value, 4);
}

uint32_t rig_put_status(uint32_t value)
{
	struct vcpu v = { .snap = NULL };

	vcpu_begin(&v, VIRTIO_MMIO_STATUS, value, 4);
	return vcpu_end(&v);
}

uint32_t rig_get(uint32_t offset)
{
	uint32_t value;

	rig.dev.bus.ops->read(&rig.dev.bus, offset, &value, sizeof(value));
	return value;
}

uint32_t rig_status(void)
{
	const uint32_t *reg =
		(const void *)(rig.page->bytes + VIRTIO_MMIO_STATUS);

	return __atomic_load_n(reg, __ATOMIC_SEQ_CST);
}

/* -------------------------------------------------------------- the driver */

static uint64_t offered(void)
{
	uint64_t f;

	rig_put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	f = (uint64_t)rig_get(VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	rig_put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return f | rig_get(VIRTIO_MMIO_DEVICE_FEATURES);
}

static void describe(unsigned int q)
{
	struct guest_ring *r = &rig.ring[q];
	const uint64_t gpas[] = { r->desc_gpa, r->avail_gpa, r->used_gpa };
	static const uint32_t regs[] = { VIRTIO_MMIO_QUEUE_DESC_LOW,
					 VIRTIO_MMIO_QUEUE_AVAIL_LOW,
					 VIRTIO_MMIO_QUEUE_USED_LOW };

	rig_put(VIRTIO_MMIO_QUEUE_SEL, q);
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_QUEUE_READY)));
	rig_put(VIRTIO_MMIO_QUEUE_NUM, r->size);
	for (unsigned int i = 0; i < 3; i++) {
		rig_put(regs[i], (uint32_t)gpas[i]);
		rig_put(regs[i] + 4, (uint32_t)(gpas[i] >> 32));
	}
	rig_put(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert(eq(u32, rig_get(VIRTIO_MMIO_QUEUE_READY), 1));
}

static void ring_clear(struct guest_ring *r)
{
	memset(r->desc, 0, r->size * sizeof(*r->desc));
	memset(r->avail, 0, sizeof(*r->avail) + (r->size + 1U) * 2U);
	memset(r->used, 0, sizeof(*r->used) + r->size * 8U + 2U);
	r->next_desc = r->avail_idx = r->last_used = 0;
}

void rig_negotiate(void)
{
	uint64_t f =
		offered() & (VERSION_1 | RING_BITS | rig.subject->features);

	cr_assert(eq(u64, f & VERSION_1, VERSION_1));
	f |= rig.dialect == V14 ? VIRTIO_MMIO_SUSPEND_V14
				: VIRTIO_MMIO_SUSPEND_DRAFT;
	(void)rig_put_status(VIRTIO_CONFIG_S_ACKNOWLEDGE);
	(void)rig_put_status(RIG_INIT);
	for (uint32_t i = 0; i < 2; i++) {
		rig_put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		rig_put(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(f >> (32 * i)));
	}
	cr_assert(eq(u32,
		     rig_put_status(RIG_INIT | VIRTIO_CONFIG_S_FEATURES_OK),
		     RIG_INIT | VIRTIO_CONFIG_S_FEATURES_OK));
	for (unsigned int q = 0; q < rig.type->nr_queues; q++) {
		ring_clear(&rig.ring[q]);
		describe(q);
	}
}

void rig_live(void)
{
	rig_negotiate();
	cr_assert(eq(u32, rig_put_status(RIG_LIVE), RIG_LIVE));
	rig.irqs_seen = rig_irqs();
	rig.subject->live();
	/* All that has come of it, so that no test meets the rest. */
	rig_round_trip();
	rig_ack(rig_get(VIRTIO_MMIO_INTERRUPT_STATUS));
	rig.irqs_seen = rig_irqs();
	/* Asks for the next interrupt. */
	(void)rig.subject->collect();
}

void rig_kick(unsigned int q)
{
	fd_event_signal(rig.dev.kick_fds[q]);
}

static uint64_t event_count(int fd_event)
{
	char path[64], text[256];
	uint64_t n = 0;
	ssize_t len;
	const char *p;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd_event);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(ge(int, fd, 0));
	len = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[len > 0 ? len : 0] = '\0';
	p = strstr(text, "eventfd-count:");
	cr_assert(p != NULL, "%s", text);
	cr_assert(eq(int, sscanf(p + 14, "%" SCNx64, &n), 1));
	return n;
}

uint64_t rig_irqs(void)
{
	return event_count(rig.dev.irq_fd) + event_count(rig.dev.used_irq_fd);
}

void rig_ack(uint32_t bits)
{
	rig.dev.bus.ops->write(&rig.dev.bus, VIRTIO_MMIO_INTERRUPT_ACK, &bits,
			       sizeof(bits));
}

/* A driver that looks at its rings only when it is told to. */
void rig_wait(void)
{
	while (rig_irqs() == rig.irqs_seen && rig.host_seen == rig.host_events)
		rig_turn();
	rig.irqs_seen = rig_irqs();
	rig.host_seen = rig.host_events;
	rig_ack(rig_get(VIRTIO_MMIO_INTERRUPT_STATUS));
}

void rig_finish_io(void)
{
	while (rig.subject->collect())
		rig_wait();
}

/* ----------------------------------------------------------------- suspend */

uint32_t rig_suspended(void)
{
	return rig.dialect == V14 ? 0x1b : 0x1f;
}

uint32_t rig_resume_value(void)
{
	return rig.dialect == V14 ? 0x1f : 0x0f;
}

void rig_suspend(void)
{
	cr_assert(eq(u32, rig_put_status(RIG_LIVE | RIG_SUSPEND),
		     rig_suspended()));
}

void rig_until_idle(void)
{
	while (rig.dev.op != VIRTIO_OP_NONE)
		rig_turn();
}

void rig_resume(void)
{
	cr_assert(eq(u32, rig_put_status(rig_resume_value()), RIG_LIVE));
	rig_until_idle();
	cr_assert(eq(u32, rig_status(), RIG_LIVE));
	for (unsigned int q = 0; q < rig.type->nr_queues; q++)
		cr_assert(rig.dev.fe.rings[q].started);
}

void rig_reset(void)
{
	uint64_t irqs;

	cr_assert(zero(u32, rig_put_status(0)));
	irqs = rig_irqs();
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS)));
	for (unsigned int q = 0; q < rig.type->nr_queues; q++) {
		rig_put(VIRTIO_MMIO_QUEUE_SEL, q);
		cr_assert(zero(u32, rig_get(VIRTIO_MMIO_QUEUE_READY)));
	}
	rig_round_trip();
	cr_assert(eq(u64, rig_irqs(), irqs), "an interrupt after a reset");
	cr_assert(zero(u32, rig_get(VIRTIO_MMIO_INTERRUPT_STATUS)));
}
