/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzzers share. A fuzzer is a program of libFuzzer: one file that
 * defines the three functions below, linked with fuzz.c and the project's
 * libraries. An input is read as a script, from the front; past its end there
 * are only zeroes. One thread.
 *
 *	build/fuzz/bin/virtq FILE	runs one input
 *	build/fuzz/bin/virtq --seeds=DIR	writes the inputs to start from
 */
#ifndef TORPOR_TESTS_FUZZ_H
#define TORPOR_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/loop.h"

struct fuzz_in {
	const uint8_t *data;
	size_t len;
};

/* --- of each fuzzer --- */

/* Once, before the first input. */
void fuzz_setup(void);
/* One input. Closes every fd it has opened. */
void fuzz_one(struct fuzz_in *in);
/* Calls fuzz_seed() for each input to start from. */
void fuzz_seeds(void);

/* --- fuzz.c --- */

uint8_t fuzz_u8(struct fuzz_in *in);
uint16_t fuzz_u16(struct fuzz_in *in);
uint32_t fuzz_u32(struct fuzz_in *in);
uint64_t fuzz_u64(struct fuzz_in *in);
/* Copies up to @len bytes. Return: bytes copied. */
size_t fuzz_bytes(struct fuzz_in *in, void *buf, size_t len);

void fuzz_seed(const void *data, size_t len);

/* Turns the loop while something is ready, @turns times at most. */
void fuzz_turn(struct loop *loop, unsigned int turns);

/* What must hold whatever the input; failing is a finding. */
#define fuzz_check(cond)                                      \
	do {                                                  \
		if (!(cond))                                  \
			fuzz_fail(__FILE__, __LINE__, #cond); \
	} while (0)
void fuzz_fail(const char *file, int line, const char *cond)
	__attribute__((noreturn));

#endif
