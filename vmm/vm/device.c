/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks after virtio devices: their processes, register pages and fences. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"
#include "vmm/vm/device.h"
#include "vmm/vm/jail.h"
#include "vmm/vm/vfio.h"

/*
 * For one answer of a device process. Long, because a drain waits for the
 * host's disk, and a slow request alone is not a hang.
 */
#define ANSWER_DEADLINE_NS (60000 * NS_PER_MS)
/* How long a dead process's I/O may still be in the kernel. */
#define FENCE_DEADLINE_NS (60000 * NS_PER_MS)
#define FENCE_POLL_NS	  (5 * NS_PER_MS)

/* ----------------------------------------------------- transport's needs */

static struct vm_device *owner(struct virtio_mmio *mmio)
{
	return container_of(mmio, struct vm_device, mmio);
}

static void op_hold(struct virtio_mmio *mmio)
{
	vcpu_set_hold(&owner(mmio)->vm->vcpus);
}

static void op_release(struct virtio_mmio *mmio)
{
	vcpu_set_release(&owner(mmio)->vm->vcpus);
}

static void driver_left(struct vm_device *dev)
{
	if (!dev->driver_left)
		power_device_left(&dev->vm->power);
	dev->driver_left = true;
}

static void live(struct vm_device *dev)
{
	/* What it held is delivered through its rings now. */
	power_source_clear(&dev->vm->power, &dev->wake);
	dev->driver_left = false;
	power_device_live(&dev->vm->power);
}

static void op_event(struct virtio_mmio *mmio, enum virtio_mmio_event event)
{
	struct vm_device *dev = owner(mmio);
	struct trace *trace = &dev->vm->trace;

	switch (event) {
	case VIRTIO_MMIO_WENT_LIVE:
		live(dev);
		break;
	case VIRTIO_MMIO_WAS_RESET:
		driver_left(dev);
		break;
	case VIRTIO_MMIO_SUSPENDING:
		trace_begin(trace, TRACE_DEVICE(dev->index), TRACE_SUSPENDS);
		break;
	case VIRTIO_MMIO_SUSPENDED:
		trace_end(trace, TRACE_DEVICE(dev->index), TRACE_SUSPENDS);
		driver_left(dev);
		break;
	case VIRTIO_MMIO_RESUMED:
		if (!dev->driver_left) { /* it was not to suspend after all */
			trace_end(trace, TRACE_DEVICE(dev->index),
				  TRACE_SUSPENDS);
			break;
		}
		trace_instant(trace, TRACE_DEVICE(dev->index), TRACE_RESUMED,
			      NULL);
		live(dev);
		break;
	}
}

static void kill_process(struct vm_device *dev)
{
	if (dev->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, dev->pidfd, SIGKILL, NULL,
			      0);
}

/* ------------------------------------------------------ death and fence */

static void fence_end(struct vm_device *dev, bool over)
{
	struct vm_fence *fence = &dev->fence;

	fence->wanted = false;
	loop_timer_cancel(&dev->vm->loop, &fence->timer);
	if (!over)
		log_err("%s: the dead process still has I/O in flight; the "
			"device stays broken",
			dev->name);
	virtio_mmio_fenced(&dev->mmio, over);
	/* Of no further use, if no process was given it. */
	fd_close(&fence->fd);
}

/* On the worker: the file system may take its time, or hang. */
static void fence_look(struct worker_job *job)
{
	struct vm_fence *fence = container_of(job, struct vm_fence, job);
	struct vm_device *dev = container_of(fence, struct vm_device, fence);

	fence->result = dev->option->fenced(dev, &fence->fd);
}

static void fence_seen(struct worker_job *job)
{
	struct vm_fence *fence = container_of(job, struct vm_fence, job);
	struct vm_device *dev = container_of(fence, struct vm_device, fence);

	if (fence->result < 0)
		log_err("%s: its back end: %s", dev->name,
			strerrordesc_np(-fence->result));
	/* 0: the timer has it looked at again. */
	if (!fence->wanted)
		fd_close(&fence->fd);
	else if (fence->result != 0)
		fence_end(dev, fence->result == 1);
}

static void fence_poll(struct loop_timer *timer)
{
	struct vm_fence *fence = container_of(timer, struct vm_fence, timer);
	struct vm_device *dev = container_of(fence, struct vm_device, fence);
	struct vm *vm = dev->vm;

	if (!dev->spawning && !dev->option->fenced) {
		fence_end(dev, true);
		return;
	}
	if (time_boot_ns() >= fence->deadline_ns) {
		fence_end(dev, false);
		return;
	}
	loop_timer_set(&vm->loop, timer, FENCE_POLL_NS, fence_poll);
	if (!dev->spawning && vm->files.started && !fence->job.pending)
		worker_submit(&vm->files, &fence->job);
}

static void begin_fence(struct vm_device *dev)
{
	dev->fence.wanted = true;
	dev->fence.deadline_ns = time_boot_ns() + FENCE_DEADLINE_NS;
	fence_poll(&dev->fence.timer);
}

int vm_devices_start_worker(struct vm *vm, struct err *err)
{
	bool wanted = vm_vfio_needs_worker(vm);
	int r;

	for (unsigned int i = 0; i < vm->nr_devices; i++)
		wanted |= vm->devices[i].option->fenced != NULL;
	if (!wanted)
		return 0;
	r = worker_start(&vm->files, &vm->mailbox, vm_jail_files, vm);
	return r < 0 ? err_set_errno(err, r, "thread for what may wait") : 0;
}

static void op_failed(struct virtio_mmio *mmio, const char *why)
{
	struct vm_device *dev = owner(mmio);

	if (dev->is_foreign)
		log_err("%s: back end: %s", dev->name, why);
	else
		log_err("%s: device process %d: %s", dev->name, dev->pid, why);
	kill_process(dev);
	vm_ctl_close(dev);
	vm_tell(dev->vm, device, dev, VM_DEVICE_DIED, why);
	/* There is no process whose end would begin the fence. */
	if (dev->spawning)
		begin_fence(dev);
	/*
	 * It may live on with all of the guest's memory, and what it has in
	 * flight has no fence: nobody can ever say that it is over.
	 */
	if (dev->is_foreign)
		virtio_mmio_fenced(mmio, false);
}

static void lost(struct vm_device *dev)
{
	if (dev->option->lost)
		dev->option->lost(dev);
}

/* There is no process, so nothing of it but in-flight I/O is left. */
static void process_ended(struct vm_device *dev, const char *why)
{
	virtio_mmio_died(&dev->mmio, why);
	if (dev->mmio.life != VIRTIO_MMIO_REPLACING)
		lost(dev);
	begin_fence(dev);
}

static void on_process_end(struct loop_source *src, uint32_t events)
{
	struct vm_device *dev = container_of(src, struct vm_device, pid_src);

	loop_remove(&dev->vm->loop, src);
	fd_close(&dev->pidfd);
	process_ended(dev, "died");
}

/* ------------------------------------------------------------------ wake */

static void on_wake(struct loop_source *src, uint32_t events)
{
	struct vm_device *dev = container_of(src, struct vm_device, wake_src);

	/*
	 * Not one of an arming that is being taken back, nor one that went with
	 * its acknowledgement.
	 */
	if (fd_event_drain(dev->wake_fd) && dev->wake.armed)
		(void)power_wake(&dev->vm->power, &dev->wake);
}

void vm_device_arm(struct vm_device *dev, bool armed, struct mailbox_item *item)
{
	bool was_armed = dev->wake.armed;

	if (dev->wake.off || (!armed && !was_armed && !vm_ctl_arming(dev))) {
		mailbox_complete(item);
		return;
	}
	dev->wake.armed = armed;
	if (!armed)
		power_source_clear(&dev->vm->power, &dev->wake);
	/* Even one that is armed: it wakes once, and that may be over. */
	vm_ctl_arm(dev, item);
}

static void op_config_published(struct virtio_mmio *mmio)
{
	vm_ctl_published(owner(mmio));
}

void vm_devices_release_waiters(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		struct vm_device *dev = &vm->devices[i];

		vm_ctl_release(dev);
		if (dev->has_transport)
			virtio_mmio_release_waiters(&dev->mmio);
	}
}

const struct vm_device *vm_devices_veto(const struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		const struct vm_device *dev = &vm->devices[i];

		if (dev->type->vetoes && virtio_mmio_is_live(&dev->mmio) &&
		    !(dev->mmio.acked & VIRTIO_MMIO_SUSPEND_BOTH))
			return dev;
	}
	return NULL;
}

/* ------------------------------------------------------ making a device */

/* The device's page, mapped at its place among all pages. */
static int map_page(struct vm *vm, struct vm_device *dev)
{
	uint8_t *at =
		(uint8_t *)vm->pages + (size_t)dev->index * VIRTIO_REGPAGE_SIZE;
	void *p;

	dev->page_fd = fd_memfd_sealed(dev->name, VIRTIO_REGPAGE_SIZE, 0);
	if (dev->page_fd < 0)
		return dev->page_fd;
	p = mmap(at, VIRTIO_REGPAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, dev->page_fd, 0);
	return p == MAP_FAILED ? -errno : 0;
}

static int connect_kvm(struct vm *vm, struct vm_device *dev)
{
	int r = bus_add(&vm->mmio, &dev->mmio.bus);

	for (unsigned int q = 0; q < dev->mmio.nr_queues && r == 0; q++)
		r = kvm_ioeventfd(vm->vm_fd,
				  dev->mmio.bus.base + VIRTIO_MMIO_QUEUE_NOTIFY,
				  dev->mmio.kick_fds[q], q, true);
	if (r == 0)
		r = vm_platform_add_irqfd(vm, dev->mmio.irq_fd, dev->slot.gsi);
	if (r == 0 && dev->mmio.used_irq_fd >= 0)
		r = vm_platform_add_irqfd(vm, dev->mmio.used_irq_fd,
					  dev->slot.gsi);
	return r;
}

/* The ring does not run: nothing is lost between the two. */
static int op_kick_moves(struct virtio_mmio *mmio, unsigned int queue, int fd)
{
	int vm_fd = owner(mmio)->vm->vm_fd;
	uint64_t gpa = mmio->bus.base + VIRTIO_MMIO_QUEUE_NOTIFY;
	int r = kvm_ioeventfd(vm_fd, gpa, mmio->kick_fds[queue], queue, false);

	return r < 0 ? r : kvm_ioeventfd(vm_fd, gpa, fd, queue, true);
}

static void on_ready(struct virtio_mmio *mmio, int r)
{
	struct vm_device *dev = owner(mmio);

	dev->vm->handshakes--;
	if (r < 0)
		virtio_mmio_died(
			mmio, mmio->refused ? mmio->refused
					    : "did not answer the handshake");
}

/*
 * Asks the spawner for a process by dev->plan, @wait: and waits for it. Return:
 * the VMM's end of its vhost-user socket, or -errno with @err.
 */
static int launch(struct vm_device *dev, bool wait, struct spawn_result *res,
		  struct err *err)
{
	struct spawn_request *req = &dev->plan.req;
	struct vm *vm = dev->vm;
	int vhost[2] = { -1, -1 }, ctl[2] = { -1, -1 };
	int r = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vhost) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) < 0)
		r = err_set_errno(err, -errno, "device %s", dev->name);
	req->name = dev->name;
	req->vhost_fd = vhost[1];
	req->ctl_fd = ctl[1];
	req->regpage_fd = dev->page_fd;
	req->wake_fd = dev->wake_fd;
	if (r == 0)
		r = wait ? spawner_spawn(vm->spawner, req, res, err)
			 : spawner_spawn_begin(vm->spawner, req, err);
	if (r == 0) {
		r = vm_ctl_open(dev, ctl[0], vm_devices_armed);
		if (r < 0) {
			(void)err_set_errno(err, r, "device %s", dev->name);
		} else {
			ctl[0] = -1;
			r = TAKE_FD(vhost[0]);
		}
	}
	for (int i = 0; i < 2; i++) {
		fd_close(&vhost[i]);
		fd_close(&ctl[i]);
	}
	return r;
}

/* Watches it. @res: owned from here on. */
static int launched(struct vm_device *dev, const struct spawn_result *res)
{
	dev->pid = res->pid;
	dev->pidfd = res->pidfd;
	return loop_add(&dev->vm->loop, &dev->pid_src, dev->pidfd, EPOLLIN,
			on_process_end);
}

/* ------------------------------------------------------- another process */

static void spawn_add(struct vm_device *dev)
{
	struct vm_device **at = &dev->vm->spawns;

	while (*at)
		at = &(*at)->next_spawn;
	*at = dev;
	dev->next_spawn = NULL;
	dev->spawning = true;
}

static void spawned(struct vm_device *dev, const struct spawn_result *res)
{
	if (launched(dev, res) < 0) {
		kill_process(dev);
		fd_close(&dev->pidfd);
		process_ended(dev, "cannot be watched");
	} else if (virtio_mmio_is_dead(&dev->mmio)) {
		/* Too late: the device has died meanwhile. */
		kill_process(dev);
	} else {
		log_warn("%s: replaced by process %d", dev->name, dev->pid);
		vm_tell(dev->vm, device, dev, VM_DEVICE_RESPAWNED, NULL);
	}
}

void vm_devices_on_spawner(struct vm *vm)
{
	struct vm_device *dev = vm->spawns;
	struct spawn_result res;
	struct err err;
	int r = spawner_spawn_end(vm->spawner, dev->name, &res, &err);

	if (r == -EINPROGRESS)
		return;
	vm->spawns = dev->next_spawn;
	dev->spawning = false;
	if (r == 0) {
		spawned(dev, &res);
		return;
	}
	log_err("%s: %s", dev->name, err.msg);
	process_ended(dev, "could not be restarted");
}

int vm_device_mac(const struct config_mac *given, uint8_t ret[MAC_BYTES],
		  struct err *err)
{
	int r = 0;

	if (given->set)
		memcpy(ret, given->addr, MAC_BYTES);
	else
		r = mac_random(ret);
	return r < 0 ? err_set_errno(err, r, "random MAC address") : 0;
}

/* Starts a process in place of a dead one. */
static int respawn(struct vm_device *dev, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	int vhost_fd, r = 0;

	if (dev->spawning)
		return err_set(err, -EBUSY,
			       "the spawner has not started the last process "
			       "yet");
	if (dev->option->reopen)
		r = dev->option->reopen(dev, &fd, err);
	if (r < 0)
		return r;
	vhost_fd = launch(dev, false, NULL, err);
	if (vhost_fd < 0)
		return vhost_fd;
	spawn_add(dev);
	r = virtio_mmio_respawn(&dev->mmio, vhost_fd);
	if (r < 0) {
		fd_close(&vhost_fd);
		return err_set_errno(err, r, "device %s", dev->name);
	}
	return 0;
}

static int op_respawn(struct virtio_mmio *mmio)
{
	struct vm_device *dev = owner(mmio);
	struct err err;
	int r;

	if (!dev->type->respawns)
		return -EOPNOTSUPP;
	r = respawn(dev, &err);
	if (r < 0) {
		log_err("%s: %s", dev->name, err.msg);
		lost(dev);
		return r;
	}
	/* It watches for the wakes that the guest armed, and for those since.
	 */
	if (dev->wake.armed)
		vm_ctl_arm(dev, NULL);
	return 0;
}

static const struct virtio_mmio_ops mmio_ops = {
	.hold = op_hold,
	.release = op_release,
	.event = op_event,
	.failed = op_failed,
	.respawn = op_respawn,
	.config_published = op_config_published,
};

/* Nobody makes another one of these. */
static const struct virtio_mmio_ops foreign_ops = {
	.hold = op_hold,
	.release = op_release,
	.event = op_event,
	.failed = op_failed,
	.kick_moves = op_kick_moves,
};

static int start_transport(struct vm *vm, struct vm_device *dev,
			   const struct virtio_type *type, int vhost_fd)
{
	static const uint64_t suspend[] = {
		[SUSPEND_V14] = VIRTIO_MMIO_SUSPEND_V14,
		[SUSPEND_DRAFT] = VIRTIO_MMIO_SUSPEND_DRAFT,
		[SUSPEND_BOTH] = VIRTIO_MMIO_SUSPEND_BOTH,
		[SUSPEND_OFF] = 0,
	};
	const struct virtio_mmio_config cfg = {
		.ops = dev->is_foreign ? &foreign_ops : &mmio_ops,
		.name = dev->name,
		.device_id = type->id,
		.queue_size = type->queue_size,
		.nr_queues = type->nr_queues,
		.config_size = type->config_size,
		.gpa = dev->slot.gpa,
		.page = (struct virtio_regpage *)vm->pages + dev->index,
		.vhost_fd = vhost_fd,
		.deadline_ns = ANSWER_DEADLINE_NS,
		.suspend = suspend[dev->plan.suspend],
		.suspend_deadline_ns = vm->cfg->device_timeout_ms * NS_PER_MS,
		.foreign = dev->is_foreign ? &dev->foreign : NULL,
	};
	int r;

	r = virtio_mmio_init(&dev->mmio, &cfg, &vm->loop, &vm->mailbox, &vm->gm,
			     on_ready);
	if (r < 0)
		return r;
	dev->has_transport = true;
	vm->handshakes++;
	return connect_kvm(vm, dev);
}

struct vm_device *vm_device_new(struct vm *vm,
				const struct vm_device_option *option,
				enum virtio_type_index index, int number,
				struct err *err)
{
	const struct virtio_type *type = &virtio_types[index];
	struct vm_device *dev = &vm->devices[vm->nr_devices];
	struct arch_virtio_slot slot;

	if (vm_platform_virtio_slot(vm, vm->nr_devices, &slot, err) < 0)
		return NULL;
	*dev = (struct vm_device){
		.vm = vm,
		.type = type,
		.option = option,
		.number = number,
		.plan = { .req = { .role = type->name,
				   .ctl_fd = -1,
				   .regpage_fd = -1,
				   .wake_fd = -1,
				   .vhost_fd = -1 },
			  .kept_fds = { -1, -1 } },
		.index = vm->nr_devices,
		.slot = slot,
		.page_fd = -1,
		.ctl = { .fd = -1, .src.fd = -1 },
		.wake_fd = -1,
		.pidfd = -1,
		.fence = { .fd = -1,
			   .job = { .run = fence_look, .done = fence_seen } },
		.wake_src.fd = -1,
		.pid_src.fd = -1,
	};
	if (number < 0)
		(void)snprintf(dev->name, sizeof(dev->name), "%s", type->name);
	else
		(void)snprintf(dev->name, sizeof(dev->name), "%s%d", type->name,
			       number);
	dev->wake.name = dev->name;
	dev->wake.gpe_bit = 1U << dev->index;
	trace_name_device(&vm->trace, dev->index, dev->name);
	vm->nr_devices++;
	return dev;
}

int vm_device_start(struct vm *vm, struct vm_device *dev, struct err *err)
{
	struct spawn_result res = { 0 };
	int r, vhost_fd;

	r = map_page(vm, dev);
	if (r == 0)
		r = dev->wake_fd = fd_event_create();
	if (r >= 0)
		r = loop_add(&vm->loop, &dev->wake_src, dev->wake_fd, EPOLLIN,
			     on_wake);
	if (r < 0)
		return err_set_errno(err, r, "device %s", dev->name);
	loop_pace(&dev->wake_src);
	vhost_fd = launch(dev, true, &res, err);
	if (vhost_fd < 0)
		return vhost_fd;
	r = launched(dev, &res);
	if (r < 0) {
		fd_close(&vhost_fd);
		return err_set_errno(err, r, "device %s", dev->name);
	}
	r = start_transport(vm, dev, dev->type, vhost_fd);
	if (r < 0) {
		if (!dev->has_transport)
			fd_close(&vhost_fd);
		return err_set_errno(err, r, "device %s", dev->name);
	}
	power_add_source(&vm->power, &dev->wake);
	return 0;
}

int vm_device_attach(struct vm *vm, struct vm_device *dev,
		     const struct virtio_type *type, int vhost_fd,
		     struct err *err)
{
	int r;

	dev->is_foreign = true;
	/* It has nothing to say it with. */
	dev->wake.off = true;
	r = map_page(vm, dev);
	if (r == 0)
		r = start_transport(vm, dev, type, vhost_fd);
	if (!dev->has_transport)
		fd_close(&vhost_fd);
	if (r < 0)
		return err_set_errno(err, r, "device %s", dev->name);
	return 0;
}

int vm_devices_wait_ready(struct vm *vm, struct err *err)
{
	while (vm->handshakes > 0) {
		int r = loop_turn(&vm->loop, -1);

		if (r < 0)
			return err_set_errno(err, r, "event loop");
		/* SIGTERM meanwhile. */
		if (atomic_load(&vm->exit_code) >= 0)
			return -ECANCELED;
	}
	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		struct vm_device *dev = &vm->devices[i];

		if (virtio_mmio_is_dead(&dev->mmio))
			return err_set(
				err, -ECHILD,
				"device %s did not start; see its messages "
				"above",
				dev->name);
	}
	return 0;
}

void vm_devices_destroy(struct vm *vm)
{
	/* If it hangs in a file system, it still uses the device's back end. */
	bool worker_ended = worker_stop(&vm->files);

	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		struct vm_device *dev = &vm->devices[i];

		if (dev->has_transport)
			virtio_mmio_finish(&dev->mmio);
		loop_timer_cancel(&vm->loop, &dev->fence.timer);
		vm_ctl_close(dev);
		loop_remove(&vm->loop, &dev->wake_src);
		loop_remove(&vm->loop, &dev->pid_src);
		fd_close(&dev->wake_fd);
		fd_close(&dev->pidfd);
		fd_close(&dev->page_fd);
		fd_close(&dev->plan.kept_fds[0]);
		fd_close(&dev->plan.kept_fds[1]);
		fd_close(&dev->fence.fd);
		if (dev->option->destroy &&
		    (worker_ended || !dev->fence.job.pending))
			dev->option->destroy(dev);
	}
	if (vm->pages)
		(void)munmap(vm->pages,
			     (size_t)config_count_devices(vm->cfg, NULL) *
				     VIRTIO_REGPAGE_SIZE);
	vm->pages = NULL;
	vm->nr_devices = 0;
}
