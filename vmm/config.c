/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of `torpor run`, see config.h. Main thread. */
#define _GNU_SOURCE
#include "vmm/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/config_foreign.h"
#include "vmm/config_options.h"

#define DEFAULT_MEM_MIB 256
#define MAX_GUESS	24 /* longest name that is compared */

void config_init(struct vm_config *cfg)
{
	*cfg = (struct vm_config){
		.mem_mib = DEFAULT_MEM_MIB,
		.name = strdup("torpor"),
		.cpus = 1,
		.rng = true,
		.serial.type = CHAR_STDIO,
		.sandbox = SANDBOX_FULL,
		.irqchip = IRQCHIP_SPLIT,
		.wake_storm = 50,
		.device_timeout_ms = 5000,
		.invtsc = TRISTATE_AUTO,
		.log_level = LOG_LEVEL_INFO,
	};
}

void config_finish(struct vm_config *cfg)
{
	if (!cfg)
		return;
	free(cfg->kernel);
	free(cfg->initrd);
	free(cfg->params);
	free(cfg->socket);
	free(cfg->name);
	free(cfg->device_exe);
	free(cfg->cgroup);
	free(cfg->serial.path);
	free(cfg->vsock.path);
	for (unsigned int i = 0; i < cfg->nr_blocks; i++)
		free(cfg->blocks[i].path);
	for (unsigned int i = 0; i < cfg->nr_consoles; i++)
		free(cfg->consoles[i].path);
	for (unsigned int i = 0; i < cfg->nr_shares; i++)
		free(cfg->shares[i].path);
	for (unsigned int i = 0; i < cfg->nr_foreigns; i++)
		free(cfg->foreigns[i].socket);
	for (unsigned int i = 0; i < cfg->nr_nets; i++) {
		free(cfg->nets[i].tap_name);
		/* A zeroed entry would name stdin. */
		if (cfg->nets[i].tap_fd > STDERR_FILENO)
			fd_close(&cfg->nets[i].tap_fd);
	}
	*cfg = (struct vm_config){ 0 };
}

/* --- the table --- */

const struct config_option *config_option_find(const char *name)
{
	for (const struct config_option *o = config_options; o->name; o++) {
		if (!strcmp(name, o->name))
			return o;
	}
	return NULL;
}

/* Edit distance of two short words. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[MAX_GUESS + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > MAX_GUESS || lb > MAX_GUESS)
		return UINT32_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned int change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(row[j], row[j - 1]) + 1;
			if (change < row[j])
				row[j] = change;
		}
	}
	return row[lb];
}

const char *config_option_guess(const char *name)
{
	const char *best = NULL;
	unsigned int best_d = UINT32_MAX;

	for (const struct config_option *o = config_options; o->name; o++) {
		unsigned int d = distance(name, o->name);
		/* Of a short word two letters are half of it. */
		unsigned int near = strlen(o->name) > 4 ? 2 : 1;

		if (d <= near && d < best_d) {
			best = o->name;
			best_d = d;
		}
	}
	return best;
}

int config_option_apply(struct vm_config *cfg, const struct config_option *opt,
			const char *value, struct err *err)
{
	struct config_kvs kvs = { 0 };
	const char *foreign;
	int r;

	if (opt->set)
		r = opt->set(cfg, value, err);
	else if (opt->colons)
		r = config_colons_parse(value, &kvs, err);
	else
		r = config_kvs_parse(value, opt->first_key, &kvs, err);
	if (r == 0 && !opt->set)
		r = opt->set_kvs(cfg, &kvs, err);
	config_kvs_finish(&kvs);
	foreign = r < 0 ? config_foreign_value(opt->name, value) : NULL;
	return foreign ? err_set(err, r, "%s", foreign) : r;
}

/* --- the command line --- */

/* One word or two of the command line, taken apart. */
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
 * "-serial", "-smp" as QEMU has them: -s with the value "erial" is not what was
 * meant.
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

/* Takes apart the option at argv[0], which starts with '-'. */
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
	int r = config_option_apply(cfg, w->opt, w->value, &why);

	if (r == 0)
		return 0;
	/* What is wrong in a file is told with the file's name. */
	if (!strcmp(w->opt->name, "cfg"))
		return err_set(err, -EINVAL, "--cfg %s", why.msg);
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
			       "already '%.100s'; values of options follow "
			       "their option",
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
		/* As for config_parse_args(): "-" alone is no option. */
		if (argv[i][0] == '-' && argv[i][1] &&
		    next_word(argc - i, argv + i, &w, NULL) == 0)
			i += w.used;
		else
			i++;
	}
	return false;
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
	for (const struct config_option *o = config_options; o->name; o++) {
		const char *p = o->help;

		if (o->short_name)
			fprintf(out, "  -%c, --%s", o->short_name, o->name);
		else
			fprintf(out, "      --%s", o->name);
		if (o->arg)
			fprintf(out, " %s", o->arg);
		fputc('\n', out);
		while (*p) {
			int n = (int)strcspn(p, "\n");

			fprintf(out, "            %.*s\n", n, p);
			p += n + (p[n] == '\n');
		}
	}
	fputs("  -h, --help\n"
	      "            this text\n"
	      "\n"
	      "Files may be given as /proc/self/fd/N of an inherited fd.\n"
	      "\n"
	      "Exit status: 0 powered off or stopped, 32 reset by the guest,\n"
	      "33 failed, 34 the guest panicked, 35 wrong usage.\n"
	      "\n"
	      "Example:\n"
	      "  torpor run -m 512 -c 2 -b root.img,ro --socket /run/vm.sock\n"
	      "      -p 'console=ttyS0 root=/dev/vda' vmlinuz\n",
	      out);
}

/* --- the whole --- */

static unsigned int count_stdio(const struct vm_config *cfg)
{
	unsigned int n = cfg->serial.type == CHAR_STDIO;

	for (unsigned int i = 0; i < cfg->nr_consoles; i++)
		n += cfg->consoles[i].type == CHAR_STDIO;
	return n;
}

int config_check(const struct vm_config *cfg, struct err *err)
{
	unsigned int n = cfg->nr_blocks + cfg->nr_nets + cfg->nr_consoles +
			 cfg->nr_shares + cfg->nr_foreigns +
			 (cfg->vsock.cid != 0) + cfg->rng;
	unsigned int max = cfg->irqchip == IRQCHIP_SPLIT
				   ? CONFIG_MAX_VIRTIO_SPLIT
				   : CONFIG_MAX_VIRTIO_KERNEL;

	if (!cfg->kernel)
		return err_set(err, -EINVAL,
			       "no kernel given; name one as the last word: "
			       "torpor run [OPTION...] KERNEL");
	if (cfg->hugepages && cfg->mem_mib % CONFIG_HUGEPAGE_MIB)
		return err_set(err, -EINVAL,
			       "--mem %llu: with --hugepages a multiple of "
			       "%u MiB",
			       (unsigned long long)cfg->mem_mib,
			       CONFIG_HUGEPAGE_MIB);
	if (count_stdio(cfg) > 1)
		return err_set(err, -EINVAL,
			       "--console type=stdio: standard input is taken "
			       "already; give the others (--serial too, whose "
			       "default is stdio) type=stdout, file, pty or "
			       "none");
	if (config_check_vsock(cfg, err) < 0)
		return -EINVAL;
	if (n > max)
		return err_set(
			err, -EINVAL,
			"%u virtio devices (%u disks, %u cards, %u "
			"consoles, %u directories, %u of others%s%s), at most "
			"%u with --irqchip %s; give fewer%s",
			n, cfg->nr_blocks, cfg->nr_nets, cfg->nr_consoles,
			cfg->nr_shares, cfg->nr_foreigns,
			cfg->vsock.cid ? ", vsock" : "",
			cfg->rng ? ", rng" : "", max,
			cfg->irqchip == IRQCHIP_SPLIT ? "split" : "kernel",
			cfg->irqchip == IRQCHIP_SPLIT
				? ""
				: " or use --irqchip split");
	return 0;
}
