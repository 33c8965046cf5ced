/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of `torpor run` and its help, see config.h. Main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/config/foreign.h"
#include "vmm/config/options.h"

/* One or two words of the command line, parsed. */
struct word {
	const struct config_option *opt; /* NULL: not an option */
	const char *value;
	int used; /* words of argv */
};

static int unknown_option(const char *word, int name_len, struct err *err)
{
	const char *guess, *answer;
	char name[64];

	(void)snprintf(name, sizeof(name), "%.*s", name_len, word);
	guess = name + strspn(name, "-");
	answer = config_foreign_option(guess, strlen(guess));
	if (answer)
		return err_set(err, -EINVAL, "unknown option '%s'; %s", name,
			       answer);
	guess = name[0] == '-' && name[1] == '-' ? config_option_guess(name + 2)
						 : NULL;
	if (guess)
		return err_set(err, -EINVAL,
			       "unknown option '%s'; did you mean --%s?", name,
			       guess);
	return err_set(err, -EINVAL,
		       "unknown option '%s'; 'torpor run --help' lists them",
		       name);
}

static const struct config_option *find_word(const char *word, size_t len)
{
	for (const struct config_option *o = config_options; o->name; o++) {
		if (word[1] != '-' && o->short_name == word[1])
			return o;
		if (word[1] == '-' && strlen(o->name) == len - 2 &&
		    !strncmp(o->name, word + 2, len - 2))
			return o;
	}
	return NULL;
}

/*
 * QEMU's "-serial" and "-smp": the user did not mean -s with the value "erial".
 */
static int check_one_dash(const char *word, struct err *err)
{
	size_t len = strcspn(word + 1, "=");
	const struct config_option *o = config_option_find(word + 1);

	if (!word[2])
		return 0;
	if (o)
		return err_set(err, -EINVAL,
			       "unknown option '%s'; use --%s, with two dashes",
			       word, o->name);
	if (config_foreign_option(word + 1, len))
		return unknown_option(word, (int)MIN(len + 1, (size_t)60), err);
	return 0;
}

/* Parses the option at argv[0], which starts with '-'. */
static int next_word(int argc, char **argv, struct word *ret, struct err *err)
{
	const char *word = argv[0];
	bool is_long = word[1] == '-';
	const char *eq = is_long ? strchr(word, '=') : NULL;
	size_t len = eq ? (size_t)(eq - word) : strlen(word);
	const struct config_option *o = find_word(word, len);

	if (!is_long && check_one_dash(word, err) < 0)
		return -EINVAL;
	if (!o)
		return unknown_option(word, (int)MIN(len, (size_t)60), err);
	*ret = (struct word){ .opt = o, .used = 1 };
	if (eq) {
		ret->value = eq + 1;
	} else if (!is_long && word[2]) {
		ret->value = word + 2; /* -m256 */
	} else if (!o->arg) {
		ret->value = "true";
	} else if (argc > 1) {
		ret->value = argv[1];
		ret->used = 2;
	} else {
		return err_set(err, -EINVAL, "%s needs a value: %s", word,
			       o->arg);
	}
	return 0;
}

static int apply_word(struct vm_config *cfg, const struct word *w,
		      struct err *err)
{
	struct err why = { "" };

	if (w->opt->is_file) {
		/* An error in a file names that file. */
		if (config_parse_file(cfg, w->value, &why) < 0)
			return err_set(err, -EINVAL, "--cfg %s", why.msg);
		return 0;
	}
	if (config_option_apply(cfg, w->opt, w->value, &why) == 0)
		return 0;
	return err_set(err, -EINVAL, "--%s '%.100s': %s", w->opt->name,
		       w->value, why.msg);
}

static int apply_kernel(struct vm_config *cfg, const char *word,
			const char **given, struct err *err)
{
	struct err why = { "" };

	if (*given)
		return err_set(err, -EINVAL,
			       "unexpected argument '%.100s': the kernel is "
			       "already '%.100s'; the value of an option "
			       "follows the option",
			       word, *given);
	*given = word;
	if (config_set_kernel(cfg, word, &why) < 0)
		return err_set(err, -EINVAL, "KERNEL '%s': %s", word, why.msg);
	return 0;
}

int config_parse_args(struct vm_config *cfg, int argc, char **argv,
		      struct err *err)
{
	const char *kernel = NULL;
	bool options = true;

	for (int i = 0; i < argc;) {
		struct word w;
		int r;

		if (options && !strcmp(argv[i], "--")) {
			options = false;
			i++;
			continue;
		}
		if (!options || argv[i][0] != '-' || !argv[i][1]) {
			r = apply_kernel(cfg, argv[i++], &kernel, err);
			if (r < 0)
				return r;
			continue;
		}
		r = next_word(argc - i, argv + i, &w, err);
		if (r == 0)
			r = apply_word(cfg, &w, err);
		if (r < 0)
			return r;
		i += w.used;
	}
	return 0;
}

bool config_wants_help(int argc, char **argv)
{
	for (int i = 0; i < argc;) {
		struct word w = { .used = 1 };

		if (!strcmp(argv[i], "--"))
			return false;
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
		/* As in config_parse_args(): a lone "-" is not an option. */
		if (argv[i][0] == '-' && argv[i][1] &&
		    next_word(argc - i, argv + i, &w, NULL) == 0)
			i += w.used;
		else
			i++;
	}
	return false;
}

static void print_option(const struct config_option *o, FILE *out)
{
	static const char indent[] = "            ";

	if (o->short_name)
		fprintf(out, "  -%c, --%s", o->short_name, o->name);
	else
		fprintf(out, "      --%s", o->name);
	if (o->arg)
		fprintf(out, " %s", o->arg);
	fprintf(out, "\n%s", indent);
	config_print_lines(o->help, indent, out);
	if (o->group && o->group->keys)
		config_keys_print(o->group->keys, indent, out);
}

void config_print_help(FILE *out)
{
	fputs("Usage: torpor run [OPTION...] KERNEL\n"
	      "\n"
	      "Runs a virtual machine until its guest powers off. KERNEL is a\n"
	      "bzImage, an ELF vmlinux or a PVH kernel. An option's value is\n"
	      "the next word or follows '=': --mem 256, --mem=256.\n"
	      "\n"
	      "Options:\n",
	      out);
	for (const struct config_option *o = config_options; o->name; o++)
		print_option(o, out);
	fputs("  -h, --help\n"
	      "            this text\n"
	      "\n"
	      "A file may be given as /proc/self/fd/N, an inherited fd.\n"
	      "\n"
	      "Exit status: 0 if the guest powered off or was stopped, 32 if "
	      "it\n"
	      "reset itself, 33 if torpor failed, 34 if the guest panicked,\n"
	      "35 for wrong usage.\n"
	      "\n"
	      "Example:\n"
	      "  torpor run -m 512 -c 2 -b root.img,ro --socket /run/vm.sock\n"
	      "      -p 'console=ttyS0 root=/dev/vda' vmlinuz\n",
	      out);
}
