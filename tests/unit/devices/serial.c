/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devices/serial.h: what Linux's 8250 driver probes for, interrupts as edges,
 * input with and without room, holding input while the guest sleeps.
 */
#define _GNU_SOURCE
#include "devices/serial.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86_64/layout.h"
#include "vmm/base/fd.h"

struct machine {
	struct bus bus;
	struct loop loop;
	struct irq_line irq;
	struct serial serial;
	unsigned int edges;
	int in[2], out[2]; /* pipes, [0] is read */
	unsigned int held_calls;
};

static struct machine m;

static void irq_set(struct irq_line *line, bool level)
{
	if (level)
		m.edges++;
}

static void on_held_input(struct serial *serial)
{
	m.held_calls++;
}

static bool swallow_ctrl_a(struct serial *serial, uint8_t byte)
{
	return byte == 1;
}

static void setup(void)
{
	m.irq.set = irq_set;
	cr_assert(eq(int, pipe2(m.in, O_CLOEXEC), 0));
	cr_assert(eq(int, pipe2(m.out, O_CLOEXEC), 0));
	cr_assert(eq(int, loop_init(&m.loop), 0));
	cr_assert(eq(int,
		     serial_init(&m.serial, &m.loop, LAYOUT_PORT_SERIAL, &m.irq,
				 m.in[0], m.out[1]),
		     0));
	cr_assert(eq(int, bus_add(&m.bus, &m.serial.bus), 0));
}

static void teardown(void)
{
	serial_finish(&m.serial);
	serial_finish(&m.serial);
	loop_finish(&m.loop);
}

static void out(unsigned int reg, uint8_t value)
{
	bus_write(&m.bus, LAYOUT_PORT_SERIAL + reg, &value, 1);
}

static uint8_t in(unsigned int reg)
{
	uint8_t value = 0;

	bus_read(&m.bus, LAYOUT_PORT_SERIAL + reg, &value, 1);
	return value;
}

static void type(const char *text)
{
	cr_assert(eq(int, fd_write_all(m.in[1], text, strlen(text)), 0));
}

/* Turns the loop until nothing is ready. */
static void settle(void)
{
	for (int i = 0; i < 64; i++)
		cr_assert(eq(int, loop_turn(&m.loop, 0), 0));
}

TestSuite(serial, .init = setup, .fini = teardown, .timeout = 120);

Test(serial, autoconfig_finds_a_16550a)
{
	/* The order of Linux's 8250_port.c:autoconfig(). */
	out(UART_IER, 0);
	cr_assert(eq(u8, in(UART_IER)&0x0f, 0));
	out(UART_IER, 0xff);
	cr_assert(eq(u8, in(UART_IER), 0x0f), "no bits above 3");
	out(UART_IER, 0);
	out(UART_MCR, UART_MCR_LOOP | 0x0a);
	cr_assert(eq(u8, in(UART_MSR)&0xf0, 0x90));
	out(UART_MCR, 0);
	out(UART_LCR, 0xbf);
	out(UART_FCR, 0);
	out(UART_LCR, 0);
	cr_assert(eq(u8, in(UART_IIR) >> 6, 0), "FIFOs off");
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	cr_assert(eq(u8, in(UART_IIR) >> 6, 3));
	/* Not a 16650 (EFR), not a 16750 (64 bytes), not an NS chip. */
	out(UART_LCR, UART_LCR_DLAB);
	cr_assert(ne(u8, in(UART_IIR), 0));
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	cr_assert(eq(u8, in(UART_IIR) >> 5, 6));
	out(UART_LCR, 0);
	out(UART_SCR, 0xa5);
	cr_assert(eq(u8, in(UART_SCR), 0xa5));
}

Test(serial, modem_lines_follow_the_control_lines_in_loopback)
{
	static const uint8_t lines[4][2] = {
		{ UART_MCR_DTR, UART_MSR_DSR },
		{ UART_MCR_RTS, UART_MSR_CTS },
		{ UART_MCR_OUT1, UART_MSR_RI },
		{ UART_MCR_OUT2, UART_MSR_DCD },
	};

	cr_assert(eq(u8, in(UART_MSR),
		     UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS));
	for (int i = 0; i < 4; i++) {
		out(UART_MCR, UART_MCR_LOOP | lines[i][0]);
		cr_assert(eq(u8, in(UART_MSR), lines[i][1]));
	}
}

Test(serial, divisor_latch_hides_data_and_enable)
{
	cr_assert(eq(u8, in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT));
	out(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	out(UART_DLL, 12);
	out(UART_DLM, 34);
	cr_assert(eq(u8, in(UART_DLL), 12));
	cr_assert(eq(u8, in(UART_DLM), 34));
	out(UART_LCR, UART_LCR_WLEN8);
	cr_assert(eq(u8, in(UART_LCR), UART_LCR_WLEN8));
	cr_assert(eq(u8, in(UART_IER), 0));
	cr_assert(eq(u8, in(UART_RX), 0));
}

Test(serial, output_goes_to_the_fd)
{
	char buf[4] = "";

	out(UART_TX, 'h');
	out(UART_TX, 'i');
	cr_assert(eq(int, (int)read(m.out[0], buf, 3), 2));
	cr_assert(eq(int, memcmp(buf, "hi", 3), 0));
	m.serial.out_fd = -1;
	out(UART_TX, 'x'); /* discarded */
}

/* All that is in the pipe, in its order; the last byte. */
static char drain_pipe(size_t *ret_bytes)
{
	static char page[4096];
	char last = 0;
	ssize_t n;

	cr_assert(eq(int, fd_set_nonblock(m.out[0], 1), 0));
	while ((n = read(m.out[0], page, sizeof(page))) > 0) {
		last = page[n - 1];
		*ret_bytes += (size_t)n;
	}
	return last;
}

static size_t fill_pipe(void)
{
	static char page[4096];
	size_t bytes = 0;
	ssize_t n;

	cr_assert(eq(int, fd_set_nonblock(m.out[1], 1), 0));
	while ((n = write(m.out[1], page, sizeof(page))) > 0)
		bytes += (size_t)n;
	return bytes;
}

Test(serial, a_reader_that_is_late_is_not_waited_for)
{
	size_t in_pipe = fill_pipe(), read_bytes = 0;

	out(UART_TX, 'a');
	settle();
	cr_assert(ge(int, m.serial.out_src.fd, 0), "the main loop waits");
	out(UART_TX, 'b');
	cr_assert(eq(sz, m.serial.tx_len, 2));
	(void)drain_pipe(&read_bytes);
	cr_assert(eq(sz, read_bytes, in_pipe));
	settle();
	cr_assert(eq(int, m.serial.out_src.fd, -1), "no longer");
	cr_assert(eq(ptr, m.serial.tx, NULL));
	out(UART_TX, 'c');
	cr_assert(eq(chr, drain_pipe(&read_bytes), 'c'));
	cr_assert(eq(sz, read_bytes, in_pipe + 3));
	cr_assert(eq(u64, m.serial.tx_dropped, 0));
}

Test(serial, what_no_reader_takes_is_bounded_and_the_rest_is_counted)
{
	size_t bytes = fill_pipe(), read_bytes = 0;

	for (size_t i = 0; i < SERIAL_TX_SIZE + 100; i++)
		out(UART_TX, i < SERIAL_TX_SIZE ? 'k' : 'd');
	cr_assert(eq(u64, m.serial.tx_dropped, 100));
	cr_assert(eq(u64, m.serial.tx_limit.count, 1), "said once");
	settle();
	while (read_bytes < bytes + SERIAL_TX_SIZE) {
		cr_assert(ne(chr, drain_pipe(&read_bytes), 'd'));
		settle();
	}
	out(UART_TX, 'n');
	cr_assert(eq(chr, drain_pipe(&read_bytes), 'n'));
	cr_assert(eq(u64, m.serial.tx_dropped, 100));
}

Test(serial, output_waits_for_its_reader_while_the_guest_sleeps)
{
	size_t read_bytes = 0;

	(void)fill_pipe();
	out(UART_TX, 'z');
	serial_hold(&m.serial, true);
	settle();
	(void)drain_pipe(&read_bytes);
	settle();
	cr_assert(eq(chr, drain_pipe(&read_bytes), 'z'));
	cr_assert(eq(int, m.serial.out_src.fd, -1));
	serial_hold(&m.serial, false);
}

Test(serial, a_reader_that_has_gone_costs_its_bytes)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)fill_pipe();
	out(UART_TX, 'a');
	settle();
	fd_close(&m.out[0]);
	settle();
	cr_assert(eq(int, m.serial.out_src.fd, -1), "no spinning on it");
	cr_assert(eq(u64, m.serial.tx_dropped, 1));
	out(UART_TX, 'b');
	cr_assert(eq(u64, m.serial.tx_dropped, 2));
	cr_assert(eq(u64, m.serial.tx_limit.count, 1));
}

Test(serial, a_file_that_may_not_grow_costs_what_is_beyond)
{
	const struct rlimit limit = { 4, 4 };
	_cleanup_fd_ int file = memfd_create("log", MFD_CLOEXEC);

	(void)signal(SIGXFSZ, SIG_IGN);
	cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &limit), 0));
	m.serial.out_fd = file;
	for (int i = 0; i < 10; i++)
		out(UART_TX, 'x');
	cr_assert(eq(u64, m.serial.tx_dropped, 6));
	cr_assert(eq(u64, m.serial.tx_limit.count, 1));
	cr_assert(eq(ptr, m.serial.tx, NULL), "it is not for later");
	/* Cut by logrotate: it goes on. */
	cr_assert(eq(int, ftruncate(file, 0), 0));
	cr_assert(eq(int, (int)lseek(file, 0, SEEK_SET), 0));
	out(UART_TX, 'y');
	cr_assert(eq(u64, m.serial.tx_dropped, 6));
}

static void *read_late(void *arg)
{
	const struct timespec late = { .tv_nsec = 50000000 };
	static char page[4096];
	size_t *bytes = arg;

	(void)nanosleep(&late, NULL);
	while (*bytes > 0) {
		ssize_t n = read(m.out[0], page, MIN(sizeof(page), *bytes));

		cr_assert(gt(int, (int)n, 0));
		*bytes -= (size_t)n;
	}
	return NULL;
}

Test(serial, the_end_waits_for_a_reader_that_reads)
{
	size_t left = fill_pipe() + 3;
	pthread_t thread;

	out(UART_TX, 'e');
	out(UART_TX, 'n');
	out(UART_TX, 'd');
	cr_assert(eq(int, pthread_create(&thread, NULL, read_late, &left), 0));
	serial_finish(&m.serial);
	cr_assert(eq(int, pthread_join(thread, NULL), 0));
	cr_assert(eq(sz, left, 0));
}

Test(serial, the_end_does_not_wait_for_a_reader_that_does_not)
{
	(void)fill_pipe();
	out(UART_TX, 'e');
	serial_finish(&m.serial);
	cr_assert(eq(u64, m.serial.tx_dropped, 1));
}

Test(serial, enabling_the_transmit_interrupt_raises_it_every_time)
{
	out(UART_IER, UART_IER_THRI);
	cr_assert(eq(u32, m.edges, 1));
	cr_assert(eq(u8, in(UART_IIR), UART_IIR_THRI));
	cr_assert(eq(u8, in(UART_IIR), UART_IIR_NO_INT), "reading clears");
	out(UART_IER, 0);
	out(UART_IER, UART_IER_THRI);
	cr_assert(eq(u32, m.edges, 2));
	cr_assert(eq(u8, in(UART_IIR), UART_IIR_THRI));
}

Test(serial, every_byte_sent_raises_the_transmit_interrupt)
{
	out(UART_TX, 'a');
	cr_assert(eq(u32, m.edges, 0), "not enabled");
	out(UART_IER, UART_IER_THRI);
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert(eq(u32, m.edges, i + 1));
		out(UART_TX, 'b'); /* a driver that never reads IIR */
	}
	cr_assert(eq(u8, in(UART_IIR)&0x0f, UART_IIR_THRI));
}

Test(serial, a_received_byte_interrupts_once_until_it_is_read)
{
	out(UART_IER, UART_IER_RDI);
	type("a");
	settle();
	cr_assert(eq(u32, m.edges, 1));
	cr_assert(eq(u8, in(UART_IIR)&0x0f, UART_IIR_RDI));
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_DR, UART_LSR_DR));
	cr_assert(eq(u8, in(UART_RX), 'a'));
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_DR, 0));
	cr_assert(eq(u8, in(UART_IIR)&0x0f, UART_IIR_NO_INT));
	type("b");
	settle();
	cr_assert(eq(u32, m.edges, 2));
}

/* As in S1, where the local APIC is off. */
Test(serial, an_edge_that_was_lost_comes_again_when_sending_starts)
{
	out(UART_IER, UART_IER_RDI);
	type("x");
	settle();
	cr_assert(eq(uint, m.edges, 1), "lost");
	out(UART_IER, UART_IER_RDI | UART_IER_THRI);
	cr_assert(eq(uint, m.edges, 2));
	cr_assert(eq(u8, in(UART_IIR)&UART_IIR_ID, UART_IIR_RDI));
}

Test(serial, bytes_that_came_before_the_interrupt_was_enabled_raise_it)
{
	type("ab");
	settle();
	cr_assert(eq(u32, m.edges, 0));
	out(UART_IER, UART_IER_RDI);
	cr_assert(eq(u32, m.edges, 1));
}

Test(serial, causes_are_told_in_order_of_urgency)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	out(UART_IER, UART_IER_RDI | UART_IER_THRI);
	type("1234567");
	settle();
	cr_assert(eq(u8, in(UART_IIR), 0xcc), "less than the trigger level");
	type("8");
	settle();
	cr_assert(eq(u8, in(UART_IIR), 0xc4));
	for (int i = 0; i < 8; i++)
		(void)in(UART_RX);
	cr_assert(eq(u8, in(UART_IIR), 0xc2), "transmitter, still pending");
	cr_assert(eq(u8, in(UART_IIR), 0xc1));
	cr_assert(eq(u32, m.edges, 1), "one edge: the driver loops");
}

Test(serial, loopback_receives_what_is_sent_and_overruns)
{
	char byte;

	out(UART_MCR, UART_MCR_LOOP);
	out(UART_IER, UART_IER_RLSI);
	out(UART_TX, 'x');
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_OE, 0));
	out(UART_TX, 'y');
	cr_assert(eq(u8, in(UART_IIR)&0x0f, UART_IIR_RLSI));
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_OE, UART_LSR_OE));
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_OE, 0));
	cr_assert(eq(u8, in(UART_IIR)&0x0f, UART_IIR_NO_INT));
	cr_assert(eq(u8, in(UART_RX), 'x'));
	cr_assert(eq(int, fd_set_nonblock(m.out[0], 1), 0));
	cr_assert(eq(int, (int)read(m.out[0], &byte, 1), -1));
}

Test(serial, input_waits_in_the_fd_while_the_fifo_is_full)
{
	char text[101] = "";

	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	for (int i = 0; i < 100; i++)
		text[i] = (char)('!' + i % 90);
	type(text);
	settle();
	cr_assert(eq(u32, m.serial.rx_len, 16));
	cr_assert(eq(int, m.serial.in_src.fd, -1), "not watched: no spinning");
	for (int i = 0; i < 100; i++) {
		settle();
		cr_assert(eq(u8, in(UART_RX), (uint8_t)text[i]));
	}
	cr_assert(eq(u8, in(UART_LSR) & (UART_LSR_DR | UART_LSR_OE), 0));
}

Test(serial, clearing_the_fifo_drops_it_and_makes_room)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	type("0123456789abcdefXY");
	settle();
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_DR, 0));
	settle();
	cr_assert(eq(u8, in(UART_RX), 'X'));
}

Test(serial, switching_the_fifo_loses_no_byte)
{
	out(UART_IER, UART_IER_RDI);
	type("abc");
	settle();
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	settle();
	for (const char *p = "abc"; *p; p++)
		cr_assert(eq(u8, in(UART_RX), (uint8_t)*p));
	type("def");
	settle();
	out(UART_FCR, 0);
	for (const char *p = "def"; *p; p++) {
		cr_assert(eq(u8, in(UART_RX), (uint8_t)*p));
		settle();
	}
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_DR, 0));
}

Test(serial, the_filter_swallows_bytes)
{
	m.serial.filter = swallow_ctrl_a;
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	type("a\001b");
	settle();
	cr_assert(eq(u8, in(UART_RX), 'a'));
	cr_assert(eq(u8, in(UART_RX), 'b'));
}

Test(serial, the_end_of_input_is_not_watched_any_more)
{
	type("a");
	close(m.in[1]);
	settle();
	cr_assert(eq(u8, in(UART_RX), 'a'));
	settle();
	cr_assert(eq(int, m.serial.in_fd, -1));
	cr_assert(eq(int, m.serial.in_src.fd, -1));
}

Test(serial, held_unarmed_input_is_not_even_watched)
{
	m.serial.on_held_input = on_held_input;
	serial_hold(&m.serial, true);
	cr_assert(eq(int, m.serial.in_src.fd, -1));
	type("a");
	settle();
	cr_assert(eq(u32, m.held_calls, 0));
	serial_hold(&m.serial, false);
	settle();
	cr_assert(eq(u8, in(UART_RX), 'a'));
}

Test(serial, held_armed_input_is_reported_once_and_kept)
{
	m.serial.on_held_input = on_held_input;
	out(UART_IER, UART_IER_RDI);
	cr_assert(serial_wake_armed(&m.serial));
	serial_hold(&m.serial, true);
	settle();
	cr_assert(eq(u32, m.held_calls, 0));
	type("ab");
	settle();
	cr_assert(eq(u32, m.held_calls, 1));
	cr_assert(eq(u32, m.edges, 0));
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_DR, 0));
	serial_hold(&m.serial, false);
	settle();
	cr_assert(eq(u32, m.edges, 1));
	cr_assert(eq(u8, in(UART_RX), 'a'));
	settle();
	cr_assert(eq(u8, in(UART_RX), 'b'));
}

Test(serial, the_end_of_input_does_not_wake)
{
	m.serial.on_held_input = on_held_input;
	out(UART_IER, UART_IER_RDI);
	serial_hold(&m.serial, true);
	close(m.in[1]);
	settle();
	cr_assert(eq(u32, m.held_calls, 0));
	serial_hold(&m.serial, false);
	cr_assert(eq(int, m.serial.in_src.fd, -1));
}

Test(serial, room_made_while_held_does_not_read_input)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	type("0123456789abcdefX");
	settle();
	serial_hold(&m.serial, true);
	for (int i = 0; i < 16; i++)
		(void)in(UART_RX);
	settle();
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_DR, 0));
	serial_hold(&m.serial, false);
	settle();
	cr_assert(eq(u8, in(UART_RX), 'X'));
}

/* What Linux does before it sleeps, and after. */
Test(serial, bytes_wait_while_the_guest_has_stopped_listening)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	out(UART_IER, UART_IER_RDI);
	out(UART_IER, 0);
	type("abc");
	settle();
	cr_assert(eq(u8, in(UART_LSR)&UART_LSR_DR, 0));
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	out(UART_IER, UART_IER_RDI);
	settle();
	cr_assert(eq(u32, m.edges, 1));
	cr_assert(eq(u8, in(UART_RX), 'a'));
	settle();
	cr_assert(eq(u8, in(UART_RX), 'b'));
	settle();
	cr_assert(eq(u8, in(UART_RX), 'c'));
}

Test(serial, the_escape_key_is_found_while_nobody_listens)
{
	m.serial.filter = swallow_ctrl_a;
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	out(UART_IER, UART_IER_RDI);
	out(UART_IER, 0);
	serial_hold(&m.serial, true);
	type("x\001y");
	settle();
	/* Read ahead, filtered; not armed, so no wake. */
	cr_assert(eq(u32, m.serial.backlog_len, 2));
	cr_assert(eq(u32, m.held_calls, 0));
	serial_hold(&m.serial, false);
	out(UART_IER, UART_IER_RDI);
	cr_assert(eq(u8, in(UART_RX), 'x'));
	cr_assert(eq(u8, in(UART_RX), 'y'));
}

Test(serial, a_terminal_byte_wakes_an_armed_guest)
{
	m.serial.on_held_input = on_held_input;
	m.serial.filter = swallow_ctrl_a;
	out(UART_IER, UART_IER_RDI);
	serial_hold(&m.serial, true);
	type("\001");
	settle();
	cr_assert(eq(u32, m.held_calls, 0));
	type("z");
	settle();
	cr_assert(eq(u32, m.held_calls, 1));
	cr_assert(eq(u32, m.edges, 0));
	serial_hold(&m.serial, false);
	cr_assert(eq(u32, m.edges, 1));
	cr_assert(eq(u8, in(UART_RX), 'z'));
}

Test(serial, read_ahead_is_bounded)
{
	static char many[SERIAL_BACKLOG_SIZE + 64];

	memset(many, 'q', sizeof(many) - 1);
	m.serial.filter = swallow_ctrl_a;
	out(UART_IER, UART_IER_RDI);
	out(UART_IER, 0);
	type(many);
	settle();
	cr_assert(eq(u32, m.serial.backlog_len, SERIAL_BACKLOG_SIZE));
	cr_assert(eq(int, m.serial.in_src.fd, -1));
}

Test(serial, wide_accesses_are_bytes)
{
	uint16_t value = 0x0f42; /* 'B', then IER */

	bus_write(&m.bus, LAYOUT_PORT_SERIAL, &value, 2);
	cr_assert(eq(u8, in(UART_IER), 0x0f));
	bus_read(&m.bus, LAYOUT_PORT_SERIAL + UART_LSR, &value, 2);
	cr_assert(eq(u16, value, 0xb060));
}

Test(serial, init_takes_input_that_cannot_be_watched_as_none)
{
	struct serial s;
	_cleanup_fd_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_assert(eq(int, serial_init(&s, &m.loop, 0x2f8, &m.irq, fd, -1), 0));
	cr_assert(eq(int, s.in_fd, -1));
	serial_hold(&s, true);
	serial_hold(&s, false);
	serial_finish(&s);
}

Test(serial, init_fails_on_a_bad_fd)
{
	struct serial s;

	cr_assert(eq(int, serial_init(&s, &m.loop, 0x2f8, &m.irq, 999999, -1),
		     -EBADF));
}
