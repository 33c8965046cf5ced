/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control channel of a device process, with the wakes it asks for; the back
 * end is made and destroyed.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/backend_rig.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

TestSuite(backend, .init = backend_setup, .fini = backend_teardown,
	  .timeout = 120);

static void ctl_send(uint32_t type, uint32_t generation, uint64_t arg)
{
	struct devctl_msg m = { type, generation, arg };

	cr_assert(eq(int, (int)send(rec.f.ctl, &m, sizeof(m), 0), sizeof(m)));
	front_settle(&rec.f);
}

static bool ctl_acked(uint32_t generation)
{
	struct devctl_msg m;

	if (recv(rec.f.ctl, &m, sizeof(m), MSG_DONTWAIT) != sizeof(m))
		return false;
	return m.type == DEVCTL_ACK && m.generation == generation;
}

Test(backend, wake_arm_is_passed_on_and_acknowledged)
{
	front_wake_arm(&rec.f, true);
	cr_assert(rec.armed);
	front_wake_arm(&rec.f, false);
	cr_assert(not(rec.armed));
	cr_assert(eq(uint, rec.arms, 2));
}

Test(backend, wake_is_written_once_per_arming)
{
	virtio_dev_wake(&rec.dev);
	cr_assert(zero(u64, fd_event_drain(rec.f.wake_fd)));
	front_wake_arm(&rec.f, true);
	virtio_dev_wake(&rec.dev);
	virtio_dev_wake(&rec.dev);
	cr_assert(eq(u64, fd_event_drain(rec.f.wake_fd), 1));
	front_wake_arm(&rec.f, false);
	virtio_dev_wake(&rec.dev);
	cr_assert(zero(u64, fd_event_drain(rec.f.wake_fd)));
	front_wake_arm(&rec.f, true);
	virtio_dev_wake(&rec.dev);
	cr_assert(eq(u64, fd_event_drain(rec.f.wake_fd), 1));
	virtio_dev_wake(&(struct virtio_dev){ 0 });
}

Test(backend, older_generations_are_ignored)
{
	ctl_send(DEVCTL_WAKE_ARM, 0xfffffffeU, 1);
	cr_assert(ctl_acked(0xfffffffeU));
	/* Newer, across the wrap. */
	ctl_send(DEVCTL_WAKE_ARM, 1, 0);
	cr_assert(ctl_acked(1));
	ctl_send(DEVCTL_WAKE_ARM, 0xffffffffU, 1);
	cr_assert(not(ctl_acked(0xffffffffU)));
	cr_assert(not(rec.armed));
	cr_assert(eq(uint, rec.arms, 2));
	/* The same one may be repeated. */
	ctl_send(DEVCTL_WAKE_ARM, 1, 1);
	cr_assert(ctl_acked(1));
	cr_assert(rec.armed);
}

Test(backend, log_level_is_set)
{
	enum log_level before = log_get_level();

	ctl_send(DEVCTL_LOG_LEVEL, 1, LOG_LEVEL_ERR);
	cr_assert(ctl_acked(1));
	cr_assert(eq(int, log_get_level(), LOG_LEVEL_ERR));
	ctl_send(DEVCTL_LOG_LEVEL, 2, 77);
	cr_assert(not(ctl_acked(2)));
	cr_assert(eq(int, log_get_level(), LOG_LEVEL_ERR));
	log_set_level(before);
}

Test(backend, control_packets_of_a_wrong_form_are_dropped)
{
	unsigned int before = count_fds();
	char junk[64] = { 0 };
	struct devctl_msg m = { DEVCTL_WAKE_ARM, 1, 1 };
	int fd = fd_event_create();

	cr_assert(eq(int, (int)send(rec.f.ctl, junk, 3, 0), 3));
	cr_assert(eq(int, (int)send(rec.f.ctl, junk, 64, 0), 64));
	cr_assert(eq(int, (int)fd_sendmsg(rec.f.ctl, &m, sizeof(m), &fd, 1),
		     sizeof(m)));
	fd_close(&fd);
	ctl_send(77, 1, 0);
	cr_assert(zero(uint, rec.arms));
	cr_assert(eq(uint, count_fds(), before));
	front_wake_arm(&rec.f, true);
	cr_assert(rec.armed);
}

static bool acknowledged; /* among what was told */

static unsigned int config_changes_told(void)
{
	struct devctl_msg m;
	unsigned int n = 0;

	acknowledged = false;
	while (recv(rec.f.ctl, &m, sizeof(m), MSG_DONTWAIT) == sizeof(m)) {
		n += m.type == DEVCTL_CONFIG_CHANGED;
		acknowledged |= m.type == DEVCTL_ACK;
	}
	return n;
}

Test(backend, config_changes_leave_room_for_an_acknowledgement)
{
	front_negotiate(&rec.f, V1);
	for (unsigned int i = 0; i < 10000; i++)
		virtio_dev_config_changed(&rec.dev);
	ctl_send(DEVCTL_WAKE_ARM, 1, 1);
	cr_assert(rec.armed);
	cr_assert(eq(uint, config_changes_told(), 1));
	cr_assert(acknowledged);
	/* The last one, when the first is published. */
	ctl_send(DEVCTL_CONFIG_PUBLISHED, 1, 0);
	cr_assert(not(virtio_dev_config_published(&rec.dev)));
	cr_assert(eq(uint, config_changes_told(), 1));
	ctl_send(DEVCTL_CONFIG_PUBLISHED, 10000, 0);
	cr_assert(virtio_dev_config_published(&rec.dev));
	cr_assert(eq(uint, config_changes_told(), 0));
}

Test(backend, end_of_the_control_channel_does_not_spin)
{
	fd_close(&rec.f.ctl);
	front_settle(&rec.f);
	front_negotiate(&rec.f, V1);
	cr_assert(zero(int, loop_turn(&rec.f.loop, 0)));
	cr_assert(not(rec.f.loop.stopped));
}

Test(backend, destroy_disarms)
{
	front_wake_arm(&rec.f, true);
	backend_destroy(rec.f.be);
	rec.f.be = NULL;
	cr_assert(not(rec.armed));
	cr_assert(rec.dev.host == NULL);
}

Test(backend_create, leaves_the_fds_to_the_caller_on_failure, .timeout = 120)
{
	struct backend_config cfg = { .ctl_fd = -1,
				      .regpage_fd = -1,
				      .wake_fd = -1 };
	struct virtio_dev d = { .ops = &recorder_ops, .nr_queues = 1 };
	struct backend *be = NULL;
	struct loop loop;
	int p[2];

	cr_assert(zero(int, loop_init(&loop)));
	cfg.vhost_fd = -1;
	cr_assert(eq(int, backend_create(&d, &loop, &cfg, &be), -EBADF));
	cr_assert(zero(int, pipe(p)));
	cfg.vhost_fd = p[0];
	cfg.regpage_fd = p[1]; /* cannot be mapped */
	cr_assert(lt(int, backend_create(&d, &loop, &cfg, &be), 0));
	cr_assert(be == NULL);
	cr_assert(zero(int, close(p[0])));
	cr_assert(zero(int, close(p[1])));
	backend_destroy(NULL);
	loop_finish(&loop);
}
