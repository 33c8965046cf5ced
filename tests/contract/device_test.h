/* SPDX-License-Identifier: BSD-3-Clause */
/* A test that runs for each subject in each dialect. */
#ifndef TORPOR_TESTS_CONTRACT_DEVICE_TEST_H
#define TORPOR_TESTS_CONTRACT_DEVICE_TEST_H

#include <criterion/parameterized.h>

#include "tests/contract/rig.h"

#define DEVICE_TEST_MAX 64

/* One number says both; a parameter may hold no pointer. */
static inline struct criterion_test_params device_test_all(void)
{
	static int numbers[DEVICE_TEST_MAX];
	int n = (int)contract_nr_subjects() * NR_DIALECTS;

	for (int i = 0; i < n; i++)
		numbers[i] = i;
	return cr_make_param_array(int, numbers, (size_t)n);
}

/* Those whose @offset in struct contract_subject is not NULL. */
static inline struct criterion_test_params device_test_with(size_t offset)
{
	static int numbers[DEVICE_TEST_MAX];
	size_t n = 0;

	for (int i = 0; i < (int)contract_nr_subjects() * NR_DIALECTS; i++) {
		const char *type = (const char *)contract_subject(
			(unsigned int)i / NR_DIALECTS);

		if (*(void *const *)(const void *)(type + offset))
			numbers[n++] = i;
	}
	return cr_make_param_array(int, numbers, n);
}

#define DEVICE_TEST_(name, params, live)                                    \
	static void name(void);                                             \
	ParameterizedTestParameters(suspend, name)                          \
	{                                                                   \
		return params;                                              \
	}                                                                   \
	ParameterizedTest(int *i, suspend, name, .timeout = 480,            \
			  .fini = rig_finish)                               \
	{                                                                   \
		rig_start(contract_subject((unsigned int)*i / NR_DIALECTS), \
			  (enum dialect)(*i % NR_DIALECTS));                \
		if (live)                                                   \
			rig_live();                                         \
		name();                                                     \
	}                                                                   \
	static void name(void)

/* Begins with a live device. */
#define DEVICE_TEST(name) DEVICE_TEST_(name, device_test_all(), true)
/* The same in INIT. */
#define DEVICE_TEST_INIT(name) DEVICE_TEST_(name, device_test_all(), false)
/* Only for subjects that have this slot. */
#define DEVICE_TEST_WITH(name, slot)                                       \
	DEVICE_TEST_(                                                      \
		name,                                                      \
		device_test_with(offsetof(struct contract_subject, slot)), \
		true)

#endif
