/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device process finds open, between the spawner and torpor-device. */
#ifndef TORPOR_SANDBOX_DEVICE_FDS_H
#define TORPOR_SANDBOX_DEVICE_FDS_H

/*
 * The fds of a device process, by fixed number. The spawner dup2()s them to
 * these places before the exec and closes everything else. Back-end fds (disk
 * image, tap, console in and out) follow from DEVFD_BACKEND on.
 */
enum devfd {
	DEVFD_NULL_IN = 0, /* /dev/null; an empty fd would be reused */
	DEVFD_NULL_OUT = 1,
	DEVFD_LOG = 2,	   /* write end of a pipe: sandbox/device_log.h */
	DEVFD_VHOST = 3,   /* vhost-user socket, stream */
	DEVFD_CTL = 4,	   /* control channel, seqpacket */
	DEVFD_REGPAGE = 5, /* memfd of one page */
	DEVFD_WAKE = 6,	   /* eventfd */
	DEVFD_SPAWNER = 7, /* socket on which the seccomp listener is handed
			      over; closed before the device serves */
	DEVFD_BACKEND = 8,
};

#endif
