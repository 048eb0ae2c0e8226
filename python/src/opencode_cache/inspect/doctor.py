"""What a user's OpenCode directories hold, what the next start will do about it, and mistakes in the config.

Reads, and changes nothing; what it may start is the OpenCode on PATH, to read the catalogue in it. Of the
configuration's values only the names of models, providers, plugins and programs are shown.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from opencode_cache.base.errors import BadInputError
from opencode_cache.config import judge, offer
from opencode_cache.config import read as configuration
from opencode_cache.config.mistakes import mistakes
from opencode_cache.formats import manifest as manifests
from opencode_cache.formats import plan
from opencode_cache.opencode import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opencode_cache.formats.manifest import Manifest

State = Literal["ok", "mended", "note", "wrong"]
"""mended: the next start does it. note: nobody has to do anything. wrong: somebody has to."""

_LAYOUTS: tuple[Literal["packages", "bun"], ...] = ("packages", "bun")
_PLUGIN = Path("node_modules/@opencode-ai/plugin")
_BAD_VERSION = "OpenCode 1.0 to 1.3 empties a cache directory without the right one"


class Finding(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    state: State
    what: str
    detail: str
    next: str = ""
    """What the next start will do, or what the user should; empty for nothing."""


class Report(BaseModel):
    """Everything that was looked at, in the order in which the wrapper looks at it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: str
    caches: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether OpenCode would find what it needs, after what the next start mends."""
        return all(finding.state != "wrong" for finding in self.findings)


def examine(environ: Mapping[str, str], cwd: Path, cache: Path | None = None) -> Report:
    """Look at the directories of the user whose environment this is, started in `cwd`.

    `cache` is the one that the next start will use; without it, it is the one that the directory leads to.
    Raises BadInputError where HOME is no absolute path, or `cache` is no cache.
    """
    directory, used = in_use(environ)
    caches = [cache.resolve()] if cache else used
    found: list[Finding] = list(_directory(directory))
    held: list[tuple[Path, Manifest]] = []
    for one in caches:
        try:
            held.append((one, manifests.read(one)))
        except BadInputError as error:
            if cache:
                raise
            mend = "start an OpenCode with its cache that is installed, or build the cache again"
            found.append(Finding(state="wrong", what=str(one), detail=str(error), next=mend))
    if not caches:
        detail = "no cache has been put here yet"
        found.append(
            Finding(state="mended", what=str(directory), detail=detail, next="the first start sets it up")
        )
    for one, about in held:
        found += _cache(directory, one, about)
        if about.layout == "packages":
            found += _config(one, about, environ)
    found += _configured(environ, cwd, directory, held)
    return Report(directory=str(directory), caches=tuple(map(str, caches)), findings=tuple(found))


def _configured(
    environ: Mapping[str, str], cwd: Path, directory: Path, held: Sequence[tuple[Path, Manifest]]
) -> Iterator[Finding]:
    """What is wrong in the configuration, and what of it the caches lack."""
    read = configuration.read(environ, [cwd])
    for one in mistakes(read, lambda: catalogue(environ, directory, [cache for cache, _ in held])):
        state: State = "wrong" if one.certain else "note"
        yield Finding(state=state, what=one.where, detail=one.text, next=one.fix)
    offers = [offer.of_cache(about, directory) for _, about in held] or [offer.Offer(plan.DEFAULT_OPENCODE)]
    for same in zip(*(judge.judge(read, each) for each in offers), strict=True):
        worst = judge.worst(same)
        if worst.word == "not covered" or worst.fix:
            wrong = worst.word == "not covered" and worst.certain
            said = f"{worst.shown} {worst.reason}"
            yield Finding(
                state="wrong" if wrong else "note", what=worst.entry.where, detail=said, next=worst.fix
            )


def catalogue(environ: Mapping[str, str], directory: Path, caches: Sequence[Path]) -> dict[str, Any]:
    """The catalogue that OpenCode will read; empty where neither a file nor a program at hand tells."""
    for path in (directory / "models.json", *(cache / "models.json" for cache in caches)):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
    on_path = shutil.which("opencode", path=environ.get("PATH"))
    data = environ.get("XDG_DATA_HOME") or f"{environ.get('HOME', '')}/.local/share"
    kept = sorted(Path(data).glob("opencode-cache/store/*-opencode-*/bin/opencode"), key=os.path.getmtime)
    for program in ([Path(on_path)] if on_path else []) + kept[-1:]:
        try:
            return embedded.catalogue(program)
        except (BadInputError, OSError, subprocess.SubprocessError, ValueError):
            continue  # then nothing is said of models
    return {}


def _other_dependencies(config: Path) -> bool:
    """Whether package.json asks for anything but @opencode-ai/plugin."""
    try:
        return bool(configuration.dependencies(config))
    except BadInputError:
        return True


def in_use(environ: Mapping[str, str]) -> tuple[Path, list[Path]]:
    """OpenCode's cache directory, and the caches that the last starts put into it. Raises BadInputError."""
    directory = _root(environ) / "opencode"
    pointers = [directory / ".nix" / layout for layout in _LAYOUTS]
    return directory, [path.resolve() for path in pointers if path.is_symlink()]


def _root(environ: Mapping[str, str]) -> Path:
    own = environ.get("XDG_CACHE_HOME", "")
    if own.startswith("/"):
        return Path(own)
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise BadInputError(f"HOME is {home!r}, not an absolute path; set HOME, or XDG_CACHE_HOME")
    return Path(home) / ".cache-nix"


def _directory(directory: Path) -> Iterator[Finding]:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        mend = "make it writable, or set XDG_CACHE_HOME to a directory that is"
        yield Finding(state="wrong", what=str(there), detail="cannot be written to", next=mend)
    for stage in sorted((directory / ".nix").glob("stage.*")):
        yield Finding(
            state="mended",
            what=str(stage),
            detail="left by a start that was killed, or is at work",
            next="the next start removes it once its process is gone",
        )
    for kept in sorted(directory.glob("**/*.before-nix-*")):
        detail = "was yours, and in the way of the cache"
        yield Finding(state="note", what=str(kept), detail=detail, next="delete it when you do not need it")


def _cache(directory: Path, cache: Path, about: Manifest) -> Iterator[Finding]:
    name = f"OpenCode {about.opencode}"
    pointer = directory / ".nix" / about.layout
    if _same(pointer, cache):
        yield Finding(state="ok", what=name, detail=f"{cache}, {about.layout} layout")
    else:
        detail = "another cache was used last" if pointer.is_symlink() else "has not been used here"
        yield Finding(
            state="mended", what=name, detail=f"{cache}: {detail}", next="the next start turns to it"
        )
    bad = [one for link in about.links if (one := _link(directory, cache, about, link))]
    yield from bad
    right = len(about.links) - len(bad)
    if right:
        yield Finding(state="ok", what="links", detail=f"{right} of {len(about.links)} lead to the cache")
    for copy in about.copies:
        yield _copy(directory, cache, about, copy)
    if not list((directory / ".nix").glob("restore-*.js")):
        detail = "the agent's commands would see the wrapper's settings"
        yield Finding(state="mended", what="restore.js", detail=detail, next="the next start writes it")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _link(directory: Path, cache: Path, about: Manifest, link: str) -> Finding | None:
    place = directory / link
    if not (cache / link).exists():
        return Finding(
            state="wrong", what=link, detail=f"the cache {cache} lacks it", next="build the cache again"
        )
    if _same(place, cache / link):
        return None
    ours = place.is_symlink() and str(place.readlink()).endswith(f".nix/{about.layout}/{link}")
    if ours:
        return Finding(
            state="mended",
            what=link,
            detail="leads to another cache, or to nothing",
            next="the next start turns it",
        )
    if place.exists() or place.is_symlink():
        return Finding(
            state="mended",
            what=link,
            detail="is not the cache's",
            next=f"the next start keeps it as {place.name}.before-nix-<n>",
        )
    return Finding(state="mended", what=link, detail="is missing", next="the next start links it")


def _copy(directory: Path, cache: Path, about: Manifest, copy: str) -> Finding:
    place = directory / copy
    if copy == "version" and about.layout == "bun":
        have = _text(place)
        if have == about.cache_version:
            return Finding(state="ok", what=copy, detail=f"{have}, as this OpenCode wants it")
        said = "is missing" if have is None else f"says {have[:20]!r} and should say {about.cache_version!r}"
        return Finding(
            state="mended", what=copy, detail=f"{said}; {_BAD_VERSION}", next="the next start puts it right"
        )
    if not place.is_file():
        return Finding(state="mended", what=copy, detail="is missing", next="the next start copies it")
    if place.read_bytes() == (cache / copy).read_bytes():
        return Finding(state="ok", what=copy, detail="is the cache's")
    return Finding(state="note", what=copy, detail="was changed by OpenCode or by you, and stays")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _config(cache: Path, about: Manifest, environ: Mapping[str, str]) -> Iterator[Finding]:
    """The user's config directory: OpenCode 1.14 and later wants @opencode-ai/plugin there."""
    if not about.config:
        return
    config = configuration.directory(environ)
    if config is None:
        return
    modules, what = config / "node_modules", str(config)
    waits = "OpenCode asks the registry for @opencode-ai/plugin"
    if modules.is_symlink() or (modules.exists() and not (config / _PLUGIN).is_symlink()):
        complete = (config / _PLUGIN).exists() and (config / "package-lock.json").exists()
        detail = "node_modules is yours and stays"
        yield Finding(
            state="ok" if complete else "note", what=what, detail=detail, next="" if complete else waits
        )
    elif _same(config / _PLUGIN, cache / about.config / _PLUGIN):
        locked = (config / "package-lock.json").exists()
        next_ = "" if locked else "the next start adds package-lock.json"
        yield Finding(
            state="ok" if locked else "mended",
            what=what,
            detail="node_modules links to the cache",
            next=next_,
        )
    elif config.exists() and not os.access(config, os.W_OK):
        detail = "cannot be written to; OpenCode then does without"
        yield Finding(state="note", what=what, detail=detail, next="")
    elif _other_dependencies(config):
        detail = "package.json there has dependencies of yours, so it is left alone"
        yield Finding(state="note", what=what, detail=detail, next=f"{waits}; run npm install there")
    else:
        detail = "links are of another cache" if modules.exists() else "has no node_modules"
        yield Finding(state="mended", what=what, detail=detail, next="the next start links the plugin API")
