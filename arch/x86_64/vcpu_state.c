/* SPDX-License-Identifier: BSD-3-Clause */
/* What KVM tells of a vCPU that has run: local APIC, events, registers. */
#include <string.h>

#include "arch/arch.h"
#include "vmm/machine/kvm.h"

#define RFLAGS_IF (1ULL << 9)

#define LAPIC_SPIV	     0xf0
#define LAPIC_SPIV_ENABLED   (1U << 8)
#define LAPIC_IRR	     0x200
#define LAPIC_NR_VECTOR_REGS 8U
#define LAPIC_REG_STRIDE     0x10U

static bool irr_set(const struct kvm_lapic_state *lapic)
{
	for (unsigned int i = 0; i < LAPIC_NR_VECTOR_REGS; i++) {
		uint32_t irr;

		memcpy(&irr,
		       lapic->regs + LAPIC_IRR + (size_t)i * LAPIC_REG_STRIDE,
		       sizeof(irr));
		if (irr)
			return true;
	}
	return false;
}

unsigned int arch_vcpu_inspect(int vcpu_fd)
{
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	unsigned int bits = 0;
	uint32_t spiv;

	/* Nothing can be learnt: count it as running, so no sleep is claimed */
	if (kvm_get_lapic(vcpu_fd, &lapic) < 0 ||
	    kvm_get_vcpu_events(vcpu_fd, &events) < 0 ||
	    kvm_get_mp_state(vcpu_fd, &mp) < 0)
		return VCPU_PENDING;
	memcpy(&spiv, lapic.regs + LAPIC_SPIV, sizeof(spiv));
	/* Linux disables its local APIC by software before it goes offline. */
	if (!(spiv & LAPIC_SPIV_ENABLED))
		bits |= VCPU_OFFLINE;
	/* Never started, or waits for SIPI. */
	if (mp.mp_state == KVM_MP_STATE_UNINITIALIZED ||
	    mp.mp_state == KVM_MP_STATE_INIT_RECEIVED)
		bits |= VCPU_DOWN;
	if (mp.mp_state == KVM_MP_STATE_HALTED)
		bits |= VCPU_HALTED;
	if (irr_set(&lapic) || events.nmi.pending || events.nmi.injected ||
	    events.smi.pending || events.interrupt.injected ||
	    events.exception.injected)
		bits |= VCPU_PENDING;
	return bits;
}

bool arch_vcpu_is_stuck(int vcpu_fd)
{
	unsigned int bits = arch_vcpu_inspect(vcpu_fd);
	struct kvm_regs regs;

	if (bits & VCPU_DOWN)
		return true;
	/* An interrupt that is pending does not end it, an NMI would. */
	return bits & VCPU_HALTED && kvm_get_regs(vcpu_fd, &regs) == 0 &&
	       !(regs.rflags & RFLAGS_IF);
}

int arch_vcpu_halt(int vcpu_fd)
{
	const struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_HALTED };

	return kvm_set_mp_state(vcpu_fd, &mp);
}

uint64_t arch_vcpu_pc(int vcpu_fd)
{
	struct kvm_regs regs;

	return kvm_get_regs(vcpu_fd, &regs) == 0 ? regs.rip : 0;
}
