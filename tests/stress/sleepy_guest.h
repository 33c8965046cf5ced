/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A KVM that is none, with a guest in it: the functions of vmm/machine/kvm.h
 * that vCPU threads (vmm/machine/vcpu.c) and clocks (vmm/machine/guest_clock.c)
 * call. KVM_RUN is a small state machine that does what Linux does around its
 * sleeps, as far as torpor sees it: s2idle with and without LPS0 notices, S1
 * with its CPUs taken offline, refusals, buttons, interrupts between CPUs.
 *
 * kvm_run() is called by the vCPU threads; the rest by the main thread unless
 * it says otherwise.
 */
#ifndef TORPOR_TESTS_TSAN_SLEEPY_GUEST_H
#define TORPOR_TESTS_TSAN_SLEEPY_GUEST_H

#include "devices/acpi_pm.h"
#include "vmm/machine/vcpu.h"

/* A register of a device; writing it is an exit. 1: reset, 2: live. */
#define GUEST_DEVICE_GPA 0xd0000000ULL
#define GUEST_RESET	 1U
#define GUEST_LIVE	 2U

/* The GPE that is a lid of the guest, which wakes it. */
#define GUEST_WAKE_GPE (1U << 31)

/*
 * Both borrowed, and used until the vCPU threads have ended. Before
 * vcpu_set_init().
 */
void guest_init(struct vcpu_set *vcpus, struct acpi_pm *pm, unsigned int seed);
/* From now on it does not sleep, once it is up. Any thread. */
void guest_stay_awake(void);
/* It does not, and is up. Any thread. */
bool guest_is_up(void);
/* Of vCPU 0: the SCI, a level. Any thread. */
void guest_set_sci(bool level);
/* Is a vCPU executing guest code? In a hold or a sleep none may. Any thread. */
bool guest_executes(void);
/* S1 returned to it without WAK_STS so many times. Any thread. */
unsigned int guest_lost_s1(void);
/* For a failure: what each vCPU does, to stderr. Any thread. */
void guest_print(void);

#endif
