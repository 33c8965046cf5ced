/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmm/config/config.h, vmm/config/foreign.h: the kernel command line that
 * --params makes, and what users of other VMMs are told.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config/foreign.h"
#include "vmm/config/options.h"

static struct vm_config cfg;

static void setup(void)
{
	config_init(&cfg);
}

static void teardown(void)
{
	config_finish(&cfg);
}

TestSuite(config_words, .init = setup, .fini = teardown, .timeout = 120);

/* --params, and the command line that comes of it. */
Test(config_words, the_command_line_has_a_console_and_ends_a_panic)
{
	static const struct {
		const char *params, *line;
	} cases[] = {
		{ NULL, "panic=-1 console=ttyS0 " },
		{ "", "panic=-1 console=ttyS0 " },
		{ "quiet", "panic=-1 console=ttyS0 quiet" },
		{ "console=hvc0", "panic=-1 console=hvc0" },
		{ "quiet console=tty0 x", "panic=-1 quiet console=tty0 x" },
		{ "\"console=ttyS0\"", "panic=-1 \"console=ttyS0\"" },
		{ "panic=0", "console=ttyS0 panic=0" },
		{ "panic=5 console=ttyS0", "panic=5 console=ttyS0" },
		{ "xpanic=1 netconsole=a b=\"c console=x\"",
		  "panic=-1 console=ttyS0 xpanic=1 netconsole=a "
		  "b=\"c console=x\"" },
		{ "quiet -- console=x panic=y",
		  "panic=-1 console=ttyS0 quiet -- console=x panic=y" },
		{ "  ", "panic=-1 console=ttyS0   " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *params = cases[i].params;
		char *line;

		cfg.params = params ? strdup(params) : NULL;
		line = config_cmdline(&cfg);
		cr_assert(zero(int, strcmp(line, cases[i].line)), "'%s'", line);
		free(line);
		free(cfg.params);
		cfg.params = NULL;
	}
}

Test(config_words, a_serial_port_that_goes_nowhere_is_no_console)
{
	const struct vm_config c = { .serial.type = CHAR_NONE };
	char *line = config_cmdline(&c);

	cr_assert(zero(int, strcmp(line, "panic=-1 ")), "'%s'", line);
	free(line);
}

/* What users of other VMMs type, and what they are told. */
Test(config_words, names_of_other_vmms_are_answered_with_ours)
{
	static const struct {
		const char *words[3];
		const char *answer;
	} cases[] = {
		{ { "--memory", "512" }, "use --mem" },
		{ { "-append", "x" }, "'-append'; use --params" },
		{ { "--append=x" }, "'--append'; use --params" },
		{ { "-kernel", "x" }, "last word" },
		{ { "--kernel", "x" }, "last word" },
		{ { "--smp", "2" }, "use --cpus" },
		{ { "-smp", "2" }, "'-smp'; use --cpus" },
		{ { "--disk", "x" }, "use --block" },
		{ { "-drive", "x" }, "use --block" },
		{ { "--rwdisk", "x" }, "use --block" },
		{ { "--gpu" }, "no display" },
		{ { "-vga", "std" }, "no display" },
		{ { "-nographic" }, "leave it out" },
		{ { "-enable-kvm" }, "leave it out" },
		{ { "-serial", "stdio" }, "use --serial, with two dashes" },
		{ { "-initrd", "x" }, "use --initrd, with two dashes" },
		{ { "-cpu", "host" }, "use --cpu, with two dashes" },
		{ { "--cpu", "host" }, "has the host's CPU" },
		{ { "--api-sock", "x" }, "use --socket" },
		{ { "--config-file", "x" }, "use --cfg" },
		{ { "--tap-name", "t" }, "use --net tap-name" },
		{ { "--net", "tap0" }, "tap-name=tap0" },
		{ { "--net", "user" }, "no user-mode network" },
		{ { "--rng", "off" }, "use --no-rng" },
		{ { "--wake", "net0" }, "net0=on or net0=off" },
		{ { "--daemonize" }, "stays in the foreground" },
		{ { "--balloon" }, "no such device" },
		{ { "--cpuz", "2" }, "did you mean --cpu" },
		{ { "--xyz" }, "--help" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err why = { .msg = "" };
		int n = cases[i].words[1] ? 2 : 1;
		char *argv[3];

		for (int j = 0; j < n; j++)
			argv[j] = strdup(cases[i].words[j]);
		cr_assert(eq(int, config_parse_args(&cfg, n, argv, &why),
			     -EINVAL));
		cr_assert(ne(ptr, strstr(why.msg, cases[i].answer), NULL),
			  "%s: %s", cases[i].words[0], why.msg);
		for (int j = 0; j < n; j++)
			free(argv[j]);
	}
}

/* A name of ours is not a foreign one, and no name has two answers. */
Test(config_words, no_option_of_ours_is_taken_for_a_foreign_one)
{
	for (const struct config_option *o = config_options; o->name; o++)
		cr_assert(config_foreign_option(o->name, strlen(o->name)) ==
				  NULL,
			  "%s", o->name);
}
