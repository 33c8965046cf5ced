/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The split virtqueue against a hostile driver: ring and buffers come from the
 * input and change between the calls. The device's side keeps the contract of
 * virtio/virtq.h.
 */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "tests/fuzz/fuzz_ring.h"
#include "virtio/iov.h"
#include "virtio/virtq.h"

#define MAX_OPS 400

static struct gmem gm;
static struct fuzz_ring ring;
static struct virtq vq;
static struct iovec iov[VIRTQ_MAX_CHAIN];
/* Chains taken, in order; those after the last push can be given back. */
static uint16_t taken[VIRTQ_MAX_SIZE];
static unsigned int nr_taken, nr_latest;

void fuzz_setup(void)
{
	fuzz_ram_create(&gm);
}

static void forget(unsigned int i)
{
	memmove(&taken[i], &taken[i + 1],
		(nr_taken - i - 1) * sizeof(taken[0]));
	nr_latest = MIN(nr_latest, nr_taken - i - 1);
	nr_taken--;
}

static void check_chain(const struct virtq_chain *c, unsigned int max)
{
	uint64_t out = 0, in = 0;

	fuzz_check(c->nr_out + c->nr_in <= (int)max);
	fuzz_check(c->head < vq.size);
	for (unsigned int i = 0; i < (unsigned int)c->nr_out + c->nr_in; i++) {
		fuzz_check(fuzz_ram_has(&gm, &c->iov[i]));
		fuzz_check(c->iov[i].iov_len > 0);
		if (i < c->nr_out)
			out += c->iov[i].iov_len;
		else
			in += c->iov[i].iov_len;
	}
	fuzz_check(out == c->len_out && in == c->len_in);
}

static void use_chain(struct fuzz_in *in, const struct virtq_chain *c)
{
	uint8_t buf[256];
	struct iovec part[8];
	size_t off = fuzz_u16(in);
	int n;

	(void)iov_read(c->iov, c->nr_out, off, buf, sizeof(buf));
	(void)iov_write(c->iov + c->nr_out, c->nr_in, off / 4, buf,
			sizeof(buf));
	n = iov_slice(c->iov, c->nr_out, off, fuzz_u16(in), part,
		      ARRAY_SIZE(part));
	for (int i = 0; i < n; i++)
		fuzz_check(fuzz_ram_has(&gm, &part[i]));
}

static void pop(struct fuzz_in *in)
{
	uint8_t few = fuzz_u8(in);
	unsigned int max = few & 1 ? 1U + few / 8 : VIRTQ_MAX_CHAIN;
	struct virtq_chain c;
	int r = virtq_pop(&vq, &c, iov, max);

	fuzz_check(r == 1 || r == 0 || r == -EPROTO || r == -ENOBUFS);
	fuzz_check(vq.broken == (r == -EPROTO));
	if (r != 1 && r != -ENOBUFS)
		return;
	fuzz_check(c.head < vq.size && nr_taken < vq.size);
	for (unsigned int i = 0; i < nr_taken; i++)
		fuzz_check(taken[i] != c.head);
	taken[nr_taken++] = c.head;
	nr_latest++;
	if (r == 1) {
		check_chain(&c, max);
		use_chain(in, &c);
	}
}

static void push(struct fuzz_in *in)
{
	unsigned int i = fuzz_u8(in);

	if (!nr_taken)
		return;
	i %= nr_taken;
	virtq_push(&vq, taken[i], fuzz_u16(in));
	forget(i);
}

static void fill_several(struct fuzz_in *in)
{
	uint16_t n = (uint16_t)MIN(fuzz_u8(in) % 8U, nr_taken);

	for (uint16_t i = 0; i < n; i++) {
		virtq_fill(&vq, taken[0], i, i);
		forget(0);
	}
	virtq_flush(&vq, n);
}

static void unpop(struct fuzz_in *in)
{
	unsigned int n = fuzz_u8(in) % 8U;

	n = MIN(n, nr_latest);
	virtq_unpop(&vq, &taken[nr_taken - n], n);
	nr_taken -= n;
	nr_latest -= n;
}

static void give_back(void)
{
	while (nr_taken > nr_latest) {
		virtq_push(&vq, taken[0], 0);
		forget(0);
	}
	virtq_unpop(&vq, taken, nr_taken);
	nr_taken = 0;
	nr_latest = 0;
}

static void restart(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	bool broken = vq.broken;
	uint16_t base, want = vq.used_idx;

	give_back();
	base = virtq_stop(&vq);
	fuzz_check(broken ? base == want : true);
	fuzz_check(virtq_pop(&vq, &(struct virtq_chain){ 0 }, iov, 1) <= 0);
	virtq_start(&vq, how & 4 ? fuzz_u16(in) : base, how & 1, how & 2);
}

static void step(struct fuzz_in *in, uint8_t op)
{
	switch (op % 16) {
	case 0:
	case 1:
	case 2:
		fuzz_ring_chain(&ring, in);
		break;
	case 3:
		fuzz_ram_write(&gm, in);
		break;
	case 4:
	case 5:
		fuzz_ring_mess(&ring, in);
		break;
	case 6:
		push(in);
		break;
	case 7:
		unpop(in);
		break;
	case 8:
		fill_several(in);
		break;
	case 9:
		(void)virtq_signal(&vq);
		break;
	case 10:
		if (virtq_enable_kick(&vq))
			fuzz_check(virtq_has_work(&vq) || vq.broken);
		break;
	case 11:
		virtq_disable_kick(&vq);
		break;
	case 12:
		restart(in);
		break;
	default:
		pop(in);
		break;
	}
}

static bool setup_ring(struct fuzz_in *in)
{
	static struct virtio_regpage page;
	uint8_t how = fuzz_u8(in);
	uint16_t size = (uint16_t)(1U << how % 11);

	virtq_init(&vq);
	vq.page = &page;
	if (how & 0x80) { /* anywhere */
		return virtq_setup(&vq, &gm, fuzz_u16(in), fuzz_u64(in),
				   fuzz_u64(in), fuzz_u64(in)) == 0;
	}
	fuzz_ring_init(&ring, &gm, 0, size);
	fuzz_check(virtq_setup(&vq, &gm, size, ring.desc_gpa, ring.avail_gpa,
			       ring.used_gpa) == 0);
	return true;
}

void fuzz_one(struct fuzz_in *in)
{
	uint8_t how;

	fuzz_ram_clear(&gm);
	nr_taken = 0;
	nr_latest = 0;
	fuzz_ring_init(&ring, &gm, 0, 16);
	if (!setup_ring(in))
		return;
	how = fuzz_u8(in);
	ring.avail_idx = how & 4 ? 0xfffe : 0;
	ring.avail->idx = ring.avail_idx;
	virtq_start(&vq, ring.avail_idx, how & 1, how & 2);
	for (int i = 0; i < MAX_OPS && in->len > 0; i++)
		step(in, fuzz_u8(in));
	give_back();
	(void)virtq_stop(&vq);
	virtq_finish(&vq);
}

void fuzz_seeds(void)
{
	static const uint8_t plain[] = {
		8, 3,  0, 2, 1, 0, 0, 16, 0, 0, 1, 32, 0,  0,  2, 0,
		1, 13, 0, 0, 0, 8, 0, 6,  0, 4, 0, 9,  10, 12, 0,
	};
	static const uint8_t indirect[] = {
		4, 3, 3, 0, 0, 40, 0, 0, 4, 0,	0, 0, 0, 0, 64, 0, 0, 0, 0, 0,
		0, 0, 4, 2, 0, 0,  0, 0, 2, 13, 0, 0, 0, 0, 0,	6, 0, 0, 0, 9,
	};

	fuzz_seed(plain, sizeof(plain));
	fuzz_seed(indirect, sizeof(indirect));
}
