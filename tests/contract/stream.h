/* SPDX-License-Identifier: BSD-3-Clause */
/* A stream of bytes of which each says where in the stream it is. */
#ifndef TORPOR_TESTS_CONTRACT_STREAM_H
#define TORPOR_TESTS_CONTRACT_STREAM_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stddef.h>
#include <stdint.h>

static inline uint8_t stream_byte(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8));
}

/* The next @n bytes from *@at on, which moves. */
static inline void stream_fill(uint8_t *p, size_t n, uint64_t *at)
{
	for (size_t i = 0; i < n; i++)
		p[i] = stream_byte((*at)++);
}

/* The same of what has come: no byte is lost, wrong or not sent yet. */
static inline void stream_check(const uint8_t *p, size_t n, uint64_t *at,
				uint64_t sent, const char *what)
{
	for (size_t i = 0; i < n; i++)
		cr_assert(eq(u8, p[i], stream_byte((*at)++)), "%s", what);
	cr_assert(sent >= *at, "%s", what);
}

#endif
