"""The wrapper's hot path as shell text: the tests that have to hold, and what is exported where they do.

A start that finds all in place is one shell that reads half a page; every `stat` and expansion counts.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opencode_cache.formats.manifest import Manifest

PLUGIN = "@opencode-ai/plugin"


@dataclass(frozen=True)
class Words:
    """How the script names its places: variables, or written out."""

    directory: str = '"$oc_dir"'
    own: str = '"$oc_own"'
    config: str = '"$oc_conf"'
    cache: str = '"$oc_cache"'
    opencode: str = '"$oc_opencode"'
    restore: str = '"$oc_restore"'
    version: str = '"$oc_version"'


def in_place(manifest: Manifest, words: Words, *, version: bool) -> str:
    """The hot path's tests: each implies what the functions further down in the script find out at length.

    An entry that is right is so by way of the link to the cache: that one needs no test of its own.
    """
    tests = [f"[ -x {words.opencode} ]", f"[ -s {words.own}/{words.restore} ]"]
    links, copies = (
        [shlex.quote(one) for one in sorted(set(many))] for many in (manifest.links, manifest.copies)
    )
    tests += [f"[ {words.directory}/{link} -ef {words.cache}/{link} ]" for link in links]
    if not links:
        tests.append(f"[ {words.own}/{manifest.layout} -ef {words.cache} ]")
    tests += [f"[ -f {words.directory}/{copy} ]" for copy in copies]
    # After a power cut a file may be there without a byte in it. `version` is read.
    read = {"version"} if version else set()
    tests += [f"[ -s {words.directory}/{copy} ]" for copy in copies if copy not in read]
    if version:
        there = f"{words.directory}/version"
        tests.append(f'[ -r {there} ] && ! IFS= read -r oc_have <{there} && [ "$oc_have" = {words.version} ]')
    if manifest.layout == "packages" and manifest.config:
        plugin = f"node_modules/{PLUGIN}"
        tests.append(f"[ {words.config}/{plugin} -ef {words.cache}/{shlex.quote(manifest.config)}/{plugin} ]")
        tests.append(f"[ -s {words.config}/package-lock.json ]")
    tests.append(f"[ ! -e {words.own}/busy ]")
    return " &&\n  ".join(tests)


# The name, the value and the names by which the user may have set it.
_Setting = tuple[str, str, tuple[str, ...]]
_READ = (
    *(
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "BUN_INSPECT_PRELOAD",
        "OPENCODE_CACHE_SET",
        "OPENCODE_CACHE_TRACE",
    ),
    *("npm_config_userconfig", "NPM_CONFIG_USERCONFIG"),
)


def _settings(layout: str, *, offline: bool) -> list[_Setting]:
    """What the script sets at length further down, as one table for those who have set nothing."""
    found: list[_Setting] = [
        ("XDG_CACHE_HOME", '"$HOME/.cache-nix"', ()),
        ("OPENCODE_DISABLE_AUTOUPDATE", "1", ("OPENCODE_DISABLE_AUTOUPDATE",)),
    ]
    if offline:
        found.append(("OPENCODE_DISABLE_MODELS_FETCH", "1", ("OPENCODE_DISABLE_MODELS_FETCH",)))
    if offline and layout == "bun":
        notifier = ("npm_config_update_notifier", "NPM_CONFIG_UPDATE_NOTIFIER")
        registry = ("npm_config_registry", "NPM_CONFIG_REGISTRY", "BUN_CONFIG_REGISTRY")
        found += [(notifier[0], "false", notifier), (registry[0], "http://127.0.0.1:9", registry)]
    elif offline:
        retries = ("npm_config_fetch_retries", "NPM_CONFIG_FETCH_RETRIES")
        found.append((retries[0], "0", retries))
    return found


def untouched(manifest: Manifest, words: Words, *, offline: bool, version: bool) -> dict[str, str]:
    """The template's values for starts of those who have set none of what the script looks at.

    `words` are the fixed places: the program, the cache and the file that is preloaded.
    """
    layout = manifest.layout
    words = replace(
        words,
        directory='"$HOME"/.cache-nix/opencode',
        own='"$HOME"/.cache-nix/opencode/.nix',
        config='"$HOME"/.config/opencode',
    )
    settings = [
        *_settings(layout, offline=offline),
        ("BUN_INSPECT_PRELOAD", f"{words.own}/{words.restore}", ()),
    ]
    names = dict.fromkeys((*_READ, *(name for _, _, users in settings for name in users)))
    exports = [f"{name}={value}" for name, value, _ in settings]
    exports.append(f'OPENCODE_CACHE_SET="{" ".join(name for name, _, _ in settings)}"')
    files = ["/.npmrc"] if offline else []
    if offline and layout == "bun":
        files += ["/.bunfig.toml", "/.config/.bunfig.toml", "/.config/opencode/bunfig.toml"]
    return {
        "untouched": "".join(f"${{{name}+x}}" for name in names),
        "quick_in_place": in_place(manifest, words, version=version),
        "no_files": "".join(f'[ ! -e "$HOME{file}" ] && ' for file in files),
        "exports": " ".join(exports),
    }
