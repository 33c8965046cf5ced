/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of a process and all its descendants, guest RAM aside, from
 * /proc/PID/smaps. Guest RAM are the mappings whose name contains one of the
 * words given. One line a process and a sum, in KiB:
 *
 *	memory PID [WORD]...
 *	mem COMM PID uss= pss= pte= guest-ram=
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PIDS 256

struct usage {
	unsigned long uss, pss, pte, guest; /* KiB */
};

static bool contains_word(const char *line, char **words)
{
	for (; *words; words++) {
		if (strstr(line, *words))
			return true;
	}
	return false;
}

static FILE *open_proc(int pid, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

static bool read_smaps(int pid, char **words, struct usage *u)
{
	FILE *f = open_proc(pid, "smaps");
	bool guest = false;
	char line[4400];
	unsigned long kib;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		/* Mappings begin with a hexadecimal range, fields do not. */
		if (strchr(line, '-') && !strstr(line, "kB"))
			guest = contains_word(line, words);
		else if (sscanf(line, "Private_Clean: %lu", &kib) == 1 ||
			 sscanf(line, "Private_Dirty: %lu", &kib) == 1)
			u->uss += guest ? 0 : kib;
		else if (sscanf(line, "Pss: %lu", &kib) == 1)
			u->pss += guest ? 0 : kib;
		else if (sscanf(line, "Rss: %lu", &kib) == 1)
			u->guest += guest ? kib : 0;
	}
	(void)fclose(f);
	return true;
}

static int read_status(int pid, char name[64], unsigned long *ret_pte)
{
	FILE *f = open_proc(pid, "status");
	char line[256];
	int parent = -1;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		(void)sscanf(line, "Name: %63s", name);
		(void)sscanf(line, "PPid: %d", &parent);
		(void)sscanf(line, "VmPTE: %lu", ret_pte);
	}
	(void)fclose(f);
	return parent;
}

/* Appends those processes whose parents are listed. */
static unsigned int add_children(int *pids, unsigned int nr)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc)) != NULL) {
		int pid = atoi(entry->d_name), parent;
		unsigned long pte;
		char name[64];
		bool known = false, child = false;

		parent = pid > 0 ? read_status(pid, name, &pte) : -1;
		for (unsigned int i = 0; i < nr; i++) {
			known = known || pids[i] == pid;
			child = child || pids[i] == parent;
		}
		if (child && !known && nr < MAX_PIDS)
			pids[nr++] = pid;
	}
	if (proc)
		(void)closedir(proc);
	return nr;
}

static void report(const char *name, int pid, const struct usage *u)
{
	printf("mem %s %d uss=%lu pss=%lu pte=%lu guest-ram=%lu\n", name, pid,
	       u->uss, u->pss, u->pte, u->guest);
}

int main(int argc, char **argv)
{
	int pids[MAX_PIDS] = { argc > 1 ? atoi(argv[1]) : 0 };
	unsigned int nr = 1, before = 0;
	struct usage sum = { 0 };

	if (pids[0] <= 0) {
		(void)fprintf(stderr, "usage: memory PID [WORD]...\n");
		return 2;
	}
	while (nr != before) {
		before = nr;
		nr = add_children(pids, nr);
	}
	for (unsigned int i = 0; i < nr; i++) {
		struct usage u = { 0 };
		char name[64] = "?";

		if (read_status(pids[i], name, &u.pte) < 0 ||
		    !read_smaps(pids[i], argv + 2, &u)) {
			(void)fprintf(stderr, "memory: cannot read /proc/%d\n",
				      pids[i]);
			return 1;
		}
		report(name, pids[i], &u);
		sum.uss += u.uss;
		sum.pss += u.pss;
		sum.pte += u.pte;
		sum.guest += u.guest;
	}
	report("sum", 0, &sum);
	return 0;
}
