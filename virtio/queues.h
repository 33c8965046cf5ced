/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Number and size of the virtqueues of each device type: what its process
 * serves and what the VMM offers the guest have to be the same.
 */
#ifndef TORPOR_VIRTIO_QUEUES_H
#define TORPOR_VIRTIO_QUEUES_H

#define BLK_NR_QUEUES  1U
#define BLK_QUEUE_SIZE 256U /* entries */

#define NET_NR_QUEUES  3U /* receive, transmit, control */
#define NET_QUEUE_SIZE 256U

#define CONSOLE_NR_QUEUES  2U /* receive, transmit of port 0 */
#define CONSOLE_QUEUE_SIZE 64U

#define FS_NR_QUEUES  2U /* high priority, requests */
#define FS_QUEUE_SIZE 512U
#define FS_TIMEOUT_S  5U /* default, of names and attributes in the guest */

#define RNG_NR_QUEUES  1U
#define RNG_QUEUE_SIZE 64U

#define VSOCK_NR_QUEUES	 3U /* receive, transmit, event */
#define VSOCK_QUEUE_SIZE 256U

#endif
