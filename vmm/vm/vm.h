/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtual machine: what its parts share, and what it tells its listener,
 * which vmm/control/commands.c is. The VM knows no control client. The parts
 * lie above: memory.c, platform.h, device_types.c, device.c and ctl.c for
 * virtio devices and their processes, vfio.c, power_ops.c for the coordinator;
 * build.c puts them together. Everything here belongs to the main thread unless
 * a member says otherwise.
 */
#ifndef TORPOR_VMM_VM_VM_H
#define TORPOR_VMM_VM_VM_H

#include <stdatomic.h>

#include "arch/arch.h"
#include "devices/pci/pci.h"
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
#include "vmm/vm/platform.h"

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
	void (*settled)(struct vm *vm);
	uint32_t generation; /* of the last DEVCTL_WAKE_ARM */
	bool asked;	     /* which has not been acknowledged yet */
	bool again;	     /* and what is wanted has been said again since */
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
	/* On the worker: vm_device_option.fenced(), and what it has returned.
	 */
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
	struct arch_virtio_slot slot;
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
	struct bus pio, mmio;
	struct vcpu_set vcpus;
	struct jail_program vcpu_jail, files_jail; /* while they start */
	struct worker files; /* opens images; not started if there are none */

	struct vm_platform platform;
	struct char_fd serial_fd;
	struct pci_bus pci;
	struct vm_vfio *vfio; /* owned; NULL: no --vfio */

	void *pages; /* register pages side by side, one memslot */
	struct vm_device devices[ARCH_MAX_VIRTIO];
	unsigned int nr_devices;
	unsigned int handshakes; /* not done yet */

	struct trace trace; /* any thread records */
	struct power power;
	struct vm_halt halt;
	struct mailbox_item power_item; /* power_poll() */
	struct vm_power_timer power_timers[POWER_NR_TIMERS];
	struct guest_clock clock; /* when the last pause began */
	struct vm_moves moves;

	atomic_int exit_code; /* -1 while running */
};

/*
 * Loop, mailbox, signals; before the first thread, which inherits their mask.
 * @vm: zeroed. @cfg, @spawner: borrowed. Return: 0 or -errno with @err.
 */
int vm_init(struct vm *vm, const struct vm_config *cfg, struct spawner *spawner,
	    struct err *err) must_check;
/* vm_init() may have failed. */
void vm_finish(struct vm *vm);

/* Ends the VM with @code; the first call counts. Any thread. */
void vm_end(struct vm *vm, enum vm_exit code);

#endif
