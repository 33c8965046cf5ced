/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drives each device well: register page, blk, net, console, rng. Words:
 *   blk-id=NAME      what GET_ID must answer
 *   net-reply=1      wait for a frame from the host
 *   net-mtu=BYTES    of the tap, if it is not 1500
 *   console-echo=1   wait for a line on the console and send it back
 * A disk that is writable is overwritten from sector 0 on.
 */
#include <linux/virtio_console.h>
#include <linux/virtio_net.h>

#include "guest/payloads/virtio.h"

#define SECTOR	     512U
#define NET_HDR	     12U /* with num_buffers, always in modern mode */
#define NET_RX	     0
#define NET_TX	     1
#define ETH_MIN	     60U
#define ETH_TEST     0x88b5 /* IEEE: local experiments */
#define FLUSH_OFFERS (VIO_BIT(VIRTIO_BLK_F_FLUSH))

/* --- register page --- */

struct reg_expect {
	const char *name;
	uint32_t reg, want;
};

static const struct reg_expect after_reset[] = {
	{ "magic", VIRTIO_MMIO_MAGIC_VALUE, 0x74726976 },
	{ "version", VIRTIO_MMIO_VERSION, 2 },
	{ "status", VIRTIO_MMIO_STATUS, 0 },
	{ "interrupt-status", VIRTIO_MMIO_INTERRUPT_STATUS, 0 },
	{ "queue-ready", VIRTIO_MMIO_QUEUE_READY, 0 },
	/* write-only registers */
	{ "features-sel", VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0 },
	{ "driver-features", VIRTIO_MMIO_DRIVER_FEATURES, 0 },
	{ "driver-features-sel", VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0 },
	{ "queue-sel", VIRTIO_MMIO_QUEUE_SEL, 0 },
	{ "queue-size", VIRTIO_MMIO_QUEUE_NUM, 0 },
	{ "queue-notify", VIRTIO_MMIO_QUEUE_NOTIFY, 0 },
	{ "interrupt-ack", VIRTIO_MMIO_INTERRUPT_ACK, 0 },
	{ "queue-desc-low", VIRTIO_MMIO_QUEUE_DESC_LOW, 0 },
	{ "queue-desc-high", VIRTIO_MMIO_QUEUE_DESC_HIGH, 0 },
	{ "queue-driver-low", VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0 },
	{ "queue-driver-high", VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0 },
	{ "queue-device-low", VIRTIO_MMIO_QUEUE_USED_LOW, 0 },
	{ "queue-device-high", VIRTIO_MMIO_QUEUE_USED_HIGH, 0 },
	/* no shared memory region: all ones, never 0 */
	{ "shm-len-low", VIRTIO_MMIO_SHM_LEN_LOW, 0xffffffff },
	{ "shm-len-high", VIRTIO_MMIO_SHM_LEN_HIGH, 0xffffffff },
	{ "shm-base-low", VIRTIO_MMIO_SHM_BASE_LOW, 0xffffffff },
	{ "shm-base-high", VIRTIO_MMIO_SHM_BASE_HIGH, 0xffffffff },
	{ "queue-reset", VIRTIO_MMIO_QUEUE_RESET, 0 },
	{ "legacy-guest-page-size", 0x028, 0 },
	{ "legacy-queue-align", 0x03c, 0 },
	{ "legacy-queue-pfn", 0x040, 0 },
};

static void test_registers_after_reset(struct vio_dev *dev)
{
	bool ok = true;

	vio_reset(dev);
	for (size_t i = 0; i < ARRAY_SIZE(after_reset); i++) {
		uint32_t got = vio_read(dev, after_reset[i].reg);

		if (got == after_reset[i].want)
			continue;
		ok = false;
		fail(after_reset[i].name, "wrong after reset", got,
		     after_reset[i].want);
	}
	if (ok)
		pass("registers-after-reset");
}

static void test_feature_words(struct vio_dev *dev)
{
	uint64_t offered = vio_offered(dev);
	uint32_t beyond = 0;

	check("version-1-offered", offered & VIO_BIT(VIRTIO_F_VERSION_1));
	/* 41 and 42 mean nothing on mmio without an option that says so. */
	check("no-admin-queue-offered", !(offered & VIO_BIT(41)));
	for (uint32_t sel = 2; sel < 6; sel++) {
		vio_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
		beyond |= vio_read(dev, VIRTIO_MMIO_DEVICE_FEATURES);
	}
	vio_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0xffffffff);
	beyond |= vio_read(dev, VIRTIO_MMIO_DEVICE_FEATURES);
	vio_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	check_eq("feature-words-beyond-64-bits-are-0", beyond, 0);
}

static void test_queue_sel(struct vio_dev *dev)
{
	static const uint32_t beyond[] = { 64, 255, 0x10000, 0xffffffff };
	uint32_t seen = 0;

	vio_begin(dev, 0);
	vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, 0);
	check("queue-0-has-a-size",
	      vio_read(dev, VIRTIO_MMIO_QUEUE_NUM_MAX) != 0);
	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
		vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, beyond[i]);
		seen |= vio_read(dev, VIRTIO_MMIO_QUEUE_NUM_MAX);
		vio_write(dev, VIRTIO_MMIO_QUEUE_NUM, 8);
		vio_write(dev, VIRTIO_MMIO_QUEUE_READY, 1);
		seen |= vio_read(dev, VIRTIO_MMIO_QUEUE_READY);
	}
	check_eq("queues-out-of-range-read-0", seen, 0);
}

/* Config space by bytes, halves and words gives the same. */
static void test_config_widths(struct vio_dev *dev)
{
	uint64_t at = dev->base + VIRTIO_MMIO_CONFIG;
	uint32_t before, after;
	bool ok = true;

	before = vio_read(dev, VIRTIO_MMIO_CONFIG_GENERATION);
	for (uint32_t i = 0; i < 16; i += 4) {
		uint32_t word = mmio_read32(at + i);
		uint32_t halves = mmio_read16(at + i) |
				  (uint32_t)mmio_read16(at + i + 2) << 16;
		uint32_t bytes = 0;

		for (uint32_t b = 0; b < 4; b++)
			bytes |= (uint32_t)mmio_read8(at + i + b) << 8 * b;
		ok = ok && word == halves && word == bytes;
	}
	after = vio_read(dev, VIRTIO_MMIO_CONFIG_GENERATION);
	check("config-reads-of-every-width-agree", ok);
	check_eq("config-generation-is-stable", after, before);
}

static void test_reset_clears(struct vio_dev *dev, uint32_t nr_queues)
{
	uint32_t ready = 0;

	check("handshake", vio_start(dev, 0, nr_queues));
	check("reset-reads-0-at-once", vio_reset(dev));
	for (uint32_t i = 0; i < nr_queues; i++) {
		vio_write(dev, VIRTIO_MMIO_QUEUE_SEL, i);
		ready |= vio_read(dev, VIRTIO_MMIO_QUEUE_READY);
	}
	check_eq("reset-clears-queue-ready", ready, 0);
	check_eq("reset-clears-interrupt-status",
		 vio_read(dev, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void test_transport(struct vio_dev *dev, uint32_t nr_queues)
{
	print("DEVICE slot=%u id=%u features=%lx\n", dev->slot, dev->id,
	      vio_offered(dev));
	test_registers_after_reset(dev);
	test_feature_words(dev);
	test_queue_sel(dev);
	test_config_widths(dev);
	test_reset_clears(dev, nr_queues);
}

/* --- blk --- */

static uint64_t *sector_data, *sector_back;

static void pattern(uint64_t seed, uint32_t sectors)
{
	for (uint32_t i = 0; i < sectors * SECTOR / 8; i++)
		sector_data[i] = seed + i * 0x9e3779b97f4a7c15ULL;
}

static bool same(uint32_t sectors)
{
	for (uint32_t i = 0; i < sectors * SECTOR / 8; i++) {
		if (sector_data[i] != sector_back[i])
			return false;
	}
	return true;
}

static bool read_back(struct vio_dev *dev, uint64_t sector, uint32_t n)
{
	zero_pages(sector_back, n * SECTOR);
	return vio_blk_request(dev, VIRTIO_BLK_T_IN, sector, sector_back,
			       n * SECTOR) == VIRTIO_BLK_S_OK;
}

static void test_blk_id(struct vio_dev *dev)
{
	char id[VIRTIO_BLK_ID_BYTES + 1] = "", want[VIRTIO_BLK_ID_BYTES + 1];

	check_eq("blk-get-id",
		 vio_blk_request(dev, VIRTIO_BLK_T_GET_ID, 0, id,
				 VIRTIO_BLK_ID_BYTES),
		 VIRTIO_BLK_S_OK);
	print("BLK id=%s\n", id);
	if (dev == vio_find(VIRTIO_ID_BLOCK, 0) &&
	    param_get("blk-id", want, sizeof(want)))
		check("blk-id-is-the-one-given",
		      memcmp(id, want, strlen(want) + 1) == 0);
}

static void test_blk_errors(struct vio_dev *dev, uint64_t capacity)
{
	check_eq("blk-read-beyond-the-end-is-an-error",
		 vio_blk_request(dev, VIRTIO_BLK_T_IN, capacity, sector_back,
				 SECTOR),
		 VIRTIO_BLK_S_IOERR);
	check_eq("blk-unknown-type-is-unsupported",
		 vio_blk_request(dev, 0x7fffffff, 0, sector_back, SECTOR),
		 VIRTIO_BLK_S_UNSUPP);
}

static void test_blk_ranges(struct vio_dev *dev)
{
	static struct virtio_blk_discard_write_zeroes range;
	bool zero = true;

	range = (struct virtio_blk_discard_write_zeroes){ .sector = 1,
							  .num_sectors = 2 };
	if (dev->features & VIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES)) {
		pattern(99, 4);
		vio_blk_request(dev, VIRTIO_BLK_T_OUT, 0, sector_data,
				4 * SECTOR);
		check_eq("blk-write-zeroes",
			 vio_blk_request(dev, VIRTIO_BLK_T_WRITE_ZEROES, 0,
					 &range, sizeof(range)),
			 VIRTIO_BLK_S_OK);
		read_back(dev, 0, 4);
		for (uint32_t i = SECTOR / 8; i < 3 * SECTOR / 8; i++) {
			zero = zero && sector_back[i] == 0;
			sector_back[i] = sector_data[i];
		}
		check("blk-write-zeroes-zeroed-its-range", zero);
		check("blk-write-zeroes-kept-the-rest", same(4));
		range.flags = 0xfffffffe;
		check_eq("blk-write-zeroes-with-unknown-flags",
			 vio_blk_request(dev, VIRTIO_BLK_T_WRITE_ZEROES, 0,
					 &range, sizeof(range)),
			 VIRTIO_BLK_S_UNSUPP);
		range.flags = 0;
	} else {
		skip("blk-write-zeroes", "not offered");
	}
	if (dev->features & VIO_BIT(VIRTIO_BLK_F_DISCARD)) {
		check_eq("blk-discard",
			 vio_blk_request(dev, VIRTIO_BLK_T_DISCARD, 0, &range,
					 sizeof(range)),
			 VIRTIO_BLK_S_OK);
		range.flags = 1;
		check_eq("blk-discard-with-unmap-is-unsupported",
			 vio_blk_request(dev, VIRTIO_BLK_T_DISCARD, 0, &range,
					 sizeof(range)),
			 VIRTIO_BLK_S_UNSUPP);
	} else {
		skip("blk-discard", "not offered");
	}
}

/* A request through an indirect table, header split in the middle. */
static void test_blk_framing(struct vio_dev *dev)
{
	static struct virtio_blk_outhdr hdr;
	static volatile uint8_t status;
	static struct vring_desc table[5] __attribute__((aligned(16)));
	struct vio_queue *q = &dev->queues[0];
	const struct vio_buf parts[5] = {
		{ &hdr, 7 },
		{ (const uint8_t *)&hdr + 7, sizeof(hdr) - 7 },
		{ sector_back, 100 },
		{ (uint8_t *)sector_back + 100, SECTOR - 100 },
		{ &status, 1 },
	};
	uint32_t len = 0;
	bool ok;

	hdr = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	status = 0xa5;
	read_back(dev, 0, 1);
	memcpy(sector_data, sector_back, SECTOR);
	zero_pages(sector_back, SECTOR);
	ok = vio_request(dev, 0, parts, 2, 3, &len);
	check("blk-split-anywhere", ok && status == 0 && same(1));
	check_eq("blk-used-length-counts-the-bytes-written", len, SECTOR + 1);

	if (!(dev->features & VIO_BIT(VIRTIO_RING_F_INDIRECT_DESC))) {
		skip("blk-indirect", "not offered");
		return;
	}
	memcpy(table, q->desc, sizeof(table));
	zero_pages(sector_back, SECTOR);
	status = 0xa5;
	vio_desc_set(q, 0, table, sizeof(table), VRING_DESC_F_INDIRECT, 0);
	vio_publish(q, 0);
	vio_kick(dev, 0);
	ok = vio_wait_used(dev, q, NULL, &len);
	check("blk-indirect", ok && status == 0 && same(1));
}

/* More requests than the ring has entries: the indexes wrap. */
static void test_blk_ring_wrap(struct vio_dev *dev)
{
	uint32_t n = dev->queues[0].size + 3U;

	while (n && read_back(dev, 0, 1))
		n--;
	check_eq("blk-more-requests-than-ring-entries", n, 0);
}

static void test_blk_writable(struct vio_dev *dev)
{
	pattern(1, 8);
	check_eq("blk-write",
		 vio_blk_request(dev, VIRTIO_BLK_T_OUT, 0, sector_data,
				 8 * SECTOR),
		 VIRTIO_BLK_S_OK);
	check("blk-read", read_back(dev, 0, 8));
	check("blk-reads-what-was-written", same(8));
	pattern(2, 1);
	vio_blk_request(dev, VIRTIO_BLK_T_OUT, 5, sector_data, SECTOR);
	check("blk-writes-one-sector", read_back(dev, 5, 1) && same(1));
	check_eq("blk-flush",
		 vio_blk_request(dev, VIRTIO_BLK_T_FLUSH, 0, NULL, 0),
		 VIRTIO_BLK_S_OK);
	test_blk_ranges(dev);
}

static void test_blk_read_only(struct vio_dev *dev)
{
	check("blk-ro-read", read_back(dev, 0, 1));
	memcpy(sector_data, sector_back, SECTOR);
	sector_back[0] = ~sector_back[0];
	check_eq("blk-ro-write-is-an-error",
		 vio_blk_request(dev, VIRTIO_BLK_T_OUT, 0, sector_back, SECTOR),
		 VIRTIO_BLK_S_IOERR);
	check("blk-ro-wrote-nothing", read_back(dev, 0, 1) && same(1));
}

static void test_blk(struct vio_dev *dev)
{
	const uint64_t wanted = VIO_BIT(VIRTIO_BLK_F_RO) | FLUSH_OFFERS |
				VIO_BIT(VIRTIO_BLK_F_DISCARD) |
				VIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES) |
				VIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
				VIO_BIT(VIRTIO_RING_F_EVENT_IDX);
	uint64_t capacity;

	if (!vio_start(dev, wanted, 1)) {
		fail("blk-start", "handshake", vio_status(dev), 0xf);
		return;
	}
	capacity = vio_config64(dev, 0);
	print("BLK capacity=%lu\n", capacity);
	if (dev->features & VIO_BIT(VIRTIO_BLK_F_RO))
		test_blk_read_only(dev);
	else
		test_blk_writable(dev);
	test_blk_id(dev);
	test_blk_errors(dev, capacity);
	test_blk_framing(dev);
	test_blk_ring_wrap(dev);
	check_eq("blk-still-live", vio_status(dev), VIO_STATUS_LIVE);
}

/* --- rng --- */

static void test_rng(struct vio_dev *dev)
{
	static uint64_t a[4], b[4];
	const struct vio_buf to_a = { a, sizeof(a) }, to_b = { b, sizeof(b) };
	uint32_t len_a = 0, len_b = 0;

	if (!vio_start(dev, 0, 1) ||
	    !vio_request(dev, 0, &to_a, 0, 1, &len_a) ||
	    !vio_request(dev, 0, &to_b, 0, 1, &len_b)) {
		fail("rng-reads", "no answer", vio_status(dev), 0xf);
		return;
	}
	check("rng-gives-at-least-a-byte", len_a >= 1 && len_b >= 1 &&
						   len_a <= sizeof(a) &&
						   len_b <= sizeof(b));
	check("rng-reads-differ", memcmp(a, b, sizeof(a)) != 0);
}

/* --- console --- */

static void test_console(struct vio_dev *dev)
{
	static const char hello[] = "console says hello\n";
	static char line[64];
	const struct vio_buf out = { hello, sizeof(hello) - 1 };
	const struct vio_buf in = { line, sizeof(line) };
	uint32_t len = 0;

	if (!vio_start(dev, 0, 2)) {
		fail("console-start", "handshake", vio_status(dev), 0xf);
		return;
	}
	check("console-transmits", vio_request(dev, 1, &out, 1, 0, &len));
	check_eq("console-transmit-used-length", len, 0);
	if (param_u64("console-echo", 0) == 0)
		return;
	vio_chain_set(&dev->queues[0], 0, &in, 0, 1);
	vio_publish(&dev->queues[0], 0);
	vio_kick(dev, 0);
	print("WAIT console\n");
	if (!vio_wait_used(dev, &dev->queues[0], NULL, &len) || len == 0 ||
	    len > sizeof(line)) {
		fail("console-receives", "no line", len, 1);
		return;
	}
	pass("console-receives");
	check("console-echoes",
	      vio_request(dev, 1, &(struct vio_buf){ line, len }, 1, 0, NULL));
}

/* --- net --- */

static uint8_t tx_frame[NET_HDR + ETH_MIN], rx_frame[2048];

static void net_fill_frame(const uint8_t mac[6])
{
	uint8_t *eth = tx_frame + NET_HDR;

	memset(tx_frame, 0, sizeof(tx_frame));
	memset(eth, 0xff, 6);
	memcpy(eth + 6, mac, 6);
	eth[12] = ETH_TEST >> 8;
	eth[13] = ETH_TEST & 0xff;
	memcpy(eth + 14, "torpor payload", 14);
}

static void test_net(struct vio_dev *dev)
{
	const struct vio_buf in = { rx_frame, sizeof(rx_frame) };
	const struct vio_buf out = { tx_frame, sizeof(tx_frame) };
	uint8_t mac[6];
	uint32_t len = 0;

	if (!vio_start(dev, VIO_BIT(VIRTIO_NET_F_MAC), 2)) {
		fail("net-start", "handshake", vio_status(dev), 0xf);
		return;
	}
	for (uint32_t i = 0; i < 6; i++)
		mac[i] = mmio_read8(dev->base + VIRTIO_MMIO_CONFIG + i);
	check("net-mac-is-unicast", !(mac[0] & 1));
	check_eq("net-mtu",
		 vio_offered(dev) & VIO_BIT(VIRTIO_NET_F_MTU)
			 ? vio_config16(dev,
					offsetof(struct virtio_net_config, mtu))
			 : 0,
		 param_u64("net-mtu", 0));
	vio_chain_set(&dev->queues[NET_RX], 0, &in, 0, 1);
	vio_publish(&dev->queues[NET_RX], 0);
	vio_kick(dev, NET_RX);
	net_fill_frame(mac);
	check("net-transmits", vio_request(dev, NET_TX, &out, 1, 0, &len));
	check_eq("net-transmit-used-length", len, 0);
	if (param_u64("net-reply", 0) == 0)
		return;
	print("WAIT net\n");
	if (!vio_wait_used(dev, &dev->queues[NET_RX], NULL, &len)) {
		fail("net-receives", "no frame", len, 1);
		return;
	}
	check("net-receives", len >= NET_HDR + 14 && len <= sizeof(rx_frame));
	check_eq("net-header-has-one-buffer",
		 rx_frame[10] | (uint32_t)rx_frame[11] << 8, 1);
}

static const struct device_tests {
	uint32_t id;
	uint32_t nr_queues; /* with the features that the test takes */
	void (*run)(struct vio_dev *dev);
} all_tests[] = {
	{ VIRTIO_ID_BLOCK, 1, test_blk },
	{ VIRTIO_ID_NET, 2, test_net },
	{ VIRTIO_ID_CONSOLE, 2, test_console },
	{ VIRTIO_ID_RNG, 1, test_rng },
};

static void test_device(struct vio_dev *dev)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_tests); i++) {
		if (all_tests[i].id != dev->id)
			continue;
		test_transport(dev, all_tests[i].nr_queues);
		all_tests[i].run(dev);
		return;
	}
	test_transport(dev, 1);
	skip("device", "unknown type");
}

void payload_main(void)
{
	struct vio_dev *dev;

	sector_data = vio_alloc(8 * SECTOR);
	sector_back = vio_alloc(8 * SECTOR);
	print("DEVICES found=%u\n", vio_probe());
	for (unsigned int i = 0; (dev = vio_nth(i)) != NULL; i++) {
		test_device(dev);
		vio_reset(dev);
	}
	done();
}
