/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of device types under the suspend contract. */
#include "tests/contract/type.h"

#include "vmm/base/util.h"

const struct contract_type *const contract_types[] = {
	&contract_blk_uring, &contract_blk_threads, &contract_console,
	&contract_fs,	     &contract_net,	    &contract_rng,
	&contract_vsock,
};

const unsigned int contract_nr = ARRAY_SIZE(contract_types);
