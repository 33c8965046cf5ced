/* SPDX-License-Identifier: BSD-3-Clause */
/* INIT and SIPI (Intel SDM volume 3, 9.4.4). See smp.h. */
#include "guest/payloads/smp.h"

#define TRAMPOLINE 0x50000U /* free: boot structures end at 0x30000 */
#define ICR_LOW	   0x300U
#define ICR_HIGH   0x310U
#define ICR_INIT   0x4500U
#define ICR_SIPI   (0x4600U | TRAMPOLINE >> 12)
#define SECOND_CPU (1U << 24)
#define BEGIN_S	   10

extern const uint8_t smp_trampoline[], smp_trampoline_end[];
void smp_main(void); /* called by start.S */

static void (*volatile to_call)(void);
static volatile bool begun;

void smp_main(void)
{
	begun = true;
	to_call();
}

static void send(uint32_t command)
{
	mmio_write32(LAYOUT_LAPIC + ICR_HIGH, SECOND_CPU);
	mmio_write32(LAYOUT_LAPIC + ICR_LOW, command);
}

bool smp_start(void (*fn)(void))
{
	struct deadline d = deadline_in(BEGIN_S);

	memcpy((void *)(uint64_t)TRAMPOLINE, smp_trampoline,
	       (uintptr_t)smp_trampoline_end - (uintptr_t)smp_trampoline);
	to_call = fn;
	begun = false;
	barrier_full();
	send(ICR_INIT);
	send(ICR_SIPI);
	while (!begun) {
		if (deadline_over(&d))
			return false;
	}
	return true;
}
