/* SPDX-License-Identifier: BSD-3-Clause */
/* A test that runs for each device type in each dialect. */
#ifndef TORPOR_TESTS_CONTRACT_CELL_H
#define TORPOR_TESTS_CONTRACT_CELL_H

#include <criterion/parameterized.h>

#include "tests/contract/rig.h"

#define CELL_MAX 64

/* One number says both; a parameter may hold no pointer. */
static inline struct criterion_test_params cell_all(void)
{
	static int numbers[CELL_MAX];
	int n = (int)contract_nr * NR_DIALECTS;

	for (int i = 0; i < n; i++)
		numbers[i] = i;
	return cr_make_param_array(int, numbers, (size_t)n);
}

/* Those types whose @offset in struct contract_type is not NULL. */
static inline struct criterion_test_params cell_with(size_t offset)
{
	static int numbers[CELL_MAX];
	size_t n = 0;

	for (int i = 0; i < (int)contract_nr * NR_DIALECTS; i++) {
		const char *type =
			(const char *)contract_types[i / NR_DIALECTS];

		if (*(void *const *)(const void *)(type + offset))
			numbers[n++] = i;
	}
	return cr_make_param_array(int, numbers, n);
}

#define CELL_(name, params, live)                                \
	static void name(void);                                  \
	ParameterizedTestParameters(suspend, name)               \
	{                                                        \
		return params;                                   \
	}                                                        \
	ParameterizedTest(int *i, suspend, name, .timeout = 480, \
			  .fini = rig_finish)                    \
	{                                                        \
		rig_start(contract_types[*i / NR_DIALECTS],      \
			  (enum dialect)(*i % NR_DIALECTS));     \
		if (live)                                        \
			rig_live();                              \
		name();                                          \
	}                                                        \
	static void name(void)

/* Begins with a live device. */
#define CELL(name) CELL_(name, cell_all(), true)
/* The same in INIT. */
#define CELL_INIT(name) CELL_(name, cell_all(), false)
/* Only for types that have this slot. */
#define CELL_WITH(name, slot) \
	CELL_(name, cell_with(offsetof(struct contract_type, slot)), true)

#endif
