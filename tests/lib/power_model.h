/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest for the coordinator that is not a guest: vCPUs are threads that wait
 * for a kick or for an order where real ones are in KVM_RUN, the clock and the
 * timers are variables, devices stop when the test says so. Used by
 * tests/unit/vmm/power/power.c and tests/stress/power_stress.c; the test's own
 * thread is the main loop.
 */
#ifndef TORPOR_TESTS_LIB_POWER_MODEL_H
#define TORPOR_TESTS_LIB_POWER_MODEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/pmc.h"
#include "vmm/power/internal.h"

#define MODEL_CPUS   4
#define MODEL_EVENTS 64

enum model_order {
	ORDER_NONE,
	ORDER_C2,
	ORDER_S1,
	ORDER_STOP,
};

struct model;

struct model_cpu {
	struct model *m;
	unsigned int index;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool kicked;
	atomic_bool stop;
	enum model_order order;
	atomic_uint done; /* orders carried out */
	atomic_uint bits; /* what an inspection finds */
	atomic_uint kicks;
	/* Called instead of waiting for orders: a guest of its own. */
	void (*guest)(struct model_cpu *cpu);
};

/* How a device stops or starts. */
enum model_device {
	DEVICE_AT_ONCE,
	DEVICE_LATER, /* the test calls power_quiesced(), power_restarted() */
	DEVICE_FAILS,
};

struct model {
	struct power power;
	struct acpi_pm pm;
	struct pmc pmc;
	struct irq_line sci;
	atomic_bool sci_level;
	unsigned int nr;
	struct model_cpu cpus[MODEL_CPUS];

	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool posted;

	/* Main loop only. */
	uint64_t now_ns;
	bool armed[POWER_NR_TIMERS];
	uint64_t delay_ns[POWER_NR_TIMERS];
	enum model_device quiesce, restart;
	unsigned int quiesces, restarts; /* times asked for */
	unsigned int holds, releases, clock_sets, storms;
	bool froze;	/* the last of clock_sets */
	bool held;	/* no vCPU may run */
	char order[64]; /* hold, quiesce, clock, restart, u: release */
	unsigned int pause_events; /* odd: paused */
	unsigned int pause_failures;
	struct {
		enum power_state state;
		const char *source;
	} events[MODEL_EVENTS];
	unsigned int nr_events;
	/* Called from ops->quiesce, for what happens at that very moment. */
	void (*in_quiesce)(struct model *m);
	/* The same of ops->vcpu_inspect, on the vCPU's thread. */
	void (*in_inspect)(struct model *m, unsigned int cpu);
};
void model_poke(struct model *m);

/* Takes a kick, as KVM_RUN would. Return: whether there was one. */
bool model_take_kick(struct model_cpu *c);
void model_init(struct model *m, unsigned int nr, uint32_t wake_gpe);

/* @guest: NULL for vCPUs that follow orders. */
void model_start(struct model *m, void (*guest)(struct model_cpu *cpu));
void model_finish(struct model *m);

/* One turn of the main loop: waits a moment for something to do. */
void model_turn(struct model *m);

#define MODEL_UNTIL(m, condition)      \
	do {                           \
		while (!(condition))   \
			model_turn(m); \
	} while (0)

/* --- what the guest's software does --- */

void model_pm1_enable(struct model *m, uint16_t bits);
void model_pm1_clear(struct model *m, uint16_t bits);
void model_lps0_code(struct model *m, uint8_t code);
void model_gpe_write(struct model *m, uint64_t offset, uint32_t value);
void model_order(struct model *m, unsigned int cpu, enum model_order order);
bool model_parked(struct model *m, unsigned int cpu);

/* What a census has found of it, also of one that goes on. */
enum power_report model_report(struct model *m, unsigned int cpu);
unsigned int model_done(struct model *m, unsigned int cpu);
void model_set_bits(struct model *m, unsigned int cpu, unsigned int bits);
void model_fire(struct model *m, enum power_timer timer);

#endif
