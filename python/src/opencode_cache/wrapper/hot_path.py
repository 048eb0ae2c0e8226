"""The wrapper's hot path as shell text: the settings that it makes, and whether all is in place.

A start that finds all in place is one shell that reads a page and a half; every `stat` counts. The settings
are one table, which the hot path and the part that reads the user's files are both rendered from.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opencode_cache.formats.manifest import Manifest

PLUGIN = "@opencode-ai/plugin"
_NPMRC = '"${npm_config_userconfig:-${NPM_CONFIG_USERCONFIG:-${HOME-}/.npmrc}}"'
_BUNFIGS = ('"${HOME-}/.bunfig.toml"', '"$oc_config_home/.bunfig.toml"', '"$oc_conf/bunfig.toml"')


@dataclass(frozen=True)
class Setting:
    """A variable that is set for OpenCode where the user has set none of `users`."""

    name: str
    value: str
    """As a shell word."""
    users: tuple[str, ...]
    key: str = ""
    """What a line of one of `files` calls it; such a line is the user's setting too."""
    files: tuple[str, ...] = ()
    """Shell words. Reading them is not for the hot path, which only looks whether one is there."""


def settings(layout: str, *, offline: bool) -> list[Setting]:
    """Every setting, apart from the cache root and the file that is preloaded.

    npm waits 70 s for its two retries; 2.x takes its word that there is no network and asks for nothing,
    where it would look up unpinned specs in the background. The catalogue of 2.x is a file, named by way of
    the link that the next cache turns, since its service outlives a cache. 1.0.x runs `bun add` at every
    start and ignores its failure, and asks npm for its registry to look for an update there: port 9 of this
    machine refuses at once. The npm that OpenCode starts to see how it was installed would look for a newer.
    """
    table = [Setting("OPENCODE_DISABLE_AUTOUPDATE", "1", ("OPENCODE_DISABLE_AUTOUPDATE",))]
    if not offline:
        return table
    table.append(Setting("OPENCODE_DISABLE_MODELS_FETCH", "1", ("OPENCODE_DISABLE_MODELS_FETCH",)))
    if layout == "generations":
        npms = ("npm_config_offline", "NPM_CONFIG_OFFLINE")
        table += [
            Setting("OPENCODE_MODELS_PATH", '"$oc_dir"/models.json', ("OPENCODE_MODELS_PATH",)),
            Setting(npms[0], "true", npms, "offline", (_NPMRC,)),
        ]
    elif layout == "bun":
        notifier = ("npm_config_update_notifier", "NPM_CONFIG_UPDATE_NOTIFIER")
        registry = ("npm_config_registry", "NPM_CONFIG_REGISTRY", "BUN_CONFIG_REGISTRY")
        nobody = "http://127.0.0.1:9"
        table += [
            Setting(notifier[0], "false", notifier),
            Setting(registry[0], nobody, registry, "registry", (_NPMRC, *_BUNFIGS)),
        ]
    else:
        retries = ("npm_config_fetch_retries", "NPM_CONFIG_FETCH_RETRIES")
        table.append(Setting(retries[0], "0", retries, "fetch-retries", (_NPMRC,)))
    return table


_ROOT = """\
case ${XDG_CACHE_HOME-} in
/*) oc_root=$XDG_CACHE_HOME ;;
*) # XDG: a relative path is to be ignored
  case ${HOME-} in /*) ;; *) oc_ask=HOME ;; esac
  oc_root=${HOME-}/.cache-nix
  if [ -n "${XDG_CACHE_HOME+x}" ]; then
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
oc_conf=$oc_config_home/opencode"""

# To Bun a backslash is a slash, and bytes that are not UTF-8 are another character: it would end, not
# finding the file. (BUN_OPTIONS=--preload does nothing in a program that was compiled with Bun; tried on
# 1.0.61, 1.3.2, 1.14.34 and 1.18.33.)
_PRELOAD = """\
case $oc_preload in
'' | *\\\\*)
  oc_preload=
  [ -z "${OPENCODE_SERVER_PASSWORD-}" ] ||
    printf '%s: %s\\n' "$0" "commands of the agent see OPENCODE_SERVER_PASSWORD, since nothing can be \
preloaded from a path with a backslash or a byte that is not UTF-8; install OpenCode elsewhere" >&2
  ;;
*)
  case " $oc_set " in
  *" BUN_INSPECT_PRELOAD "*) ;;
  *)
    [ -z "${BUN_INSPECT_PRELOAD+x}" ] || export OPENCODE_CACHE_USER_BUN_INSPECT_PRELOAD="$BUN_INSPECT_PRELOAD"
    oc_set="$oc_set${oc_set:+ }BUN_INSPECT_PRELOAD"
    ;;
  esac
  export BUN_INSPECT_PRELOAD="$oc_preload"
  ;;
esac"""

# For a place that is known at the start only; of other wrappers it is known before.
_UTF8 = """\
case $oc_here in
*[!a-zA-Z0-9/._+@:=,%~\\ -]*)
  oc_more=0
  for oc_byte in $(printf %s "$oc_here" | PATH=${PATH:+$PATH:}/usr/bin:/bin od -An -v -to1); do
    case $oc_more$oc_byte in
    0[01]??) ;;
    03[0-3]?) oc_more=1 ;;
    03[45]?) oc_more=2 ;;
    036?) oc_more=3 ;;
    [123]2??) oc_more=$((oc_more - 1)) ;;
    *) oc_preload= ;;
    esac
  done
  ;;
esac
"""

_FILE_SETS = """\
# Whether a line of the file $2 (npmrc, bunfig.toml) sets the key $1.
oc_file_sets() {
  [ -f "$2" ] && [ -r "$2" ] || return 1
  while read -r oc_line || [ -n "$oc_line" ]; do
    case $oc_line in "$1"=* | "$1 "* | "\\"$1\\""* | "[install.$1]"*) return 0 ;; esac
  done <"$2"
  return 1
}"""


def _export(setting: Setting, indent: str) -> str:
    return (
        f"{indent}export {setting.name}={setting.value}\n"
        f'{indent}oc_set="$oc_set${{oc_set:+ }}{setting.name}"\n'
    )


def _hot(setting: Setting) -> str:
    unset = "".join(f"${{{name}+x}}" for name in setting.users)
    if not setting.files:
        return f'if [ -z "{unset}" ]; then\n{_export(setting, "  ")}fi'
    there = " || ".join(f"[ -e {file} ]" for file in setting.files)
    return (
        f'if [ -n "{unset}" ]; then\n  :\nelif {there}; then\n'
        f'  oc_ask="$oc_ask {setting.key}"\nelse\n{_export(setting, "  ")}fi'
    )


def _asked(setting: Setting) -> str:
    read = " ||\n    ".join(f"oc_file_sets {setting.key} {file}" for file in setting.files)
    return f'case $oc_ask in *" {setting.key}"*)\n  {read} || {{\n{_export(setting, "    ")}  }}\n  ;;\nesac'


def rendered_settings(table: Sequence[Setting], *, movable: bool) -> str:
    """What is exported before anything is looked at.

    A setting that a file may have is left to `rendered_asked`. `movable`: where the wrapper lies is known
    at the start only.
    """
    return "\n".join((_ROOT, *map(_hot, table), (_UTF8 if movable else "") + _PRELOAD))


def rendered_asked(table: Sequence[Setting]) -> str:
    """What is exported after the user's files have been read."""
    asked = [_asked(setting) for setting in table if setting.files]
    return "\n".join((_FILE_SETS, *asked)) if asked else ""


def in_place(manifest: Manifest, version: str) -> str:
    """The hot path's tests: each implies what the functions further down in the script find out at length.

    An entry that is right is so by way of the link to the cache: that one needs no test of its own.
    `version` is what the file of that name has to say, empty if there is none.
    """
    links, copies = (
        [shlex.quote(one) for one in sorted(set(many))] for many in (manifest.links, manifest.copies)
    )
    tests = ['[ -x "$oc_opencode" ]', '[ -s "${oc_preload:-$oc_opencode}" ]', '[ -O "$oc_dir" ]']
    tests += [f'[ "$oc_dir"/{link} -ef "$oc_cache"/{link} ]' for link in links]
    if not links:
        tests.append(f'[ "$oc_own"/{manifest.layout} -ef "$oc_cache" ]')
    tests += [f'[ -f "$oc_dir"/{copy} ]' for copy in copies]
    # After a power cut a file may be there without a byte in it. `version` is read.
    tests += [f'[ -s "$oc_dir"/{copy} ]' for copy in copies if copy != "version" or not version]
    if version:
        there = '"$oc_dir"/version'
        tests.append(
            f'[ -r {there} ] && ! IFS= read -r oc_have <{there} && [ "$oc_have" = {shlex.quote(version)} ]'
        )
    if manifest.layout == "packages" and manifest.config:
        plugin = f"node_modules/{PLUGIN}"
        tests.append(f'[ "$oc_conf"/{plugin} -ef "$oc_cache"/{shlex.quote(manifest.config)}/{plugin} ]')
        tests.append('[ -s "$oc_conf"/package-lock.json ]')
    tests.append('[ ! -e "$oc_own"/busy ]')
    return " &&\n  ".join(tests)
