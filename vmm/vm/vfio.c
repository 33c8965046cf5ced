/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI devices of --vfio: opened and put on the guest's bus before the jail
 * closes, and given back at the end. In the VMM, not in processes of their own:
 * the memslots of their BARs, the pinned memory and the irqfds are the VMM's,
 * so another process would hold the same fds. What fences a device is the
 * IOMMU.
 */
#include <errno.h>
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
	struct loop_source error_src, request_src;
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

static int watch(struct vm_vfio *vfio, struct vm_vfio_device *d)
{
	struct loop *loop = &vfio->vm->loop;
	int r = 0;

	if (d->dev.error_fd >= 0)
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
	};
	struct vfio_place place;
	int r = vfio_host_find(&vfio->host, cfg->device, &place, err);

	if (r < 0)
		return r;
	params.bdf = place.bdf;
	r = params.fd = vfio_host_open(&vfio->host, &place, err);
	if (r < 0)
		return r;
	*d = (struct vm_vfio_device){ .vfio = vfio,
				      .error_src.fd = -1,
				      .request_src.fd = -1 };
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
	return r < 0 ? err_set_errno(err, r, "event loop") : 0;
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
	while (vfio->nr > 0) {
		struct vm_vfio_device *d = &vfio->devices[--vfio->nr];

		loop_remove(&vm->loop, &d->error_src);
		loop_remove(&vm->loop, &d->request_src);
		vfio_device_finish(&d->dev);
	}
	vfio_host_finish(&vfio->host);
	free(vfio);
	vm->vfio = NULL;
}
