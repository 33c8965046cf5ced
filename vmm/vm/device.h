/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of a VM's virtio devices: device_types.c knows what each
 * option's device is given, device.c makes its process and transport and
 * looks after them, ctl.c talks to the process. Main loop.
 */
#ifndef TORPOR_VMM_VM_DEVICE_H
#define TORPOR_VMM_VM_DEVICE_H

#include "vmm/vm/vm.h"

/* --- device_types.c --- */
unsigned int vm_devices_count(const struct vm_config *cfg);
/* One after the other, in the order of their slots. */
int vm_devices_create(struct vm *vm, struct err *err) must_check;

/* --- device.c --- */
/* The address that the user gave, or a random one. Return: 0 or -errno. */
int vm_virtio_mac(const struct config_mac *given, uint8_t ret[MAC_BYTES],
		  struct err *err) must_check;
/*
 * Takes the next slot. @number: as in "net0"; < 0: the only one of its type.
 * NULL with @err: none is free, -ENOSPC.
 */
struct vm_virtio *vm_virtio_new(struct vm *vm, enum virtio_type_index type,
				int number, struct err *err) must_check;
/* Spawns the process of dev->plan and connects it. */
int vm_virtio_spawn(struct vm *vm, struct vm_virtio *dev,
		    struct err *err) must_check;
/*
 * Connects @dev to a back end that runs already, on @vhost_fd, which is owned
 * from here on. @type: dev->type but for what is not ours; borrowed.
 */
int vm_virtio_attach(struct vm *vm, struct vm_virtio *dev,
		     const struct virtio_type *type, int vhost_fd,
		     struct err *err) must_check;

/* --- ctl.c --- */
/* @fd: of a new process, owned on success. Return: 0 or -errno. */
int vm_ctl_open(struct vm_virtio *dev, int fd) must_check;
/* The process is dead or as good as that: nobody waits for it any more. */
void vm_ctl_close(struct vm_virtio *dev);
/*
 * Tells the process whether it shall wake the guest (dev->wake.armed). One
 * message is on its way at most, what was wanted last follows it. @item, or
 * NULL, is completed when the process has acknowledged the last one.
 */
void vm_ctl_arm(struct vm_virtio *dev, struct mailbox_item *item);
/* The driver reads what the process has said of its config space. */
void vm_ctl_published(struct vm_virtio *dev);
/* The process has not acknowledged what it was told last. */
bool vm_ctl_arming(const struct vm_virtio *dev);
/* Completes the items of all who wait. */
void vm_ctl_release(struct vm_virtio *dev);

/* --- device_foreign.c --- */
/* Number @i of --vhost-user. */
int vm_vhost_user_create(struct vm *vm, unsigned int i,
			 struct err *err) must_check;

#endif
