// SPDX-License-Identifier: BSD-3-Clause
//
// The SSDT of a VM that has PCI devices; others do not get it, and theirs is the
// DSDT alone. It never varies. PCI Firmware 3.3, ACPI 6.4.
#include "arch/x86_64/layout.h"

DefinitionBlock ("", "SSDT", 2, "TORPOR", "TORPORPC", 1)
{
	Scope (\_SB)
	{
		// One bus without a bridge. BARs are placed before the guest
		// starts, and Linux keeps what lies in a window. No _PRT:
		// devices have MSI-X and no interrupt pin.
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_SEG, 0)
			Name (_BBN, 0)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed,
					MaxFixed, PosDecode, 0, 0, 0, 0, 1)
				DWordMemory (ResourceProducer, PosDecode,
					MinFixed, MaxFixed, NonCacheable,
					ReadWrite, 0, LAYOUT_PCI_MEM32,
					LAYOUT_PCI_MEM32_LAST,
					0, LAYOUT_PCI_MEM32_BYTES)
				QWordMemory (ResourceProducer, PosDecode,
					MinFixed, MaxFixed, NonCacheable,
					ReadWrite, 0, LAYOUT_PCI_MEM64,
					LAYOUT_PCI_MEM64_LAST,
					0, LAYOUT_PCI_MEM64_BYTES)
			})

			// The guest gets the PCI Express capability and none
			// of what belongs to a port: hotplug, PME, AER.
			Method (_OSC, 4)
			{
				CreateDWordField (Arg3, 0, STS)
				If (Arg0 == ToUUID (
					"33db4d5b-1ff7-401c-9657-7441c03dd766"))
				{
					CreateDWordField (Arg3, 8, CTRL)
					If (CTRL != (CTRL & 0x10))
					{
						CTRL &= 0x10
						STS |= 0x10
					}
				}
				Else
				{
					STS |= 4
				}
				Return (Arg3)
			}
		}

		// The registers of the bus. Linux believes MCFG only if a
		// node, or e820, has reserved them.
		Device (PCIR)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, "PCI")
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, LAYOUT_PCI_ECAM,
					LAYOUT_PCI_ECAM_BYTES)
			})
		}
	}
}
