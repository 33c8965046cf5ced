/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk image and the fence around it. A killed device process may still
 * have I/O in flight in the kernel, which writes guest memory and the image
 * seconds later; what it holds until then is the open file description. So
 * each incarnation of a device gets a description of its own with locks on
 * it, and the locks are gone only when nothing is in flight:
 *
 * - flock: exclusive for a writable image, shared for a read-only one, which
 *   also keeps two VMs from writing one image;
 * - for read-only images, whose shared lock others may hold too, a byte-range
 *   lock of the description (F_OFD_SETLK) on a byte nobody else uses.
 *
 * Main loop only.
 */
#ifndef TORPOR_VMM_VM_DISK_IMAGE_H
#define TORPOR_VMM_VM_DISK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/base/util.h"

struct disk_image {
	int path_fd; /* O_PATH: names the file, holds no description of it */
	bool ro;
	bool direct;	/* O_DIRECT */
	uint64_t token; /* the byte locked, if read-only */
};

/* Remembers the file. Return: 0 or -errno with @err naming path and remedy. */
int disk_image_init(struct disk_image *img, const char *path, bool ro,
		    bool direct, struct err *err) must_check;
void disk_image_finish(struct disk_image *img);

/**
 * disk_image_open() - a new locked description
 *
 * Return: fd, the caller's, or -errno with @err; -EWOULDBLOCK if another
 * process uses the image.
 */
int disk_image_open(struct disk_image *img, const char *path,
		    struct err *err) must_check;

/* Whether both are one file or one block device, by whatever names. */
bool disk_image_same(const struct disk_image *a, const struct disk_image *b);

/* Return: 1 nothing of a former description is left; 0 not yet; -errno. */
int disk_image_fenced(struct disk_image *img) must_check;

#endif
