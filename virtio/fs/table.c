/* SPDX-License-Identifier: BSD-3-Clause */
/* Entries that the guest names by an id, see fs.h. Loop thread only. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/fs/fs.h"

#define CHUNK 256U

struct fs_entry *fs_entry_at(const struct fs_table *t, uint32_t slot)
{
	uint8_t *chunk = t->chunks[slot / CHUNK];

	return (void *)(chunk + slot % CHUNK * t->entry_bytes);
}

void fs_table_init(struct fs_table *t, size_t entry_bytes)
{
	*t = (struct fs_table){ .entry_bytes = entry_bytes, .nr = 1 };
}

void fs_table_finish(struct fs_table *t)
{
	assert(!t->used);
	for (uint32_t i = 0; t->chunks && i <= (t->nr - 1) / CHUNK; i++)
		free(t->chunks[i]);
	free(t->chunks);
	fs_table_init(t, t->entry_bytes);
}

/* Room for slot t->nr. */
static int table_grow(struct fs_table *t)
{
	uint32_t chunk = t->nr / CHUNK;
	void **chunks;

	if (t->nr > FS_SLOT_MASK)
		return -ENFILE;
	if (t->nr > 1 && t->nr % CHUNK)
		return 0;
	chunks = reallocarray(t->chunks, chunk + 1, sizeof(*chunks));
	if (!chunks)
		return -ENOMEM;
	t->chunks = chunks;
	chunks[chunk] = calloc(CHUNK, t->entry_bytes);
	return chunks[chunk] ? 0 : -ENOMEM;
}

struct fs_entry *fs_table_add(struct fs_table *t, int *ret_error)
{
	uint32_t slot = t->first_free;
	struct fs_entry *e;

	if (slot) {
		e = fs_entry_at(t, slot);
		t->first_free = e->next_free;
	} else {
		*ret_error = table_grow(t);
		if (*ret_error < 0)
			return NULL;
		slot = t->nr++;
		e = fs_entry_at(t, slot);
	}
	memset(e, 0, t->entry_bytes);
	e->id = t->serial++ << FS_SLOT_BITS | slot;
	t->used++;
	return e;
}

struct fs_entry *fs_table_find(const struct fs_table *t, uint64_t id)
{
	uint32_t slot = (uint32_t)id & FS_SLOT_MASK;
	struct fs_entry *e;

	if (!slot || slot >= t->nr)
		return NULL;
	e = fs_entry_at(t, slot);
	return e->id == id ? e : NULL;
}

void fs_table_remove(struct fs_table *t, struct fs_entry *e)
{
	uint32_t slot = (uint32_t)e->id & FS_SLOT_MASK;

	e->id = 0;
	e->next_free = t->first_free;
	t->first_free = slot;
	t->used--;
}
