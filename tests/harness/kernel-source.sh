#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Keeps what it takes to change drivers/virtio of a Debian cloud kernel in a
# cache outside the source tree, unpacked, not installed:
#
#	kernel-source.sh 6.1		of the kernel that kernel.sh has cached
#	kernel-source.sh 6.12		of the one that apt offers
#	kernel-source.sh --path SERIES	prints the directory, does nothing else
#
#	$XDG_CACHE_HOME/torpor/kernel-source/SERIES/
#		headers/	for `make -C headers M=DIR modules`
#		source/		drivers/virtio, its headers and checkpatch.pl
#		linux.tar.xz	all of the source; only 6.12
#		VERSION
set -eu

here=$(dirname "$0")
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/torpor/kernel-source

if [ "${1-}" = --path ]; then
	echo "$cache/$2"
	exit
fi
series=$1
current=$cache/$series

# field PACKAGE NAME: of the version that apt would install, or of $version.
field() {
	apt-cache show --no-all-versions "$1${version:+=$version}" 2>/dev/null |
		sed -n "s/^$2: *//p" | head -n 1
}

# depends PATTERN: the name of the first package that $headers needs and that
# matches.
depends() {
	field "$headers" Depends | tr ',|' '\n' | sed 's/ *\([^ ]*\).*/\1/' |
		grep -m 1 "^$1\$"
}

# offer PACKAGE: with =VERSION, if apt has that of $version. It has the newest only
# while Debian has built the next version but not signed its kernels, which are
# another package; that does as well.
offer() {
	if apt-cache madison "$1" | cut -d '|' -f 2 | tr -d ' ' |
		grep -qx "$version"; then
		echo "$1=$version"
	else
		echo "$1"
	fi
}

# Sets $headers and $version.
choose() {
	version=
	case $series in
	6.1)
		set -- $(cat "$("$here/kernel.sh" --path)/VERSION")
		case $1 in
		linux-image-*) headers=linux-headers-${1#linux-image-} version=$2 ;;
		*) headers=linux-headers-$1 ;;
		esac
		;;
	*)
		headers=$(field "linux-headers-$series-cloud-amd64" Depends |
			sed 's/ .*//')
		;;
	esac
	[ -n "$version" ] || version=$(field "$headers" Version)
	[ -n "$version" ]
}

choose || {
	echo "kernel-source.sh: apt offers no headers for $series" >&2
	exit 1
}
if [ -e "$current/VERSION" ] &&
	[ "$(cat "$current/VERSION")" = "$headers $version" ]; then
	exit 0
fi

mkdir -p "$cache"
tmp=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
echo "Fetching Debian's kernel source and headers, $series $version" \
	"(150 MB, once)"
common=$(depends 'linux-headers-.*-common')
kbuild=$(depends 'linux-kbuild-.*')
if ! (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download \
	"$headers=$version" "$(offer "$common")" "$(offer "$kbuild")" \
	"$(offer "linux-source-$series")" >log 2>&1); then
	cat "$tmp/log" >&2
	echo "kernel-source.sh: could not download: is there a network?" >&2
	exit 1
fi

# The headers' Makefile names /usr/src.
mkdir -p "$tmp/new/debs" "$tmp/new/source"
for deb in "$tmp"/linux-headers-*.deb "$tmp"/linux-kbuild-*.deb; do
	dpkg-deb -x "$deb" "$tmp/new/debs"
done
ln -s "debs/usr/src/$headers" "$tmp/new/headers"
echo "include $current/debs/usr/src/$common/Makefile" \
	>"$tmp/new/headers/Makefile"

dpkg-deb --fsys-tarfile "$tmp"/linux-source-*.deb |
	tar -C "$tmp" -xf - "./usr/src/linux-source-$series.tar.xz"
tar -C "$tmp/new/source" --strip-components=1 --wildcards \
	-xf "$tmp/usr/src/linux-source-$series.tar.xz" \
	"linux-source-$series/drivers/virtio" \
	"linux-source-$series/include/linux/virtio*.h" \
	"linux-source-$series/include/uapi/linux/virtio*.h" \
	"linux-source-$series/scripts/checkpatch.pl" \
	"linux-source-$series/scripts/spelling.txt" \
	"linux-source-$series/scripts/const_structs.checkpatch"
[ "$series" = 6.1 ] || mv "$tmp/usr/src/linux-source-$series.tar.xz" \
	"$tmp/new/linux.tar.xz"
echo "$headers $version" >"$tmp/new/VERSION"
rm -rf "$current"
mv "$tmp/new" "$current"
