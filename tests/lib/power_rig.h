/* SPDX-License-Identifier: BSD-3-Clause */
/* What the Criterion programs about the coordinator share. */
#ifndef TORPOR_TESTS_LIB_POWER_RIG_H
#define TORPOR_TESTS_LIB_POWER_RIG_H

#include "tests/lib/power_model.h"

#include <errno.h>

#define SECOND	 (1000 * NS_PER_MS)
#define BUTTONS	 (ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN)
#define WAKE_GPE (1U << 31)

/* The coordinator under test, with its guest. */
extern struct model model;

struct answer {
	struct power_request req;
	unsigned int calls;
	enum power_outcome outcome;
};
/* Its .req.done. */
void model_answered(struct power_request *req, enum power_outcome outcome);
/* power_suspend(), whose answer goes to @a. */
void model_ask(struct answer *a, uint64_t timeout_ns);
/* @nr vCPUs follow orders; both buttons may wake. */
void model_begin(unsigned int nr);
void model_end(void);
enum power_state model_state(void);
void model_all_read_c2(void);
void model_fall_asleep(void);
/* All reads have returned @n times. */
void model_all_back(unsigned int n);
/* It has come back, and does not try again. */
void model_stays_awake(void);
bool model_status(uint16_t bits);
bool is_named(const char *name, const char *wanted);
bool model_saw(enum power_state what);

#endif
