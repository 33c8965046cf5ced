/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts of a disk, with the CPU halted between them: each request must
 * give one. First the same requests are polled for with interrupts suppressed,
 * so that the difference of the two times is used buffer to handler.
 * Words: gsi=N (of the first disk), n=REQUESTS (1000).
 */
#include "guest/payloads/apic.h"
#include "guest/payloads/virtio.h"

#define SECTOR	  512U
#define MAX_TIMES 4096U
#define NO_GSI	  (~0ULL)

static struct vio_dev *disk;
static struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN };
static uint8_t data[SECTOR];
static volatile uint8_t status;
static volatile uint64_t interrupts, spurious, ticks, handled_tsc;
static uint64_t times[MAX_TIMES];

__attribute__((interrupt)) static void on_device(struct apic_frame *frame)
{
	handled_tsc = rdtsc();
	if (vio_read(disk, VIRTIO_MMIO_INTERRUPT_STATUS) &
	    VIRTIO_MMIO_INT_VRING) {
		vio_write(disk, VIRTIO_MMIO_INTERRUPT_ACK,
			  VIRTIO_MMIO_INT_VRING);
		interrupts++;
	} else {
		spurious++;
	}
	apic_eoi();
}

__attribute__((interrupt)) static void on_tick(struct apic_frame *frame)
{
	ticks++;
	apic_eoi();
}

static void report(const char *name, uint64_t n)
{
	uint64_t sum = 0;

	/* Insertion sort: n is small and the guest idle. */
	for (uint64_t i = 1; i < n; i++) {
		uint64_t t = times[i], j = i;

		for (; j > 0 && times[j - 1] > t; j--)
			times[j] = times[j - 1];
		times[j] = t;
	}
	for (uint64_t i = 0; i < n; i++)
		sum += times[i];
	print("LATENCY %s n=%lu min=%lu median=%lu p99=%lu mean=%lu tsc\n",
	      name, n, times[0], times[n / 2], times[n * 99 / 100], sum / n);
}

static uint64_t submit(void)
{
	uint64_t start;

	status = 0xa5;
	start = rdtsc();
	vio_publish(&disk->queues[0], 0);
	vio_kick(disk, 0);
	return start;
}

static void polled(uint64_t n)
{
	const volatile uint16_t *used = &disk->queues[0].used->idx;

	disk->queues[0].avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t start = submit();

		while (*used != disk->queues[0].avail_idx)
			barrier();
		times[i] = rdtsc() - start;
	}
	disk->queues[0].avail->flags = 0;
	report("polled", n);
}

/* Return: false if the interrupt did not come. */
static bool wait_interrupt(uint64_t want)
{
	uint64_t first = ticks;

	for (;;) {
		irqs_off();
		if (interrupts >= want || ticks >= first + 2)
			break;
		irqs_on_and_halt();
	}
	return interrupts >= want;
}

static void interrupted(uint64_t n)
{
	uint64_t ok = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t before = interrupts;
		uint64_t start = submit();

		if (!wait_interrupt(before + 1)) {
			fail("interrupt-for-each-request", "none came", i, n);
			return;
		}
		times[i] = handled_tsc - start;
		ok += status == VIRTIO_BLK_S_OK;
	}
	report("interrupt", n);
	check_eq("requests-done", ok, n);
	check_eq("interrupt-for-each-request", interrupts, n);
	print("SPURIOUS %lu\n", spurious);
}

void payload_main(void)
{
	const struct vio_buf bufs[3] = { { &hdr, sizeof(hdr) },
					 { data, sizeof(data) },
					 { &status, 1 } };
	uint64_t gsi = param_u64("gsi", NO_GSI), n = param_u64("n", 1000);

	if (n == 0 || n > MAX_TIMES)
		n = MAX_TIMES;
	vio_probe();
	disk = vio_find(VIRTIO_ID_BLOCK, 0);
	if (gsi == NO_GSI || !disk || !vio_start(disk, 0, 1)) {
		result("irq", "wants gsi=N and a disk");
		done();
		return;
	}
	vio_chain_set(&disk->queues[0], 0, bufs, 1, 2);
	apic_init_vectors();
	apic_set_handler(APIC_VECTOR_DEVICE, on_device);
	apic_set_handler(APIC_VECTOR_WATCHDOG, on_tick);
	polled(n);
	vio_write(disk, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	ioapic_route_edge((uint32_t)gsi, APIC_VECTOR_DEVICE);
	apic_start_watchdog(APIC_VECTOR_WATCHDOG);
	interrupted(n);
	ioapic_mask((uint32_t)gsi);
	done();
}
