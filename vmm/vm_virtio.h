/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the two files of a VM's virtio devices: vm_devices.c knows what each
 * option's device is given, vm_virtio.c makes its process and transport and
 * looks after them. Main loop.
 */
#ifndef TORPOR_VMM_VM_VIRTIO_H
#define TORPOR_VMM_VM_VIRTIO_H

#include "vmm/vm.h"

struct device_type {
	const char *role;
	uint32_t id;
	uint16_t queue_size;
	unsigned int nr_queues;
	uint32_t config_size;
};

struct device_plan { /* what the process is given */
	const struct device_type *type;
	struct spawn_request req;
	char words[SPAWN_MAX_ARGS][48];
	unsigned int nr_words;
	enum suspend_mode suspend;
};

/* --- vm_devices.c --- */
unsigned int vm_devices_count(const struct vm_config *cfg);
/* One after the other, in the order of their slots. */
int vm_devices_create(struct vm *vm, struct err *err) must_check;

/* --- vm_virtio.c --- */
/*
 * Takes the next slot. @number: as in "net0"; < 0: the only one of its type.
 * NULL: none is free.
 */
struct vm_virtio *vm_virtio_new(struct vm *vm, const struct device_type *type,
				int number) must_check;
/* Spawns the process of @plan for @dev and connects it. */
int vm_virtio_spawn(struct vm *vm, struct vm_virtio *dev,
		    struct device_plan *plan, struct err *err) must_check;

#endif
