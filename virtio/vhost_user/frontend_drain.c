/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A back end of ours drains and then says where to go on. Of a foreign one that
 * cannot be taken for granted, and the text of vhost-user asks less of it:
 *
 *  - libvhost-user reads the index it returns before it stops the ring's
 *    thread, so that the used index may be ahead of it;
 *  - back ends in Rust before vhost-user-backend 0.10 forget the ring first and
 *    return 0;
 *  - one that does not drain returns an index ahead of the used one, by as many
 *    requests as it still works on.
 *
 * So the used index, which is in the guest's memory, is where to go on, and the
 * difference to what it returned is what it still holds. Requests (of a disk)
 * must all be used, or they would be executed again behind the guest's back:
 * that is waited for. Buffers that wait for input (of a card's receive ring)
 * are simply offered again. Split rings only; packed ones are not offered.
 */
#include "virtio/vhost_user/frontend_drain.h"

#include "vmm/base/util.h"

/* used.idx; written by the back end, or by a guest that cheats itself. */
static bool used_index(const struct frontend *fe,
		       const struct frontend_ring *ring, uint16_t *ret)
{
	void *idx;

	if (gmem_span(fe->gm, ring->used_gpa + 2, sizeof(*ret), &idx) < 0)
		return false;
	/* Pairs with the back end's store of it, after the elements. */
	*ret = __atomic_load_n((uint16_t *)idx, __ATOMIC_ACQUIRE);
	return true;
}

/* Return: whether the ring has stopped for good; then its base is set. */
static bool ring_drained(struct frontend *fe, uint32_t i)
{
	struct frontend_ring *ring = &fe->rings[i];
	bool input = fe->foreign->input_rings >> i & 1;
	uint16_t used, held;

	if (!used_index(fe, ring, &used))
		return true; /* it could not be started either */
	held = (uint16_t)(ring->base - used);
	/* More than there are: the index is behind, or was forgotten. */
	if (held > 0 && held <= ring->size && !input)
		return false;
	ring->base = used;
	return true;
}

bool frontend_drained(struct frontend *fe)
{
	for (uint32_t i = 0; i < FRONTEND_MAX_RINGS; i++) {
		if (fe->stopping >> i & 1 && ring_drained(fe, i))
			fe->stopping &= ~(1U << i);
	}
	return !fe->stopping;
}
