/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The seccomp tables as data: what is in them, what must never be, and that
 * every one makes a filter, for other architectures too.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandbox/policy.h"
#include "virtio/types.h"
#include "vmm/base/fd.h"

static const struct policy_rule *find(const struct policy_table *table, int nr)
{
	for (unsigned int i = 0; i < table->nr_rules; i++) {
		if (table->rules[i].nr == nr)
			return &table->rules[i];
	}
	return NULL;
}

static bool allows(const struct policy_table *table, int nr)
{
	const struct policy_rule *rule = find(table, nr);

	return rule && rule->test != POLICY_ERRNO && rule->test != POLICY_KILL;
}

static bool known(const char *role)
{
	const struct policy_role *r = policy_find(role);

	return r && strcmp(r->name, role) == 0;
}

static bool same_rule(const struct policy_rule *a, const struct policy_rule *b)
{
	return a->nr == b->nr && a->test == b->test && a->arg == b->arg &&
	       a->mask == b->mask && a->value == b->value &&
	       a->arg2 == b->arg2 && a->mask2 == b->mask2;
}

static void no_rule_twice(const struct policy_table *table, const char *name)
{
	for (unsigned int i = 0; i < table->nr_rules; i++) {
		for (unsigned int j = 0; j < i; j++)
			cr_assert(ne(int,
				     same_rule(&table->rules[i],
					       &table->rules[j]),
				     true),
				  "%s: rules %u and %u", name, j, i);
	}
}

Test(policy, every_role_of_the_program_has_a_table, .timeout = 120)
{
	cr_assert(eq(u32, policy_nr_roles, VIRTIO_NR_TYPES));
	for (unsigned int i = 0; i < VIRTIO_NR_TYPES; i++)
		cr_assert(known(virtio_types[i].name), "%s",
			  virtio_types[i].name);
}

Test(policy, unknown_role_has_none, .timeout = 120)
{
	cr_assert(not(known("f")));
	cr_assert(not(known("")));
	cr_assert(not(known("blk0")));
}

/* The one role that opens files: it finds a shared directory, no more. */
static bool may_open(const struct policy_role *role)
{
	return strcmp(role->name, "fs") == 0;
}

/* The one role that takes connections, on listening sockets it is given. */
static bool may_accept(const struct policy_role *role)
{
	return strcmp(role->name, "vsock") == 0;
}

Test(policy, no_device_gets_at_the_host, .timeout = 120)
{
	static const int never[] = {
		SCMP_SYS(execve),
		SCMP_SYS(execveat),
		SCMP_SYS(open),
		SCMP_SYS(openat),
		SCMP_SYS(openat2),
		SCMP_SYS(socket),
		SCMP_SYS(connect),
		SCMP_SYS(bind),
		SCMP_SYS(accept),
		SCMP_SYS(accept4),
		SCMP_SYS(ptrace),
		SCMP_SYS(fork),
		SCMP_SYS(vfork),
		SCMP_SYS(clone3),
		SCMP_SYS(unshare),
		SCMP_SYS(setns),
		/* What is put into a ring, a filter does not see. */
		SCMP_SYS(io_uring_setup),
		SCMP_SYS(io_uring_register),
		SCMP_SYS(mount),
		SCMP_SYS(kill),
		SCMP_SYS(tkill),
		SCMP_SYS(process_vm_readv),
		SCMP_SYS(process_vm_writev),
		SCMP_SYS(pidfd_getfd),
		SCMP_SYS(seccomp),
		SCMP_SYS(memfd_create),
		SCMP_SYS(bpf),
		SCMP_SYS(userfaultfd),
		SCMP_SYS(keyctl),
		SCMP_SYS(setuid),
		SCMP_SYS(pkey_mprotect),
		SCMP_SYS(dup),
		SCMP_SYS(remap_file_pages),
		SCMP_SYS(shmat),
	};

	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		cr_assert(not(allows(&policy_common, never[i])), "%zu", i);
		for (unsigned int r = 0; r < policy_nr_roles; r++) {
			const struct policy_role *role = &policy_roles[r];

			if (may_open(role) && (never[i] == SCMP_SYS(openat) ||
					       never[i] == SCMP_SYS(openat2)))
				continue;
			if (may_accept(role) && never[i] == SCMP_SYS(accept4))
				continue;
			cr_assert(not(allows(&role->table, never[i])), "%s %zu",
				  role->name, i);
		}
	}
}

Test(policy, only_a_file_server_keeps_capabilities, .timeout = 120)
{
	const uint64_t files = 1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE |
			       1ULL << CAP_FOWNER | 1ULL << CAP_FSETID |
			       1ULL << CAP_SETUID | 1ULL << CAP_SETGID;

	for (unsigned int r = 0; r < policy_nr_roles; r++)
		cr_assert(eq(u64, policy_roles[r].caps,
			     may_open(&policy_roles[r]) ? files : 0),
			  "%s", policy_roles[r].name);
}

Test(policy, memory_is_never_executable, .timeout = 120)
{
	static const int calls[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };
	static const struct policy_table *const tables[] = {
		&policy_common, &policy_vmm_every
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(tables); i++) {
		const struct policy_rule *rule =
			find(tables[i / 2], calls[i % 2]);

		cr_assert(rule != NULL);
		cr_assert(eq(int, rule->test, POLICY_EQ));
		cr_assert(eq(int, rule->arg, 2));
		cr_assert(eq(u64, rule->mask, PROT_EXEC));
		cr_assert(zero(u64, rule->value));
	}
}

/* RLIMIT_DATA does not count what is shared, so there is none of it. */
Test(policy, anonymous_memory_of_a_device_is_private, .timeout = 120)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < policy_common.nr_rules; i++) {
		const struct policy_rule *rule = &policy_common.rules[i];

		if (rule->nr != SCMP_SYS(mmap))
			continue;
		n++;
		cr_assert(eq(int, rule->test, POLICY_EQ));
		cr_assert(eq(u64, rule->mask, PROT_EXEC));
		cr_assert(eq(int, rule->arg2, 3));
		cr_assert(rule->mask2 == MAP_ANONYMOUS ||
			  rule->mask2 == MAP_SHARED);
	}
	cr_assert(eq(uint, n, 2));
}

Test(policy, every_role_has_a_limit_of_memory, .timeout = 120)
{
	for (unsigned int i = 0; i < policy_nr_roles; i++) {
		const struct policy_role *role = &policy_roles[i];

		cr_assert(ge(u64, role->data_bytes, 8 << 20), "%s", role->name);
		cr_assert(le(u64, role->data_bytes, 64 << 20), "%s",
			  role->name);
		cr_assert(
			eq(int, role->data_bytes_per_fd != 0, may_open(role)));
	}
}

Test(policy, vmm_opens_files_but_creates_none, .timeout = 120)
{
	const struct policy_rule *rule =
		find(&policy_vmm_files, SCMP_SYS(openat));

	cr_assert(rule != NULL);
	cr_assert(eq(int, rule->arg, 2));
	cr_assert(zero(u64, O_RDWR & rule->mask));
	cr_assert(zero(u64, (O_CLOEXEC | O_DIRECT) & rule->mask));
	cr_assert(ne(u64, O_PATH & rule->mask, 0));
	cr_assert(ne(u64, O_DIRECTORY & rule->mask, 0));
	cr_assert(not(allows(&policy_vmm_every, SCMP_SYS(openat))));
	cr_assert(not(allows(&policy_vmm, SCMP_SYS(openat))));
	cr_assert(not(allows(&policy_vcpu, SCMP_SYS(openat))));
	cr_assert(not(allows(&policy_vmm_relay, SCMP_SYS(openat))));
	cr_assert(ne(u64, O_CREAT & rule->mask, 0));
	cr_assert(ne(u64, O_TRUNC & rule->mask, 0));
	cr_assert(ne(u64, O_TMPFILE & rule->mask, 0));
}

Test(policy, no_table_has_a_rule_twice, .timeout = 120)
{
	no_rule_twice(&policy_common, "common");
	no_rule_twice(&policy_vmm_every, "every");
	no_rule_twice(&policy_vmm, "vmm");
	no_rule_twice(&policy_vcpu, "vcpu");
	no_rule_twice(&policy_vcpu_vfio, "vcpu, vfio");
	no_rule_twice(&policy_files_vfio, "files, vfio");
	no_rule_twice(&policy_vmm_files, "files");
	no_rule_twice(&policy_vmm_relay, "relay");
	no_rule_twice(&policy_vmm_never, "never");
	no_rule_twice(&policy_spawner, "spawner");
	no_rule_twice(&policy_dialler, "dialler");
	for (unsigned int i = 0; i < policy_nr_roles; i++)
		no_rule_twice(&policy_roles[i].table, policy_roles[i].name);
}

/* Builds the filter of @table for @arch. Return: its size in bytes. */
static off_t filter_size(const struct policy_table *table, uint32_t arch)
{
	_cleanup_fd_ int fd = memfd_create("filter", MFD_CLOEXEC);
	scmp_filter_ctx ctx = NULL;

	cr_assert(zero(int, policy_begin(SCMP_ACT_ERRNO(EPERM), &ctx)));
	if (arch != seccomp_arch_native()) {
		cr_assert(zero(int, seccomp_arch_add(ctx, arch)));
		cr_assert(zero(
			int, seccomp_arch_remove(ctx, seccomp_arch_native())));
	}
	cr_assert(zero(int, policy_add(ctx, &policy_common, false)));
	cr_assert(zero(int, policy_add(ctx, table, false)));
	cr_assert(zero(int, seccomp_export_bpf(ctx, fd)));
	seccomp_release(ctx);
	return lseek(fd, 0, SEEK_END);
}

Test(policy, every_table_makes_a_filter_on_each_architecture, .timeout = 120)
{
	static const uint32_t archs[] = { SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64 };

	for (size_t a = 0; a < ARRAY_SIZE(archs); a++) {
		cr_assert(gt(long, filter_size(&policy_vmm, archs[a]), 0));
		cr_assert(
			gt(long, filter_size(&policy_vmm_every, archs[a]), 0));
		cr_assert(gt(long, filter_size(&policy_vcpu, archs[a]), 0));
		cr_assert(
			gt(long, filter_size(&policy_vcpu_vfio, archs[a]), 0));
		cr_assert(
			gt(long, filter_size(&policy_files_vfio, archs[a]), 0));
		cr_assert(
			gt(long, filter_size(&policy_vmm_files, archs[a]), 0));
		cr_assert(
			gt(long, filter_size(&policy_vmm_relay, archs[a]), 0));
		cr_assert(gt(long, filter_size(&policy_spawner, archs[a]), 0));
		for (unsigned int i = 0; i < policy_nr_roles; i++)
			cr_assert(gt(
				long,
				filter_size(&policy_roles[i].table, archs[a]),
				0));
	}
}

Test(policy, names_only_drops_arguments_and_denials, .timeout = 120)
{
	static const struct policy_rule rules[] = {
		POLICY_ALLOW_EQ(ioctl, 1, 7),
		POLICY_ALLOW_EQ(ioctl, 1, 8),
		POLICY_DENY(clone3, ENOSYS),
		POLICY_NEVER(execve),
	};
	static const struct policy_table table = { rules, ARRAY_SIZE(rules) };
	scmp_filter_ctx ctx = NULL;

	cr_assert(zero(int, policy_begin(SCMP_ACT_TRACE(0), &ctx)));
	cr_assert(zero(int, policy_add(ctx, &table, true)));
	seccomp_release(ctx);
}

Test(policy, bad_rule_is_reported, .timeout = 120)
{
	static const struct policy_rule rules[] = {
		{ SCMP_SYS(read), POLICY_EQ, 9, 1, 1 },
	};
	static const struct policy_table table = { rules, 1 };
	scmp_filter_ctx ctx = NULL;

	cr_assert(zero(int, policy_begin(SCMP_ACT_ERRNO(EPERM), &ctx)));
	cr_assert(lt(int, policy_add(ctx, &table, false), 0));
	seccomp_release(ctx);
}
