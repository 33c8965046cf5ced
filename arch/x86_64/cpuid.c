/* SPDX-License-Identifier: BSD-3-Clause */
#include "arch/x86_64/cpuid.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define LEAF_KVM_FEATURES      0x40000001U
#define KVM_HINTS_REALTIME_BIT (1U << 0) /* EDX */

#define LEAF1_ECX_MONITOR      (1U << 3)
#define LEAF1_ECX_TSC_DEADLINE (1U << 24)
#define LEAF1_ECX_XSAVE	       (1U << 26)
#define LEAF1_ECX_AVX	       (1U << 28)
#define LEAF1_ECX_HYPERVISOR   (1U << 31)
#define LEAF1_EDX_HTT	       (1U << 28)

#define LEAF6_EAX_ARAT (1U << 2)

#define LEAF7_EBX_MPX	   (1U << 14)
#define LEAF7_EBX_AVX512F  (1U << 16)
#define LEAF7_ECX_PKU	   (1U << 3)
#define LEAF7_EDX_AMX_TILE (1U << 24)

#define EXT1_ECX_CMP_LEGACY    (1U << 1)
#define EXT7_EDX_INVARIANT_TSC (1U << 8)

#define TOPOLOGY_SMT  1U
#define TOPOLOGY_CORE 2U

#define LEAF_D1_EAX_XSAVES (1U << 3)

#define XSAVE_LEGACY_BYTES 576U /* FPU, SSE and the header */
#define XCR0_LEGACY	   3ULL /* always there */

/* A leaf under work. */
struct state {
	struct kvm_cpuid2 *cpuid;
	unsigned int max;
	unsigned int index;
	unsigned int nr_vcpus;
	unsigned int id_bits; /* of the APIC id that number cores */
};

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid,
				     uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
		     e->index == index))
			return e;
	}
	return NULL;
}

static int add(struct state *s, const struct kvm_cpuid_entry2 *entry)
{
	if (s->cpuid->nent >= s->max)
		return -ENOSPC;
	s->cpuid->entries[s->cpuid->nent++] = *entry;
	return 0;
}

/* Drops the entries of @function for which @drop (or NULL: always) is true. */
static void remove_if(struct kvm_cpuid2 *cpuid, uint32_t function,
		      bool (*drop)(const struct kvm_cpuid_entry2 *e,
				   uint64_t arg),
		      uint64_t arg)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == function && (!drop || drop(e, arg)))
			continue;
		cpuid->entries[n++] = *e;
	}
	cpuid->nent = n;
}

static uint32_t max_leaf(struct kvm_cpuid2 *cpuid, uint32_t base)
{
	const struct kvm_cpuid_entry2 *e = find(cpuid, base, 0);

	return e ? e->eax : base;
}

static void set_bits(uint32_t *reg, uint32_t bits, bool on)
{
	*reg = on ? *reg | bits : *reg & ~bits;
}

/* --- features --- */

static void fix_features(struct state *s)
{
	struct kvm_cpuid_entry2 *e = find(s->cpuid, 1, 0);

	if (e) {
		/* KVM emulates the deadline timer but never reports it. */
		e->ecx |= LEAF1_ECX_TSC_DEADLINE | LEAF1_ECX_HYPERVISOR;
		/* With MWAIT a guest would idle without the C2 port. */
		e->ecx &= ~LEAF1_ECX_MONITOR;
		e->ebx = (e->ebx & 0xffff) | 1U << (16 + s->id_bits) |
			 s->index << 24;
		set_bits(&e->edx, LEAF1_EDX_HTT, s->nr_vcpus > 1);
	}
	e = find(s->cpuid, 5, 0);
	if (e)
		e->eax = e->ebx = e->ecx = e->edx = 0;
	e = find(s->cpuid, LEAF_KVM_FEATURES, 0);
	if (e) /* It would bring in a cpuidle driver that polls. */
		e->edx &= ~KVM_HINTS_REALTIME_BIT;
}

/* Without ARAT the C2 state makes Linux want a broadcast timer. */
static int fix_arat(struct state *s)
{
	struct kvm_cpuid_entry2 *e = find(s->cpuid, 6, 0);

	if (e) {
		e->eax |= LEAF6_EAX_ARAT;
		return 0;
	}
	if (max_leaf(s->cpuid, 0) < 6)
		return 0;
	return add(s, &(struct kvm_cpuid_entry2){ .function = 6,
						  .eax = LEAF6_EAX_ARAT });
}

/* Without it Linux calls the TSC unstable, as there is a C2 state. */
static int fix_invariant_tsc(struct state *s, int wanted)
{
	struct kvm_cpuid_entry2 *max = find(s->cpuid, 0x80000000, 0);
	struct kvm_cpuid_entry2 *e = find(s->cpuid, 0x80000007, 0);

	if (e && wanted >= 0)
		set_bits(&e->edx, EXT7_EDX_INVARIANT_TSC, wanted > 0);
	if (e || wanted <= 0 || !max)
		return 0;
	max->eax = MAX(max->eax, 0x80000007U);
	return add(s,
		   &(struct kvm_cpuid_entry2){ .function = 0x80000007,
					       .edx = EXT7_EDX_INVARIANT_TSC });
}

/* --- topology --- */

/* Leaves 4 and 0x8000001d: one subleaf a cache. */
static void fix_caches(struct state *s)
{
	uint32_t ids = (1U << s->id_bits) - 1;

	for (uint32_t i = 0; i < s->cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &s->cpuid->entries[i];
		uint32_t level = e->eax >> 5 & 7;

		if (e->function != 4 && e->function != 0x8000001d)
			continue;
		if ((e->eax & 0x1f) == 0) /* no cache */
			continue;
		/* The third level is shared by the package. */
		e->eax &= 0x3fff;
		if (level >= 3)
			e->eax |= ids << 14;
		if (e->function == 4)
			e->eax |= ids << 26;
	}
}

static void fix_amd_topology(struct state *s)
{
	struct kvm_cpuid_entry2 *e = find(s->cpuid, 0x80000001, 0);
	const struct kvm_cpuid_entry2 *vendor = find(s->cpuid, 0, 0);

	/* On AMD: "the logical processors are cores, not threads". */
	if (e && vendor &&
	    (memcmp(&vendor->ebx, "Auth", 4) == 0 ||
	     memcmp(&vendor->ebx, "Hygo", 4) == 0))
		set_bits(&e->ecx, EXT1_ECX_CMP_LEGACY, s->nr_vcpus > 1);
	e = find(s->cpuid, 0x80000008, 0);
	if (e)
		e->ecx = (e->ecx & ~0xf0ffU) | s->id_bits << 12 |
			 (s->nr_vcpus - 1);
	e = find(s->cpuid, 0x8000001e, 0);
	if (e) {
		e->eax = s->index;
		e->ebx = s->index; /* core; one thread in it */
		e->ecx = 0;	   /* node 0 of 1 */
		e->edx = 0;
	}
}

/* Leaves 0xb and 0x1f: threads (one), cores, end. */
static int fix_extended_topology(struct state *s, uint32_t function)
{
	struct kvm_cpuid_entry2 e = {
		.function = function,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.edx = s->index,
	};
	int r;

	remove_if(s->cpuid, function, NULL, 0);
	if (max_leaf(s->cpuid, 0) < function)
		return 0;
	e.ebx = 1;
	e.ecx = TOPOLOGY_SMT << 8;
	r = add(s, &e);
	if (r < 0)
		return r;
	e.index = 1;
	e.eax = s->id_bits;
	e.ebx = s->nr_vcpus;
	e.ecx = 1 | TOPOLOGY_CORE << 8;
	r = add(s, &e);
	if (r < 0)
		return r;
	e.index = 2;
	e.eax = e.ebx = 0;
	e.ecx = 2;
	return add(s, &e);
}

/* --- XSAVE --- */

static bool is_component_outside(const struct kvm_cpuid_entry2 *e,
				 uint64_t components)
{
	return e->index >= 2 &&
	       (e->index >= 64 || !(components >> e->index & 1));
}

/* The components that belong to features this CPU does not show. */
static uint64_t absent_components(struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *one = find(cpuid, 1, 0);
	const struct kvm_cpuid_entry2 *seven = find(cpuid, 7, 0);
	uint64_t absent = 0;

	if (!one || !(one->ecx & LEAF1_ECX_AVX))
		absent |= 1U << 2;
	if (!seven || !(seven->ebx & LEAF7_EBX_MPX))
		absent |= 3U << 3;
	if (!seven || !(seven->ebx & LEAF7_EBX_AVX512F))
		absent |= 7U << 5;
	if (!seven || !(seven->ecx & LEAF7_ECX_PKU))
		absent |= 1U << 9;
	if (!seven || !(seven->edx & LEAF7_EDX_AMX_TILE))
		absent |= 3U << 17;
	return absent;
}

/*
 * A guest kernel warns if sizes and components do not add up. Subleaf 0 says
 * what there is, less what the feature bits hide; the rest must follow.
 */
static void fix_xsave(struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *one = find(cpuid, 1, 0);
	struct kvm_cpuid_entry2 *e0 = find(cpuid, 0xd, 0);
	struct kvm_cpuid_entry2 *e1 = find(cpuid, 0xd, 1);
	uint64_t xcr0, xss = 0;
	uint32_t size = XSAVE_LEGACY_BYTES;

	if (!e0)
		return;
	if (!one || !(one->ecx & LEAF1_ECX_XSAVE)) {
		remove_if(cpuid, 0xd, NULL, 0);
		return;
	}
	xcr0 = (uint64_t)e0->edx << 32 | e0->eax;
	xcr0 = (xcr0 & ~absent_components(cpuid)) | XCR0_LEGACY;
	if (e1 && e1->eax & LEAF_D1_EAX_XSAVES)
		xss = (uint64_t)e1->edx << 32 | e1->ecx;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		/* EAX: size, EBX: offset of a user component. */
		if (e->function == 0xd && e->index >= 2 && e->index < 64 &&
		    xcr0 >> e->index & 1)
			size = MAX(size, e->eax + e->ebx);
	}
	e0->eax = (uint32_t)xcr0;
	e0->edx = (uint32_t)(xcr0 >> 32);
	e0->ebx = XSAVE_LEGACY_BYTES; /* KVM follows XCR0 from here */
	e0->ecx = size;
	remove_if(cpuid, 0xd, is_component_outside, xcr0 | xss);
}

uint64_t cpuid_get_xcr0(struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *e = find(cpuid, 0xd, 0);

	return e ? (uint64_t)e->edx << 32 | e->eax : 0;
}

int cpuid_adjust(struct kvm_cpuid2 *cpuid, unsigned int max,
		 const struct cpuid_params *params)
{
	struct state s = {
		.cpuid = cpuid,
		.max = max,
		.index = params->index,
		.nr_vcpus = params->nr_vcpus,
	};
	int r;

	while (1U << s.id_bits < s.nr_vcpus)
		s.id_bits++;
	fix_features(&s);
	fix_caches(&s);
	fix_amd_topology(&s);
	fix_xsave(cpuid);
	r = fix_extended_topology(&s, 0xb);
	if (r < 0)
		return r;
	r = fix_extended_topology(&s, 0x1f);
	if (r < 0)
		return r;
	r = fix_arat(&s);
	if (r < 0)
		return r;
	return fix_invariant_tsc(&s, params->invariant_tsc);
}
