/* SPDX-License-Identifier: BSD-3-Clause */
#include "arch/x86_64/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"

/* The kernel transfers at most 2 GiB less a page in one read. */
#define READ_MAX (1ULL << 30)

int image_open(struct image *img, const char *what, const char *path,
	       struct err *err)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;

	*img = (struct image){ .fd = -1, .what = what, .path = path };
	/* Non-blocking, so that a FIFO is refused below and not waited for. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		int r = -errno;

		return err_usage(
			err, r,
			"%s '%s' cannot be opened: %s; give the path of "
			"a file this user may read",
			what, path, strerror(-r));
	}
	if (fstat(fd, &st) < 0)
		return err_usage_errno(
			err, -errno, "%s '%s' cannot be examined", what, path);
	if (!S_ISREG(st.st_mode))
		return err_usage(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
				 "%s '%s' is not a regular file; give the path "
				 "of the image itself",
				 what, path);
	if (st.st_size == 0)
		return err_usage(err, -EINVAL,
				 "%s '%s' is empty; give a complete image",
				 what, path);
	img->size = (uint64_t)st.st_size;
	img->fd = TAKE_FD(fd);
	return 0;
}

void image_close(struct image *img)
{
	fd_close(&img->fd);
}

static int truncated(const struct image *img, uint64_t offset, uint64_t len,
		     const char *part, struct err *err)
{
	return err_usage(err, -EINVAL,
			 "%s '%s' is truncated: its %s needs %" PRIu64
			 " bytes at offset %" PRIu64 ", the file has %" PRIu64
			 "; get a complete copy",
			 img->what, img->path, part, len, offset, img->size);
}

int image_read(const struct image *img, uint64_t offset, void *buf,
	       uint64_t len, const char *part, struct err *err)
{
	uint64_t done = 0;

	if (offset > img->size || len > img->size - offset)
		return truncated(img, offset, len, part, err);
	while (done < len) {
		ssize_t n = pread(img->fd, (uint8_t *)buf + done,
				  MIN(len - done, READ_MAX),
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_usage_errno(err, -errno,
					       "%s '%s': %s cannot be read",
					       img->what, img->path, part);
		if (n == 0) /* It shrank since it was opened. */
			return truncated(img, offset, len, part, err);
		done += (uint64_t)n;
	}
	return 0;
}

int image_load(const struct image *img, uint64_t offset, uint64_t len,
	       const struct gmem *gm, uint64_t gpa, const char *part,
	       struct err *err)
{
	void *hva;

	if (len == 0)
		return 0;
	if (gmem_span(gm, gpa, len, &hva) < 0)
		return err_usage(err, -EFAULT,
				 "%s '%s': %s (%" PRIu64 " bytes at 0x%" PRIx64
				 ") lies outside guest memory; raise --mem",
				 img->what, img->path, part, len, gpa);
	return image_read(img, offset, hva, len, part, err);
}
