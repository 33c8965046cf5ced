/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of a sleeping guest's network device share: the driver's way
 * to sleep and back, packets with a tag, and commands that set the filter.
 */
#ifndef TORPOR_TESTS_LIB_NET_WAKE_RIG_H
#define TORPOR_TESTS_LIB_NET_WAKE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/net_rig.h"

enum {
	PROMISC = 0,
	ALLMULTI = 1,
};

extern const uint8_t foreign[ETH_ALEN], second[ETH_ALEN], bcast[ETH_ALEN];
extern const uint8_t mcast[ETH_ALEN], other_mcast[ETH_ALEN];

/* As a stock driver does on its way to sleep, and when it is back. */
void driver_suspends(struct nic *t);
void driver_resumes(struct nic *t, unsigned int buffers);
/* Falls asleep, armed. */
void sleep_armed(struct nic *t);
bool woken(struct nic *t);
/* Return: false if the wire is full. */
bool wire_try(struct nic *t, const struct virtio_net_hdr_v1 *hdr,
	      const uint8_t *dest, size_t len, uint8_t tag);
void wire(struct nic *t, const uint8_t *dest, uint8_t tag);
/* The next packet the guest has got. Return: its tag, -1 if there is none. */
int next_tag(struct nic *t);
/* Return: the head of the command, which the device has looked at. */
uint16_t command_begin(struct nic *t, uint8_t class, uint8_t cmd,
		       const void *data, uint32_t len);
int command(struct nic *t, uint8_t class, uint8_t cmd, const void *data,
	    uint32_t len);
void set_mode(struct nic *t, uint8_t cmd, uint8_t on);
void set_mac(struct nic *t, const uint8_t *mac);
void set_tables(struct nic *t, const uint8_t *uc, uint32_t nr_uc,
		const uint8_t *mc, uint32_t nr_mc);
/* What Linux sends when an interface is opened. */
void linux_opens(struct nic *t);

#endif
