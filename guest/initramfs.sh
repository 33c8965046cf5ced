# SPDX-License-Identifier: BSD-3-Clause
#
# Functions that build an initramfs, sourced by guest/mkinitramfs.sh and by
# tests/harness/nested.sh. Needs busybox-static and cpio; no root.

# initramfs_modules MODULES_DIR ROOT NAME...
# Copies modules and what they need to ROOT/lib/modules, and writes the order
# to load them in to ROOT/lib/modules/order.
initramfs_modules() {
	im_dir=$1 im_root=$2
	shift 2
	mkdir -p "$im_root/lib/modules"
	(cd "$im_dir" && find . -name '*.ko*') >"$im_root/lib/modules/all"
	: >"$im_root/lib/modules/order"
	for im_name in "$@"; do
		initramfs_module "$im_name"
	done
	rm "$im_root/lib/modules/all"
}

# One module, its dependencies first. A name has - or _ as it likes.
initramfs_module() {
	im_re=$(echo "$1" | sed 's/[-_]/[-_]/g')
	! grep -q "^$im_re\.ko\$" "$im_root/lib/modules/order" || return 0
	im_file=$(grep -m 1 "/$im_re\.ko\(\.xz\)\?\$" \
		"$im_root/lib/modules/all") || return 0
	case $im_file in
	*.xz) busybox xzcat "$im_dir/$im_file" ;;
	*) cat "$im_dir/$im_file" ;;
	esac >"$im_root/lib/modules/$1.ko"
	for im_need in $(tr '\0' '\n' <"$im_root/lib/modules/$1.ko" |
		sed -n 's/^depends=//p' | tr ',' ' '); do
		initramfs_need "$im_need"
	done
	echo "$1.ko" >>"$im_root/lib/modules/order"
}

# Its own variables survive the recursion: a shell function has no others.
initramfs_need() {
	(initramfs_module "$1")
}

# initramfs_busybox ROOT
initramfs_busybox() {
	mkdir -p "$1/bin"
	cp "$(command -v busybox)" "$1/bin/busybox"
	for ib_applet in $(busybox --list); do
		[ "$ib_applet" = busybox ] ||
			ln -sf busybox "$1/bin/$ib_applet"
	done
}

# initramfs_pack ROOT FILE
# The same content gives the same bytes. Not compressed: to unpack takes a guest
# longer than to load it.
initramfs_pack() {
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . | LC_ALL=C sort |
		cpio -o -H newc --quiet --reproducible -R 0:0) >"$2.$$"
	mv "$2.$$" "$2"
}
