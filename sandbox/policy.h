/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seccomp allow-lists as tables: one array per role in policy_roles.c, those
 * for the VMM in policy_vmm.c and one for the spawner in policy_spawner.c, a
 * reason beside every rule. policy.c turns tables into a libseccomp filter, so
 * that other architectures come for free. Spec: seccomp(2).
 */
#ifndef TORPOR_SANDBOX_POLICY_H
#define TORPOR_SANDBOX_POLICY_H

#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/util.h"

enum policy_test {
	POLICY_ANY,   /* whatever the arguments */
	POLICY_EQ,    /* (argument & mask) == value */
	POLICY_SELF,  /* argument is the caller's own process id */
	POLICY_ERRNO, /* denied with errno `value`, not a violation */
	POLICY_KILL,  /* ends the process, whatever the default action */
};

struct policy_rule {
	int nr;	      /* SCMP_SYS() */
	uint8_t test; /* enum policy_test */
	uint8_t arg;  /* argument number */
	uint64_t mask, value;
	/* And (argument @arg2 & @mask2) == 0. @mask2 0: no second test. */
	uint8_t arg2;
	uint64_t mask2;
};

/* Several rules for one system call: any of them allows it. */
#define POLICY_ALLOW(name)                          \
	{                                           \
		SCMP_SYS(name), POLICY_ANY, 0, 0, 0 \
	}
#define POLICY_ALLOW_SELF(name, arg)                   \
	{                                              \
		SCMP_SYS(name), POLICY_SELF, arg, 0, 0 \
	}
#define POLICY_DENY(name, error)                          \
	{                                                 \
		SCMP_SYS(name), POLICY_ERRNO, 0, 0, error \
	}
#define POLICY_NEVER(name)                           \
	{                                            \
		SCMP_SYS(name), POLICY_KILL, 0, 0, 0 \
	}
#define POLICY_ALLOW_MASK(name, arg, mask, value)           \
	{                                                   \
		SCMP_SYS(name), POLICY_EQ, arg, mask, value \
	}
/* Neither @bits of argument @arg nor @bits2 of @arg2. */
#define POLICY_ALLOW_WITHOUT(name, arg, bits, arg2, bits2)           \
	{                                                            \
		SCMP_SYS(name), POLICY_EQ, arg, bits, 0, arg2, bits2 \
	}
/* For arguments of 32 bits: the kernel ignores the other half, so do we. */
#define POLICY_ALLOW_EQ(name, arg, value) \
	POLICY_ALLOW_MASK(name, arg, 0xffffffffULL, value)

struct policy_table {
	const struct policy_rule *rules;
	unsigned int nr_rules;
};

struct policy_role {
	const char *name;
	struct policy_table table; /* beside policy_common */
	uint64_t caps;		   /* kept, if held; a bit each, mostly none */
	/*
	 * RLIMIT_DATA: bytes of memory of its own (heap, stacks of threads),
	 * and as many more for each fd that it may have. Guest memory is not
	 * the process's own.
	 */
	uint64_t data_bytes;
	uint32_t data_bytes_per_fd;
};

extern const struct policy_table policy_common; /* every device */
extern const struct policy_role policy_roles[];
extern const unsigned int policy_nr_roles;
extern const struct policy_table policy_vmm_every;    /* all its threads */
extern const struct policy_table policy_dialler;      /* see jail_dialler() */
extern const struct policy_table policy_vmm;	      /* its main thread */
extern const struct policy_table policy_vcpu;	      /* its vCPU threads */
extern const struct policy_table policy_vcpu_vfio;    /* with --vfio */
extern const struct policy_table policy_files_vfio;   /* ... pm=deep */
extern const struct policy_table policy_vmm_files;    /* its worker */
extern const struct policy_table policy_vmm_relay;    /* consoles' copiers */
extern const struct policy_table policy_vmm_never;    /* beside both */
extern const struct policy_table policy_vmm_connects; /* with --vsock */
extern const struct policy_table policy_spawner;

/* NULL if there is no such role. */
const struct policy_role *policy_find(const char *role);

/*
 * Adds the rules of @table to @ctx. @names_only: every system call that the
 * table allows in some form is allowed in any form.
 * Return: 0 or -errno.
 */
int policy_add(scmp_filter_ctx ctx, const struct policy_table *table,
	       bool names_only) must_check;

/*
 * A filter with the default action @action, which system calls of another
 * ABI (32 bit, x32) get too. Return: 0 and *ret (seccomp_release()), -errno.
 */
int policy_begin(uint32_t action, scmp_filter_ctx *ret) must_check;

#endif
