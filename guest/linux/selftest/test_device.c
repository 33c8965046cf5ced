// SPDX-License-Identifier: GPL-2.0
/*
 * A virtio device in memory, split and packed rings, with its transport. What a
 * device must see of a suspend is in section 3.4 of virtio 1.4.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/module.h>
#include <linux/virtio_ring.h>

#include "test_device.h"

struct test_dev tdev;
int test_passed, test_failed;

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
	if (tdev.target && tdev.reads_left-- <= 0) {
		tdev.status = tdev.target == 0xee ? 0 : tdev.target;
		tdev.target = 0;
	}
	return tdev.status;
}

static void test_begin(enum answer answer, u8 target)
{
	tdev.reads_left = tdev.reads_to_ack;
	if (answer == ACK)
		tdev.target = target;
	else if (answer == NEEDS_RESET)
		tdev.target = tdev.status | VIRTIO_CONFIG_S_NEEDS_RESET;
	else if (answer == VANISH)
		tdev.target = 0xee;
}

static void test_set_status(struct virtio_device *vdev, u8 status)
{
	if (tdev.num_written < ARRAY_SIZE(tdev.written))
		tdev.written[tdev.num_written++] = status;
	if (!(tdev.status & VIRTIO_CONFIG_S_DRIVER_OK) && tdev.status != SUSPENDED)
		tdev.status = status;
	else if (tdev.status == SUSPENDED && status == WRITE_RESUME)
		test_begin(tdev.resume, LIVE);
	else if (tdev.status == LIVE && status == WRITE_SUSPEND)
		test_begin(tdev.suspend, SUSPENDED);
	else
		tdev.status |= status;
}

void test_reset(struct virtio_device *vdev)
{
	tdev.status = 0;
	tdev.target = 0;
	tdev.resets++;
	memset(tdev.next, 0, sizeof(tdev.next));
	memset(tdev.next_used, 0, sizeof(tdev.next_used));
	tdev.wrap[0] = tdev.wrap[1] = true;
}

static bool test_notify(struct virtqueue *vq)
{
	tdev.notified[vq->index]++;
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
		tdev.vq[i] = vqs[i];
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
	return tdev.offered;
}

static int test_finalize_features(struct virtio_device *vdev)
{
	u64 features = vdev->features;

	vring_transport_features(vdev);
	if (features & BIT_ULL(VIRTIO_F_SUSPEND))
		__virtio_set_bit(vdev, VIRTIO_F_SUSPEND);
	return 0;
}

const struct virtio_config_ops test_ops = {
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
	return tdev.offered & BIT_ULL(VIRTIO_F_RING_PACKED);
}

static struct packed_desc *packed(int q)
{
	return phys_to_virt(virtqueue_get_desc_addr(tdev.vq[q]));
}

static bool packed_is_available(int q, u16 i, bool wrap)
{
	u16 flags = le16_to_cpu(READ_ONCE(packed(q)[i].flags));

	return !!(flags & BIT(7)) == wrap && !!(flags & BIT(15)) != wrap;
}

int device_available(int q)
{
	bool wrap = tdev.wrap[q];
	u16 i = tdev.next[q];
	int n = 0;

	if (!is_packed())
		return (u16)(le16_to_cpu((__force __le16)READ_ONCE(
			virtqueue_get_vring(tdev.vq[q])->avail->idx)) -
			tdev.next[q]);
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
	const struct vring *vr = virtqueue_get_vring(tdev.vq[q]);
	u16 head, used;
	u32 value;

	smp_rmb(); /* The index was read before. */
	head = (__force u16)vr->avail->ring[tdev.next[q]++ % RING_SIZE];
	if (vr->desc[head].flags & (__force __virtio16)VRING_DESC_F_INDIRECT) {
		struct vring_desc *in = phys_to_virt(
			(__force u64)vr->desc[head].addr);

		value = *(u32 *)phys_to_virt((__force u64)in[0].addr);
	} else {
		value = *(u32 *)phys_to_virt((__force u64)vr->desc[head].addr);
	}
	used = tdev.next_used[q]++;
	vr->used->ring[used % RING_SIZE].id = (__force __virtio32)head;
	vr->used->ring[used % RING_SIZE].len = 0;
	smp_wmb(); /* The entry before the index. */
	WRITE_ONCE(vr->used->idx, (__force __virtio16)(u16)(used + 1));
	return value;
}

static u32 device_use_packed(int q)
{
	u16 first = tdev.next[q], i = first, flags, used = 0;
	struct packed_desc *d = packed(q);
	bool wrap = tdev.wrap[q];
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
			tdev.wrap[q] = !tdev.wrap[q];
		}
	} while (flags & VRING_DESC_F_NEXT);
	tdev.next[q] = i;
	if (wrap)
		used = BIT(7) | BIT(15);
	d[first].id = cpu_to_le16(id);
	d[first].len = 0;
	smp_wmb(); /* The entry before its flags. */
	WRITE_ONCE(d[first].flags, cpu_to_le16(used));
	return *(u32 *)phys_to_virt(addr);
}

u32 device_use(int q)
{
	return is_packed() ? device_use_packed(q) : device_use_split(q);
}
