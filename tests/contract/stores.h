/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each store of this process to the rig's register page, seen one by one: the
 * page is read-only, and an instruction that writes to it is stepped over. No
 * two threads may write to it meanwhile. What the device's process writes is
 * not seen, that has its own mapping. x86-64.
 */
#ifndef TORPOR_TESTS_CONTRACT_STORES_H
#define TORPOR_TESTS_CONTRACT_STORES_H

#include <stdint.h>

void stores_begin(void);
/* Return: how often Status has changed; its values, @max of them at most. */
unsigned int stores_end(uint32_t *ret, unsigned int max);

#endif
