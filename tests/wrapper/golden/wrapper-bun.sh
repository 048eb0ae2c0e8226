#!/bin/sh
# Starts OpenCode with its cache in place. `opencode-cache wrap` wrote this file; a change made here is lost.
#
# The hot path forks nothing and writes nothing, and a shell that takes it never reads on: how the cold path works
# stands there. Names begin with oc_: assigning to a variable that the user exports would change it for OpenCode.
# shellcheck disable=SC3013 # -ef: dash, bash, busybox sh, ksh and POSIX.1-2024 have it



case ${XDG_CACHE_HOME+x}${XDG_CONFIG_HOME+x}${BUN_INSPECT_PRELOAD+x}${OPENCODE_CACHE_SET+x}${OPENCODE_CACHE_TRACE+x}${npm_config_userconfig+x}${NPM_CONFIG_USERCONFIG+x}${OPENCODE_DISABLE_AUTOUPDATE+x}:${HOME-} in
:/*)
  if [ -x /nix/store/00000000000000000000000000000000-opencode/bin/opencode ] &&
  [ -s "$HOME"/.cache-nix/opencode/.nix/restore-3880f6a0fb00.js ] &&
  [ "$HOME"/.cache-nix/opencode/bun.lock -ef /nix/store/00000000000000000000000000000000-opencode-cache/bun.lock ] &&
  [ "$HOME"/.cache-nix/opencode/node_modules -ef /nix/store/00000000000000000000000000000000-opencode-cache/node_modules ] &&
  [ "$HOME"/.cache-nix/opencode/package.json -ef /nix/store/00000000000000000000000000000000-opencode-cache/package.json ] &&
  [ "$HOME"/.cache-nix/opencode/tui -ef /nix/store/00000000000000000000000000000000-opencode-cache/tui ] &&
  [ -f "$HOME"/.cache-nix/opencode/models.json ] &&
  [ -f "$HOME"/.cache-nix/opencode/version ] &&
  [ -s "$HOME"/.cache-nix/opencode/models.json ] &&
  [ -r "$HOME"/.cache-nix/opencode/version ] && ! IFS= read -r oc_have <"$HOME"/.cache-nix/opencode/version && [ "$oc_have" = 9 ] &&
  [ ! -e "$HOME"/.cache-nix/opencode/.nix/busy ]; then
    export XDG_CACHE_HOME="$HOME/.cache-nix" OPENCODE_DISABLE_AUTOUPDATE=1 BUN_INSPECT_PRELOAD="$HOME"/.cache-nix/opencode/.nix/restore-3880f6a0fb00.js OPENCODE_CACHE_SET="XDG_CACHE_HOME OPENCODE_DISABLE_AUTOUPDATE BUN_INSPECT_PRELOAD"
    exec /nix/store/00000000000000000000000000000000-opencode/bin/opencode "$@"
  fi
  ;;
esac
oc_name=oc
oc_opencode=/nix/store/00000000000000000000000000000000-opencode/bin/opencode
oc_cache=/nix/store/00000000000000000000000000000000-opencode-cache
oc_layout=bun
oc_offline=''
oc_version=9
oc_config=''
oc_plugin=node_modules/@opencode-ai/plugin
oc_tools=''
oc_restore=restore-3880f6a0fb00.js
oc_die() {
  printf '%s: %s\n' "$oc_name" "$1" >&2
  exit 2
}
oc_set=${OPENCODE_CACHE_SET-}
case ${XDG_CACHE_HOME-} in
/*) oc_root=$XDG_CACHE_HOME ;;
*) # XDG: a relative path is to be ignored
  case ${HOME-} in
  /*) oc_root=$HOME/.cache-nix ;;
  *) oc_die "HOME is not set to an absolute path; set HOME, or XDG_CACHE_HOME to a directory for the cache" ;;
  esac
  if [ -n "${XDG_CACHE_HOME+set}" ]; then
    export OPENCODE_CACHE_USER_XDG_CACHE_HOME="$XDG_CACHE_HOME"
    unset XDG_CACHE_HOME
  fi
  export XDG_CACHE_HOME="$oc_root"
  oc_set="$oc_set${oc_set:+ }XDG_CACHE_HOME"
  ;;
esac
oc_dir=$oc_root/opencode
oc_own=$oc_dir/.nix
oc_config_home=
case ${XDG_CONFIG_HOME:-} in
/*) oc_config_home=$XDG_CONFIG_HOME ;;
'') case ${HOME-} in /*) oc_config_home=$HOME/.config ;; esac ;;
esac
oc_conf=$oc_config_home/opencode
if [ -z "${OPENCODE_DISABLE_AUTOUPDATE+set}" ]; then
  export OPENCODE_DISABLE_AUTOUPDATE=1
  oc_set="$oc_set${oc_set:+ }OPENCODE_DISABLE_AUTOUPDATE"
fi
oc_ask=
if [ -n "$oc_offline" ]; then
  if [ -z "${OPENCODE_DISABLE_MODELS_FETCH+set}" ]; then
    export OPENCODE_DISABLE_MODELS_FETCH=1
    oc_set="$oc_set${oc_set:+ }OPENCODE_DISABLE_MODELS_FETCH"
  fi
  oc_npmrc=${npm_config_userconfig:-${NPM_CONFIG_USERCONFIG:-${HOME-}/.npmrc}}
  if [ "$oc_layout" = bun ]; then
    if [ -z "${npm_config_update_notifier+set}${NPM_CONFIG_UPDATE_NOTIFIER+set}" ]; then
      export npm_config_update_notifier=false
      oc_set="$oc_set${oc_set:+ }npm_config_update_notifier"
    fi
    if [ -n "${BUN_CONFIG_REGISTRY+set}${npm_config_registry+set}${NPM_CONFIG_REGISTRY+set}" ]; then
      :
    elif [ -e "$oc_npmrc" ] || [ -e "${HOME-}/.bunfig.toml" ] || [ -e "$oc_config_home/.bunfig.toml" ] ||
      [ -e "$oc_conf/bunfig.toml" ]; then
      oc_ask=registry
    else
      export npm_config_registry=http://127.0.0.1:9
      oc_set="$oc_set${oc_set:+ }npm_config_registry"
    fi
  elif [ -z "${npm_config_fetch_retries+set}${NPM_CONFIG_FETCH_RETRIES+set}" ]; then
    if [ -e "$oc_npmrc" ]; then
      oc_ask=fetch-retries
    else
      export npm_config_fetch_retries=0
      oc_set="$oc_set${oc_set:+ }npm_config_fetch_retries"
    fi
  fi
fi
oc_preload() {
  case " $oc_set " in
  *" BUN_INSPECT_PRELOAD "*) ;;
  *)
    if [ -n "${BUN_INSPECT_PRELOAD+set}" ]; then
      export OPENCODE_CACHE_USER_BUN_INSPECT_PRELOAD="$BUN_INSPECT_PRELOAD"
    fi
    oc_set="$oc_set${oc_set:+ }BUN_INSPECT_PRELOAD"
    ;;
  esac
  export BUN_INSPECT_PRELOAD="$oc_own/$oc_restore" OPENCODE_CACHE_SET="$oc_set"
}
if [ -z "${OPENCODE_CACHE_TRACE-}$oc_ask" ] &&
  [ -x "$oc_opencode" ] &&
  [ -s "$oc_own"/"$oc_restore" ] &&
  [ "$oc_dir"/bun.lock -ef "$oc_cache"/bun.lock ] &&
  [ "$oc_dir"/node_modules -ef "$oc_cache"/node_modules ] &&
  [ "$oc_dir"/package.json -ef "$oc_cache"/package.json ] &&
  [ "$oc_dir"/tui -ef "$oc_cache"/tui ] &&
  [ -f "$oc_dir"/models.json ] &&
  [ -f "$oc_dir"/version ] &&
  [ -s "$oc_dir"/models.json ] &&
  [ -r "$oc_dir"/version ] && ! IFS= read -r oc_have <"$oc_dir"/version && [ "$oc_have" = "$oc_version" ] &&
  [ ! -e "$oc_own"/busy ]; then
  oc_preload
  exec "$oc_opencode" "$@"
fi

# --- Not so hot: something is off, or is the user's own way. ---

# bash takes options from an exported SHELLOPTS, and hands on what they are at `exec`.
oc_options=$-
set -u +aefC

# Runs `"$@" PARENT WAY-UP-FROM-IT NAME…` for each directory that holds links.
oc_entries() {
  "$@" '' '' bun.lock node_modules package.json tui
}

# Runs `"$@" NAME` for each file that is copied.
oc_copies() {
  "$@" models.json
}

# Whether a line of the file $2 (npmrc, bunfig.toml) sets the key $1.
oc_file_sets() {
  [ -f "$2" ] && [ -r "$2" ] || return 1
  while read -r oc_line || [ -n "$oc_line" ]; do
    case $oc_line in "$1"=* | "$1 "* | "\"$1\""* | "[install.$1]"*) return 0 ;; esac
  done <"$2"
  return 1
}

case $oc_ask in
fetch-retries)
  oc_file_sets fetch-retries "$oc_npmrc" || {
    export npm_config_fetch_retries=0
    oc_set="$oc_set${oc_set:+ }npm_config_fetch_retries"
  }
  ;;
registry)
  oc_file_sets registry "$oc_npmrc" ||
    oc_file_sets registry "${HOME-}/.bunfig.toml" || oc_file_sets registry "$oc_config_home/.bunfig.toml" ||
    oc_file_sets registry "$oc_conf/bunfig.toml" || {
    export npm_config_registry=http://127.0.0.1:9
    oc_set="$oc_set${oc_set:+ }npm_config_registry"
  }
  ;;
esac

oc_trace() {
  [ -z "${OPENCODE_CACHE_TRACE-}" ] || printf '%s: %s\n' "$oc_name" "$1" >&2
}

oc_group_right() {
  oc_parent=$1
  shift 2
  for oc_base in "$@"; do
    [ "$oc_dir/$oc_parent$oc_base" -ef "$oc_cache/$oc_parent$oc_base" ] || {
      oc_trace "$oc_dir/$oc_parent$oc_base is not the cache's"
      return 1
    }
  done
}

# A power cut may leave a file that was renamed into its place without a byte in it.
oc_copy_there() { [ -s "$oc_dir/$1" ] && [ -f "$oc_dir/$1" ]; }

# OpenCode (bun layout, src/global/index.ts) compares the whole file: a newline at its end would be wrong too.
oc_version_right() {
  [ -n "$oc_version" ] || return 0
  [ -f "$oc_dir/version" ] && [ -r "$oc_dir/version" ] && ! IFS= read -r oc_have <"$oc_dir/version" &&
    [ "$oc_have" = "$oc_version" ]
}

# Right enough for OpenCode to work with this cache.
oc_linked() {
  [ "$oc_own/$oc_layout" -ef "$oc_cache" ] && oc_entries oc_group_right && oc_version_right
}

oc_no_stage() {
  set -- "$oc_own"/stage.*
  [ ! -e "$1" ]
}

# Whether package.json in $1 asks for nothing but @opencode-ai/plugin.
oc_only_plugin() {
  [ -e "$1/package.json" ] || return 0
  [ -f "$1/package.json" ] && [ -r "$1/package.json" ] || return 1
  oc_text=
  set -f
  while read -r oc_line || [ -n "$oc_line" ]; do
    # shellcheck disable=SC2086 # split on purpose: spaces go
    set -- $oc_line
    IFS=
    oc_text=$oc_text$*
    unset IFS
  done <"$1/package.json"
  set +f
  case $oc_text in
  *'ependencies":{"@opencode-ai/plugin":"'*)
    oc_line=${oc_text#*'ependencies":{"@opencode-ai/plugin":"'}
    oc_text=${oc_text%%'"@opencode-ai/plugin":"'*}${oc_line#*\"}
    ;;
  esac
  case $oc_text in *'ependencies":{'[!\}]* | *'"workspaces":'*) return 1 ;; esac
}

# Nothing to do in the config directory: all is there, or is the user's, or cannot be written.
oc_config_right() {
  [ -n "$oc_config" ] && [ -n "$oc_config_home" ] || return 0
  if [ -L "$oc_conf/node_modules" ] || { [ -e "$oc_conf" ] && [ ! -d "$oc_conf" ]; }; then
    return 0
  elif [ -e "$oc_conf/node_modules" ]; then
    [ "$oc_conf/$oc_plugin" -ef "$oc_cache/$oc_config/$oc_plugin" ] && [ -s "$oc_conf/package-lock.json" ] ||
      [ ! -L "$oc_conf/$oc_plugin" ] || [ ! -w "$oc_conf/node_modules" ] || [ ! -w "$oc_conf" ]
  elif [ -e "$oc_conf" ] || [ -L "$oc_conf" ]; then
    [ ! -w "$oc_conf" ] || { [ -L "$oc_conf/package-lock.json" ] && [ ! -s "$oc_conf/package-lock.json" ]; } ||
      ! oc_only_plugin "$oc_conf"
  else
    return 1
  fi
}

oc_start() {
  [ -x "$oc_opencode" ] || oc_die "$oc_opencode is gone; build or install OpenCode with its cache again"
  # Bun ends where the file is missing.
  if [ -f "$oc_own/$oc_restore" ]; then
    oc_preload
  elif [ -n "$oc_set" ]; then
    export OPENCODE_CACHE_SET="$oc_set"
  fi
  set +u
  for oc_option in C e f u a; do
    case $oc_options in *"$oc_option"*) set "-$oc_option" ;; esac
  done
  exec "$oc_opencode" "$@"
}

if oc_linked && [ -s "$oc_own/$oc_restore" ] && oc_copies oc_copy_there && oc_config_right &&
  [ ! -e "$oc_own/busy" ] && oc_no_stage; then
  oc_trace "everything is in place in $oc_dir"
  oc_start "$@"
fi

# --- Cold path ---
#
# OpenCode's cache directory holds, beside everything that is OpenCode's or the user's:
#   .nix/<layout>     link to the cache, the only link that a new generation has to replace
#   <entry>           link to .nix/<layout>/<entry>; its text tells that it is ours, even when it dangles
#   <copy>            a file that OpenCode writes to; .nix/<copy>.sums: cksum of what we put there
#   .nix/restore-*.js what OpenCode preloads; older ones stay, since an OpenCode that runs may yet need them
#   .nix/stage.<pid>  a cold path at work, or one that was killed: the next start tidies up
#   .nix/busy         there may be a stage: what the hot path looks at
# Every change is made in the stage and renamed over what it replaces. `mv FILE DIRECTORY/` does that for a link
# to a directory too, with every mv; `mv -T` and `mv -h` exist on some systems only.

oc_newline='
'

# Runs a tool; on failure the first line of what it says is in oc_why.
oc_run() {
  oc_why=$("$@" 2>&1) && {
    oc_trace "$*"
    return 0
  }
  oc_why=${oc_why%%"$oc_newline"*}
  [ -n "$oc_why" ] || oc_why="$1 failed"
  return 1
}

# Removes stages whose process is gone. One with our own number is a leftover, or a start in another container:
# that one fails, and tries again.
oc_tidy() {
  for oc_old in "$1".*; do
    [ -e "$oc_old" ] || continue
    oc_pid=${oc_old##*.}
    if [ "$oc_pid" = $$ ] || ! kill -0 "$oc_pid" 2>/dev/null; then
      oc_run rm -rf "$oc_old" || return 1
    fi
  done
}

# Whether the link $1 is one that we put at $2 (below the directory) for this layout.
oc_is_ours() {
  [ -L "$1" ] || return 1
  oc_up=
  oc_rest=$2
  while [ "$oc_rest" != "${oc_rest#*/}" ]; do
    oc_rest=${oc_rest#*/}
    oc_up=../$oc_up
  done
  [ "$(readlink "$1")" = "$oc_up.nix/$oc_layout/$2" ]
}

# Makes way at $1 (below the directory) for a link or file that is about to be renamed over it, or for a directory
# if $2 says so. What is not ours is kept as `<name>.before-nix-<n>`: a directory moves there; anything else gets
# that second name first, so that it is there at every moment. Of several starts that do this at once, one finds
# the user's thing and the others what the first made of it: a directory that they want stays, and `rm` takes none.
oc_make_way() {
  oc_from=$oc_dir/$1
  [ -e "$oc_from" ] || [ -L "$oc_from" ] || return 0
  oc_is_ours "$oc_from" "$1" && return 0
  oc_moves=
  if [ -d "$oc_from" ] && [ ! -L "$oc_from" ]; then
    [ "${2-}" != directory ] || return 0
    rmdir "$oc_from" 2>/dev/null && return 0
    oc_moves=1
  fi
  oc_n=1
  oc_to=$oc_from.before-nix-1
  while [ -e "$oc_to" ] || [ -L "$oc_to" ]; do
    if [ -z "$oc_moves" ] && [ "$oc_to" -ef "$oc_from" ]; then
      [ "${2-}" != directory ] || oc_run rm -f "$oc_from"
      return
    fi
    oc_n=$((oc_n + 1))
    oc_to=$oc_from.before-nix-$oc_n
  done
  if [ -n "$oc_moves" ]; then
    oc_run mv "$oc_from" "$oc_to" || return 1
  elif [ -L "$oc_from" ]; then
    oc_text=$(readlink "$oc_from" && printf x) # `$()` takes every newline from an end
    oc_run ln -s -- "${oc_text%?x}" "$oc_to" || return 1
  else
    oc_run ln "$oc_from" "$oc_to" || return 1
  fi
  for oc_stray in "$oc_to" "$oc_to/${1##*/}"; do
    if oc_is_ours "$oc_stray" "$1"; then
      oc_run rm -f "$oc_stray"
      return
    fi
  done
  printf '%s: %s was in the way of the cache and is now %s\n' "$oc_name" "$oc_from" "$oc_to" >&2
  [ "${2-}" != directory ] || oc_run rm -f "$oc_from"
}

# Makes $1 (below the directory, slash at its end) and everything above it a real directory.
oc_real_directory() {
  oc_below=
  oc_left=$1
  while [ -n "$oc_left" ]; do
    oc_below=$oc_below${oc_left%%/*}
    oc_left=${oc_left#*/}
    if [ -L "$oc_dir/$oc_below" ] || [ ! -d "$oc_dir/$oc_below" ]; then
      oc_make_way "$oc_below" directory && oc_run mkdir -p "$oc_dir/$oc_below" || return 1
    fi
    oc_below=$oc_below/
  done
}

oc_group_in_cache() {
  oc_parent=$1
  shift 2
  for oc_base in "$@"; do
    [ -e "$oc_cache/$oc_parent$oc_base" ] || oc_die "the cache $oc_cache lacks $oc_parent$oc_base; build it again"
  done
}

oc_group_lacks() { # path, parent, way up, names
  oc_wanted=$1
  oc_parent=$2
  shift 3
  for oc_base in "$@"; do [ "$oc_parent$oc_base" != "$oc_wanted" ] || return 1; done
}

oc_place_group() {
  oc_parent=$1
  oc_way_up=$2
  shift 2
  for oc_base in "$@"; do
    shift
    [ "$oc_dir/$oc_parent$oc_base" -ef "$oc_cache/$oc_parent$oc_base" ] || set -- "$@" "$oc_base"
  done
  [ $# -gt 0 ] || return 0
  oc_real_directory "$oc_parent" || return 1
  for oc_base in "$@"; do
    oc_make_way "$oc_parent$oc_base" || return 1
    shift
    set -- "$@" "$oc_way_up.nix/$oc_layout/$oc_parent$oc_base"
  done
  oc_run mkdir "$oc_stage/links" && oc_run ln -s "$@" "$oc_stage/links/" &&
    oc_run mv -f "$oc_stage/links"/* "$oc_dir/$oc_parent" && oc_run rmdir "$oc_stage/links"
}

# Removes links of other generations that this one does not have.
oc_sweep() {
  for oc_link in "$oc_dir"/* "$oc_dir"/*/* "$oc_dir"/*/*/* "$oc_dir"/packages/*/*/*; do
    [ -L "$oc_link" ] || continue
    oc_below=${oc_link#"$oc_dir"/}
    if oc_entries oc_group_lacks "$oc_below" && oc_is_ours "$oc_link" "$oc_below"; then
      oc_run rm -f "$oc_link" || return 1
    fi
  done
}

# Puts the copy $1 where there is none, and renews it on a new generation if it is still what we once put there.
# Its cksum is recorded before it is placed: a start that is killed in between leaves nothing that we would not know.
oc_copy_in() {
  oc_have=
  if oc_copy_there "$1"; then
    [ ! "$oc_own/$oc_layout" -ef "$oc_cache" ] && [ ! -L "$oc_dir/$1" ] || return 0
    oc_sum "$oc_dir/$1" || return 1
    oc_have=$oc_why
  fi
  oc_sum "$oc_cache/$1" || return 1
  oc_want=$oc_why
  if [ -n "$oc_have" ] && [ "$oc_have" != "$oc_want" ] && ! oc_recorded "$oc_have" "$oc_own/$1.sums"; then
    oc_trace "$oc_dir/$1 is the user's"
    return 0
  fi
  printf '%s\n' "$oc_want" ${oc_have:+"$oc_have"} 2>/dev/null >"$oc_stage/$1.sums" || {
    oc_why="$oc_stage: cannot be written"
    return 1
  }
  oc_run mv -f "$oc_stage/$1.sums" "$oc_own/" || return 1
  [ "$oc_have" != "$oc_want" ] || return 0
  oc_run cp "$oc_cache/$1" "$oc_stage/$1" && oc_run chmod u+w "$oc_stage/$1" || return 1
  [ -f "$oc_dir/$1" ] || oc_make_way "$1" || return 1
  oc_run mv -f "$oc_stage/$1" "$oc_dir/"
}

oc_sum() {
  oc_why=$(cksum 2>&1 <"$1")
}

oc_recorded() {
  [ -r "$2" ] || return 1
  while read -r oc_line; do [ "$oc_line" != "$1" ] || return 0; done <"$2"
  return 1
}

oc_place_version() {
  oc_version_right && return 0
  printf %s "$oc_version" 2>/dev/null >"$oc_stage/version" || {
    oc_why="$oc_stage: cannot be written"
    return 1
  }
  [ -f "$oc_dir/version" ] || oc_make_way version || return 1
  oc_run mv -f "$oc_stage/version" "$oc_dir/"
}

oc_place_restore() {
  [ ! -s "$oc_own/$oc_restore" ] || [ ! -f "$oc_own/$oc_restore" ] || return 0
  oc_restore_text 2>/dev/null >"$oc_stage/$oc_restore" || {
    oc_why="$oc_stage: cannot be written"
    return 1
  }
  [ -f "$oc_own/$oc_restore" ] || oc_make_way ".nix/$oc_restore" || return 1
  oc_run mv -f "$oc_stage/$oc_restore" "$oc_own/"
}

oc_place_pointer() {
  [ ! "$oc_own/$oc_layout" -ef "$oc_cache" ] || return 0
  [ -L "$oc_own/$oc_layout" ] || oc_make_way ".nix/$oc_layout" || return 1
  oc_run ln -s "$oc_cache" "$oc_stage/$oc_layout" && oc_run mv -f "$oc_stage/$oc_layout" "$oc_own/"
}

oc_restore_text() {
  cat <<'oc_end'
"use strict"
// Loaded into OpenCode before its own code (Bun's BUN_INSPECT_PRELOAD; tried on 1.18.33 and 1.0.61), so that what the
// wrapper adds to the environment serves OpenCode and nobody else: its children get the user's own.
// `process.env` stays as it is: OpenCode reads its switches, and npm's settings, at any time.
const fs = require("node:fs")
const { existsSync, readFileSync } = fs
const { basename, dirname, extname, join, resolve } = require("node:path")
const { isMainThread } = require("node:worker_threads")

const USERS = "OPENCODE_CACHE_USER_" // + name: a value that the wrapper had to replace
const started = { ...process.env }
const ours = new Set(["OPENCODE_CACHE_SET", ...(started.OPENCODE_CACHE_SET ?? "").split(" ")])

function usersOwn(given, [command, word]) {
  const env = { ...given }
  // OpenCode 1.0 starts itself as `bun add`, and up to 1.3 it asks `npm list` how it was installed, and `npm config`
  // where from: npm's and Bun's settings are meant for these. What the agent runs is a shell's; an MCP server may be
  // `npm exec`.
  const asks = basename(String(command)) === "npm" && ["list", "config"].includes(word)
  const manager = env.BUN_BE_BUN !== undefined || asks
  for (const name of ours) {
    const kept = manager && /^(BUN_CONFIG|npm_config)_/.test(name)
    if (!kept && env[name] === started[name]) delete env[name]
  }
  for (const name of Object.keys(env)) {
    if (!name.startsWith(USERS)) continue
    env[name.slice(USERS.length)] ??= env[name]
    delete env[name]
  }
  return env
}

// node:child_process ends here too. Without `env`, Bun gives a child what the process was started with.
const mended = (options, command) => ({ ...options, env: usersOwn(options?.env ?? started, command) })
for (const name of ["spawn", "spawnSync"]) {
  const start = Bun[name]
  Bun[name] = (first, second) =>
    Array.isArray(first) ? start.call(Bun, first, mended(second, first)) : start.call(Bun, mended(first, first.cmd))
}

// OpenCode 1.14 to 1.18 writes a `.gitignore` into each config directory, forgives a lack of permission, and ends on a
// read-only file system (`config/config.ts`; tried on 1.18.3 and 1.18.33).
const { writeFile } = fs
fs.writeFile = (path, ...rest) => {
  const done = rest.pop()
  const forgiven = (error) => {
    if (error?.code === "EROFS" && basename(String(path)) === ".gitignore") error.code = "EACCES"
    done(error)
  }
  writeFile(path, ...rest, typeof done === "function" ? forgiven : done)
}

// The grammars in the cache. OpenTUI takes a local path where a parser has a URL (`download-utils.ts`; tried on 1.18.33
// and 1.0.61), so nothing of ours has to stand in the user's data directory.
let grammars
function fromCache(parser) {
  grammars ??= ["bun", "packages"].flatMap((layout) => {
    const directory = join(__dirname, layout, "tree-sitter")
    const index = join(directory, "files.json")
    return existsSync(index) ? [{ directory, languages: JSON.parse(readFileSync(index, "utf8")) }] : []
  })
  const place = (url) => {
    const from = grammars.find(({ languages }) => languages[parser.filetype]?.[url])
    return from ? join(from.directory, from.languages[parser.filetype][url]) : url
  }
  const queries = Object.entries(parser.queries).map(([kind, urls]) => [kind, urls?.map(place)])
  return { ...parser, wasm: place(parser.wasm), queries: Object.fromEntries(queries) }
}

// The TUI's server is a thread, and threads do not inherit what is preloaded.
const Thread = globalThis.Worker
globalThis.Worker = class Worker extends Thread {
  constructor(url, options) {
    super(url, { ...options, preload: [__filename, ...[options?.preload ?? []].flat()] })
  }

  postMessage(message, ...rest) {
    const isParser = message?.type === "ADD_FILETYPE_PARSER"
    super.postMessage(isParser ? { ...message, filetypeParser: fromCache(message.filetypeParser) } : message, ...rest)
  }
}

// The user's own, which the wrapper had to replace by this file.
const own = started[USERS + "BUN_INSPECT_PRELOAD"]
if (own && isMainThread) require(resolve(own))

// A config directory (a project's `.opencode`, the user's own, OPENCODE_CONFIG_DIR) has no node_modules where OpenCode
// could not install them: its plugins and tools get what they import, and cannot find, from the cache. (Bun asks no
// onResolve hook about a bare name.)
const cached = join(__dirname, "packages", "config")
const resolved = (name, from) => {
  try {
    return Bun.resolveSync(name, from)
  } catch {
    return undefined
  }
}
if (existsSync(join(cached, "node_modules"))) {
  const { HOME, OPENCODE_CONFIG_DIR, XDG_CONFIG_HOME } = started
  const own = [XDG_CONFIG_HOME || (HOME && join(HOME, ".config"))].map((path) => path && join(path, "opencode"))
  const places = [...own, OPENCODE_CONFIG_DIR && resolve(OPENCODE_CONFIG_DIR)].filter((path) => path && existsSync(path))
  const patterns = places.flatMap((path) => [path, fs.realpathSync(path)]).map((path) => path.replace(/[^\w/]/g, "\\$&"))
  const directories = ["/(?:.*/)?\\.opencode", ...patterns].join("|")
  const filter = new RegExp(`^(?:${directories})/(?!(.*/)?node_modules/).*\\.[cm]?[jt]sx?$`)
  const imported = /(\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(["'])([@\w][^"':\n]*)\2/g
  Bun.plugin({
    name: "opencode-cache",
    setup(build) {
      build.onLoad({ filter }, ({ path }) => ({
        contents: readFileSync(path, "utf8").replace(imported, (text, before, _, name) => {
          const found = resolved(name, dirname(path)) ? undefined : resolved(name, cached)
          return found ? before + JSON.stringify(found) : text
        }),
        loader: extname(path).replace(/^\.[cm]?/, ""),
      }))
    },
  })
}

// Programs out of npm that OpenCode itself starts: MCP servers, formatters and language servers as `npx NAME` and the
// like, for which the cache has `packages/NAME`, and the npm tools. What a shell of the agent starts is left alone.
;((cache) => {
  const { realpathSync } = fs
  const trees = join(cache, "packages")
  if (!existsSync(trees)) return
  const RUNNERS = [["npx"], ["bunx"], ["pnpx"], ["npm", "exec"], ["npm", "x"], ["pnpm", "dlx"], ["yarn", "dlx"], ["bun", "x"]]
  const SPEC = /^((?:@[\w.~-]+\/)?[\w~-][\w.~-]*)(@[\w.^~<>=*+-]+)?$/

  // As `config/commands.py` takes such a command apart.
  function fetched([program, ...words]) {
    const command = [basename(String(program)), ...words]
    const runner = RUNNERS.find((runner) => runner.every((word, index) => command[index] === word))
    if (!runner) return
    const rest = command.slice(runner.length)
    let spec, named
    while (rest[0]?.startsWith("-")) {
      const [option, value] = rest.shift().split(/=(.*)/s)
      if (option === "--") break
      if (!["-p", "--package"].includes(option)) continue
      if (spec) return // several packages
      spec = value ?? rest.shift()
    }
    if (spec) named = rest[0] === "--" ? (rest.shift(), rest.shift()) : rest.shift()
    else {
      if (rest[0] === "--") rest.shift()
      spec = rest.shift()
      if (runner[0] === "npm" && rest[0] === "--") rest.shift()
    }
    const [, name] = SPEC.exec(spec ?? "") ?? []
    return name && { place: join(trees, spec, "node_modules", name), name, named, rest }
  }

  // npm's choice of a package's program (libnpmexec `get-bin-from-manifest.js`, npm 11).
  function script({ place, name, named }) {
    const { bin } = JSON.parse(readFileSync(join(place, "package.json"), "utf8"))
    const short = name.split("/").pop()
    if (typeof bin === "string") return named && named !== short ? undefined : join(place, bin)
    const names = Object.keys(bin ?? {})
    const single = new Set(Object.values(bin ?? {})).size === 1 ? names[0] : undefined
    const chosen = named ?? single ?? short
    return bin?.[chosen] && join(place, bin[chosen])
  }

  function fromCache(command, env) {
    const wanted = fetched(command)
    let file, rest
    if (wanted && existsSync(wanted.place)) [file, rest] = [script(wanted), wanted.rest]
    else if (String(command[0]).startsWith("/") && existsSync(command[0])) {
      file = realpathSync(command[0])
      rest = command.slice(1)
      if (!file.startsWith(realpathSync(trees) + "/")) return
    }
    if (!file) return
    const isNodes = /^#!.*\bnode\b/.test(readFileSync(file, "latin1").slice(0, 80)) || /\.[cm]?js$/.test(file)
    if (!isNodes) return wanted && { command: [file, ...rest] }
    const node = Bun.which("node", { PATH: env.PATH ?? "" })
    if (node) return wanted && { command: [node, file, ...rest] }
    // The Bun that OpenCode is made of runs them as well.
    return { command: [process.execPath, file, ...rest], env: { BUN_BE_BUN: "1" } }
  }

  for (const name of ["spawn", "spawnSync"]) {
    const start = Bun[name]
    Bun[name] = (first, second) => {
      const [command, options] = Array.isArray(first) ? [first, second] : [first.cmd, first]
      let found
      try {
        found = fromCache(command, options?.env ?? started)
      } catch {} // then it starts as it is written
      if (!found) return start.call(Bun, first, second)
      const { cmd, argv0, ...others } = options ?? {}
      return start.call(Bun, found.command, { ...others, env: { ...(others.env ?? started), ...found.env } })
    }
  }

  // OpenCode starts the TypeScript server where it finds the project's TypeScript. Where there is none, the server's own.
  const nodeModule = require("node:module")
  const { createRequire } = nodeModule
  nodeModule.createRequire = (from) => {
    const made = createRequire(from)
    const { resolve } = made
    made.resolve = Object.assign((id, ...rest) => {
      try {
        return resolve.call(made, id, ...rest)
      } catch (error) {
        const own = join(trees, "typescript-language-server/node_modules", String(id))
        if (/^typescript\/lib\//.test(id) && existsSync(own)) return own
        throw error
      }
    }, resolve)
    return made
  }
})(join(__dirname, "packages"))
oc_end
}

# Fills $1, a node_modules, with links to the packages of the cache that it has not; scopes are real directories.
# A link of ours that leads elsewhere is renewed, one that leads nowhere goes, anything else stays.
oc_link_modules() {
  oc_target=$oc_own/$oc_layout/$oc_config/node_modules
  for oc_link in "$1"/* "$1"/@*/*; do
    [ -L "$oc_link" ] || continue
    oc_below=${oc_link#"$1"/}
    [ ! "$oc_link" -ef "$oc_target/$oc_below" ] || continue
    case $(readlink "$oc_link") in
    */opencode/.nix/"$oc_layout/$oc_config/node_modules/$oc_below") oc_run rm -f "$oc_link" || return 1 ;;
    esac
  done
  for oc_scope in "$oc_target" "$oc_target"/@*; do
    [ -d "$oc_scope" ] || continue
    oc_to=$1${oc_scope#"$oc_target"}
    [ ! -L "$oc_to" ] || continue # the user's own scope
    [ -d "$oc_to" ] || oc_run mkdir "$oc_to" || return 1
    set -- "$1"
    for oc_package in "$oc_scope"/*; do
      case ${oc_package##*/} in @*) continue ;; esac
      [ -e "$oc_to/${oc_package##*/}" ] || [ -L "$oc_to/${oc_package##*/}" ] || set -- "$@" "$oc_package"
    done
    [ $# -gt 1 ] || continue
    oc_into=$1
    shift
    oc_run ln -s "$@" "$oc_to/" || return 1
    set -- "$oc_into"
  done
}

# OpenCode 1.18 (src/config/config.ts, src/npm/index.ts) asks the registry for @opencode-ai/plugin, unless there is a
# node_modules in the config directory and package-lock.json has that package. A node_modules whose plugin is not
# a link is the user's. Failure is never a reason not to start: OpenCode then asks, and goes on when that fails.
oc_place_config() {
  [ -n "$oc_config" ] && [ -n "$oc_config_home" ] || return 0
  [ -e "$oc_conf" ] || oc_run mkdir -p "$oc_conf" || return 0
  [ -w "$oc_conf" ] && oc_tidy "$oc_conf/.opencode-cache" || return 0
  if [ -e "$oc_conf/node_modules" ] || [ -L "$oc_conf/node_modules" ]; then
    [ ! -L "$oc_conf/node_modules" ] && [ -L "$oc_conf/$oc_plugin" ] || return 0
    case $(readlink "$oc_conf/$oc_plugin") in
    */opencode/.nix/"$oc_layout/$oc_config/$oc_plugin") oc_link_modules "$oc_conf/node_modules" || return 0 ;;
    *) return 0 ;; # the user's `npm link`
    esac
    [ ! -s "$oc_conf/package-lock.json" ] || return 0
  else
    oc_only_plugin "$oc_conf" || return 0
  fi
  oc_beside=$oc_conf/.opencode-cache.$$
  oc_run mkdir "$oc_beside" || return 0
  # The lock first: a node_modules without it would make OpenCode install over our links.
  if [ ! -s "$oc_conf/package-lock.json" ] && [ ! -L "$oc_conf/package-lock.json" ]; then
    oc_run cp "$oc_cache/$oc_config/package-lock.json" "$oc_beside/" &&
      oc_run chmod u+w "$oc_beside/package-lock.json" &&
      oc_run mv -f "$oc_beside/package-lock.json" "$oc_conf/"
  fi
  if [ ! -e "$oc_conf/node_modules" ] && [ -s "$oc_conf/package-lock.json" ]; then
    oc_run mkdir "$oc_beside/node_modules" && oc_link_modules "$oc_beside/node_modules" &&
      oc_run mv "$oc_beside/node_modules" "$oc_conf/"
  fi
  oc_run rm -rf "$oc_beside"
  return 0
}

# Not with `:`, a special builtin: a shell ends where a redirection of those fails.
oc_mark_busy() {
  printf '' 2>/dev/null >"$oc_own/busy" || {
    oc_why="$oc_own: cannot be written"
    return 1
  }
}

# One pass. The order matters: whoever turns the pointer last also sweeps after that, and whoever places links
# after somebody else's turn sees it in the last check.
oc_pass() {
  oc_why=
  oc_stage=$oc_own/stage.$$
  [ -d "$oc_own" ] || oc_make_way .nix directory || return 1
  oc_run mkdir -p "$oc_own" && oc_tidy "$oc_own/stage" && oc_run mkdir "$oc_stage" || return 1
  oc_mark_busy || return 1
  oc_place_restore && oc_copies oc_copy_in && oc_place_pointer && oc_sweep && oc_entries oc_place_group && oc_place_version || return 1
  oc_place_config
  oc_why=
  # In this order: a stage without `busy` would stay for ever. Of two that end at once both may leave `busy`
  # behind; the next start then passes here once more.
  oc_linked && oc_run rm -rf "$oc_stage" "$oc_own/busy" || return 1
  oc_no_stage || oc_mark_busy
}

[ -e "$oc_cache/manifest.json" ] ||
  oc_die "the cache $oc_cache is gone; build or install OpenCode with its cache again"
oc_entries oc_group_in_cache

# ln, mv and the like may be missing from the user's PATH; what OpenCode sees of it does not change.
oc_path=${PATH-}
PATH=${oc_tools:+$oc_tools:}${PATH:+$PATH:}/usr/bin:/bin
for oc_link in "$oc_root" "$oc_dir"; do
  [ ! -L "$oc_link" ] || [ -e "$oc_link" ] ||
    oc_die "$oc_link is a link that leads nowhere; make the directory that it names, or remove the link"
done
oc_try=1
until oc_pass; do
  if oc_linked; then # a cache root that cannot be written, with everything in place, is good enough
    oc_trace "not everything could be done: $oc_why"
    break
  elif [ "$oc_try" -ge 8 ]; then
    [ -z "$oc_why" ] ||
      oc_die "$oc_dir cannot be set up ($oc_why); make it a directory that can be written to, free space there or set XDG_CACHE_HOME"
    printf '%s: other starts keep changing %s; going on with what is there\n' "$oc_name" "$oc_dir" >&2
    break
  fi
  oc_try=$((oc_try + 1))
done
# Of a pass that was overtaken by another start; `busy` then lets the next one look again.
[ ! -e "$oc_stage" ] || oc_run rm -rf "$oc_stage"
PATH=$oc_path
oc_start "$@"
