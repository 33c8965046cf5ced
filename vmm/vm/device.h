/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of a VM's virtio devices: devices.c makes all of them,
 * device_types.c knows what each option's device is given, device.c makes its
 * process and transport and looks after them, ctl.c talks to the process. Main
 * loop.
 */
#ifndef TORPOR_VMM_VM_DEVICE_H
#define TORPOR_VMM_VM_DEVICE_H

#include "vmm/vm/vm.h"

struct vm_paths;

/*
 * What an option makes its devices of. The slots are for what a type has beside
 * its process, and optional, but for @open or @create. Main loop.
 */
struct vm_device_option {
	const char *option; /* config_count_devices() has their number */
	enum virtio_type_index type;
	bool single;   /* there is one at most, whose name has no number */
	bool connects; /* the VMM makes connections for it */
	/*
	 * Opens the back end, and says in dev->plan what the process is given.
	 * *ret_fd: left open until the process has been asked for.
	 * Return: 0 or -errno with @err; destroy() follows either way.
	 */
	int (*open)(struct vm_device *dev, int *ret_fd, struct err *err);
	/*
	 * The same, for another process in the place of one that has died.
	 * dev->fence.fd is what fenced() has left.
	 */
	int (*reopen)(struct vm_device *dev, int *ret_fd, struct err *err);
	/* Instead of them: makes number @i by vm_device_attach(). */
	int (*create)(struct vm *vm, const struct vm_device_option *option,
		      unsigned int i, struct err *err);
	/*
	 * On the worker, may block: has a dead process nothing in flight any
	 * more, in the kernel either? *ret_fd, which is -1: what the next
	 * process is given, for reopen().
	 * Return: 1; 0 not yet; -errno.
	 */
	int (*fenced)(struct vm_device *dev, int *ret_fd);
	/* Its process is dead, and no other takes its place. Idempotent. */
	void (*lost)(struct vm_device *dev);
	void (*destroy)(struct vm_device *dev);
	/* The paths that the VMM still opens or removes. */
	void (*keep)(const struct vm_device *dev, struct vm_paths *paths);
};

/* --- device_types.c --- */
/* In the order of their devices' slots; ends with a NULL option. */
extern const struct vm_device_option vm_device_options[];

/* --- devices.c --- */
/* Spawns every device of the configuration and starts the handshakes. */
int vm_devices_create(struct vm *vm, struct err *err) must_check;

/* --- device.c --- */
/* Runs the loop until every handshake is done. */
int vm_devices_wait_ready(struct vm *vm, struct err *err) must_check;
/*
 * The thread for what may wait: opening images, a device of the host that goes
 * down. Before the guest runs.
 */
int vm_devices_start_worker(struct vm *vm, struct err *err) must_check;
void vm_devices_destroy(struct vm *vm);
/* vm->spawner has answered the first of vm->spawns. */
void vm_devices_on_spawner(struct vm *vm);
/*
 * The first device for whose sake a Linux guest refuses to sleep: its driver
 * cannot suspend it, and would lose what it keeps by a reset. Or NULL.
 */
const struct vm_device *vm_devices_veto(const struct vm *vm);
/*
 * _DSW: the device may wake the guest, or not. @item is completed when its
 * process has taken that, or is dead. Main loop.
 */
void vm_device_arm(struct vm_device *dev, bool armed,
		   struct mailbox_item *item);
/* The VM ends: lets every vCPU go that waits for a device. */
void vm_devices_release_waiters(struct vm *vm);
/* The address that the user gave, or a random one. Return: 0 or -errno. */
int vm_device_mac(const struct config_mac *given, uint8_t ret[MAC_BYTES],
		  struct err *err) must_check;
/*
 * Takes the next slot. @number: as in "net0"; < 0: the only one of its type.
 * NULL with @err: none is free, -ENOSPC.
 */
struct vm_device *vm_device_new(struct vm *vm,
				const struct vm_device_option *option,
				enum virtio_type_index type, int number,
				struct err *err) must_check;
/* Spawns the process of dev->plan and connects it. */
int vm_device_start(struct vm *vm, struct vm_device *dev,
		    struct err *err) must_check;
/*
 * Connects @dev to a back end that runs already, on @vhost_fd, which is owned
 * from here on. @type: dev->type but for what is not ours; borrowed.
 */
int vm_device_attach(struct vm *vm, struct vm_device *dev,
		     const struct virtio_type *type, int vhost_fd,
		     struct err *err) must_check;

/* --- jail.c --- */
/* A file, by an O_PATH fd, that stays open as long as the VM. */
void vm_paths_keep_file(struct vm_paths *paths, int fd, bool ro);
/* The directory of @path, where it is to be removed; NULL: none is. */
void vm_paths_keep_dir_of(struct vm_paths *paths, const char *path);

/* --- ctl.c --- */
/*
 * @fd: of a new process, owned on success. @settled: the process owes no
 * acknowledgement any more. Return: 0 or -errno.
 */
int vm_ctl_open(struct vm_device *dev, int fd,
		void (*settled)(struct vm *vm)) must_check;
/* The process is dead or as good as that: nobody waits for it any more. */
void vm_ctl_close(struct vm_device *dev);
/*
 * Tells the process whether it shall wake the guest (dev->wake.armed). One
 * message is on its way at most, what was wanted last follows it. @item, or
 * NULL, is completed when the process has acknowledged the last one.
 */
void vm_ctl_arm(struct vm_device *dev, struct mailbox_item *item);
/* The driver reads what the process has said of its config space. */
void vm_ctl_published(struct vm_device *dev);
/* The process has not acknowledged what it was told last. */
bool vm_ctl_arming(const struct vm_device *dev);
/* Completes the items of all who wait. */
void vm_ctl_release(struct vm_device *dev);

/* --- device_foreign.c --- */
/* Number @i of --vhost-user. */
int vm_vhost_user_create(struct vm *vm, const struct vm_device_option *option,
			 unsigned int i, struct err *err) must_check;

#endif
