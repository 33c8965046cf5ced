/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The names that users of QEMU, crosvm, Firecracker, Cloud Hypervisor and
 * libvirt bring, with what torpor has for them.
 */
#ifndef TORPOR_VMM_CONFIG_FOREIGN_H
#define TORPOR_VMM_CONFIG_FOREIGN_H

#include <stddef.h>

/*
 * @name: of an option of `torpor run`, without its dashes, @len bytes of it.
 * Return: "use --cpus N", "torpor has no GPU"; NULL: not known.
 */
const char *config_foreign_option(const char *name, size_t len);
/* The same of a command. */
const char *config_foreign_command(const char *name);
/* The same of @word alone as the value of --@option: "--net tap0". */
const char *config_foreign_value(const char *option, const char *word);

#endif
