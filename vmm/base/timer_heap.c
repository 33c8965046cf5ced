/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/base/timer_heap.h"

#include <stddef.h>

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns < b->deadline_ns;
	return a->seq < b->seq;
}

/* Two roots become one. Either may be NULL. */
static struct loop_timer *meld(struct loop_timer *a, struct loop_timer *b)
{
	struct loop_timer *top = a, *below = b;

	if (!a || !b)
		return a ? a : b;
	if (is_before(b, a)) {
		top = b;
		below = a;
	}
	below->next = top->child;
	if (below->next)
		below->next->prev = below;
	below->prev = top;
	top->child = below;
	top->next = top->prev = NULL;
	return top;
}

/*
 * The children of a removed timer become one heap: in pairs from the first to
 * the last, then each pair into the next, back to the first.
 */
static struct loop_timer *meld_siblings(struct loop_timer *first)
{
	struct loop_timer *pairs = NULL, *root = NULL;

	while (first) {
		struct loop_timer *a = first, *b = a->next;
		struct loop_timer *pair;

		first = b ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b)
			b->next = b->prev = NULL;
		pair = meld(a, b);
		pair->next = pairs;
		pairs = pair;
	}
	while (pairs) {
		struct loop_timer *pair = pairs;

		pairs = pair->next;
		pair->next = NULL;
		root = meld(root, pair);
	}
	return root;
}

void timer_heap_insert(struct timer_heap *heap, struct loop_timer *timer)
{
	timer->seq = heap->next_seq++;
	timer->child = timer->next = timer->prev = NULL;
	heap->first = meld(heap->first, timer);
}

void timer_heap_remove(struct timer_heap *heap, struct loop_timer *timer)
{
	struct loop_timer *below = meld_siblings(timer->child);

	if (heap->first == timer) {
		heap->first = below;
	} else {
		/* prev is the parent of a first child, else a sibling. */
		if (timer->prev->child == timer)
			timer->prev->child = timer->next;
		else
			timer->prev->next = timer->next;
		if (timer->next)
			timer->next->prev = timer->prev;
		heap->first = meld(heap->first, below);
	}
	timer->child = timer->next = timer->prev = NULL;
}
