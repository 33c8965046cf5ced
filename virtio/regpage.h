/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio-mmio register page (virtio 1.x, 4.2.2) as memory: the guest reads
 * it without an exit, the VMM writes it. It is output only, with one exception:
 * InterruptStatus has two writers. The device process ORs bit 0 (used buffer)
 * and then signals its call eventfd, even if the bit was set; the VMM ORs bit 1
 * (config change) and ANDs away what the driver acknowledges. Both use atomic
 * read-modify-write, nothing else in the page is ever read back.
 */
#ifndef TORPOR_VIRTIO_REGPAGE_H
#define TORPOR_VIRTIO_REGPAGE_H

#include <linux/virtio_mmio.h>
#include <stdint.h>

#define VIRTIO_REGPAGE_SIZE 4096U

#ifndef VIRTIO_MMIO_QUEUE_RESET /* Linux has no name for it */
#define VIRTIO_MMIO_QUEUE_RESET 0x0c0
#endif

struct virtio_regpage {
	uint8_t bytes[VIRTIO_REGPAGE_SIZE];
};

/* ORs @bits into InterruptStatus; the caller signals afterwards, always. */
static inline void regpage_raise(struct virtio_regpage *page, uint32_t bits)
{
	uint32_t *isr = (uint32_t *)(void *)(page->bytes +
					     VIRTIO_MMIO_INTERRUPT_STATUS);

	/* Pairs with the driver's read of InterruptStatus in its handler. */
	(void)__atomic_or_fetch(isr, bits, __ATOMIC_SEQ_CST);
}

static inline void regpage_ack(struct virtio_regpage *page, uint32_t bits)
{
	uint32_t *isr = (uint32_t *)(void *)(page->bytes +
					     VIRTIO_MMIO_INTERRUPT_STATUS);

	(void)__atomic_and_fetch(isr, ~bits, __ATOMIC_SEQ_CST);
}

#endif
