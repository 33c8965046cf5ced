// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of virtio_device_suspend() and _resume(), on loading: a transport and
 * a device in memory, and a driver of its own. What a device must see of a
 * suspend is in section 3.4 of virtio 1.4.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define TEST_ID		0x3f	/* A device type that nobody has. */
#define RING_SIZE	8
#define MAX_BUFS	1024

#define LIVE		0x0f
#ifdef CONFIG_VIRTIO_SUSPEND_DRAFT
#define SUSPENDED	0x1f
#define WRITE_RESUME	0x0f
#else
#define SUSPENDED	0x1b
#define WRITE_RESUME	0x1f
#endif
#define WRITE_SUSPEND	0x1f

static int passed, failed;

#define check(cond) do {						\
	if (cond) {							\
		passed++;						\
	} else {							\
		failed++;						\
		pr_err("not ok - %s:%d: %s\n", __func__, __LINE__, #cond); \
	}								\
} while (0)

enum answer { ACK, NEVER, NEEDS_RESET, VANISH };

/* The device, and what it has seen. */
static struct test_dev {
	struct virtio_device vdev;
	u64 offered;
	u8 status;
	enum answer suspend, resume;
	int reads_to_ack;		/* Of the status, until it answers. */
	int reads_left;
	u8 target;			/* What the status will be, or 0. */
	u8 written[8];			/* Status, since the last clear. */
	int num_written;
	int notified[2];
	int resets;
	struct virtqueue *vq[2];
	u16 next[2];			/* Of the available ring. */
	u16 next_used[2];
	bool wrap[2];			/* Packed: of the next descriptor. */
} dev;

/* The driver, and what the core has called. */
static struct {
	int freeze, restore, config_changed, freeze_error;
	int called_back;
	struct virtqueue *vqs[2];
} drv;

/* What the buffers are: each has a number at its start, and then padding. */
static u32 *values, *padding;
#define PADDING		64

/* ---------------------------------------------------------------- transport */

static void test_get(struct virtio_device *vdev, unsigned int offset, void *buf,
		     unsigned int len)
{
	memset(buf, 0, len);
}

static void test_set(struct virtio_device *vdev, unsigned int offset,
		     const void *buf, unsigned int len)
{
}

static u8 test_get_status(struct virtio_device *vdev)
{
	if (dev.target && dev.reads_left-- <= 0) {
		dev.status = dev.target == 0xee ? 0 : dev.target;
		dev.target = 0;
	}
	return dev.status;
}

static void test_begin(enum answer answer, u8 target)
{
	dev.reads_left = dev.reads_to_ack;
	if (answer == ACK)
		dev.target = target;
	else if (answer == NEEDS_RESET)
		dev.target = dev.status | VIRTIO_CONFIG_S_NEEDS_RESET;
	else if (answer == VANISH)
		dev.target = 0xee;
}

static void test_set_status(struct virtio_device *vdev, u8 status)
{
	if (dev.num_written < ARRAY_SIZE(dev.written))
		dev.written[dev.num_written++] = status;
	if (!(dev.status & VIRTIO_CONFIG_S_DRIVER_OK) && dev.status != SUSPENDED)
		dev.status = status;
	else if (dev.status == SUSPENDED && status == WRITE_RESUME)
		test_begin(dev.resume, LIVE);
	else if (dev.status == LIVE && status == WRITE_SUSPEND)
		test_begin(dev.suspend, SUSPENDED);
	else
		dev.status |= status;
}

static void test_reset(struct virtio_device *vdev)
{
	dev.status = 0;
	dev.target = 0;
	dev.resets++;
	memset(dev.next, 0, sizeof(dev.next));
	memset(dev.next_used, 0, sizeof(dev.next_used));
	dev.wrap[0] = dev.wrap[1] = true;
}

static bool test_notify(struct virtqueue *vq)
{
	dev.notified[vq->index]++;
	return true;
}

static int test_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
			 struct virtqueue *vqs[], vq_callback_t *callbacks[],
			 const char * const names[], const bool *ctx,
			 struct irq_affinity *desc)
{
	int i;

	/* A ring must be gone before there is another. */
	check(list_empty(&vdev->vqs));
	for (i = 0; i < nvqs; i++) {
		vqs[i] = vring_create_virtqueue(i, RING_SIZE, PAGE_SIZE, vdev,
						true, true, false, test_notify,
						callbacks[i], names[i]);
		if (!vqs[i])
			return -ENOMEM;
		dev.vq[i] = vqs[i];
	}
	return 0;
}

static void test_del_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq, *n;

	list_for_each_entry_safe(vq, n, &vdev->vqs, list)
		vring_del_virtqueue(vq);
}

static u64 test_get_features(struct virtio_device *vdev)
{
	return dev.offered;
}

static int test_finalize_features(struct virtio_device *vdev)
{
	u64 features = vdev->features;

	vring_transport_features(vdev);
	if (features & BIT_ULL(VIRTIO_F_SUSPEND))
		__virtio_set_bit(vdev, VIRTIO_F_SUSPEND);
	return 0;
}

static const struct virtio_config_ops test_ops = {
	.get = test_get,
	.set = test_set,
	.get_status = test_get_status,
	.set_status = test_set_status,
	.reset = test_reset,
	.find_vqs = test_find_vqs,
	.del_vqs = test_del_vqs,
	.get_features = test_get_features,
	.finalize_features = test_finalize_features,
};

/* ---------------------------------------------------------------- device side */

struct packed_desc {
	__le64 addr;
	__le32 len;
	__le16 id;
	__le16 flags;
};

static bool is_packed(void)
{
	return dev.offered & BIT_ULL(VIRTIO_F_RING_PACKED);
}

static struct packed_desc *packed(int q)
{
	return phys_to_virt(virtqueue_get_desc_addr(dev.vq[q]));
}

static bool packed_is_available(int q, u16 i, bool wrap)
{
	u16 flags = le16_to_cpu(READ_ONCE(packed(q)[i].flags));

	return !!(flags & BIT(7)) == wrap && !!(flags & BIT(15)) != wrap;
}

/* How many buffers the device could take from the queue now. */
static int device_available(int q)
{
	bool wrap = dev.wrap[q];
	u16 i = dev.next[q];
	int n = 0;

	if (!is_packed())
		return (u16)(le16_to_cpu((__force __le16)READ_ONCE(
			virtqueue_get_vring(dev.vq[q])->avail->idx)) -
			dev.next[q]);
	while (n <= RING_SIZE && packed_is_available(q, i, wrap)) {
		while (le16_to_cpu(packed(q)[i].flags) & VRING_DESC_F_NEXT) {
			if (++i == RING_SIZE) {
				i = 0;
				wrap = !wrap;
			}
		}
		if (++i == RING_SIZE) {
			i = 0;
			wrap = !wrap;
		}
		n++;
	}
	return n;
}

static u32 device_use_split(int q)
{
	const struct vring *vr = virtqueue_get_vring(dev.vq[q]);
	u16 head, used;
	u32 value;

	smp_rmb(); /* The index was read before. */
	head = (__force u16)vr->avail->ring[dev.next[q]++ % RING_SIZE];
	if (vr->desc[head].flags & (__force __virtio16)VRING_DESC_F_INDIRECT) {
		struct vring_desc *in = phys_to_virt(
			(__force u64)vr->desc[head].addr);

		value = *(u32 *)phys_to_virt((__force u64)in[0].addr);
	} else {
		value = *(u32 *)phys_to_virt((__force u64)vr->desc[head].addr);
	}
	used = dev.next_used[q]++;
	vr->used->ring[used % RING_SIZE].id = (__force __virtio32)head;
	vr->used->ring[used % RING_SIZE].len = 0;
	smp_wmb(); /* The entry before the index. */
	WRITE_ONCE(vr->used->idx, (__force __virtio16)(u16)(used + 1));
	return value;
}

static u32 device_use_packed(int q)
{
	u16 first = dev.next[q], i = first, flags, used = 0;
	struct packed_desc *d = packed(q);
	bool wrap = dev.wrap[q];
	u64 addr;
	u16 id;

	smp_rmb(); /* The flags were read before. */
	addr = le64_to_cpu(d[i].addr);
	if (le16_to_cpu(d[i].flags) & VRING_DESC_F_INDIRECT)
		addr = le64_to_cpu(((struct packed_desc *)phys_to_virt(addr))->addr);
	do {
		flags = le16_to_cpu(d[i].flags);
		id = le16_to_cpu(d[i].id);
		if (++i == RING_SIZE) {
			i = 0;
			dev.wrap[q] = !dev.wrap[q];
		}
	} while (flags & VRING_DESC_F_NEXT);
	dev.next[q] = i;
	if (wrap)
		used = BIT(7) | BIT(15);
	d[first].id = cpu_to_le16(id);
	d[first].len = 0;
	smp_wmb(); /* The entry before its flags. */
	WRITE_ONCE(d[first].flags, cpu_to_le16(used));
	return *(u32 *)phys_to_virt(addr);
}

/* Takes the next buffer, gives it back; what it says at its start. */
static u32 device_use(int q)
{
	return is_packed() ? device_use_packed(q) : device_use_split(q);
}

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
	memset(&dev, 0, sizeof(dev));
	memset(&drv, 0, sizeof(drv));
	dev.offered = features | BIT_ULL(VIRTIO_F_VERSION_1);
	dev.wrap[0] = dev.wrap[1] = true;
	dev.vdev.id.device = TEST_ID;
	dev.vdev.config = &test_ops;
	dev.vdev.dev.parent = parent;
	dev.vdev.dev.release = test_release;
	if (register_virtio_device(&dev.vdev)) {
		check(!"registered");
		put_device(&dev.vdev.dev);
		return -ENODEV;
	}
	dev.resets = 0;
	dev.num_written = 0;
	check(dev.status == LIVE);
	return 0;
}

static void unplug(void)
{
	unregister_virtio_device(&dev.vdev);
}

#define F_SUSPEND	BIT_ULL(VIRTIO_F_SUSPEND)
#define F_PACKED	BIT_ULL(VIRTIO_F_RING_PACKED)
#define F_INDIRECT	BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC)

static void status_is_written_once_each_way(void)
{
	dev.reads_to_ack = 5;
	check(!virtio_device_suspend(&dev.vdev));
	check(dev.num_written == 1 && dev.written[0] == WRITE_SUSPEND);
	check(dev.status == SUSPENDED);
	check(!virtio_device_resume(&dev.vdev));
	check(dev.num_written == 2 && dev.written[1] == WRITE_RESUME);
	check(dev.status == LIVE);
	check(!dev.resets && !drv.freeze && !drv.restore);
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
	check(dev.notified[0] == 1);
	check(device_available(0) == 2);

	check(!virtio_device_suspend(&dev.vdev));
	for (i = 2; i < 5; i++) {
		check(!add(0, &values[i], 1));
		check(virtqueue_kick(drv.vqs[0]));
	}
	check(device_available(0) == 2);
	check(dev.notified[0] == 1);

	/* What the device has used before can be taken. */
	check(device_use(0) == 1);
	check(virtqueue_get_buf(drv.vqs[0], &len) == &values[0]);
	check(!virtqueue_get_buf(drv.vqs[0], &len));
	check(virtqueue_enable_cb(drv.vqs[0]));

	/* Who polls is told. */
	check(add(1, &values[7], 1) == -ENOMEM);
	virtqueue_kick(drv.vqs[1]);
	check(!dev.notified[1]);

	check(!virtio_device_resume(&dev.vdev));
	check(dev.notified[0] == 2);
	check(!dev.notified[1]);
	check(device_available(0) == 4);
	for (i = 1; i < 5; i++)
		check(device_use(0) == values[i]);
	for (i = 1; i < 5; i++)
		check(virtqueue_get_buf(drv.vqs[0], &len) == &values[i]);
	check(!add(1, &values[7], 1));
	virtqueue_kick(drv.vqs[1]);
	check(dev.notified[1] == 1);
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
				check(!virtio_device_resume(&dev.vdev));
			else
				check(!virtio_device_suspend(&dev.vdev));
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
		if (failed > 20)
			break;
	}
	check(taken == MAX_BUFS);
	if (suspended)
		check(!virtio_device_resume(&dev.vdev));
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
	for (i = 0; i < 300 && failed < 20; i++) {
		for (n = 0; n < 50; n++) {
			if (device_available(0))
				check(device_use(0) == used++);
			/* Long enough for the other CPU. */
			udelay(5);
			cond_resched();
		}
		check(!virtio_device_suspend(&dev.vdev));
		n = device_available(0);
		before = dev.notified[0];
		usleep_range(50, 200);
		check(device_available(0) == n);
		check(dev.notified[0] == before);
		check(!virtio_device_resume(&dev.vdev));
	}
	WRITE_ONCE(adder_stop, true);
	spin_lock(&driver_lock);
	spin_unlock(&driver_lock);
	while (device_available(0) && failed < 20)
		check(device_use(0) == used++);
	check(used == atomic_read(&added_total));
	check(used > 1000);
	kthread_stop(task);
	pr_info("%u buffers, over %d suspends\n", used, i);
}

static void config_change_is_deferred(void)
{
	check(!virtio_device_suspend(&dev.vdev));
	virtio_config_changed(&dev.vdev);
	check(!drv.config_changed);
	check(!virtio_device_resume(&dev.vdev));
	check(drv.config_changed == 1);
	virtio_config_changed(&dev.vdev);
	check(drv.config_changed == 2);
}

/* Reset and set up anew, once, and works afterwards. */
static void is_restored(void)
{
	values[0] = 77;
	check(drv.freeze == 1 && drv.restore == 1);
	check(dev.status == LIVE);
	check(!virtqueue_is_suspended(drv.vqs[0]));
	check(!add(0, &values[0], 1));
	virtqueue_kick(drv.vqs[0]);
	check(dev.notified[0]);
	check(device_available(0) == 1 && device_use(0) == 77);
	dev.suspend = ACK;
	dev.resume = ACK;
	check(!virtio_device_suspend(&dev.vdev));
	check(dev.status == SUSPENDED);
	check(!virtio_device_resume(&dev.vdev));
	check(drv.freeze == 1);
}

static void without_the_feature_it_is_frozen(void)
{
	check(!virtio_device_suspend(&dev.vdev));
	check(drv.freeze == 1 && dev.status == 0);
	check(!virtio_device_resume(&dev.vdev));
	check(drv.restore == 1 && dev.status == LIVE);
}

static void failure_to_suspend_resets(enum answer answer)
{
	dev.suspend = answer;
	check(!virtio_device_suspend(&dev.vdev));
	check(drv.freeze == 1 && dev.status == 0);
	check(!virtio_device_resume(&dev.vdev));
	is_restored();
}

static void failure_to_resume_resets(enum answer answer)
{
	dev.resume = answer;
	check(!virtio_device_suspend(&dev.vdev));
	check(!add(0, &values[0], 1));
	check(!drv.freeze);
	check(!virtio_device_resume(&dev.vdev));
	is_restored();
}

static void lost_state_resets(void)
{
	check(!virtio_device_suspend(&dev.vdev));
	test_reset(&dev.vdev);
	check(!virtio_device_resume(&dev.vdev));
	is_restored();
}

static void failed_while_suspended_resets(void)
{
	check(!virtio_device_suspend(&dev.vdev));
	dev.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	dev.num_written = 0;
	check(!virtio_device_resume(&dev.vdev));
	/* Nothing before the reset. */
	check(dev.written[0] == VIRTIO_CONFIG_S_ACKNOWLEDGE);
	is_restored();
}

static void resumed_by_itself_is_fine(void)
{
	check(!virtio_device_suspend(&dev.vdev));
	dev.status = LIVE;
	dev.num_written = 0;
	check(!virtio_device_resume(&dev.vdev));
	check(!dev.num_written && !drv.freeze);
}

static void veto_of_a_lost_device_is_told(void)
{
	drv.freeze_error = -EOPNOTSUPP;
	check(!virtio_device_suspend(&dev.vdev));
	check(!virtio_device_resume(&dev.vdev));
	check(!drv.freeze);
	dev.suspend = NEEDS_RESET;
	check(virtio_device_suspend(&dev.vdev) == -EOPNOTSUPP);
	check(!virtqueue_is_suspended(drv.vqs[0]));
	virtio_config_changed(&dev.vdev);
	check(drv.config_changed == 1);
	drv.freeze_error = 0;
}

/* It has no freeze: what comes after must fail, and not wait. */
static void a_driver_without_freeze_is_broken(void)
{
	test_driver.freeze = NULL;
	check(!virtio_device_suspend(&dev.vdev));
	test_reset(&dev.vdev);
	check(virtio_device_resume(&dev.vdev) == -EIO);
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
	pr_info("%d passed, %d failed\n", passed, failed);

	unregister_virtio_driver(&test_driver);
	err = failed ? -EINVAL : 0;
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
