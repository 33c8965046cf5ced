/* SPDX-License-Identifier: BSD-3-Clause */
/* A fault without a handler for it, nor for the next: shutdown. */
#include "guest/payloads/runtime.h"

void payload_main(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	print("TRIPLE FAULT\n");
	__asm__ volatile("lidt %0; ud2" ::"m"(none));
	halt_forever();
}
