#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds Debian's virtio_ring.ko, virtio.ko and virtio_mmio.ko with the patches
# of guest/linux/patches, and the module that tests them:
#
#	build-modules.sh 6.1 v14|draft OUT_DIR
#	build-modules.sh 6.12 v14|draft OUT_DIR		objects only
#
# In Debian's 6.12 these are built in, which build-kernel.sh is for. Fails if a symbol that Debian's other modules import has another CRC than in
# Debian's kernel: they would not load.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
series=$1 variant=$2 out=$3
kernel=$("$here/../../tests/harness/kernel-source.sh" --path "$series")

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Patched in a tree like the kernel's, for the patches to apply as they are.
cp -R "$kernel/source/drivers" "$kernel/source/include" "$out"
for patch in "$here/patches/$series"/*.patch; do
	patch -d "$out" -p1 --quiet --no-backup-if-mismatch <"$patch"
done
for c in virtio virtio_ring virtio_mmio; do
	mv "$out/drivers/virtio/$c.c" "$out"
done
rm -r "$out/drivers"
cp "$here/Kbuild" "$here"/selftest/*.[ch] "$out"

draft=n
[ "$variant" = v14 ] || draft=y
case $series in
6.1) targets=modules selftest=m ;;
*) targets="virtio_ring.o virtio.o virtio_mmio.o" selftest=n ;;
esac
log=$out/log
if ! MAKEFLAGS='' make -C "$kernel/headers" M="$out" DRAFT=$draft \
	SELFTEST=$selftest W=1 $targets >"$log" 2>&1; then
	cat "$log" >&2
	exit 1
fi
if grep "warning:" "$log" >&2; then
	exit 1
fi
[ "$targets" = modules ] || exit 0

# Debian's have no debug information in them either.
strip --strip-debug "$out"/*.ko

awk '
	NR == FNR { crc[$2] = $1; next }
	$2 in crc && crc[$2] != $1 { print $2 ": another CRC"; bad = 1 }
	$2 in crc { same++ }
	END { exit bad || !same }
' "$kernel/headers/Module.symvers" "$out/Module.symvers" >&2
