/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device process says. It holds the write end of a pipe of its own and
 * no descriptor of the log: it can neither read what is there nor take it
 * away, send no control sequence to a terminal and let nobody wait. Who made
 * it, the spawner or torpor-device --socket, reads the pipe, puts the name that
 * it knows before each line, and leaves out what is more than a log can bear.
 *
 * On the loop's thread.
 */
#ifndef TORPOR_SANDBOX_DEVICE_LOG_H
#define TORPOR_SANDBOX_DEVICE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/log.h"
#include "vmm/base/loop.h"
#include "vmm/base/util.h"

/* Zero-initialise with fd and src.fd = -1. */
struct device_log {
	struct loop *loop;
	struct loop_source src;
	struct loop_timer pause;
	int fd;
	char name[16];
	uint64_t budget;    /* bytes that may be logged now */
	uint64_t filled_ns; /* when it was last added to */
	uint64_t left_out;  /* lines, since the budget was used up */
	size_t len;	    /* of a line that has no end yet */
	char line[LOG_LINE_MAX];
};

/**
 * device_log_open() - make the pipe and watch it
 * @name: before each line, copied, at most 15 bytes
 *
 * Return: the device's end, non-blocking, for the caller to pass and close;
 * -errno.
 */
int device_log_open(struct device_log *log, struct loop *loop,
		    const char *name) must_check;

/* Logs what is in the pipe now, no more than it can hold. */
void device_log_drain(struct device_log *log);

/* The same; a last line without an end too. Closes it. Idempotent. */
void device_log_finish(struct device_log *log);

#endif
