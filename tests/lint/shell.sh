#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Checks shell scripts: syntax, then what shellcheck finds (see .shellcheckrc).
#
#	shell.sh SCRIPT...
set -u

bad=0
for script in "$@"; do
	# What has no first line of its own is sourced by its neighbours.
	first=$(head -n 1 "$script")
	case $first in
	'#!'*) ;;
	*) first=$(cat "${script%/*}"/*.sh | grep -m 1 '^#!') ;;
	esac
	shell="sh"
	[ "$first" != '#!/bin/bash' ] || shell=bash
	"$shell" -n "$script" || bad=1
	shellcheck -s "$shell" -S warning -f gcc "$script" || bad=1
done
exit $bad
