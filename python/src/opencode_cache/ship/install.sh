#!/bin/sh
# Installs a bundle of OpenCode and its cache with sh, tar, zstd and coreutils, or what busybox or macOS has of them:
#
#   f=FILE.tar.zst; zstd -tq "$f" && zstd -dcq "$f" | tar -xO install.sh | sh -s "$f" PREFIX
#
#   install.sh [OPTIONS] FILE.tar.zst PREFIX    PREFIX/bin/opencode is then the program
#   install.sh --undo PREFIX                    goes back to what was installed before
#   install.sh --remove PREFIX                  removes all of it
#
#   --sums FILE       the SHA256SUMS whose signature was checked: a bundle with another one is refused
#   --allow-older     also a bundle that is older than what is installed
#   --keep N          keep N generations; all, if it is not said
#   --system NAME     what the bundle has to be for, in place of this machine
#   --tree DIRECTORY  in place of FILE.tar.zst: PREFIX/lib/opencode-cache/.new-PID/tree, where process PID unpacked it
#
#   PREFIX/bin/opencode                      -> ../lib/opencode-cache/current/bin/opencode
#   PREFIX/lib/opencode-cache/current        -> history/2
#   PREFIX/lib/opencode-cache/history/2      -> ../generations/KEY
#   PREFIX/lib/opencode-cache/generations/KEY/
#   PREFIX/lib/opencode-cache/.busy          -> PID of who is at work, or was killed: one at a time
#   PREFIX/lib/opencode-cache/.new-*/        of somebody at work, or killed: the next one removes it
#
# Links are relative, so that PREFIX may be moved. Every file is checked before anything changes, and each change is
# one rename. Not a byte of the bundle is parsed before it is known to be what SHA256SUMS says.
set -eu
umask 022
export LC_ALL=C
unset CDPATH TAR_OPTIONS
tab=$(printf '\t')
newline='
'

die() {
  printf 'install.sh: %s' "$1" | tr '\001-\037\177' '[?*]' >&2
  echo >&2
  exit "${2-2}"
}

damaged() {
  die "$file: damaged, nothing was installed ($1); copy the bundle again"
}

# What a tool said: one line of it, and nothing that steers a terminal.
first_of() {
  printf '%s' "${1%%"$newline"*}" | tr '\200-\377' '[?*]'
}

need() {
  for tool; do
    command -v "$tool" >/dev/null || {
      echo "install.sh: $tool is not on PATH, nothing was changed; install coreutils, tar and zstd" >&2
      exit 2
    }
  done
}

# Without these no check would be one.
tools_there() {
  need cat chmod cut head ln ls mkdir mv readlink rm rmdir sleep sort sync tail tr uname uniq wc
  [ -n "$tree$other" ] || need tar zstd
  if command -v sha256sum >/dev/null || ! command -v shasum >/dev/null; then
    need sha256sum
    sha256() { sha256sum ${1+"$@"}; }
  else
    sha256() { shasum -a 256 ${1+"$@"}; }
  fi
  [ "$(printf abc | digest)" = ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ] ||
    die "sha256sum gives wrong checksums, nothing was changed; install coreutils"
}

digest() {
  sha256 | cut -b-64
}

# Prefixes

# Puts a link to $1 at $2/$3, over one that is there.
put_link() {
  ln -s "$1" "$stage/$3" && mv -f "$stage/$3" "$2/"
}

# The current place in the history; nothing where there is none.
number() {
  case $(readlink "$base/current" 2>/dev/null) in
  history/*[!0-9]*) : ;;
  history/?*) readlink "$base/current" | cut -b9- ;;
  *) : ;;
  esac
}

cannot_write() {
  [ ! -d "$base" ] || [ -w "$base" ] ||
    die "$prefix: you may not write there; ask whom it belongs to, or choose another place"
  die "$prefix: cannot be written ($(first_of "$1")); make room there, or choose another place"
}

# A link is made by one only. One that was left by a killed process is taken away by one only, too.
lock() {
  waited=0
  lost=0
  until said=$(mkdir -p "$base" 2>&1) || cannot_write "$said" && said=$(ln -s "$$" "$base/.busy" 2>&1); do
    holder=$(readlink "$base/.busy" 2>/dev/null) || holder=
    case $holder in
    '' | *[!0-9]*)
      lost=$((lost + 1))
      [ "$lost" -lt 9 ] || cannot_write "$said"
      ;;
    *)
      if [ "$holder" != $$ ] && kill -0 "$holder" 2>/dev/null; then
        waited=$((waited + 1))
        [ "$waited" -lt 900 ] || die "$base/.busy: process $holder is at work there; end it, and try again"
        sleep 1
      elif mv "$base/.busy" "$base/.busy-$$" 2>/dev/null; then
        taken=$(readlink "$base/.busy-$$")
        rm -f "$base/.busy-$$"
        [ "$taken" = "$holder" ] || ln -s "$taken" "$base/.busy" 2>/dev/null || :
      fi
      ;;
    esac
  done
}

leave() {
  chmod -R u+w "$stage" 2>/dev/null || :
  rm -rf "$stage"
  [ "$(readlink "$base/.busy" 2>/dev/null)" != $$ ] || rm -f "$base/.busy"
  rmdir "$base/generations" "$base/history" "$base" "$prefix/lib" "$prefix/bin" ${new:+"$new"} 2>/dev/null || :
}

begin() {
  stage=$base/.new-sh-$$
  new=
  [ -d "$prefix" ] || new=$prefix
  trap leave EXIT
  trap 'exit 130' HUP INT TERM
  lock
  rm -f "$base"/.busy-*
  for old in "$base"/.new-*; do
    pid=${old##*-}
    case $old in
    *.new-sh-*) ;; # one at a time: of a killed one
    *) [ "$pid" = $$ ] || ! kill -0 "$pid" 2>/dev/null || continue ;;
    esac
    if [ -d "$old" ] && [ ! -L "$old" ]; then
      chmod -R u+w "$old" && rm -rf "$old"
    fi
  done
  said=$(mkdir -p "$base/generations" "$base/history" "$prefix/bin" 2>&1 && mkdir "$stage" 2>&1 && chmod 700 "$stage" 2>&1 &&
    chmod 755 "$base" "$base/generations" "$base/history" 2>&1) || cannot_write "$said"
}

# Bundles

# $2 bytes of the tar, from byte $1 on.
part() {
  { zstd -dcq "$stage/bundle" | tail -c +$(($1 + 1)); } 2>/dev/null | head -c "$2"
}

no_room() {
  die "$file: cannot be unpacked ($(first_of "$1")); make room in $prefix, or copy the bundle again"
}

# Writes the document $1, of at most $2 bytes, which is to be at byte $at of the tar; $at is then behind it.
document() {
  [ "$(part "$at" 100 | tr -d '\000')" = "$1" ] || return 1
  digits=$(part $((at + 124)) 11 | tr -d '\000')
  case $digits in *[!0-7]*) return 1 ;; ???????????) ;; *) return 1 ;; esac
  # Not every shell takes octal numbers.
  size=0
  while [ -n "$digits" ]; do
    size=$((size * 8 + ${digits%"${digits#?}"}))
    digits=${digits#?}
  done
  [ "$size" -gt 0 ] && [ "$size" -le "$2" ] || return 1
  said=$({ part $((at + 512)) "$size" >"$stage/lists/$1"; } 2>&1) || no_room "$said"
  [ $(($(wc -c <"$stage/lists/$1"))) -eq "$size" ] || return 1
  at=$((at + 512 + (size + 511) / 512 * 512))
}

# Whether a link at $1 with the target $2 stays in the bundle, by the letter.
inside() {
  case $2 in '' | /*) return 1 ;; esac
  depth=0
  left=$1
  while [ "$left" != "${left#*/}" ]; do
    depth=$((depth + 1))
    left=${left#*/}
  done
  left=$2/
  while [ -n "$left" ]; do
    case ${left%%/*} in
    ..) depth=$((depth - 1)) ;;
    . | '') ;;
    *) depth=$((depth + 1)) ;;
    esac
    [ "$depth" -ge 0 ] || return 1
    left=${left#*/}
  done
}

# Whether SHA256SUMS and CONTENTS in the directory $1 are lists of a bundle: paths that lead down, each once, each below
# a directory that is named, and a checksum for every file.
lists_are_good() (
  cd "$1" || exit 1
  lines=$(($(wc -l <CONTENTS)))
  [ "$lines" -le 200001 ] || exit 1
  # Neither a control character but what ends fields and lines, nor a backslash.
  [ $(($(tr -d '\000-\010\013-\037\134\177' <CONTENTS | wc -c))) -eq $(($(wc -c <CONTENTS))) ] || exit 1
  # shellcheck disable=SC2094 # nothing is written to the lists
  {
    read -r _
    while IFS=$tab read -r kind mode size path target more; do
      case $kind$mode$more in
      d755) printf '%s\n' "$path" ;;
      f444 | f555)
        case $size in '' | *[!0-9]*) exit 1 ;; esac
        printf '%s\n' "$path" >&3
        ;;
      l777) inside "$path" "$target" || exit 1 ;;
      *) exit 1 ;;
      esac
      [ "$kind" = l ] || [ -z "$target" ] || exit 1
      case /$path/ in *//* | */./* | */../*) exit 1 ;; esac
      case $path in
      */*) printf '%s\n' "${path%/*}" >&4 ;;
      SHA256SUMS | SHA256SUMS.sig | CONTENTS) exit 1 ;;
      esac
    done
  } <CONTENTS >"$stage/directories" 3>"$stage/files" 4>"$stage/parents" || exit 1
  [ $(($(tail -n +2 CONTENTS | cut -f4 | sort -u | wc -l))) -eq $((lines - 1)) ] || exit 1
  [ $(($(sort -u "$stage/directories" "$stage/parents" | wc -l))) -eq $(($(wc -l <"$stage/directories"))) ] || exit 1
  [ "$(cut -b67- SHA256SUMS)" = "CONTENTS$newline$(cat "$stage/files")" ] || exit 1
  [ "$(cut -b65-66 SHA256SUMS | sort -u)" = '  ' ] && [ -z "$(cut -b-64 SHA256SUMS | tr -d '0-9a-f' | sort -u)" ]
)

check_lists() {
  said=$(lists_are_good "$1" 2>&1) || {
    [ -z "$said" ] || no_room "$said"
    damaged "its lists are not those of a bundle"
  }
}

# Names as `tar -t` writes them: each byte that is not ASCII may be written in octal digits.
names() {
  while IFS= read -r name; do
    name=${name%/}
    while :; do
      case $name in
      *\\[0-3][0-7][0-7]*) name=${name%%\\[0-3][0-7][0-7]*}"?"${name#*\\[0-3][0-7][0-7]} ;;
      *) break ;;
      esac
    done
    printf '%s\n' "$name"
  done | tr '\200-\377' '[?*]'
}

# Unpacks $file into $stage/tree: its lists first, then the rest of the tar if that is what CONTENTS says.
unpack() {
  mkdir "$stage/lists" "$stage/tree"
  # A medium may give other bytes at the next time.
  said=$({ cat <"$file" >"$stage/bundle"; } 2>&1) || no_room "$said"
  size=$(($(wc -c <"$stage/bundle")))
  [ "$size" -gt 72 ] && [ "$(head -c $((size - 64)) "$stage/bundle" | digest)" = "$(tail -c 64 "$stage/bundle" | tr -d '\000')" ] ||
    damaged "checksum mismatch"
  at=0
  document SHA256SUMS 33554432 || damaged "SHA256SUMS is not in its place"
  if [ -n "$sums" ]; then
    [ "$(digest <"$sums")" = "$(digest <"$stage/lists/SHA256SUMS")" ] ||
      die "$file: is not the bundle of $sums, nothing was installed; get the one that was signed"
  fi
  if document SHA256SUMS.sig 65536 && [ -z "$sums" ]; then
    echo "install.sh: signed, but not checked; check SHA256SUMS and pass --sums" >&2
  fi
  document CONTENTS 33554432 || damaged "CONTENTS is not in its place"
  IFS= read -r line <"$stage/lists/SHA256SUMS" || line=
  [ "$line" = "$(digest <"$stage/lists/CONTENTS")  CONTENTS" ] || damaged "CONTENTS: checksum mismatch"
  IFS=$tab read -r kind _ size sum <"$stage/lists/CONTENTS" || kind=
  case $kind$size in t*[!0-9]* | t | [!t]* | t????????????????*) damaged "CONTENTS does not begin with what the tar is" ;; esac
  check_lists "$stage/lists"
  [ "$(part "$at" $((size + 1)) | digest)" = "$sum" ] || damaged "checksum mismatch"
  [ "$(part "$at" "$size" | LC_ALL=$utf8 tar -tf - 2>/dev/null | names | digest)" = "$(tail -n +2 "$stage/lists/CONTENTS" | cut -f4 | names | digest)" ] ||
    damaged "it has other members than CONTENTS says"
  tree=$stage/tree
  select_part
  if [ -n "$systems" ]; then
    unpack_part
  else
    members "$tree"
    mv "$stage/lists"/* "$tree/"
  fi
}

# Unpacks the members that the other words name, or all, into the directory $1.
members() {
  into=$1
  shift
  # On a full disk, tar has a line for each file.
  said=$(part "$at" "$size" | LC_ALL=$utf8 tar -x --no-same-owner --no-same-permissions -f - -C "$into" ${1+"$@"} 2>&1) || no_room "$said"
}

# Bundles of several systems and steps have trees in parts: all/ is in each of them, SYSTEM/ in one. What of them
# is in this system's tree goes to $stage/part; $systems are those that there are.
select_part() {
  systems='' one=''
  while IFS=$tab read -r kind mode bytes path target; do
    case $path in
    bin/opencode) one=yes ;;
    */*/*) ;;
    */CONTENTS) systems="$systems ${path%/*}" ;;
    esac
    case $path in
    "$system/CONTENTS" | "$system/SHA256SUMS") ;;
    all/* | "$system"/*) printf '%s\n' "$kind$tab$mode$tab$bytes$tab${path#*/}${target:+$tab$target}" ;;
    esac
  done <"$stage/lists/CONTENTS" >"$stage/part"
  [ -z "$one" ] || systems=''
}

# Unpacks this system's tree. What is listed and not in the bundle is in the generation of which it is a step, or
# the difference to a file there.
unpack_part() {
  case "$systems " in *" $system "*) ;; *) die "$file: for other systems ($systems ), and this is $system; get another bundle" ;; esac
  echo "install.sh: takes $system, of$systems" >&2
  # With the lists that it has once it is installed: they say what may be where.
  members "$tree" --strip-components=1 "$system/SHA256SUMS" "$system/CONTENTS"
  check_lists "$tree"
  [ "$(sort -u "$stage/part" "$tree/CONTENTS" | digest)" = "$(sort -u "$tree/CONTENTS" | digest)" ] ||
    damaged "it has other members than $system/CONTENTS says"
  members "$tree" --strip-components=1 all "$system"
  members "$stage/lists" bundle.json
  read_info "$stage/lists"
  [ -z "$since" ] || fill_in
}

# Completes the tree of a step.
fill_in() {
  case $since in *[!0-9a-f]*) damaged "bundle.json names no generation" ;; esac
  before=''
  for one in "$base/generations/$since" "$base/generations/$since".*; do
    ! whole "$one" 2>/dev/null || before=$one
  done
  [ -n "$before" ] ||
    die "$file: a step from the generation $since, which is not in $prefix, or damaged; take the steps in their order, or a whole bundle"
  patches=$stage/lists/patches/$system
  case $(cut -f4 "$stage/lists/CONTENTS") in *"${newline}patches/$system$newline"*) members "$stage/lists" "patches/$system" ;; esac
  set --
  while IFS=$tab read -r kind mode bytes path _; do
    if [ -f "$patches/$path" ]; then
      said=$({ zstd -dcq --long=31 --patch-from="$before/$path" "$patches/$path" | head -c "$bytes" >"$tree/$path"; } 2>&1)
      [ -z "$said" ] ||
        die "$file: cannot be unpacked ($(first_of "$said")); a step needs zstd 1.4.5 or newer, room in $prefix and 1 GB of memory; else take a whole bundle"
      chmod "$mode" "$tree/$path"
    elif [ "$kind" = f ] && [ ! -e "$tree/$path" ]; then
      set -- "$@" "./$path"
      [ $# -lt 200 ] || { copy "$@" && set --; }
    fi
  done <"$tree/CONTENTS"
  [ $# = 0 ] || copy "$@"
}

# Copies files of the generation $before: not every tar reads names from a file.
copy() {
  said=$({ cd "$before" && LC_ALL=$utf8 tar -cf - "$@" | LC_ALL=$utf8 tar -xf - -C "$tree"; } 2>&1) || no_room "$said"
}

# Whether the directory $1 is what its SHA256SUMS and CONTENTS say, with nothing missing, nothing besides, and no other mode.
whole() (
  cd "$1" && [ -f SHA256SUMS ] && [ -f CONTENTS ] && [ ! -L SHA256SUMS ] && [ ! -L CONTENTS ] || exit 1
  data=2 programs=0 directories=0 links=0
  if [ -f SHA256SUMS.sig ] && [ ! -L SHA256SUMS.sig ]; then data=3; fi
  {
    read -r _
    while IFS=$tab read -r kind mode _ path target; do
      case $kind$mode in
      d755) [ -d "$path" ] && [ ! -L "$path" ] && directories=$((directories + 1)) || exit 1 ;;
      f444) [ -f "$path" ] && [ ! -L "$path" ] && [ ! -x "$path" ] && data=$((data + 1)) || exit 1 ;;
      f555) [ -f "$path" ] && [ ! -L "$path" ] && [ -x "$path" ] && programs=$((programs + 1)) || exit 1 ;;
      l777) [ "$(readlink "./$path" 2>/dev/null)" = "$target" ] && links=$((links + 1)) || exit 1 ;;
      *) exit 1 ;;
      esac
    done
  } <CONTENTS
  # Only now, that nothing there is a FIFO.
  [ "$(modes)" = "$data $programs $directories $links" ] && sha256 -c SHA256SUMS >/dev/null 2>&1
)

# How many files of the two modes, directories and links are here; the last number is absurd where anything else is.
modes() {
  f444=0 f555=0 d555=0 l=0
  # Names may be odd, but each has one line that begins with its mode.
  # shellcheck disable=SC2012
  ls -lAR . | cut -b-10 | sort | uniq -c | {
    while read -r count mode; do
      case $mode in
      -r--r--r--) f444=$((f444 + count)) ;;
      -r-xr-xr-x) f555=$((f555 + count)) ;;
      dr-xr-xr-x) d555=$((d555 + count)) ;;
      l*) l=$((l + count)) ;;
      total* | .* | '') ;;
      *) l=$((l + 1000000)) ;;
      esac
    done
    echo "$f444 $f555 $d555 $l"
  }
}

# Whether each file in the directory $1 has that name only: one more may be anywhere.
one_name_each() {
  # shellcheck disable=SC2012
  ls -lAR "$1" | tr -s ' ' | cut -d' ' -f1,2 | sort -u | while read -r mode links; do
    case $mode in -*) [ "$links" = 1 ] || exit 1 ;; esac
  done
}

this_system() {
  machine=$(uname -m)
  case $machine in arm64) machine=aarch64 ;; amd64) machine=x86_64 ;; esac
  case $(uname -s) in
  Darwin) system=$machine-darwin ;;
  *)
    system=$machine-linux
    # As napi packages tell the two apart: the loader of musl is a file with its name in it.
    ls /lib64/ld-linux* >/dev/null 2>&1 || ! ls /lib/ld-musl-* >/dev/null 2>&1 || system=$system-musl
    ;;
  esac
}

# Reads the bundle.json in $1: $for, the system; $day, as one number; $serial; $avx2; and $since, of a step.
read_info() {
  for='' day=0 serial=0 avx2='' since=''
  while IFS= read -r line; do
    value=${line#*: }
    value=${value%,}
    value=${value#\"}
    value=${value%\"}
    case $line in
    '  "system": '*) for=$value ;;
    '  "date": '*) case $value in [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]) day=$(printf '%s' "$value" | tr -d -) ;; esac ;;
    '  "avx2": '*) avx2=$value ;;
    "    \"$system\": "*) since=$value ;;
    '  "serial": '*) case $value in *[!0-9]* | ??????????*) ;; ?*) serial=$value ;; esac ;;
    esac
  done <"$1/bundle.json"
}

# Installs $tree: what was unpacked, but is not checked yet as it lies there.
place() {
  one_name_each "$tree" || damaged "it has hard links"
  chmod -R a-st,go-w "$tree" && chmod -R a-w "$tree" && chmod u+w "$tree"
  whole "$tree" || damaged "not what its lists say, once unpacked"
  read_info "$tree"
  [ "$for" = "$system" ] || die "$file: for another system ($for), and this is $system; get another bundle"
  [ "$day" -gt 0 ] || damaged "bundle.json has no date"
  if [ "$avx2" = true ] && [ -r /proc/cpuinfo ]; then
    case $(cat /proc/cpuinfo) in *avx2*) ;; *) die "$file: OpenCode in it needs a processor with AVX2; get a bundle with OpenCode's baseline build" ;; esac
  fi
  now=$(number)
  if [ -n "$now" ] && [ -z "$older" ] && [ -f "$base/current/bundle.json" ]; then
    new_day=$day new_serial=$serial
    read_info "$base/current"
    [ "$new_day" -gt "$day" ] || { [ "$new_day" -eq "$day" ] && [ "$new_serial" -ge "$serial" ]; } ||
      die "$file: of $new_day, serial $new_serial, and older than what is installed, of $day, serial $serial; get a newer one, or say --allow-older"
  fi
  key=$(digest <"$tree/SHA256SUMS" | cut -b-32)
  # The same may be there already, or be there and be damaged.
  generation=$key
  copy=0
  while [ -e "$base/generations/$generation" ] && ! whole "$base/generations/$generation"; do
    copy=$((copy + 1))
    generation=$key.$copy
  done
  if [ ! -e "$base/generations/$generation" ]; then
    mv "$tree" "$stage/$generation"
    mv "$stage/$generation" "$base/generations/"
    chmod 555 "$base/generations/$generation"
  fi
  if [ -z "$now" ] || [ "$(readlink "$base/history/$now")" != "../generations/$generation" ]; then
    now=$((${now:-0} + 1))
    sync # a rename may reach the disk before what it renames
    put_link "../generations/$generation" "$base/history" "$now"
    put_link "history/$now" "$base" current
    undone=$((now + 1))
    while [ -L "$base/history/$undone" ]; do
      rm -f "$base/history/$undone"
      undone=$((undone + 1))
    done
  fi
  [ -L "$prefix/bin/opencode" ] || put_link "$way" "$prefix/bin" opencode
}

# Removes all but the newest $keep of the history, and each generation that nothing leads to then.
forget() {
  kept=0
  while [ "$now" -gt 0 ]; do
    if [ -L "$base/history/$now" ]; then
      kept=$((kept + 1))
      [ "$kept" -le "$keep" ] || rm -f "$base/history/$now"
    fi
    now=$((now - 1))
  done
  wanted=$newline$(for link in "$base/history"/*; do readlink "$link"; done)$newline
  for old in "$base/generations"/*; do
    case $wanted in
    *"$newline../generations/${old##*/}$newline"*) ;;
    *) chmod u+w "$old" && mv "$old" "$stage/" ;; # only root moves a read-only directory
    esac
  done
}

go_back() {
  before=$(($(number) - 1))
  while [ "$before" -gt 0 ] && [ ! -x "$base/history/$before/bin/opencode" ]; do before=$((before - 1)); done
  [ "$before" -gt 0 ] || die "$prefix: nothing was installed before the present one" 1
  put_link "history/$before" "$base" current
}

remove_all() {
  [ ! -L "$prefix/bin/opencode" ] || rm -f "$prefix/bin/opencode"
  mv "$base/current" "$base/history" "$base/generations" "$stage/"
}

usage() {
  die "usage: install.sh [--sums FILE] [--allow-older] [--keep N] [--system NAME] FILE.tar.zst PREFIX, or install.sh --undo|--remove PREFIX"
}

main() {
  sums='' older='' keep='' system='' tree='' other=''
  while :; do
    case ${1-} in
    --allow-older) older=yes && shift ;;
    --undo | --remove) other=$1 && shift ;;
    --sums | --keep | --system | --tree)
      [ -n "${2-}" ] || usage
      case $1 in --sums) sums=$2 ;; --keep) keep=$2 ;; --system) system=$2 ;; --tree) tree=$2 ;; esac
      shift 2
      ;;
    --) shift && break ;;
    -*) usage ;;
    *) break ;;
    esac
  done
  [ -n "$other$tree" ] || { [ $# -ge 1 ] && file=$1 && shift; } || usage
  [ $# = 1 ] && [ -n "$1" ] || usage
  case $keep in *[!0-9]* | 0* | ??????????*) die "--keep $keep: the current one always stays; give 1 or more" ;; esac
  prefix=$1
  tools_there
  case $(uname -s) in Darwin) utf8=en_US.UTF-8 ;; *) utf8=C.UTF-8 ;; esac # bsdtar wants it for names
  case $prefix in /*) ;; *) prefix=$(pwd)/$prefix ;; esac
  base=$prefix/lib/opencode-cache
  way=../lib/opencode-cache/current/bin/opencode
  if [ -e "$prefix/bin/opencode" ] || [ -L "$prefix/bin/opencode" ]; then
    [ "$(readlink "$prefix/bin/opencode")" = "$way" ] || die "$prefix/bin/opencode: is not ours; move it away"
  fi
  if [ -e "$base/current" ] || [ -L "$base/current" ]; then
    [ -n "$(number)" ] || die "$base/current: is not ours; move it away"
  fi
  if [ -n "$other" ]; then
    [ -n "$(number)" ] || die "$prefix: nothing is installed there; give the PREFIX of an installation"
    begin
    case $other in
    --undo) go_back ;;
    --remove) remove_all && exit ;;
    esac
  else
    [ -n "$system" ] || this_system
    [ -z "$sums" ] || [ -f "$sums" ] || die "$sums: is not a file; give the SHA256SUMS that was checked"
    if [ -n "$tree" ]; then
      file='the bundle'
      case $tree in "$base"/.new-*/tree) ;; *) die "$tree: is not below $base; give FILE.tar.zst" ;; esac
      begin
      check_lists "$tree"
    else
      [ -f "$file" ] || die "$file: is not a file; give a bundle"
      begin
      unpack
    fi
    place
    [ -z "$keep" ] || forget
  fi
  printf '%s\n' "$prefix/bin/opencode"
}

# Read as a whole before any of it runs; what it runs does not read on.
main ${1+"$@"} </dev/null
