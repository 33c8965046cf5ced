/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small helpers for every file: container_of, cleanup attributes, and accessors
 * for memory that another party may write at the same moment. Header only; no
 * state, no threads.
 */
#ifndef TORPOR_VMM_BASE_UTIL_H
#define TORPOR_VMM_BASE_UTIL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define BIT(n) (1ULL << (n))

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

#define MIN(a, b)                     \
	({                            \
		__auto_type a_ = (a); \
		__auto_type b_ = (b); \
		a_ < b_ ? a_ : b_;    \
	})
#define MAX(a, b)                     \
	({                            \
		__auto_type a_ = (a); \
		__auto_type b_ = (b); \
		a_ > b_ ? a_ : b_;    \
	})

/* The caller may not drop the result; (void)f() drops it on purpose. */
#define must_check __attribute__((warn_unused_result))

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Move a pointer out of a cleanup variable. */
#define TAKE(p)                       \
	({                            \
		__auto_type p_ = (p); \
		(p) = NULL;           \
		p_;                   \
	})

static inline void freep(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ _cleanup_(freep)

/*
 * One load or store of a shared little-endian field. Shared means that the
 * guest or another process may change it at any time: read it once, then
 * validate the copy. x86-64 and aarch64 run little-endian here, which is
 * asserted.
 */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "guest memory is accessed as little-endian");

#define shared_load(p)		   __atomic_load_n((p), __ATOMIC_RELAXED)
#define shared_load_acquire(p)	   __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define shared_store(p, v)	   __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define shared_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

#endif
