/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends packets out of an interface that has no address: broadcast frames of
 * the type for local experiments.
 *
 *	send_packets INTERFACE TIMES
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define ETH_TYPE  0x88b5
#define FRAME_LEN 60
#define GAP_NS	  4000000 /* the guest is done with one before the next */

int main(int argc, char **argv)
{
	const struct timespec gap = { .tv_nsec = GAP_NS };
	unsigned char frame[FRAME_LEN] = { 0 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = 6 };
	int sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	unsigned long n = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

	to.sll_ifindex = n ? (int)if_nametoindex(argv[1]) : 0;
	if (sock < 0 || to.sll_ifindex == 0) {
		(void)fprintf(stderr, "usage: send_packets INTERFACE TIMES\n");
		return 2;
	}
	memset(frame, 0xff, 6);
	frame[6] = 2; /* a local address of no one */
	frame[12] = ETH_TYPE >> 8;
	frame[13] = ETH_TYPE & 0xff;
	for (; n > 0; n--) {
		if (sendto(sock, frame, sizeof(frame), 0,
			   (const struct sockaddr *)&to, sizeof(to)) < 0) {
			perror("send_packets");
			return 1;
		}
		(void)nanosleep(&gap, NULL);
	}
	return 0;
}
