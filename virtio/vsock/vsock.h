/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Socket device (virtio 1.x, 5.10): connections between programs of the guest
 * and UNIX sockets of the host. The inside, shared by its parts; one calls
 * those below it:
 *
 *	device.c	role, slots of the device, wake-up, what is polled
 *	host.c		what the host does with its sockets
 *	rx.c		packets to the guest
 *	tx.c		packets from the guest
 *	conn.c		a connection: its life, and the host's socket
 *	bytes.c		what waits for one side or the other
 *	dial.c		who connects to the host's sockets for us
 *
 * Loop thread only, but for dial.c.
 *
 *	host connects to PATH	guest connects to CID 2
 *	       |			  |
 *	     HELLO			DIALING
 *	       | "CONNECT port"		  |  socket of PATH_port
 *	    WAITING	<---- reset	  |
 *	       | rings run	  |	  |
 *	   REQUESTED -------------'	  |
 *	       | RESPONSE		  |
 *	       '---------> OPEN <---------'
 *		  host has   |	 guest has shut both ways, or reset,
 *		  closed     |	 and bytes for the host are left
 *		    .--------+----------.
 *		 CLOSING	      ORPHAN
 *	       RST or time  |		|  host has taken them
 *		    '-----> GONE <------'
 *
 * RESETTING, from anywhere: the guest is still to be sent a RST.
 *
 * Rings stop and start over a suspend; nothing of a connection but whether its
 * socket is polled depends on that. A device reset leaves HELLO, WAITING and
 * ORPHAN: a stock guest resets the device to sleep, and a connection that woke
 * it is delivered when its driver is back.
 *
 * Memory: VSOCK_MAX_CONNS connections, each with at most VSOCK_BUF_BYTES that
 * the host does not take (twice that for records, see bytes.c), since the
 * guest gets no more credit, and one record of VSOCK_RECORD_MAX for the guest.
 *
 * System calls beyond those of every device: accept4, shutdown.
 */
#ifndef TORPOR_VIRTIO_VSOCK_VSOCK_H
#define TORPOR_VIRTIO_VSOCK_VSOCK_H

#include <linux/virtio_vsock.h>

#include "virtio/device.h"
#include "virtio/vsock/dial.h"
#include "vmm/base/log.h"

#define VSOCK_HOST_CID 2ULL
/* Ports of the host's side, as Firecracker numbers them. */
#define VSOCK_FIRST_HOST_PORT (1U << 30)
#define VSOCK_MAX_CONNS	      128U /* fds are limited too, see sandbox/launch.c */
#define VSOCK_MAX_PENDING     64U /* of them not open yet, the host's */
#define VSOCK_BUF_BYTES	      (128U << 10) /* buf_alloc of each connection */
#define VSOCK_RECORD_MAX      VSOCK_BUF_BYTES
#define VSOCK_PACKET_BYTES    (64U << 10) /* payload of one to the guest */
#define VSOCK_MAX_RESETS      64U /* RST for no connection, not sent yet */
#define VSOCK_LINE_MAX	      32U /* "CONNECT 4294967295\n" and spaces */
#define VSOCK_HDR_BYTES	      ((uint32_t)sizeof(struct virtio_vsock_hdr))

/* Newer than the kernel headers we may be built with (virtio 1.2, 1.3). */
#define VSOCK_F_STREAM		  0
#define VSOCK_F_SEQPACKET	  1
#define VSOCK_F_NO_IMPLIED_STREAM 2

#define VSOCK_RX    0U
#define VSOCK_TX    1U
#define VSOCK_EVENT 2U

#define VSOCK_SHUT_RCV	VIRTIO_VSOCK_SHUTDOWN_RCV
#define VSOCK_SHUT_SEND VIRTIO_VSOCK_SHUTDOWN_SEND
#define VSOCK_SHUT_BOTH (VSOCK_SHUT_RCV | VSOCK_SHUT_SEND)

_Static_assert(sizeof(struct virtio_vsock_hdr) == 44, "wire format");

enum vsock_state {
	VSOCK_GONE, /* freed when the entry ends */
	VSOCK_HELLO,
	VSOCK_WAITING,
	VSOCK_REQUESTED,
	VSOCK_DIALING,
	VSOCK_OPEN,
	VSOCK_CLOSING,
	VSOCK_ORPHAN,
	VSOCK_RESETTING,
};

/* Control packets that the guest is owed. */
enum vsock_owe {
	VSOCK_OWE_REQUEST = 1 << 0,
	VSOCK_OWE_RESPONSE = 1 << 1,
	VSOCK_OWE_CREDIT = 1 << 2,     /* CREDIT_UPDATE */
	VSOCK_OWE_CREDIT_ASK = 1 << 3, /* CREDIT_REQUEST */
	VSOCK_OWE_SHUTDOWN = 1 << 4,
	VSOCK_OWE_RESET = 1 << 5,
};

/* Bytes in order, in memory only while there are some. */
struct vsock_bytes {
	uint8_t *p;
	uint32_t start, end, size;
};

struct virtio_vsock;

struct vsock_conn {
	struct virtio_vsock *vs;
	struct loop_source src;
	int fd; /* of the host, or -1 */
	enum vsock_state state;
	uint16_t index;	 /* in vs->conns */
	uint16_t type;	 /* VIRTIO_VSOCK_TYPE_* */
	uint8_t owe;	 /* enum vsock_owe */
	uint8_t ticks;	 /* of the close timer */
	bool dialled;	 /* DIALING: asked for */
	bool eof;	 /* nothing more comes from the host */
	bool hup;	 /* the host has closed */
	bool out_dead;	 /* the host takes nothing more */
	bool wr_closed;	 /* the host was told that nothing more comes */
	bool credit_ask; /* asked for, and no credit has come since */
	uint32_t guest_port, host_port;

	uint8_t guest_shut; /* VSOCK_SHUT_* the guest has sent */
	uint8_t host_shut;  /* those of the host */

	/* What the guest lets us send (5.10.6.3), free-running. */
	uint32_t peer_buf_alloc, peer_fwd_cnt, tx_cnt;
	/* What the guest has sent, the host has taken, the guest knows of. */
	uint32_t rx_cnt, fwd_cnt, told_fwd_cnt;

	struct vsock_bytes out;	 /* for the host; records with their length */
	struct vsock_bytes part; /* of a record that the guest has not ended */
	struct vsock_bytes rec; /* rest of the record on its way to the guest */
	char line[VSOCK_LINE_MAX]; /* HELLO */
	uint8_t line_len;
};

struct vsock_reset { /* a RST for a packet of no connection */
	uint32_t guest_port, host_port;
	uint16_t type;
};

struct vsock_listener {
	struct virtio_vsock *vs;
	struct loop_source src;
	int fd; /* owned; -1: none */
	uint16_t type;
};

struct virtio_vsock {
	struct virtio_dev dev;
	uint64_t cid;
	struct vsock_listener listeners[2]; /* stream, seqpacket */
	int dial_fd;			    /* owned; -1: none */
	struct loop_source dial_src;
	bool dial_busy;
	struct vsock_conn *dial_conn; /* whose answer is awaited, or NULL */

	struct vsock_conn *conns[VSOCK_MAX_CONNS];
	unsigned int nr_conns, nr_pending, nr_orphans, nr_closing;
	uint64_t owing[VSOCK_MAX_CONNS / 64];	/* have something to send */
	uint64_t touched[VSOCK_MAX_CONNS / 64]; /* polled again by settle() */
	unsigned int next_send;			/* fair: who is first */
	uint32_t next_host_port;

	struct vsock_reset resets[VSOCK_MAX_RESETS];
	unsigned int nr_resets;

	bool running[VSOCK_NR_QUEUES];
	bool rx_starved;    /* no receive buffer; a kick will tell */
	bool tx_blocked;    /* resets[] is full */
	bool seen_rings;    /* since the process began */
	bool event_owed;    /* TRANSPORT_RESET */
	bool accept_failed; /* no fd was left; until a connection ends */
	bool armed;	    /* shall wake the guest, once */
	uint8_t polled;	    /* in which state of things; see settle() */
	struct loop_timer close_timer;
	struct log_limit limit; /* what a guest does wrong */
	struct log_limit host_limit;
};

/* Rings run: packets go both ways. */
static inline bool vsock_live(const struct virtio_vsock *vs)
{
	return vs->running[VSOCK_RX] && vs->running[VSOCK_TX] &&
	       !vs->dev.queues[VSOCK_RX].broken &&
	       !vs->dev.queues[VSOCK_TX].broken;
}

/* --- conn.c --- */

/* NULL: too many. @fd is taken, if there is one. */
struct vsock_conn *vsock_conn_new(struct virtio_vsock *vs, uint16_t type,
				  enum vsock_state state, int fd);
/* Frees it now. NULL is fine. */
void vsock_conn_free(struct vsock_conn *conn);
struct vsock_conn *vsock_conn_find(const struct virtio_vsock *vs, uint16_t type,
				   uint32_t guest_port, uint32_t host_port);
/* What is polled of it has to be looked at again. */
void vsock_conn_touch(struct vsock_conn *conn);
void vsock_conn_set(struct vsock_conn *conn, enum vsock_state state);
/* @what: enum vsock_owe; 0: look whether there is something to send. */
void vsock_conn_owe(struct vsock_conn *conn, uint8_t what);
/* One of those has been sent. */
void vsock_conn_sent(struct vsock_conn *conn, uint8_t what);
/* The guest is told by a RST, the host by the end of its connection. */
void vsock_conn_reset(struct vsock_conn *conn);
/* The guest has no part in it any more; the host still gets its bytes. */
void vsock_conn_orphan(struct vsock_conn *conn);
/* A packet's worth of the guest's bytes; @nr entries from @iov. */
void vsock_conn_write(struct vsock_conn *conn, struct iovec *iov,
		      unsigned int nr, uint32_t len, uint32_t flags);
/* After a change of guest_shut. */
void vsock_conn_guest_shut(struct vsock_conn *conn);
/* RESPONSE has come: the host is told. */
void vsock_conn_opened(struct vsock_conn *conn);
/* Its question is answered: @fd is its socket, taken, or -1. */
void vsock_conn_dialled(struct vsock_conn *conn, int fd);
/* The host takes bytes again. */
void vsock_conn_drain(struct vsock_conn *conn);
/* The end of what the host sends has been read. */
void vsock_conn_ended(struct vsock_conn *conn);
/* The host has closed. */
void vsock_conn_hung_up(struct vsock_conn *conn);
/* recvmsg() of the host's socket, without waiting. Return: bytes or -errno. */
ssize_t vsock_host_recv(struct vsock_conn *conn, void *buf, size_t len,
			int flags) must_check;
/* After a device reset. */
void vsock_conn_forget(struct vsock_conn *conn);
/* What the guest lets us send. */
uint32_t vsock_credit(const struct vsock_conn *conn);
/* The type was negotiated. */
bool vsock_type_ok(const struct virtio_vsock *vs, uint16_t type);
/* Something has come that may wake the guest. */
void vsock_wake(struct virtio_vsock *vs);

/* --- bytes.c --- */

uint32_t vsock_bytes_len(const struct vsock_bytes *b);
/* Room for @n bytes behind the last. NULL: no memory. */
uint8_t *vsock_bytes_room(struct vsock_bytes *b, uint32_t n) must_check;
void vsock_bytes_free(struct vsock_bytes *b);
void vsock_bytes_skip(struct vsock_bytes *b, uint32_t n);
/* Adds @len bytes of @iov from byte @off on. Return: 0 or -ENOMEM. */
int vsock_bytes_add(struct vsock_bytes *b, const struct iovec *iov,
		    unsigned int nr, uint32_t off, uint32_t len) must_check;
/* Adds a record of @len > 0 bytes. Return: 0 or -ENOMEM. */
int vsock_record_add(struct vsock_bytes *b, const struct iovec *iov,
		     unsigned int nr, uint32_t len) must_check;
/* The first record. Return: its length; *ret_head: bytes before it. */
uint32_t vsock_record_front(const struct vsock_bytes *b, uint32_t *ret_head);

/* --- rx.c --- */

/* Sends what the guest is owed, while it has buffers. */
void vsock_rx_run(struct virtio_vsock *vs);
/*
 * Reads from the host into receive buffers, a few packets' worth.
 * Only if the connection is owed nothing else.
 */
void vsock_rx_read(struct vsock_conn *conn);
/* Looks at the event ring; says TRANSPORT_RESET if that is owed. */
void vsock_rx_event(struct virtio_vsock *vs);

/* --- tx.c --- */

void vsock_tx_run(struct virtio_vsock *vs);

/* --- host.c --- */

/* For one more connection of the host. */
bool vsock_has_room(const struct virtio_vsock *vs);
/* Takes connections while there is room. */
void vsock_accept(struct vsock_listener *l);
/* The events that its socket shall be polled for; -1: not even its end. */
int64_t vsock_host_wanted(const struct vsock_conn *conn);
/* They have come. */
void vsock_host_event(struct vsock_conn *conn, uint32_t events);
/* Whether there is something of it that should wake the guest. */
bool vsock_host_wakes(const struct vsock_conn *conn);

#endif
