/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/power_model.h"

#include <string.h>
#include <time.h>

#include "arch/x86_64/layout.h"

void model_poke(struct model *m)
{
	(void)pthread_mutex_lock(&m->lock);
	m->posted = true;
	(void)pthread_cond_signal(&m->cond);
	(void)pthread_mutex_unlock(&m->lock);
}

static struct model *model_of(struct power *power)
{
	return container_of(power, struct model, power);
}

static unsigned int model_inspect(struct power *power, unsigned int cpu)
{
	struct model *m = model_of(power);

	if (m->in_inspect)
		m->in_inspect(m, cpu);
	return atomic_load(&m->cpus[cpu].bits);
}

static void model_halt(struct power *power, unsigned int cpu)
{
	struct model *m = model_of(power);

	(void)atomic_fetch_or(&m->cpus[cpu].bits, VCPU_HALTED);
}

static void model_kick(struct power *power, unsigned int cpu)
{
	struct model_cpu *c = &model_of(power)->cpus[cpu];

	(void)atomic_fetch_add(&c->kicks, 1);
	(void)pthread_mutex_lock(&c->lock);
	c->kicked = true;
	(void)pthread_cond_signal(&c->cond);
	(void)pthread_mutex_unlock(&c->lock);
}

static void model_post(struct power *power)
{
	model_poke(model_of(power));
}

static void model_note(struct model *m, char what)
{
	size_t n = strlen(m->order);

	if (n + 1 < sizeof(m->order))
		m->order[n] = what;
}

static void model_quiesce(struct power *power)
{
	struct model *m = model_of(power);

	m->quiesces++;
	model_note(m, 'q');
	if (m->in_quiesce)
		m->in_quiesce(m);
	if (m->quiesce == DEVICE_AT_ONCE)
		power_quiesced(&m->power, 0, NULL);
	else if (m->quiesce == DEVICE_FAILS)
		power_quiesced(&m->power, -1, "blk0");
}

static void model_restart(struct power *power)
{
	struct model *m = model_of(power);

	m->restarts++;
	model_note(m, 'r');
	if (m->restart == DEVICE_AT_ONCE)
		power_restarted(&m->power);
}

static uint64_t model_now(struct power *power)
{
	return model_of(power)->now_ns;
}

static void model_timer_set(struct power *power, enum power_timer timer,
			    uint64_t ns)
{
	struct model *m = model_of(power);

	m->armed[timer] = true;
	m->delay_ns[timer] = ns;
}

static void model_timer_cancel(struct power *power, enum power_timer timer)
{
	model_of(power)->armed[timer] = false;
}

static void model_event(struct power *power, enum power_state state,
			const struct wake_source *source)
{
	struct model *m = model_of(power);

	m->events[m->nr_events % MODEL_EVENTS].state = state;
	m->events[m->nr_events % MODEL_EVENTS].source =
		source ? source->name : NULL;
	m->nr_events++;
}

static void model_hold(struct power *power)
{
	struct model *m = model_of(power);

	m->holds++;
	m->held = true;
	model_note(m, 'h');
}

static void model_set_clock(struct power *power, bool freeze)
{
	struct model *m = model_of(power);

	m->clock_sets++;
	m->froze = freeze;
	model_note(m, 'c');
}

static void model_release(struct power *power)
{
	struct model *m = model_of(power);

	m->releases++;
	m->held = false;
	model_note(m, 'u');
}

static void model_paused(struct power *power, bool paused)
{
	struct model *m = model_of(power);

	m->pause_events++;
	if ((m->pause_events & 1) != paused)
		abort();
}

static void model_pause_failed(struct power *power)
{
	model_of(power)->pause_failures++;
}

static void model_storm(struct power *power, const struct wake_source *source)
{
	model_of(power)->storms++;
}

static const struct power_ops model_ops = {
	.vcpu_inspect = model_inspect,
	.vcpu_halt = model_halt,
	.vcpu_kick = model_kick,
	.post = model_post,
	.quiesce = model_quiesce,
	.restart = model_restart,
	.now_ns = model_now,
	.timer_set = model_timer_set,
	.timer_cancel = model_timer_cancel,
	.event = model_event,
	.vcpus_hold = model_hold,
	.set_clock = model_set_clock,
	.vcpus_release = model_release,
	.paused = model_paused,
	.pause_failed = model_pause_failed,
	.storm = model_storm,
};

bool model_take_kick(struct model_cpu *c)
{
	bool kicked;

	(void)pthread_mutex_lock(&c->lock);
	kicked = c->kicked;
	c->kicked = false;
	(void)pthread_mutex_unlock(&c->lock);
	if (kicked)
		power_kicked(&c->m->power, c->index);
	return kicked;
}

static void model_orders(struct model_cpu *c)
{
	for (;;) {
		enum model_order order;
		bool kicked;

		(void)pthread_mutex_lock(&c->lock);
		while (!c->kicked && c->order == ORDER_NONE && !c->stop)
			(void)pthread_cond_wait(&c->cond, &c->lock);
		/* A kick first, and the order stays for the next round. */
		kicked = c->kicked;
		c->kicked = false;
		order = c->stop ? ORDER_STOP : c->order;
		if (!kicked)
			c->order = ORDER_NONE;
		(void)pthread_mutex_unlock(&c->lock);
		if (kicked) {
			power_kicked(&c->m->power, c->index);
			continue;
		}
		if (order == ORDER_STOP)
			return;
		power_ran(&c->m->power, c->index);
		if (order == ORDER_C2)
			power_c2_read(&c->m->power, c->index);
		else if (order == ORDER_S1)
			power_s1(&c->m->power, c->index);
		(void)atomic_fetch_add(&c->done, 1);
		model_poke(c->m);
	}
}

static void *model_cpu_main(void *arg)
{
	struct model_cpu *c = arg;

	if (c->guest)
		c->guest(c);
	else
		model_orders(c);
	return NULL;
}

static void model_sci(struct irq_line *line, bool level)
{
	atomic_store(&container_of(line, struct model, sci)->sci_level, level);
}

static void model_lps0(struct pmc *pmc, bool entry)
{
	power_lps0(&container_of(pmc, struct model, pmc)->power, entry);
}

void model_init(struct model *m, unsigned int nr, uint32_t wake_gpe)
{
	memset(m, 0, sizeof(*m));
	m->nr = nr;
	m->now_ns = 1000000000;
	(void)pthread_mutex_init(&m->lock, NULL);
	(void)pthread_cond_init(&m->cond, NULL);
	m->sci.set = model_sci;
	acpi_pm_init(&m->pm, LAYOUT_PORT_PM1A_EVT, LAYOUT_PORT_PM1A_CNT,
		     LAYOUT_PORT_GPE0, &m->sci);
	pmc_init(&m->pmc, LAYOUT_PORT_PMC_LPS0, LAYOUT_PORT_PMC_DSW,
		 LAYOUT_PORT_PMC_PCI);
	m->pmc.on_lps0 = model_lps0;
	power_init(&m->power, &model_ops, &m->pm, wake_gpe, nr);
	for (unsigned int i = 0; i < nr; i++) {
		m->cpus[i].m = m;
		m->cpus[i].index = i;
		(void)pthread_mutex_init(&m->cpus[i].lock, NULL);
		(void)pthread_cond_init(&m->cpus[i].cond, NULL);
	}
}

void model_start(struct model *m, void (*guest)(struct model_cpu *cpu))
{
	for (unsigned int i = 0; i < m->nr; i++) {
		m->cpus[i].guest = guest;
		if (pthread_create(&m->cpus[i].thread, NULL, model_cpu_main,
				   &m->cpus[i]))
			abort();
	}
}

void model_finish(struct model *m)
{
	power_stop(&m->power);
	for (unsigned int i = 0; i < m->nr; i++) {
		(void)pthread_mutex_lock(&m->cpus[i].lock);
		m->cpus[i].stop = true;
		(void)pthread_cond_signal(&m->cpus[i].cond);
		(void)pthread_mutex_unlock(&m->cpus[i].lock);
	}
	for (unsigned int i = 0; i < m->nr; i++) {
		(void)pthread_join(m->cpus[i].thread, NULL);
		(void)pthread_mutex_destroy(&m->cpus[i].lock);
		(void)pthread_cond_destroy(&m->cpus[i].cond);
	}
	power_finish(&m->power);
	acpi_pm_finish(&m->pm);
	(void)pthread_mutex_destroy(&m->lock);
	(void)pthread_cond_destroy(&m->cond);
}

void model_turn(struct model *m)
{
	struct timespec ts;
	bool posted;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += 1000000;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_nsec -= 1000000000L;
		ts.tv_sec++;
	}
	(void)pthread_mutex_lock(&m->lock);
	if (!m->posted)
		(void)pthread_cond_timedwait(&m->cond, &m->lock, &ts);
	posted = m->posted;
	m->posted = false;
	(void)pthread_mutex_unlock(&m->lock);
	if (posted)
		power_poll(&m->power);
}

static void model_pm1_write(struct model *m, uint64_t offset, uint16_t value)
{
	m->pm.evt_bus.ops->write(&m->pm.evt_bus, offset, &value, 2);
}

void model_pm1_enable(struct model *m, uint16_t bits)
{
	model_pm1_write(m, 2, bits);
}

void model_pm1_clear(struct model *m, uint16_t bits)
{
	model_pm1_write(m, 0, bits);
}

void model_lps0_code(struct model *m, uint8_t code)
{
	m->pmc.lps0_bus.ops->write(&m->pmc.lps0_bus, 0, &code, 1);
}

void model_gpe_write(struct model *m, uint64_t offset, uint32_t value)
{
	m->pm.gpe_bus.ops->write(&m->pm.gpe_bus, offset, &value, 4);
}

void model_order(struct model *m, unsigned int cpu, enum model_order order)
{
	struct model_cpu *c = &m->cpus[cpu];

	(void)pthread_mutex_lock(&c->lock);
	c->order = order;
	(void)pthread_cond_signal(&c->cond);
	(void)pthread_mutex_unlock(&c->lock);
}

bool model_parked(struct model *m, unsigned int cpu)
{
	bool parked;

	(void)pthread_mutex_lock(&m->power.lock);
	parked = m->power.vcpus[cpu].parked;
	(void)pthread_mutex_unlock(&m->power.lock);
	return parked;
}

enum power_report model_report(struct model *m, unsigned int cpu)
{
	enum power_report report;

	(void)pthread_mutex_lock(&m->power.lock);
	report = m->power.vcpus[cpu].report;
	(void)pthread_mutex_unlock(&m->power.lock);
	return report;
}

unsigned int model_done(struct model *m, unsigned int cpu)
{
	return atomic_load(&m->cpus[cpu].done);
}

void model_set_bits(struct model *m, unsigned int cpu, unsigned int bits)
{
	atomic_store(&m->cpus[cpu].bits, bits);
}

void model_fire(struct model *m, enum power_timer timer)
{
	if (!m->armed[timer])
		abort();
	m->armed[timer] = false;
	m->now_ns += m->delay_ns[timer];
	power_timer_fired(&m->power, timer);
}
