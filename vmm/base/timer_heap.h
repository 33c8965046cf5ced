/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The armed timers of a loop, ordered by deadline and, if two are equal, by who
 * was armed first. A pairing heap whose links are in the timers: it allocates
 * nothing, the first is known at once, and arming, cancelling and taking the
 * first cost O(log n) on average, whatever the place. No function recurses.
 * Owned by the loop's thread.
 */
#ifndef TORPOR_VMM_BASE_TIMER_HEAP_H
#define TORPOR_VMM_BASE_TIMER_HEAP_H

#include "vmm/base/loop.h"

/* @timer: in no heap; its deadline_ns is set. */
void timer_heap_insert(struct timer_heap *heap, struct loop_timer *timer);
/* @timer: in @heap, at any place. */
void timer_heap_remove(struct timer_heap *heap, struct loop_timer *timer);

#endif
