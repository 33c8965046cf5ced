/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split virtqueue, device side (virtio 1.x, 2.7 and 2.7.5.3). Runs on the
 * device's one thread. A chain is walked once: each descriptor is copied into
 * private memory, checked there and translated; nothing is read again later.
 */
#include "virtio/virtq.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "arch/load16.h"
#include "virtio/iov.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/loop.h"

_Static_assert(sizeof(struct vring_desc) == 16, "taken by one load");

#define DESC_ALIGN  16U
#define AVAIL_ALIGN 2U
#define USED_ALIGN  4U

/* The table a chain is being walked through: the ring's or an indirect one. */
struct walk {
	struct iovec table[GMEM_MAX_REGIONS]; /* indirect table; may cross */
	unsigned int nr_table;		      /* 0: the ring's own table */
	unsigned int entries;		      /* of the current table */
	unsigned int taken;		      /* descriptors seen so far */
	unsigned int max;		      /* descriptors allowed */
	bool overflow; /* the caller's iov is too small */
};

void virtq_init(struct virtq *vq)
{
	*vq = (struct virtq){ .kick_fd = -1, .call_fd = -1, .err_fd = -1 };
}

void virtq_finish(struct virtq *vq)
{
	if (!vq)
		return;
	fd_close(&vq->kick_fd);
	fd_close(&vq->call_fd);
	fd_close(&vq->err_fd);
	virtq_init(vq);
}

static bool size_valid(unsigned int size)
{
	return size > 0 && size <= VIRTQ_MAX_SIZE && !(size & (size - 1));
}

static size_t avail_bytes(unsigned int size)
{
	return sizeof(struct vring_avail) + (size + 1) * sizeof(uint16_t);
}

static size_t used_bytes(unsigned int size)
{
	return sizeof(struct vring_used) +
	       size * sizeof(struct vring_used_elem) + sizeof(uint16_t);
}

int virtq_setup(struct virtq *vq, const struct gmem *gm, uint16_t size,
		uint64_t desc_gpa, uint64_t avail_gpa, uint64_t used_gpa)
{
	void *desc, *avail, *used;
	int r;

	if (!size_valid(size) || desc_gpa % DESC_ALIGN ||
	    avail_gpa % AVAIL_ALIGN || used_gpa % USED_ALIGN)
		return -EINVAL;
	r = gmem_span(gm, desc_gpa, size * sizeof(struct vring_desc), &desc);
	if (r < 0)
		return r;
	r = gmem_span(gm, avail_gpa, avail_bytes(size), &avail);
	if (r < 0)
		return r;
	r = gmem_span(gm, used_gpa, used_bytes(size), &used);
	if (r < 0)
		return r;
	return virtq_setup_hva(vq, gm, size, desc, avail, used);
}

int virtq_setup_hva(struct virtq *vq, const struct gmem *gm, uint16_t size,
		    void *desc, void *avail, void *used)
{
	if (!size_valid(size) || (uintptr_t)desc % DESC_ALIGN ||
	    (uintptr_t)avail % AVAIL_ALIGN || (uintptr_t)used % USED_ALIGN)
		return -EINVAL;
	if (size != vq->size)
		vq->held = 0;
	vq->gm = gm;
	vq->size = size;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	return 0;
}

/* The field behind the used ring: with EVENT_IDX, when to kick us. */
static uint16_t *avail_event(const struct virtq *vq)
{
	return (uint16_t *)(void *)&vq->used->ring[vq->size];
}

static uint16_t used_event(const struct virtq *vq)
{
	return shared_load(&vq->avail->ring[vq->size]);
}

void virtq_start(struct virtq *vq, uint16_t base, bool event_idx, bool indirect)
{
	bool goes_on = vq->held && base == vq->last_avail;

	vq->event_idx = event_idx;
	vq->indirect = indirect;
	vq->last_avail = base;
	vq->used_idx = shared_load(&vq->used->idx);
	/*
	 * Not where we left it, and not a new ring: who used its last entries
	 * may not have lived to tell the driver.
	 */
	if (vq->signalled != vq->used_idx)
		vq->signalled = base || vq->used_idx
					? (uint16_t)(vq->used_idx - vq->size)
					: 0;
	if (!goes_on || (uint16_t)(base - vq->used_idx) != vq->held) {
		vq->in_flight = 0;
		memset(vq->head_busy, 0, sizeof(vq->head_busy));
	}
	vq->held = 0;
	vq->broken = false;
	vq->running = true;
	/* The owner scans the ring right after this, so no re-check here. */
	shared_store(&vq->used->flags, 0);
	if (event_idx)
		shared_store(avail_event(vq), base);
}

uint16_t virtq_stop(struct virtq *vq)
{
	assert(vq->broken || !vq->running || vq->in_flight == vq->held);
	vq->running = false;
	if (vq->broken)
		vq->held = 0;
	return vq->broken ? vq->used_idx : vq->last_avail;
}

void virtq_hold(struct virtq *vq, unsigned int n)
{
	if (vq->broken || !vq->running)
		return;
	assert(n == vq->in_flight);
	vq->held = vq->in_flight;
}

void virtq_break(struct virtq *vq, const char *why)
{
	static struct log_limit limit;

	if (vq->broken)
		return;
	vq->broken = true;
	log_limited(&limit, "ring broken by the driver: %s", why);
	if (vq->err_fd >= 0)
		fd_event_signal(vq->err_fd);
}

static bool busy_test(const struct virtq *vq, uint16_t head)
{
	return vq->head_busy[head / 64] >> (head % 64) & 1;
}

static void busy_set(struct virtq *vq, uint16_t head)
{
	vq->head_busy[head / 64] |= 1ULL << (head % 64);
	vq->in_flight++;
}

static void busy_clear(struct virtq *vq, uint16_t head)
{
	assert(head < vq->size && busy_test(vq, head));
	vq->head_busy[head / 64] &= ~(1ULL << (head % 64));
	vq->in_flight--;
}

/*
 * One private copy of descriptor @i of the current table, by one load: a driver
 * that rewrites the descriptor meanwhile, which it must not, gets the old one
 * or the new one and no mix. A readable buffer must not become writable.
 */
static void desc_fetch(const struct virtq *vq, const struct walk *w,
		       unsigned int i, struct vring_desc *ret)
{
	const uint8_t *table = w->nr_table ? w->table[0].iov_base : NULL;

	if (!w->nr_table)
		shared_load16(&vq->desc[i], ret);
	else if (w->nr_table == 1 && (uintptr_t)table % DESC_ALIGN == 0)
		shared_load16(table + i * sizeof(*ret), ret);
	else /* across two regions, or not aligned: what it reads, it reads */
		(void)iov_read(w->table, w->nr_table, i * sizeof(*ret), ret,
			       sizeof(*ret));
}

/* Return: NULL, or what the driver did wrong. */
static const char *indirect_enter(const struct virtq *vq, struct walk *w,
				  const struct vring_desc *d)
{
	unsigned int entries = d->len / sizeof(*d);
	int n;

	if (!vq->indirect)
		return "indirect descriptor without the feature";
	if (w->nr_table)
		return "indirect descriptor inside an indirect table";
	if (d->flags & VRING_DESC_F_NEXT)
		return "indirect descriptor with a next one";
	if (!d->len || d->len % sizeof(*d))
		return "size of an indirect table";
	if (entries > VIRTQ_MAX_CHAIN)
		return "indirect table too long";
	n = gmem_iov(vq->gm, d->addr, d->len, w->table, GMEM_MAX_REGIONS);
	if (n < 0)
		return "indirect table outside memory";
	w->nr_table = (unsigned int)n;
	w->entries = entries;
	/* The descriptor that names the table is none of the chain's. */
	w->taken--;
	w->max = VIRTQ_MAX_CHAIN;
	return NULL;
}

static const char *buffer_add(const struct virtq *vq, struct walk *w,
			      const struct vring_desc *d, struct virtq_chain *c,
			      unsigned int max_iov)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	unsigned int used = (unsigned int)c->nr_out + c->nr_in;
	struct iovec spill[GMEM_MAX_REGIONS];
	int n = -ENOBUFS;

	if (!in && c->len_in)
		return "readable buffer after a writable one";
	if (!d->len)
		return NULL;
	if (c->len_out + c->len_in + d->len > UINT32_MAX)
		return "chain longer than 4 GiB";
	if (!w->overflow)
		n = gmem_iov(vq->gm, d->addr, d->len, c->iov + used,
			     max_iov - used);
	if (n == -ENOBUFS) {
		/* Still checked, so that the verdict on the ring is the same.
		 */
		w->overflow = true;
		n = gmem_iov(vq->gm, d->addr, d->len, spill, GMEM_MAX_REGIONS);
	}
	if (n < 0)
		return "buffer outside memory";
	if (in) {
		c->nr_in = (uint16_t)(c->nr_in + n);
		c->len_in += d->len;
	} else {
		c->nr_out = (uint16_t)(c->nr_out + n);
		c->len_out += d->len;
	}
	return NULL;
}

static const char *chain_walk(const struct virtq *vq, struct virtq_chain *c,
			      unsigned int max_iov, bool *ret_overflow)
{
	/* Not initialised as a whole: the table is 512 bytes. */
	struct walk w;
	struct vring_desc d;
	unsigned int i = c->head;

	w.nr_table = 0;
	w.entries = vq->size;
	w.taken = 0;
	w.max = vq->size;
	w.overflow = false;
	for (;;) {
		const char *why;

		if (i >= w.entries)
			return "next descriptor outside its table";
		if (++w.taken > w.max)
			return "chain too long or a loop";
		desc_fetch(vq, &w, i, &d);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			why = indirect_enter(vq, &w, &d);
			i = 0;
			if (why)
				return why;
			continue;
		}
		why = buffer_add(vq, &w, &d, c, max_iov);
		if (why)
			return why;
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
		i = d.next;
	}
	*ret_overflow = w.overflow;
	return NULL;
}

int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov,
	      unsigned int max_iov)
{
	struct virtq_chain c = { .iov = iov };
	bool overflow = false;
	const char *why;
	uint16_t ahead;

	if (vq->broken)
		return -EPROTO;
	if (!vq->running)
		return 0;
	/* Pairs with the driver's release of avail.idx after the entry. */
	ahead = (uint16_t)(shared_load_acquire(&vq->avail->idx) -
			   vq->last_avail);
	if (!ahead)
		return 0;
	if (ahead > vq->size) {
		why = "available index too far ahead";
		goto broken;
	}
	c.head = shared_load(&vq->avail->ring[vq->last_avail & (vq->size - 1)]);
	if (c.head >= vq->size) {
		why = "head outside the table";
		goto broken;
	}
	if (busy_test(vq, c.head)) {
		why = "chain made available twice";
		goto broken;
	}
	why = chain_walk(vq, &c, max_iov, &overflow);
	if (why)
		goto broken;

	busy_set(vq, c.head);
	vq->last_avail++;
	if (overflow) {
		c.nr_out = 0;
		c.nr_in = 0;
	}
	*chain = c;
	return overflow ? -ENOBUFS : 1;

broken:
	virtq_break(vq, why);
	return -EPROTO;
}

int virtq_refetch(struct virtq *vq, uint16_t head, struct virtq_chain *chain,
		  struct iovec *iov, unsigned int max_iov)
{
	struct virtq_chain c = { .iov = iov, .head = head };
	bool overflow = false;
	const char *why;

	if (vq->broken || !vq->running)
		return -EPROTO;
	assert(head < vq->size && busy_test(vq, head));
	why = chain_walk(vq, &c, max_iov, &overflow);
	if (why) {
		virtq_break(vq, why);
		return -EPROTO;
	}
	if (overflow)
		return -ENOBUFS;
	*chain = c;
	return 1;
}

void virtq_unpop(struct virtq *vq, const uint16_t *heads, unsigned int n)
{
	if (vq->broken || !vq->running)
		return;
	for (unsigned int i = 0; i < n; i++)
		busy_clear(vq, heads[i]);
	vq->last_avail = (uint16_t)(vq->last_avail - n);
}

void virtq_fill(struct virtq *vq, uint16_t head, uint32_t len, uint16_t n)
{
	struct vring_used_elem *e;

	if (vq->broken || !vq->running)
		return;
	busy_clear(vq, head);
	e = &vq->used->ring[(uint16_t)(vq->used_idx + n) & (vq->size - 1)];
	shared_store(&e->id, head);
	shared_store(&e->len, len);
}

void virtq_flush(struct virtq *vq, uint16_t n)
{
	if (vq->broken || !vq->running || !n)
		return;
	vq->used_idx = (uint16_t)(vq->used_idx + n);
	/* Pairs with the driver's acquire of used.idx: entries come first. */
	shared_store_release(&vq->used->idx, vq->used_idx);
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t len)
{
	virtq_fill(vq, head, len, 0);
	virtq_flush(vq, 1);
}

/* Whether the driver wants to hear of used entries (signalled, used_idx]. */
static bool interrupt_wanted(struct virtq *vq)
{
	uint16_t old = vq->signalled;

	if (vq->used_idx == old)
		return false;
	/*
	 * Our store of used.idx before the load of what the driver wants;
	 * pairs with its store of used_event or flags before its last look
	 * at used.idx.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	vq->signalled = vq->used_idx;
	if (!vq->event_idx)
		return !(shared_load(&vq->avail->flags) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(used_event(vq), vq->used_idx, old);
}

bool virtq_signal(struct virtq *vq)
{
	if (vq->broken || !vq->running || !interrupt_wanted(vq))
		return false;
	if (vq->page)
		regpage_raise(vq->page, VIRTIO_MMIO_INT_VRING);
	if (vq->call_fd >= 0)
		fd_event_signal(vq->call_fd);
	return true;
}

void virtq_requeue_kick(struct virtq *vq)
{
	(void)virtq_signal(vq);
	fd_event_signal(vq->kick_fd);
}

bool virtq_has_work(const struct virtq *vq)
{
	return !vq->broken && vq->running &&
	       shared_load_acquire(&vq->avail->idx) != vq->last_avail;
}

bool virtq_enable_kick(struct virtq *vq)
{
	if (vq->broken || !vq->running)
		return false;
	if (vq->event_idx)
		shared_store(avail_event(vq), vq->last_avail);
	else
		shared_store(&vq->used->flags, 0);
	/*
	 * Our request for kicks before the last look at avail.idx; pairs with
	 * the driver's store of avail.idx before it looks whether to kick.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	return virtq_has_work(vq);
}

void virtq_disable_kick(struct virtq *vq)
{
	/* With the event index an old avail_event is all it takes. */
	if (vq->broken || !vq->running || vq->event_idx)
		return;
	shared_store(&vq->used->flags, VRING_USED_F_NO_NOTIFY);
}
