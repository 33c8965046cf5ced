/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors that change while the device reads them. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/virtq.h"

#define SIZE 8
#define RAM  (4U << 20)

static struct guest g;
static struct guest_ring r;
static struct virtq vq;
static struct iovec iov[VIRTQ_MAX_CHAIN];
static struct virtq_chain c;
static uint64_t buf; /* 64 KiB of guest memory */

static void setup(void)
{
	guest_init(&g, RAM);
	guest_ring_init(&r, &g, SIZE);
	buf = guest_alloc(&g, 65536, 4096);
	virtq_init(&vq);
	cr_assert(zero(int, virtq_setup(&vq, &g.gm, SIZE, r.desc_gpa,
					r.avail_gpa, r.used_gpa)));
	virtq_start(&vq, 0, false, true);
}

static void teardown(void)
{
	virtq_finish(&vq);
	guest_ring_finish(&r);
	guest_finish(&g);
}

TestSuite(virtq_fetch, .init = setup, .fini = teardown, .timeout = 200);

static int pop(void)
{
	return virtq_pop(&vq, &c, iov, VIRTQ_MAX_CHAIN);
}

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
	struct vring_desc readable = { .addr = buf, .len = 64 };
	struct vring_desc writable = { .addr = buf + 8192,
				       .len = 4096,
				       .flags = VRING_DESC_F_WRITE };
	unsigned int seen[2] = { 0 };
	unsigned int n = 0;

	cr_assert(signal(SIGTRAP, on_step) != SIG_ERR);
	*(uint8_t *)guest_ptr(&g, buf) = 'r';
	rewrite.at = at;
	rewrite.other = &writable;
	do {
		n += STRIDE;
		*at = readable;
		guest_ring_avail(&r, head);
		cr_assert(eq(int, pop_rewritten_after(n), 1));
		cr_assert(eq(uint, c.nr_in + c.nr_out, 1));
		cr_assert(eq(u64, c.len_out, c.nr_out ? 64 : 0));
		cr_assert(eq(u64, c.len_in, c.nr_in ? 4096 : 0));
		cr_assert(eq(int, *(uint8_t *)iov[0].iov_base == 'r', c.nr_out),
			  "after %u instructions: a mix of two", n);
		seen[c.nr_in]++;
		virtq_push(&vq, c.head, 0);
	} while (!rewrite.left);
	cr_assert(gt(uint, seen[0], 0));
	cr_assert(gt(uint, seen[1], 0));
}

Test(virtq_fetch, descriptor_rewritten_meanwhile_is_no_mix_of_two)
{
	assert_no_mix(&r.desc[0], 0);
}

Test(virtq_fetch, indirect_descriptor_rewritten_is_no_mix_of_two)
{
	guest_ring_desc(&r, 1, buf + 32768, sizeof(struct vring_desc),
			VRING_DESC_F_INDIRECT, 0);
	assert_no_mix(guest_ptr(&g, buf + 32768), 1);
}
