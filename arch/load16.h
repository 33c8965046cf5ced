/* SPDX-License-Identifier: BSD-3-Clause */
/* One load of 16 bytes of memory that another party may write meanwhile. */
#ifndef TORPOR_ARCH_LOAD16_H
#define TORPOR_ARCH_LOAD16_H

#include <string.h>

/**
 * shared_load16() - copies 16 bytes as they were at one moment
 * @from: aligned to 16 bytes
 *
 * The compiler has no such load: its __atomic_load_n() of 16 bytes may call a
 * library, or write.
 *
 * x86-64: every processor with AVX makes a 16-byte load of an aligned address
 * atomic (Intel SDM volume 3, 9.1.1; AMD APM volume 2, 7.3.2). aarch64: LDP
 * does, with FEAT_LSE2 (Arm ARM, B2.2.1).
 */
static inline void shared_load16(const void *from, void *to)
{
	typedef unsigned long long whole __attribute__((vector_size(16)));
	whole v;

#if defined(__x86_64__)
	__asm__ volatile("movdqa %1, %0" : "=x"(v) : "m"(*(const whole *)from));
#elif defined(__aarch64__)
	unsigned long long low, high;

	__asm__ volatile("ldp %0, %1, %2"
			 : "=r"(low), "=r"(high)
			 : "Q"(*(const whole *)from));
	v = (whole){ low, high };
#else
#error "which instruction loads 16 bytes at once?"
#endif
	memcpy(to, &v, sizeof(v));
}

#endif
