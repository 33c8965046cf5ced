/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of values that are one of some words; see config.h. */
#include "vmm/config/config.h"

#include "devices/pci/pci.h"

const char *const suspend_mode_words[] = {
	[SUSPEND_V14] = "v14",
	[SUSPEND_DRAFT] = "draft",
	[SUSPEND_BOTH] = "both",
	[SUSPEND_OFF] = "off",
	NULL,
};

const char *const char_type_words[] = {
	[CHAR_NONE] = "none", [CHAR_STDIO] = "stdio", [CHAR_STDOUT] = "stdout",
	[CHAR_FILE] = "file", [CHAR_PTY] = "pty",     NULL,
};

const char *const foreign_type_words[] = {
	[FOREIGN_BLK] = "blk", [FOREIGN_CONSOLE] = "console",
	[FOREIGN_FS] = "fs",   [FOREIGN_NET] = "net",
	[FOREIGN_RNG] = "rng", NULL,
};

const char *const tristate_words[] = {
	[TRISTATE_AUTO] = "auto",
	[TRISTATE_ON] = "on",
	[TRISTATE_OFF] = "off",
	NULL,
};

const char *const pci_depth_words[] = {
	[PCI_DEPTH_SHALLOW] = "shallow",
	[PCI_DEPTH_OFF] = "off",
	[PCI_DEPTH_DEEP] = "deep",
	NULL,
};
