/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File descriptors: ownership helpers and SCM_RIGHTS over UNIX sockets. Every
 * fd made here is close-on-exec; an empty fd field holds -1.
 */
#ifndef TORPOR_VMM_BASE_FD_H
#define TORPOR_VMM_BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/util.h"

#define FD_PASS_MAX 32 /* fds in one message */

/* Closes *fd if it is open and sets it to -1; keeps errno. */
void fd_close(int *fd);
#define _cleanup_fd_ _cleanup_(fd_close)

/* Move an fd out of a variable: the variable becomes -1. */
#define TAKE_FD(fd)             \
	({                      \
		int fd_ = (fd); \
		(fd) = -1;      \
		fd_;            \
	})

/**
 * fd_sendmsg() - send bytes and fds on a UNIX socket, never waiting
 * @sock: stream or seqpacket socket
 * @buf: @len bytes
 * @fds: @n_fds borrowed fds, n_fds <= FD_PASS_MAX; may be NULL with 0
 *
 * Return: bytes sent, or -errno (-EAGAIN: the socket is full).
 */
ssize_t fd_sendmsg(int sock, const void *buf, size_t len, const int *fds,
		   size_t n_fds) must_check;

/**
 * fd_recvmsg() - receive bytes and fds
 * @fds: room for @max_fds fds; the caller owns those that arrive. Fds beyond
 *	 @max_fds, and all fds of a truncated control message, are closed and
 *	 -EMSGSIZE is returned.
 * @ret_n_fds: number received; set also on error, to 0
 * @flags: e.g. MSG_DONTWAIT
 *
 * Return: bytes received, 0 at end of file, or -errno.
 */
ssize_t fd_recvmsg(int sock, void *buf, size_t len, int *fds, size_t max_fds,
		   size_t *ret_n_fds, int flags) must_check;

/* write(2)/read(2) of all bytes, EINTR retried. Return: 0 or -errno. */
int fd_write_all(int fd, const void *buf, size_t len) must_check;

/*
 * Adds 1 to an eventfd. A full counter is as good as one more. The kernel has
 * no call that writes to an eventfd without waiting, except by O_NONBLOCK. That
 * flag belongs to the description: every process that was given the fd can
 * clear it and fill the counter. So use this only for eventfds that no less
 * trusted process has.
 */
void fd_event_signal(int efd);
/*
 * Reads an eventfd to zero without waiting, whatever its flags are. Return: 0
 * and *ret > 0; -EAGAIN if it is zero; -errno: not an eventfd.
 */
int fd_event_read(int efd, uint64_t *ret) must_check;
/* The same. Return: the count, 0 if there is none. */
uint64_t fd_event_drain(int efd);
/* Return: a new non-blocking close-on-exec eventfd or -errno. */
int fd_event_create(void) must_check;

int fd_set_nonblock(int fd, int on) must_check;

/**
 * fd_memfd_sealed() - memory shared with another process
 * @name: shown in /proc/PID/fd
 * @size: bytes
 * @flags: 0 or MFD_HUGETLB
 *
 * Sealed SHRINK, GROW and SEAL before it is returned, so that no peer can
 * make an access to it fault.
 * Return: fd or -errno.
 */
int fd_memfd_sealed(const char *name, uint64_t size,
		    unsigned int flags) must_check;

#endif
