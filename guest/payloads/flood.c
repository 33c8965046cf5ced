/* SPDX-License-Identifier: BSD-3-Clause */
/* Prints "kib" KiB in lines, 72 by default, then a last line, and powers off.
 */
#include "guest/payloads/runtime.h"

#define LINE_BYTES 64

void payload_main(void)
{
	uint64_t lines = param_u64("kib", 72) * 1024 / LINE_BYTES;

	for (uint64_t i = 0; i < lines; i++)
		print("%s\n", "0123456789abcdef0123456789abcdef"
			      "0123456789abcdef0123456789abcde");
	print("LAST LINE\n");
}
