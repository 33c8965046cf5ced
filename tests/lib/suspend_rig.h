/* SPDX-License-Identifier: BSD-3-Clause */
/* A driver that suspends the transport of mmio_rig.h, in either dialect. */
#ifndef TORPOR_TESTS_LIB_SUSPEND_RIG_H
#define TORPOR_TESTS_LIB_SUSPEND_RIG_H

#include "tests/lib/mmio_rig.h"

#define SUSPEND 0x10U
/* Of the specification and of the draft; not by the names of what is tested. */
#define BIT_V14	  (1ULL << 43)
#define BIT_DRAFT (1ULL << 42)

enum dialect {
	V14,
	DRAFT,
	NONE
};
extern enum dialect mr_dialect;

/* A test in each dialect, of the suite mmio_suspend. */
#define FOR_BOTH(name)                   \
	static void name##_(void);       \
	Test(mmio_suspend, name##_v14)   \
	{                                \
		mr_dialect = V14;        \
		name##_();               \
	}                                \
	Test(mmio_suspend, name##_draft) \
	{                                \
		mr_dialect = DRAFT;      \
		name##_();               \
	}                                \
	static void name##_(void)

uint64_t mr_feature(void);
/* What is read once it is suspended, and what is written to resume. */
uint32_t mr_suspended(void);
uint32_t mr_resume_value(void);

/* With both queues. */
void mr_live_with(uint64_t features);
void mr_suspend(void);
void mr_resume(void);
/* QUIESCING: the back end drains, and the vCPU has been let go. */
void mr_quiescing(void);
/* The device comes up again, and its rings are being started. */
void mr_starting(void);
/* Status 0, and a whole cycle after it. */
void mr_reset_works(void);

#endif
