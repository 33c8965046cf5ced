/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From what KVM supports to what one vCPU shows. A pure function, so that it
 * is tested without KVM. Specs: Intel SDM vol. 2A CPUID, AMD APM vol. 3
 * appendix E, Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#ifndef TORPOR_ARCH_X86_64_CPUID_H
#define TORPOR_ARCH_X86_64_CPUID_H

#include <linux/kvm.h>
#include <stdint.h>

#include "vmm/base/util.h"

#define CPUID_MAX_ENTRIES 256 /* KVM_MAX_CPUID_ENTRIES */

struct cpuid_params {
	unsigned int index; /* of the vCPU = its APIC id */
	unsigned int nr_vcpus;
	int invariant_tsc; /* -1 as KVM says, 0 off, 1 on */
};

/**
 * cpuid_adjust() - make one vCPU's leaves out of KVM_GET_SUPPORTED_CPUID's
 * @cpuid: with room for @max entries
 *
 * Topology is one package with a core per vCPU, no hyperthreads.
 * Return: 0; -ENOSPC if the leaves to add do not fit.
 */
int cpuid_adjust(struct kvm_cpuid2 *cpuid, unsigned int max,
		 const struct cpuid_params *params) must_check;

/* What XCR0 may hold: 0 without XSAVE. @cpuid: as adjusted. */
uint64_t cpuid_get_xcr0(struct kvm_cpuid2 *cpuid);

#endif
