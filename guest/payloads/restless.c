/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Never leaves its devices alone, for ever: arms and disarms each as a source
 * of wake-ups, starts it, kicks, writes its config space, resets it. Whatever
 * they do of it is right: it looks at nothing. Says READY first.
 */
#include "guest/payloads/virtio.h"

static void bother(struct vio_dev *dev)
{
	outl(LAYOUT_PORT_PMC_DSW, dev->slot | PMC_DSW_ARMED);
	(void)vio_start(dev, 0, 1);
	for (int i = 0; i < 3; i++)
		vio_kick(dev, 0);
	mmio_write32(dev->base + VIRTIO_MMIO_CONFIG, 0);
	outl(LAYOUT_PORT_PMC_DSW, dev->slot);
	(void)vio_reset(dev);
}

void payload_main(void)
{
	unsigned int nr = vio_probe();

	print("READY devices=%u\n", nr);
	for (;;) {
		for (unsigned int i = 0; i < nr; i++)
			bother(vio_nth(i));
	}
}
