/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/power_rig.h"

#include <string.h>

struct model model;

void model_answered(struct power_request *req, enum power_outcome outcome)
{
	struct answer *a = container_of(req, struct answer, req);

	a->calls++;
	a->outcome = outcome;
}

void model_ask(struct answer *a, uint64_t timeout_ns)
{
	*a = (struct answer){ .req.done = model_answered };
	power_suspend(&model.power, &a->req, timeout_ns);
}

void model_begin(unsigned int nr)
{
	model_init(&model, nr, 0);
	model_start(&model, NULL);
	model_pm1_enable(&model, BUTTONS);
}

void model_end(void)
{
	model_finish(&model);
}

enum power_state model_state(void)
{
	return power_get_state(&model.power);
}

void model_all_read_c2(void)
{
	for (unsigned int i = 0; i < model.nr; i++)
		model_order(&model, i, ORDER_C2);
}

void model_fall_asleep(void)
{
	model_all_read_c2();
	MODEL_UNTIL(&model, model.power.announced == POWER_SUSPENDED);
}

void model_all_back(unsigned int n)
{
	for (unsigned int i = 0; i < model.nr; i++)
		MODEL_UNTIL(&model, model_done(&model, i) >= n);
}

void model_stays_awake(void)
{
	MODEL_UNTIL(&model, model.armed[POWER_TIMER_REFUSED]);
	model_fire(&model, POWER_TIMER_REFUSED);
}

bool model_status(uint16_t bits)
{
	return (acpi_pm_get(&model.pm).pm1_sts & bits) != 0;
}

bool is_named(const char *name, const char *wanted)
{
	return name && !strcmp(name, wanted);
}

bool model_saw(enum power_state what)
{
	for (unsigned int i = 0; i < model.nr_events; i++) {
		if (model.events[i].state == what)
			return true;
	}
	return false;
}
