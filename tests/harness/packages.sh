#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Installs the Debian packages that a purpose needs and that are missing.
#
#	packages.sh build check guest guest-linux guest-kernel nested interop
#		autosleep bench clang fuzz lint
#
# Nothing missing: prints nothing, changes nothing, takes a few hundredths of a
# second. Otherwise it says what it installs, and uses apt-get as root or
# through sudo. The guest's kernel is not installed but unpacked into a cache,
# see kernel.sh: a kernel package would touch this machine's boot loader.
set -eu

here=$(dirname "$0")

# The packages of one purpose, one list a purpose.
packages_of() {
	case $1 in
	build)
		echo acpica-tools gcc libc6-dev libjansson-dev \
			libseccomp-dev liburing-dev linux-libc-dev make
		;;
	check)
		echo iproute2 libcriterion-dev mount
		;;
	guest)
		echo busybox-static cpio gcc libc6-dev
		;;
	guest-linux)
		# For kernel modules: the compiler of Debian's kernel.
		echo gcc-12 libelf1 make patch xz-utils
		;;
	guest-kernel)
		echo bc bison flex gcc libelf-dev make patch xz-utils
		;;
	nested)
		echo qemu-system-x86
		;;
	interop)
		# virtiofsd is in qemu-system-common.
		echo qemu-system-common qemu-system-x86
		;;
	autosleep)
		echo bc bison flex gcc libc6-dev libelf-dev linux-source lz4 \
			make perl xz-utils
		;;
	bench)
		echo iproute2 qemu-system-common qemu-system-x86 stress-ng \
			strace
		;;
	clang)
		echo clang
		;;
	fuzz)
		echo clang libclang-rt-dev llvm
		;;
	lint)
		echo clang-format clang-tidy cppcheck shellcheck \
			universal-ctags
		;;
	*)
		echo "packages.sh: no purpose '$1': use build, check, guest," \
			"guest-linux, guest-kernel, nested, interop," \
			"autosleep, bench, clang, fuzz or lint" >&2
		exit 2
		;;
	esac
}

# Prints those of the arguments that are not installed.
missing_of() {
	installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' \
		"$@" 2>/dev/null || :) "
	for p in "$@"; do
		case $installed in
		*" installed:$p "*) ;;
		*) echo "$p" ;;
		esac
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "packages.sh: not root and no sudo. As root, run:" >&2
		echo "    apt-get update && apt-get install" $missing >&2
		exit 1
	fi
}

wanted= kernel=no
for purpose in "$@"; do
	list=$(packages_of "$purpose")
	wanted="$wanted $list"
	[ "$purpose" = guest ] && kernel=yes
done

if ! command -v dpkg-query >/dev/null; then
	echo "packages.sh: not a Debian system, so nothing is installed." >&2
	echo "    This needs what Debian calls:$wanted" >&2
	exit 0
fi

missing=$(missing_of $wanted | sort -u | tr '\n' ' ')
if [ -n "$missing" ]; then
	echo "Installing (once; one to three minutes): $missing"
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	if ! as_root apt-get update >"$log" 2>&1; then
		cat "$log" >&2
		echo "packages.sh: 'apt-get update' failed: is there a" \
			"network, and are the sources right?" >&2
		exit 1
	fi
	if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
		--no-install-recommends $missing >"$log" 2>&1; then
		cat "$log" >&2
		echo "packages.sh: could not install: $missing" >&2
		exit 1
	fi
fi

[ $kernel = no ] || "$here/kernel.sh"
