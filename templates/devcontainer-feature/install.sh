#!/bin/sh
# A dev container runs this as root when it is built. The image has to have zstd, tar and coreutils.
set -eu
cd -- "$(dirname -- "$0")"
f=$PWD/opencode.tar.zst
[ -f "$f" ] || { echo "install.sh: $f is missing; put a bundle there (opencode-cache bundle -o opencode.tar.zst)" >&2; exit 2; }
zstd -tq "$f" && zstd -dcq "$f" | tar -xO install.sh | sh -s "$f" "${PREFIX:-/usr/local}"
