#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A folder includes its own headers and those of the floors below it, so that
# no two folders need each other. The programs' mains may include anything.
set -u

awk '
function folder(path) {
	sub(/\/[^\/]*$/, "", path)
	return path
}
BEGIN {
	n = split( \
		"include vmm/base|" \
		"arch|" \
		"sandbox vmm/machine vmm/trace|" \
		"arch/x86_64 devices virtio|" \
		"virtio/blk virtio/fs virtio/net virtio/vhost_user" \
		" virtio/vsock devices/pci vmm/power|" \
		"virtio/mmio devices/vfio vmm/config|" \
		"vmm/vm|" \
		"vmm/control|" \
		"vmm/cli", floors, "|")
	for (i = 1; i <= n; i++) {
		m = split(floors[i], names, " ")
		for (j = 1; j <= m; j++)
			floor[names[j]] = i
	}
}
FNR == 1 {
	from = folder(FILENAME)
	if (!(from in floor)) {
		print FILENAME ": its folder is on no floor of tests/lint/includes.sh"
		bad = 1
	}
}
/^#include "/ {
	split($0, quoted, "\"")
	to = folder(quoted[2])
	if (to == from || to !~ /\// && to !~ /^(arch|devices|include|sandbox|virtio)$/)
		next
	if (!(to in floor) || floor[to] >= floor[from]) {
		print FILENAME ":" FNR ": " from " is not above " to
		bad = 1
	}
}
END { exit bad }' $(git ls-files --cached --others --exclude-standard \
	'arch/*.[ch]' 'devices/*.[ch]' 'include/*.h' 'sandbox/*.[ch]' \
	'virtio/*.[ch]' 'vmm/*.[ch]' |
	grep -vE '^(vmm/cli/main|virtio/torpor_device)\.c$')
