/* SPDX-License-Identifier: BSD-3-Clause */
/* What a rig's process does and costs, and what it may not touch. See rig.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/contract/rig.h"
#include "virtio/devctl.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* Pages that malloc keeps, a stack that went one deeper. */
#define ROOM_KIB 128

/* --------------------------------------------------------------- snapshots */

void snapshot_take(struct snapshot *s)
{
	s->irqs = rig_irqs();
	memcpy(&s->page, rig.page, sizeof(s->page));
	memcpy(s->ram, rig.g.ram, sizeof(s->ram));
}

static void same_bytes(const uint8_t *a, const uint8_t *b, size_t n,
		       const char *what, const char *when)
{
	for (size_t i = 0; i < n; i++)
		cr_assert(a[i] == b[i], "%s: %s byte %#zx: %#x became %#x",
			  when, what, i, a[i], b[i]);
}

void snapshot_same(const struct snapshot *a, const struct snapshot *b,
		   const char *when)
{
	cr_assert(eq(u64, a->irqs, b->irqs), "%s", when);
	if (memcmp(&a->page, &b->page, sizeof(a->page)) != 0)
		same_bytes(a->page.bytes, b->page.bytes, sizeof(a->page),
			   "register page", when);
	if (memcmp(a->ram, b->ram, sizeof(a->ram)) != 0)
		same_bytes(a->ram, b->ram, sizeof(a->ram), "RAM", when);
}

/* The used ring as it was in the snapshot. */
static uint16_t used_idx(const struct snapshot *s, const struct guest_ring *r)
{
	uint16_t idx;

	memcpy(&idx, s->ram + (r->used_gpa - GUEST_RAM_GPA) + 2, sizeof(idx));
	return idx;
}

void rig_assert_drained(const struct snapshot *s)
{
	uint32_t isr;
	bool news = false;

	memcpy(&isr, s->page.bytes + VIRTIO_MMIO_INTERRUPT_STATUS, sizeof(isr));
	for (unsigned int q = 0; q < rig.type->nr_queues; q++) {
		const struct guest_ring *r = &rig.ring[q];
		uint16_t used = used_idx(s, r);

		cr_assert(eq(u16, rig.dev.fe.rings[q].base, used),
			  "queue %u has something in flight", q);
		news |= used != r->last_used;
	}
	if (!news)
		return;
	cr_assert(isr & VIRTIO_MMIO_INT_VRING, "used, and not told");
	cr_assert(gt(u64, s->irqs, rig.irqs_seen), "used, and no interrupt");
}

/* ------------------------------------------------------------- the process */

static void ask(uint32_t type, uint64_t arg)
{
	const struct devctl_msg msg = { .type = type,
					.generation = ++rig.generation,
					.arg = arg };

	cr_assert(eq(sz,
		     (size_t)fd_sendmsg(rig.ctl, &msg, sizeof(msg), NULL, 0),
		     sizeof(msg)));
	while (rig.acked != rig.generation)
		rig_turn();
}

/*
 * What was ready when the first question came is handled in the same turn or
 * in one before; what that made ready, and a turn that was cut short, in the
 * ones after.
 */
void rig_round_trip(void)
{
	for (unsigned int i = 0; i < 4; i++)
		ask(DEVCTL_LOG_LEVEL, (uint64_t)log_get_level());
}

void rig_arm(bool on)
{
	ask(DEVCTL_WAKE_ARM, on);
}

static void signal_process(int sig)
{
	cr_assert(zero(int, (int)syscall(SYS_pidfd_send_signal, rig.proc.pidfd,
					 sig, NULL, 0)));
}

/* Text behind the name in /proc/PID/task/TID/stat: "S 1 2 ...". */
static const char *task_stat(const char *tid, char *text, size_t size)
{
	char path[300];
	const char *p;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/stat",
		       (int)rig.proc.pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	n = read(fd, text, size - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	p = strrchr(text, ')');
	return p && p[1] ? p + 2 : NULL;
}

/* Calls @fn for each task. */
static void each_task(void (*fn)(const char *stat, uint64_t *sum),
		      uint64_t *sum)
{
	char path[64], text[512];
	const struct dirent *e;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)rig.proc.pid);
	d = opendir(path);
	cr_assert(d != NULL);
	while ((e = readdir(d))) {
		const char *stat =
			e->d_name[0] == '.'
				? NULL
				: task_stat(e->d_name, text, sizeof(text));

		if (stat)
			fn(stat, sum);
	}
	(void)closedir(d);
}

static void add_running(const char *stat, uint64_t *sum)
{
	*sum += stat[0] != 'T';
}

static void add_awake(const char *stat, uint64_t *sum)
{
	*sum += stat[0] == 'R';
}

static void until_none(void (*fn)(const char *stat, uint64_t *sum))
{
	uint64_t sum;

	do {
		sum = 0;
		(void)sched_yield();
		each_task(fn, &sum);
	} while (sum);
}

void rig_until_asleep(void)
{
	until_none(add_awake);
}

void rig_freeze(void)
{
	signal_process(SIGSTOP);
	until_none(add_running);
}

void rig_thaw(void)
{
	signal_process(SIGCONT);
}

void rig_kill(void)
{
	signal_process(SIGKILL);
	while (!rig.ended)
		rig_turn();
	cr_assert(eq(u32, rig.failures, 1));
	cr_assert(virtio_mmio_is_dead(&rig.dev));
}

unsigned int rig_fds(void)
{
	unsigned int n = 0;
	char path[64];
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)rig.proc.pid);
	d = opendir(path);
	cr_assert(d != NULL, "%s", path);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

uint64_t rig_anon_kib(void)
{
	char path[64], line[128];
	uint64_t kib = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup",
		       (int)rig.proc.pid);
	f = fopen(path, "re");
	cr_assert(f != NULL, "%s", path);
	while (fgets(line, sizeof(line), f) &&
	       sscanf(line, "Anonymous: %" SCNu64, &kib) != 1)
		;
	(void)fclose(f);
	return kib;
}

void rig_assert_flat(uint64_t kib)
{
#if defined(__SANITIZE_ADDRESS__)
	(void)kib; /* it keeps what was freed */
#else
	cr_assert(le(u64, rig_anon_kib(), kib + ROOM_KIB));
#endif
}
