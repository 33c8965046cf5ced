/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio-mmio register page (virtio 1.x, 4.2.2) as memory: the guest reads
 * it without an exit, the VMM writes it. It is output only, with one exception:
 * InterruptStatus has two writers. The device process ORs bit 0 (used buffer)
 * and then signals its call eventfd, always, never only "if it was 0"; the VMM
 * ORs bit 1 (config change) and ANDs away what the driver acknowledges. Both
 * use atomic read-modify-write, nothing else in the page is ever read back.
 */
#ifndef TORPOR_VIRTIO_REGPAGE_H
#define TORPOR_VIRTIO_REGPAGE_H

#include <stdint.h>

#define VIRTIO_REGPAGE_SIZE 4096U

/* Offsets in bytes; names as in the specification. */
#define VIRTIO_MMIO_MAGIC		    0x000U
#define VIRTIO_MMIO_VERSION_REG		    0x004U
#define VIRTIO_MMIO_DEVICE_ID_REG	    0x008U
#define VIRTIO_MMIO_VENDOR_ID_REG	    0x00cU
#define VIRTIO_MMIO_DEVICE_FEATURES_REG	    0x010U
#define VIRTIO_MMIO_DEVICE_FEATURES_SEL_REG 0x014U
#define VIRTIO_MMIO_DRIVER_FEATURES_REG	    0x020U
#define VIRTIO_MMIO_DRIVER_FEATURES_SEL_REG 0x024U
#define VIRTIO_MMIO_QUEUE_SEL_REG	    0x030U
#define VIRTIO_MMIO_QUEUE_SIZE_MAX_REG	    0x034U
#define VIRTIO_MMIO_QUEUE_SIZE_REG	    0x038U
#define VIRTIO_MMIO_QUEUE_READY_REG	    0x044U
#define VIRTIO_MMIO_QUEUE_NOTIFY_REG	    0x050U
#define VIRTIO_MMIO_INT_STATUS_REG	    0x060U
#define VIRTIO_MMIO_INT_ACK_REG		    0x064U
#define VIRTIO_MMIO_STATUS_REG		    0x070U
#define VIRTIO_MMIO_QUEUE_DESC_LO_REG	    0x080U
#define VIRTIO_MMIO_QUEUE_DESC_HI_REG	    0x084U
#define VIRTIO_MMIO_QUEUE_DRIVER_LO_REG	    0x090U
#define VIRTIO_MMIO_QUEUE_DRIVER_HI_REG	    0x094U
#define VIRTIO_MMIO_QUEUE_DEVICE_LO_REG	    0x0a0U
#define VIRTIO_MMIO_QUEUE_DEVICE_HI_REG	    0x0a4U
#define VIRTIO_MMIO_SHM_SEL_REG		    0x0acU
#define VIRTIO_MMIO_SHM_LEN_LO_REG	    0x0b0U
#define VIRTIO_MMIO_SHM_LEN_HI_REG	    0x0b4U
#define VIRTIO_MMIO_SHM_BASE_LO_REG	    0x0b8U
#define VIRTIO_MMIO_SHM_BASE_HI_REG	    0x0bcU
#define VIRTIO_MMIO_QUEUE_RESET_REG	    0x0c0U
#define VIRTIO_MMIO_CONFIG_GENERATION_REG   0x0fcU
#define VIRTIO_MMIO_CONFIG_SPACE	    0x100U

#define VIRTIO_INT_USED	  1U
#define VIRTIO_INT_CONFIG 2U

struct virtio_regpage {
	uint8_t bytes[VIRTIO_REGPAGE_SIZE];
};

/* ORs @bits into InterruptStatus; the caller signals afterwards, always. */
static inline void regpage_raise(struct virtio_regpage *page, uint32_t bits)
{
	uint32_t *isr =
		(uint32_t *)(void *)(page->bytes + VIRTIO_MMIO_INT_STATUS_REG);

	/* Pairs with the driver's read of InterruptStatus in its handler. */
	(void)__atomic_or_fetch(isr, bits, __ATOMIC_SEQ_CST);
}

static inline void regpage_ack(struct virtio_regpage *page, uint32_t bits)
{
	uint32_t *isr =
		(uint32_t *)(void *)(page->bytes + VIRTIO_MMIO_INT_STATUS_REG);

	(void)__atomic_and_fetch(isr, ~bits, __ATOMIC_SEQ_CST);
}

#endif
