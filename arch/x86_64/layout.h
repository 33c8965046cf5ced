/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where things are in the guest, x86-64. Included by C and, through the C
 * preprocessor, by arch/x86_64/dsdt.asl: macros with plain numbers only.
 */
#ifndef TORPOR_ARCH_X86_64_LAYOUT_H
#define TORPOR_ARCH_X86_64_LAYOUT_H

/* --- guest physical memory --- */
#define LAYOUT_ZERO_PAGE     0x7000
#define LAYOUT_BOOT_GDT	     0x500
#define LAYOUT_BOOT_STACK    0x8ff0
#define LAYOUT_PAGE_TABLES   0x9000 /* 6 pages */
#define LAYOUT_PVH_INFO	     0x6000
#define LAYOUT_CMDLINE	     0x20000 /* ARCH_CMDLINE_MAX bytes */
#define LAYOUT_EBDA	     0x9fc00 /* end of low RAM in e820 */
#define LAYOUT_ACPI_BASE     0xe0000 /* RSDP, config block, then the tables */
#define LAYOUT_ACPI_CONFIG   0xe0100 /* struct acpi_config_block, 512 bytes */
#define LAYOUT_ACPI_PCI	     0xe0300 /* struct acpi_pci_block, 256 bytes */
#define LAYOUT_ACPI_TABLES   0xe0400
#define LAYOUT_ACPI_END	     0xffff0
#define LAYOUT_RESET_VECTOR  0xffff0 /* F000:FFF0, 16 bytes up to 1 MiB */
#define LAYOUT_KERNEL	     0x100000
#define LAYOUT_RAM_LOW_END   0xc0000000 /* RAM below, hole up to 4 GiB */
#define LAYOUT_RAM_HIGH	     0x100000000
#define LAYOUT_VIRTIO_BASE   0xd0000000 /* one 4 KiB page a device */
#define LAYOUT_VIRTIO_STRIDE 0x1000
#define LAYOUT_IOAPIC	     0xfec00000
#define LAYOUT_LAPIC	     0xfee00000
#define LAYOUT_TSS	     0xfffbd000 /* KVM_SET_TSS_ADDR: 3 pages */
#define LAYOUT_IDENTITY_MAP  0xfffbc000

/* PCI, of a VM that has such devices (devices/pci). */
#define LAYOUT_PCI_MEM32       0xd1000000
#define LAYOUT_PCI_MEM32_LAST  0xdfffffff
#define LAYOUT_PCI_MEM32_BYTES 0x0f000000
#define LAYOUT_PCI_ECAM	       0xe0000000 /* registers of bus 0 */
#define LAYOUT_PCI_ECAM_BYTES  0x00100000
/* Above all RAM, below the 2^38 bytes that a CPU with an IOMMU addresses. */
#define LAYOUT_PCI_MEM64       0x2000000000
#define LAYOUT_PCI_MEM64_LAST  0x3fffffffff
#define LAYOUT_PCI_MEM64_BYTES 0x2000000000
#define LAYOUT_PCI_SLOTS       32

/* --- limits --- */
#define LAYOUT_MAX_VIRTIO 31 /* one GPE each */
#define LAYOUT_GPE_WAKE	  31 /* wakes, and nothing else */

/* --- ports --- */
#define LAYOUT_PORT_SERIAL	0x3f8
#define LAYOUT_PORT_RTC		0x70
#define LAYOUT_PORT_I8042_DATA	0x60
#define LAYOUT_PORT_I8042_CMD	0x64
#define LAYOUT_PORT_PVPANIC	0x505
#define LAYOUT_PORT_PM1A_EVT	0x600 /* status, enable: 2 bytes each */
#define LAYOUT_PORT_PM1A_CNT	0x604 /* 2 bytes */
#define LAYOUT_PORT_GPE0	0x620 /* 4 bytes status, 4 bytes enable */
#define LAYOUT_PORT_GPE0_LEN	8
#define LAYOUT_PORT_PCI_ADDRESS 0xcf8 /* PCI mechanism 1, 4 ports */
#define LAYOUT_PORT_RESET	0xcf9 /* a byte among those */
#define LAYOUT_PORT_PCI_DATA	0xcfc /* 4 ports */
#define LAYOUT_RESET_VALUE	6
/* The virtual PMC (devices/pmc.h, pmc_codes.h). */
#define LAYOUT_PORT_PMC_C2   0x640 /* read: this CPU is in C2 */
#define LAYOUT_PORT_PMC_LPS0 0x644 /* write: byte, PMC_LPS0_* */
#define LAYOUT_PORT_PMC_DSW  0x648 /* write: dword, PMC_DSW_ARMED */
#define LAYOUT_PORT_PMC_PCI  0x64c /* dword, PMC_PCI_*; with PCI alone */

/* --- interrupts (GSI) --- */
#define LAYOUT_GSI_SERIAL    4
#define LAYOUT_GSI_RTC	     8
#define LAYOUT_GSI_SCI	     9
#define LAYOUT_NR_GSI_LEGACY 16

/* PM1_CNT.SLP_TYP values of \_S1 and \_S5. */
#define LAYOUT_SLP_TYP_S1 1
#define LAYOUT_SLP_TYP_S5 5

/*
 * Above what any program may ask of PM QoS (a signed 32 bit number of us), so
 * no idle governor picks this C2; s2idle takes the deepest state whatever it
 * costs. Linux takes twice the latency, in 32 bits, as the residency, and that
 * is wanted to wrap, to 10 us. With a residency that no sleep is long enough
 * for, menu of Linux 6.1 takes every sleep for a short one and never stops the
 * tick of an idle CPU; where the tick is stopped already, it enters C2. Up to
 * 2^31 + 500 the residency is no longer than a tick at HZ=1000; below 10 us it
 * would limit how long the idle loop polls, too.
 */
#define LAYOUT_C2_LATENCY_US 0x80000005

#endif
