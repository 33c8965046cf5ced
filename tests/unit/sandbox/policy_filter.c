/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every rule of every filter, asked of the kernel itself: its allowed form is
 * let through and each mutated one is refused, and so is every system call
 * that no rule names. The tables are read here a second time, by a few lines
 * that know nothing of libseccomp, and the kernel must agree with them.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/policy.h"
#include "vmm/base/fd.h"

/* The filter's default here: no system call fails with it by itself. */
#define REFUSED 3999
#define NR_ARGS 6
/* Beyond the last system call of any kernel there is. */
#define NR_CALLS      512
#define X32_BIT	      0x40000000
#define MAX_QUESTIONS 8192
/* Exit status of a child. */
#define NO_FILTER  99
#define MAX_TABLES 16

enum verdict {
	LET_THROUGH,
	DENIED_BY_RULE, /* with the rule's errno */
	DENIED,		/* by the default action */
	KILLED,
};

struct filter {
	const char *name;
	const struct policy_table *tables[MAX_TABLES];
	bool names_only; /* see policy_add() */
	struct sock_fprog prog;
};

/* One system call: asked for in a child, which writes what came of it. */
struct question {
	long nr;
	uint64_t args[NR_ARGS];
	enum {
		NOT_ASKED,
		ASKED, /* and did not return, if the child has ended */
		RETURNED,
	} state;
	int error;
	int signal; /* that ended the child */
};

/* Shared with the children. */
struct questions {
	size_t n, next;
	struct question list[MAX_QUESTIONS];
};

/* ------------------------------------------------- the tables, read again */

static bool denies(const struct policy_rule *rule)
{
	return rule->test == POLICY_ERRNO || rule->test == POLICY_KILL;
}

static bool matches(const struct policy_rule *rule, const uint64_t *args)
{
	if (rule->test == POLICY_EQ)
		return (args[rule->arg] & rule->mask) == rule->value &&
		       !(args[rule->arg2] & rule->mask2);
	if (rule->test == POLICY_SELF)
		return (uint32_t)args[rule->arg] == (uint32_t)getpid();
	return true;
}

static enum verdict expected(const struct filter *f, int nr,
			     const uint64_t *args, int *ret_error)
{
	for (size_t t = 0; t < ARRAY_SIZE(f->tables) && f->tables[t]; t++) {
		for (unsigned int i = 0; i < f->tables[t]->nr_rules; i++) {
			const struct policy_rule *rule =
				&f->tables[t]->rules[i];

			if (rule->nr != nr ||
			    (f->names_only ? denies(rule)
					   : !matches(rule, args)))
				continue;
			*ret_error = (int)rule->value;
			if (rule->test == POLICY_KILL)
				return KILLED;
			return denies(rule) ? DENIED_BY_RULE : LET_THROUGH;
		}
	}
	return DENIED;
}

/* ------------------------------------------------------ asked of the kernel */

static void filter_build(struct filter *f)
{
	_cleanup_fd_ int fd = memfd_create("filter", MFD_CLOEXEC);
	scmp_filter_ctx ctx = NULL;
	off_t size;

	cr_assert(zero(int, policy_begin(SCMP_ACT_ERRNO(REFUSED), &ctx)));
	for (size_t t = 0; t < ARRAY_SIZE(f->tables) && f->tables[t]; t++)
		cr_assert(zero(int,
			       policy_add(ctx, f->tables[t], f->names_only)));
	cr_assert(zero(int, seccomp_export_bpf(ctx, fd)));
	seccomp_release(ctx);
	size = lseek(fd, 0, SEEK_END);
	cr_assert(gt(long, size, 0));
	f->prog.len = (unsigned short)((size_t)size / sizeof(*f->prog.filter));
	f->prog.filter = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	cr_assert(ne(ptr, f->prog.filter, MAP_FAILED));
}

/* Without libc, whose wrappers look at errno and at signals. */
static long raw_call(long nr, const uint64_t *args)
{
#ifdef __x86_64__
	register uint64_t r10 __asm__("r10") = args[3];
	register uint64_t r8 __asm__("r8") = args[4];
	register uint64_t r9 __asm__("r9") = args[5];
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(nr), "D"(args[0]), "S"(args[1]), "d"(args[2]),
			   "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
#else
	errno = 0;
	return syscall(nr, args[0], args[1], args[2], args[3], args[4],
		       args[5]) == -1
		       ? -errno
		       : 0;
#endif
}

static void __attribute__((noreturn))
child_asks(const struct filter *f, struct questions *all)
{
	static const int ends[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP };
	static const uint64_t zeros[NR_ARGS];

	/* No word of a sanitizer's about it: it is meant. */
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		(void)signal(ends[i], SIG_DFL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f->prog) < 0)
		_exit(NO_FILTER);
	while (all->next < all->n) {
		struct question *q = &all->list[all->next++];
		long r;

		q->state = ASKED;
		r = raw_call(q->nr, q->args);
		q->error = r < 0 ? (int)-r : 0;
		q->state = RETURNED;
	}
	(void)raw_call(SYS_exit_group, zeros);
	__builtin_trap();
}

/*
 * Asks all. What is let through fails in the kernel, its arguments being
 * impossible ones, or ends the child; then another child goes on.
 */
static void ask_all(const struct filter *f, struct questions *all)
{
	while (all->next < all->n) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			child_asks(f, all);
		cr_assert(eq(int, waitpid(pid, &status, 0), pid));
		cr_assert(ne(int, W_EXITCODE(NO_FILTER, 0), status),
			  "the filter is not loaded");
		if (all->next > 0 && WIFSIGNALED(status))
			all->list[all->next - 1].signal = WTERMSIG(status);
	}
}

static enum verdict answer(const struct question *q, int rule_error)
{
	if (q->signal == SIGSYS)
		return KILLED;
	if (q->state == RETURNED && q->error == REFUSED)
		return DENIED;
	if (q->state == RETURNED && rule_error != 0 && q->error == rule_error)
		return DENIED_BY_RULE;
	return LET_THROUGH;
}

/* ------------------------------------------------------------ what is asked */

static void add(struct questions *all, long nr, unsigned int arg,
		uint64_t value)
{
	struct question *q = &all->list[all->n];

	cr_assert(lt(sz, all->n, MAX_QUESTIONS));
	all->n++;
	*q = (struct question){ .nr = nr };
	memset(q->args, 0xff, sizeof(q->args));
	if (arg < NR_ARGS)
		q->args[arg] = value;
}

static void add_form(struct questions *all, const struct policy_rule *rule,
		     uint64_t value, uint64_t value2)
{
	add(all, rule->nr, rule->arg, value);
	if (rule->mask2)
		all->list[all->n - 1].args[rule->arg2] = value2;
}

/* The form that @rule allows, and it with each bit that it looks at changed. */
static void add_forms(struct questions *all, const struct policy_rule *rule)
{
	uint64_t mask = rule->test == POLICY_SELF ? UINT32_MAX : rule->mask;
	uint64_t value =
		rule->test == POLICY_SELF ? (uint64_t)getpid() : rule->value;

	if (rule->test != POLICY_EQ && rule->test != POLICY_SELF)
		return;
	add_form(all, rule, value, 0);
	for (unsigned int bit = 0; bit < 64; bit++) {
		uint64_t changed = 1ULL << bit;

		if (mask & changed)
			add_form(all, rule, value ^ changed, 0);
		if (rule->mask2 & changed)
			add_form(all, rule, value, changed);
	}
}

/*
 * uretprobe and uprobe of x86: the kernel makes them in a probed program's
 * place and answers them before any filter. From elsewhere they are a SIGILL or
 * ENXIO.
 */
static bool is_filtered(int nr)
{
#ifdef __x86_64__
	return nr != 335 && nr != 336;
#else
	return true;
#endif
}

static void add_questions(const struct filter *f, struct questions *all)
{
	for (int nr = 0; nr < NR_CALLS; nr++) {
		if (is_filtered(nr))
			add(all, nr, NR_ARGS, 0);
	}
	for (size_t t = 0; t < ARRAY_SIZE(f->tables) && f->tables[t]; t++) {
		for (unsigned int i = 0; i < f->tables[t]->nr_rules; i++)
			add_forms(all, &f->tables[t]->rules[i]);
	}
}

/* ------------------------------------------------------------- the filters */

#define NR_OTHERS 8

static struct filter spawner_filter(void)
{
	struct filter f = { "spawner",
			    { &policy_spawner, &policy_common },
			    .names_only = true };

	cr_assert(lt(u32, policy_nr_roles + 2, MAX_TABLES));
	for (unsigned int i = 0; i < policy_nr_roles; i++)
		f.tables[2 + i] = &policy_roles[i].table;
	return f;
}

static struct filter filter_at(size_t index)
{
	const struct policy_role *role = &policy_roles[index];

	if (index < policy_nr_roles)
		return (struct filter){ role->name,
					{ &policy_common, &role->table } };
	switch (index - policy_nr_roles) {
	case 0:
		return (struct filter){ "vmm",
					{ &policy_vmm_every, &policy_vmm,
					  &policy_vmm_never } };
	case 1:
		return (struct filter){ "vmm, vsock",
					{ &policy_vmm_every, &policy_vmm,
					  &policy_vmm_connects,
					  &policy_vmm_never } };
	case 2:
		return (struct filter){ "vcpu",
					{ &policy_vmm_every, &policy_vcpu,
					  &policy_vmm_never } };
	case 3:
		return (struct filter){ "vcpu, vfio",
					{ &policy_vmm_every, &policy_vcpu,
					  &policy_vcpu_vfio,
					  &policy_vmm_never } };
	case 4:
		return (struct filter){ "files",
					{ &policy_vmm_every, &policy_vmm_files,
					  &policy_vmm_never } };
	case 5:
		return (struct filter){ "files, vfio",
					{ &policy_vmm_every, &policy_vmm_files,
					  &policy_files_vfio,
					  &policy_vmm_never } };
	case 6:
		return (struct filter){
			"relay", { &policy_vmm_relay, &policy_vmm_never }
		};
	default:
		return spawner_filter();
	}
}

#define EACH_FILTER(name)                                                \
	ParameterizedTestParameters(policy_filter, name)                 \
	{                                                                \
		static size_t index[16];                                 \
                                                                         \
		for (size_t i = 0; i < ARRAY_SIZE(index); i++)           \
			index[i] = i;                                    \
		cr_assert(le(sz, policy_nr_roles + NR_OTHERS,            \
			     ARRAY_SIZE(index)));                        \
		return cr_make_param_array(size_t, index,                \
					   policy_nr_roles + NR_OTHERS); \
	}                                                                \
	ParameterizedTest(size_t *index, policy_filter, name, .timeout = 480)

static struct questions *questions_make(void)
{
	struct questions *all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(ne(ptr, all, MAP_FAILED));
	return all;
}

EACH_FILTER(kernel_agrees_with_each_rule_and_refuses_its_mutations)
{
	struct filter f = filter_at(*index);
	struct questions *all = questions_make();
	unsigned int seen[KILLED + 1] = { 0 };

	filter_build(&f);
	add_questions(&f, all);
	ask_all(&f, all);
	for (size_t i = 0; i < all->n; i++) {
		const struct question *q = &all->list[i];
		int error = 0;
		enum verdict want = expected(&f, (int)q->nr, q->args, &error);
		enum verdict got = answer(q, error);

		cr_expect(eq(int, got, want),
			  "%s: call %ld (%#llx, %#llx, %#llx ...): errno %d, "
			  "signal %d",
			  f.name, q->nr, (unsigned long long)q->args[0],
			  (unsigned long long)q->args[1],
			  (unsigned long long)q->args[2], q->error, q->signal);
		seen[want]++;
	}
	/* It has asked what it thinks it has. */
	cr_assert(gt(u32, seen[LET_THROUGH], 10), "%s", f.name);
	cr_assert(gt(u32, seen[DENIED], 300), "%s", f.name);
}

#ifdef __x86_64__
/* Not by the same numbers of another ABI either. */
EACH_FILTER(refuses_every_call_of_the_x32_abi)
{
	struct filter f = filter_at(*index);
	struct questions *all = questions_make();

	filter_build(&f);
	for (int nr = 0; nr < NR_CALLS; nr++)
		add(all, X32_BIT | nr, NR_ARGS, 0);
	ask_all(&f, all);
	for (size_t i = 0; i < all->n; i++)
		cr_expect(eq(int, answer(&all->list[i], 0), DENIED), "%s: %zu",
			  f.name, i);
}
#endif
