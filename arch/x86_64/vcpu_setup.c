/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/boot.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/layout.h"
#include "vmm/base/log.h"
#include "vmm/machine/kvm.h"

#define CPUID_ADDRESS_BITS 0x80000008U
#define ADDRESS_BITS_LEAST 36U /* of a CPU that does not say it */

#define CR0_PE	     (1ULL << 0)
#define CR0_ET	     (1ULL << 4)
#define CR0_PG	     (1ULL << 31)
#define CR4_PAE	     (1ULL << 5)
#define EFER_LME     (1ULL << 8)
#define EFER_LMA     (1ULL << 10)
#define RFLAGS_FIXED 2ULL

#define MSR_MISC_ENABLE		0x1a0U
#define MISC_ENABLE_FAST_STRING 1ULL
#define MSR_MTRR_DEF_TYPE	0x2ffU
#define MTRR_ENABLED_WRITE_BACK 0x806ULL

#define APIC_LVT_LINT0	 0x350U
#define APIC_LVT_LINT1	 0x360U
#define APIC_MODE_NMI	 0x400U
#define APIC_MODE_EXTINT 0x700U

/* The tile components: big, and allocated only when a guest asks. */
#define XCR0_AMX (3ULL << 17)

#define FPU_CONTROL_RESET 0x37f
#define MXCSR_RESET	  0x1f80

/*
 * XCR0 starts with everything enabled, as some firmware leaves it, and not
 * with the FPU alone. Where KVM is not told when the guest sets it (SVM as
 * QEMU's TCG emulates it) KVM would go on with the old value: CPUID 0xd would
 * give sizes that do not match, at which Linux warns and gives XSAVE up, and
 * AVX state would be lost in a switch. If KVM refuses, the reset value stays.
 */
static void setup_xcr0(int vcpu_fd, uint64_t components)
{
	int r;

	components &= ~XCR0_AMX;
	if (components == 0)
		return;
	r = kvm_set_xcr0(vcpu_fd, components);
	if (r < 0)
		log_debug("XCR0 not set: %s, ignored", strerror(-r));
}

/* What KVM can give a vCPU; the caller's to free. NULL: *ret_r says why. */
static struct kvm_cpuid2 *supported_cpuid(int kvm_fd, int *ret_r)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_MAX_ENTRIES *
						   sizeof(cpuid->entries[0]));

	*ret_r = -ENOMEM;
	if (!cpuid)
		return NULL;
	cpuid->nent = CPUID_MAX_ENTRIES;
	*ret_r = kvm_get_supported_cpuid(kvm_fd, cpuid);
	if (*ret_r < 0)
		free(TAKE(cpuid));
	return cpuid;
}

unsigned int arch_address_bits(int kvm_fd)
{
	int r;
	_cleanup_free_ struct kvm_cpuid2 *cpuid = supported_cpuid(kvm_fd, &r);

	for (uint32_t i = 0; cpuid && i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == CPUID_ADDRESS_BITS)
			return cpuid->entries[i].eax & 0xff;
	}
	return ADDRESS_BITS_LEAST;
}

static int setup_cpuid(const struct arch_config *cfg, int kvm_fd, int vcpu_fd,
		       unsigned int index, struct err *err)
{
	const struct cpuid_params params = {
		.index = index,
		.nr_vcpus = cfg->nr_vcpus,
		.invariant_tsc = cfg->invariant_tsc,
	};
	int r;
	_cleanup_free_ struct kvm_cpuid2 *cpuid = supported_cpuid(kvm_fd, &r);

	if (!cpuid)
		return err_set_errno(err, r, "KVM_GET_SUPPORTED_CPUID");
	r = cpuid_adjust(cpuid, CPUID_MAX_ENTRIES, &params);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: CPUID", index);
	r = kvm_set_cpuid(vcpu_fd, cpuid);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_SET_CPUID2", index);
	setup_xcr0(vcpu_fd, cpuid_get_xcr0(cpuid));
	return 0;
}

/* A list of one. */
union one_msr {
	struct kvm_msrs list;
	uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

/* Return: 1; 0 if KVM refuses the MSR or its value; -errno. */
static int set_msr(int vcpu_fd, uint32_t msr, uint64_t value)
{
	union one_msr one = { .list.nmsrs = 1 };

	one.list.entries[0].index = msr;
	one.list.entries[0].data = value;
	return kvm_set_msrs(vcpu_fd, &one.list);
}

static int get_msr(int vcpu_fd, uint32_t msr, uint64_t *ret)
{
	union one_msr one = { .list.nmsrs = 1 };
	int r;

	one.list.entries[0].index = msr;
	r = kvm_get_msrs(vcpu_fd, &one.list);
	if (r == 1)
		*ret = one.list.entries[0].data;
	return r;
}

/*
 * What firmware would have left. A KVM that does not have such an MSR refuses
 * it, and then the guest's CPUID does not promise it either.
 */
static int setup_msrs(int vcpu_fd, unsigned int index, struct err *err)
{
	uint64_t misc = 0;
	int r = get_msr(vcpu_fd, MSR_MISC_ENABLE, &misc);

	if (r == 1)
		r = set_msr(vcpu_fd, MSR_MISC_ENABLE,
			    misc | MISC_ENABLE_FAST_STRING);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: MISC_ENABLE", index);
	/* Else all guest memory is uncached on hardware that honours MTRRs. */
	r = set_msr(vcpu_fd, MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: MTRR", index);
	return 0;
}

static void lvt_set_mode(struct kvm_lapic_state *lapic, unsigned int reg,
			 uint32_t mode)
{
	memcpy(lapic->regs + reg, &mode, sizeof(mode));
}

static int setup_lapic(const struct arch_config *cfg, int vcpu_fd,
		       unsigned int index, struct err *err)
{
	struct kvm_lapic_state lapic;
	int r = kvm_get_lapic(vcpu_fd, &lapic);

	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_GET_LAPIC", index);
	if (cfg->has_pic)
		lvt_set_mode(&lapic, APIC_LVT_LINT0, APIC_MODE_EXTINT);
	lvt_set_mode(&lapic, APIC_LVT_LINT1, APIC_MODE_NMI);
	r = kvm_set_lapic(vcpu_fd, &lapic);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_SET_LAPIC", index);
	return 0;
}

/* Segments as in the table that boot_tables_write() left in memory. */
static void set_segments(struct kvm_sregs *sregs, bool is64)
{
	const struct kvm_segment data = {
		.limit = 0xffffffff,
		.selector = BOOT_SEL_DATA,
		.type = 3, /* read, write, accessed */
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};

	sregs->ds = sregs->es = sregs->ss = data;
	sregs->fs = sregs->gs = data;
	sregs->cs = data;
	sregs->cs.selector = is64 ? BOOT_SEL_CODE64 : BOOT_SEL_CODE32;
	sregs->cs.type = 11; /* execute, read, accessed */
	sregs->cs.l = is64;
	sregs->cs.db = !is64;
	sregs->tr = (struct kvm_segment){
		.limit = 0x67,
		.selector = BOOT_SEL_TSS,
		.type = 11, /* busy TSS */
		.present = 1,
	};
	sregs->ldt = (struct kvm_segment){ .unusable = 1 };
	sregs->gdt.base = LAYOUT_BOOT_GDT;
	sregs->gdt.limit = BOOT_GDT_BYTES - 1;
	/* Before it has an IDT of its own, a fault is a triple fault. */
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
}

static int setup_sregs(int vcpu_fd, const struct arch_entry *entry,
		       struct err *err)
{
	bool is64 = entry->mode == ARCH_ENTRY_LINUX64;
	struct kvm_sregs sregs;
	int r = kvm_get_sregs(vcpu_fd, &sregs);

	if (r < 0)
		return err_set_errno(err, r, "KVM_GET_SREGS");
	set_segments(&sregs, is64);
	sregs.cr0 = CR0_PE | CR0_ET | (is64 ? CR0_PG : 0);
	sregs.cr3 = is64 ? LAYOUT_PAGE_TABLES : 0;
	sregs.cr4 = is64 ? CR4_PAE : 0;
	sregs.efer = is64 ? EFER_LME | EFER_LMA : 0;
	r = kvm_set_sregs(vcpu_fd, &sregs);
	if (r < 0)
		return err_set_errno(err, r, "KVM_SET_SREGS");
	return 0;
}

static int setup_regs(int vcpu_fd, const struct arch_entry *entry,
		      struct err *err)
{
	bool is64 = entry->mode == ARCH_ENTRY_LINUX64;
	const struct kvm_regs regs = {
		.rip = entry->rip,
		.rsp = LAYOUT_BOOT_STACK,
		.rflags = RFLAGS_FIXED,
		.rsi = is64 ? LAYOUT_ZERO_PAGE : 0,
		.rbx = is64 ? 0 : LAYOUT_PVH_INFO,
	};
	const struct kvm_fpu fpu = {
		.fcw = FPU_CONTROL_RESET,
		.mxcsr = MXCSR_RESET,
	};
	int r = kvm_set_regs(vcpu_fd, &regs);

	if (r < 0)
		return err_set_errno(err, r, "KVM_SET_REGS");
	r = kvm_set_fpu(vcpu_fd, &fpu);
	if (r < 0)
		return err_set_errno(err, r, "KVM_SET_FPU");
	return 0;
}

int arch_vcpu_setup(const struct arch_config *cfg, int kvm_fd, int vcpu_fd,
		    unsigned int index, const struct arch_entry *entry,
		    struct err *err)
{
	/* First: KVM judges registers and MSRs by the guest's CPUID. */
	int r = setup_cpuid(cfg, kvm_fd, vcpu_fd, index, err);

	if (r < 0)
		return r;
	r = setup_msrs(vcpu_fd, index, err);
	if (r < 0)
		return r;
	r = setup_lapic(cfg, vcpu_fd, index, err);
	if (r < 0)
		return r;
	if (index != 0) /* KVM keeps it waiting for INIT and SIPI. */
		return 0;
	r = setup_sregs(vcpu_fd, entry, err);
	return r < 0 ? r : setup_regs(vcpu_fd, entry, err);
}
