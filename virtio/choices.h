/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Choices that the user makes of a device type. The VMM reads the word of its
 * option, and hands the same word to the device's process.
 */
#ifndef TORPOR_VIRTIO_CHOICES_H
#define TORPOR_VIRTIO_CHOICES_H

/* What does the host's I/O of a disk. */
enum blk_engine_choice {
	BLK_ENGINE_AUTO, /* io_uring where it can be used */
	BLK_ENGINE_URING,
	BLK_ENGINE_THREADS
};
extern const char *const blk_engine_words[];

/* What the guest may keep of a shared directory. */
enum fs_cache {
	FS_CACHE_NEVER,
	FS_CACHE_AUTO,
	FS_CACHE_ALWAYS
};
extern const char *const fs_cache_words[];

#endif
