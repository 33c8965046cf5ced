/* SPDX-License-Identifier: BSD-3-Clause */
/* MAC addresses, as six bytes and as text. No state. */
#ifndef TORPOR_VMM_BASE_MAC_H
#define TORPOR_VMM_BASE_MAC_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/util.h"

#define MAC_BYTES      6
#define MAC_TEXT_BYTES 18 /* with its NUL */

/* "02:00:00:00:00:01", hex digits of either case. Return: 0 or -EINVAL. */
int mac_parse(const char *text, uint8_t ret[MAC_BYTES]) must_check;
void mac_format(const uint8_t mac[MAC_BYTES], char ret[MAC_TEXT_BYTES]);
/* A random unicast address, locally administered. Return: 0 or -errno. */
int mac_random(uint8_t ret[MAC_BYTES]) must_check;
/* Multicast or broadcast: not the address of one NIC. */
bool mac_is_group(const uint8_t mac[MAC_BYTES]);
bool mac_is_zero(const uint8_t mac[MAC_BYTES]);

#endif
