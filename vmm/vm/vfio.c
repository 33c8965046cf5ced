/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI devices of --vfio: opened and put on the guest's bus before the jail
 * closes, and given back at the end. In the VMM, not in processes of their own:
 * the memslots of their BARs, the pinned memory and the irqfds are the VMM's,
 * so another process would hold the same fds. What fences a device is the
 * IOMMU.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devices/vfio/device.h"
#include "devices/vfio/host.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/vm/vfio.h"

/* Behind RAM and the register pages. */
#define FIRST_MEMSLOT (ARCH_MAX_RAM_RANGES + 1)

/* How long a guest may take to power off when the host wants a device back. */
#define GIVE_BACK_NS 30000000000ULL

struct vm_vfio_device {
	struct vfio_device dev;
	struct vm_vfio *vfio;
	struct loop_source error_src, request_src, wake_src;
	char name[CONFIG_NAME_BYTES]; /* "vfio0" */
	unsigned int gpe;
	struct wake_source wake;
	struct worker_job again; /* down, after a wake-up that nobody took */
};

struct vm_vfio {
	struct vm *vm;
	struct vfio_host host;
	struct vm_vfio_device devices[CONFIG_MAX_VFIOS];
	unsigned int nr;
	struct loop_timer give_back;
};

/* ------------------------------------------------- what the host's kernel says
 */

static void on_error(struct loop_source *src, uint32_t events)
{
	struct vm_vfio_device *d =
		container_of(src, struct vm_vfio_device, error_src);

	if (!fd_event_drain(d->dev.error_fd))
		return;
	log_err("%s: the device reports an error that it does not recover from",
		d->dev.bdf);
	vm_tell(d->vfio->vm, pci, d->dev.bdf, VM_PCI_FAILED);
}

static void on_give_back(struct loop_timer *timer)
{
	struct vm_vfio *vfio = container_of(timer, struct vm_vfio, give_back);

	log_warn("the guest did not power off: stopping");
	vm_end(vfio->vm, VM_EXIT_STOP);
}

/*
 * The host's unbind waits until the device is closed, and asks again and again.
 * The guest gets the time to end what it does.
 */
static void on_request(struct loop_source *src, uint32_t events)
{
	struct vm_vfio_device *d =
		container_of(src, struct vm_vfio_device, request_src);
	struct vm_vfio *vfio = d->vfio;

	if (!fd_event_drain(d->dev.request_fd) || vfio->give_back.deadline_ns)
		return;
	log_warn("%s: the host wants it back: the guest is to power off",
		 d->dev.bdf);
	vm_tell(vfio->vm, pci, d->dev.bdf, VM_PCI_WANTED);
	(void)power_wake(&vfio->vm->power, &vfio->vm->power.powerbtn);
	loop_timer_set(&vfio->vm->loop, &vfio->give_back, GIVE_BACK_NS,
		       on_give_back);
}

/* ---------------------------------------------------------------- low power */

static void run_again(struct worker_job *job)
{
	vfio_power_again(&container_of(job, struct vm_vfio_device, again)->dev);
}

static void done_again(struct worker_job *job)
{
}

/*
 * The device has left low power: something happened there that it wants the
 * guest for. Until the guest takes it up, or it is sent down again, it needs
 * the power that it has when it is awake.
 */
static void on_wake(struct loop_source *src, uint32_t events)
{
	struct vm_vfio_device *d =
		container_of(src, struct vm_vfio_device, wake_src);
	struct vm *vm = d->vfio->vm;

	if (vfio_power_woken(&d->dev) && !power_wake(&vm->power, &d->wake) &&
	    !d->again.pending)
		worker_submit(&vm->files, &d->again);
}

static struct vm_vfio_device *in_slot(struct vm *vm, unsigned int slot)
{
	for (unsigned int i = 0; i < vm->vfio->nr; i++) {
		if (vm->vfio->devices[i].dev.pci.slot == slot)
			return &vm->vfio->devices[i];
	}
	return NULL;
}

static uint32_t slots_powered(struct vm *vm)
{
	uint32_t powered = 0;

	for (unsigned int i = 0; i < vm->vfio->nr; i++) {
		const struct vfio_device *dev = &vm->vfio->devices[i].dev;

		if (dev->pm == PCI_DEPTH_DEEP &&
		    pci_device_state(&dev->pci) != PCI_D3COLD)
			powered |= 1U << dev->pci.slot;
	}
	return powered;
}

/* Linux switches off what no device names, too. */
static void slot_power(struct vm *vm, unsigned int slot, bool on)
{
	struct vm_vfio_device *d = in_slot(vm, slot);

	if (d && d->dev.pm == PCI_DEPTH_DEEP)
		pci_device_set_cold(&d->dev.pci, !on);
}

struct arm_call {
	struct mailbox_item item;
	struct vm_vfio_device *d;
	bool armed;
};

static void on_arm(struct mailbox_item *item)
{
	struct arm_call *call = container_of(item, struct arm_call, item);

	call->d->wake.armed = call->armed;
	if (!call->armed)
		power_source_clear(&call->d->vfio->vm->power, &call->d->wake);
	mailbox_complete(item);
}

static void slot_arm(struct vm *vm, unsigned int slot, bool armed)
{
	struct arm_call call = { .item.fn = on_arm, .armed = armed };

	call.d = in_slot(vm, slot);
	/* Nothing wakes without the host's eventfd. */
	if (!call.d || call.d->dev.pm != PCI_DEPTH_DEEP)
		return;
	vfio_power_arm(&call.d->dev, armed && !call.d->wake.off);
	mailbox_call(&vm->mailbox, &call.item);
}

static const struct vm_pci_ops pci_ops = {
	.powered = slots_powered,
	.power = slot_power,
	.arm = slot_arm,
};

void vm_vfio_describe(const struct vm *vm, struct arch_pci_slots *ret)
{
	for (unsigned int i = 0; vm->vfio && i < vm->vfio->nr; i++) {
		const struct vm_vfio_device *d = &vm->vfio->devices[i];
		unsigned int slot = d->dev.pci.slot;

		ret->present |= 1U << slot;
		if (d->dev.pm == PCI_DEPTH_DEEP)
			ret->deep |= 1U << slot;
		ret->gpe[slot] = (uint8_t)d->gpe;
	}
	/* ACPICA connects the GPE of a slot that is empty as well. */
	for (unsigned int slot = 0; slot < ARRAY_SIZE(ret->gpe); slot++) {
		if (!(ret->present >> slot & 1))
			ret->gpe[slot] = (uint8_t)vm_platform_pci_gpe(0);
	}
}

bool vm_vfio_needs_worker(const struct vm *vm)
{
	for (unsigned int i = 0; vm->vfio && i < vm->vfio->nr; i++) {
		if (vm->vfio->devices[i].dev.pm == PCI_DEPTH_DEEP)
			return true;
	}
	return false;
}

bool vm_vfio_info(const struct vm *vm, unsigned int i, struct vm_vfio_info *ret)
{
	const struct vm_vfio_device *d;

	if (!vm->vfio || i >= vm->vfio->nr)
		return false;
	d = &vm->vfio->devices[i];
	*ret = (struct vm_vfio_info){ .name = d->name,
				      .bdf = d->dev.bdf,
				      .slot = d->dev.pci.slot,
				      .depth = d->dev.pm,
				      .state = pci_device_state(&d->dev.pci) };
	return true;
}

const char *vm_vfio_left_on(const struct vm *vm, unsigned int *at)
{
	while (vm->vfio && *at < vm->vfio->nr) {
		const struct vm_vfio_device *d = &vm->vfio->devices[(*at)++];

		if (pci_device_state(&d->dev.pci) == PCI_D0)
			return d->name;
	}
	return NULL;
}

/* It cannot be stopped by us: its DMA and its need of power go on. */
void vm_vfio_asleep(struct vm *vm)
{
	static struct log_limit limit;
	unsigned int at = 0;
	const char *name;

	while ((name = vm_vfio_left_on(vm, &at))) {
		trace_instant(&vm->trace, TRACE_POWER, TRACE_STAYS_ON, name);
		log_limited(&limit,
			    "%s (%s) stays on: the guest's driver has left it "
			    "in D0",
			    name, vm->vfio->devices[at - 1].dev.bdf);
	}
}

static int watch(struct vm_vfio *vfio, struct vm_vfio_device *d)
{
	struct loop *loop = &vfio->vm->loop;
	int r = 0;

	if (d->dev.wake_fd >= 0)
		r = loop_add(loop, &d->wake_src, d->dev.wake_fd, EPOLLIN,
			     on_wake);
	/* The device decides how often, and so does whoever uses it. */
	if (r == 0 && d->dev.wake_fd >= 0)
		loop_pace(&d->wake_src);
	if (r == 0 && d->dev.error_fd >= 0)
		r = loop_add(loop, &d->error_src, d->dev.error_fd, EPOLLIN,
			     on_error);
	if (r == 0 && d->dev.request_fd >= 0)
		r = loop_add(loop, &d->request_src, d->dev.request_fd, EPOLLIN,
			     on_request);
	return r;
}

/* ------------------------------------------------------------------- making */

static int create(struct vm_vfio *vfio, const struct vfio_config *cfg,
		  struct err *err)
{
	struct vm_vfio_device *d = &vfio->devices[vfio->nr];
	struct vfio_device_params params = {
		.vm_fd = vfio->vm->vm_fd,
		.irqchip = &vfio->vm->platform.irqchip,
		.first_memslot = FIRST_MEMSLOT + vfio->nr * VFIO_MEMSLOTS,
		.pm = cfg->pm,
	};
	struct vfio_place place;
	int r = vfio_host_find(&vfio->host, cfg->device, &place, err);

	if (r < 0)
		return r;
	params.bdf = place.bdf;
	r = params.fd = vfio_host_open(&vfio->host, &place, err);
	if (r < 0)
		return r;
	*d = (struct vm_vfio_device){
		.vfio = vfio,
		.error_src.fd = -1,
		.request_src.fd = -1,
		.wake_src.fd = -1,
		.gpe = vm_platform_pci_gpe(vfio->nr),
		.again = { .run = run_again, .done = done_again },
	};
	(void)snprintf(d->name, sizeof(d->name), "vfio%u", vfio->nr);
	d->wake = (struct wake_source){ .name = d->name,
					.gpe_bit = 1U << d->gpe,
					.off = cfg->no_wake };
	vfio->nr++;
	r = vfio_device_init(&d->dev, &params, err);
	if (r < 0)
		return r;
	r = pci_bus_add(&vfio->vm->pci, &d->dev.pci, cfg->slot);
	if (r < 0)
		return err_usage(err, r,
				 "guest-slot=%u is taken; give those with a "
				 "slot first",
				 cfg->slot);
	r = watch(vfio, d);
	if (r < 0)
		return err_set_errno(err, r, "event loop");
	if (d->dev.pm == PCI_DEPTH_DEEP)
		power_add_source(&vfio->vm->power, &d->wake);
	return 0;
}

static int connect(struct vm_vfio *vfio, struct err *err)
{
	struct vm *vm = vfio->vm;
	struct pci_places places = vm_platform_pci_places(vm);
	int r = vfio_host_map(&vfio->host, &vm->gm, err);

	if (r == 0)
		r = vfio_host_tell_kvm(&vfio->host, vm->vm_fd, err);
	if (r < 0)
		return r;
	r = vm_platform_connect_pci(vm, &pci_ops);
	if (r < 0)
		return err_set_errno(err, r, "--vfio: device addresses");
	return pci_bus_connect(&vm->pci, &vm->mmio, &places, err);
}

int vm_vfio_create(struct vm *vm, struct err *err)
{
	struct err why;
	int r = 0;

	if (vm->cfg->nr_vfios == 0)
		return 0;
	vm->vfio = calloc(1, sizeof(*vm->vfio));
	if (!vm->vfio)
		return err_set_errno(err, -ENOMEM, "--vfio");
	vm->vfio->vm = vm;
	vfio_host_init(&vm->vfio->host, "/sys", "/dev");
	for (unsigned int i = 0; i < vm->cfg->nr_vfios; i++) {
		const struct vfio_config *cfg = &vm->cfg->vfios[i];

		r = create(vm->vfio, cfg, &why);
		if (r < 0 && why.usage)
			return err_usage(err, r, "--vfio %s: %s", cfg->device,
					 why.msg);
		if (r < 0)
			return err_set(err, r, "--vfio %s: %s", cfg->device,
				       why.msg);
	}
	return connect(vm->vfio, err);
}

void vm_vfio_destroy(struct vm *vm)
{
	struct vm_vfio *vfio = vm->vfio;

	if (!vfio)
		return;
	loop_timer_cancel(&vm->loop, &vfio->give_back);
	for (unsigned int i = 0; i < vfio->nr; i++) {
		/* The worker may hang in it: then the process's end gives the
		 * devices back. */
		if (vfio->devices[i].again.pending)
			return;
	}
	while (vfio->nr > 0) {
		struct vm_vfio_device *d = &vfio->devices[--vfio->nr];

		loop_remove(&vm->loop, &d->error_src);
		loop_remove(&vm->loop, &d->request_src);
		loop_remove(&vm->loop, &d->wake_src);
		vfio_device_finish(&d->dev);
	}
	vfio_host_finish(&vfio->host);
	free(vfio);
	vm->vfio = NULL;
}
