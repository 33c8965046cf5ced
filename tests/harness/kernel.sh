#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Keeps Debian's cloud kernel, unmodified, in a cache outside the source tree:
#
#	$XDG_CACHE_HOME/torpor/kernel/current/{vmlinuz,modules/,VERSION}
#
# It is downloaded and unpacked, not installed. The version is the one apt
# offers; it is looked up again only after the package lists have changed.
# With --path it prints the directory and does nothing else.
set -eu

cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/torpor/kernel
current=$cache/current
meta=linux-image-cloud-amd64
lists=/var/lib/apt/lists

if [ "${1-}" = --path ]; then
	echo "$current"
	exit
fi

lists_changed() {
	[ -n "$(find $lists -maxdepth 1 -name '*_Packages*' \
		-newer "$current/.checked" -print -quit 2>/dev/null)" ]
}

update_lists() {
	if [ "$(id -u)" = 0 ]; then
		apt-get update >/dev/null
	elif command -v sudo >/dev/null; then
		sudo apt-get update >/dev/null
	else
		return 1
	fi
}

# Prints "package version" of the kernel that the metapackage stands for.
offered() {
	apt-cache show --no-all-versions $meta 2>/dev/null |
		sed -n 's/^Depends: *\(linux-image-[^ ,]*\) *(= *\([^)]*\)).*/\1 \2/p' |
		head -n 1
}

# unpack DEB DIR
unpack() {
	mkdir -p "$2/x"
	dpkg-deb --fsys-tarfile "$1" | tar -C "$2/x" -xf - ./boot ./lib
	mv "$2"/x/boot/vmlinuz-* "$2/vmlinuz"
	mv "$2"/x/lib/modules/* "$2/modules"
	rm -rf "$2/x"
}

# The kernel of this machine will do when nothing can be downloaded.
use_installed() {
	for k in /boot/vmlinuz-*-cloud-amd64; do
		v=${k#/boot/vmlinuz-}
		if [ -r "$k" ] && [ -d "/lib/modules/$v" ]; then
			mkdir -p "$cache/installed"
			ln -sfn "$k" "$cache/installed/vmlinuz"
			ln -sfn "/lib/modules/$v" "$cache/installed/modules"
			echo "$v (installed)" >"$cache/installed/VERSION"
			touch "$cache/installed/.checked"
			ln -sfn installed "$current"
			echo "No download; using this machine's $v."
			return 0
		fi
	done
	return 1
}

if [ -e "$current/vmlinuz" ] && [ -e "$current/.checked" ] &&
	! lists_changed; then
	exit 0
fi

mkdir -p "$cache"
offer=$(offered)
if [ -z "$offer" ]; then
	update_lists || :
	offer=$(offered)
fi
package=${offer% *} version=${offer#* }

if [ -n "$offer" ] && [ -e "$current/vmlinuz" ] &&
	[ "$(cat "$current/VERSION")" = "$package $version" ]; then
	touch "$current/.checked"
	exit 0
fi

tmp=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"

download() {
	[ -n "$offer" ] || return 1
	# As root, apt would try to download as another user and warn.
	(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download \
		"$package=$version" >"$tmp/log" 2>&1)
}

[ -n "$offer" ] && echo "Fetching Debian's $package $version (27 MB, once)"
if ! download && ! { update_lists && offer=$(offered) &&
	package=${offer% *} && version=${offer#* } && download; }; then
	if [ -e "$current/vmlinuz" ]; then
		echo "Could not fetch $package $version; keeping" \
			"$(cat "$current/VERSION")."
		exit 0
	fi
	use_installed && exit 0
	[ ! -e "$tmp/log" ] || cat "$tmp/log" >&2
	echo "kernel.sh: could not download $meta: is there a network?" >&2
	exit 1
fi

unpack "$tmp"/*.deb "$tmp/k"
echo "$package $version" >"$tmp/k/VERSION"
touch "$tmp/k/.checked"
# In place in one step: another run may be reading the old one.
final=$cache/${package}_$version
rm -rf "$final"
mv "$tmp/k" "$final"
ln -sfn "${final##*/}" "$tmp/link"
mv -T "$tmp/link" "$current"
