/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm/base/mac.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define GROUP_BIT 0x01
#define LOCAL_BIT 0x02

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mac_parse(const char *text, uint8_t ret[MAC_BYTES])
{
	uint8_t mac[MAC_BYTES];

	if (strlen(text) != MAC_TEXT_BYTES - 1)
		return -EINVAL;
	for (int i = 0; i < MAC_BYTES; i++, text += 3) {
		int high = hex_digit(text[0]), low = hex_digit(text[1]);

		if (high < 0 || low < 0 ||
		    text[2] != (i == MAC_BYTES - 1 ? '\0' : ':'))
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

void mac_format(const uint8_t mac[MAC_BYTES], char ret[MAC_TEXT_BYTES])
{
	(void)snprintf(ret, MAC_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x",
		       mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

int mac_random(uint8_t ret[MAC_BYTES])
{
	if (getrandom(ret, MAC_BYTES, 0) != MAC_BYTES)
		return -errno;
	ret[0] = (uint8_t)((ret[0] & ~GROUP_BIT) | LOCAL_BIT);
	return 0;
}

bool mac_is_group(const uint8_t mac[MAC_BYTES])
{
	return mac[0] & GROUP_BIT;
}

bool mac_is_zero(const uint8_t mac[MAC_BYTES])
{
	static const uint8_t zero[MAC_BYTES];

	return !memcmp(mac, zero, MAC_BYTES);
}
