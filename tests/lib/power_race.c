/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/power_race.h"

#include <sched.h>
#include <stdlib.h>

static atomic_uint cycle;      /* the guest may sleep up to this one */
static atomic_uint woken_in;   /* ... and has woken from this one */
static atomic_uint cpus_awake; /* vCPUs out of the port in this cycle */

static void ipi(struct model *model, unsigned int cpu)
{
	(void)atomic_fetch_or(&model->cpus[cpu].bits, VCPU_PENDING);
}

/* Interrupts are taken: vCPU 0's are the SCI, the others' an IPI. */
static void take(struct model_cpu *c, unsigned int now)
{
	struct model *model = c->m;

	(void)atomic_fetch_and(&c->bits, ~VCPU_PENDING);
	if (c->index != 0 || !atomic_load(&model->sci_level))
		return;
	model_pm1_clear(model, ACPI_PM1_PWRBTN);
	atomic_store(&woken_in, now);
	for (unsigned int i = 1; i < model->nr; i++)
		ipi(model, i);
}

static void racing_guest(struct model_cpu *c)
{
	struct model *model = c->m;
	unsigned int now = 0;

	while (!c->stop) {
		(void)model_take_kick(c);
		if (atomic_load(&cycle) == now) {
			sched_yield();
			continue;
		}
		now++;
		if (c->index == 0)
			power_lps0(&model->power, true);
		while (atomic_load(&woken_in) != now) {
			power_c2_read(&model->power, c->index);
			power_ran(&model->power, c->index);
			take(c, now);
			(void)model_take_kick(c);
			if (c->stop)
				return;
		}
		if (c->index == 0)
			power_lps0(&model->power, false);
		(void)atomic_fetch_add(&cpus_awake, 1);
		model_poke(model);
	}
}

static void racing_sci(struct irq_line *line, bool level)
{
	struct model *model = container_of(line, struct model, sci);

	atomic_store(&model->sci_level, level);
	if (level)
		ipi(model, 0);
}

unsigned int power_race(struct model *m, unsigned int rounds, unsigned int seed)
{
	unsigned int slept = 0;

	model_init(m, MODEL_CPUS, 0);
	m->sci.set = racing_sci;
	model_pm1_enable(m, ACPI_PM1_PWRBTN);
	model_start(m, racing_guest);
	for (unsigned int n = 1; n <= rounds; n++) {
		uint64_t before = m->power.cycles;

		atomic_store(&cpus_awake, 0);
		m->quiesce = rand_r(&seed) & 1 ? DEVICE_LATER : DEVICE_AT_ONCE;
		m->restart = rand_r(&seed) & 1 ? DEVICE_LATER : DEVICE_AT_ONCE;
		atomic_store(&cycle, n);
		for (int turns = rand_r(&seed) % 12; turns > 0; turns--) {
			model_turn(m);
			power_quiesced(&m->power, 0, NULL);
		}
		power_wake(&m->power, &m->power.powerbtn);
		while (atomic_load(&cpus_awake) < m->nr) {
			model_turn(m);
			power_quiesced(&m->power, 0, NULL);
			power_restarted(&m->power);
		}
		/* One may have gone back to the port after LPS0 exit. */
		while (m->power.announced != POWER_RUNNING) {
			model_turn(m);
			if (m->armed[POWER_TIMER_SHALLOW])
				model_fire(m, POWER_TIMER_SHALLOW);
		}
		power_source_clear(&m->power, &m->power.powerbtn);
		slept += m->power.cycles > before;
	}
	return slept;
}
