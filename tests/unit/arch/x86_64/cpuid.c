/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/cpuid.h"

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

static struct kvm_cpuid2 *cpuid;

static void setup(void)
{
	cpuid = calloc(1, sizeof(*cpuid) + CPUID_MAX_ENTRIES *
						   sizeof(cpuid->entries[0]));
	cr_assert(ne(ptr, cpuid, NULL));
}

static void teardown(void)
{
	free(cpuid);
}

TestSuite(cpuid, .init = setup, .fini = teardown, .timeout = 120);

static void put(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx,
		uint32_t ecx, uint32_t edx)
{
	cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
		.function = function,
		.index = index,
		.flags = function == 4 || function == 7 || function == 0xb ||
					 function == 0xd ||
					 function == 0x8000001d
				 ? INDEXED
				 : 0,
		.eax = eax,
		.ebx = ebx,
		.ecx = ecx,
		.edx = edx,
	};
}

static struct kvm_cpuid_entry2 *get(uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == function &&
		    cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	return NULL;
}

static void put_vendor(const char vendor[static 12], uint32_t max)
{
	uint32_t b, d, c;

	memcpy(&b, vendor, 4);
	memcpy(&d, vendor + 4, 4);
	memcpy(&c, vendor + 8, 4);
	put(0, 0, max, b, c, d);
}

static void adjust(unsigned int index, unsigned int nr_vcpus, int invtsc)
{
	const struct cpuid_params params = { index, nr_vcpus, invtsc };

	cr_assert(eq(int, cpuid_adjust(cpuid, CPUID_MAX_ENTRIES, &params), 0));
}

Test(cpuid, empty_list_is_left_alone)
{
	adjust(0, 1, -1);
	cr_assert(eq(u32, cpuid->nent, 0));
}

Test(cpuid, sets_deadline_timer_and_hypervisor_and_hides_mwait)
{
	put(1, 0, 0x800f12, 0xff200800, 1U << 3 | 1U << 21, 0);
	put(5, 0, 64, 64, 3, 0x11);
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(1, 0)->ecx, 1U << 31 | 1U << 24 | 1U << 21));
	cr_assert(eq(u32, get(1, 0)->edx, 0));
	cr_assert(eq(u32, get(5, 0)->eax, 0));
	cr_assert(eq(u32, get(5, 0)->ebx, 0));
	cr_assert(eq(u32, get(5, 0)->ecx, 0));
	cr_assert(eq(u32, get(5, 0)->edx, 0));
}

Test(cpuid, does_not_invent_x2apic)
{
	put(1, 0, 0, 0, 0, 0);
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(1, 0)->ecx & 1U << 21, 0));
}

Test(cpuid, each_vcpu_has_its_apic_id_in_every_leaf)
{
	for (unsigned int i = 0; i < 5; i++) {
		cpuid->nent = 0;
		put_vendor("AuthenticAMD", 0x1f);
		put(1, 0, 0, 0xff200800, 0, 0);
		put(0xb, 0, 1, 2, 0x100, 77);
		put(0xb, 1, 4, 16, 0x201, 77);
		put(0x8000001e, 0, 99, 0x1ff, 0x7ff, 1);
		adjust(i, 5, -1);
		cr_assert(eq(u32, get(1, 0)->ebx, i << 24 | 8U << 16 | 0x800));
		cr_assert(eq(u32, get(1, 0)->edx, 1U << 28));
		for (unsigned int sub = 0; sub < 3; sub++) {
			cr_assert(eq(u32, get(0xb, sub)->edx, i));
			cr_assert(eq(u32, get(0x1f, sub)->edx, i));
			cr_assert(eq(u32, get(0xb, sub)->flags, INDEXED));
		}
		cr_assert(eq(u32, get(0x8000001e, 0)->eax, i));
		cr_assert(eq(u32, get(0x8000001e, 0)->ebx, i));
		cr_assert(eq(u32, get(0x8000001e, 0)->ecx, 0));
	}
}

Test(cpuid, extended_topology_is_threads_then_cores_then_end)
{
	put_vendor("GenuineIntel", 0xb);
	adjust(2, 6, -1);
	cr_assert(eq(u32, get(0xb, 0)->eax, 0));
	cr_assert(eq(u32, get(0xb, 0)->ebx, 1));
	cr_assert(eq(u32, get(0xb, 0)->ecx, 0x100));
	cr_assert(eq(u32, get(0xb, 1)->eax, 3));
	cr_assert(eq(u32, get(0xb, 1)->ebx, 6));
	cr_assert(eq(u32, get(0xb, 1)->ecx, 0x201));
	cr_assert(eq(u32, get(0xb, 2)->ebx, 0));
	cr_assert(eq(u32, get(0xb, 2)->ecx, 2));
	cr_assert(eq(ptr, get(0x1f, 0), NULL));
}

Test(cpuid, extended_topology_beyond_the_last_leaf_is_dropped)
{
	put_vendor("GenuineIntel", 0xa);
	put(0xb, 0, 1, 2, 0x100, 77);
	adjust(0, 2, -1);
	cr_assert(eq(ptr, get(0xb, 0), NULL));
}

Test(cpuid, caches_below_the_third_level_are_private)
{
	put(4, 0, 63U << 26 | 7U << 14 | 1U << 5 | 1, 1, 2, 3);
	put(4, 1, 63U << 26 | 7U << 14 | 2U << 5 | 3, 1, 2, 3);
	put(4, 2, 63U << 26 | 31U << 14 | 3U << 5 | 3, 1, 2, 3);
	put(4, 3, 0, 0, 0, 0);
	put(0x8000001d, 3, 15U << 14 | 3U << 5 | 3, 1, 2, 3);
	adjust(0, 4, -1);
	cr_assert(eq(u32, get(4, 0)->eax, 3U << 26 | 1U << 5 | 1));
	cr_assert(eq(u32, get(4, 1)->eax, 3U << 26 | 2U << 5 | 3));
	cr_assert(eq(u32, get(4, 2)->eax, 3U << 26 | 3U << 14 | 3U << 5 | 3));
	cr_assert(eq(u32, get(4, 3)->eax, 0));
	cr_assert(eq(u32, get(0x8000001d, 3)->eax, 3U << 14 | 3U << 5 | 3));
}

Test(cpuid, amd_says_that_its_processors_are_cores)
{
	put_vendor("AuthenticAMD", 0xd);
	put(0x80000001, 0, 0, 0, 0, 0);
	put(0x80000008, 0, 0x3030, 0, 0x37007, 0);
	adjust(0, 3, -1);
	cr_assert(eq(u32, get(0x80000001, 0)->ecx, 2));
	cr_assert(eq(u32, get(0x80000008, 0)->ecx, 0x32002));
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(0x80000001, 0)->ecx, 0));
	cr_assert(eq(u32, get(0x80000008, 0)->ecx, 0x30000));
}

Test(cpuid, intel_has_no_compatibility_bit)
{
	put_vendor("GenuineIntel", 0xd);
	put(0x80000001, 0, 0, 0, 1, 0);
	adjust(0, 3, -1);
	cr_assert(eq(u32, get(0x80000001, 0)->ecx, 1));
}

Test(cpuid, arat_is_set_or_added)
{
	put_vendor("GenuineIntel", 6);
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(6, 0)->eax, 4));
	get(6, 0)->eax = 1;
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(6, 0)->eax, 5));
}

Test(cpuid, invariant_tsc_follows_the_host_unless_told)
{
	put(0x80000007, 0, 0, 0, 0, 0x100);
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(0x80000007, 0)->edx, 0x100));
	adjust(0, 1, 0);
	cr_assert(eq(u32, get(0x80000007, 0)->edx, 0));
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(0x80000007, 0)->edx, 0));
	adjust(0, 1, 1);
	cr_assert(eq(u32, get(0x80000007, 0)->edx, 0x100));
}

Test(cpuid, invariant_tsc_leaf_is_added_when_forced)
{
	put(0x80000000, 0, 0x80000004, 0, 0, 0);
	adjust(0, 1, 0);
	cr_assert(eq(ptr, get(0x80000007, 0), NULL));
	adjust(0, 1, 1);
	cr_assert(eq(u32, get(0x80000000, 0)->eax, 0x80000007));
	cr_assert(eq(u32, get(0x80000007, 0)->edx, 0x100));
}

Test(cpuid, kvm_leaves_stay_but_for_the_realtime_hint)
{
	put(0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	put(0x40000001, 0, 0x01007afb, 0, 0, 3);
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(0x40000000, 0)->ebx, 0x4b4d564b));
	cr_assert(eq(u32, get(0x40000001, 0)->eax, 0x01007afb));
	cr_assert(eq(u32, get(0x40000001, 0)->edx, 2));
}

static void put_xsave(void)
{
	put(0xd, 0, 0x207, 2696, 2696, 0);
	put(0xd, 1, 0xf, 2696, 0, 0);
	put(0xd, 2, 256, 576, 0, 0);
	put(0xd, 5, 64, 1088, 0, 0); /* AVX-512, which XCR0 lacks */
	put(0xd, 9, 8, 2688, 0, 0);
}

Test(cpuid, xsave_components_follow_xcr0)
{
	put(1, 0, 0, 0, 1U << 26 | 1U << 28, 0);
	put(7, 0, 0, 0, 1U << 3, 0);
	put_xsave();
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(0xd, 0)->eax, 0x207));
	cr_assert(eq(u32, get(0xd, 0)->ebx, 576));
	cr_assert(eq(u32, get(0xd, 0)->ecx, 2696));
	cr_assert(eq(u64, cpuid_get_xcr0(cpuid), 0x207));
	cr_assert(ne(ptr, get(0xd, 2), NULL));
	cr_assert(eq(ptr, get(0xd, 5), NULL));
	cr_assert(ne(ptr, get(0xd, 9), NULL));
}

Test(cpuid, xsave_components_follow_the_feature_bits)
{
	put(1, 0, 0, 0, 1U << 26, 0);
	put(7, 0, 0, 0, 0, 0);
	put_xsave();
	adjust(0, 1, -1);
	cr_assert(eq(u32, get(0xd, 0)->eax, 3));
	cr_assert(eq(u32, get(0xd, 0)->ecx, 576));
	cr_assert(eq(ptr, get(0xd, 2), NULL));
	cr_assert(eq(ptr, get(0xd, 9), NULL));
}

Test(cpuid, supervisor_components_stay_where_xsaves_is)
{
	put(1, 0, 0, 0, 1U << 26, 0);
	put(0xd, 0, 3, 576, 576, 0);
	put(0xd, 1, 8, 0, 1U << 11, 0);
	put(0xd, 11, 16, 0, 1, 0);
	adjust(0, 1, -1);
	cr_assert(ne(ptr, get(0xd, 11), NULL));
	get(0xd, 1)->eax = 0;
	adjust(0, 1, -1);
	cr_assert(eq(ptr, get(0xd, 11), NULL));
}

Test(cpuid, no_xsave_no_leaf)
{
	put(1, 0, 0, 0, 0, 0);
	put_xsave();
	adjust(0, 1, -1);
	cr_assert(eq(ptr, get(0xd, 0), NULL));
	cr_assert(eq(u64, cpuid_get_xcr0(cpuid), 0));
	cr_assert(eq(ptr, get(0xd, 9), NULL));
}

Test(cpuid, a_full_table_is_refused)
{
	static const struct {
		uint32_t max_leaf;
		int invtsc;
		unsigned int room; /* too little by one */
	} cases[] = {
		{ 0xb, -1, 0 }, { 0xb, -1, 1 },	 { 0xb, -1, 2 },
		{ 0xb, -1, 3 }, { 0x1f, -1, 3 }, { 0x1f, -1, 6 },
		{ 6, -1, 0 },	{ 1, 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cpuid_params params = { 0, 1, cases[i].invtsc };
		int r;

		cpuid->nent = 0;
		put_vendor("GenuineIntel", cases[i].max_leaf);
		put(0x80000000, 0, 0x80000004, 0, 0, 0);
		r = cpuid_adjust(cpuid, cpuid->nent + cases[i].room, &params);
		cr_assert(eq(int, r, -ENOSPC), "case %zu", i);
	}
}
