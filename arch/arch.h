/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the VMM needs from an architecture: the memory map, the first
 * instruction, the tables that describe the machine, the state of a vCPU. All
 * of it runs on the main thread before the first vCPU starts, except
 * arch_vcpu_setup().
 */
#ifndef TORPOR_ARCH_ARCH_H
#define TORPOR_ARCH_ARCH_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/base/gmem.h"
#include "vmm/base/util.h"

#define ARCH_MAX_RAM_RANGES 2
#define ARCH_MAX_VCPUS	    64
#define ARCH_MAX_VIRTIO	    31
#define ARCH_CMDLINE_MAX    0x10000 /* bytes, with the NUL */

/* The PIC and the I/O APIC: ours (the local APICs are KVM's), or KVM's too. */
enum irqchip_mode {
	IRQCHIP_SPLIT,
	IRQCHIP_KERNEL
};
extern const char *const irqchip_mode_words[];

struct arch_ram_range {
	uint64_t gpa;  /* bytes */
	uint64_t size; /* bytes */
};

struct arch_virtio_slot {
	uint64_t gpa; /* of the register page */
	uint32_t gsi;
};

enum arch_entry_mode {
	ARCH_ENTRY_LINUX64, /* Linux 64-bit boot protocol: RSI = zero page */
	ARCH_ENTRY_PVH,	    /* 32-bit protected mode: EBX = hvm_start_info */
};

struct arch_entry {
	enum arch_entry_mode mode;
	uint64_t rip;
};

/* The slots of the PCI bus, a bit each. */
struct arch_pci_slots {
	uint32_t present;
	uint32_t deep;	 /* the guest may switch their power off */
	uint8_t gpe[32]; /* with which each wakes the guest */
};

struct arch_config {
	const char *kernel_path;
	const char *initrd_path; /* NULL = none */
	const char *cmdline;
	uint64_t mem_bytes;
	unsigned int nr_vcpus; /* 1 .. ARCH_MAX_VCPUS */
	const struct arch_virtio_slot *virtio;
	unsigned int nr_virtio; /* 0 .. ARCH_MAX_VIRTIO */
	unsigned int nr_ioapic_pins;
	bool has_pic; /* the in-kernel irqchip has an 8259, split has not */
	bool has_pci; /* a PCI bus, see layout.h */
	struct arch_pci_slots pci;
	/* CPUID 0x80000007.EDX[8]: -1 follow the host, 0 off, 1 on. */
	int invariant_tsc;
};

/* How many bits an address has in the guest; @kvm_fd: /dev/kvm. */
unsigned int arch_address_bits(int kvm_fd);

/* Splits @mem_bytes around the PCI hole. Return: number of ranges. */
unsigned int arch_ram_ranges(uint64_t mem_bytes,
			     struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES]);

/**
 * arch_load() - kernel, initrd, command line, tables into guest memory
 * @gm: all guest RAM, zeroed
 * @ret_entry: where vCPU 0 begins
 *
 * Reads the kernel and initrd files (bzImage, ELF vmlinux, PVH ELF), writes
 * e820, boot parameters and the ACPI tables.
 * Return: 0 or -errno; @err names the file and what is wrong with it.
 */
int arch_load(const struct arch_config *cfg, const struct gmem *gm,
	      struct arch_entry *ret_entry, struct err *err) must_check;

/**
 * arch_vcpu_setup() - CPUID, MSRs, LAPIC, registers of one vCPU
 * @kvm_fd: /dev/kvm
 * @vcpu_fd: borrowed
 * @index: vCPU number = APIC id
 * @entry: for vCPU 0; others wait for INIT and SIPI
 *
 * Return: 0 or -errno with @err.
 */
int arch_vcpu_setup(const struct arch_config *cfg, int kvm_fd, int vcpu_fd,
		    unsigned int index, const struct arch_entry *entry,
		    struct err *err) must_check;

/* --- a vCPU that has run: on its own thread, outside KVM_RUN --- */

/* What arch_vcpu_inspect() finds. */
#define VCPU_OFFLINE (1U << 0) /* its interrupt controller is off */
#define VCPU_DOWN    (1U << 1) /* never started, or waits for its start */
#define VCPU_HALTED  (1U << 2) /* waits in the kernel for an interrupt */
#define VCPU_PENDING (1U << 3) /* an interrupt is deliverable */

/* The bits above; VCPU_PENDING alone if KVM does not tell. */
unsigned int arch_vcpu_inspect(int vcpu_fd);
/*
 * Will it never run again on its own? It is halted with interrupts off, or
 * waits for another vCPU to start it.
 */
bool arch_vcpu_is_stuck(int vcpu_fd);
/* The next KVM_RUN sleeps until another vCPU starts it. Return: 0 or -errno. */
int arch_vcpu_halt(int vcpu_fd) must_check;
/* Its program counter, or 0. */
uint64_t arch_vcpu_pc(int vcpu_fd);

#endif
