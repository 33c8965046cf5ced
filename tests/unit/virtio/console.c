/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/guest_ring.h"
#include "virtio/device.h"
#include "vmm/base/fd.h"

#define RX 0
#define TX 1

static struct front f;
static struct virtio_dev *dev;
static int in[2] = { -1, -1 };	/* the host writes in[1] */
static int out[2] = { -1, -1 }; /* the host reads out[0] */
static uint64_t buf;		/* 1 MiB */

static void create(void)
{
	char in_word[64], out_word[64], cols[] = "cols=80", rows[] = "rows=25";
	char *const args[] = { in_word, out_word, cols, rows, NULL };

	(void)signal(SIGPIPE, SIG_IGN);
	cr_assert(zero(int, pipe2(in, O_CLOEXEC)));
	cr_assert(zero(int, pipe2(out, O_CLOEXEC | O_NONBLOCK)));
	(void)snprintf(in_word, sizeof(in_word), "in=/proc/self/fd/%d", in[0]);
	(void)snprintf(out_word, sizeof(out_word), "out=/proc/self/fd/%d",
		       out[1]);
	cr_assert(zero(int, virtio_console_ops.create(&f.loop, args,
						      virtio_no_fds, &dev)));
	/* Only the device shall hold these ends. */
	fd_close(&in[0]);
	fd_close(&out[1]);
}

static void setup(void)
{
	front_init(&f);
	create();
	front_connect(&f, dev);
	buf = guest_alloc(&f.g, 1 << 20, 4096);
	front_negotiate(&f, 1ULL << VIRTIO_F_VERSION_1);
}

static void setup_started(void)
{
	setup();
	front_start_all(&f, 2);
}

static void teardown(void)
{
	front_finish(&f);
	virtio_console_ops.destroy(dev);
	for (int i = 0; i < 2; i++) {
		fd_close(&in[i]);
		fd_close(&out[i]);
	}
}

TestSuite(console, .init = setup_started, .fini = teardown, .timeout = 120);
TestSuite(console_stopped, .init = setup, .fini = teardown, .timeout = 120);

static uint16_t add(unsigned int q, uint64_t off, uint32_t len)
{
	const struct guest_buf b = { buf + off, len, q == RX };

	return guest_ring_add(&f.ring[q], &b, 1);
}

static void host_write(const char *text)
{
	cr_assert(zero(int, fd_write_all(in[1], text, strlen(text))));
}

/* Reads all there is. Return: bytes. */
static size_t host_read(char *to, size_t max)
{
	size_t n = 0;
	ssize_t r;

	while (n < max && (r = read(out[0], to + n, max - n)) > 0)
		n += (size_t)r;
	return n;
}

/* What the device's loop would wake up for now; it must be nothing. */
static void assert_idle(void)
{
	struct pollfd p = { .fd = f.loop.epoll_fd, .events = POLLIN };

	front_settle(&f);
	cr_assert(zero(int, poll(&p, 1, 0)), "the loop spins");
}

/* ----------------------------------------------------------- guest to host */

Test(console, transmits)
{
	char got[64];

	memcpy(guest_ptr(&f.g, buf), "hello", 5);
	cr_assert(zero(u32, front_wait_used(&f, TX, add(TX, 0, 5))));
	cr_assert(eq(sz, host_read(got, sizeof(got)), 5));
	cr_assert(zero(int, memcmp(got, "hello", 5)));
}

Test(console, transmits_scattered_and_ignores_writable_parts)
{
	const struct guest_buf b[] = { { buf, 1, false },
				       { buf + 100, 2, false },
				       { buf + 200, 10, true } };
	char got[64];

	memcpy(guest_ptr(&f.g, buf), "a", 1);
	memcpy(guest_ptr(&f.g, buf + 100), "bc", 2);
	cr_assert(
		zero(u32, front_wait_used(&f, TX,
					  guest_ring_add(&f.ring[TX], b, 3))));
	cr_assert(eq(sz, host_read(got, sizeof(got)), 3));
	cr_assert(zero(int, memcmp(got, "abc", 3)));
}

/* Each byte says where it is in the stream. */
static void fill_pattern(uint32_t base, uint32_t len)
{
	uint8_t *p = guest_ptr(&f.g, buf);

	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)((base + i) * 31 >> 3);
}

Test(console, stalled_reader_stops_neither_guest_nor_order)
{
	static char got[1 << 20];
	uint32_t sent = 0;
	size_t n = 0, more;

	/* Pipe 64 KiB and backlog 64 KiB: 40 times 4 KiB does not fit. */
	for (int i = 0; i < 40; i++) {
		fill_pattern(sent, 4096);
		cr_assert(zero(u32, front_wait_used(&f, TX, add(TX, 0, 4096))));
		sent += 4096;
	}
	assert_idle();
	do {
		more = host_read(got + n, sizeof(got) - n);
		n += more;
		front_settle(&f);
	} while (more);
	cr_assert(ge(sz, n, 100 << 10), "only %zu bytes kept", n);
	cr_assert(lt(sz, n, sent));
	for (size_t i = 0; i < n; i++)
		cr_assert(eq(u8, got[i], (uint8_t)(i * 31 >> 3)), "byte %zu",
			  i);
	/* Drained: the next bytes go straight through again. */
	memcpy(guest_ptr(&f.g, buf), "end", 3);
	cr_assert(zero(u32, front_wait_used(&f, TX, add(TX, 0, 3))));
	cr_assert(eq(sz, host_read(got, sizeof(got)), 3));
	assert_idle();
}

Test(console, oversized_buffer_is_sent_in_part)
{
	cr_assert(zero(u32, front_wait_used(&f, TX, add(TX, 0, 1 << 20))));
}

Test(console, reader_gone_is_no_fault_of_the_guest)
{
	fd_close(&out[0]);
	for (int i = 0; i < 3; i++)
		cr_assert(zero(u32, front_wait_used(&f, TX, add(TX, 0, 5))));
	assert_idle();
}

Test(console, reader_gone_with_a_backlog_does_not_spin)
{
	for (int i = 0; i < 30; i++)
		cr_assert(zero(u32, front_wait_used(&f, TX, add(TX, 0, 4096))));
	fd_close(&out[0]);
	assert_idle();
	cr_assert(zero(u32, front_wait_used(&f, TX, add(TX, 0, 5))));
}

Test(console, flood_is_processed_over_several_turns)
{
	for (int i = 0; i < 64; i++)
		(void)add(TX, 0, 1);
	guest_ring_kick(&f.ring[TX]);
	front_settle(&f);
	cr_assert(eq(u16, f.ring[TX].used->idx, 64));
}

/* ----------------------------------------------------------- host to guest */

Test(console, receives_what_was_written)
{
	uint16_t head = add(RX, 0, 64);

	host_write("hi");
	cr_assert(eq(u32, front_wait_used(&f, RX, head), 2));
	cr_assert(zero(int, memcmp(guest_ptr(&f.g, buf), "hi", 2)));
	assert_idle();
}

Test(console, input_longer_than_a_buffer_goes_to_the_next)
{
	uint16_t first = add(RX, 0, 4), second = add(RX, 64, 4);

	host_write("abcdef");
	cr_assert(eq(u32, front_wait_used(&f, RX, first), 4));
	cr_assert(eq(u32, front_wait_used(&f, RX, second), 2));
	cr_assert(zero(int, memcmp(guest_ptr(&f.g, buf + 64), "ef", 2)));
}

Test(console, input_without_a_buffer_stays_and_costs_no_wake_up)
{
	host_write("abc");
	assert_idle();
	cr_assert(eq(u32, front_wait_used(&f, RX, add(RX, 0, 16)), 3));
}

Test(console, input_while_stopped_stays_and_is_delivered_later)
{
	uint16_t head = add(RX, 0, 16);

	front_settle(&f);
	cr_assert(zero(u16, front_stop(&f, RX)));
	(void)front_stop(&f, TX);
	host_write("abc");
	assert_idle();
	front_start_all(&f, 2);
	cr_assert(eq(u32, front_wait_used(&f, RX, head), 3));
}

Test(console, end_of_input_does_not_spin)
{
	(void)add(RX, 0, 16);
	guest_ring_kick(&f.ring[RX]);
	front_settle(&f);
	fd_close(&in[1]);
	assert_idle();
	/* The buffer was given back. */
	cr_assert(zero(u16, front_stop(&f, RX)));
}

Test(console, receive_buffer_without_room_breaks_the_ring)
{
	const struct guest_buf b = { buf, 16, false };

	(void)guest_ring_add(&f.ring[RX], &b, 1);
	guest_ring_kick(&f.ring[RX]);
	front_settle(&f);
	host_write("x");
	front_wait_fd(&f, f.ring[RX].err_fd);
	assert_idle();
}

/* -------------------------------------------------------------------- config
 */

Test(console, config_has_the_size)
{
	struct virtio_console_config c;

	cr_assert(f.features >> VIRTIO_CONSOLE_F_SIZE & 1);
	cr_assert(not(f.features >> VIRTIO_CONSOLE_F_MULTIPORT & 1));
	cr_assert(front_get_config(&f, 0, &c, sizeof(c)));
	cr_assert(eq(u16, c.cols, 80));
	cr_assert(eq(u16, c.rows, 25));
}

Test(console_stopped, emergency_write_needs_no_ring)
{
	uint32_t ch = 'E';
	char got[8];

	cr_assert(f.features >> VIRTIO_CONSOLE_F_EMERG_WRITE & 1);
	cr_assert(front_set_config(&f, 8, &ch, 4));
	cr_assert(eq(sz, host_read(got, sizeof(got)), 1));
	cr_assert(eq(chr, got[0], 'E'));
	/* Other fields are read only. */
	cr_assert(front_set_config(&f, 0, &ch, 4));
	cr_assert(zero(sz, host_read(got, sizeof(got))));
}

Test(console_stopped, reset_writes_nothing)
{
	struct vhost_user_msg m = { .hdr.request = VHOST_USER_RESET_DEVICE };
	char got[8];

	cr_assert(zero(u64, front_request(&f, &m, NULL, 0)));
	cr_assert(zero(sz, host_read(got, sizeof(got))));
}

/* ---------------------------------------------------------------------- wake
 */

Test(console_stopped, armed_input_wakes_once_and_keeps_the_byte)
{
	front_wake_arm(&f, true);
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	host_write("k");
	front_wait_fd(&f, f.wake_fd);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	host_write("ey");
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	front_start_all(&f, 2);
	cr_assert(eq(u32, front_wait_used(&f, RX, add(RX, 0, 16)), 3));
	cr_assert(zero(int, memcmp(guest_ptr(&f.g, buf), "key", 3)));
}

Test(console_stopped, input_there_already_wakes_before_the_acknowledgement)
{
	host_write("k");
	assert_idle();
	front_wake_arm(&f, true);
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
	assert_idle();
}

Test(console_stopped, disarmed_input_does_not_wake)
{
	front_wake_arm(&f, true);
	front_wake_arm(&f, false);
	host_write("k");
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
}

Test(console, armed_while_live_delivers_and_wakes)
{
	uint16_t head = add(RX, 0, 16);

	front_wake_arm(&f, true);
	host_write("k");
	cr_assert(eq(u32, front_wait_used(&f, RX, head), 1));
	cr_assert(eq(u64, fd_event_drain(f.wake_fd), 1));
}

Test(console, armed_while_live_stays_armed_over_a_stop)
{
	front_wake_arm(&f, true);
	(void)front_stop(&f, RX);
	(void)front_stop(&f, TX);
	host_write("k");
	front_wait_fd(&f, f.wake_fd);
}

/* -------------------------------------------------------------------- create
 */

Test(console_create, refuses_bad_words_and_files, .timeout = 120)
{
	static const char *const bad[] = { "what", "cols=x", "rows=70000",
					   "cols=", "in=/nonexistent/x" };
	struct virtio_dev *d = NULL;
	struct loop loop;

	cr_assert(zero(int, loop_init(&loop)));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		char word[64];
		char *const args[] = { word, NULL };

		(void)snprintf(word, sizeof(word), "%s", bad[i]);
		cr_assert(lt(int,
			     virtio_console_ops.create(&loop, args,
						       virtio_no_fds, &d),
			     0),
			  "%s", bad[i]);
		cr_assert(d == NULL);
	}
	loop_finish(&loop);
	virtio_console_ops.destroy(NULL);
}

Test(console_create, input_that_cannot_be_waited_for_is_no_input,
     .timeout = 120)
{
	char i[] = "in=/dev/null", o[] = "out=/dev/null";
	char *const args[] = { i, o, NULL };

	front_init(&f);
	cr_assert(zero(int, virtio_console_ops.create(&f.loop, args,
						      virtio_no_fds, &dev)));
	front_connect(&f, dev);
	buf = guest_alloc(&f.g, 4096, 4096);
	front_negotiate(&f, 1ULL << VIRTIO_F_VERSION_1);
	front_start_all(&f, 2);
	(void)add(RX, 0, 16);
	guest_ring_kick(&f.ring[RX]);
	assert_idle();
	cr_assert(zero(u32, front_wait_used(&f, TX, add(TX, 0, 5))));
	front_wake_arm(&f, true);
	assert_idle();
	teardown();
}

/* poll() always calls it readable. */
Test(console_create, input_that_cannot_be_waited_for_wakes_nobody,
     .timeout = 120)
{
	char i[] = "in=/dev/null", o[] = "out=/dev/null";
	char *const args[] = { i, o, NULL };

	front_init(&f);
	cr_assert(zero(int, virtio_console_ops.create(&f.loop, args,
						      virtio_no_fds, &dev)));
	front_connect(&f, dev);
	front_wake_arm(&f, true);
	assert_idle();
	cr_assert(zero(u64, fd_event_drain(f.wake_fd)));
	teardown();
}
