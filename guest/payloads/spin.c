/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs for ever and says nothing: for tests that stop or kill the VMM. */
#include "guest/payloads/runtime.h"

void payload_main(void)
{
	for (;;)
		barrier();
}
