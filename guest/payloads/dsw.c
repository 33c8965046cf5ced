/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arms and disarms devices by _DSW as fast as it can. Words:
 *   toggles=N   so often (1000)
 *   slot=N      this device; default: all in turn
 * Says READY and waits for a byte on the serial port first.
 */
#include "guest/payloads/virtio.h"

void payload_main(void)
{
	uint64_t toggles = param_u64("toggles", 1000);
	uint64_t only = param_u64("slot", VIO_MAX_DEVS);
	struct vio_dev *dev;

	vio_probe();
	print("READY\n");
	(void)serial_getc();
	for (uint64_t n = 0; n < toggles; n++) {
		for (unsigned int i = 0; (dev = vio_nth(i)) != NULL; i++) {
			if (only < VIO_MAX_DEVS && dev->slot != only)
				continue;
			outl(LAYOUT_PORT_PMC_DSW,
			     dev->slot | (n & 1 ? 0 : PMC_DSW_ARMED));
		}
	}
	result("toggles", NULL);
	done();
}
