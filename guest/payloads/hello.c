/* SPDX-License-Identifier: BSD-3-Clause */
/* Prints a line, echoes its command line word "say", powers off. */
#include "guest/payloads/runtime.h"

void payload_main(void)
{
	char say[64];

	print("HELLO ram=%lu\n", runtime_ram_end());
	if (param_get("say", say, sizeof(say)))
		print("SAY %s\n", say);
}
