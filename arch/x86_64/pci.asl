// SPDX-License-Identifier: BSD-3-Clause
//
// The SSDT of a VM that has PCI devices; others do not get it, and theirs is the
// DSDT alone. It never varies. PCI Firmware 3.3, ACPI 6.4.
#include "arch/x86_64/layout.h"
#include "devices/pmc_codes.h"

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

			// struct acpi_pci_block
			OperationRegion (PCIC, SystemMemory, LAYOUT_ACPI_PCI,
				0x28)
			Field (PCIC, DWordAcc, NoLock, Preserve)
			{
				SLTS, 32,
				DEEP, 32,
				GPES, 256
			}
			// The virtual PMC.
			OperationRegion (PMCP, SystemIO, LAYOUT_PORT_PMC_PCI, 4)
			Field (PMCP, DWordAcc, NoLock, WriteAsZeros)
			{
				SPWR, 32
			}

			Name (NONE, Package () {})

			// Arg0: slot
			Method (SSTA, 1)
			{
				If ((SLTS >> Arg0) & 1)
				{
					Return (0x0F)
				}
				Return (0)
			}

			Method (SPRW, 1, Serialized)
			{
				Name (PRWP, Package () { 0, 1 })
				Local0 = GPES
				PRWP [0] = DerefOf (Local0 [Arg0])
				Return (PRWP)
			}

			// Linux switches the power resource of a device off in
			// suspend-to-idle, after the device went to D3hot, if
			// _PR3 names it and _S0W says that it can wake the
			// system from there. With an empty package the device
			// stays in D3hot.
#define SLOT(hh)                                                      \
	Device (S0##hh)                                               \
	{                                                             \
		Name (_ADR, 0x##hh##0000)                             \
		Name (_S0W, 4)                                        \
		PowerResource (PWR, 0, 0)                             \
		{                                                     \
			Method (_STA)                                 \
			{                                             \
				Return ((SPWR >> 0x##hh) & 1)         \
			}                                             \
			Method (_ON)                                  \
			{                                             \
				SPWR = (0x##hh | PMC_PCI_ON)          \
			}                                             \
			Method (_OFF)                                 \
			{                                             \
				SPWR = (0x##hh | PMC_PCI_OFF)         \
			}                                             \
		}                                                     \
		Method (_STA)                                         \
		{                                                     \
			Return (SSTA (0x##hh))                        \
		}                                                     \
		Method (_PR0)                                         \
		{                                                     \
			If ((DEEP >> 0x##hh) & 1)                     \
			{                                             \
				Return (Package () { PWR })           \
			}                                             \
			Return (NONE)                                 \
		}                                                     \
		Method (_PR3)                                         \
		{                                                     \
			Return (_PR0 ())                              \
		}                                                     \
		Method (_PRW)                                         \
		{                                                     \
			Return (SPRW (0x##hh))                        \
		}                                                     \
		Method (_DSW, 3)                                      \
		{                                                     \
			If (Arg0)                                     \
			{                                             \
				SPWR = (0x##hh | PMC_PCI_ARM)         \
			}                                             \
			Else                                          \
			{                                             \
				SPWR = (0x##hh | PMC_PCI_DISARM)      \
			}                                             \
		}                                                     \
	}
#define SEVEN(h, a, b, c, d, e, f, g) SLOT (h##a) SLOT (h##b) SLOT (h##c) \
	SLOT (h##d) SLOT (h##e) SLOT (h##f) SLOT (h##g)
			SEVEN (0, 1, 2, 3, 4, 5, 6, 7)
			SLOT (08)
			SEVEN (0, 9, A, B, C, D, E, F)
			SLOT (10)
			SEVEN (1, 1, 2, 3, 4, 5, 6, 7)
			SLOT (18)
			SEVEN (1, 9, A, B, C, D, E, F)
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
