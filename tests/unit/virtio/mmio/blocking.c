/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio/mmio/mmio.h with a back end that takes O_NONBLOCK off every descriptor
 * it was given, and fills them: the loop goes on. A transport that waits ends
 * by the suite's time limit.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "tests/lib/mmio_rig.h"

static struct virtio_mmio_foreign theirs;

static void setup_foreign_ready(void)
{
	mr.foreign = &theirs;
	mr_setup_ready();
}

TestSuite(mmio_blocking, .init = mr_setup_ready, .fini = mr_teardown,
	  .timeout = 80);
TestSuite(mmio_blocking_suspend, .init = mr_setup_suspend, .fini = mr_teardown,
	  .timeout = 80);
TestSuite(mmio_blocking_foreign, .init = setup_foreign_ready,
	  .fini = mr_teardown, .timeout = 80);

static void make_blocking(int fd)
{
	cr_assert(eq(int, fcntl(fd, F_SETFL, 0), 0));
}

/* So that the next write to it would wait for a reader. */
static void fill(int fd)
{
	const uint64_t all = UINT64_MAX - 1;

	(void)fd_event_drain(fd);
	make_blocking(fd);
	cr_assert(eq(int, (int)write(fd, &all, sizeof(all)), sizeof(all)));
}

static void make_all_blocking(void)
{
	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		make_blocking(mr.dev.fe.rings[i].kick_fd);
		make_blocking(mr.dev.fe.rings[i].call_fd);
		make_blocking(mr.dev.fe.rings[i].err_fd);
	}
}

Test(mmio_blocking, a_reset_does_not_wait_for_kicks)
{
	mr_go_live();
	make_all_blocking();
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_blocking, rings_start_with_kicks_full)
{
	for (unsigned int i = 0; i < NR_QUEUES; i++)
		fill(mr.dev.fe.rings[i].kick_fd);
	mr_go_live();
	mr_put_status(0);
	mr_go_live();
}

Test(mmio_blocking, an_interrupt_of_the_vmm_does_not_wait_for_the_device)
{
	uint32_t gen = mr_get(0x0fc);

	mr_go_live();
	fill(mr.dev.fe.rings[0].call_fd);
	mr.fb.config[0] = 1;
	virtio_mmio_config_changed(&mr.dev);
	while (mr_get(0x0fc) == gen)
		mr_turn();
	cr_assert(eq(u32, mr_get(0x060), VIRTIO_MMIO_INT_CONFIG));
	cr_assert(mr_irq_raised());
}

Test(mmio_blocking, an_error_that_another_has_read_is_not_waited_for)
{
	const struct loop_source *src = &mr.dev.err_src;

	mr_go_live();
	make_all_blocking();
	mr.dev.err_src.fn(&mr.dev.err_src, EPOLLIN);
	cr_assert(eq(u32, mr_status(), LIVE | NEEDS_RESET));
	cr_assert(ge(int, src->fd, 0));
}

Test(mmio_blocking_suspend, neither_way_waits_for_kicks)
{
	mr_negotiate(VERSION_1 | VIRTIO_MMIO_SUSPEND_V14);
	cr_assert(eq(u32, mr_make_ready(0), 1));
	mr_put_status(LIVE);
	make_all_blocking();
	mr_put_status(LIVE | 0x10);
	cr_assert(ne(u32, mr_status() & 0x10, 0));
	mr_put_status(LIVE);
	mr_until_idle();
	cr_assert(eq(u32, mr_status(), LIVE));
}

Test(mmio_blocking_foreign, a_call_that_another_has_read_is_not_waited_for)
{
	mr_go_live();
	make_all_blocking();
	mr.dev.call_src.fn(&mr.dev.call_src, EPOLLIN);
	cr_assert(eq(int, mr_quiesce(), 0));
	cr_assert(eq(int, mr_restart(), 0));
	mr_put_status(0);
	cr_assert(eq(u32, mr_status(), 0));
}

Test(mmio_blocking_foreign, rings_start_with_kicks_full)
{
	for (int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < NR_QUEUES; i++)
			fill(mr.dev.fe.rings[i].kick_fd);
		mr_go_live();
		/* By the text of vhost-user a ring starts as it is kicked. */
		for (unsigned int i = 0; i < NR_QUEUES; i++)
			cr_assert(eq(u64,
				     fd_event_drain(mr.dev.fe.rings[i].kick_fd),
				     1));
		mr_put_status(0);
	}
}
