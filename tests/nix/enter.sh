#!/bin/sh
# enter.sh TREE NIX REPOSITORY COMMAND ARGS…
# Runs a command on a machine of its own: /usr is TREE's, /nix is the directory NIX, /etc is minimal; the repository,
# what the tests keep (two directories above TREE) and /tmp are where they always are. The real machine's /nix, if
# any, is neither seen nor touched. Root makes the mount namespace directly, anybody else in a user namespace.
# With ONLY_NIX=PATH there is, outside of /nix, what NixOS has there of programs, /bin/sh and /usr/bin/env, and neither
# /lib64 nor /lib.
set -eu

if [ "${1-}" != --inside ]; then
  [ "$(id -u)" = 0 ] && user='' || user='--user --map-root-user'
  # shellcheck disable=SC2086 # two words, or none
  exec unshare $user --mount --propagation private -- "$0" --inside "$@"
fi
tree=$2 nix=$3 repository=$4
shift 4

new=$nix/root
mkdir -p "$new"
mount -t tmpfs -o mode=755 none "$new"
for name in usr nix dev proc tmp etc/ssl/certs root run var/tmp; do mkdir -p "$new/$name"; done
[ "${ONLY_NIX-}" ] || for name in bin sbin lib lib64; do ln -s "usr/$name" "$new/$name"; done
read_only() {
  mount --bind "$1" "$2"
  mount -o remount,bind,ro "$2"
}
if [ "${ONLY_NIX-}" ]; then
  mkdir -p "$new/usr/bin" "$new/bin"
  for name in usr/bin/env bin/sh bin/busybox; do
    : >"$new/$name"
    read_only "$tree/usr/bin/busybox" "$new/$name"
  done
else
  read_only "$tree/usr" "$new/usr"
fi
# As on NixOS: Nix makes the store writable for itself, and nobody else writes there.
mkdir -p "$nix/nix/store"
mkdir -p "$nix/nix/x86_64-linux-gnu"
: >>"$nix/nix/ld-linux-x86-64.so.2"
mount --bind "$nix/nix" "$new/nix"
read_only "$nix/nix/store" "$new/nix/store"
# The loader of the tree's programs and its libraries, without /lib64 and /lib.
read_only "$tree/usr/lib64/ld-linux-x86-64.so.2" "$new/nix/ld-linux-x86-64.so.2"
read_only "$tree/usr/lib/x86_64-linux-gnu" "$new/nix/x86_64-linux-gnu"
mount --rbind /dev "$new/dev"
mount --rbind /proc "$new/proc"
mount --bind /tmp "$new/tmp"
for directory in "$repository" "${tree%/*/*}"; do
  mkdir -p "$new$directory"
  mount --bind "$directory" "$new$directory"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$new/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$new/etc/group"
printf 'hosts: files dns\n' >"$new/etc/nsswitch.conf"
for name in hosts resolv.conf services protocols ssl/certs/ca-certificates.crt; do
  [ ! -e "/etc/$name" ] || cat "/etc/$name" >"$new/etc/$name"
done
cd "$new"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
pivot_root . .
busybox umount -l .
[ -z "${ONLY_NIX-}" ] || export PATH="$ONLY_NIX"
cd "$repository"
exec "$@"
