// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of virtio_device_suspend() and _resume(), on loading: a device in memory
 * (test_device.c) and a driver of its own.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/device.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/virtio_ring.h>

#include "test_device.h"

/* The driver, and what the core has called. */
static struct {
	int freeze, restore, config_changed, freeze_error;
	int called_back;
	struct virtqueue *vqs[2];
} drv;

/* What the buffers are: each has a number at its start, and then padding. */
static u32 *values, *padding;
#define PADDING		64

/* ---------------------------------------------------------------- driver */

static void test_callback(struct virtqueue *vq)
{
	drv.called_back++;
}

static int test_init_vqs(struct virtio_device *vdev)
{
	vq_callback_t *callbacks[] = { test_callback, NULL };
	const char * const names[] = { "held", "polled" };

	return vdev->config->find_vqs(vdev, 2, drv.vqs, callbacks, names, NULL,
				      NULL);
}

static int test_probe(struct virtio_device *vdev)
{
	return test_init_vqs(vdev);
}

static void test_remove(struct virtio_device *vdev)
{
	virtio_reset_device(vdev);
	while (virtqueue_detach_unused_buf(drv.vqs[0]))
		;
	vdev->config->del_vqs(vdev);
}

static int test_freeze(struct virtio_device *vdev)
{
	drv.freeze++;
	if (drv.freeze_error)
		return drv.freeze_error;
	virtio_reset_device(vdev);
	while (virtqueue_detach_unused_buf(drv.vqs[0]))
		;
	vdev->config->del_vqs(vdev);
	return 0;
}

static int test_restore(struct virtio_device *vdev)
{
	drv.restore++;
	return test_init_vqs(vdev);
}

static void test_config_changed(struct virtio_device *vdev)
{
	drv.config_changed++;
}

static const struct virtio_device_id ids[] = {
	{ TEST_ID, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static struct virtio_driver test_driver = {
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.id_table = ids,
	.probe = test_probe,
	.remove = test_remove,
	.config_changed = test_config_changed,
	.freeze = test_freeze,
	.restore = test_restore,
};

/* One buffer of n descriptors; its first four bytes are value. */
static int add(int q, u32 *value, int n)
{
	struct scatterlist sg[4];
	int i;

	sg_init_table(sg, n);
	sg_set_buf(&sg[0], value, sizeof(*value));
	for (i = 1; i < n; i++)
		sg_set_buf(&sg[i], padding, PADDING);
	return virtqueue_add_outbuf(drv.vqs[q], sg, n, value, GFP_ATOMIC);
}

/* ---------------------------------------------------------------- tests */

static void test_release(struct device *d)
{
}

static struct device *parent;

static int plug(u64 features)
{
	memset(&tdev, 0, sizeof(tdev));
	memset(&drv, 0, sizeof(drv));
	tdev.offered = features | BIT_ULL(VIRTIO_F_VERSION_1);
	tdev.wrap[0] = tdev.wrap[1] = true;
	tdev.vdev.id.device = TEST_ID;
	tdev.vdev.config = &test_ops;
	tdev.vdev.dev.parent = parent;
	tdev.vdev.dev.release = test_release;
	if (register_virtio_device(&tdev.vdev)) {
		check(!"registered");
		put_device(&tdev.vdev.dev);
		return -ENODEV;
	}
	tdev.resets = 0;
	tdev.num_written = 0;
	check(tdev.status == LIVE);
	return 0;
}

static void unplug(void)
{
	unregister_virtio_device(&tdev.vdev);
}

#define F_SUSPEND	BIT_ULL(VIRTIO_F_SUSPEND)
#define F_PACKED	BIT_ULL(VIRTIO_F_RING_PACKED)
#define F_INDIRECT	BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC)

static void status_is_written_once_each_way(void)
{
	tdev.reads_to_ack = 5;
	check(!virtio_device_suspend(&tdev.vdev));
	check(tdev.num_written == 1 && tdev.written[0] == WRITE_SUSPEND);
	check(tdev.status == SUSPENDED);
	check(!virtio_device_resume(&tdev.vdev));
	check(tdev.num_written == 2 && tdev.written[1] == WRITE_RESUME);
	check(tdev.status == LIVE);
	check(!tdev.resets && !drv.freeze && !drv.restore);
}

static void buffers_are_held_back(void)
{
	unsigned int len;
	int i;

	for (i = 0; i < 8; i++)
		values[i] = i + 1;
	check(!add(0, &values[0], 1));
	check(!add(0, &values[1], 1));
	virtqueue_kick(drv.vqs[0]);
	check(tdev.notified[0] == 1);
	check(device_available(0) == 2);

	check(!virtio_device_suspend(&tdev.vdev));
	for (i = 2; i < 5; i++) {
		check(!add(0, &values[i], 1));
		check(virtqueue_kick(drv.vqs[0]));
	}
	check(device_available(0) == 2);
	check(tdev.notified[0] == 1);

	/* What the device has used before can be taken. */
	check(device_use(0) == 1);
	check(virtqueue_get_buf(drv.vqs[0], &len) == &values[0]);
	check(!virtqueue_get_buf(drv.vqs[0], &len));
	check(virtqueue_enable_cb(drv.vqs[0]));

	/* Who polls is told. */
	check(add(1, &values[7], 1) == -ENOMEM);
	virtqueue_kick(drv.vqs[1]);
	check(!tdev.notified[1]);

	check(!virtio_device_resume(&tdev.vdev));
	check(tdev.notified[0] == 2);
	check(!tdev.notified[1]);
	check(device_available(0) == 4);
	for (i = 1; i < 5; i++)
		check(device_use(0) == values[i]);
	for (i = 1; i < 5; i++)
		check(virtqueue_get_buf(drv.vqs[0], &len) == &values[i]);
	check(!add(1, &values[7], 1));
	virtqueue_kick(drv.vqs[1]);
	check(tdev.notified[1] == 1);
	check(device_use(1) == 8);
	check(virtqueue_get_buf(drv.vqs[1], &len) == &values[7]);
	check(drv.vqs[0]->num_free == RING_SIZE);
}

/* All in order, none while suspended, whatever the ring's position. */
static void random_walk(void)
{
	u32 added = 0, used = 0, taken = 0, *value;
	bool suspended = false;
	int exposed = 0, steps = 0;
	unsigned int len;

	while (taken < MAX_BUFS && steps++ < 100 * MAX_BUFS) {
		switch (get_random_u32() % 8) {
		case 0:
			if (suspended)
				check(!virtio_device_resume(&tdev.vdev));
			else
				check(!virtio_device_suspend(&tdev.vdev));
			suspended = !suspended;
			exposed = device_available(0);
			if (!suspended)
				check(exposed == added - used);
			break;
		case 1:
		case 2:
		case 3:
			if (added == MAX_BUFS)
				break;
			values[added] = added;
			if (!add(0, &values[added], 1 + get_random_u32() % 3))
				added++;
			virtqueue_kick(drv.vqs[0]);
			break;
		case 4:
		case 5:
			/* Suspended, it would be wrong to; but see above. */
			if (suspended || !device_available(0))
				break;
			check(device_use(0) == used);
			used++;
			break;
		default:
			value = virtqueue_get_buf(drv.vqs[0], &len);
			if (value)
				check(*value == taken++);
		}
		if (suspended)
			check(device_available(0) == exposed);
		if (test_failed > 20)
			break;
	}
	check(taken == MAX_BUFS);
	if (suspended)
		check(!virtio_device_resume(&tdev.vdev));
}

static bool adder_stop;
static atomic_t added_total;
static DEFINE_SPINLOCK(driver_lock);

/* A driver that adds and takes as fast as it can, on another CPU. */
static int adder(void *unused)
{
	u32 n = 0, *value;
	unsigned int len;

	while (!kthread_should_stop()) {
		spin_lock(&driver_lock);
		while (!READ_ONCE(adder_stop)) {
			value = &values[n % (2 * RING_SIZE)];
			*value = n;
			if (drv.vqs[0]->num_free < 2 || add(0, value, 1 + n % 2))
				break;
			n++;
			atomic_inc(&added_total);
			virtqueue_kick(drv.vqs[0]);
		}
		while (virtqueue_get_buf(drv.vqs[0], &len))
			;
		spin_unlock(&driver_lock);
		cond_resched();
	}
	return 0;
}

static void adding_races_with_suspend(void)
{
	struct task_struct *task;
	u32 used = 0;
	int i, n, before;

	adder_stop = false;
	atomic_set(&added_total, 0);
	task = kthread_run(adder, NULL, "suspend_test");
	if (IS_ERR(task)) {
		check(!IS_ERR(task));
		return;
	}
	for (i = 0; i < 300 && test_failed < 20; i++) {
		for (n = 0; n < 50; n++) {
			if (device_available(0))
				check(device_use(0) == used++);
			/* Long enough for the other CPU. */
			udelay(5);
			cond_resched();
		}
		check(!virtio_device_suspend(&tdev.vdev));
		n = device_available(0);
		before = tdev.notified[0];
		usleep_range(50, 200);
		check(device_available(0) == n);
		check(tdev.notified[0] == before);
		check(!virtio_device_resume(&tdev.vdev));
	}
	WRITE_ONCE(adder_stop, true);
	spin_lock(&driver_lock);
	spin_unlock(&driver_lock);
	while (device_available(0) && test_failed < 20)
		check(device_use(0) == used++);
	check(used == atomic_read(&added_total));
	check(used > 1000);
	kthread_stop(task);
	pr_info("%u buffers, over %d suspends\n", used, i);
}

static void config_change_is_deferred(void)
{
	check(!virtio_device_suspend(&tdev.vdev));
	virtio_config_changed(&tdev.vdev);
	check(!drv.config_changed);
	check(!virtio_device_resume(&tdev.vdev));
	check(drv.config_changed == 1);
	virtio_config_changed(&tdev.vdev);
	check(drv.config_changed == 2);
}

/* Reset and set up anew, once, and works afterwards. */
static void is_restored(void)
{
	values[0] = 77;
	check(drv.freeze == 1 && drv.restore == 1);
	check(tdev.status == LIVE);
	check(!virtqueue_is_suspended(drv.vqs[0]));
	check(!add(0, &values[0], 1));
	virtqueue_kick(drv.vqs[0]);
	check(tdev.notified[0]);
	check(device_available(0) == 1 && device_use(0) == 77);
	tdev.suspend = ACK;
	tdev.resume = ACK;
	check(!virtio_device_suspend(&tdev.vdev));
	check(tdev.status == SUSPENDED);
	check(!virtio_device_resume(&tdev.vdev));
	check(drv.freeze == 1);
}

static void without_the_feature_it_is_frozen(void)
{
	check(!virtio_device_suspend(&tdev.vdev));
	check(drv.freeze == 1 && tdev.status == 0);
	check(!virtio_device_resume(&tdev.vdev));
	check(drv.restore == 1 && tdev.status == LIVE);
}

static void failure_to_suspend_resets(enum answer answer)
{
	tdev.suspend = answer;
	check(!virtio_device_suspend(&tdev.vdev));
	check(drv.freeze == 1 && tdev.status == 0);
	check(!virtio_device_resume(&tdev.vdev));
	is_restored();
}

static void failure_to_resume_resets(enum answer answer)
{
	tdev.resume = answer;
	check(!virtio_device_suspend(&tdev.vdev));
	check(!add(0, &values[0], 1));
	check(!drv.freeze);
	check(!virtio_device_resume(&tdev.vdev));
	is_restored();
}

static void lost_state_resets(void)
{
	check(!virtio_device_suspend(&tdev.vdev));
	test_reset(&tdev.vdev);
	check(!virtio_device_resume(&tdev.vdev));
	is_restored();
}

static void failed_while_suspended_resets(void)
{
	check(!virtio_device_suspend(&tdev.vdev));
	tdev.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	tdev.num_written = 0;
	check(!virtio_device_resume(&tdev.vdev));
	/* Nothing before the reset. */
	check(tdev.written[0] == VIRTIO_CONFIG_S_ACKNOWLEDGE);
	is_restored();
}

static void resumed_by_itself_is_fine(void)
{
	check(!virtio_device_suspend(&tdev.vdev));
	tdev.status = LIVE;
	tdev.num_written = 0;
	check(!virtio_device_resume(&tdev.vdev));
	check(!tdev.num_written && !drv.freeze);
}

static void veto_of_a_lost_device_is_told(void)
{
	drv.freeze_error = -EOPNOTSUPP;
	check(!virtio_device_suspend(&tdev.vdev));
	check(!virtio_device_resume(&tdev.vdev));
	check(!drv.freeze);
	tdev.suspend = NEEDS_RESET;
	check(virtio_device_suspend(&tdev.vdev) == -EOPNOTSUPP);
	check(!virtqueue_is_suspended(drv.vqs[0]));
	virtio_config_changed(&tdev.vdev);
	check(drv.config_changed == 1);
	drv.freeze_error = 0;
}

/* It has no freeze: what comes after must fail, and not wait. */
static void a_driver_without_freeze_is_broken(void)
{
	test_driver.freeze = NULL;
	check(!virtio_device_suspend(&tdev.vdev));
	test_reset(&tdev.vdev);
	check(virtio_device_resume(&tdev.vdev) == -EIO);
	check(add(0, &values[0], 1) == -EIO);
	test_driver.freeze = test_freeze;
}

static void on_each_ring(void (*test)(void))
{
	static const u64 rings[] = { 0, F_INDIRECT, F_PACKED,
				     F_PACKED | F_INDIRECT };
	int i;

	for (i = 0; i < ARRAY_SIZE(rings); i++) {
		if (plug(F_SUSPEND | rings[i]))
			return;
		test();
		unplug();
	}
}

static void on_new_device(u64 features, void (*test)(void))
{
	if (plug(features))
		return;
	test();
	unplug();
}

static void failures(void)
{
	static const enum answer answers[] = { NEEDS_RESET, VANISH, NEVER };
	int i;

	for (i = 0; i < ARRAY_SIZE(answers); i++) {
		if (plug(F_SUSPEND))
			return;
		failure_to_suspend_resets(answers[i]);
		unplug();
		if (plug(F_SUSPEND))
			return;
		failure_to_resume_resets(answers[i]);
		unplug();
	}
}

static int __init virtio_suspend_test_init(void)
{
	int err;

	values = kcalloc(MAX_BUFS, sizeof(*values), GFP_KERNEL);
	padding = kzalloc(PADDING, GFP_KERNEL);
	if (!values || !padding) {
		err = -ENOMEM;
		goto out_free;
	}
	parent = root_device_register(KBUILD_MODNAME);
	if (IS_ERR(parent)) {
		err = PTR_ERR(parent);
		goto out_free;
	}
	err = register_virtio_driver(&test_driver);
	if (err)
		goto out;

	on_each_ring(status_is_written_once_each_way);
	on_each_ring(buffers_are_held_back);
	on_each_ring(random_walk);
	on_each_ring(adding_races_with_suspend);
	on_new_device(F_SUSPEND, config_change_is_deferred);
	on_new_device(0, without_the_feature_it_is_frozen);
	failures();
	on_new_device(F_SUSPEND, lost_state_resets);
	on_new_device(F_SUSPEND, failed_while_suspended_resets);
	on_new_device(F_SUSPEND, resumed_by_itself_is_fine);
	on_new_device(F_SUSPEND, veto_of_a_lost_device_is_told);
	on_new_device(F_SUSPEND, a_driver_without_freeze_is_broken);
	pr_info("%d passed, %d failed\n", test_passed, test_failed);

	unregister_virtio_driver(&test_driver);
	err = test_failed ? -EINVAL : 0;
out:
	root_device_unregister(parent);
out_free:
	kfree(values);
	kfree(padding);
	return err;
}

static void __exit virtio_suspend_test_exit(void)
{
}

module_init(virtio_suspend_test_init);
module_exit(virtio_suspend_test_exit);

MODULE_DESCRIPTION("Tests of suspending virtio devices");
MODULE_LICENSE("GPL");
