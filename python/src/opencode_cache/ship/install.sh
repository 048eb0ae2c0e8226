#!/bin/sh
# Installs a bundle of OpenCode and its cache with tar, zstd and coreutils alone:
#
#   f=FILE.tar.zst; zstd -tq "$f" && zstd -dcq "$f" | tar -xO install.sh | sh -s "$f" PREFIX
#
# PREFIX/bin/opencode is then the program. `sh PREFIX/lib/opencode-cache/current/install.sh --undo PREFIX` goes back
# to what was installed before. Every file is checked before anything changes, and each change is one rename.
# `opencode-cache unbundle` writes just the same, and checks signatures and each bit of a mode as well.
set -eu
umask 022
export LC_ALL=C # sha256sum's OK is translated, too

die() {
  printf 'install.sh: %s\n' "$1" >&2
  exit "${2-2}"
}

# Without these no check would be one.
tools_there() {
  for tool in cat chmod cut head ln ls mkdir mv readlink rm rmdir sha256sum sync tail tar tr uname wc zstd; do
    command -v "$tool" >/dev/null ||
      die "$tool is not on PATH, nothing was changed; install coreutils, tar and zstd"
  done
}

tab=$(printf '\t')
newline='
'

# Whether the directory $1 is what its SHA256SUMS and CONTENTS say, with nothing missing and nothing besides.
whole() (
  cd "$1" && sums=$(sha256sum -c SHA256SUMS 2>/dev/null) || exit 1
  good=$(
    echo 'CONTENTS: OK'
    while IFS=$tab read -r kind mode _ path target; do
      case $kind$mode in
      d755) [ -d "$path" ] && [ ! -L "$path" ] || exit 1 ;;
      f555) [ -f "$path" ] && [ ! -L "$path" ] && [ -x "$path" ] && printf '%s: OK\n' "$path" || exit 1 ;;
      f444) [ -f "$path" ] && [ ! -L "$path" ] && [ ! -x "$path" ] && printf '%s: OK\n' "$path" || exit 1 ;;
      l777) [ "$(readlink "$path" 2>/dev/null)" = "$target" ] || exit 1 ;;
      *) exit 1 ;;
      esac
    done <CONTENTS
  ) && [ "$sums" = "$good" ] || exit 1
  entries=$(($(wc -l <CONTENTS) + 2))
  directories=$(($(cut -c1 CONTENTS | tr -cd d | wc -c) + 1))
  [ ! -f SHA256SUMS.sig ] || entries=$((entries + 1))
  # One line for each name; for each directory its own name, and an empty line but for the first.
  # shellcheck disable=SC2012 # counted, not read
  [ "$(ls -AR | wc -l)" -eq $((entries + 2 * directories - 1)) ]
)

# Puts a link to $1 at $2/$3, over one that is there.
put_link() {
  ln -s "$1" "$stage/$3" && mv -f "$stage/$3" "$2/"
}

# The current place in the history; nothing where there is none.
number() {
  case $(readlink "$base/current" 2>/dev/null) in
  history/*[!0-9]*) ;;
  history/?*) readlink "$base/current" | cut -c9- ;;
  esac
}

leave() {
  chmod -R u+w "$stage" 2>/dev/null || :
  rm -rf "$stage"
  rmdir "$base/generations" "$base/history" "$base" "$prefix/lib" "$prefix/bin" ${new:+"$new"} 2>/dev/null || :
}

begin() {
  stage=$base/.new-sh-$$
  new=
  [ -d "$prefix" ] || new=$prefix
  trap leave EXIT
  trap 'exit 130' HUP INT TERM
  for old in "$base"/.new-*; do
    if [ -d "$old" ] && { [ "$old" = "$stage" ] || ! kill -0 "${old##*-}" 2>/dev/null; }; then
      chmod -R u+w "$old"
      rm -rf "$old"
    fi
  done
  mkdir -p "$base/generations" "$base/history" "$prefix/bin"
  mkdir "$stage"
}

go_back() {
  [ -n "$(number)" ] || die "$prefix: nothing is installed there"
  before=$(($(number) - 1))
  while [ "$before" -gt 0 ] && [ ! -x "$base/history/$before/bin/opencode" ]; do before=$((before - 1)); done
  [ "$before" -gt 0 ] || die "$prefix: nothing was installed before the present one" 1
  put_link "history/$before" "$base" current
}

install_file() {
  mkdir "$stage/tree"
  # What goes wrong in zstd is found by `whole`. On a full disk, tar has a line for each file.
  said=$( (zstd -dcq "$file" | tar -xp -C "$stage/tree") 2>&1) ||
    die "$file: cannot be unpacked (${said%%"$newline"*}); make room in $prefix, or copy the bundle again"
  chmod -R a-w "$stage/tree" && chmod u+w "$stage/tree"
  whole "$stage/tree" || die "$file: damaged, nothing was installed; copy the bundle again"
  system=$(uname -m)-$(uname -s)
  case $system in arm64-Darwin) system=aarch64-darwin ;; *-Linux) system=${system%Linux}linux ;; esac
  case $(cat "$stage/tree/bundle.json") in
  *"\"system\": \"$system\""*) ;;
  *) die "$file: for another system, and this is $system; get another bundle" ;;
  esac
  key=$(sha256sum <"$stage/tree/SHA256SUMS" | cut -c-32)
  # The same may be there already, or be there and be damaged.
  generation=$key
  copy=0
  while [ -e "$base/generations/$generation" ] && ! whole "$base/generations/$generation"; do
    copy=$((copy + 1))
    generation=$key.$copy
  done
  if [ ! -e "$base/generations/$generation" ]; then
    mv "$stage/tree" "$stage/$generation"
    mv "$stage/$generation" "$base/generations/"
    chmod 555 "$base/generations/$generation"
  fi
  now=$(number)
  if [ -z "$now" ] || [ "$(readlink "$base/history/$now")" != "../generations/$generation" ]; then
    now=$((${now:-0} + 1))
    sync # a rename may reach the disk before what it renames
    put_link "../generations/$generation" "$base/history" "$now"
    put_link "history/$now" "$base" current
    now=$((now + 1))
    while [ -L "$base/history/$now" ]; do
      rm -f "$base/history/$now"
      now=$((now + 1))
    done
  fi
  [ -L "$prefix/bin/opencode" ] || put_link "$way" "$prefix/bin" opencode
}

main() {
  [ $# = 2 ] || die "usage: install.sh FILE.tar.zst PREFIX, or install.sh --undo PREFIX"
  tools_there
  file=$1
  prefix=$2
  case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
  base=$prefix/lib/opencode-cache
  way=../lib/opencode-cache/current/bin/opencode
  if [ "$file" = --undo ]; then
    begin
    go_back
  else
    [ -f "$file" ] || die "$file: is no file; give a bundle"
    [ "$(head -c -64 "$file" | sha256sum | cut -c-64)" = "$(tail -c 64 "$file")" ] ||
      die "$file: damaged, nothing was installed; copy the bundle again"
    if [ -e "$prefix/bin/opencode" ] || [ -L "$prefix/bin/opencode" ]; then
      [ "$(readlink "$prefix/bin/opencode")" = "$way" ] || die "$prefix/bin/opencode: is not ours; move it away"
    fi
    if [ -e "$base/current" ] || [ -L "$base/current" ]; then
      [ -n "$(number)" ] || die "$base/current: is not ours; move it away"
    fi
    begin
    install_file
  fi
  printf '%s\n' "$prefix/bin/opencode"
}

# Read as a whole before any of it runs; what it runs does not read on.
main "$@" </dev/null
