/* SPDX-License-Identifier: BSD-3-Clause */
/* Images of the block device: formats, sizes, locks. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/lib/blk_rig.h"
#include "virtio/blk/image.h"
#include "vmm/base/fd.h"

BOTH_ENGINES(the_lock_of_the_image_goes_with_the_device)
{
	struct disk d;
	int fd;

	disk_open(&d, engine_word(*engine), NULL, BASIC);
	cr_assert(eq(int, request(&d, VIRTIO_BLK_T_FLUSH, 0, 0), 0));
	fd = open(d.path, O_RDWR | O_CLOEXEC);
	cr_assert(lt(int, flock(fd, LOCK_EX | LOCK_NB), 0), "it is locked");
	front_finish(&d.f);
	virtio_blk_ops.destroy(d.dev);
	/* Not eventually: at once. A stale ring would keep it. */
	cr_assert(zero(int, flock(fd, LOCK_EX | LOCK_NB)));
	(void)close(fd);
	(void)unlink(d.path);
	(void)close(d.fd);
}

Test(blk, an_image_in_use_is_refused, .timeout = 120)
{
	struct virtio_dev *dev = NULL;
	struct disk d = { 0 };
	struct loop loop;
	char *args[] = { d.path_word, NULL };

	cr_assert(zero(int, loop_init(&loop)));
	image_make(&d, 4096);
	cr_assert(zero(int, flock(d.fd, LOCK_EX)));
	cr_assert(eq(int,
		     virtio_blk_ops.create(&loop, args, virtio_no_fds, &dev),
		     -EWOULDBLOCK));
	(void)unlink(d.path);
	loop_finish(&loop);
}

/* Creates a disk by hand from an image of @len bytes. Return: the result. */
static int by_hand(const void *bytes, size_t len, bool raw, uint64_t *sectors)
{
	static char word[] = "format=raw";
	struct virtio_blk_config config;
	struct virtio_dev *dev = NULL;
	struct disk d = { 0 };
	char *args[] = { d.path_word, raw ? word : NULL, NULL };
	struct loop loop;
	int r;

	cr_assert(zero(int, loop_init(&loop)));
	image_make(&d, 0);
	cr_assert(zero(int, fd_write_all(d.fd, bytes, len)));
	r = virtio_blk_ops.create(&loop, args, virtio_no_fds, &dev);
	if (r == 0) {
		memcpy(&config, dev->config, sizeof(config));
		*sectors = config.capacity;
	}
	virtio_blk_ops.destroy(dev);
	(void)unlink(d.path);
	(void)close(d.fd);
	loop_finish(&loop);
	return r;
}

Test(blk, an_image_of_no_whole_sectors_loses_its_tail_or_is_refused,
     .timeout = 120)
{
	static const uint8_t zeroes[2000];
	uint64_t sectors = 0;

	cr_assert(eq(int, by_hand(zeroes, 0, false, &sectors), -EINVAL));
	cr_assert(eq(int, by_hand(zeroes, 511, false, &sectors), -EINVAL));
	cr_assert(eq(int, by_hand(zeroes, 511, true, &sectors), -EINVAL));
	cr_assert(zero(int, by_hand(zeroes, 512, false, &sectors)));
	cr_assert(eq(u64, sectors, 1));
	cr_assert(zero(int, by_hand(zeroes, 2000, false, &sectors)));
	cr_assert(eq(u64, sectors, 3));
}

Test(blk, formats_that_are_not_raw_are_known, .timeout = 120)
{
	static const struct {
		const char *name, *bytes;
		size_t offset, len;
	} heads[] = {
		{ "qcow2", "QFI\xfb", 0, 4 },
		{ "qed", "QED\0", 0, 4 },
		{ "vmdk", "KDMV", 0, 4 },
		{ "vmdk", "# Disk DescriptorFile", 0, 21 },
		{ "vdi", "\x7f\x10\xda\xbe", 64, 4 },
		{ "vhdx", "vhdxfile", 0, 8 },
		{ "vpc", "conectix", 0, 8 },
		{ "parallels", "WithoutFreeSpace", 0, 16 },
		{ "gzip", "\x1f\x8b\x08", 0, 3 },
		{ "xz", "\xfd\x37zXZ\0", 0, 6 },
		{ "zstd", "\x28\xb5\x2f\xfd", 0, 4 },
	};
	uint64_t sectors = 0;

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		uint8_t buf[1024] = { 0 };
		const char *name;

		memcpy(buf + heads[i].offset, heads[i].bytes, heads[i].len);
		name = blk_image_format(buf, sizeof(buf));
		cr_assert(name != NULL, "%s", heads[i].name);
		cr_assert(zero(int, strcmp(name, heads[i].name)), "%s", name);
		/* Not from less than all of it. */
		name = blk_image_format(buf,
					heads[i].offset + heads[i].len - 1);
		cr_assert(name == NULL, "%s", heads[i].name);
		cr_assert(eq(int, by_hand(buf, sizeof(buf), false, &sectors),
			     -EINVAL),
			  "%s", heads[i].name);
		cr_assert(zero(int, by_hand(buf, sizeof(buf), true, &sectors)));
		cr_assert(eq(u64, sectors, 2));
	}
}

Test(blk, raw_disks_are_taken_for_what_they_are, .timeout = 120)
{
	uint8_t buf[BLK_IMAGE_HEAD] = { 0 };

	cr_assert(blk_image_format(buf, sizeof(buf)) == NULL);
	memcpy(buf + 510, "\x55\xaa", 2);
	memcpy(buf + 512, "EFI PART", 8);
	cr_assert(blk_image_format(buf, sizeof(buf)) == NULL);
	memcpy(buf, "LUKS\xba\xbe", 6);
	cr_assert(blk_image_format(buf, sizeof(buf)) == NULL);
	memset(buf, 'Q', sizeof(buf));
	cr_assert(blk_image_format(buf, sizeof(buf)) == NULL);
	cr_assert(blk_image_format(buf, 0) == NULL);
}

/* As under the VMM: vmm/vm/disk_image.h. */
Test(blk, a_read_only_image_is_shared_by_readers, .timeout = 120)
{
	static char word[] = "ro";
	struct virtio_dev *a = NULL, *b = NULL, *c = NULL;
	struct disk d = { 0 };
	char *args[] = { d.path_word, word, NULL };
	struct loop loop;

	cr_assert(zero(int, loop_init(&loop)));
	image_make(&d, 4096);
	cr_assert(zero(int,
		       virtio_blk_ops.create(&loop, args, virtio_no_fds, &a)));
	cr_assert(zero(int,
		       virtio_blk_ops.create(&loop, args, virtio_no_fds, &b)));
	args[1] = NULL;
	cr_assert(eq(int, virtio_blk_ops.create(&loop, args, virtio_no_fds, &c),
		     -EWOULDBLOCK));
	virtio_blk_ops.destroy(a);
	virtio_blk_ops.destroy(b);
	(void)unlink(d.path);
	(void)close(d.fd);
	loop_finish(&loop);
}
