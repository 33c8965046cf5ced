/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Used event to interrupt handler, for either irqchip: two VMs of one vCPU
 * each, made of torpor's own parts, take turns. A sample is a write of the
 * eventfd that a device process would write; the guest's handler stores its
 * time stamp counter and rings a doorbell (ioeventfd) that ends the sample.
 * The guest's counter is paired with ours by pings through memory, before and
 * after: where a KVM adjusts it in between, only the time there and back is
 * known. One vCPU thread each, and the main thread.
 *
 *	irq_latency HALTED_SAMPLES RUNNING_SAMPLES PAYLOAD
 */
#define _GNU_SOURCE
#include "tests/bench/irq_latency.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "arch/x86_64/irqchip.h"
#include "arch/x86_64/layout.h"
#include "tests/bench/sample.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"
#include "vmm/machine/vcpu.h"

#define RAM_BYTES (16ULL << 20)
#define BLOCK	  50 /* samples of one VM before it is the other's turn */
#define PINGS_MIN 200
#define PINGS_MAX 50000
#define PAIRED_US 10   /* the counters must be known this well */
#define GIVE_UP	  5000 /* ms without the doorbell */
#define MAX_N	  100000

struct machine {
	const char *name;
	enum irqchip_mode mode;
	int vm_fd;
	struct gmem gm;
	struct bus pio, mmio;
	struct bus_dev com1;
	struct irqchip irqchip;
	struct vcpu_set vcpus;
	volatile struct latency_page *page;
	int event, doorbell; /* eventfds */
	double offset;	     /* guest TSC minus ours */
	double offset_error; /* at most, microseconds */
};

struct series {
	double *one_way, *round_trip; /* microseconds */
	unsigned int n;
};

static double ticks_per_us;

static uint64_t rdtsc(void)
{
	return __builtin_ia32_rdtsc();
}

static void measure_ticks(void)
{
	const struct timespec ts = { .tv_nsec = 100000000 };
	uint64_t ns = sample_now_ns(CLOCK_MONOTONIC), tsc = rdtsc();

	(void)nanosleep(&ts, NULL);
	tsc = rdtsc() - tsc;
	ns = sample_now_ns(CLOCK_MONOTONIC) - ns;
	ticks_per_us = (double)tsc * 1000 / (double)ns;
}

/* ---------------------------------------------------------------- the VM */

static void on_ran(struct vcpu *vcpu)
{
}

static bool on_port_read(struct vcpu *vcpu, uint16_t port, void *data,
			 uint32_t len)
{
	return false;
}

static void on_eoi(struct vcpu *vcpu, uint8_t vector)
{
	struct machine *m = vcpu->set->ctx;

	irqchip_eoi(&m->irqchip, vector);
}

static void on_end(struct vcpu *vcpu, enum vcpu_end end, const char *why)
{
	struct machine *m = vcpu->set->ctx;

	log_err("%s: the guest stopped: %s", m->name, why);
}

static const struct vcpu_ops ops = {
	.ran = on_ran,
	.kicked = on_ran,
	.port_read = on_port_read,
	.eoi = on_eoi,
	.ended = on_end,
};

/* What a guest that faults says. */
static void com1_write(struct bus_dev *dev, uint64_t offset, const void *data,
		       uint32_t len)
{
	if (offset == 0)
		(void)!write(STDERR_FILENO, data, 1);
}

static const struct bus_ops com1_ops = { .name = "com1", .write = com1_write };

static int map_ram(struct machine *m)
{
	struct gmem_region region = { .size = RAM_BYTES };
	struct kvm_userspace_memory_region slot = { .memory_size = RAM_BYTES };
	void *page;
	int r;

	region.fd = r = fd_memfd_sealed("guest-ram", RAM_BYTES, 0);
	if (r >= 0)
		r = gmem_add(&m->gm, &region);
	if (r < 0)
		return r;
	slot.userspace_addr = (uint64_t)(uintptr_t)m->gm.regions[0].hva;
	r = gmem_span(&m->gm, LATENCY_PAGE, sizeof(*m->page), &page);
	if (r < 0)
		return r;
	m->page = page;
	return kvm_set_memory(m->vm_fd, &slot);
}

static int make_vm(struct machine *m, int kvm)
{
	int r;

	m->vm_fd = r = kvm_create_vm(kvm);
	if (r >= 0)
		r = kvm_set_identity_map_addr(m->vm_fd, LAYOUT_IDENTITY_MAP);
	if (r >= 0)
		r = kvm_set_tss_addr(m->vm_fd, LAYOUT_TSS);
	if (r >= 0)
		r = irqchip_init(&m->irqchip, m->vm_fd, m->mode);
	if (r >= 0)
		r = map_ram(m);
	if (r >= 0)
		r = irqchip_add_to_bus(&m->irqchip, &m->mmio);
	m->com1 = (struct bus_dev){ .ops = &com1_ops,
				    .base = LAYOUT_PORT_SERIAL,
				    .size = 8 };
	if (r >= 0)
		r = bus_add(&m->pio, &m->com1);
	if (r >= 0)
		r = vcpu_set_init(&m->vcpus, kvm, m->vm_fd, 1, &ops, m, &m->pio,
				  &m->mmio);
	m->event = m->doorbell = -1;
	if (r >= 0)
		m->event = r = fd_event_create();
	if (r >= 0)
		m->doorbell = r = fd_event_create();
	if (r >= 0)
		r = irqchip_add_irqfd(&m->irqchip, m->event, LATENCY_GSI);
	if (r >= 0)
		r = kvm_ioeventfd(m->vm_fd, LATENCY_DOORBELL, m->doorbell, 1,
				  true);
	return r < 0 ? r : 0;
}

static int start(struct machine *m, int kvm, const char *payload)
{
	const struct arch_config cfg = {
		.kernel_path = payload,
		.cmdline = "",
		.mem_bytes = RAM_BYTES,
		.nr_vcpus = 1,
		.nr_ioapic_pins = m->irqchip.nr_pins,
		.has_pic = m->mode == IRQCHIP_KERNEL,
		.invariant_tsc = -1,
	};
	struct arch_entry entry;
	struct err err = { "" };
	int r = arch_load(&cfg, &m->gm, &entry, &err);

	if (r == 0)
		r = arch_vcpu_setup(&cfg, kvm, m->vcpus.vcpus[0].fd, 0, &entry,
				    &err);
	if (r < 0) {
		log_err("%s", err.msg);
		return r;
	}
	return vcpu_set_start(&m->vcpus);
}

/* ---------------------------------------------------------- the samples */

static int wait_doorbell(const struct machine *m)
{
	struct pollfd p = { .fd = m->doorbell, .events = POLLIN };

	if (poll(&p, 1, GIVE_UP) != 1) {
		log_err("%s: no interrupt in %d ms", m->name, GIVE_UP);
		return -ETIMEDOUT;
	}
	(void)fd_event_drain(m->doorbell);
	return 0;
}

static int order(struct machine *m, enum latency_order next)
{
	shared_store_release(&m->page->order, next);
	fd_event_signal(m->event);
	return wait_doorbell(m);
}

static int ping(struct machine *m, uint64_t *ret_before, uint64_t *ret_after)
{
	uint64_t n = m->page->ping + 1, end;

	end = sample_now_ns(CLOCK_MONOTONIC) + GIVE_UP * 1000000ULL;
	*ret_before = rdtsc();
	shared_store_release(&m->page->ping, n);
	for (unsigned int i = 0; i % 64 || sample_now_ns(CLOCK_MONOTONIC) < end;
	     i++) {
		if (shared_load_acquire(&m->page->pong) != n)
			continue;
		/* After the load: we may lose the CPU at any moment. */
		*ret_after = rdtsc();
		return 0;
	}
	log_err("%s: the guest does not answer", m->name);
	return -ETIMEDOUT;
}

/*
 * The guest read its counter between our two readings: the shortest of many
 * pings bounds the difference of the counters best.
 */
static int pair_clocks(struct machine *m)
{
	uint64_t before, after;
	double best = -1;
	int r;

	for (int i = 0; i < PINGS_MAX; i++) {
		/* Enough, unless we never had a CPU beside the guest's. */
		if (i >= PINGS_MIN && best / 2 < PAIRED_US * ticks_per_us)
			break;
		r = ping(m, &before, &after);
		if (r < 0)
			return r;
		if (best >= 0 && (double)(after - before) >= best)
			continue;
		best = (double)(after - before);
		m->offset = (double)(int64_t)(m->page->pong_tsc - before) -
			    best / 2;
	}
	m->offset_error = best / 2 / ticks_per_us;
	return 0;
}

static int sample(struct machine *m, struct series *s)
{
	const struct timespec settle = { .tv_nsec = 100000 };
	uint64_t before, after;
	int r;

	/* The guest is back in its halt or loop before the next one. */
	(void)nanosleep(&settle, NULL);
	before = rdtsc();
	fd_event_signal(m->event);
	r = wait_doorbell(m);
	after = rdtsc();
	if (r < 0)
		return r;
	s->one_way[s->n] =
		((double)(int64_t)(m->page->irq_tsc - before) - m->offset) /
		ticks_per_us;
	s->round_trip[s->n] = (double)(after - before) / ticks_per_us;
	s->n++;
	return 0;
}

/* @n samples of each machine, in turns; the other one is halted meanwhile. */
static int measure(struct machine machines[2], enum latency_order state,
		   struct series series[2], unsigned int n)
{
	int r = 0;

	for (unsigned int turn = 0; series[1].n < n && r == 0; turn++) {
		struct machine *m = &machines[turn % 2];
		struct series *s = &series[turn % 2];

		r = order(m, state);
		for (int i = 0; i < BLOCK && s->n < n && r == 0; i++)
			r = sample(m, s);
		if (r == 0)
			r = order(m, LATENCY_HALTED);
	}
	return r;
}

static void report_one(const struct machine *m, const char *state,
		       const char *what, double *us, unsigned int n)
{
	printf("irq %s %s %s n=%u us p50=%.1f p99=%.1f\n", m->name, state, what,
	       n, sample_median(us, n), sample_percentile(us, n, 99));
}

static void report(const struct machine machines[2], const char *state,
		   struct series series[2], bool paired)
{
	unsigned int n = series[0].n;

	for (int i = 0; i < 2; i++) {
		if (paired)
			report_one(&machines[i], state, "to-handler",
				   series[i].one_way, n);
		report_one(&machines[i], state, "and-back",
			   series[i].round_trip, n);
	}
	if (paired)
		printf("irq ratio %s to-handler kernel/split=%.2f\n", state,
		       sample_median(series[1].one_way, n) /
			       sample_median(series[0].one_way, n));
	printf("irq ratio %s and-back kernel/split=%.2f\n", state,
	       sample_median(series[1].round_trip, n) /
		       sample_median(series[0].round_trip, n));
}

/* Pairs again. Return: 1 if the counters kept their distance, 0, -errno. */
static int still_paired(struct machine *m)
{
	double offset = m->offset, error = m->offset_error, moved;
	int r = order(m, LATENCY_PAIR);

	if (r == 0)
		r = pair_clocks(m);
	if (r == 0)
		r = order(m, LATENCY_HALTED);
	moved = (m->offset - offset) / ticks_per_us;
	printf("irq %s counters moved-us=%.1f error-us=%.1f\n", m->name, moved,
	       error);
	error += m->offset_error;
	return r < 0 ? r
		     : error <= 2 * PAIRED_US && moved >= -error &&
			       moved <= error;
}

static int run_state(struct machine machines[2], const char *name,
		     enum latency_order state, struct series series[2],
		     unsigned int n)
{
	int r, paired = 1;

	series[0].n = series[1].n = 0;
	r = measure(machines, state, series, n);
	for (int i = 0; i < 2 && r >= 0; i++) {
		r = still_paired(&machines[i]);
		paired = paired && r;
	}
	if (r < 0)
		return r;
	report(machines, name, series, paired);
	return 0;
}

static int run(struct machine machines[2], int kvm, unsigned int halted,
	       unsigned int running, const char *payload)
{
	struct series series[2];
	unsigned int n = MAX(halted, running);
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		series[i].one_way = calloc(n, sizeof(double));
		series[i].round_trip = calloc(n, sizeof(double));
		if (!series[i].one_way || !series[i].round_trip)
			return -ENOMEM;
		r = make_vm(&machines[i], kvm);
		if (r == 0)
			r = start(&machines[i], kvm, payload);
		if (r == 0)
			r = pair_clocks(&machines[i]);
		if (r == 0)
			r = order(&machines[i], LATENCY_HALTED);
	}
	if (r == 0 && halted)
		r = run_state(machines, "halted", LATENCY_HALTED, series,
			      halted);
	if (r == 0 && running)
		r = run_state(machines, "running", LATENCY_RUNNING, series,
			      running);
	return r;
}

static unsigned int count_gsis(enum irqchip_mode mode)
{
	unsigned int n = 0;

	while (irqchip_virtio_gsi(mode, n) >= 0)
		n++;
	return n;
}

int main(int argc, char **argv)
{
	static struct machine machines[2] = {
		{ .name = "split", .mode = IRQCHIP_SPLIT },
		{ .name = "kernel", .mode = IRQCHIP_KERNEL },
	};
	unsigned long halted = argc == 4 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned long running = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	_cleanup_fd_ int kvm = -1;
	int r;

	if (halted + running == 0 || halted > MAX_N || running > MAX_N) {
		(void)fprintf(stderr, "usage: irq_latency HALTED_SAMPLES "
				      "RUNNING_SAMPLES PAYLOAD\n");
		return 2;
	}
	log_init("irq_latency", STDERR_FILENO, LOG_LEVEL_INFO);
	for (int i = 0; i < 2; i++)
		printf("irq %s gsis=%u\n", machines[i].name,
		       count_gsis(machines[i].mode));
	measure_ticks();
	kvm = r = kvm_open();
	if (r >= 0)
		r = run(machines, kvm, (unsigned int)halted,
			(unsigned int)running, argv[3]);
	for (int i = 0; i < 2; i++)
		vcpu_set_finish(&machines[i].vcpus);
	if (r < 0)
		log_err("failed: %s", strerror(-r));
	return r < 0;
}
