/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel or initrd file: opened once, its size taken once, every read
 * checked against that size. Main thread, before the guest runs. Errors name
 * the file, what is wrong and the remedy.
 */
#ifndef TORPOR_ARCH_X86_64_IMAGE_H
#define TORPOR_ARCH_X86_64_IMAGE_H

#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/base/gmem.h"
#include "vmm/base/util.h"

struct image {
	int fd;		  /* owned; -1 when closed */
	const char *what; /* "kernel" or "initrd", for messages */
	const char *path; /* borrowed */
	uint64_t size;	  /* bytes, > 0 */
};

/**
 * image_open() - open a file that will be read into guest memory
 *
 * Refuses what is not a regular file and what is empty.
 * Return: 0 or -errno with @err.
 */
int image_open(struct image *img, const char *what, const char *path,
	       struct err *err) must_check;
void image_close(struct image *img);
#define _cleanup_image_ _cleanup_(image_close)

/**
 * image_read() - read a piece of the file
 * @part: what it is, for the message ("setup header")
 *
 * Return: 0; -EINVAL if the file ends before @offset + @len; -errno.
 */
int image_read(const struct image *img, uint64_t offset, void *buf,
	       uint64_t len, const char *part, struct err *err) must_check;

/**
 * image_load() - read a piece of the file into guest memory
 * @gpa: @len bytes from here are in one region of RAM, or it is an error
 *
 * Return: 0; -EINVAL if the file is too short; -EFAULT outside RAM; -errno.
 */
int image_load(const struct image *img, uint64_t offset, uint64_t len,
	       const struct gmem *gm, uint64_t gpa, const char *part,
	       struct err *err) must_check;

#endif
