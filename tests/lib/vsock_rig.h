/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the socket device share: the device with its back end, a
 * driver's side of it, and programs of the host, all in this process (but for
 * who connects to the host's sockets). One thread; failures end the test.
 */
#ifndef TORPOR_TESTS_LIB_VSOCK_RIG_H
#define TORPOR_TESTS_LIB_VSOCK_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "tests/lib/guest_ring.h"
#include "virtio/vsock/vsock.h"

#define CID	   5U
#define STREAM	   VIRTIO_VSOCK_TYPE_STREAM
#define SEQPACKET  VIRTIO_VSOCK_TYPE_SEQPACKET
#define PEER_ALLOC (256U << 10) /* the guest's buf_alloc */
#define RX_BYTES   4096U
#define NR_RX	   64U
#define ALL                                                       \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT(VSOCK_F_STREAM) | BIT(VSOCK_F_SEQPACKET) |           \
	 BIT(VSOCK_F_NO_IMPLIED_STREAM))

struct vsock_rig {
	struct front f;
	struct virtio_dev *dev;
	struct virtio_vsock *vs;
	char dir[32], path[64];
	uint64_t tx_buf, rx_buf; /* gpa; rx: NR_RX of RX_BYTES */
	uint64_t rx_gpa[VSOCK_QUEUE_SIZE];
	uint8_t big[1 << 20]; /* see fill_big() */
};

extern struct vsock_rig vsock;

struct packet { /* as the guest got it */
	struct virtio_vsock_hdr h;
	uint8_t data[RX_BYTES];
};

void vsock_test_setup(void);
void add_rx(uint64_t gpa);
void fill_rx(unsigned int nr);
void start_rings(void);
void vsock_test_setup_started(void);
void vsock_test_teardown(void);

/* ---------------------------------------------------------- the guest's part
 */

struct virtio_vsock_hdr hdr(uint16_t type, uint16_t op, uint32_t gport,
			    uint32_t hport);
/* Sends it with the first @len bytes of @data, and h.len as it is. */
void tx(const struct virtio_vsock_hdr *h, const void *data, uint32_t len);
void tx_op(uint16_t type, uint16_t op, uint32_t gport, uint32_t hport);
void tx_data(uint16_t type, uint32_t gport, uint32_t hport, const void *data,
	     uint32_t len, uint32_t flags);
void tx_shutdown(uint16_t type, uint32_t gport, uint32_t hport, uint32_t flags);
/* The next packet for the guest, if there is one; its buffer is used again. */
bool rx_maybe(struct packet *p);
void rx_op(struct packet *p, uint16_t op);
void rx_nothing(void);

/* ----------------------------------------------------------- the host's part
 */

struct sockaddr_un address(const char *suffix);
int host_connect(uint16_t type);
int host_listen(uint16_t type, uint32_t port);
void host_send(int fd, const void *data, size_t len);
/* Return: bytes; 0 at the end; -EAGAIN. */
ssize_t host_recv(int fd, void *buf, size_t len);
void host_sees_end(int fd);
/* A host's connection to @port, up to OPEN. Return: fd; *ret_hport. */
int open_from_host(uint16_t type, uint32_t port, uint32_t *ret_hport);
/* The process that connects is another: until it has answered. */
void dialled(void);
/* A guest's connection to a listening socket. Return: fd. */
int open_from_guest(uint16_t type, uint32_t gport, uint32_t hport);
void assert_idle(void);
uint8_t pattern(size_t i);
void fill_big(void);
void check_at(const uint8_t *p, size_t len, size_t at);

#endif
