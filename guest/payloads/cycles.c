/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeps and wakes under load, and accounts for each request. In every cycle
 * each disk gets 4 writes and 4 reads and the network card 4 frames, which a
 * program on the host echoes, without a wait for any of them. Then it sleeps;
 * in turn:
 *
 *	s2idle, devices live: the requests are in flight
 *	s2idle, devices reset: requests done first, as Linux does; echoes under
 *way S1, live S1, reset
 *
 * It is woken by the launcher only. Then each request has to have been used
 * once, each block read has to be what was written last, and the echoes have to
 * come in order, each once. Words:
 *   cycles=N   how many
 *   mark=N     after that many
 * Before the first cycle, after mark and after all it says MARK and waits for a
 * byte on the serial port.
 */
#include "guest/payloads/rx.h"
#include "guest/payloads/sleep.h"

#define SECTOR	     512U
#define MAX_DISKS    2U
#define WRITES	     4U
#define DEPTH	     (2 * WRITES)
#define CHAIN	     3U	  /* descriptors of a request */
#define SECTORS	     256U /* of a disk, used in turn */
#define STAMP_EVERY  8U	  /* words: a stamp each 64 bytes */
#define FRAMES	     4U
#define FRAME_BYTES  (NET_HDR_BYTES + ETH_MIN_BYTES)
#define LAUNCHER_GPE (1U << LAYOUT_GPE_WAKE)

struct request {
	struct virtio_blk_outhdr hdr;
	volatile uint8_t status;
	bool done;
	uint64_t seq; /* of the block: what is written, or what is expected */
	uint64_t *data;
};

struct disk {
	struct vio_dev *dev;
	struct request requests[DEPTH];
	unsigned int used; /* of the requests of this cycle */
	uint64_t written[SECTORS];
};

static struct disk disks[MAX_DISKS];
static unsigned int nr_disks;

static struct vio_dev *card;
static struct rx net;
static uint8_t *tx_frames[FRAMES];
static unsigned int tx_used; /* of the frames of this cycle */
static bool tx_done[FRAMES];
static uint32_t tx_seq, rx_seq; /* the next one */

static uint64_t in_flight_blk, in_flight_net, echoes_late;

/* ----------------------------------------------------------------- disks */

static uint64_t stamp(uint64_t sector, uint64_t seq)
{
	return seq ? seq << 16 | sector : 0;
}

static void submit(struct disk *d, unsigned int slot, uint64_t sector,
		   uint64_t seq)
{
	struct request *r = &d->requests[slot];
	struct vio_queue *q = &d->dev->queues[0];
	bool out = slot < WRITES;
	const struct vio_buf bufs[CHAIN] = { { &r->hdr, sizeof(r->hdr) },
					     { r->data, SECTOR },
					     { &r->status, 1 } };

	r->hdr.type = out ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	r->hdr.sector = sector;
	r->status = 0xa5;
	r->done = false;
	r->seq = seq;
	for (unsigned int i = 0; i < SECTOR / 8; i += STAMP_EVERY)
		r->data[i] = out ? stamp(sector, seq) : ~0ULL;
	vio_chain_set(q, (uint16_t)(slot * CHAIN), bufs, out ? 2 : 1,
		      out ? 1 : 2);
	vio_publish(q, (uint16_t)(slot * CHAIN));
}

/* Writes go round the sectors, reads half a round behind them. */
static void disk_submit(struct disk *d, uint64_t n)
{
	d->used = 0;
	for (unsigned int i = 0; i < WRITES; i++) {
		uint64_t at = (n * WRITES + i) % SECTORS;

		submit(d, i, at, n * WRITES + i);
		d->written[at] = n * WRITES + i;
	}
	for (unsigned int i = 0; i < WRITES; i++) {
		uint64_t at = (n * WRITES + i + SECTORS / 2) % SECTORS;

		submit(d, WRITES + i, at, d->written[at]);
	}
	vio_kick(d->dev, 0);
}

static const char *check_request(struct disk *d, uint32_t id)
{
	struct request *r = &d->requests[id / CHAIN];

	if (id % CHAIN || id / CHAIN >= DEPTH)
		return "a request was used that there is not";
	if (r->done)
		return "a request was used twice";
	r->done = true;
	if (r->status != VIRTIO_BLK_S_OK)
		return "a request failed";
	for (unsigned int i = 0; i < SECTOR / 8; i += STAMP_EVERY) {
		if (r->data[i] != stamp(r->hdr.sector, r->seq))
			return "a block has other content";
	}
	return NULL;
}

static const char *disk_finish(struct disk *d)
{
	struct vio_queue *q = &d->dev->queues[0];
	const char *why;
	uint32_t id;

	for (; d->used < DEPTH; d->used++) {
		if (!vio_wait_used(d->dev, q, &id, NULL))
			return "a request was not used";
		why = check_request(d, id);
		if (why)
			return why;
	}
	return q->used->idx == q->last_used ? NULL : "one used too many";
}

/* --------------------------------------------------------------- network */

static void net_submit(void)
{
	struct vio_queue *q = &card->queues[TX_QUEUE];

	tx_used = 0;
	for (uint16_t i = 0; i < FRAMES; i++) {
		frame_make(tx_frames[i], tx_seq++);
		tx_done[i] = false;
		vio_desc_set(q, i, tx_frames[i], FRAME_BYTES, 0, 0);
		vio_publish(q, i);
	}
	vio_kick(card, TX_QUEUE);
}

static const char *net_finish(void)
{
	struct vio_queue *q = &card->queues[TX_QUEUE];
	uint32_t id;

	for (; tx_used < FRAMES; tx_used++) {
		if (!vio_wait_used(card, q, &id, NULL))
			return "a frame was not used";
		if (id >= FRAMES || tx_done[id])
			return "a frame was used twice";
		tx_done[id] = true;
	}
	return q->used->idx == q->last_used ? NULL : "one frame too many";
}

static const char *take_echo(const uint8_t *buf, uint32_t len)
{
	uint32_t seq;

	if (!frame_get(buf, len, &seq))
		return "a frame that nobody sent";
	rx_done(&net);
	if (seq != rx_seq)
		return seq < rx_seq ? "an echo came twice" : "an echo is lost";
	rx_seq++;
	return NULL;
}

static const char *take_echoes(bool all)
{
	const char *why = NULL;
	const uint8_t *buf;
	uint32_t len;

	while (!why && (buf = rx_next(&net, &len)) != NULL)
		why = take_echo(buf, len);
	while (!why && all && rx_seq != tx_seq) {
		buf = rx_wait(&net, &len);
		why = buf ? take_echo(buf, len) : "an echo did not come";
	}
	return why;
}

/* ---------------------------------------------------------------- cycles */

static const char *start(void)
{
	for (unsigned int i = 0; i < nr_disks; i++) {
		if (!vio_start(disks[i].dev, 0, 1))
			return "a disk does not start";
	}
	return rx_start(&net) ? NULL : "the card does not start";
}

static const char *finish_requests(void)
{
	const char *why = NULL;

	for (unsigned int i = 0; !why && i < nr_disks; i++)
		why = disk_finish(&disks[i]);
	return why ? why : net_finish();
}

static const char *stop(void)
{
	const char *why = finish_requests();

	for (unsigned int i = 0; i < nr_disks; i++)
		vio_reset(disks[i].dev);
	vio_reset(card);
	/* What the card had received before belongs to the guest. */
	return why ? why : take_echoes(false);
}

static unsigned int not_used(const struct vio_dev *dev, unsigned int queue,
			     unsigned int submitted)
{
	const struct vio_queue *q = &dev->queues[queue];
	uint16_t idx = *(const volatile uint16_t *)&q->used->idx;

	return submitted - (uint16_t)(idx - q->last_used);
}

static void count_in_flight(bool live)
{
	for (unsigned int i = 0; live && i < nr_disks; i++)
		in_flight_blk += not_used(disks[i].dev, 0, DEPTH);
	if (live)
		in_flight_net += not_used(card, TX_QUEUE, FRAMES);
}

static const char *sleep_once(bool s1)
{
	struct wake w = s1 ? sleep_s1() : sleep_s2idle();
	const char *why = wake_clear(&w);

	if (w.pm1 || w.serial || w.gpe != LAUNCHER_GPE) {
		wake_report(0, &w);
		why = "woken by another than the launcher";
	}
	sleep_exit();
	return why;
}

static const char *cycle(uint64_t n)
{
	bool live = n & 1, s1 = n & 2;
	const char *why = NULL, *later;

	for (unsigned int i = 0; i < nr_disks; i++)
		disk_submit(&disks[i], n);
	net_submit();
	if (!live)
		why = stop();
	count_in_flight(live);
	later = sleep_once(s1);
	echoes_late += tx_seq - rx_seq;
	why = why ? why : later;
	if (!why)
		why = live ? finish_requests() : start();
	return why ? why : take_echoes(true);
}

static void mark(uint64_t n)
{
	print("MARK cycle=%lu\n", n);
	(void)serial_getc();
}

static const char *cycles_run(uint64_t cycles, uint64_t first_mark)
{
	const char *why = start();

	mark(0);
	for (uint64_t n = 1; !why && n <= cycles; n++) {
		why = cycle(n);
		if (why)
			print("CYCLE %lu\n", n);
		else if (n == first_mark || n == cycles)
			mark(n);
	}
	return why;
}

void payload_main(void)
{
	struct vio_dev *dev;

	vio_probe();
	card = vio_find(VIRTIO_ID_NET, 0);
	for (; nr_disks < MAX_DISKS; nr_disks++) {
		struct disk *d = &disks[nr_disks];

		dev = vio_find(VIRTIO_ID_BLOCK, nr_disks);
		if (!dev)
			break;
		d->dev = dev;
		for (unsigned int i = 0; i < DEPTH; i++)
			d->requests[i].data = vio_alloc(SECTOR);
	}
	if (!card || nr_disks == 0) {
		result("cycles", "wants a network card and a disk");
		done();
		return;
	}
	for (unsigned int i = 0; i < FRAMES; i++)
		tx_frames[i] = vio_alloc(FRAME_BYTES);
	rx_init(&net, card);
	sleep_init(false);
	sleep_arm(0);
	result("cycles",
	       cycles_run(param_u64("cycles", 100), param_u64("mark", 0)));
	print("INFLIGHT blk=%lu net=%lu echoes=%lu\n", in_flight_blk,
	      in_flight_net, echoes_late);
	done();
}
