#!/bin/sh
# Runs inside a new mount namespace (engine.py calls it through `unshare --mount`) and becomes dockerd, or whatever it is given.
# A plain chroot breaks `docker import`, which unpacks behind a pivot_root of its own (moby, pkg/chrootarchive/chroot_linux.go), so the
# namespace pivots into the engine's own root file system.
#   engine-init.sh ROOT STATE PROGRAM ARGUMENTS…
set -eu
root=$1 state=$2
shift 2

echo $$ >"$state/engine/dockerd.pid" # by itself: whoever started it may be killed before it could
mount --make-rprivate /
mount --bind "$root" "$root"
for dir in proc sys dev; do mount --rbind "/$dir" "$root/$dir"; done
mount -t tmpfs -o mode=755 tmpfs "$root/run"
# The same path inside as outside: what Compose files and builds name must mean the same on both sides. It is all that is seen of
# the machine: the recipes are copied there (site/recipes.py), so that no checkout is the engine's own.
mkdir -p "$root$state"
mount --bind "$state" "$root$state"
# The host's view of the world: name servers and certificate authorities.
touch "$root/etc/resolv.conf"
mount --bind "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
if [ -d /etc/ssl/certs ]; then mount --bind /etc/ssl/certs "$root/etc/ssl/certs"; fi

cd "$root"
mkdir -p .host
pivot_root . .host
umount -l .host
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
exec "$@"
