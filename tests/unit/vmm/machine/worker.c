/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/machine/worker.h: jobs in order, off the loop; one that hangs is left. */
#include "vmm/machine/worker.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <semaphore.h>

static struct loop loop;
static struct mailbox mb;
static struct worker worker;
static pthread_t loops_thread;
static unsigned int ran, ended;
static sem_t gate, begun;
static int narrowed;

struct test_job {
	struct worker_job job;
	unsigned int ran_as, ended_as;
	bool waits, off_the_loop;
};

static void run(struct worker_job *job)
{
	struct test_job *t = container_of(job, struct test_job, job);

	(void)sem_post(&begun);
	if (t->waits)
		(void)sem_wait(&gate);
	t->off_the_loop = !pthread_equal(pthread_self(), loops_thread);
	t->ran_as = ++ran;
}

static void done(struct worker_job *job)
{
	struct test_job *t = container_of(job, struct test_job, job);

	cr_assert(not(job->pending));
	cr_assert(pthread_equal(pthread_self(), loops_thread));
	t->ended_as = ++ended;
}

static void setup(void)
{
	loops_thread = pthread_self();
	cr_assert(zero(int, sem_init(&gate, 0, 0)));
	cr_assert(zero(int, sem_init(&begun, 0, 0)));
	cr_assert(zero(int, loop_init(&loop)));
	cr_assert(zero(int, mailbox_init(&mb, &loop)));
}

static void teardown(void)
{
	mailbox_finish(&mb);
	loop_finish(&loop);
}

static int narrow(void *ctx)
{
	narrowed = !pthread_equal(pthread_self(), loops_thread);
	return *(int *)ctx;
}

static void submit(struct test_job *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		t[i].job.run = run;
		t[i].job.done = done;
		worker_submit(&worker, &t[i].job);
		cr_assert(t[i].job.pending);
	}
}

static void run_until(unsigned int n)
{
	while (ended < n)
		cr_assert(ge(int, loop_turn(&loop, -1), 0));
}

TestSuite(worker, .init = setup, .fini = teardown, .timeout = 60);

Test(worker, jobs_run_in_order_and_end_on_the_loop)
{
	struct test_job t[20] = { 0 };

	cr_assert(zero(int, worker_start(&worker, &mb, NULL, NULL)));
	submit(t, ARRAY_SIZE(t));
	run_until(ARRAY_SIZE(t));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		cr_assert(eq(u32, t[i].ran_as, i + 1));
		cr_assert(eq(u32, t[i].ended_as, i + 1));
		cr_assert(t[i].off_the_loop);
	}
	cr_assert(worker_stop(&worker));
	cr_assert(worker_stop(&worker)); /* twice is fine */
}

Test(worker, the_loop_goes_on_while_a_job_blocks)
{
	struct test_job t[2] = { { .waits = true }, { .waits = false } };

	cr_assert(zero(int, worker_start(&worker, &mb, NULL, NULL)));
	submit(t, 2);
	cr_assert(ge(int, loop_turn(&loop, 0), 0));
	cr_assert(zero(u32, ended));
	(void)sem_post(&gate);
	run_until(2);
	cr_assert(worker_stop(&worker));
}

Test(worker, a_job_may_be_submitted_again_when_it_has_ended)
{
	struct test_job t = { .waits = false };

	cr_assert(zero(int, worker_start(&worker, &mb, NULL, NULL)));
	for (unsigned int i = 1; i <= 100; i++) {
		submit(&t, 1);
		run_until(i);
	}
	cr_assert(worker_stop(&worker));
}

Test(worker, a_thread_that_cannot_be_narrowed_is_none)
{
	int error = -EPERM, fine = 0;

	cr_assert(eq(int, worker_start(&worker, &mb, narrow, &error), -EPERM));
	cr_assert(narrowed);
	cr_assert(not(worker.started));
	cr_assert(worker_stop(&worker));
	cr_assert(zero(int, worker_start(&worker, &mb, narrow, &fine)));
	cr_assert(worker_stop(&worker));
}

Test(worker, one_that_hangs_is_left_behind)
{
	static struct test_job t[2] = { { .waits = true }, { .waits = false } };

	cr_assert(zero(int, worker_start(&worker, &mb, NULL, NULL)));
	submit(t, 2);
	(void)sem_wait(&begun);
	cr_assert(not(worker_stop(&worker)));
	/* Neither of them is told of, nor the second begun. */
	(void)sem_post(&gate);
	cr_assert(ge(int, loop_turn(&loop, 200), 0));
	cr_assert(zero(u32, ended));
	cr_assert(le(u32, ran, 1));
	cr_assert(zero(u32, t[1].ran_as));
}
