/* SPDX-License-Identifier: BSD-3-Clause */
/* Resets the machine through the i8042, or with how=acpi the reset register. */
#include "guest/payloads/runtime.h"

#define I8042_RESET 0xfe

void payload_main(void)
{
	print("RESET\n");
	if (param_is("how", "acpi"))
		outb(LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE);
	else
		outb(LAYOUT_PORT_I8042_CMD, I8042_RESET);
	halt_forever();
}
