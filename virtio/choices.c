/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/choices.h"

#include <stddef.h>

const char *const blk_engine_words[] = {
	[BLK_ENGINE_AUTO] = "auto",
	[BLK_ENGINE_URING] = "uring",
	[BLK_ENGINE_THREADS] = "threads",
	NULL,
};

const char *const fs_cache_words[] = {
	[FS_CACHE_NEVER] = "never",
	[FS_CACHE_AUTO] = "auto",
	[FS_CACHE_ALWAYS] = "always",
	NULL,
};
