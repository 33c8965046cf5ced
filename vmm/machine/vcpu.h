/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vCPU threads: one per vCPU; each runs KVM_RUN and answers its exits. The VM's
 * main thread creates, holds and stops them. The callbacks of struct vcpu_ops,
 * on the vCPU's thread, decide the meaning of an exit.
 */
#ifndef TORPOR_VMM_MACHINE_VCPU_H
#define TORPOR_VMM_MACHINE_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/util.h"
#include "vmm/machine/bus.h"

struct vcpu;
struct vcpu_set;

/*
 * Exits to user space by kind; written by the vCPU's thread only, others read
 * by __atomic_load_n().
 */
struct vcpu_stats {
	uint64_t exits; /* all of them, kicks included */
	uint64_t pio_in, pio_out;
	uint64_t mmio_read, mmio_write;
	uint64_t eoi;
	uint64_t kicks; /* KVM_RUN interrupted */
};

enum vcpu_end {
	VCPU_END_RESET,	   /* triple fault or a shutdown event */
	VCPU_END_INTERNAL, /* KVM cannot go on: emulation failure, bad state */
};

struct vcpu_ops {
	/* First of all, on the vCPU's thread; may be NULL. 0 or -errno. */
	int (*begin)(struct vcpu *vcpu);
	void (*ran)(struct vcpu *vcpu);
	void (*kicked)(struct vcpu *vcpu);
	/* Before the port bus: true if the read was answered (*data set). */
	bool (*port_read)(struct vcpu *vcpu, uint16_t port, void *data,
			  uint32_t len);
	void (*eoi)(struct vcpu *vcpu, uint8_t vector);
	void (*ended)(struct vcpu *vcpu, enum vcpu_end end, const char *why);
};

struct vcpu {
	/* vmm/vm/halt.c: the last round that it took part in. */
	unsigned int halt_round;
	struct vcpu_set *set;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	pid_t tid; /* 0 until the thread runs */
	/* In KVM_RUN or about to be; see vcpu_set_hold(). */
	bool in_guest;
	struct vcpu_stats stats;
};

#define VCPU_MAX 64

struct vcpu_set {
	const struct vcpu_ops *ops;
	void *ctx;
	const struct bus *pio, *mmio;
	size_t run_size; /* bytes of struct kvm_run's mapping */
	unsigned int nr;
	struct vcpu vcpus[VCPU_MAX];
	pthread_mutex_t lock;
	pthread_cond_t cond; /* hold ended, or a vCPU left guest mode */
	unsigned int holds;
	unsigned int begun; /* threads that have done ops->begin */
	int begin_error;    /* of the first failure */
	bool stop;
};

int vcpu_set_init(struct vcpu_set *set, int kvm_fd, int vm_fd, unsigned int nr,
		  const struct vcpu_ops *ops, void *ctx, const struct bus *pio,
		  const struct bus *mmio) must_check;
/* Stops and joins the threads, closes everything. @set may be zeroed. */
void vcpu_set_finish(struct vcpu_set *set);
/* Starts every thread; all have done ops->begin. Return: 0 or -errno. */
int vcpu_set_start(struct vcpu_set *set) must_check;
/*
 * Makes the threads end soon; the caller wakes threads that wait elsewhere.
 * @set may be zeroed.
 */
void vcpu_set_stop(struct vcpu_set *set);

/* Makes a vCPU leave KVM_RUN and call ops->kicked. Any thread. */
void vcpu_kick(struct vcpu *vcpu);

/*
 * No vCPU is in guest mode between hold and release. Nests. Not from a vCPU
 * thread.
 */
void vcpu_set_hold(struct vcpu_set *set);
void vcpu_set_release(struct vcpu_set *set);

#endif
