/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory and the driver's side of a ring, out of an input. */
#include "tests/fuzz/fuzz_ring.h"

#include <stdlib.h>
#include <string.h>

#include "virtio/virtq.h"

#define MAX_BUFS 12U
/* Bytes of one ring: descriptors, available, used. */
#define RING_BYTES 0x3000ULL

static void region_add(struct gmem *gm, uint64_t gpa, uint64_t size)
{
	struct gmem_region region = { .gpa = gpa, .size = size, .fd = -1 };

	region.hva = malloc(size);
	fuzz_check(region.hva);
	region.user_addr = gpa;
	fuzz_check(gmem_add(gm, &region) == 0);
}

void fuzz_ram_create(struct gmem *gm)
{
	gm->nr = 0;
	region_add(gm, FUZZ_RAM_GPA, FUZZ_RAM_BYTES);
	region_add(gm, FUZZ_RAM_GPA + FUZZ_RAM_BYTES, FUZZ_RAM2_BYTES);
	region_add(gm, FUZZ_FAR_GPA, FUZZ_FAR_BYTES);
	fuzz_ram_clear(gm);
}

void fuzz_ram_clear(struct gmem *gm)
{
	for (unsigned int i = 0; i < gm->nr; i++)
		memset(gm->regions[i].hva, 0, gm->regions[i].size);
}

bool fuzz_ram_has(const struct gmem *gm, const struct iovec *iov)
{
	const uint8_t *at = iov->iov_base;

	for (unsigned int i = 0; i < gm->nr; i++) {
		const struct gmem_region *r = &gm->regions[i];

		if (at >= r->hva && at < r->hva + r->size)
			return iov->iov_len <= (size_t)(r->hva + r->size - at);
	}
	return false;
}

void fuzz_ram_write(const struct gmem *gm, struct fuzz_in *in)
{
	uint64_t gpa = FUZZ_RAM_GPA + fuzz_u16(in) * 4ULL;
	uint8_t buf[64];
	size_t n = fuzz_bytes(in, buf, 1 + fuzz_u8(in) % sizeof(buf));
	void *hva;

	if (n > 0 && gmem_span(gm, gpa, n, &hva) == 0)
		memcpy(hva, buf, n);
}

static void *at(const struct gmem *gm, uint64_t gpa, uint64_t len)
{
	void *hva = NULL;

	fuzz_check(gmem_span(gm, gpa, len, &hva) == 0);
	return hva;
}

void fuzz_ring_init(struct fuzz_ring *r, const struct gmem *gm,
		    unsigned int index, uint16_t size)
{
	uint64_t base = FUZZ_RAM_GPA + index * RING_BYTES;
	/* The used ring of a large one ends at the end of its region. */
	uint64_t used_bytes = 6 + 8ULL * size;

	*r = (struct fuzz_ring){ .gm = gm, .size = size };
	r->desc_gpa = base;
	r->avail_gpa = base + 16ULL * size;
	r->used_gpa =
		size > 256
			? (FUZZ_RAM_GPA + FUZZ_RAM_BYTES - used_bytes) & ~3ULL
			: base + 0x1800;
	r->desc = at(gm, r->desc_gpa, 16ULL * size);
	r->avail = at(gm, r->avail_gpa, 6 + 2ULL * size);
	r->used = at(gm, r->used_gpa, used_bytes);
}

static void put(struct fuzz_ring *r, uint16_t head)
{
	r->avail->ring[r->avail_idx & (r->size - 1)] = head;
	r->avail_idx++;
	shared_store_release(&r->avail->idx, r->avail_idx);
}

void fuzz_ring_add(struct fuzz_ring *r, const uint64_t *gpas,
		   const int32_t *lens, unsigned int n)
{
	uint16_t mask = (uint16_t)(r->size - 1), head = r->next_desc;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t d = (uint16_t)((head + i) & mask);
		bool in = lens[i] < 0;

		r->desc[d] = (struct vring_desc){
			.addr = gpas[i],
			.len = (uint32_t)(in ? -lens[i] : lens[i]),
			.flags =
				(uint16_t)((in ? VRING_DESC_F_WRITE : 0) |
					   (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
			.next = (uint16_t)((d + 1) & mask),
		};
	}
	r->next_desc = (uint16_t)((head + n) & mask);
	put(r, head);
}

void fuzz_ring_chain(struct fuzz_ring *r, struct fuzz_in *in)
{
	uint64_t gpas[MAX_BUFS];
	int32_t lens[MAX_BUFS];
	uint8_t how = fuzz_u8(in);
	unsigned int n = 1 + how % MAX_BUFS;
	unsigned int nr_out = fuzz_u8(in) % (n + 1);

	for (unsigned int i = 0; i < n; i++) {
		uint16_t where = fuzz_u16(in);
		int32_t len = fuzz_u16(in);

		gpas[i] = where & 0x8000 ? FUZZ_FAR_GPA + (where & 0x1fff)
					 : FUZZ_BUF_GPA + where * 4ULL;
		lens[i] = i < nr_out ? len : -len;
	}
	fuzz_ring_add(r, gpas, lens, n);
}

void fuzz_ring_mess(struct fuzz_ring *r, struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint16_t i = (uint16_t)(fuzz_u16(in) & (r->size - 1));

	switch (how & 3) {
	case 0:
		r->desc[i].addr = fuzz_u64(in);
		r->desc[i].len = fuzz_u32(in);
		r->desc[i].flags = fuzz_u8(in) & 7;
		r->desc[i].next = fuzz_u16(in);
		break;
	case 1:
		put(r, fuzz_u16(in));
		break;
	case 2: /* an indirect table, wherever it is */
		r->desc[i].addr = FUZZ_BUF_GPA + 16ULL * fuzz_u16(in);
		r->desc[i].len = 16U * fuzz_u8(in) + (how >> 7);
		r->desc[i].flags = VRING_DESC_F_INDIRECT;
		put(r, i);
		break;
	default:
		if (how & 0x10)
			r->avail_idx = fuzz_u16(in);
		shared_store_release(&r->avail->idx, r->avail_idx);
		r->avail->flags = how >> 7;
		r->avail->ring[r->size] = fuzz_u16(in);
		break;
	}
}

void fuzz_ring_start(const struct fuzz_ring *r, struct virtio_dev *dev,
		     unsigned int q, uint8_t how)
{
	struct virtq *vq = &dev->queues[q];

	fuzz_check(virtq_setup(vq, r->gm, r->size, r->desc_gpa, r->avail_gpa,
			       r->used_gpa) == 0);
	virtq_start(vq, r->used->idx, how & 1, how & 2);
	dev->ops->kick(dev, q);
}

void fuzz_ring_stop(struct virtio_dev *dev, unsigned int q)
{
	dev->ops->stop_queue(dev, q);
	(void)virtq_stop(&dev->queues[q]);
}
