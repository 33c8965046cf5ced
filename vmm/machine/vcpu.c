/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmm/machine/vcpu.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "arch/arch.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"

/* Interrupts KVM_RUN and a blocking write; its handler does nothing. */
#define KICK_SIGNAL	   SIGUSR1
#define THREAD_STACK_BYTES (256UL * 1024)
#define REKICK_NS	   10000000L

static void on_kick_signal(int sig)
{
	(void)sig;
}

static bool stopping(struct vcpu_set *set)
{
	return __atomic_load_n(&set->stop, __ATOMIC_SEQ_CST);
}

static bool held(struct vcpu_set *set)
{
	return __atomic_load_n(&set->holds, __ATOMIC_SEQ_CST) > 0;
}

/*
 * in_guest and holds form a handshake: each side stores its own and then
 * reads the other's (sequentially consistent), so at least one sees the other.
 * A vCPU that saw no hold is kicked out by the holder, who saw in_guest.
 */
static void enter_guest(struct vcpu *vcpu)
{
	struct vcpu_set *set = vcpu->set;

	for (;;) {
		__atomic_store_n(&vcpu->in_guest, true, __ATOMIC_SEQ_CST);
		if (!held(set))
			return;
		(void)pthread_mutex_lock(&set->lock);
		__atomic_store_n(&vcpu->in_guest, false, __ATOMIC_SEQ_CST);
		(void)pthread_cond_broadcast(&set->cond);
		while (held(set) && !stopping(set))
			(void)pthread_cond_wait(&set->cond, &set->lock);
		(void)pthread_mutex_unlock(&set->lock);
		if (stopping(set))
			return;
	}
}

static void leave_guest(struct vcpu *vcpu)
{
	struct vcpu_set *set = vcpu->set;

	__atomic_store_n(&vcpu->in_guest, false, __ATOMIC_SEQ_CST);
	if (!held(set))
		return;
	(void)pthread_mutex_lock(&set->lock);
	(void)pthread_cond_broadcast(&set->cond);
	(void)pthread_mutex_unlock(&set->lock);
}

/* Others may read it at any time; only this thread writes. */
static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static void exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	const struct bus *bus = vcpu->set->pio;
	uint16_t port = run->io.port;
	uint32_t size = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(bus, port, data, size);
		else if (!vcpu->set->ops->port_read(vcpu, port, data, size))
			bus_read(bus, port, data, size);
	}
	if (run->io.direction == KVM_EXIT_IO_OUT)
		count(&vcpu->stats.pio_out);
	else
		count(&vcpu->stats.pio_in);
}

static void exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.is_write) {
		count(&vcpu->stats.mmio_write);
		bus_write(vcpu->set->mmio, run->mmio.phys_addr, run->mmio.data,
			  run->mmio.len);
	} else {
		count(&vcpu->stats.mmio_read);
		bus_read(vcpu->set->mmio, run->mmio.phys_addr, run->mmio.data,
			 run->mmio.len);
	}
}

static void end_internal(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	char why[128];

	(void)snprintf(why, sizeof(why),
		       "KVM exit %u (detail %u) on vCPU %u at pc %#llx",
		       run->exit_reason, run->internal.suberror, vcpu->index,
		       (unsigned long long)arch_vcpu_pc(vcpu->fd));
	vcpu->set->ops->ended(vcpu, VCPU_END_INTERNAL, why);
}

/* Return: false if this vCPU cannot run on. */
static bool handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	const struct vcpu_ops *ops = vcpu->set->ops;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		exit_mmio(vcpu);
		return true;
	case KVM_EXIT_IOAPIC_EOI:
		count(&vcpu->stats.eoi);
		ops->eoi(vcpu, run->eoi.vector);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:
		ops->ended(vcpu, VCPU_END_RESET, "triple fault");
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		ops->ended(vcpu, VCPU_END_RESET, "system event");
		return false;
	default:
		end_internal(vcpu);
		return false;
	}
}

static int run_once(struct vcpu *vcpu)
{
	int r;

	enter_guest(vcpu);
	r = stopping(vcpu->set) ? -EINTR : kvm_run(vcpu->fd);
	leave_guest(vcpu);
	count(&vcpu->stats.exits);
	if (r == -EINTR || r == -EAGAIN) {
		count(&vcpu->stats.kicks);
		/* Cleared before looking at what the kick was for. */
		__atomic_store_n(&vcpu->run->immediate_exit, 0,
				 __ATOMIC_SEQ_CST);
		vcpu->set->ops->kicked(vcpu);
		return 0;
	}
	vcpu->set->ops->ran(vcpu);
	return r;
}

/* Return: whether the thread may go on. */
static bool begin(struct vcpu *vcpu)
{
	struct vcpu_set *set = vcpu->set;
	int r = set->ops->begin ? set->ops->begin(vcpu) : 0;

	(void)pthread_mutex_lock(&set->lock);
	set->begun++;
	if (r < 0 && !set->begin_error)
		set->begin_error = r;
	(void)pthread_cond_broadcast(&set->cond);
	(void)pthread_mutex_unlock(&set->lock);
	return r == 0;
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];
	int r = 0;

	(void)snprintf(name, sizeof(name), "vcpu%u", vcpu->index % 1000);
	(void)pthread_setname_np(pthread_self(), name);
	__atomic_store_n(&vcpu->tid, gettid(), __ATOMIC_RELEASE);
	if (!begin(vcpu))
		return NULL;
	while (!stopping(vcpu->set)) {
		uint64_t before = vcpu->stats.kicks;

		r = run_once(vcpu);
		if (r < 0)
			break;
		if (vcpu->stats.kicks == before && !handle_exit(vcpu))
			break;
	}
	if (r < 0)
		vcpu->set->ops->ended(vcpu, VCPU_END_INTERNAL, strerror(-r));
	return NULL;
}

static int vcpu_create(struct vcpu_set *set, int vm_fd, unsigned int index)
{
	struct vcpu *vcpu = &set->vcpus[index];
	void *run;

	vcpu->set = set;
	vcpu->index = index;
	vcpu->fd = kvm_create_vcpu(vm_fd, index);
	if (vcpu->fd < 0)
		return vcpu->fd;
	set->nr = index + 1;
	run = mmap(NULL, set->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu->fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	vcpu->run = run;
	return 0;
}

int vcpu_set_init(struct vcpu_set *set, int kvm_fd, int vm_fd, unsigned int nr,
		  const struct vcpu_ops *ops, void *ctx, const struct bus *pio,
		  const struct bus *mmio)
{
	int r;

	assert(nr <= VCPU_MAX);
	*set = (struct vcpu_set){
		.ops = ops, .ctx = ctx, .pio = pio, .mmio = mmio
	};
	(void)pthread_mutex_init(&set->lock, NULL);
	(void)pthread_cond_init(&set->cond, NULL);
	r = kvm_vcpu_mmap_size(kvm_fd);
	if (r < 0)
		return r;
	set->run_size = (size_t)r;
	for (unsigned int i = 0; i < nr; i++) {
		r = vcpu_create(set, vm_fd, i);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * A kick may arrive just before a write(2) to a host that does not read, and
 * then interrupts nothing: kick again until the thread is gone.
 */
static void join(struct vcpu *vcpu)
{
	struct timespec ts;

	for (;;) {
		(void)clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += REKICK_NS;
		if (ts.tv_nsec >= 1000000000L) {
			ts.tv_nsec -= 1000000000L;
			ts.tv_sec++;
		}
		if (pthread_timedjoin_np(vcpu->thread, NULL, &ts) != ETIMEDOUT)
			return;
		vcpu_kick(vcpu);
	}
}

void vcpu_set_finish(struct vcpu_set *set)
{
	if (!set->ops)
		return;
	vcpu_set_stop(set);
	for (unsigned int i = 0; i < set->nr; i++) {
		struct vcpu *vcpu = &set->vcpus[i];

		if (vcpu->started)
			join(vcpu);
		if (vcpu->run)
			(void)munmap(vcpu->run, set->run_size);
		fd_close(&vcpu->fd);
	}
	(void)pthread_cond_destroy(&set->cond);
	(void)pthread_mutex_destroy(&set->lock);
	set->ops = NULL;
}

int vcpu_set_start(struct vcpu_set *set)
{
	struct sigaction sa = { .sa_handler = on_kick_signal };
	unsigned int started = 0;
	pthread_attr_t attr;
	int r = 0;

	(void)sigemptyset(&sa.sa_mask);
	if (sigaction(KICK_SIGNAL, &sa, NULL) < 0)
		return -errno;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	for (unsigned int i = 0; i < set->nr && r == 0; i++) {
		r = -pthread_create(&set->vcpus[i].thread, &attr, vcpu_main,
				    &set->vcpus[i]);
		set->vcpus[i].started = r == 0;
		started += r == 0;
	}
	(void)pthread_attr_destroy(&attr);
	(void)pthread_mutex_lock(&set->lock);
	while (set->begun < started)
		(void)pthread_cond_wait(&set->cond, &set->lock);
	(void)pthread_mutex_unlock(&set->lock);
	return r < 0 ? r : set->begin_error;
}

void vcpu_kick(struct vcpu *vcpu)
{
	/* Set first: a signal that lands before KVM_RUN must not be lost. */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (vcpu->started)
		(void)pthread_kill(vcpu->thread, KICK_SIGNAL);
}

void vcpu_set_stop(struct vcpu_set *set)
{
	if (!set->ops)
		return;
	(void)pthread_mutex_lock(&set->lock);
	__atomic_store_n(&set->stop, true, __ATOMIC_SEQ_CST);
	(void)pthread_cond_broadcast(&set->cond);
	(void)pthread_mutex_unlock(&set->lock);
	for (unsigned int i = 0; i < set->nr; i++)
		vcpu_kick(&set->vcpus[i]);
}

void vcpu_set_hold(struct vcpu_set *set)
{
	(void)__atomic_add_fetch(&set->holds, 1, __ATOMIC_SEQ_CST);
	(void)pthread_mutex_lock(&set->lock);
	for (unsigned int i = 0; i < set->nr; i++) {
		struct vcpu *vcpu = &set->vcpus[i];

		if (!vcpu->started)
			continue;
		if (__atomic_load_n(&vcpu->in_guest, __ATOMIC_SEQ_CST))
			vcpu_kick(vcpu);
		while (__atomic_load_n(&vcpu->in_guest, __ATOMIC_SEQ_CST))
			(void)pthread_cond_wait(&set->cond, &set->lock);
	}
	(void)pthread_mutex_unlock(&set->lock);
}

void vcpu_set_release(struct vcpu_set *set)
{
	(void)pthread_mutex_lock(&set->lock);
	(void)__atomic_sub_fetch(&set->holds, 1, __ATOMIC_SEQ_CST);
	(void)pthread_cond_broadcast(&set->cond);
	(void)pthread_mutex_unlock(&set->lock);
}
