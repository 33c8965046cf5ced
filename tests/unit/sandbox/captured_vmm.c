/* SPDX-License-Identifier: BSD-3-Clause */
/* What a VMM that has been taken over can ask of its spawner. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/probe_rig.h"
#include "vmm/base/fd.h"

/* It has devices made again, and no others. */
AS_BOTH_USERS(captured_vmm, has_devices_made_that_there_were)
{
	struct vmm v;
	int dir;

	vmm_start(&v, *who, STDERR_FILENO, false);
	dir = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	vmm_probe(&v, "blk", NULL, -1, "argv jail");
	cr_assert(zero(int, spawner_seal(v.sp)));
	vmm_probe(&v, "blk", NULL, -1, "argv jail");
	cr_assert(eq(int, vmm_spawn(&v, "blk", NULL, -1, "argv"), -EPERM));
	cr_assert(eq(int, vmm_spawn(&v, "net", NULL, -1, "argv jail"), -EPERM));
	cr_assert(eq(int, vmm_spawn(&v, "blk", "/tmp", dir, "argv jail"),
		     -EPERM));
	(void)close(dir);
	vmm_finish(&v);
}

/* It asks and does not listen. */
AS_BOTH_USERS(captured_vmm, that_reads_no_reply_is_left)
{
	struct pollfd pfd;
	struct vmm v;
	int error;

	vmm_start(&v, *who, STDERR_FILENO, false);
	pfd = (struct pollfd){ .fd = spawner_fd(v.sp), .events = POLLOUT };
	for (;;) {
		if (send(pfd.fd, "xx", 2, MSG_DONTWAIT | MSG_NOSIGNAL) == 2)
			continue;
		error = errno;
		if (error != EAGAIN)
			break;
		cr_assert(eq(int, poll(&pfd, 1, WAIT_MS), 1),
			  "the spawner waits for us");
	}
	cr_assert(error == EPIPE || error == ECONNRESET);
	vmm_finish(&v);
}

AS_BOTH_USERS(captured_vmm, gets_a_limited_number_of_processes)
{
	int ctls[SPAWN_MAX_DEVICES];
	struct vmm v;

	vmm_start(&v, *who, STDERR_FILENO, false);
	for (size_t i = 0; i < SPAWN_MAX_DEVICES; i++) {
		cr_assert(zero(int, vmm_spawn(&v, "rng", NULL, -1, "")));
		ctls[i] = TAKE_FD(v.ctl);
	}
	cr_assert(eq(int, vmm_spawn(&v, "rng", NULL, -1, ""), -EUSERS));
	for (size_t i = 0; i < SPAWN_MAX_DEVICES; i++)
		(void)close(ctls[i]);
	vmm_finish(&v);
}
