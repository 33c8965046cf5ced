/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 16550A UART with 16-byte FIFOs. Registers are used on vCPU threads, input
 * arrives on the main loop; one mutex.
 *
 * Output goes to out_fd by write(2) from the vCPU thread, which never waits for
 * a reader. Up to SERIAL_TX_SIZE bytes that the reader does not take are kept,
 * and the main loop writes them when it does. What does not fit, or cannot be
 * written (a full disk, a closed pipe), is dropped, counted and logged. Both
 * fds are non-blocking, as char_fd_open() makes them, or regular files.
 *
 * Input is read only while the guest listens and has room, so what it does not
 * take stays in the host's fd. A guest that has once used the receive
 * interrupt listens while that is enabled: Linux disables it, and then clears
 * the FIFO, before it sleeps and when the line is closed. From a terminal,
 * which has an escape key to look for, a bounded backlog is read ahead.
 */
#ifndef TORPOR_DEVICES_SERIAL_H
#define TORPOR_DEVICES_SERIAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/log.h"
#include "vmm/base/loop.h"
#include "vmm/machine/bus.h"
#include "vmm/machine/irq_line.h"

#define SERIAL_FIFO_SIZE    16
#define SERIAL_BACKLOG_SIZE 256U
#define SERIAL_TX_SIZE	    (64U << 10)

struct serial {
	struct bus_dev bus; /* 8 ports */
	pthread_mutex_t lock;
	struct irq_line *irq; /* borrowed; edge: pulsed when IIR becomes set */
	struct loop *loop;
	struct loop_source in_src;
	/* vCPU to main loop: the receive FIFO has room, output waits. */
	struct loop_source attend_src;
	int attend_fd; /* eventfd */
	int in_fd;     /* borrowed; -1 = no input, also once it has ended */
	int out_fd;    /* borrowed; -1 = discard */

	/* Taken without or after @lock, never before it. */
	pthread_mutex_t tx_lock;
	struct loop_source out_src; /* main loop, while output waits */
	uint8_t *tx; /* SERIAL_TX_SIZE bytes while output waits, else NULL */
	size_t tx_head, tx_len;
	atomic_bool tx_waits; /* tx_len > 0; any thread */
	uint64_t tx_dropped;  /* bytes */
	bool tx_dropping;     /* said, and nothing was written since */
	struct log_limit tx_limit;

	/*
	 * Called on the main loop for each input byte before the guest gets
	 * it; true swallows the byte (the terminal's escape key). Optional.
	 */
	bool (*filter)(struct serial *serial, uint8_t byte);
	/*
	 * Called on the main loop when input is ready while @held: the byte
	 * stays in the fd. Return value ignored. Optional.
	 */
	void (*on_held_input)(struct serial *serial);
	uint8_t backlog[SERIAL_BACKLOG_SIZE]; /* read, not in the FIFO yet */
	unsigned int backlog_head, backlog_len;
	bool rdi_used; /* the guest has had the receive interrupt enabled */
	bool held;     /* asleep: do not read input, report it */
	bool no_wake;  /* asleep: not even that; set by the owner */
	bool paused;   /* input not watched: the receive FIFO is full */
	uint8_t rx[SERIAL_FIFO_SIZE];
	unsigned int rx_head, rx_len;
	uint8_t ier, iir, lcr, mcr, lsr, msr, scr, dll, dlm, fcr;
	bool thr_ipending;
};

/* Return: 0 or -errno. The caller adds serial->bus to the port bus. */
int serial_init(struct serial *serial, struct loop *loop, uint64_t base,
		struct irq_line *irq, int in_fd, int out_fd) must_check;
/*
 * Output that still waits is written first, as long as its reader goes on to
 * read, for a second at most. After the vCPUs have ended.
 */
void serial_finish(struct serial *serial);

/*
 * Guest asleep (@held): input is left in the fd. If the guest armed the port
 * (receive interrupt enabled) the fd is watched and on_held_input() called
 * once when a byte is there; else it is not even watched. Not held: normal
 * again, pending input is delivered. Main loop only.
 */
void serial_hold(struct serial *serial, bool held);
/* Receive interrupt enabled: the guest would notice a byte. Any thread. */
bool serial_wake_armed(struct serial *serial);

#endif
