/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtual machine, put together: memory, irqchip, devices, vCPUs and the
 * coordinator. vmm/vm/vm.c makes and ends it, vmm/vm/device_types.c,
 * vmm/vm/device.c and vmm/vm/ctl.c have its virtio devices and their processes,
 * vmm/vm/power_ops.c connects the coordinator. The VM knows no control client:
 * it tells its listener, which vmm/control/commands.c is. Everything here
 * belongs to the main thread unless a member says otherwise.
 */
#ifndef TORPOR_VMM_VM_VM_H
#define TORPOR_VMM_VM_VM_H

#include <stdatomic.h>

#include "arch/arch.h"
#include "arch/x86_64/irqchip.h"
#include "arch/x86_64/layout.h"
#include "devices/acpi_pm.h"
#include "devices/i8042.h"
#include "devices/pci/conf.h"
#include "devices/pmc.h"
#include "devices/pvpanic.h"
#include "devices/rtc.h"
#include "devices/serial.h"
#include "sandbox/jail.h"
#include "sandbox/spawner.h"
#include "virtio/mmio/mmio.h"
#include "virtio/types.h"
#include "vmm/base/loop.h"
#include "vmm/config/config.h"
#include "vmm/machine/guest_clock.h"
#include "vmm/machine/mailbox.h"
#include "vmm/machine/vcpu.h"
#include "vmm/machine/worker.h"
#include "vmm/power/power.h"
#include "vmm/trace/trace.h"
#include "vmm/vm/char_fd.h"
#include "vmm/vm/device_moves.h"
#include "vmm/vm/halt.h"

/* Exit statuses of `torpor run`, as crosvm has them. */
enum vm_exit {
	VM_EXIT_STOP = 0,   /* powered off, or stopped on request */
	VM_EXIT_RESET = 32, /* the guest rebooted */
	VM_EXIT_CRASH = 33, /* torpor, KVM or the host failed */
	VM_EXIT_PANIC = 34, /* the guest's kernel panicked */
	VM_EXIT_USAGE = 35, /* bad option, value or file */
};

struct vm;
struct vm_device;

enum vm_device_event {
	VM_DEVICE_DIED,	     /* @why it did */
	VM_DEVICE_FAILED,    /* to start again after a sleep */
	VM_DEVICE_RESPAWNED, /* another process is in its place */
};

enum vm_pci_event {
	VM_PCI_FAILED, /* an error that the host could not mend */
	VM_PCI_WANTED, /* the host wants it back */
};

struct vm_listener;

/* What a VM tells its listener; main loop. Every slot is optional. */
struct vm_events {
	/* @by: the wake source behind it, or NULL. */
	void (*state)(struct vm_listener *listener, enum power_state state,
		      const struct wake_source *by);
	void (*paused)(struct vm_listener *listener, bool paused);
	/* A pause ended before it was one. */
	void (*pause_failed)(struct vm_listener *listener);
	/* @source does not wake the guest for a while. */
	void (*storm)(struct vm_listener *listener,
		      const struct wake_source *source);
	/* @why: NULL unless it died. */
	void (*device)(struct vm_listener *listener,
		       const struct vm_device *dev, enum vm_device_event what,
		       const char *why);
	/* Of a PCI device of the host. */
	void (*pci)(struct vm_listener *listener, const char *bdf,
		    enum vm_pci_event what);
	/* The guest has halted for good. */
	void (*halted)(struct vm_listener *listener);
	/* The main loop stood still for @ms in @in. */
	void (*stalled)(struct vm_listener *listener, const char *in,
			long long ms);
	/* Nothing follows; no vCPU thread is left. */
	void (*ended)(struct vm_listener *listener, enum vm_exit code);
};

/* Embedded in its owner. */
struct vm_listener {
	const struct vm_events *events;
};

/* Tells the listener, if there is one that wants to know. */
#define vm_tell(vm, event, ...)                                 \
	do {                                                    \
		struct vm_listener *to_ = (vm)->listener;       \
		if (to_ && to_->events->event)                  \
			to_->events->event(to_, ##__VA_ARGS__); \
	} while (0)

struct vm_device_option;

/* What the process of a device is given. */
struct device_plan {
	struct spawn_request req;
	char words[SPAWN_MAX_ARGS][48];
	unsigned int nr_words;
	int kept_fds[2]; /* owned, for the next process of the device; -1 */
	enum suspend_mode suspend;
};

/* The VMM's end of the control channel to a device's process; vmm/vm/ctl.c. */
struct vm_ctl {
	int fd; /* -1: there is none, or it has been closed */
	struct loop_source src;
	uint32_t generation; /* of the last DEVCTL_WAKE_ARM */
	bool asked;	     /* which has not been acknowledged yet */
	bool again;	     /* and what is wanted has been said anew since */
	struct loop_timer deadline;
	struct mailbox_item *waiters; /* vCPUs in _DSW */
	uint32_t config_told; /* generation of the last CONFIG_CHANGED */
	bool config_telling;  /* it waits for CONFIG_PUBLISHED */
};

/* Around a process that has died: what it had in flight may go on. */
struct vm_fence {
	bool wanted; /* virtio_mmio_fenced() is awaited */
	uint64_t deadline_ns;
	struct loop_timer timer;
	/* On the worker: vm_device_option.fenced(), and what it has returned. */
	struct worker_job job;
	int result, fd;
};

/* A virtio device: its transport, its process and its wake source. */
struct vm_device {
	struct vm *vm;
	struct virtio_mmio mmio;
	char name[16]; /* "blk0" */
	const struct virtio_type *type;
	unsigned int index; /* slot, GPE and _DSW number */
	uint32_t gsi;
	int page_fd; /* memfd of the register page */
	struct vm_ctl ctl;
	int wake_fd; /* eventfd */
	int pidfd;   /* -1 once reaped */
	pid_t pid;
	struct loop_source wake_src, pid_src;
	struct vm_fence fence;
	/* Its process was asked for; the spawner has not answered yet. */
	bool spawning;
	struct vm_device *next_spawn; /* of struct vm's spawns */
	struct device_plan plan;
	struct wake_source wake;
	const char *moving; /* down or up, in the words of the trace; or NULL */
	/* Number of those of its option; -1: it is the only one. */
	int number;
	const struct vm_device_option *option;
	void *backend; /* what the slots of its option keep; theirs */
	/* --vhost-user: nothing of the process is ours, nor in our hands. */
	bool is_foreign;
	struct virtio_mmio_foreign foreign;
	uint8_t foreign_config[64];
	bool has_transport; /* @mmio is initialised */
	bool driver_left;   /* by reset or suspend, as the coordinator knows */
	/* Told by `stats`; empty or 0: it has none. */
	char mac[MAC_TEXT_BYTES];
	uint32_t cid;
};

/* One of the coordinator's. */
struct vm_power_timer {
	struct loop_timer timer;
	struct vm *vm;
	enum power_timer which;
};

struct vm {
	const struct vm_config *cfg;
	struct loop loop;
	struct mailbox mailbox;
	struct loop_source signal_src, spawner_src;
	struct vm_device *spawns; /* whose answers are to come, in order */
	int signal_fd;
	struct spawner *spawner;
	struct vm_listener *listener; /* borrowed; or NULL */

	int kvm_fd, vm_fd;
	int ram_fd;
	struct gmem gm;
	struct irqchip irqchip;
	struct bus pio, mmio;
	struct vcpu_set vcpus;
	struct jail_program vcpu_jail, files_jail; /* while they start */
	struct worker files; /* opens images; not started if there are none */
	bool vcpus_made;

	struct serial serial;
	bool serial_made;
	struct char_fd serial_fd;
	uint8_t escape; /* state of the terminal's escape key */
	struct rtc rtc;
	bool rtc_made;
	struct acpi_pm pm;
	struct i8042 i8042;
	struct pci_bus pci;
	struct pci_conf pci_conf;
	struct vm_vfio *vfio; /* owned; NULL: no --vfio */
	struct pvpanic pvpanic;
	struct pmc pmc;

	void *pages; /* register pages side by side, one memslot */
	struct vm_device devices[LAYOUT_MAX_VIRTIO];
	unsigned int nr_devices;
	unsigned int handshakes; /* not done yet */

	struct trace trace; /* any thread records */
	struct power power;
	bool power_made;
	struct vm_halt halt;
	struct mailbox_item power_item; /* power_poll() */
	struct mailbox_item pm_item;	/* PM registers changed */
	struct vm_power_timer power_timers[POWER_NR_TIMERS];
	struct guest_clock clock; /* when the last pause began */
	struct vm_moves moves;
	struct wake_source serial_wake;
	atomic_uint cleared_pm1;
	atomic_uint rtc_taken;

	atomic_int exit_code; /* -1 while running */
};

/**
 * vm_create() - make a VM that answers, with no vCPU thread yet
 * @vm: zeroed
 * @cfg: checked, borrowed
 * @spawner: borrowed; forked before anything else
 *
 * Return: 0 or -errno with @err, unless vm_end() was called meanwhile. Either
 * way vm_destroy() follows.
 */
int vm_create(struct vm *vm, const struct vm_config *cfg,
	      struct spawner *spawner, struct err *err) must_check;
/*
 * Narrows every thread, starts the guest and serves it to its end: vm_end().
 * Return: as vm_create().
 */
int vm_run(struct vm *vm, struct err *err) must_check;
/* Ends what a VM has, as far as it was made, and tells the listener of that. */
void vm_destroy(struct vm *vm);

/* Ends the VM with @code; the first call counts. Any thread. */
void vm_end(struct vm *vm, enum vm_exit code);

/* --- device.c --- */
/* Spawns every device of the configuration and starts the handshakes. */
int vm_devices_create(struct vm *vm, struct err *err) must_check;
/* Runs the loop until every handshake is done. */
int vm_devices_wait_ready(struct vm *vm, struct err *err) must_check;
/* The thread that opens images, if there are any. Before the guest runs. */
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

/* --- vfio.c --- */
/* Opens the devices of --vfio, before what is jailed. */
int vm_vfio_create(struct vm *vm, struct err *err) must_check;
/* No vCPU runs any more. */
void vm_vfio_destroy(struct vm *vm);

/*
 * What the VMM takes from itself: before there are vCPU threads; on each of
 * them, first of all; on the main thread, when all have done that.
 */
int vm_jail_rights(struct vm *vm, struct err *err) must_check;
int vm_jail_vcpu(struct vcpu *vcpu) must_check;
int vm_jail_files(void *ctx) must_check; /* @ctx: the VM */
int vm_jail_main(struct vm *vm, struct err *err) must_check;

/* --- power_ops.c --- */
void vm_power_init(struct vm *vm);
void vm_power_finish(struct vm *vm);
/* --wake; once every source is there. -EINVAL: no such source. */
int vm_apply_wake_options(struct vm *vm, struct err *err) must_check;
extern const struct vcpu_ops vm_vcpu_ops;

#endif
