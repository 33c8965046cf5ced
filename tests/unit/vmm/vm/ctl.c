/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM's end of the control channel: who waits for an acknowledgement, and
 * what a process may not say. The process is this test.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/socket.h>

#include "virtio/devctl.h"
#include "vmm/base/fd.h"
#include "vmm/vm/device.h"

static struct vm vm;
static struct vm_device *dev;
static int peer; /* the process's end */
static const char *failed;

struct waiter {
	struct mailbox_item item;
	sem_t done;
};

static void op_failed(struct virtio_mmio *mmio, const char *why)
{
	cr_assert(mmio == &dev->mmio);
	failed = why;
	vm_ctl_close(dev);
}

static const struct virtio_mmio_ops ops = { .failed = op_failed };

static void setup(void)
{
	int pair[2];

	dev = &vm.devices[0];
	vm.nr_devices = 1;
	cr_assert(eq(int, loop_init(&vm.loop), 0));
	dev->vm = &vm;
	dev->mmio.ops = &ops;
	dev->ctl.src.fd = -1;
	dev->wake_fd = fd_event_create();
	cr_assert(ge(int, dev->wake_fd, 0));
	cr_assert(
		eq(int,
		   socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair),
		   0));
	cr_assert(eq(int, vm_ctl_open(dev, pair[0], vm_devices_armed), 0));
	peer = pair[1];
}

static void teardown(void)
{
	vm_ctl_close(dev);
	fd_close(&peer);
	fd_close(&dev->wake_fd);
	loop_finish(&vm.loop);
}

TestSuite(vm_ctl, .init = setup, .fini = teardown, .timeout = 120);

static void turn(void)
{
	cr_assert(eq(int, loop_turn(&vm.loop, 0), 0));
}

static void arm(struct waiter *w, bool armed)
{
	(void)sem_init(&w->done, 0, 0);
	w->item = (struct mailbox_item){ .done = &w->done };
	vm_device_arm(dev, armed, &w->item);
}

static bool goes_on(struct waiter *w)
{
	return sem_trywait(&w->done) == 0;
}

/* Return: whether the process was told something. */
static bool told(struct devctl_msg *m)
{
	return recv(peer, m, sizeof(*m), MSG_DONTWAIT) == sizeof(*m);
}

static void say(uint32_t type, uint32_t generation, uint64_t arg)
{
	const struct devctl_msg m = { type, generation, arg };

	cr_assert(eq(int, (int)send(peer, &m, sizeof(m), 0), sizeof(m)));
	turn();
}

static void acknowledge(const struct devctl_msg *m)
{
	say(DEVCTL_ACK, m->generation, m->type);
}

Test(vm_ctl, a_vcpu_waits_for_the_acknowledgement)
{
	struct devctl_msg m;
	struct waiter w;

	for (int armed = 1; armed >= 0; armed--) {
		arm(&w, armed);
		turn();
		cr_assert(told(&m));
		cr_assert(eq(u32, m.type, DEVCTL_WAKE_ARM));
		cr_assert(eq(u64, m.arg, (uint64_t)armed));
		cr_assert(not(goes_on(&w)));
		acknowledge(&m);
		cr_assert(goes_on(&w));
		cr_assert(not(vm_ctl_arming(dev)));
	}
	cr_assert(not(told(&m)));
	cr_assert(failed == NULL);
}

/* It may have woken since: then it does not again. */
Test(vm_ctl, one_that_is_armed_already_is_told_again)
{
	struct devctl_msg m;
	struct waiter w;

	for (int i = 0; i < 2; i++) {
		arm(&w, true);
		cr_assert(told(&m));
		cr_assert(eq(u64, m.arg, 1));
		acknowledge(&m);
		cr_assert(goes_on(&w));
	}
}

Test(vm_ctl, one_that_is_not_armed_need_not_be_told)
{
	struct devctl_msg m;
	struct waiter w;

	arm(&w, false);
	cr_assert(goes_on(&w));
	cr_assert(not(told(&m)));
}

Test(vm_ctl, one_message_at_a_time_and_the_last_counts)
{
	struct waiter first, others[999];
	struct devctl_msg m, more;

	arm(&first, true);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		arm(&others[i], i % 2);
	cr_assert(told(&m));
	cr_assert(not(told(&more)));
	acknowledge(&m);
	cr_assert(not(goes_on(&first)), "what it was told is out of date");
	cr_assert(told(&m));
	cr_assert(eq(u64, m.arg, (ARRAY_SIZE(others) - 1) % 2));
	cr_assert(not(told(&more)));
	acknowledge(&m);
	cr_assert(goes_on(&first));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		cr_assert(goes_on(&others[i]));
	cr_assert(not(told(&more)));
}

Test(vm_ctl, a_signal_of_an_arming_that_is_over_is_forgotten)
{
	struct devctl_msg m;
	struct waiter w;

	arm(&w, true);
	cr_assert(told(&m));
	acknowledge(&m);
	arm(&w, false);
	cr_assert(told(&m));
	fd_event_signal(dev->wake_fd);
	acknowledge(&m);
	cr_assert(zero(u64, fd_event_drain(dev->wake_fd)));
}

static void assert_failed(struct waiter *w)
{
	cr_assert(virtio_mmio_is_dead(&dev->mmio));
	cr_assert(failed != NULL);
	cr_assert(eq(int, dev->ctl.fd, -1));
	cr_assert(goes_on(w));
	/* Nor does anybody wait for a dead one. */
	arm(w, true);
	cr_assert(goes_on(w));
}

Test(vm_ctl, a_process_that_does_not_acknowledge_is_dead)
{
	struct waiter w;

	arm(&w, true);
	cr_assert(gt(u64, dev->ctl.deadline.deadline_ns, time_boot_ns()));
	loop_timer_set(&vm.loop, &dev->ctl.deadline, 0, dev->ctl.deadline.fn);
	turn();
	assert_failed(&w);
}

Test(vm_ctl, a_process_that_has_gone_keeps_nobody)
{
	struct waiter w;

	arm(&w, true);
	fd_close(&peer);
	turn();
	assert_failed(&w);
}

Test(vm_ctl, a_channel_without_room_is_a_dead_process)
{
	const struct devctl_msg junk = { 0 };
	struct waiter w;

	while (send(dev->ctl.fd, &junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	arm(&w, true);
	assert_failed(&w);
}

Test(vm_ctl, the_end_of_the_vm_lets_go)
{
	struct waiter a, b;

	arm(&a, true);
	arm(&b, true);
	vm_devices_release_waiters(&vm);
	cr_assert(goes_on(&a) && goes_on(&b));
	cr_assert(not(virtio_mmio_is_dead(&dev->mmio)));
}

/* --------------------------------------------------- what it may not say */

Test(vm_ctl, an_acknowledgement_of_another_generation)
{
	struct devctl_msg m;
	struct waiter w;

	arm(&w, true);
	cr_assert(told(&m));
	say(DEVCTL_ACK, m.generation + 1, DEVCTL_WAKE_ARM);
	assert_failed(&w);
}

Test(vm_ctl, an_acknowledgement_twice)
{
	struct devctl_msg m;
	struct waiter w;

	arm(&w, true);
	cr_assert(told(&m));
	acknowledge(&m);
	cr_assert(not(virtio_mmio_is_dead(&dev->mmio)));
	acknowledge(&m);
	assert_failed(&w);
}

Test(vm_ctl, an_acknowledgement_of_something_else)
{
	struct devctl_msg m;
	struct waiter w;

	arm(&w, true);
	cr_assert(told(&m));
	say(DEVCTL_ACK, m.generation, DEVCTL_LOG_LEVEL);
	assert_failed(&w);
}

Test(vm_ctl, a_type_of_ours)
{
	struct waiter w;

	arm(&w, true);
	say(DEVCTL_WAKE_ARM, 1, 1);
	assert_failed(&w);
}

static void packet(size_t len)
{
	struct devctl_msg m[2] = { { .type = DEVCTL_CONFIG_CHANGED } };
	struct waiter w;

	arm(&w, true);
	cr_assert(eq(int, (int)send(peer, m, len, 0), (int)len));
	turn();
	assert_failed(&w);
}

Test(vm_ctl, no_bytes)
{
	packet(0);
}

Test(vm_ctl, too_few_bytes)
{
	packet(sizeof(struct devctl_msg) - 1);
}

Test(vm_ctl, too_many_bytes)
{
	packet(sizeof(struct devctl_msg) + 1);
}

Test(vm_ctl, a_good_message_with_an_fd)
{
	const struct devctl_msg m = { .type = DEVCTL_CONFIG_CHANGED };
	struct waiter w;

	arm(&w, true);
	cr_assert(eq(int, (int)fd_sendmsg(peer, &m, sizeof(m), &peer, 1),
		     sizeof(m)));
	turn();
	assert_failed(&w);
}
