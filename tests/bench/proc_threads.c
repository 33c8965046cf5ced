/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/proc_threads.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_LEN 64

static FILE *open_task(pid_t pid, pid_t tid, const char *file)
{
	char path[PATH_LEN];

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid,
		       file);
	return fopen(path, "re");
}

/* Return: 0, or -ESRCH: it has ended meanwhile. */
static int read_use(struct thread_use *use)
{
	char line[128];
	FILE *f = open_task(use->pid, use->tid, "schedstat");
	int r = 0;

	if (!f)
		return -ESRCH;
	if (fscanf(f, "%" SCNu64, &use->run_ns) != 1)
		r = -ESRCH;
	(void)fclose(f);
	f = open_task(use->pid, use->tid, "status");
	if (!f)
		return -ESRCH;
	while (fgets(line, sizeof(line), f)) {
		(void)sscanf(line, "Name: %15[^\n]", use->name);
		(void)sscanf(line, "voluntary_ctxt_switches: %" SCNu64,
			     &use->wakeups);
		(void)sscanf(line, "nonvoluntary_ctxt_switches: %" SCNu64,
			     &use->preempts);
	}
	(void)fclose(f);
	return r;
}

/* Processes that are still to be looked at. */
struct queue {
	pid_t pid[MAX_THREADS];
	unsigned int nr;
};

static int queue_children(struct queue *q, pid_t pid, pid_t tid)
{
	FILE *f = open_task(pid, tid, "children");
	int child, r = 0;

	if (!f)
		return 0;
	while (r == 0 && fscanf(f, "%d", &child) == 1) {
		if (q->nr == MAX_THREADS)
			r = -E2BIG;
		else
			q->pid[q->nr++] = child;
	}
	(void)fclose(f);
	return r;
}

/* Return: 0; -ESRCH the process has ended; -E2BIG. */
static int read_process(struct threads *t, struct queue *q, pid_t pid)
{
	char path[PATH_LEN];
	struct dirent *entry;
	int r = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -ESRCH;
	t->processes++;
	while (r == 0 && (entry = readdir(dir))) {
		struct thread_use use = { .pid = pid,
					  .tid = atoi(entry->d_name) };

		if (use.tid <= 0 || read_use(&use) < 0)
			continue;
		if (t->nr == MAX_THREADS) {
			r = -E2BIG;
			break;
		}
		t->use[t->nr++] = use;
		r = queue_children(q, pid, use.tid);
	}
	(void)closedir(dir);
	return r;
}

int threads_read(struct threads *t, pid_t pid)
{
	struct queue q = { .pid = { pid }, .nr = 1 };
	int r = 0;

	memset(t, 0, sizeof(*t));
	for (unsigned int i = 0; i < q.nr && r != -E2BIG; i++)
		r = read_process(t, &q, q.pid[i]);
	if (r == -E2BIG)
		return r;
	return t->nr ? 0 : -ESRCH;
}

static const struct thread_use *find(const struct threads *t, pid_t tid)
{
	for (unsigned int i = 0; i < t->nr; i++) {
		if (t->use[i].tid == tid)
			return &t->use[i];
	}
	return NULL;
}

/* The entry of @sum that @use is added to, or NULL. */
static struct thread_use *entry_of(struct threads *sum,
				   const struct thread_use *use)
{
	struct thread_use *entry;

	for (unsigned int i = 0; i < sum->nr; i++) {
		if (sum->use[i].tid == use->tid)
			return &sum->use[i];
	}
	if (sum->nr == MAX_THREADS)
		return NULL;
	entry = &sum->use[sum->nr++];
	*entry = *use;
	entry->run_ns = entry->wakeups = entry->preempts = 0;
	return entry;
}

void threads_add(struct threads *sum, const struct threads *before,
		 const struct threads *after)
{
	static const struct thread_use none;

	sum->processes = after->processes;
	for (unsigned int i = 0; i < after->nr; i++) {
		const struct thread_use *now = &after->use[i];
		const struct thread_use *then = find(before, now->tid);
		struct thread_use *entry = entry_of(sum, now);

		if (!entry)
			continue;
		if (!then)
			then = &none;
		entry->run_ns += now->run_ns - then->run_ns;
		entry->wakeups += now->wakeups - then->wakeups;
		entry->preempts += now->preempts - then->preempts;
	}
}

struct thread_use threads_total(const struct threads *t)
{
	struct thread_use total = { .name = "all" };

	for (unsigned int i = 0; i < t->nr; i++) {
		total.run_ns += t->use[i].run_ns;
		total.wakeups += t->use[i].wakeups;
		total.preempts += t->use[i].preempts;
	}
	return total;
}
