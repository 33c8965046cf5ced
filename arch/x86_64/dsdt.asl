// SPDX-License-Identifier: BSD-3-Clause
//
// The DSDT of every VM: goes through the C preprocessor, then iasl. It never
// varies. How many processors and virtio devices this VM has, and on which
// GSIs, is read at run time from struct acpi_config_block (acpi.h), which the
// VMM writes to LAYOUT_ACPI_CONFIG. ACPI 6.4.
#include "arch/x86_64/layout.h"
#include "devices/pmc_codes.h"

DefinitionBlock ("", "DSDT", 2, "TORPOR", "TORPORVM", 1)
{
	// SLP_TYPa, SLP_TYPb and two reserved fields.
	Name (\_S1, Package () { LAYOUT_SLP_TYP_S1, 0, 0, 0 })
	Name (\_S5, Package () { LAYOUT_SLP_TYP_S5, 0, 0, 0 })

	Scope (\_SB)
	{
#define GSI(hh) G0##hh, 32,
#define EIGHT(X, h, a, b, c, d, e, f, g, i) \
	X (h##a) X (h##b) X (h##c) X (h##d) X (h##e) X (h##f) X (h##g) X (h##i)
#define SIXTEEN(X, h) EIGHT (X, h, 0, 1, 2, 3, 4, 5, 6, 7) \
	EIGHT (X, h, 8, 9, A, B, C, D, E, F)
#define FIFTEEN(X, h) EIGHT (X, h, 0, 1, 2, 3, 4, 5, 6, 7) \
	X (h##8) X (h##9) X (h##A) X (h##B) X (h##C) X (h##D) X (h##E)

		// struct acpi_config_block
		OperationRegion (CFGR, SystemMemory, LAYOUT_ACPI_CONFIG, 0x84)
		Field (CFGR, DWordAcc, NoLock, Preserve)
		{
			NCPU, 32,
			NVIO, 32,
			SIXTEEN (GSI, 0)
			FIFTEEN (GSI, 1)
		}

		// The virtual PMC.
		OperationRegion (PMCL, SystemIO, LAYOUT_PORT_PMC_LPS0, 1)
		Field (PMCL, ByteAcc, NoLock, WriteAsZeros)
		{
			LPS0, 8
		}
		OperationRegion (PMCD, SystemIO, LAYOUT_PORT_PMC_DSW, 4)
		Field (PMCD, DWordAcc, NoLock, WriteAsZeros)
		{
			DSW, 32
		}

		// ---------------------------------------------- processors

		Device (CPUS)
		{
			Name (_HID, "ACPI0010")
			Name (_CID, EisaId ("PNP0A05"))

			// C1 is HLT. C2 is a read of a PMC port: it is
			// declared so slow that only suspend-to-idle, which
			// takes the deepest state whatever its latency, uses
			// it. Its type must not be C1, which Linux never
			// enters with timekeeping frozen.
			Name (CSTS, Package ()
			{
				2,
				Package ()
				{
					ResourceTemplate ()
					{
						Register (FFixedHW, 0, 0, 0)
					},
					1, 1, 1000
				},
				Package ()
				{
					ResourceTemplate ()
					{
						Register (SystemIO, 8, 0,
							LAYOUT_PORT_PMC_C2)
					},
					2, LAYOUT_C2_LATENCY_US, 1
				}
			})

			Method (CSTA, 1)
			{
				If (Arg0 < NCPU)
				{
					Return (0x0F)
				}
				Return (0)
			}

#define CPU(hh)                           \
	Device (C0##hh)                   \
	{                                 \
		Name (_HID, "ACPI0007")   \
		Name (_UID, 0x##hh)       \
		Method (_STA)             \
		{                         \
			Return (CSTA (0x##hh)) \
		}                         \
		Method (_CST)             \
		{                         \
			Return (CSTS)     \
		}                         \
	}
			SIXTEEN (CPU, 0)
			SIXTEEN (CPU, 1)
			SIXTEEN (CPU, 2)
			SIXTEEN (CPU, 3)
		}

		// ------------------------------------------ virtio devices

		Method (VSTA, 1)
		{
			If (Arg0 < NVIO)
			{
				Return (0x0F)
			}
			Return (0)
		}

		// Arg0: index, Arg1: GSI
		Method (VCRS, 2, Serialized)
		{
			Name (CRSB, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, 0,
					LAYOUT_VIRTIO_STRIDE, MEM0)
				Interrupt (ResourceConsumer, Edge, ActiveHigh,
					Exclusive, , , INT0) { 0 }
			})
			CreateDWordField (CRSB, MEM0._BAS, BASE)
			CreateDWordField (CRSB, INT0._INT, PIN)
			BASE = LAYOUT_VIRTIO_BASE +
				(Arg0 * LAYOUT_VIRTIO_STRIDE)
			PIN = Arg1
			Return (CRSB)
		}

		// Arg0: index, Arg1: arm or disarm
		Method (VDSW, 2)
		{
			If (Arg1)
			{
				DSW = Arg0 | PMC_DSW_ARMED
			}
			Else
			{
				DSW = Arg0
			}
		}

		// Each has a GPE of its own and the GPE has no method: then
		// ACPICA itself tells the device that it woke the system, and
		// the device's wakeup count says so. _DSW: (enable, target S
		// state, target D state).
#define VIRTIO(hh)                                    \
	Device (V0##hh)                               \
	{                                             \
		Name (_HID, "LNRO0005")               \
		Name (_UID, 0x##hh)                   \
		Name (_PRW, Package () { 0x##hh, 1 }) \
		Method (_STA)                         \
		{                                     \
			Return (VSTA (0x##hh))        \
		}                                     \
		Method (_CRS)                         \
		{                                     \
			Return (VCRS (0x##hh, G0##hh)) \
		}                                     \
		Method (_DSW, 3)                      \
		{                                     \
			VDSW (0x##hh, Arg0)           \
		}                                     \
	}
		SIXTEEN (VIRTIO, 0)
		FIFTEEN (VIRTIO, 1)

		// ------------------------------------------- wake, no key

		// A lid that is always open, for its GPE: Linux lets a lid
		// wake the system without being told to, and one that says it
		// is open makes nothing else happen. A button may: its key
		// press can come through after the wake-up, when the button's
		// driver has been resumed, and power the guest off.
		Device (WAKE)
		{
			Name (_HID, EisaId ("PNP0C0D"))
			Name (_STA, 0x0F)
			Name (_PRW, Package () { LAYOUT_GPE_WAKE, 1 })
			Method (_LID)
			{
				Return (1)
			}
		}
	}

	// Without a method for its GPE, Linux would not enable it while it
	// runs and never clear it. Edge: the status is cleared first. 1F is
	// LAYOUT_GPE_WAKE.
	Scope (\_GPE)
	{
		Method (_E1F)
		{
			Notify (\_SB.WAKE, 0x80)
		}
	}

	Scope (\_SB)
	{

		// -------------------------------------------- ISA devices

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_SERIAL,
					LAYOUT_PORT_SERIAL, 1, 8)
				IRQ (Edge, ActiveHigh, Exclusive)
					{ LAYOUT_GSI_SERIAL }
			})
		}

		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_RTC,
					LAYOUT_PORT_RTC, 1, 2)
				IRQ (Edge, ActiveHigh, Exclusive)
					{ LAYOUT_GSI_RTC }
			})
		}

		Device (PEVT)
		{
			Name (_HID, "QEMU0001")
			Name (_STA, 0x0F)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_PVPANIC,
					LAYOUT_PORT_PVPANIC, 1, 1)
			})
			OperationRegion (PEOR, SystemIO,
				LAYOUT_PORT_PVPANIC, 1)
			Field (PEOR, ByteAcc, NoLock, Preserve)
			{
				PEPT, 8
			}
			Method (RDPT)
			{
				Return (PEPT)
			}
			Method (WRPT, 1)
			{
				PEPT = Arg0
			}
		}

		// ------------------------------------------- low power idle

		// Linux calls one UUID by CPU vendor, and Microsoft's beside
		// it: the guest is about to sleep, or has woken. Function 0
		// gives the mask of the functions there are.
		Device (LPSD)
		{
			Name (_HID, "TRPR0001")
			Name (_CID, EisaId ("PNP0D80"))
			Name (_UID, 0)
			Name (_STA, 0x0F)

			// Arg0: PMC_LPS0_*, Arg1: function
			Method (NOTE, 2)
			{
				LPS0 = Arg0 | (Arg1 & 0x0F)
			}

			Method (_DSM, 4, Serialized)
			{
				Local0 = ToInteger (Arg2)
				If (Arg0 == ToUUID (
					"c4eb40a0-6cd2-11e2-bcfd-0800200c9a66"))
				{
					NOTE (PMC_LPS0_INTEL, Local0)
					If (Local0 == 0)
					{
						Return (Buffer () { 0x79 })
					}
				}
				ElseIf (Arg0 == ToUUID (
					"e3f32452-febc-43ce-9039-932122d37721"))
				{
					NOTE (PMC_LPS0_AMD, Local0)
					If (Local0 == 0)
					{
						Return (Buffer () { 0x3D })
					}
				}
				ElseIf (Arg0 == ToUUID (
					"11e00d56-ce64-47ce-837b-1f898f9aa461"))
				{
					NOTE (PMC_LPS0_MICROSOFT, Local0)
					If (Local0 == 0)
					{
						Return (Buffer () { 0xF9, 1 })
					}
				}
				Return (Buffer () { 0 })
			}
		}
	}
}
