/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which rules of the filters the programs use, and which have no caller.
 *
 *	rule-callers trace FILE COMMAND...	run torpor, write the rules used
 *	rule-callers sum FILE...		name the rules that are in no
 *FILE
 *
 * "trace" becomes COMMAND and keeps its process id; a process beside it follows
 * it and all that it starts by ptrace(2), and matches each system call made
 * after a jail has closed with the tables of who makes it. A rule used for the
 * first time is a line "TABLE INDEX" in FILE, at once. "sum" exits with 1 if a
 * rule has neither a caller nor a reason below.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvm.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>

#include "sandbox/policy.h"
#include "vmm/base/fd.h"

#define MAX_TASKS  256
#define MAX_TABLES 16
#define MAX_RULES  256
#define OPTIONS                                                             \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | \
	 PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC)
#define SYSCALL_STOP (SIGTRAP | 0x80)

/* ---------------------------------------------------------------- tables */

#define OTHER_MACHINE                                                        \
	"another architecture, C library or kernel has it in place of what " \
	"is here"
#define ABORTS	   "abort() of a failed assertion"
#define MALLOCS	   "malloc, in another order of events"
#define NO_LINUX   "a Linux guest's: tests/boot, where no tracer runs"
#define CUT_SHORT  "the kernel, after a stop or a sleep of the host"
#define OLD_LOG	   "the log, where /proc cannot open it again"
#define PROBES	   "what the probe of the tests says of itself"
#define SANITIZERS "the run-time of a sanitized build"

/*
 * Rules whose caller these tests do not reach, and who it is. @value: of a rule
 * that looks at an argument; 0: all of that call's.
 */
static const struct excuse {
	const char *table, *call;
	uint64_t value;
	const char *who;
} excuses[] = {
	{ "common", "epoll_pwait", 0, OTHER_MACHINE },
	{ "common", "clock_gettime", 0, OTHER_MACHINE },
	{ "common", "poll", 0, "a wake-up that is armed, a ring without room" },
	{ "common", "ppoll", 0, OTHER_MACHINE },
	{ "common", "fstat", 0, OTHER_MACHINE },
	{ "common", "mremap", 0, MALLOCS },
	{ "common", "rt_sigreturn", 0, CUT_SHORT },
	{ "common", "restart_syscall", 0, CUT_SHORT },
	{ "common", "getpid", 0, ABORTS },
	{ "common", "gettid", 0, ABORTS },
	{ "common", "tgkill", 0, ABORTS },
	{ "blk", "sched_getaffinity", 0, MALLOCS },
	{ "blk", "prctl", 0, OTHER_MACHINE },
	{ "vsock", "shutdown", 0, NO_LINUX },
	{ "fs", NULL, 0, NO_LINUX },
	{ "vmm-every", "writev", 0, ABORTS },
	{ "vmm-every", "clone3", 0, "nobody: it denies, and says how" },
	{ "vmm-every", "rt_sigaction", 0, ABORTS },
	{ "vmm-every", "pwritev2", 0, OLD_LOG },
	{ "vmm-every", "ppoll", 0, OTHER_MACHINE },
	{ "vmm-every", "clock_gettime", 0, OTHER_MACHINE },
	{ "vmm-every", "mmap", 0, MALLOCS },
	{ "vmm-every", "mprotect", 0, MALLOCS },
	{ "vmm-every", "mremap", 0, MALLOCS },
	{ "vmm-every", "getrandom", 0, MALLOCS },
	{ "vmm-every", "restart_syscall", 0, CUT_SHORT },
	{ "vmm-every", "ioctl", KVM_IRQ_LINE, NO_LINUX },
	{ "vmm-every", "ioctl", KVM_SIGNAL_MSI, NO_LINUX },
	{ "vmm-every", "ioctl", KVM_SET_GSI_ROUTING, NO_LINUX },
	{ "vmm", "ioctl", KVM_CHECK_EXTENSION, NO_LINUX },
	{ "vmm", "ioctl", KVM_GET_CLOCK, NO_LINUX },
	{ "vmm", "ioctl", KVM_SET_CLOCK, NO_LINUX },
	{ "vmm", "ioctl", KVM_GET_DEVICE_ATTR, NO_LINUX },
	{ "vmm", "ioctl", KVM_SET_DEVICE_ATTR, NO_LINUX },
	{ "vmm", "ioctl", KVM_KVMCLOCK_CTRL, NO_LINUX },
	{ "vmm", "epoll_pwait", 0, OTHER_MACHINE },
	{ "vmm", "fstat", 0, OTHER_MACHINE },
	{ "files", "fcntl", 0, "a read-only disk whose process died" },
	{ "relay", "poll", 0, "a file that its user has made non-blocking" },
	{ "relay", "ppoll", 0, OTHER_MACHINE },
	{ "relay", "futex", 0, MALLOCS },
	{ "relay", "munmap", 0, MALLOCS },
	{ "relay", "restart_syscall", 0, CUT_SHORT },
	{ "vmm", "eventfd2", 0, "a foreign back end: tests/boot/foreign.sh" },
	{ "vmm", "ioctl", KVM_IOEVENTFD, "the same" },
	{ "vcpu", "ioctl", KVM_SET_MP_STATE, NO_LINUX },
	{ "vcpu", "ioctl", KVM_GET_REGS, "a failure of KVM's" },
	{ "vcpu-vfio", NULL, 0, "a PCI device: tests/boot/vfio.sh" },
	{ "files-vfio", NULL, 0, "a wake-up of it that nobody takes" },
	{ "spawner", "pwritev2", 0, OLD_LOG },
	{ "spawner", "chroot", 0, "a host that runs from its initramfs" },
	{ "spawner", "uname", 0, PROBES },
	{ "spawner", "getuid", 0, PROBES },
	{ "spawner", "getgid", 0, PROBES },
	{ "spawner", "sigaltstack", 0, SANITIZERS },
	{ "spawner", "mlock", 0, SANITIZERS },
	{ "spawner", "sched_yield", 0, SANITIZERS },
};

struct table {
	const char *name;
	const struct policy_table *rules;
	bool used[MAX_RULES];
};

struct tables {
	struct table list[MAX_TABLES];
	size_t n;
};

static void table_add(struct tables *t, const char *name,
		      const struct policy_table *rules)
{
	t->list[t->n++] = (struct table){ .name = name, .rules = rules };
}

static void tables_init(struct tables *t)
{
	table_add(t, "common", &policy_common);
	for (unsigned int i = 0; i < policy_nr_roles; i++)
		table_add(t, policy_roles[i].name, &policy_roles[i].table);
	table_add(t, "vmm-every", &policy_vmm_every);
	table_add(t, "vmm", &policy_vmm);
	table_add(t, "vcpu", &policy_vcpu);
	table_add(t, "vcpu-vfio", &policy_vcpu_vfio);
	table_add(t, "files", &policy_vmm_files);
	table_add(t, "files-vfio", &policy_files_vfio);
	table_add(t, "relay", &policy_vmm_relay);
	table_add(t, "vmm-connects", &policy_vmm_connects);
	table_add(t, "spawner", &policy_spawner);
}

static struct table *table_find(struct tables *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->list[i].name, name) == 0)
			return &t->list[i];
	}
	return NULL;
}

/* ----------------------------------------------------------------- tasks */

enum kind {
	VMM,
	SPAWNER,
	DEVICE
};

struct task {
	pid_t id;
	pid_t process;
	enum kind kind;
	char role[16]; /* of a DEVICE; the table of a thread of the VMM */
	bool jailed;
	bool closing; /* in the call that loads a filter */
	bool for_all; /* for all threads of the process */
};

struct world {
	struct tables tables;
	struct task tasks[MAX_TASKS];
	size_t nr_tasks;
	int out;
};

static struct task *task_find(struct world *w, pid_t id)
{
	for (size_t i = 0; i < w->nr_tasks; i++) {
		if (w->tasks[i].id == id)
			return &w->tasks[i];
	}
	return NULL;
}

static struct task *task_add(struct world *w, pid_t id)
{
	struct task *task = task_find(w, id);

	if (task)
		return task;
	if (w->nr_tasks == MAX_TASKS)
		_exit(3);
	task = &w->tasks[w->nr_tasks++];
	*task = (struct task){ .id = id };
	return task;
}

static void task_remove(struct world *w, pid_t id)
{
	struct task *task = task_find(w, id);

	if (task)
		*task = w->tasks[--w->nr_tasks];
}

/* A thread is what its process is; the VMM's one child is the spawner. */
static void on_clone(struct world *w, pid_t parent_id, bool is_thread)
{
	struct task *parent = task_find(w, parent_id);
	unsigned long id = 0;
	struct task *child;

	if (ptrace(PTRACE_GETEVENTMSG, parent_id, NULL, &id) < 0 || !parent)
		return;
	child = task_add(w, (pid_t)id);
	parent = task_find(w, parent_id);
	*child = *parent;
	child->id = (pid_t)id;
	if (is_thread)
		return;
	child->process = (pid_t)id;
	if (child->kind == VMM)
		child->kind = SPAWNER;
}

/* torpor-device ROLE ...: what its role's filter is comes later. */
static void on_exec(struct world *w, pid_t id)
{
	struct task *task = task_find(w, id);
	char path[64], line[256] = "";
	_cleanup_fd_ int fd = -1;
	const char *role;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!task || fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		return;
	if (strcmp(line, "torpor-device") != 0)
		return;
	role = line + strlen(line) + 1;
	task->kind = DEVICE;
	task->jailed = false;
	(void)snprintf(task->role, sizeof(task->role), "%.15s", role);
}

/* ------------------------------------------------------------ system calls */

static bool matches(const struct policy_rule *rule, uint64_t nr,
		    const uint64_t *args, bool names_only)
{
	if (rule->nr < 0 || (uint64_t)rule->nr != nr)
		return false;
	return names_only || rule->test != POLICY_EQ ||
	       ((args[rule->arg] & rule->mask) == rule->value &&
		!(args[rule->arg2] & rule->mask2));
}

static void use(struct world *w, struct table *table, uint64_t nr,
		const uint64_t *args, bool names_only)
{
	for (unsigned int i = 0; table && i < table->rules->nr_rules; i++) {
		if (table->used[i] ||
		    !matches(&table->rules->rules[i], nr, args, names_only))
			continue;
		table->used[i] = true;
		(void)dprintf(w->out, "%s %u\n", table->name, i);
	}
}

static void on_entry(struct world *w, struct task *task,
		     const struct ptrace_syscall_info *info)
{
	const uint64_t *args = (const uint64_t *)info->entry.args;
	uint64_t nr = info->entry.nr;

	task->closing = nr == SYS_seccomp &&
			args[0] == SECCOMP_SET_MODE_FILTER && args[2] != 0;
	task->for_all = args[1] & SECCOMP_FILTER_FLAG_TSYNC;
	if (task->kind == VMM && task->jailed) {
		if (strcmp(task->role, "relay") != 0)
			use(w, table_find(&w->tables, "vmm-every"), nr, args,
			    false);
		use(w, table_find(&w->tables, task->role), nr, args, false);
		use(w,
		    table_find(&w->tables, task->id == task->process
						   ? "vmm-connects"
						   : "vcpu-vfio"),
		    nr, args, false);
	} else if (task->kind == DEVICE && task->jailed) {
		use(w, table_find(&w->tables, "common"), nr, args, false);
		use(w, table_find(&w->tables, task->role), nr, args, false);
	} else if (task->kind != VMM) {
		use(w, table_find(&w->tables, "spawner"), nr, args, true);
	}
}

/* A thread's table has its name: vcpu0, files, relay. */
static void name_vmm_thread(struct task *task)
{
	char path[64], comm[16] = "";
	_cleanup_fd_ int fd = -1;

	(void)snprintf(task->role, sizeof(task->role), "vmm");
	if (task->id == task->process)
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/comm",
		       (int)task->process, (int)task->id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, comm, sizeof(comm) - 1) <= 0)
		return;
	comm[strcspn(comm, "0123456789\n")] = '\0';
	(void)snprintf(task->role, sizeof(task->role), "%s", comm);
}

static void jailed(struct world *w, struct task *by)
{
	if (by->kind == VMM)
		name_vmm_thread(by);
	for (size_t i = 0; i < w->nr_tasks; i++) {
		if (w->tasks[i].id == by->id ||
		    (by->for_all && w->tasks[i].process == by->process))
			w->tasks[i].jailed = true;
	}
}

static void on_syscall(struct world *w, pid_t id)
{
	struct ptrace_syscall_info info = { 0 };
	struct task *task = task_add(w, id);

	if (ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof(info), &info) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		on_entry(w, task, &info);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT && task->closing &&
		 info.exit.rval >= 0)
		jailed(w, task);
}

/* ---------------------------------------------------------------- tracing */

/* Return: the signal to go on with. */
static int on_stop(struct world *w, pid_t id, int status)
{
	int event = status >> 16, signal = WSTOPSIG(status);

	if (signal == SYSCALL_STOP) {
		on_syscall(w, id);
		return 0;
	}
	switch (event) {
	case 0:
		return signal;
	case PTRACE_EVENT_CLONE:
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
		on_clone(w, id, event == PTRACE_EVENT_CLONE);
		return 0;
	case PTRACE_EVENT_EXEC:
		on_exec(w, id);
		return 0;
	default:
		return 0;
	}
}

static void follow(struct world *w)
{
	for (;;) {
		int status, request = PTRACE_SYSCALL, signal;
		pid_t id = waitpid(-1, &status, __WALL);

		if (id < 0 && errno == EINTR)
			continue;
		if (id < 0)
			return;
		if (!WIFSTOPPED(status)) {
			task_remove(w, id);
			continue;
		}
		signal = on_stop(w, id, status);
		/* Stopped by SIGSTOP or so, to stay so. */
		if (status >> 16 == PTRACE_EVENT_STOP &&
		    WSTOPSIG(status) != SIGTRAP)
			request = PTRACE_LISTEN;
		(void)ptrace(request, id, NULL, (void *)(intptr_t)signal);
	}
}

/* The process beside. @ready: closed when @id is traced. */
static void __attribute__((noreturn))
tracer(const char *file, pid_t id, int ready)
{
	static struct world w;
	int null = open("/dev/null", O_RDWR);

	w.out = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (w.out < 0 || setsid() < 0 ||
	    ptrace(PTRACE_SEIZE, id, NULL, OPTIONS) < 0) {
		perror("rule-callers: trace");
		_exit(3);
	}
	tables_init(&w.tables);
	task_add(&w, id)->process = id;
	for (int fd = 0; fd < 3; fd++)
		(void)dup2(null, fd);
	(void)ptrace(PTRACE_INTERRUPT, id, NULL, NULL);
	(void)close(ready);
	(void)close_range(3, (unsigned int)w.out - 1, 0);
	(void)close_range((unsigned int)w.out + 1, UINT_MAX, 0);
	follow(&w);
	_exit(0);
}

static int trace(const char *file, char **argv)
{
	pid_t self = getpid();
	int ready[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return 2;
	/* Twice, so that COMMAND has no child that it does not know. */
	if (fork() == 0) {
		(void)close(ready[0]);
		if (fork() == 0)
			tracer(file, self, ready[1]);
		_exit(0);
	}
	(void)close(ready[1]);
	(void)wait(NULL);
	(void)!read(ready[0], &byte, 1);
	(void)execvp(argv[0], argv);
	perror(argv[0]);
	return 127;
}

/* ------------------------------------------------------------------- sums */

static int read_used(struct tables *t, const char *file)
{
	FILE *in = fopen(file, "re");
	char name[32];
	unsigned int i;

	if (!in) {
		perror(file);
		return -1;
	}
	while (fscanf(in, "%31s %u", name, &i) == 2) {
		struct table *table = table_find(t, name);

		if (table && i < MAX_RULES)
			table->used[i] = true;
	}
	(void)fclose(in);
	return 0;
}

static bool excused_rule(const char *table, const char *call,
			 const struct policy_rule *rule)
{
	for (size_t i = 0; i < ARRAY_SIZE(excuses); i++) {
		const struct excuse *e = &excuses[i];

		if (strcmp(e->table, table) == 0 &&
		    (!e->call || strcmp(e->call, call) == 0) &&
		    (!e->value || (uint32_t)e->value == (uint32_t)rule->value))
			return true;
	}
	return false;
}

/* Return: how many rules of @table nobody uses and nothing excuses. */
static unsigned int judge(const struct table *table)
{
	unsigned int idle = 0, used = 0, excused = 0;

	for (unsigned int i = 0; i < table->rules->nr_rules; i++) {
		const struct policy_rule *rule = &table->rules->rules[i];
		char *call = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE,
							      rule->nr);
		bool counts =
			call && rule->nr >= 0 && rule->test != POLICY_KILL;

		if (counts && table->used[i]) {
			used++;
		} else if (counts && excused_rule(table->name, call, rule)) {
			excused++;
		} else if (counts) {
			idle++;
			printf("%s: %s, argument %u, value %#llx: no caller\n",
			       table->name, call, rule->arg,
			       (unsigned long long)rule->value);
		}
		free(call);
	}
	printf("%s: %u rules used, %u excused, %u without a caller\n",
	       table->name, used, excused, idle);
	return idle;
}

static int sum(char **files)
{
	static struct tables t;
	unsigned int idle = 0;

	tables_init(&t);
	for (; *files; files++) {
		if (read_used(&t, *files) < 0)
			return 2;
	}
	for (size_t i = 0; i < t.n; i++)
		idle += judge(&t.list[i]);
	return idle > 0;
}

int main(int argc, char **argv)
{
	if (argc > 3 && strcmp(argv[1], "trace") == 0)
		return trace(argv[2], argv + 3);
	if (argc > 2 && strcmp(argv[1], "sum") == 0)
		return sum(argv + 2);
	(void)fputs("usage: rule-callers trace FILE COMMAND...\n"
		    "       rule-callers sum FILE...\n",
		    stderr);
	return 2;
}
