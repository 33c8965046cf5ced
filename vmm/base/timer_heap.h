/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The armed timers of a loop, ordered by deadline and, if two are equal, by the
 * order of arming. It is a pairing heap whose links are in the timers. It
 * allocates nothing, and the first timer is known at once. Arming, cancelling
 * and taking the first cost O(log n) on average, at any place in the heap. No
 * function recurses. Owned by the loop's thread.
 */
#ifndef TORPOR_VMM_BASE_TIMER_HEAP_H
#define TORPOR_VMM_BASE_TIMER_HEAP_H

#include "vmm/base/loop.h"

/* @timer: in no heap; its deadline_ns is set. */
void timer_heap_insert(struct timer_heap *heap, struct loop_timer *timer);
/* @timer: in @heap, at any place. */
void timer_heap_remove(struct timer_heap *heap, struct loop_timer *timer);

#endif
