// SPDX-License-Identifier: BSD-3-Clause
//
// For the emulated host of nested.sh -p: the slot of the second SSD has a power
// resource, so that Linux can put the device into D3cold.
DefinitionBlock ("", "SSDT", 2, "TORPOR", "TESTCOLD", 1)
{
	External (\_SB.PCI0.S40, DeviceObj)

	Scope (\_SB.PCI0.S40)
	{
		PowerResource (PWR, 0, 0)
		{
			Name (ISON, 1)
			Method (_STA)
			{
				Return (ISON)
			}
			Method (_ON, 0, Serialized)
			{
				ISON = 1
			}
			Method (_OFF, 0, Serialized)
			{
				ISON = 0
			}
		}
		Name (_PR0, Package () { PWR })
		Name (_PR3, Package () { PWR })
		Name (_S0W, 4)
	}
}
