/* SPDX-License-Identifier: BSD-3-Clause */
/* What the threads of a VM have used so far, all processes together. */
#ifndef TORPOR_BENCH_PROC_THREADS_H
#define TORPOR_BENCH_PROC_THREADS_H

#include <stdint.h>
#include <sys/types.h>

#define MAX_THREADS 64U

struct thread_use {
	pid_t pid, tid;
	char name[16];
	uint64_t run_ns;   /* CPU time, the guest's included */
	uint64_t wakeups;  /* voluntary context switches */
	uint64_t preempts; /* the others */
};

struct threads {
	unsigned int nr, processes;
	struct thread_use use[MAX_THREADS];
};

/* Of @pid and all processes below it. Return: 0, -E2BIG, -ESRCH. */
int threads_read(struct threads *t, pid_t pid);

/*
 * Adds @after - @before to @sum, by thread. What ended in between is left out,
 * what began counts from its beginning.
 */
void threads_add(struct threads *sum, const struct threads *before,
		 const struct threads *after);

/* All threads of @t in one. */
struct thread_use threads_total(const struct threads *t);

#endif
