/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control channel between the VMM and a device process of its own: a
 * SOCK_SEQPACKET pair, one struct devctl_msg a packet, for what vhost-user has
 * no message for. Absent with foreign back ends and with --socket. Neither
 * side trusts the other. The device drops a packet of another size, with fds or
 * of an unknown type, and logs it. To the VMM such a packet is the end of the
 * process, as are an acknowledgement of what was not asked and the channel's
 * end.
 */
#ifndef TORPOR_VIRTIO_DEVCTL_H
#define TORPOR_VIRTIO_DEVCTL_H

#include <stdint.h>

enum devctl_type {
	/*
	 * VMM -> device. The device watches for what would wake the guest
	 * (arg 1) or stops to (arg 0). Valid in reset, quiesced and live
	 * states. On arming the device tests for pending data first; it writes
	 * its wake eventfd at most once per arming and keeps the event (a
	 * packet, for the guest). Acknowledged by DEVCTL_ACK with the same
	 * generation; a message with an older generation than the last is
	 * ignored.
	 *
	 * The VMM sends the next one when it has the acknowledgement, and lets
	 * the guest's _DSW return then: what a live device delivers without a
	 * wake-up came before that. A process that does not acknowledge in 15 s
	 * is hung.
	 */
	DEVCTL_WAKE_ARM = 1,
	DEVCTL_LOG_LEVEL = 2, /* VMM -> device, arg = enum log_level */
	DEVCTL_ACK = 3,	      /* device -> VMM, arg = type acknowledged */
	/*
	 * device -> VMM, unasked: config space has changed (the driver set a
	 * MAC address by the control queue, the tap is gone). The VMM reads it
	 * by GET_CONFIG, publishes it and notifies the driver. Generations are
	 * the device's own, from 1; the next one is not said before the last
	 * was published. Without this channel a front end reads config space
	 * when it likes.
	 */
	DEVCTL_CONFIG_CHANGED = 4,
	/*
	 * VMM -> device: what CONFIG_CHANGED up to this generation told of is
	 * what the driver reads. While the device is stopped or suspended the
	 * VMM publishes nothing: this comes when it has been started again.
	 * Not acknowledged.
	 */
	DEVCTL_CONFIG_PUBLISHED = 5,
};

struct devctl_msg {
	uint32_t type; /* enum devctl_type */
	uint32_t generation;
	uint64_t arg;
};

_Static_assert(sizeof(struct devctl_msg) == 16, "wire format");

#endif
