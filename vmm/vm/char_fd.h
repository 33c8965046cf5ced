/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens what --serial and --console name: the fds a line of bytes comes from
 * and goes to. Main thread.
 *
 * Nobody who reads or writes them waits, nor changes flags of an open file that
 * the user's shell shares: each has an open file of our own that does not
 * block. Where there can be none (a socket, another user's terminal) a thread
 * copies between the user's file and a pipe of ours; it may wait, since it
 * holds nothing, and its filter lets it do nothing else. Regular files are
 * shared, for their offset.
 */
#ifndef TORPOR_VMM_VM_CHAR_FD_H
#define TORPOR_VMM_VM_CHAR_FD_H

#include <pthread.h>

#include "sandbox/jail.h"
#include "vmm/config/config.h"

struct char_relay {
	pthread_t thread;
	int from, to; /* the thread's own */
	struct jail_program jail;
	bool started;
};

struct char_fd {
	int in;	   /* owned; /dev/null if there is no input */
	int out;   /* owned; /dev/null if output is discarded */
	int slave; /* CHAR_PTY: open for our whole life; else -1 */
	struct char_relay in_relay, out_relay;
};

#define CHAR_FD_NONE                             \
	{                                        \
		.in = -1, .out = -1, .slave = -1 \
	}

/**
 * char_fd_open() - open a character back end
 * @option: "--serial", for messages
 * @sandbox: SANDBOX_OFF: a thread that copies is not narrowed
 * @ret: filled on failure too, for char_fd_close(); must not move
 *
 * CHAR_PTY logs the terminal's path and makes the symlink @cfg->path, replacing
 * an old symlink. CHAR_FILE appends. No open waits: a FIFO is kept open for
 * reading too, so that its reader may come later.
 * Return: 0 or -errno with @err naming option, path and remedy.
 */
int char_fd_open(const struct char_config *cfg, const char *option,
		 enum sandbox_mode sandbox, struct char_fd *ret,
		 struct err *err) must_check;

/* The link that is made to a CHAR_PTY; NULL: none is. */
static inline const char *char_fd_link(const struct char_config *cfg)
{
	return cfg->type == CHAR_PTY ? cfg->path : NULL;
}

/*
 * Closes it and removes the symlink of a CHAR_PTY. What was written is read
 * first, by whoever has the terminal open, as long as that goes on reading: a
 * second at most.
 */
void char_fd_close(const struct char_config *cfg, struct char_fd *fd);

#endif
