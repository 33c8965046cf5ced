/* SPDX-License-Identifier: BSD-3-Clause */
/* A second vCPU for payloads that want one. */
#ifndef TORPOR_GUEST_SMP_H
#define TORPOR_GUEST_SMP_H

#include "guest/payloads/runtime.h"

/*
 * Has the CPU of APIC id 1 call @fn, with interrupts off; when that returns it
 * halts, and may be started again. Return: false if it does not begin.
 */
bool smp_start(void (*fn)(void));

#endif
