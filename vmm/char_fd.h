/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens what --serial and --console name: the fds a line of bytes comes from
 * and goes to. Main thread.
 */
#ifndef TORPOR_VMM_CHAR_FD_H
#define TORPOR_VMM_CHAR_FD_H

#include "vmm/config.h"

/**
 * char_fd_open() - open a character back end
 * @option: "--serial", for messages
 * @ret_in: fd to read from; /dev/null if there is no input
 * @ret_out: fd to write to; /dev/null if output is discarded
 *
 * Both are the caller's. CHAR_PTY logs the terminal's path and makes the
 * symlink @cfg->path, replacing an old symlink.
 * Return: 0 or -errno with @err naming option, path and remedy.
 */
int char_fd_open(const struct char_config *cfg, const char *option, int *ret_in,
		 int *ret_out, struct err *err) must_check;

/* Removes the symlink of a CHAR_PTY. */
void char_fd_cleanup(const struct char_config *cfg);

#endif
