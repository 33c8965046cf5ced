/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM's own filter: main thread and vCPU threads. On the main thread. */
#define _GNU_SOURCE
#include <errno.h>

#include "sandbox/jail.h"
#include "sandbox/policy.h"

int jail_vmm(bool connects)
{
	scmp_filter_ctx ctx = NULL;
	int r = policy_begin(SCMP_ACT_ERRNO(EPERM), &ctx);

	if (r < 0)
		return r;
	r = policy_add(ctx, &policy_vmm, false);
	if (r == 0 && connects)
		r = policy_add(ctx, &policy_vmm_connects, false);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	/* Also sets no_new_privs, for every thread. */
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}
