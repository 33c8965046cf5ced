/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What makes a file fit to be a disk, for the VMM (vmm/vm/disk_image.c) and for
 * torpor-device by hand alike: its lock, and what its first bytes say. Any
 * thread.
 */
#ifndef TORPOR_VIRTIO_BLK_IMAGE_H
#define TORPOR_VIRTIO_BLK_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

/* Bytes of an image's start that tell its format. */
#define BLK_IMAGE_HEAD 4096U

/*
 * A writable image is one user's, a read-only one may be shared by readers.
 * Return: 0; -EWOULDBLOCK others use it otherwise; -errno.
 */
int blk_image_lock(int fd, bool ro) must_check;

/* Return: "qcow2" and the like; NULL: nothing but a raw disk is known. */
const char *blk_image_format(const void *head, size_t len_bytes);

/**
 * blk_image_check() - refuse what is not a raw disk
 * @fd: readable, a regular file or block device, also with O_DIRECT
 * @name: for messages
 * @raw: the user says that it is one, whatever its first bytes
 * @ro: it is not written to
 *
 * Return: 0, or -EINVAL with @err naming the format and the remedy, or that
 * not one sector is there; -EFBIG it could not be written to its end; or
 * another -errno with @err.
 */
int blk_image_check(int fd, const char *name, bool raw, bool ro,
		    struct err *err) must_check;

#endif
