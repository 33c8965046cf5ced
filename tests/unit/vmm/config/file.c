/* SPDX-License-Identifier: BSD-3-Clause */
/* A VM described in a JSON file, beside options. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/config_rig.h"
#include "tests/lib/text.h"

static struct err err; /* of the last PARSE() */

TestSuite(config, .init = config_setup, .fini = config_teardown,
	  .timeout = 120);

/* Parses @text as a file. */
static int parse_text(const char *text)
{
	char path[64];
	int fd = memfd_create("cfg", MFD_CLOEXEC), r;

	cr_assert(eq(i64, write(fd, text, strlen(text)), strlen(text)));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_parse_file(&cfg, path, &err);
	close(fd);
	return r;
}

Test(config, a_file_has_the_same_keys)
{
	cr_assert(eq(int,
		     parse_text(
			     "{\n"
			     "  \"kernel\": \"vmlinuz\",\n"
			     "  \"mem\": \"1G\", \"cpus\": 2,\n"
			     "  \"params\": [\"quiet\", \"ro\"],\n"
			     "  \"no-rng\": true, \"hugepages\": false,\n"
			     "  \"block\": [\"a.img,ro\",\n"
			     "    {\"path\": \"b,c.img\", \"o_direct\": true,\n"
			     "     \"id\": 7}],\n"
			     "  \"net\": [{\"tap-name\": \"tap0\",\n"
			     "    \"wake\": \"unicast\"},\n"
			     "    {\"tap-name\": \"tap1\",\n"
			     "    \"wake\": \"filter\"}],\n"
			     "  \"serial\": \"type=none\",\n"
			     "  \"shared-dir\": [\"/a:one:cache=never\",\n"
			     "    {\"path\": \"/b:c\", \"tag\": \"two\",\n"
			     "     \"timeout\": 0, \"writeback\": true}],\n"
			     "  \"console\": [{\"type\": \"stdio\"}],\n"
			     "  \"cpu\": {\"invtsc\": \"off\"}\n"
			     "}\n"),
		     0),
		  "%s", err.msg);
	cr_assert(same(cfg.kernel, "vmlinuz"));
	cr_assert(eq(u64, cfg.mem_mib, 1024));
	cr_assert(eq(u32, cfg.cpus, 2));
	cr_assert(same(cfg.params, "quiet ro"));
	cr_assert(eq(int, cfg.rng, 0));
	cr_assert(eq(u32, cfg.nr_blocks, 2));
	cr_assert(eq(int, cfg.blocks[0].ro, 1));
	cr_assert(same(cfg.blocks[1].path, "b,c.img"));
	cr_assert(same(cfg.blocks[1].id, "7"));
	cr_assert(eq(int, cfg.blocks[1].o_direct, 1));
	cr_assert(same(cfg.nets[0].tap_name, "tap0"));
	cr_assert(eq(int, cfg.nets[0].wake_unicast, 1));
	cr_assert(eq(int, cfg.nets[1].wake_unicast, 0));
	cr_assert(eq(int, cfg.consoles[0].type, CHAR_STDIO));
	cr_assert(eq(u32, cfg.nr_shares, 2));
	cr_assert(eq(int, cfg.shares[0].cache, FS_CACHE_NEVER));
	cr_assert(same(cfg.shares[1].path, "/b:c"));
	cr_assert(eq(int, cfg.shares[1].timeout_set, 1));
	cr_assert(eq(int, cfg.shares[1].writeback, 1));
	cr_assert(eq(int, cfg.invtsc, TRISTATE_OFF));
	cr_assert(eq(int, config_check(&cfg, &err), 0));
}

Test(config, what_comes_later_wins_file_or_option)
{
	char path[] = "/tmp/torpor-config.XXXXXX";
	static const char text[] = "{\"mem\": 64, \"kernel\": \"file\"}";
	int fd = mkstemp(path);

	cr_assert(eq(i64, write(fd, text, strlen(text)), strlen(text)));
	close(fd);
	cr_assert(eq(int, PARSE("-m", "32", "--cfg", path), 0), "%s", err.msg);
	cr_assert(eq(u64, cfg.mem_mib, 64));
	cr_assert(eq(int, PARSE("--cfg", path, "-m", "32", "arg"), 0));
	cr_assert(eq(u64, cfg.mem_mib, 32));
	cr_assert(same(cfg.kernel, "arg"));
	unlink(path);
}

static const struct {
	const char *text;
	const char *says[2];
} bad_files[] = {
	{ "{\n  \"mem\": 64,\n  \"cpus\" 2\n}", { "line 3, column 10" } },
	{ "", { "line 1" } },
	{ "{\"mem\": 64, \"mem\": 65}", { "duplicate" } },
	{ "{\"mem\": 64} x", { "line 1" } },
	{ "[]", { "one JSON object" } },
	{ "{\"memory\": 64}", { "unknown key 'memory'" } },
	{ "{\"meme\": 64}", { "did you mean 'mem'?" } },
	{ "{\"cfg\": \"x\"}", { "'cfg'", "--cfg several times" } },
	{ "{\"mem\": 1}", { "key 'mem': '1': out of range" } },
	{ "{\"mem\": 1.5}", { "key 'mem'", "a whole number" } },
	{ "{\"mem\": null}", { "key 'mem'" } },
	{ "{\"mem\": [64]}", { "key 'mem'" } },
	{ "{\"mem\": {\"x\": 1}}", { "key 'mem'", "cannot be an object" } },
	{ "{\"hugepages\": \"true\"}", { "'hugepages'", "true or false" } },
	{ "{\"hugepages\": 1}", { "true or false" } },
	{ "{\"kernel\": 1}", { "'kernel': use a string" } },
	{ "{\"kernel\": \"\"}", { "'kernel'", "empty" } },
	{ "{\"block\": [\"a\", {\"path\": \"b\", \"ro\": 1}]}",
	  { "key 'block', entry 2", "ro=1" } },
	{ "{\"block\": [{\"path\": [\"b\"]}]}", { "key 'path'" } },
	{ "{\"block\": [{\"bus\": \"b\"}]}", { "unknown key 'bus'" } },
	{ "{\"block\": [[\"a\"]]}", { "entry 1" } },
	{ "{\"net\": {\"tap-name\": \"a\", \"tap_name\": \"b\"}}",
	  { "key 'net'", "twice" } },
};

Test(config, a_bad_file_is_told_with_its_place)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
		err.msg[0] = '\0';
		cr_assert(eq(int, parse_text(bad_files[i].text), -EINVAL),
			  "case %s", bad_files[i].text);
		cr_assert(has(err.msg, "'/proc/self/fd/"));
		for (int j = 0; j < 2 && bad_files[i].says[j]; j++)
			cr_assert(has(err.msg, bad_files[i].says[j]));
		config_finish(&cfg);
		config_init(&cfg);
	}
}

Test(config, a_file_that_cannot_be_read_is_named)
{
	cr_assert(
		eq(int, config_parse_file(&cfg, "/none.json", &err), -ENOENT));
	cr_assert(has(err.msg, "/none.json"));
	cr_assert(eq(int, config_parse_file(&cfg, "/tmp", &err), -EISDIR));
	cr_assert(eq(int, config_parse_file(&cfg, "/dev/zero", &err), -EFBIG));
	cr_assert(has(err.msg, "1 MiB"));
}
