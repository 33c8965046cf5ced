/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a person wrote: a configuration file, words of `torpor run`, values of
 * one option. The first byte says which.
 */
#define _GNU_SOURCE
#include "vmm/config/config.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/base/fd.h"
#include "vmm/config/options.h"

#define MAX_WORDS 40

void fuzz_setup(void)
{
}

static int parse_file(struct vm_config *cfg, struct fuzz_in *in,
		      struct err *err)
{
	char path[40];
	int r, fd = memfd_create("cfg", MFD_CLOEXEC);

	fuzz_check(fd >= 0 && fd_write_all(fd, in->data, in->len) == 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_parse_file(cfg, path, err);
	fd_close(&fd);
	return r;
}

static char *rest(struct fuzz_in *in)
{
	char *text = strndup((const char *)in->data, in->len);

	fuzz_check(text);
	return text;
}

/* A word a line. */
static int parse_words(struct vm_config *cfg, struct fuzz_in *in,
		       struct err *err)
{
	char *text = rest(in), *next = text;
	char *argv[MAX_WORDS + 1] = { NULL };
	int argc = 0, r;

	while (argc < MAX_WORDS && next)
		argv[argc++] = strsep(&next, "\n");
	(void)config_wants_help(argc, argv);
	r = config_parse_args(cfg, argc, argv, err);
	free(text);
	return r;
}

static int parse_value(struct vm_config *cfg, struct fuzz_in *in,
		       struct err *err)
{
	unsigned int nr = 0, i = fuzz_u8(in);
	const struct config_option *opt;
	char *text = rest(in);
	int r;

	while (config_options[nr].name)
		nr++;
	fuzz_check(nr > 0);
	opt = &config_options[i % nr];
	/* A file of files would leave the input. */
	r = strcmp(opt->name, "cfg") ? config_option_apply(cfg, opt, text, err)
				     : 0;
	free(text);
	return r;
}

/* An error is one line that says something. */
static void check_error(const struct err *err)
{
	size_t len = strnlen(err->msg, sizeof(err->msg));

	fuzz_check(len > 0 && len < sizeof(err->msg));
}

void fuzz_one(struct fuzz_in *in)
{
	struct err err = { "" };
	struct vm_config cfg;
	uint8_t how = fuzz_u8(in);
	int r;

	config_init(&cfg);
	if (how % 3 == 0)
		r = parse_file(&cfg, in, &err);
	else if (how % 3 == 1)
		r = parse_words(&cfg, in, &err);
	else
		r = parse_value(&cfg, in, &err);
	if (r == 0)
		r = config_check(&cfg, &err);
	fuzz_check(r <= 0);
	if (r < 0)
		check_error(&err);
	/* The number of an fd of ours: not to be closed. */
	for (unsigned int i = 0; i < cfg.nr_nets; i++)
		cfg.nets[i].tap_fd = -1;
	config_finish(&cfg);
}

void fuzz_seeds(void)
{
	static const char file[] = "\0{\"mem\":\"1G\",\"cpus\":2,\"kernel\":"
				   "\"k\",\"params\":[\"a\""
				   ",\"b\"],\"block\":[{\"path\":\"d.img\","
				   "\"ro\":true},\"e.img,id="
				   "x\"],\"net\":{\"tap-name\":\"t0\",\"mac\":"
				   "\"02:00:00:00:00:01\"}"
				   ",\"rng\":false,\"serial\":\"file,path=o\","
				   "\"sandbox\":\"weak\"}";
	static const char words[] =
		"\1--mem=64M\n-c4\n--block\npath=\"a,b\\\"\",ro,engine=uring\n"
		"--net\ntap-fd=3,mac=02:00:00:00:00:01\n-p\nquiet\n--no-rng\n"
		"--console\npty\n--irqchip\nkernel\n--invtsc=off\n--\nvmlinuz";
	uint8_t value[] = { 2, 0, '1', '0', '2', '4', 'K' };
	unsigned int nr = 0;

	fuzz_seed(file, sizeof(file) - 1);
	fuzz_seed(words, sizeof(words) - 1);
	for (; config_options[nr].name; nr++) {
		value[1] = (uint8_t)nr;
		fuzz_seed(value, sizeof(value));
	}
}
