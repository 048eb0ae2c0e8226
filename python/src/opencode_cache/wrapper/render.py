"""Renders `bin/opencode`: a POSIX shell script that puts the cache in place and becomes the real OpenCode.

The script's text is `wrapper.sh`. Everything that differs between two caches is a shell-quoted value in it,
so that the same cache, program and options always give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.files import write_atomically
from opencode_cache.formats import manifest as manifests
from opencode_cache.wrapper import hot_path
from opencode_cache.wrapper import preload as preloaded
from opencode_cache.wrapper.preload import Template, source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from opencode_cache.formats.manifest import Manifest

SHELL = "/bin/sh"


def _parent(entry: str) -> str:
    """The entry's directory with a slash at its end; the empty string at the top."""
    head, slash, _ = entry.rpartition("/")
    return head + slash


def _entries(links: Iterable[str]) -> str:
    lines = []
    for parent, group in groupby(sorted(links, key=lambda entry: (_parent(entry), entry)), key=_parent):
        words = [parent, "../" * parent.count("/"), *(entry[len(parent) :] for entry in group)]
        lines.append(f'  "$@" {shlex.join(words)}')
    return " &&\n".join(lines) or "  :"


def _copies(copies: Iterable[str]) -> str:
    return " && ".join(f'"$@" {shlex.quote(copy)}' for copy in sorted(copies)) or ":"


def _lean(text: str) -> str:
    """The script without the comments before the end of its hot path: a shell reads them at every start."""
    head, blank, rest = text.partition("\n\n")
    hot, mark, cold = rest.partition("# --- Not so hot")
    kept = [line for line in hot.split("\n") if line and not line.lstrip().startswith("#")]
    return head + blank + "\n".join(kept) + "\n\n" + mark + cold


_HERE = """\
# Where this file lies, seen through links to it: the cache and the program lie beside it.
oc_here=$0
if [ -L "$0" ]; then
  oc_here=$(PATH=${PATH:+$PATH:}/usr/bin:/bin readlink -f -- "$0" && printf x)
  oc_here=${oc_here%?x}
fi
case $oc_here in /*) ;; *) oc_here=$PWD/$oc_here ;; esac
oc_here=${oc_here%/*}
# To Bun, `DIRECTORY/..` is what the text says, whatever DIRECTORY is a link to.
if [ ! "${oc_here%/*}/" -ef "$oc_here/.." ]; then
  oc_here=$(cd -P -- "$oc_here" && pwd -P && printf x)
  oc_here=${oc_here%?x}
fi
oc_here=$oc_here/.."""

_HERE_NOW = """\
# Links have to name the place, not the way to it.
oc_here=$(cd -P -- "$oc_here" && pwd -P && printf x)
oc_here=${oc_here%?x}
oc_cache=@@{cache}
"""


def _add_to_path(word: str) -> str:
    return f'case :${{PATH-}}: in\n*:{word}:*) ;;\n*) export PATH="${{PATH:+$PATH:}}"{word} ;;\nesac'


def _reject(manifest: Manifest, name: str, shell: str, extra_path: Sequence[str]) -> None:
    if not name or "/" in name or name in {".", ".."}:
        raise BadInputError(f"name {name!r} is not a file name; give one without a slash, such as opencode")
    if not shell.startswith("/") or any(space in shell for space in " \t\n"):
        raise BadInputError(
            f"shell {shell!r} cannot stand in a #! line; give an absolute path without spaces"
        )
    for directory in extra_path:
        if ":" in directory or not directory.startswith("/"):
            raise BadInputError(
                f"{directory!r} cannot be a part of PATH; give an absolute path without a colon"
            )
    for entry in (*manifest.links, *manifest.copies):
        if "\n" in entry or entry.startswith(".nix"):
            raise BadInputError(f"{manifests.FILE}: entry {entry!r} cannot be linked; build the cache again")
    for copy in manifest.copies:
        if "/" in copy:
            raise BadInputError(f"{manifests.FILE}: copy {copy!r} is not at the top; build the cache again")
    if manifest.layout == "bun" and not manifest.cache_version:
        raise BadInputError(
            f"{manifests.FILE}: cache_version is missing, and OpenCode {manifest.opencode} empties a cache "
            "without the right one; build the cache again"
        )


@dataclass(frozen=True)
class _Places:
    """How the script names where things are in the end: from the root of the file system, or from itself."""

    root: Path | None

    def word(self, path: str) -> str:
        """A shell word."""
        below = self._below(path)
        return shlex.quote(path) if below is None else f'"$oc_here"/{shlex.quote(below)}'

    def _below(self, path: str) -> str | None:
        below = os.path.relpath(path, self.root) if self.root else ".."
        return None if below.startswith("..") else below


def slots(
    manifest: Manifest,
    cache: Path,
    opencode: Path,
    preload: Path,
    *,
    name: str = "opencode",
    offline: bool = True,
    shell: str | None = None,
    extra_path: Sequence[str] = (),
    tools: str | None = None,
    root: Path | None = None,
) -> dict[str, str]:
    """What differs between two wrappers: slot of `wrapper.sh` -> its text. Arguments as in `render`."""
    _reject(manifest, name, shell or SHELL, extra_path)
    # The bun layout's `version` is written from its value, which OpenCode compares byte for byte.
    version = (manifest.cache_version or "") if manifest.layout == "bun" else ""
    special = {"version"} if version else set()
    links = set(manifest.links) - special
    word = _Places(root).word
    table = hot_path.settings(manifest.layout, offline=offline)
    digest = hashlib.sha256("\n".join(sorted(links)).encode()).hexdigest()[:12]
    quoted = {
        "name": name,
        "layout": manifest.layout,
        "version": version,
        "config": (manifest.config or "") if manifest.layout == "packages" else "",
        "tools": tools or "",
        "record": f"{manifest.layout}.links.{digest}",
    }
    return {key: shlex.quote(value) for key, value in quoted.items()} | {
        "shell": shell or SHELL,
        "here": _HERE if root else "",
        "here_now": Template(_HERE_NOW).substitute(cache=word(str(cache))) if root else "",
        "cache": word(str(cache)),
        "opencode": word(str(opencode)),
        "preload": word(str(preload)) if root or _utf8(preload) else "",
        "entries": _entries(links),
        "copies": _copies(set(manifest.copies) - special),
        "settings": hot_path.rendered_settings(table, movable=root is not None),
        "asked": hot_path.rendered_asked(table),
        "in_place": hot_path.in_place(manifest, version),
        "extra_path": "\n".join(_add_to_path(word(directory)) for directory in extra_path),
    }


def _utf8(path: Path) -> bool:
    """Whether Bun can find the file: to it, other bytes are another character."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def render(
    manifest: Manifest,
    cache: Path,
    opencode: Path,
    preload: Path,
    *,
    name: str = "opencode",
    offline: bool = True,
    shell: str | None = None,
    extra_path: Sequence[str] = (),
    tools: str | None = None,
    root: Path | None = None,
) -> str:
    """The wrapper's text. Reads no file but the template.

    `cache`, `opencode` and `preload` (a file with `preloaded.render`'s text) are absolute paths. With `root`,
    what lies below it is looked for relative to the script, which is `root/bin/<name>`. `name` is what
    messages begin with. `offline` switches the catalogue fetch and npm's retries off, unless the user has
    set them. `shell` is the interpreter: `/bin/sh` if not given, so that the text does not depend on the
    machine that it is rendered on; Nix gives its own. `extra_path` are directories for the end of PATH,
    `tools` one with coreutils for the cold path. Raises BadInputError for a value that cannot be used.
    """
    given = slots(
        manifest,
        cache,
        opencode,
        preload,
        name=name,
        offline=offline,
        shell=shell,
        extra_path=extra_path,
        tools=tools,
        root=root,
    )
    return _lean(Template(source("wrapper.sh")).substitute(given))


def wrap(
    cache: Path,
    opencode: Path,
    out: Path,
    *,
    name: str = "opencode",
    offline: bool = True,
    shell: str | None = None,
    extra_path: Sequence[str] = (),
    tools: str | None = None,
    relocatable: bool = False,
    prefix: Path | None = None,
) -> Path:
    """Write `out/bin/<name>` (mode 0755) and what it preloads, at once or not at all, and return its path.

    Options as in `render`. `relocatable`: `cache`, `opencode` and what `extra_path` has below `out` are
    looked for relative to the script, wherever `out` is moved. `prefix` is where `out` will be in the end,
    if not there. Raises BadInputError for a directory that is not a whole cache, for an `opencode` that is
    not an executable file, for an unusable option and where `out` cannot be written.
    """
    cache = cache.resolve()
    manifest = manifests.read(cache)
    config = manifest.config if manifest.layout == "packages" else None
    wanted = [*manifest.links, *manifest.copies]
    if config:
        wanted += [f"{config}/package-lock.json", f"{config}/node_modules/{hot_path.PLUGIN}"]
    for entry in wanted:
        if not (cache / entry).exists():
            raise BadInputError(f"{cache}: {entry} is missing; build the cache again")
    opencode = opencode.absolute()
    if not opencode.is_file() or not os.access(opencode, os.X_OK):
        raise BadInputError(f"{opencode}: not an executable file; give the OpenCode program")
    root = out.resolve() if relocatable else None
    text = render(
        manifest,
        cache,
        opencode,
        preloaded.path_of(root or (prefix or out).absolute(), name),
        name=name,
        offline=offline,
        shell=shell,
        extra_path=extra_path,
        tools=tools,
        root=root,
    )
    program = out / "bin" / name
    write_atomically(
        preloaded.path_of(out, name), preloaded.render(manifest.layout, cache, name, root), 0o444
    )
    write_atomically(program, text, 0o755)
    return program
