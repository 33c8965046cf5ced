/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest writes to the ports of the virtual PMC. Included by C and,
 * through the C preprocessor, by arch/x86_64/dsdt.asl: macros with plain
 * numbers only.
 */
#ifndef TORPOR_DEVICES_PMC_CODES_H
#define TORPOR_DEVICES_PMC_CODES_H

/*
 * What _DSM of the LPS0 device writes to the LPS0 port: the UUID in the high
 * nibble, the function in the low one.
 */
#define PMC_LPS0_INTEL	   0x10
#define PMC_LPS0_AMD	   0x20
#define PMC_LPS0_MICROSOFT 0x30

/*
 * What _DSW of a virtio device writes to the DSW port: the device's index
 * in the low byte, armed in bit 8.
 */
#define PMC_DSW_ARMED 0x100

/*
 * What the methods of a PCI slot write to the PCI port: the slot in the low
 * byte, and what shall be. A read gives the slots that have power, a bit each,
 * of those whose power the guest may switch.
 */
#define PMC_PCI_OFF    0x000
#define PMC_PCI_ON     0x100
#define PMC_PCI_DISARM 0x200
#define PMC_PCI_ARM    0x300

#endif
