#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The guest that torpor and QEMU both boot for the sleep figures: that of the
# tests, with the driver of QEMU's PCI devices, and with an agent that tells
# when it begins, and of a power key without powering off:
#
#	mkguest.sh KERNEL_DIR INITRAMFS OUT_FILE
set -eu

kernel=$1 base=$2 out=$3
. guest/initramfs.sh

root=$(mktemp -d "${out%/*}/root.XXXXXX")
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

names=$(grep -v '^#' guest/modules)
initramfs_modules "$kernel/modules" "$root/have" $names
initramfs_modules "$kernel/modules" "$root/add" $names virtio_pci
(cd "$root/have/lib/modules" && echo ./*.ko) | tr ' ' '\n' |
	(cd "$root/add/lib/modules" && xargs rm)
mkdir -p "$root/add/etc/acpi" "$root/add/bin"

cat >"$root/add/bin/bench-sleep" <<'END'
#!/bin/sh
echo "BENCH: down"
exec go-to-sleep
END
cat >"$root/add/etc/acpi/sleep" <<'END'
#!/bin/sh
exec bench-sleep >/dev/console 2>&1
END
cat >"$root/add/etc/acpi/power" <<'END'
#!/bin/sh
echo x >>/tmp/power-keys
END
chmod 755 "$root/add/bin/bench-sleep" "$root/add/etc/acpi/sleep" \
	"$root/add/etc/acpi/power"

initramfs_pack "$root/add" "$root/add.cpio"
cat "$base" "$root/add.cpio" >"$out.new"
mv "$out.new" "$out"
