/* SPDX-License-Identifier: BSD-3-Clause */
/* See vmm/vm/device_moves.h. */
#include "vmm/vm/device_moves.h"

#include <errno.h>

#include "vmm/base/log.h"
#include "vmm/vm/device.h"

static struct vm_device *owner(struct virtio_mmio *mmio)
{
	return container_of(mmio, struct vm_device, mmio);
}

static void move_begin(struct vm *vm, enum vm_move move,
		       void (*late)(struct loop_timer *timer))
{
	vm->moves.move = move;
	loop_timer_set(&vm->loop, &vm->moves.deadline,
		       vm->cfg->device_timeout_ms * NS_PER_MS, late);
	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		struct vm_device *dev = &vm->devices[i];

		dev->moving =
			move == VM_MOVE_DOWN ? TRACE_DRAIN : TRACE_RESTART;
		trace_begin(&vm->trace, TRACE_DEVICE(i), dev->moving);
	}
}

static void device_moved(struct vm_device *dev)
{
	trace_end(&dev->vm->trace, TRACE_DEVICE(dev->index), dev->moving);
	dev->moving = NULL;
}

static void device_late(struct vm_device *dev, const char *what)
{
	log_warn("%s did not %s in %u ms", dev->name, what,
		 dev->vm->cfg->device_timeout_ms);
	device_moved(dev);
	virtio_mmio_abandon_move(&dev->mmio);
}

/* Return: whether @move was under way, and now is not, as all have come. */
static bool move_over(struct vm *vm, enum vm_move move)
{
	if (vm->moves.move != move)
		return false;
	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		const struct vm_device *dev = &vm->devices[i];

		if (dev->moving || (move == VM_MOVE_DOWN && vm_ctl_arming(dev)))
			return false;
	}
	vm->moves.move = VM_MOVE_NONE;
	loop_timer_cancel(&vm->loop, &vm->moves.deadline);
	return true;
}

/* ------------------------------------------------------------------- down */

static void fails(struct vm_moves *moves, struct vm_device *dev, int r)
{
	if (moves->result < 0)
		return;
	moves->result = r;
	moves->failed = dev->name;
}

void vm_devices_armed(struct vm *vm)
{
	if (move_over(vm, VM_MOVE_DOWN))
		power_quiesced(&vm->power, vm->moves.result, vm->moves.failed);
}

/*
 * A device that does not stop in time spoils the sleep and not more: a drain
 * waits for the host's disk, and the process is not hung for that. It is if it
 * does not answer for much longer, which the transport finds out, or does not
 * acknowledge its arming, for which ctl.c has a deadline.
 */
static void on_quiesce_deadline(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, moves.deadline);

	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		struct vm_device *dev = &vm->devices[i];

		if (dev->moving || vm_ctl_arming(dev))
			fails(&vm->moves, dev, -ETIMEDOUT);
		if (dev->moving)
			device_late(dev, "stop");
	}
	vm->moves.move = VM_MOVE_NONE;
	power_quiesced(&vm->power, vm->moves.result, vm->moves.failed);
}

static void on_quiesced(struct virtio_mmio *mmio, int r)
{
	struct vm_device *dev = owner(mmio);

	if (r < 0)
		fails(&dev->vm->moves, dev, r);
	device_moved(dev);
	vm_devices_armed(dev->vm);
}

void vm_devices_quiesce(struct vm *vm)
{
	vm_platform_hold_input(vm);
	vm->moves.result = 0;
	vm->moves.failed = NULL;
	move_begin(vm, VM_MOVE_DOWN, on_quiesce_deadline);
	/* To all devices first, then collect: they drain side by side. */
	for (unsigned int i = 0; i < vm->nr_devices; i++)
		virtio_mmio_quiesce(&vm->devices[i].mmio, on_quiesced);
	vm_devices_armed(vm);
}

/* --------------------------------------------------------------------- up */

static void restart_end(struct vm *vm)
{
	if (!move_over(vm, VM_MOVE_UP))
		return;
	vm_platform_release_input(vm);
	power_restarted(&vm->power);
}

/* The guest does not wait for one that is late; what it asks of it does. */
static void on_restart_deadline(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, moves.deadline);

	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		if (vm->devices[i].moving)
			device_late(&vm->devices[i], "start again");
	}
	restart_end(vm);
}

static void on_restarted(struct virtio_mmio *mmio, int r)
{
	struct vm_device *dev = owner(mmio);

	device_moved(dev);
	if (r < 0)
		vm_tell(dev->vm, device, dev, VM_DEVICE_FAILED, NULL);
	restart_end(dev->vm);
}

void vm_devices_restart(struct vm *vm)
{
	move_begin(vm, VM_MOVE_UP, on_restart_deadline);
	for (unsigned int i = 0; i < vm->nr_devices; i++)
		virtio_mmio_restart(&vm->devices[i].mmio, on_restarted);
	restart_end(vm);
}

void vm_moves_finish(struct vm *vm)
{
	loop_timer_cancel(&vm->loop, &vm->moves.deadline);
}
