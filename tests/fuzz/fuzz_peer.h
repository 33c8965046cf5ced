/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device process of the fuzzers: reads what a front end sends and answers by
 * the protocol, or against it. One thread.
 */
#ifndef TORPOR_TESTS_FUZZ_PEER_H
#define TORPOR_TESTS_FUZZ_PEER_H

#include "tests/fuzz/fuzz.h"
#include "virtio/vhost_user/vhost_user.h"

#define FUZZ_PEER_FEATURES \
	(1ULL << 32 | 1ULL << 29 | 1ULL << 28 | 1ULL << 30 | 0xffULL)

struct fuzz_peer {
	int fd;		     /* owned; non-blocking */
	uint64_t protocol;   /* as negotiated */
	uint32_t asked[256]; /* requests not answered: type, ring and size */
	unsigned int nr;
	uint8_t buf[1 << 14];
	size_t len;
};

void fuzz_peer_init(struct fuzz_peer *p, int fd);
void fuzz_peer_finish(struct fuzz_peer *p);

/*
 * Reads all there is and answers the first @n requests. @in: may change the
 * answers, NULL for true ones.
 */
void fuzz_peer_answer(struct fuzz_peer *p, struct fuzz_in *in, uint32_t n);
/* Sends bytes of the input. */
void fuzz_peer_raw(struct fuzz_peer *p, struct fuzz_in *in);

#endif
