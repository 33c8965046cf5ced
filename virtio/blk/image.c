/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "virtio/blk/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/blk/blk.h"

struct magic {
	const char *name;
	unsigned int offset;
	unsigned int len;
	const char *bytes;
	bool packed; /* a compressed file, which qemu-img does not read */
};

#define MAGIC(name, offset, text)                           \
	{                                                   \
		name, offset, sizeof(text) - 1, text, false \
	}
#define PACKED(name, text)                            \
	{                                             \
		name, 0, sizeof(text) - 1, text, true \
	}

/* None of them is the start of a boot sector, a GPT or a file system. */
static const struct magic magics[] = {
	MAGIC("qcow2", 0, "QFI\xfb"),
	MAGIC("qed", 0, "QED\0"),
	MAGIC("vmdk", 0, "KDMV"),
	MAGIC("vmdk", 0, "COWD"),
	MAGIC("vmdk", 0, "# Disk DescriptorFile"),
	MAGIC("vdi", 0x40, "\x7f\x10\xda\xbe"),
	MAGIC("vhdx", 0, "vhdxfile"),
	MAGIC("vpc", 0, "conectix"),
	MAGIC("parallels", 0, "WithoutFreeSpace"),
	MAGIC("parallels", 0, "WithouFreSpacExt"),
	PACKED("gzip", "\x1f\x8b\x08"),
	PACKED("xz", "\xfd"
		     "7zXZ\0"),
	PACKED("zstd", "\x28\xb5\x2f\xfd"),
};

static const struct magic *find(const uint8_t *head, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct magic *m = &magics[i];

		if (m->offset + m->len <= len &&
		    memcmp(head + m->offset, m->bytes, m->len) == 0)
			return m;
	}
	return NULL;
}

const char *blk_image_format(const void *head, size_t len_bytes)
{
	const struct magic *m = find(head, len_bytes);

	return m ? m->name : NULL;
}

int blk_image_lock(int fd, bool ro)
{
	return flock(fd, (ro ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0 ? -errno : 0;
}

/* The limit counts where a write is, not whether the file grows. */
static int check_limit(int fd, const char *name, struct err *err)
{
	struct rlimit l;
	struct stat st;

	if (fstat(fd, &st) < 0 || getrlimit(RLIMIT_FSIZE, &l) < 0)
		return err_set_errno(err, -errno, "%s", name);
	if (!S_ISREG(st.st_mode) || (rlim_t)st.st_size <= l.rlim_max)
		return 0;
	return err_usage(err, -EFBIG,
			 "%s: larger than the file size limit (ulimit -Hf, "
			 "%llu bytes); raise that limit, or give it read-only",
			 name, (unsigned long long)l.rlim_max);
}

int blk_image_check(int fd, const char *name, bool raw, bool ro,
		    struct err *err)
{
	_cleanup_free_ uint8_t *head =
		aligned_alloc(BLK_DIRECT_ALIGN, BLK_IMAGE_HEAD);
	const struct magic *m;
	ssize_t n;

	if (!head)
		return err_set_errno(err, -ENOMEM, "%s", name);
	do {
		n = pread(fd, head, BLK_IMAGE_HEAD, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set_errno(err, -errno, "%s: cannot read it", name);
	m = raw ? NULL : find(head, (size_t)n);
	if (m && m->packed)
		return err_usage(
			err, -EINVAL,
			"%s: compressed by %s, but only raw images are "
			"supported; unpack it, or give format=raw",
			name, m->name);
	if (m)
		return err_usage(
			err, -EINVAL,
			"%s: a %s image, but only raw images are "
			"supported; convert it (qemu-img convert -f %s -O "
			"raw), serve it with qemu-storage-daemon and "
			"--vhost-user, or give format=raw",
			name, m->name, m->name);
	if (n < (ssize_t)BLK_SECTOR)
		return err_usage(err, -EINVAL,
				 "%s: %zd bytes, less than a sector of %u; set "
				 "its size with truncate -s SIZE",
				 name, n, BLK_SECTOR);
	return ro ? 0 : check_limit(fd, name, err);
}
