/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control channel between the VMM and its own device process: a
 * SOCK_SEQPACKET pair, one struct devctl_msg per packet, for messages that
 * vhost-user lacks. It is absent with external back ends and with --socket.
 * Neither side trusts the other. The device drops a packet of another size,
 * with fds or of an unknown type, and logs it. The VMM ends the process for
 * such a packet, for an unsolicited acknowledgement, and when the channel
 * closes.
 */
#ifndef TORPOR_VIRTIO_DEVCTL_H
#define TORPOR_VIRTIO_DEVCTL_H

#include <stdint.h>

enum devctl_type {
	/*
	 * VMM -> device. The device starts (arg 1) or stops (arg 0) to watch
	 * for events that wake the guest. Valid in reset, quiesced and live
	 * states. On arming the device tests for pending data first; it writes
	 * its wake eventfd at most once per arming and keeps the event (a
	 * packet, for the guest). Acknowledged by DEVCTL_ACK with the same
	 * generation; a message with an older generation than the last is
	 * ignored.
	 *
	 * The VMM sends the next message once it has the acknowledgement, and
	 * then lets the guest's _DSW return: data that a live device delivers
	 * without a wake-up came before that. A process that does not
	 * acknowledge within 15 s counts as hung.
	 */
	DEVCTL_WAKE_ARM = 1,
	DEVCTL_LOG_LEVEL = 2, /* VMM -> device, arg = enum log_level */
	DEVCTL_ACK = 3,	      /* device -> VMM, arg = type acknowledged */
	/*
	 * device -> VMM, unsolicited: config space has changed (the driver set
	 * a MAC address by the control queue, the tap is gone). The VMM reads
	 * it by GET_CONFIG, publishes it and notifies the driver. The device
	 * counts generations from 1, and sends the next one only after the last
	 * was published. Without this channel a front end reads config space at
	 * any time.
	 */
	DEVCTL_CONFIG_CHANGED = 4,
	/*
	 * VMM -> device: the driver now reads all changes of CONFIG_CHANGED up
	 * to this generation. While the device is stopped or suspended the VMM
	 * publishes nothing; this message comes after the restart. Not
	 * acknowledged.
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
