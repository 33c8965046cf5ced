/* SPDX-License-Identifier: BSD-3-Clause */
/* Tells the host that the guest has panicked, then stands still. */
#include "guest/payloads/runtime.h"

#define PANICKED 1

void payload_main(void)
{
	print("PVPANIC events=0x%x\n", inb(LAYOUT_PORT_PVPANIC));
	outb(LAYOUT_PORT_PVPANIC, PANICKED);
	halt_forever();
}
