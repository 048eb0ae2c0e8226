#!/usr/bin/env bash
# Baseline for the start-up benchmark: what wrappers of this kind do at each start when they put a pre-made cache
# into the user's cache directory without looking first. One directory, five removals, four links, one copy, each
# of them a process. The benchmark's words, not anybody's code.
#
#   CACHE=<cache> OPENCODE=<program> original_wrapper.sh ARGS…
set -eu

export XDG_CACHE_HOME="$HOME/.cache-nix"
dir=$XDG_CACHE_HOME/opencode

mkdir -p "$dir"
for entry in node_modules package.json bun.lock version models.json; do
  rm -rf "${dir:?}/$entry"
done
for entry in node_modules package.json bun.lock version; do
  ln -s "$CACHE/$entry" "$dir/$entry"
done
cp "$CACHE/models.json" "$dir/models.json"
exec "$OPENCODE" "$@"
