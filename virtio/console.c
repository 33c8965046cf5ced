/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Console device, port 0 only (virtio 1.x, 5.3). Loop thread only.
 *
 * Guest to host: Linux spins with a lock held until its buffer is used, so a
 * transmit buffer is always used at once. What the host side does not take now
 * waits in a bounded backlog; what does not fit there is dropped, and said.
 *
 * Host to guest: the input is watched only while there is a buffer to read it
 * into, or while it shall wake the guest. Else a byte stays where it is and
 * costs no wake-up.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtio/device.h"
#include "virtio/iov.h"
#include "virtio/turn.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define CONSOLE_BACKLOG (64U << 10) /* bytes, allocated when needed */
/* Of one transmit buffer; the rest is dropped. Linux sends 32 KiB at most. */
#define CONSOLE_TX_MAX (256U << 10)
/* Transmit buffers of one turn of the loop. */
#define CONSOLE_TURN	   64U
#define CONSOLE_TURN_BYTES (256U << 10)

#define QUEUE_RX 0U
#define QUEUE_TX 1U

struct virtio_console {
	struct virtio_dev dev;
	int in_fd;  /* -1: no input, or its end was reached */
	int out_fd; /* -1: nobody listens */
	struct loop_source in_src;
	struct loop_source out_src;
	bool armed; /* input shall wake the guest, once */

	/* Bytes [start, end) wait for the host side; NULL if there are none. */
	uint8_t *backlog;
	size_t start, end;
	struct log_limit drop_limit;
};

static struct virtio_console *console_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_console, dev);
}

/* --------------------------------------------------------- guest to host */

static void on_out(struct loop_source *src, uint32_t events);

/* The host side is gone: whatever comes is dropped from now on. */
static void out_lost(struct virtio_console *con, int err)
{
	log_limited(&con->drop_limit, "console output is lost: %s",
		    strerror(err));
	loop_remove(con->dev.loop, &con->out_src);
	free(con->backlog);
	con->backlog = NULL;
	fd_close(&con->out_fd);
}

/* Return: bytes the host side took; 0 if none now or none ever again. */
static size_t out_writev(struct virtio_console *con, const struct iovec *iov,
			 unsigned int nr)
{
	ssize_t n;

	if (con->out_fd < 0)
		return 0;
	do {
		n = writev(con->out_fd, iov, (int)nr);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return (size_t)n;
	/* A full disk may have room again later; a closed pipe has none. */
	if (errno == EPIPE || errno == EIO || errno == EBADF)
		out_lost(con, errno);
	return 0;
}

static void backlog_drain(struct virtio_console *con)
{
	struct iovec iov = { .iov_base = con->backlog + con->start,
			     .iov_len = con->end - con->start };

	con->start += out_writev(con, &iov, 1);
	if (!con->backlog || con->start < con->end)
		return;
	loop_remove(con->dev.loop, &con->out_src);
	free(con->backlog);
	con->backlog = NULL;
}

static void on_out(struct loop_source *src, uint32_t events)
{
	struct virtio_console *con =
		container_of(src, struct virtio_console, out_src);

	/* EPOLLERR: the reader has gone, which the write will tell. */
	backlog_drain(con);
	if (con->backlog && !(events & EPOLLOUT))
		out_lost(con, EPIPE);
}

/* Keeps what fits. Return: bytes kept. */
static size_t backlog_add(struct virtio_console *con, const struct iovec *iov,
			  unsigned int nr, size_t off)
{
	size_t n;

	if (con->out_fd < 0)
		return 0;
	if (!con->backlog) {
		con->backlog = malloc(CONSOLE_BACKLOG);
		con->start = con->end = 0;
		if (!con->backlog)
			return 0;
		if (loop_add(con->dev.loop, &con->out_src, con->out_fd,
			     EPOLLOUT, on_out) < 0) {
			free(con->backlog);
			con->backlog = NULL;
			return 0;
		}
	}
	if (con->start) {
		memmove(con->backlog, con->backlog + con->start,
			con->end - con->start);
		con->end -= con->start;
		con->start = 0;
	}
	n = iov_read(iov, nr, off, con->backlog + con->end,
		     CONSOLE_BACKLOG - con->end);
	con->end += n;
	return n;
}

static void out_send(struct virtio_console *con, const struct iovec *iov,
		     unsigned int nr, size_t len)
{
	size_t done = 0;

	/* Order: nothing overtakes the backlog. */
	if (!con->backlog)
		done = out_writev(con, iov, nr);
	if (done < len)
		done += backlog_add(con, iov, nr, done);
	if (done < len)
		log_limited(&con->drop_limit,
			    "console output dropped: the reader is too slow");
}

/* The first CONSOLE_TX_MAX bytes of a chain. */
static bool tx_serve(struct virtio_dev *dev, struct virtq *vq,
		     const struct virtq_chain *chain, struct turn *turn)
{
	struct virtio_console *con = console_of(dev);
	struct iovec *iov = chain->iov;
	size_t len = 0;
	unsigned int n;

	for (n = 0; n < chain->nr_out && len < CONSOLE_TX_MAX; n++) {
		iov[n].iov_len = MIN(iov[n].iov_len, CONSOLE_TX_MAX - len);
		len += iov[n].iov_len;
	}
	if (len < chain->len_out)
		log_limited(&con->drop_limit,
			    "console output dropped: buffer of %llu bytes",
			    (unsigned long long)chain->len_out);
	if (len)
		out_send(con, iov, n, len);
	virtq_push(vq, chain->head, 0);
	return true;
}

static void tx_run(struct virtio_console *con)
{
	struct turn turn = turn_begin(CONSOLE_TURN, CONSOLE_TURN_BYTES);

	virtq_serve(&con->dev, &con->dev.queues[QUEUE_TX], &turn, tx_serve);
}

/* --------------------------------------------------------- host to guest */

static void on_in(struct loop_source *src, uint32_t events);

static void in_watch(struct virtio_console *con, bool on)
{
	int r;

	if (!on || con->in_fd < 0) {
		loop_remove(con->dev.loop, &con->in_src);
		return;
	}
	if (con->in_src.fd >= 0)
		return;
	r = loop_add(con->dev.loop, &con->in_src, con->in_fd, EPOLLIN, on_in);
	/* /dev/null and files cannot be waited for: there is no input. */
	if (r < 0)
		fd_close(&con->in_fd);
}

/* Watches the input if there is a buffer for it, or asks for a kick. */
static void rx_update(struct virtio_console *con)
{
	struct virtq *vq = &con->dev.queues[QUEUE_RX];
	bool room = virtq_has_work(vq) || virtq_enable_kick(vq);

	if (room)
		virtq_disable_kick(vq);
	in_watch(con, room || con->armed);
}

/* Reads once into one buffer, so that it never blocks. */
static void rx_run(struct virtio_console *con)
{
	struct virtq *vq = &con->dev.queues[QUEUE_RX];
	struct iovec iov[VIRTQ_MAX_CHAIN];
	struct virtq_chain c;
	ssize_t n;
	int r = virtq_pop(vq, &c, iov, ARRAY_SIZE(iov));

	if (r == 0 || r == -EPROTO)
		return;
	if (r < 0 || !c.nr_in) {
		virtq_push(vq, c.head, 0);
		virtq_break(vq, "no room for console input");
		return;
	}
	do {
		n = readv(con->in_fd, iov + c.nr_out, c.nr_in);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		virtq_push(vq, c.head, (uint32_t)n);
		(void)virtq_signal(vq);
		return;
	}
	virtq_unpop(vq, &c.head, 1);
	if (n < 0 && errno == EAGAIN)
		return;
	log_debug("console input has ended");
	loop_remove(con->dev.loop, &con->in_src);
	fd_close(&con->in_fd);
}

static void wake_once(struct virtio_console *con)
{
	if (!con->armed)
		return;
	con->armed = false;
	virtio_dev_wake(&con->dev);
}

static void on_in(struct loop_source *src, uint32_t events)
{
	struct virtio_console *con =
		container_of(src, struct virtio_console, in_src);

	if (events & EPOLLIN)
		wake_once(con);
	if (virtq_has_work(&con->dev.queues[QUEUE_RX])) {
		rx_run(con);
	} else if (!(events & EPOLLIN)) {
		/* Hung up with nothing left: no spinning on it. */
		loop_remove(con->dev.loop, &con->in_src);
		fd_close(&con->in_fd);
	}
	rx_update(con);
}

/* ------------------------------------------------------------------- slots */

static void console_kick(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_console *con = console_of(dev);

	if (queue == QUEUE_TX)
		tx_run(con);
	else
		rx_update(con);
}

static void console_stop_queue(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_console *con = console_of(dev);

	if (queue == QUEUE_RX)
		in_watch(con, con->armed);
}

/*
 * Emergency write: one character, on a device in any state (5.3.5.1). Nothing
 * else in config space is writable.
 */
static void console_config_write(struct virtio_dev *dev, uint32_t offset,
				 const void *data, uint32_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data,
			     .iov_len = 1 };

	if (offset == offsetof(struct virtio_console_config, emerg_wr) &&
	    len >= 1 && len <= sizeof(uint32_t))
		out_send(console_of(dev), &iov, 1, 1);
}

static void console_wake_arm(struct virtio_dev *dev, bool armed)
{
	struct virtio_console *con = console_of(dev);
	struct pollfd p = { .events = POLLIN };

	con->armed = armed;
	/* Drops an input like /dev/null: poll() always calls that readable. */
	if (armed)
		in_watch(con, true);
	p.fd = con->in_fd;
	/* What is there already wakes at once, before the acknowledgement. */
	if (armed && con->in_fd >= 0 && poll(&p, 1, 0) == 1 &&
	    p.revents & POLLIN)
		wake_once(con);
	if (dev->queues[QUEUE_RX].running)
		rx_update(con);
	else
		in_watch(con, con->armed);
}

/* ------------------------------------------------------------------ create */

struct console_words {
	const char *in, *out; /* paths, or NULL for the inherited fds */
	unsigned long cols, rows;
};

static int number(const char *s, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(s, &end, 10);
	return errno || *end || end == s || *ret > UINT16_MAX ? -EINVAL : 0;
}

static int words_parse(struct console_words *w, char *const *args)
{
	for (; *args; args++) {
		int r = 0;

		if (!strncmp(*args, "in=", 3))
			w->in = *args + 3;
		else if (!strncmp(*args, "out=", 4))
			w->out = *args + 4;
		else if (!strncmp(*args, "cols=", 5))
			r = number(*args + 5, &w->cols);
		else if (!strncmp(*args, "rows=", 5))
			r = number(*args + 5, &w->rows);
		else
			r = -EINVAL;
		if (r < 0)
			return r;
	}
	return 0;
}

static int fds_open(struct virtio_console *con, const struct console_words *w,
		    const int *fds)
{
	if (w->in || w->out) {
		con->in_fd = open(w->in ? w->in : "/dev/null",
				  O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (con->in_fd < 0)
			return -errno;
		con->out_fd = open(w->out ? w->out : "/dev/null",
				   O_WRONLY | O_NONBLOCK | O_CLOEXEC |
					   O_NOCTTY | O_CREAT | O_APPEND,
				   0666);
		return con->out_fd < 0 ? -errno : 0;
	}
	if (fds[0] < 0 || fds[1] < 0)
		return -EBADF;
	con->in_fd = fds[0];
	con->out_fd = fds[1];
	/*
	 * A stalled reader must not stop the device. The flag is shared with
	 * whoever has the same open file, so the VMM opens one for us.
	 */
	return fd_set_nonblock(con->out_fd, 1);
}

static void console_destroy(struct virtio_dev *dev)
{
	struct virtio_console *con;

	if (!dev)
		return;
	con = console_of(dev);
	loop_remove(dev->loop, &con->in_src);
	loop_remove(dev->loop, &con->out_src);
	fd_close(&con->in_fd);
	fd_close(&con->out_fd);
	free(con->backlog);
	free(con);
}

static int console_create(struct loop *loop, char *const *args, const int *fds,
			  struct virtio_dev **ret_dev)
{
	struct console_words w = { .in = NULL };
	struct virtio_console_config config = { .max_nr_ports = 1 };
	struct virtio_console *con;
	int r = words_parse(&w, args);

	if (r < 0)
		return r;
	con = calloc(1, sizeof(*con));
	if (!con)
		return -ENOMEM;
	con->in_fd = -1;
	con->out_fd = -1;
	con->in_src.fd = -1;
	con->out_src.fd = -1;
	virtio_dev_init(&con->dev, &virtio_console_ops, loop);
	con->dev.features_offered |= BIT(VIRTIO_CONSOLE_F_EMERG_WRITE);
	if (w.cols && w.rows) {
		config.cols = (uint16_t)w.cols;
		config.rows = (uint16_t)w.rows;
		con->dev.features_offered |= BIT(VIRTIO_CONSOLE_F_SIZE);
	}
	memcpy(con->dev.config, &config, sizeof(config));
	r = fds_open(con, &w, fds);
	if (r < 0) {
		console_destroy(&con->dev);
		return r;
	}
	*ret_dev = &con->dev;
	return 0;
}

const struct virtio_dev_ops virtio_console_ops = {
	.type = &virtio_types[VIRTIO_TYPE_CONSOLE],
	.usage = "in=FILE out=FILE [cols=N rows=N]",
	.create = console_create,
	.destroy = console_destroy,
	.kick = console_kick,
	.stop_queue = console_stop_queue,
	.config_write = console_config_write,
	.wake_arm = console_wake_arm,
};
