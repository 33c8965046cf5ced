/* SPDX-License-Identifier: BSD-3-Clause */
/* vmm/machine/mailbox.h: posts coalesce, calls wait, nobody is starved or left.
 */
#include "vmm/machine/mailbox.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdatomic.h>

static struct loop loop;
static struct mailbox mb;

struct job {
	struct mailbox_item item;
	pthread_t thread;
	atomic_uint runs;
	atomic_bool returned;
	bool complete;	  /* in fn */
	struct job *post; /* in fn */
};

static void job_fn(struct mailbox_item *item)
{
	struct job *job = container_of(item, struct job, item);

	(void)atomic_fetch_add(&job->runs, 1);
	if (job->post)
		mailbox_post(&mb, &job->post->item);
	if (job->complete)
		mailbox_complete(item);
}

static void *caller(void *arg)
{
	struct job *job = arg;

	mailbox_call(&mb, &job->item);
	atomic_store(&job->returned, true);
	return NULL;
}

static void call(struct job *job)
{
	job->item.fn = job_fn;
	cr_assert(eq(int, pthread_create(&job->thread, NULL, caller, job), 0));
}

static void setup(void)
{
	cr_assert(eq(int, loop_init(&loop), 0));
	cr_assert(eq(int, mailbox_init(&mb, &loop), 0));
}

static void teardown(void)
{
	mailbox_finish(&mb);
	mailbox_finish(&mb); /* twice is fine */
	loop_finish(&loop);
}

TestSuite(mailbox, .init = setup, .fini = teardown, .timeout = 120);

static void turn(int ms)
{
	cr_assert(eq(int, loop_turn(&loop, ms), 0));
}

Test(mailbox, posts_run_once_and_may_come_again)
{
	static struct job job = { .item.fn = job_fn };

	mailbox_post(&mb, &job.item);
	mailbox_post(&mb, &job.item);
	turn(0);
	cr_assert(eq(u32, atomic_load(&job.runs), 1));
	turn(0);
	cr_assert(eq(u32, atomic_load(&job.runs), 1));
	mailbox_post(&mb, &job.item);
	turn(0);
	cr_assert(eq(u32, atomic_load(&job.runs), 2));
}

Test(mailbox, items_run_in_order_and_may_post)
{
	static struct job b = { .item.fn = job_fn };
	static struct job a = { .item.fn = job_fn, .post = &b };

	mailbox_post(&mb, &a.item);
	while (!atomic_load(&b.runs))
		turn(100);
	cr_assert(eq(u32, atomic_load(&a.runs), 1));
}

Test(mailbox, an_item_that_posts_itself_does_not_keep_the_loop)
{
	static struct job a = { .item.fn = job_fn, .post = &a };

	mailbox_post(&mb, &a.item);
	turn(0);
	cr_assert(gt(u32, atomic_load(&a.runs), 0), "and the turn has ended");
	/* What is left is not forgotten. */
	unsigned int n = atomic_load(&a.runs);

	turn(0);
	cr_assert(gt(u32, atomic_load(&a.runs), n));
}

Test(mailbox, a_call_waits_for_its_completion)
{
	static struct job now = { .complete = true };
	static struct job later;

	call(&now);
	while (!atomic_load(&now.returned))
		turn(100);
	(void)pthread_join(now.thread, NULL);
	call(&later);
	while (!atomic_load(&later.runs))
		turn(100);
	cr_assert(not(atomic_load(&later.returned)));
	mailbox_complete(&later.item);
	(void)pthread_join(later.thread, NULL);
	cr_assert(atomic_load(&later.returned));
}

static void on_signal(int sig)
{
	(void)sig;
}

Test(mailbox, a_kick_does_not_end_the_wait)
{
	static struct job job;
	struct sigaction sa = { .sa_handler = on_signal };

	cr_assert(eq(int, sigaction(SIGUSR1, &sa, NULL), 0));
	call(&job);
	while (!atomic_load(&job.runs))
		turn(100);
	for (int i = 0; i < 10; i++) {
		(void)pthread_kill(job.thread, SIGUSR1);
		sched_yield();
	}
	cr_assert(not(atomic_load(&job.returned)));
	mailbox_complete(&job.item);
	(void)pthread_join(job.thread, NULL);
}

Test(mailbox, closing_lets_callers_go_undone)
{
	static struct job queued, late, post;

	call(&queued);
	for (bool in = false; !in;) {
		(void)pthread_mutex_lock(&mb.lock);
		in = mb.head != NULL;
		(void)pthread_mutex_unlock(&mb.lock);
	}
	mailbox_close(&mb);
	(void)pthread_join(queued.thread, NULL);
	call(&late);
	(void)pthread_join(late.thread, NULL);
	post.item.fn = job_fn;
	mailbox_post(&mb, &post.item);
	turn(0);
	cr_assert(eq(u32,
		     atomic_load(&queued.runs) + atomic_load(&late.runs) +
			     atomic_load(&post.runs),
		     0));
}

Test(mailbox, completing_a_post_is_harmless)
{
	static struct job job = { .item.fn = job_fn, .complete = true };

	mailbox_post(&mb, &job.item);
	turn(0);
	cr_assert(eq(u32, atomic_load(&job.runs), 1));
}
