#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds the guest kernel with wake locks, of Debian's source package and
# guest/autosleep.config, in a cache outside the source tree:
#
#	$XDG_CACHE_HOME/torpor/autosleep-kernel/current/{vmlinuz,config,VERSION}
#
# Once for each version of the source and of the configuration. With --path it
# prints the directory and does nothing else.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/torpor/autosleep-kernel
current=$cache/current
fragment=$top/guest/autosleep.config

if [ "${1-}" = --path ]; then
	echo "$current"
	exit
fi

# set_current DIR: in one step, another run may be reading the old one. What is
# made of it has to be made again.
set_current() {
	touch "$1/VERSION"
	link=$(mktemp -u "$cache/link.XXXXXX")
	ln -s "${1##*/}" "$link"
	mv -T "$link" "$current"
}

fail() {
	[ ! -e "$tmp/log" ] || tail -n 20 "$tmp/log" >&2
	echo "autosleep-kernel.sh: $*" >&2
	exit 1
}

"$top/tests/harness/packages.sh" autosleep
tarball=$(find /usr/src -maxdepth 1 -name 'linux-source-*.tar.xz' |
	sort -V | tail -n 1)
if [ -z "$tarball" ]; then
	echo "autosleep-kernel.sh: no /usr/src/linux-source-*.tar.xz, which is" \
		"in Debian's package linux-source" >&2
	exit 1
fi
package=$(basename "$tarball" .tar.xz)
version=$(dpkg-query -W -f '${Version}' "$package")
hash=$(sha256sum <"$fragment" | cut -c 1-12)
final=$cache/${package}_${version}_$hash

if [ -e "$final/vmlinuz" ]; then
	[ "$(readlink "$current" || :)" = "${final##*/}" ] ||
		set_current "$final"
	exit 0
fi

cpus=$(nproc)
echo "Building a guest kernel with wake locks of $package $version" \
	"(once; 10 minutes on 2 idle CPUs, here are $cpus; meanwhile 2 GB)"
mkdir -p "$cache"
tmp=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
start=$(date +%s)
mkdir "$tmp/o" "$tmp/k"

nice tar -C "$tmp" -xf "$tarball" 2>"$tmp/log" || fail "cannot unpack $tarball"
# The same source and configuration give the same kernel.
kernel_make() {
	nice make -s -C "$tmp/$package" ARCH=x86_64 O="$tmp/o" \
		KCONFIG_ALLCONFIG="$fragment" \
		KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' \
		KBUILD_BUILD_USER=torpor KBUILD_BUILD_HOST=torpor "$@" \
		>"$tmp/log" 2>&1
}
# Not with the flags, and not in the job server, of the make that called this.
unset MAKEFLAGS MFLAGS MAKELEVEL

kernel_make allnoconfig || fail "the kernel's configuration failed"
# What depends on something that is off is left out without a word.
lost=$(grep -E '^(# )?CONFIG_' "$fragment" | grep -vxF -f "$tmp/o/.config" || :)
[ -z "$lost" ] || fail "this source does not take: $lost"
kernel_make -j"$cpus" bzImage || fail "the kernel does not build"

mv "$tmp/o/arch/x86/boot/bzImage" "$tmp/k/vmlinuz"
mv "$tmp/o/.config" "$tmp/k/config"
echo "$package $version autosleep" >"$tmp/k/VERSION"
chmod 755 "$tmp/k"
rm -rf "$final"
mv "$tmp/k" "$final"
set_current "$final"
echo "Built in $((($(date +%s) - start + 59) / 60)) minutes: $final"
