/* SPDX-License-Identifier: BSD-3-Clause */
/* What the Criterion programs about the coordinator share. */
#ifndef TORPOR_TESTS_POWER_TEST_H
#define TORPOR_TESTS_POWER_TEST_H

#include "tests/lib/power_model.h"

#include <errno.h>

#define SECOND	 (1000 * NS_PER_MS)
#define BUTTONS	 (ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN)
#define WAKE_GPE (1U << 31)

static struct model m;

struct answer {
	struct power_request req;
	unsigned int calls;
	enum power_outcome outcome;
};

static inline void answered(struct power_request *req,
			    enum power_outcome outcome)
{
	struct answer *a = container_of(req, struct answer, req);

	a->calls++;
	a->outcome = outcome;
}

static inline void ask(struct answer *a, uint64_t timeout_ns)
{
	*a = (struct answer){ .req.done = answered };
	power_suspend(&m.power, &a->req, timeout_ns);
}

static inline void begin(unsigned int nr)
{
	model_init(&m, nr, 0);
	model_start(&m, NULL);
	model_pm1_enable(&m, BUTTONS);
}

static inline void teardown(void)
{
	model_finish(&m);
}

static inline enum power_state state(void)
{
	return power_get_state(&m.power);
}

static inline void all_read_c2(void)
{
	for (unsigned int i = 0; i < m.nr; i++)
		model_order(&m, i, ORDER_C2);
}

static inline void fall_asleep(void)
{
	all_read_c2();
	MODEL_UNTIL(&m, m.power.announced == POWER_SUSPENDED);
}

/* All reads have returned @n times. */
static inline void all_back(unsigned int n)
{
	for (unsigned int i = 0; i < m.nr; i++)
		MODEL_UNTIL(&m, model_done(&m, i) >= n);
}

/* It has come back, and does not try again. */
static inline void stays_awake(void)
{
	MODEL_UNTIL(&m, m.armed[POWER_TIMER_REFUSED]);
	model_fire(&m, POWER_TIMER_REFUSED);
}

static inline bool status(uint16_t bits)
{
	return (acpi_pm_get(&m.pm).pm1_sts & bits) != 0;
}

static inline bool is(const char *name, const char *wanted)
{
	return name && !strcmp(name, wanted);
}

static inline bool saw(enum power_state what)
{
	for (unsigned int i = 0; i < m.nr_events; i++) {
		if (m.events[i].state == what)
			return true;
	}
	return false;
}

#endif
