#!@@{shell}
# Starts OpenCode with its cache in place. `opencode-cache wrap` wrote this file; a change made here is lost.
#
# The hot path forks nothing and writes nothing, and a shell that takes it never reads on: how the cold path works
# stands there. Names begin with oc_: assigning to a variable that the user exports would change it for OpenCode.
# shellcheck disable=SC3013,SC3067 # -ef and -O: dash, bash, busybox sh and ksh have them
@@{here}
@@{extra_path}

# --- Hot path: what the user has set wins, even if set to nothing. ---

oc_opencode=@@{opencode}
oc_cache=@@{cache}
# JavaScript that keeps the settings made here from OpenCode's children. It lies where this file does.
oc_preload=@@{preload}
# Names of what is set here and was not before; what there is to ask for before all is known.
oc_set=${OPENCODE_CACHE_SET-}
oc_ask=
@@{settings}

if [ -z "${OPENCODE_CACHE_TRACE-}$oc_ask" ] && @@{in_place}; then
  export OPENCODE_CACHE_SET="$oc_set"
  exec "$oc_opencode" "$@"
fi

# --- Not so hot: something is off, or is the user's own way. ---

oc_name=@@{name}
oc_layout=@@{layout}
oc_version=@@{version} # bun layout: what the file `version` has to say, else OpenCode empties the cache
oc_config=@@{config} # packages layout: directory with what the user's config directory gets links to
oc_plugin=node_modules/@opencode-ai/plugin
oc_record=@@{record} # the list of this generation's links
oc_tools=@@{tools} # directory of coreutils, or empty
oc_newline='
'

# bash takes options from an exported SHELLOPTS, and hands on what they are at `exec`.
oc_options=$-
set -u +aefC
# ln, mv and the like may be missing from the user's PATH; what OpenCode sees of it does not change.
oc_path=${PATH-}
PATH=${oc_tools:+$oc_tools:}${PATH:+$PATH:}/usr/bin:/bin
# Whether only to say what would be done, a line on stdout for each thing.
case ${OPENCODE_CACHE_TRACE-} in dry-run) oc_dry=1 ;; *) oc_dry= ;; esac

# Run `"$@" PARENT WAY-UP-FROM-IT NAME…` for each directory that holds links, and `"$@" NAME` for each copied file.
oc_entries() {
@@{entries}
}
oc_copies() { @@{copies}; }
oc_die() { printf '%s: %s\n' "$oc_name" "$1" >&2; exit 2; }
oc_trace() { [ -z "${OPENCODE_CACHE_TRACE-}" ] || [ -n "$oc_dry" ] || printf '%s: %s\n' "$oc_name" "$1" >&2; }
oc_does() { [ -z "$oc_dry" ] || printf '%s\t%s\n' "$1" "$2"; }
oc_write() { printf %s "$2" >"$1"; }
oc_no_stage() { set -- "$oc_own"/stage.* && [ ! -e "$1" ]; }

case $oc_ask in
HOME*) oc_die "HOME is not set to an absolute path; set HOME, or XDG_CACHE_HOME to a directory for the cache" ;;
esac
@@{asked}
for oc_link in "$oc_root" "$oc_dir"; do
  [ -e "$oc_link" ] || [ ! -L "$oc_link" ] ||
    oc_die "$oc_link is a link that leads nowhere; make the directory that it names, or remove the link"
  # shellcheck disable=SC2012 # the third word is a number
  [ ! -e "$oc_link" ] || [ -O "$oc_link" ] || ls -Ldn "$oc_link" | { read -r _ _ oc_user _ && [ "$oc_user" = 0 ]; } ||
    oc_die "$oc_link belongs to another user; set XDG_CACHE_HOME to a directory of your own"
done

# Runs the function $1 for each entry of a directory.
oc_each() {
  oc_function=$1 oc_parent=$2 && shift 3
  for oc_base in "$@"; do "$oc_function" "$oc_parent$oc_base" || return 1; done
}
oc_right() { [ "$oc_dir/$1" -ef "$oc_cache/$1" ] || ! oc_trace "$oc_dir/$1 is not the cache's"; }

# A power cut may leave a file that was renamed into its place without a byte in it.
oc_copy_there() { [ -s "$oc_dir/$1" ] && [ -f "$oc_dir/$1" ]; }

# OpenCode (bun layout, src/global/index.ts) compares the whole file: a newline at its end would be wrong too.
oc_version_right() {
  [ -z "$oc_version" ] || { [ -f "$oc_dir/version" ] && [ -r "$oc_dir/version" ] &&
    ! IFS= read -r oc_have <"$oc_dir/version" && [ "$oc_have" = "$oc_version" ]; }
}

# Right enough for OpenCode to work with this cache.
oc_linked() {
  [ "$oc_own/$oc_layout" -ef "$oc_cache" ] && [ -s "$oc_own/$oc_record" ] && oc_entries oc_each oc_right && oc_version_right
}

# Whether package.json in the config directory asks for nothing but @opencode-ai/plugin.
oc_only_plugin() {
  [ -e "$oc_conf/package.json" ] || return 0
  [ -f "$oc_conf/package.json" ] && oc_text=$(tr -d ' \t\r\n' 2>&1 <"$oc_conf/package.json") || return 1
  case $oc_text in
  *'ependencies":{"@opencode-ai/plugin":"'*)
    oc_line=${oc_text#*'ependencies":{"@opencode-ai/plugin":"'}
    oc_text=${oc_text%%'"@opencode-ai/plugin":"'*}${oc_line#*\"}
    ;;
  esac
  case $oc_text in *'ependencies":{'[!\}]* | *'"workspaces":'*) return 1 ;; esac
}

oc_config_right() {
  [ -z "$oc_config" ] || [ -z "$oc_config_home" ] ||
    { [ "$oc_conf/$oc_plugin" -ef "$oc_cache/$oc_config/$oc_plugin" ] && [ -s "$oc_conf/package-lock.json" ]; }
}

# Whether there is something to do in the config directory. By oc_task: to link, to renew; else why there is not.
# A node_modules whose plugin is not a link of ours is the user's, be the link from `npm link`.
oc_config_wants() {
  oc_task=own
  if [ -L "$oc_conf/node_modules" ] || { [ -e "$oc_conf" ] && [ ! -d "$oc_conf" ]; }; then
    return 1
  elif [ -e "$oc_conf/node_modules" ]; then
    case $([ ! -L "$oc_conf/$oc_plugin" ] || readlink "$oc_conf/$oc_plugin") in
    */opencode/.nix/"$oc_layout/$oc_config/$oc_plugin") oc_task=renew ;;
    *) return 1 ;;
    esac
    [ -w "$oc_conf/node_modules" ] && [ -w "$oc_conf" ] || oc_task=unwritable
  elif [ ! -w "$oc_conf" ] && { [ -e "$oc_conf" ] || [ -L "$oc_conf" ]; }; then
    oc_task=unwritable
  elif ! oc_only_plugin; then
    oc_task=dependencies
  elif [ ! -L "$oc_conf/package-lock.json" ] || [ -s "$oc_conf/package-lock.json" ]; then
    oc_task="link"
  fi
  case $oc_task in own | unwritable | dependencies) return 1 ;; esac
}

oc_start() {
  [ -x "$oc_opencode" ] || oc_die "$oc_opencode is gone; build or install OpenCode with its cache again"
  [ -s "${oc_preload:-$oc_opencode}" ] || oc_die "$oc_preload is gone; build or install OpenCode with its cache again"
  [ -z "$oc_set" ] || export OPENCODE_CACHE_SET="$oc_set"
  PATH=$oc_path
  set +u
  for oc_option in C e f u a; do
    case $oc_options in *"$oc_option"*) set "-$oc_option" ;; esac
  done
  exec "$oc_opencode" "$@"
}

if [ -z "$oc_dry" ] && oc_linked && oc_copies oc_copy_there && [ ! -e "$oc_own/busy" ] && oc_no_stage &&
  { oc_config_right || ! oc_config_wants; }; then
  oc_trace "everything is in place in $oc_dir"
  oc_start "$@"
fi

# --- Cold path ---
#
# OpenCode's cache directory holds, beside everything that is OpenCode's or the user's:
#   .nix/<layout>         link to the cache
#   <entry>               link to .nix/<layout>/<entry>; its text tells that it is ours, even when it dangles
#   .nix/<layout>.links.* lists of such links, one for each generation that may have some
#   <copy>                a file that OpenCode writes to; .nix/<copy>.sums: cksum of what we put there
#   .nix/stage.<pid>      a cold path at work, or one that was killed: the next start tidies up
#   .nix/busy             there may be a stage: what the hot path looks at
# Every change is made in the stage and renamed over what it replaces. `mv FILE DIRECTORY/` does that for a link
# to a directory too, with every mv; `mv -T` and `mv -h` exist on some systems only.

# Runs a tool; on failure the first line of what it says is in oc_why.
oc_run() {
  [ -z "$oc_dry" ] || return 0
  oc_why=$("$@" 2>&1) || {
    oc_why=${oc_why%%"$oc_newline"*}
    oc_why=${oc_why:-$1 failed}
    return 1
  }
  oc_trace "$*"
}

# Removes stages whose process is gone. One with our own number is a leftover, or a start in another container:
# that one fails, and tries again.
oc_tidy() {
  for oc_old in "$1".*; do
    oc_pid=${oc_old##*.}
    [ ! -e "$oc_old" ] || { [ "$oc_pid" != $$ ] && kill -0 "$oc_pid" 2>/dev/null; } && continue
    oc_does tidy "$oc_old"
    oc_run rm -rf "$oc_old" || return 1
  done
}

# Whether the link $1 is one that we put at $2 (below the directory) for this layout.
oc_is_ours() {
  [ -L "$1" ] && oc_leads=$(readlink "$1") || return 1
  case ${oc_leads%".nix/$oc_layout/$2"} in "$oc_leads" | *[!./]*) return 1 ;; esac
}

# Makes way at $1 (below the directory) for a link that is about to be renamed over it, or for a file or directory
# if $2 says so. What is not ours is kept as `<name>.before-nix-<n>`: a directory moves there; anything else gets
# that second name first, so that it is there at every moment. Of several starts that do this at once, one finds
# the user's thing and the others what the first made of it: a directory that they want stays, and `rm` takes none.
oc_make_way() {
  oc_from=$oc_dir/$1
  [ -e "$oc_from" ] || [ -L "$oc_from" ] || return 0
  { [ "${2-}" = file ] && [ -f "$oc_from" ]; } || oc_is_ours "$oc_from" "$1" && return 0
  oc_moves=
  if [ -d "$oc_from" ] && [ ! -L "$oc_from" ]; then
    [ "${2-}" != directory ] || return 0
    [ -n "$(ls -A "$oc_from")" ] || ! oc_run rmdir "$oc_from" || return 0
    oc_moves=1
  fi
  oc_n=1 oc_to=$oc_from.before-nix-1
  while [ -e "$oc_to" ] || [ -L "$oc_to" ]; do
    if [ -z "$oc_moves" ] && [ "$oc_to" -ef "$oc_from" ]; then
      [ "${2-}" != directory ] || oc_run rm -f "$oc_from"
      return
    fi
    oc_n=$((oc_n + 1))
    oc_to=$oc_from.before-nix-$oc_n
  done
  oc_does keep "$1"
  if [ -n "$oc_moves" ]; then
    oc_run mv "$oc_from" "$oc_to" || return 1
  elif [ -L "$oc_from" ]; then
    oc_text=$(readlink "$oc_from" && printf x) # `$()` takes every newline from an end
    oc_run ln -s -- "${oc_text%?x}" "$oc_to" || return 1
  else
    oc_run ln "$oc_from" "$oc_to" || return 1
  fi
  for oc_stray in "$oc_to" "$oc_to/${1##*/}"; do
    ! oc_is_ours "$oc_stray" "$1" || { oc_run rm -f "$oc_stray"; return; }
  done
  [ -n "$oc_dry" ] || printf '%s: %s was in the way of the cache and is now %s\n' "$oc_name" "$oc_from" "$oc_to" >&2
  [ "${2-}" != directory ] || oc_run rm -f "$oc_from"
}

# Makes $1 (below the directory) and everything above it a real directory.
oc_real_directory() {
  case $1 in */*) oc_real_directory "${1%/*}" || return 1 ;; esac
  [ ! -L "$oc_dir/$1" ] && [ -d "$oc_dir/$1" ] || { oc_make_way "$1" directory && oc_run mkdir -p "$oc_dir/$1"; }
}

# Renames what the stage has by the name of $1 (below the directory) over what is there.
oc_put() {
  oc_make_way "$1" file || return 1
  oc_to=$oc_dir/$1
  oc_run mv -f "$oc_stage/${1##*/}" "${oc_to%/*}/"
}
oc_in_cache() {
  [ -e "$oc_cache/$1" ] || oc_die "the cache $oc_cache lacks $1; build it again"
  oc_all=$oc_all$1$oc_newline
}

# In a dry run the link to the cache has not been turned.
oc_place_group() {
  oc_parent=$1 oc_way_up=$2 && shift 2
  for oc_base in "$@"; do
    shift
    [ "$oc_dir/$oc_parent$oc_base" -ef "$oc_cache/$oc_parent$oc_base" ] || set -- "$@" "$oc_base"
  done
  [ $# -gt 0 ] || return 0
  oc_real_directory "${oc_parent%/}" || return 1
  for oc_base in "$@"; do
    shift
    [ -z "$oc_dry" ] || ! oc_is_ours "$oc_dir/$oc_parent$oc_base" "$oc_parent$oc_base" || continue
    oc_make_way "$oc_parent$oc_base" || return 1
    oc_does link "$oc_parent$oc_base"
    set -- "$@" "$oc_way_up.nix/$oc_layout/$oc_parent$oc_base"
  done
  oc_run mkdir "$oc_stage/links" && oc_run ln -s "$@" "$oc_stage/links/" &&
    oc_run mv -f "$oc_stage/links"/* "$oc_dir/$oc_parent" && oc_run rmdir "$oc_stage/links"
}
# Removes the links in oc_text that this generation does not have, and directories that then are empty.
oc_remove() {
  while [ -n "$oc_text" ]; do
    oc_below=${oc_text%%"$oc_newline"*}
    oc_text=${oc_text#"$oc_below"}
    oc_text=${oc_text#"$oc_newline"}
    case $oc_newline$oc_all in *"$oc_newline$oc_below$oc_newline"*) continue ;; esac
    oc_is_ours "$oc_dir/$oc_below" "$oc_below" || continue
    oc_does remove "$oc_below"
    oc_run rm -f "$oc_dir/$oc_below" && { oc_run rmdir -p "$oc_dir/${oc_below%/*}" || :; } || return 1
  done
}

# By the lists of other generations. A list gets another name first: a start that is still linking by it finds in the
# end that it is gone, and begins anew.
oc_sweep() {
  for oc_list in "$oc_own/$oc_layout".links.*; do
    [ "$oc_list" != "$oc_own/$oc_record" ] && [ -f "$oc_list" ] || continue
    { oc_text=$(cat "$oc_list" 2>/dev/null) && case $oc_list in *.old) ;; *) oc_run mv -f "$oc_list" "$oc_list.old" ;; esac; } ||
      { [ ! -e "$oc_list" ] || return 1; continue; } # else another start sweeps by it
    oc_remove && oc_run rm -f "${oc_list%.old}.old" || return 1
  done
}

# Adds every link below $1 to oc_text: for where the lists are lost.
oc_find_links() {
  for oc_link in "$1"/*; do
    [ -L "$oc_link" ] && oc_text=$oc_text${oc_link#"$oc_dir"/}$oc_newline && continue
    [ ! -d "$oc_link" ] || [ "${oc_link##*/}" = node_modules ] || oc_find_links "$oc_link"
  done
}

# Puts the copy $1 where there is none, and renews it on a new generation if it is still what we once put there.
# Its cksum is recorded before it is placed: a start that is killed in between leaves nothing that we would not know.
oc_place_copy() {
  oc_have=
  if oc_copy_there "$1"; then
    [ ! "$oc_own/$oc_layout" -ef "$oc_cache" ] && [ ! -L "$oc_dir/$1" ] || return 0
    oc_why=$(cksum 2>&1 <"$oc_dir/$1") || return 1
    oc_have=$oc_why$oc_newline
  fi
  oc_why=$(cksum 2>&1 <"$oc_cache/$1") || return 1
  oc_want=$oc_why$oc_newline
  if [ -n "$oc_have" ] && [ "$oc_have" != "$oc_want" ]; then
    oc_text=$oc_newline$(cat "$oc_own/$1.sums" 2>/dev/null)$oc_newline
    case $oc_text in *"$oc_newline$oc_have"*) ;; *) oc_does own "$1" && return ;; esac
  fi
  oc_run oc_write "$oc_stage/$1.sums" "$oc_want$oc_have" && oc_put ".nix/$1.sums" || return 1
  [ "$oc_have" != "$oc_want" ] || return 0
  oc_does "${oc_have:+re}copy" "$1"
  oc_run cp "$oc_cache/$1" "$oc_stage/" && oc_run chmod u+w "$oc_stage/$1" && oc_put "$1"
}

oc_place_pointer() {
  if [ ! -s "$oc_own/$oc_record" ]; then
    set -- "$oc_own/$oc_layout".links.*
    oc_text=
    [ -s "$1" ] || oc_find_links "$oc_dir"
    oc_remove && oc_run oc_write "$oc_stage/$oc_record" "$oc_all" && oc_put ".nix/$oc_record" || return 1
  fi
  [ ! "$oc_own/$oc_layout" -ef "$oc_cache" ] || return 0
  oc_does turn ".nix/$oc_layout"
  # The sessions are copied before another OpenCode opens them. No start fails for that.
  set -- "${XDG_DATA_HOME:-${HOME-}/.local/share}"/opencode/opencode*.db
  [ -n "$oc_dry" ] || [ ! -f "$1" ] || [ ! -s "$oc_preload" ] ||
    (unset BUN_INSPECT_PRELOAD; BUN_BE_BUN=1 "$oc_opencode" "$oc_preload" "$oc_name" "$oc_own/$oc_layout" "$@" >&2)
  [ -L "$oc_own/$oc_layout" ] || oc_make_way ".nix/$oc_layout" || return 1
  oc_run ln -s "$oc_cache" "$oc_stage/$oc_layout" && oc_run mv -f "$oc_stage/$oc_layout" "$oc_own/"
}

# Fills $1, a node_modules, with links to the packages of the cache that it has not; scopes are real directories.
# A link of ours that leads elsewhere is renewed, one that leads nowhere goes, anything else stays.
oc_link_modules() {
  oc_into=$1
  oc_target=$oc_own/$oc_layout/$oc_config/node_modules
  for oc_link in "$oc_into"/* "$oc_into"/@*/*; do
    oc_below=${oc_link#"$oc_into"/}
    [ -L "$oc_link" ] && [ ! "$oc_link" -ef "$oc_target/$oc_below" ] || continue
    case $(readlink "$oc_link") in
    */opencode/.nix/"$oc_layout/$oc_config/node_modules/$oc_below") oc_run rm -f "$oc_link" || return 1 ;;
    esac
  done
  for oc_scope in "$oc_target" "$oc_target"/@*; do
    oc_to=$oc_into${oc_scope#"$oc_target"}
    [ -d "$oc_scope" ] && [ ! -L "$oc_to" ] || continue # the user's own scope
    [ -d "$oc_to" ] || oc_run mkdir "$oc_to" || return 1
    set --
    for oc_package in "$oc_scope"/[!@]*; do
      oc_link=$oc_to/${oc_package##*/}
      [ ! -e "$oc_package" ] || [ -e "$oc_link" ] || [ -L "$oc_link" ] || set -- "$@" "$oc_package"
    done
    [ $# = 0 ] || oc_run ln -s "$@" "$oc_to/" || return 1
  done
}

# OpenCode 1.18 (src/config/config.ts, src/npm/index.ts) asks the registry for @opencode-ai/plugin, unless there is a
# node_modules in the config directory and package-lock.json has that package. Failure is never a reason not to
# start: OpenCode then asks, and goes on when that fails.
oc_place_config() {
  [ -n "$oc_config" ] && [ -n "$oc_config_home" ] || return 0
  [ ! -w "$oc_conf" ] || oc_tidy "$oc_conf/.opencode-cache" || return 0
  oc_config_wants && [ -z "$oc_dry" ] || { oc_config_right || oc_does config "$oc_task"; return 0; }
  oc_beside=$oc_conf/.opencode-cache.$$
  oc_run mkdir -p "$oc_conf" && oc_run mkdir "$oc_beside" || return 0
  # The lock first: a node_modules without it would make OpenCode install over our links.
  if [ ! -s "$oc_conf/package-lock.json" ] && [ ! -L "$oc_conf/package-lock.json" ]; then
    oc_run cp "$oc_cache/$oc_config/package-lock.json" "$oc_beside/" &&
      oc_run chmod u+w "$oc_beside/package-lock.json" && oc_run mv -f "$oc_beside/package-lock.json" "$oc_conf/"
  fi
  if [ "$oc_task" = renew ]; then
    oc_link_modules "$oc_conf/node_modules"
  elif [ -s "$oc_conf/package-lock.json" ]; then
    oc_run mkdir "$oc_beside/node_modules" && oc_link_modules "$oc_beside/node_modules" &&
      oc_run mv "$oc_beside/node_modules" "$oc_conf/"
  fi
  oc_run rm -rf "$oc_beside"
  return 0
}

# One pass. The order matters: whoever turns the link to the cache also sweeps after that, and whoever places links
# after somebody else's turn sees it in the last check.
oc_pass() {
  oc_why=
  oc_stage=$oc_own/stage.$$
  if [ -n "$oc_dry" ]; then
    oc_below=$oc_dir
    while [ ! -e "${oc_below:-/}" ]; do oc_below=${oc_below%/*}; done
    oc_why="$oc_below cannot be written"
    [ -d "${oc_below:-/}" ] && [ -w "${oc_below:-/}" ] || return 1
  fi
  [ -d "$oc_own" ] || oc_make_way .nix directory || return 1
  oc_run mkdir -p "$oc_own" && oc_tidy "$oc_own/stage" && oc_run mkdir "$oc_stage" && oc_run oc_write "$oc_own/busy" "" || return 1
  oc_copies oc_place_copy && oc_place_pointer && oc_sweep && oc_entries oc_place_group || return 1
  oc_version_right || { oc_does write version && oc_run oc_write "$oc_stage/version" "$oc_version" && oc_put version; } || return 1
  oc_place_config
  oc_why=
  [ -z "$oc_dry" ] || return 0
  # In this order: a stage without `busy` would stay for ever. Of two that end at once both may leave `busy`
  # behind; the next start then passes here once more.
  oc_linked && oc_run rm -rf "$oc_stage" "$oc_own/busy" || return 1
  oc_no_stage || oc_run oc_write "$oc_own/busy" ""
}

[ -e "$oc_cache/manifest.json" ] ||
  oc_die "the cache $oc_cache is gone; build or install OpenCode with its cache again"
oc_all=
oc_entries oc_each oc_in_cache
@@{here_now}
oc_umask=$(umask) && umask u+rwx,g-w,o-w # what is made here is the user's to change, and nobody else's
oc_try=${oc_dry:+8}
until oc_pass; do
  if oc_linked; then # a cache root that cannot be written, with everything in place, is good enough
    oc_trace "not everything could be done: $oc_why"
    break
  elif [ "${oc_try:=1}" -ge 8 ]; then
    [ -z "$oc_why" ] ||
      oc_die "$oc_dir cannot be set up ($oc_why); make it a directory that can be written to, free space there or set XDG_CACHE_HOME"
    printf '%s: other starts keep changing %s; going on with what is there\n' "$oc_name" "$oc_dir" >&2
    break
  fi
  oc_try=$((oc_try + 1))
done
[ -z "$oc_dry" ] || exit 0
# Of a pass that was overtaken by another start; `busy` then lets the next one look again.
[ ! -e "$oc_stage" ] || oc_run rm -rf "$oc_stage"
umask "$oc_umask"
oc_start "$@"
