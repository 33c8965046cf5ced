/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors that change while the device reads them. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>

#include "tests/lib/virtq_rig.h"

TestSuite(virtq_fetch, .init = virtq_test_setup, .fini = virtq_test_teardown,
	  .timeout = 200);

/*
 * A driver that rewrites a descriptor while it is fetched: the processor traps
 * after each instruction, and at the one that is chosen it becomes another.
 */
static struct {
	struct vring_desc *at;
	const struct vring_desc *other;
	unsigned int left; /* instructions before that */
} rewrite;

static void on_step(int sig)
{
	typedef long long whole __attribute__((vector_size(16)));

	if (rewrite.left && --rewrite.left == 0)
		*(volatile whole *)rewrite.at = *(const whole *)rewrite.other;
}

#define TRAP_FLAG "0x100"

static int pop_rewritten_after(unsigned int instructions)
{
	int popped;

	rewrite.left = instructions;
	__asm__ volatile("pushfq; orq $" TRAP_FLAG ", (%%rsp); popfq" ::
				 : "memory", "cc");
	popped = pop();
	__asm__ volatile("pushfq; andq $~" TRAP_FLAG ", (%%rsp); popfq" ::
				 : "memory", "cc");
	return popped;
}

/* A sanitizer has many instructions of its own: not at every one then. */
#ifdef __SANITIZE_ADDRESS__
#define STRIDE 37
#else
#define STRIDE 1
#endif

/* At every instruction of virtq_pop(): one of the two, as it was. */
static void assert_no_mix(struct vring_desc *at, uint16_t head)
{
	struct vring_desc readable = { .addr = rig.buf, .len = 64 };
	struct vring_desc writable = { .addr = rig.buf + 8192,
				       .len = 4096,
				       .flags = VRING_DESC_F_WRITE };
	unsigned int seen[2] = { 0 };
	unsigned int n = 0;

	cr_assert(signal(SIGTRAP, on_step) != SIG_ERR);
	*(uint8_t *)guest_ptr(&rig.g, rig.buf) = 'r';
	rewrite.at = at;
	rewrite.other = &writable;
	do {
		n += STRIDE;
		*at = readable;
		guest_ring_avail(&rig.r, head);
		cr_assert(eq(int, pop_rewritten_after(n), 1));
		cr_assert(eq(uint, rig.c.nr_in + rig.c.nr_out, 1));
		cr_assert(eq(u64, rig.c.len_out, rig.c.nr_out ? 64 : 0));
		cr_assert(eq(u64, rig.c.len_in, rig.c.nr_in ? 4096 : 0));
		cr_assert(eq(int, *(uint8_t *)rig.iov[0].iov_base == 'r',
			     rig.c.nr_out),
			  "after %u instructions: a mix of two", n);
		seen[rig.c.nr_in]++;
		virtq_push(&rig.vq, rig.c.head, 0);
	} while (!rewrite.left);
	cr_assert(gt(uint, seen[0], 0));
	cr_assert(gt(uint, seen[1], 0));
}

Test(virtq_fetch, descriptor_rewritten_meanwhile_is_no_mix_of_two)
{
	assert_no_mix(&rig.r.desc[0], 0);
}

Test(virtq_fetch, indirect_descriptor_rewritten_is_no_mix_of_two)
{
	guest_ring_desc(&rig.r, 1, rig.buf + 32768, sizeof(struct vring_desc),
			VRING_DESC_F_INDIRECT, 0);
	assert_no_mix(guest_ptr(&rig.g, rig.buf + 32768), 1);
}
