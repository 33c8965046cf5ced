/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 16550A UART. The transmitter is always empty: a byte is written out, kept or
 * dropped before the register write returns. Modem lines are fixed "connected"
 * and have no change bits. Registers run on vCPU threads, input on the main
 * loop.
 *
 * The interrupt is the rising edge of "IIR has something": drivers of an
 * edge-triggered line read IIR until it says nothing is pending, so a second
 * cause that arises while one is pending needs no edge of its own. A write to
 * IER makes an edge of whatever is pending.
 */
#define _GNU_SOURCE
#include "devices/serial.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define NR_PORTS	 8
#define REG_DATA	 0 /* RBR, THR; DLL with DLAB */
#define IER_MASK	 0x0fU
#define IIR_RX_TIMEOUT	 0x0cU
#define IIR_FIFO_ENABLED 0xc0U
#define MCR_MASK	 0x1fU
/* At the end: for a reader that reads on, and for one that does not. */
#define TX_END_NS     1000000000ULL
#define TX_IDLE_MS    300
#define MSR_CONNECTED (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

static unsigned int rx_capacity(const struct serial *s)
{
	return s->fcr & UART_FCR_ENABLE_FIFO ? SERIAL_FIFO_SIZE : 1;
}

static bool listening(const struct serial *s)
{
	return !s->rdi_used || (s->ier & UART_IER_RDI);
}

static unsigned int rx_room(const struct serial *s)
{
	unsigned int capacity = rx_capacity(s);

	if (!listening(s))
		return 0;
	return s->rx_len < capacity ? capacity - s->rx_len : 0;
}

static unsigned int rx_trigger(const struct serial *s)
{
	static const uint8_t levels[4] = { 1, 4, 8, 14 };

	return s->fcr & UART_FCR_ENABLE_FIFO ? levels[s->fcr >> 6] : 1;
}

/* The most urgent cause, as IIR gives it. */
static uint8_t iir_compute(const struct serial *s)
{
	if ((s->ier & UART_IER_RLSI) && (s->lsr & UART_LSR_BRK_ERROR_BITS))
		return UART_IIR_RLSI;
	if ((s->ier & UART_IER_RDI) && s->rx_len > 0) {
		/* The line has no speed: a byte's timeout is over at once. */
		return s->rx_len >= rx_trigger(s) ? UART_IIR_RDI
						  : IIR_RX_TIMEOUT;
	}
	if ((s->ier & UART_IER_THRI) && s->thr_ipending)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

/* Called with the lock held after any change of state. */
static void iir_update(struct serial *s)
{
	bool was_pending = !(s->iir & UART_IIR_NO_INT);

	s->iir = iir_compute(s);
	if (!was_pending && !(s->iir & UART_IIR_NO_INT))
		irq_line_pulse(s->irq);
}

/* Called with the lock held. */
static void rx_push(struct serial *s, uint8_t byte)
{
	if (s->rx_len >= rx_capacity(s)) {
		s->lsr |= UART_LSR_OE;
		return;
	}
	s->rx[(s->rx_head + s->rx_len) % SERIAL_FIFO_SIZE] = byte;
	s->rx_len++;
	s->lsr |= UART_LSR_DR;
}

static void backlog_push(struct serial *s, uint8_t byte)
{
	unsigned int at = s->backlog_head + s->backlog_len;

	if (s->backlog_len == SERIAL_BACKLOG_SIZE)
		return;
	s->backlog[at % SERIAL_BACKLOG_SIZE] = byte;
	s->backlog_len++;
}

/* The FIFO's bytes back to the front. Called with the lock held. */
static void backlog_unfeed(struct serial *s)
{
	while (s->rx_len > 0 && s->backlog_len < SERIAL_BACKLOG_SIZE) {
		unsigned int last = s->rx_head + --s->rx_len;

		s->backlog_head = (s->backlog_head + SERIAL_BACKLOG_SIZE - 1) %
				  SERIAL_BACKLOG_SIZE;
		s->backlog[s->backlog_head] = s->rx[last % SERIAL_FIFO_SIZE];
		s->backlog_len++;
	}
}

/* Called with the lock held. */
static void backlog_feed(struct serial *s)
{
	while (s->backlog_len > 0 && rx_room(s) > 0) {
		rx_push(s, s->backlog[s->backlog_head]);
		s->backlog_head = (s->backlog_head + 1) % SERIAL_BACKLOG_SIZE;
		s->backlog_len--;
	}
}

/* Called with the lock held, when there may be room again. */
static void rx_resume(struct serial *s)
{
	backlog_feed(s);
	if (s->paused && rx_room(s) > 0) {
		s->paused = false;
		fd_event_signal(s->attend_fd);
	}
}

/* Called with the lock held. */
static void rx_clear(struct serial *s)
{
	s->rx_len = 0;
	s->lsr &= (uint8_t)~UART_LSR_DR;
	rx_resume(s);
}

static uint8_t rx_pop(struct serial *s)
{
	uint8_t byte;

	if (s->rx_len == 0)
		return 0;
	byte = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % SERIAL_FIFO_SIZE;
	s->rx_len--;
	if (s->rx_len == 0)
		s->lsr &= (uint8_t)~UART_LSR_DR;
	rx_resume(s);
	return byte;
}

static uint8_t msr_read(const struct serial *s)
{
	uint8_t msr = 0;

	if (!(s->mcr & UART_MCR_LOOP))
		return s->msr;
	if (s->mcr & UART_MCR_RTS)
		msr |= UART_MSR_CTS;
	if (s->mcr & UART_MCR_DTR)
		msr |= UART_MSR_DSR;
	if (s->mcr & UART_MCR_OUT1)
		msr |= UART_MSR_RI;
	if (s->mcr & UART_MCR_OUT2)
		msr |= UART_MSR_DCD;
	return msr;
}

static uint8_t iir_read(struct serial *s)
{
	uint8_t iir = s->iir;

	if (s->fcr & UART_FCR_ENABLE_FIFO)
		iir |= IIR_FIFO_ENABLED;
	if ((iir & UART_IIR_ID) == UART_IIR_THRI)
		s->thr_ipending = false;
	return iir;
}

/* Called with the lock held. */
static uint8_t reg_read(struct serial *s, unsigned int reg)
{
	bool dlab = s->lcr & UART_LCR_DLAB;
	uint8_t value;

	switch (reg) {
	case REG_DATA:
		return dlab ? s->dll : rx_pop(s);
	case UART_IER:
		return dlab ? s->dlm : s->ier;
	case UART_IIR:
		return iir_read(s);
	case UART_LCR:
		return s->lcr;
	case UART_MCR:
		return s->mcr;
	case UART_LSR:
		value = s->lsr;
		s->lsr &= (uint8_t)~UART_LSR_BRK_ERROR_BITS;
		return value;
	case UART_MSR:
		return msr_read(s);
	default:
		return s->scr;
	}
}

/* --- output; called with tx_lock held --- */

static void tx_drop(struct serial *s, size_t n, const char *why)
{
	if (!s->tx_dropping)
		log_limited(&s->tx_limit, "serial output is dropped: %s", why);
	s->tx_dropping = true;
	s->tx_dropped += n;
}

/* Its reader is late. */
static void tx_keep(struct serial *s, uint8_t byte)
{
	if (!s->tx)
		s->tx = malloc(SERIAL_TX_SIZE);
	if (!s->tx || s->tx_len == SERIAL_TX_SIZE) {
		tx_drop(s, 1, "its reader is too slow");
		return;
	}
	s->tx[(s->tx_head + s->tx_len) % SERIAL_TX_SIZE] = byte;
	/* The main loop waits until there is room again. */
	if (s->tx_len++ == 0) {
		atomic_store(&s->tx_waits, true);
		fd_event_signal(s->attend_fd);
	}
}

static void tx_forget(struct serial *s)
{
	free(s->tx);
	s->tx = NULL;
	s->tx_head = s->tx_len = 0;
	atomic_store(&s->tx_waits, false);
}

static bool later(int code)
{
	return code == EAGAIN || code == EINTR;
}

static void tx_byte(struct serial *s, uint8_t byte)
{
	/* Order: nothing overtakes what is kept. */
	if (s->tx_len == 0 && write(s->out_fd, &byte, 1) == 1)
		s->tx_dropping = false;
	else if (s->tx_len > 0 || later(errno))
		tx_keep(s, byte);
	else
		tx_drop(s, 1, strerror(errno));
}

/* Writes once of what is kept. */
static void tx_flush(struct serial *s)
{
	size_t n = MIN(s->tx_len, SERIAL_TX_SIZE - s->tx_head);
	ssize_t done = write(s->out_fd, s->tx + s->tx_head, n);

	if (done < 0 && later(errno))
		return;
	if (done < 0) {
		tx_drop(s, s->tx_len, strerror(errno));
		tx_forget(s);
		return;
	}
	s->tx_head = (s->tx_head + (size_t)done) % SERIAL_TX_SIZE;
	s->tx_len -= (size_t)done;
	if (s->tx_len == 0) {
		s->tx_dropping = false;
		tx_forget(s);
	}
}

/* Unlocked: a file may wait for its disk, and input must not. */
static void tx_write(struct serial *s, uint8_t byte)
{
	pthread_mutex_lock(&s->tx_lock);
	tx_byte(s, byte);
	pthread_mutex_unlock(&s->tx_lock);
}

static void thr_write(struct serial *s, uint8_t byte)
{
	if (s->mcr & UART_MCR_LOOP) {
		rx_push(s, byte);
	} else if (s->out_fd >= 0) {
		pthread_mutex_unlock(&s->lock);
		tx_write(s, byte);
		pthread_mutex_lock(&s->lock);
	}
	/* Full and empty again: the line drops in between. */
	s->thr_ipending = false;
	iir_update(s);
	s->thr_ipending = true;
}

static void ier_write(struct serial *s, uint8_t value)
{
	uint8_t ier = value & IER_MASK;

	/* Enabling while the transmitter is empty is a cause by itself. */
	if ((ier & UART_IER_THRI) && !(s->ier & UART_IER_THRI))
		s->thr_ipending = true;
	s->ier = ier;
	if (ier & UART_IER_RDI) {
		s->rdi_used = true;
		rx_resume(s);
	}
}

static void fcr_write(struct serial *s, uint8_t value)
{
	bool toggled = (s->fcr ^ value) & UART_FCR_ENABLE_FIFO;

	/*
	 * Turning the FIFO on or off empties it. Linux does so after it began
	 * to listen, when it comes back from S1: what it has not seen yet is
	 * received again, and only an explicit clear drops it.
	 */
	if (toggled && !(value & UART_FCR_CLEAR_RCVR))
		backlog_unfeed(s);
	s->fcr = value & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK);
	if (toggled || (value & UART_FCR_CLEAR_RCVR))
		rx_clear(s);
}

/* Called with the lock held. */
static void reg_write(struct serial *s, unsigned int reg, uint8_t value)
{
	bool dlab = s->lcr & UART_LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			s->dll = value;
		else
			thr_write(s, value);
		break;
	case UART_IER:
		if (dlab)
			s->dlm = value;
		else
			ier_write(s, value);
		/*
		 * The edge is made again. One that came in S1 found the local
		 * APIC off and is lost, and Linux waits for an interrupt to do
		 * anything but start to send, which is this write.
		 */
		s->iir = UART_IIR_NO_INT;
		break;
	case UART_FCR:
		fcr_write(s, value);
		break;
	case UART_LCR:
		s->lcr = value;
		break;
	case UART_MCR:
		s->mcr = value & MCR_MASK;
		break;
	case UART_SCR:
		s->scr = value;
		break;
	default:
		break; /* LSR and MSR are read-only */
	}
}

static void port_read(struct bus_dev *dev, uint64_t offset, void *data,
		      uint32_t len)
{
	struct serial *s = container_of(dev, struct serial, bus);
	uint8_t *bytes = data;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = reg_read(s, (unsigned int)offset + i);
	iir_update(s);
	pthread_mutex_unlock(&s->lock);
}

static void port_write(struct bus_dev *dev, uint64_t offset, const void *data,
		       uint32_t len)
{
	struct serial *s = container_of(dev, struct serial, bus);
	const uint8_t *bytes = data;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < len; i++)
		reg_write(s, (unsigned int)offset + i, bytes[i]);
	iir_update(s);
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops serial_ops = {
	.name = "serial",
	.read = port_read,
	.write = port_write,
};

/* --- input, main loop --- */

static void on_input(struct loop_source *src, uint32_t events);

/* The other side has gone: there will be no input any more. */
static void input_end(struct serial *s)
{
	loop_remove(s->loop, &s->in_src);
	s->in_fd = -1;
}

static void input_watch(struct serial *s)
{
	if (s->in_fd < 0 || s->in_src.fd >= 0)
		return;
	if (loop_add(s->loop, &s->in_src, s->in_fd, EPOLLIN, on_input) < 0)
		s->in_fd = -1;
}

static void input_report(struct serial *s)
{
	int n = 0;

	loop_remove(s->loop, &s->in_src);
	/* Readable with nothing to read is the end of file, not a byte. */
	if (ioctl(s->in_fd, FIONREAD, &n) == 0 && n == 0) {
		input_end(s);
		return;
	}
	if (s->on_held_input)
		s->on_held_input(s);
}

/* How much to read now. What is not for reading ahead stays in the fd. */
static unsigned int input_room(struct serial *s)
{
	unsigned int room;

	pthread_mutex_lock(&s->lock);
	room = s->filter ? SERIAL_BACKLOG_SIZE - s->backlog_len : rx_room(s);
	s->paused = room == 0;
	pthread_mutex_unlock(&s->lock);
	return room;
}

/* Return: true if a byte for the guest is among them. */
static bool input_take(struct serial *s, const uint8_t *buf, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (s->filter && s->filter(s, buf[i]))
			continue;
		any = true;
		pthread_mutex_lock(&s->lock);
		backlog_push(s, buf[i]);
		if (!s->held)
			backlog_feed(s);
		iir_update(s);
		pthread_mutex_unlock(&s->lock);
	}
	return any;
}

static void on_input(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, in_src);
	uint8_t buf[SERIAL_FIFO_SIZE];
	unsigned int room;
	ssize_t n;

	if (s->held && !s->filter) {
		input_report(s);
		return;
	}
	room = input_room(s);
	if (room == 0) {
		loop_remove(s->loop, &s->in_src);
		return;
	}
	n = read(s->in_fd, buf, MIN(room, sizeof(buf)));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		input_end(s);
		return;
	}
	if (input_take(s, buf, (size_t)n) && s->held && !s->no_wake &&
	    serial_wake_armed(s) && s->on_held_input)
		s->on_held_input(s);
}

/* --- output that waits, main loop --- */

static void on_output(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, out_src);
	bool more;

	pthread_mutex_lock(&s->tx_lock);
	if (s->tx_len > 0)
		tx_flush(s);
	more = s->tx_len > 0;
	pthread_mutex_unlock(&s->tx_lock);
	if (!more)
		loop_remove(s->loop, src);
}

static void output_watch(struct serial *s)
{
	/* Without the lock, which is held over a write to a slow disk. */
	if (atomic_load(&s->tx_waits) && s->out_src.fd < 0 &&
	    loop_add(s->loop, &s->out_src, s->out_fd, EPOLLOUT, on_output) < 0)
		log_limited(&s->tx_limit,
			    "cannot wait for the reader of serial output");
}

/* Bounded, because the end of the VM waits for it. The vCPUs are gone. */
static void output_end(struct serial *s)
{
	uint64_t end_ns = time_boot_ns() + TX_END_NS;
	struct pollfd pfd = { .fd = s->out_fd, .events = POLLOUT };

	while (s->tx_len > 0 && time_boot_ns() < end_ns &&
	       poll(&pfd, 1, TX_IDLE_MS) > 0)
		tx_flush(s);
	s->tx_dropped += s->tx_len;
	tx_forget(s);
	if (s->tx_dropped)
		log_warn("bytes of serial output dropped in all: %llu",
			 (unsigned long long)s->tx_dropped);
}

static void on_attend(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, attend_src);

	(void)fd_event_drain(s->attend_fd);
	output_watch(s);
	if (!s->held)
		input_watch(s);
}

void serial_hold(struct serial *serial, bool held)
{
	serial->held = held;
	if (held && !serial->filter &&
	    (serial->no_wake || !serial_wake_armed(serial))) {
		loop_remove(serial->loop, &serial->in_src);
		return;
	}
	if (!held) {
		pthread_mutex_lock(&serial->lock);
		backlog_feed(serial);
		iir_update(serial);
		pthread_mutex_unlock(&serial->lock);
	}
	input_watch(serial);
}

bool serial_wake_armed(struct serial *serial)
{
	bool armed;

	pthread_mutex_lock(&serial->lock);
	armed = serial->ier & UART_IER_RDI;
	pthread_mutex_unlock(&serial->lock);
	return armed;
}

int serial_init(struct serial *serial, struct loop *loop, uint64_t base,
		struct irq_line *irq, int in_fd, int out_fd)
{
	int r;

	*serial = (struct serial){
		.bus = { .ops = &serial_ops, .base = base, .size = NR_PORTS },
		.irq = irq,
		.loop = loop,
		.in_src.fd = -1,
		.attend_src.fd = -1,
		.attend_fd = -1,
		.out_src.fd = -1,
		.in_fd = in_fd,
		.out_fd = out_fd,
		.iir = UART_IIR_NO_INT,
		.lsr = UART_LSR_THRE | UART_LSR_TEMT,
		.msr = MSR_CONNECTED,
		.dll = 1, /* 115200 */
	};
	pthread_mutex_init(&serial->lock, NULL);
	pthread_mutex_init(&serial->tx_lock, NULL);
	serial->attend_fd = r = fd_event_create();
	if (r < 0)
		goto fail;
	r = loop_add(loop, &serial->attend_src, serial->attend_fd, EPOLLIN,
		     on_attend);
	if (r < 0)
		goto fail;
	if (in_fd < 0)
		return 0;
	r = loop_add(loop, &serial->in_src, in_fd, EPOLLIN, on_input);
	/* What cannot be waited for (/dev/null, a file) is not a terminal. */
	if (r == -EPERM) {
		serial->in_fd = -1;
		r = 0;
	}
	if (r < 0)
		goto fail;
	return 0;

fail:
	serial_finish(serial);
	return r;
}

void serial_finish(struct serial *serial)
{
	if (!serial || !serial->loop)
		return;
	loop_remove(serial->loop, &serial->in_src);
	loop_remove(serial->loop, &serial->out_src);
	loop_remove(serial->loop, &serial->attend_src);
	output_end(serial);
	fd_close(&serial->attend_fd);
	pthread_mutex_destroy(&serial->tx_lock);
	pthread_mutex_destroy(&serial->lock);
	serial->loop = NULL;
}
