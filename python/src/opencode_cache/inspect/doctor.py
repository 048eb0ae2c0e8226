"""What a user's OpenCode directories hold, what the next start will do about it, and mistakes in the config.

What the next start will do is asked of the wrapper itself, which is run as one that only says it; how
things are is described here. Changes nothing, and starts OpenCode only to read the catalogue in it. Of the
configuration's values only the names of models, providers, plugins and programs are shown.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from opencode_cache import layouts
from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.config import read as configuration
from opencode_cache.formats import manifest as manifests
from opencode_cache.inspect import configured
from opencode_cache.opencode import versions
from opencode_cache.wrapper import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opencode_cache.formats.manifest import Manifest

State = Literal["ok", "pending", "note", "wrong"]
"""pending: the next start does it. note: nobody has to do anything. wrong: somebody has to."""

_PLUGIN = Path("node_modules/@opencode-ai/plugin")
_BAD_VERSION = "OpenCode 1.0 to 1.3 empties a cache directory without the right one"
_WAITS = "OpenCode asks the registry for @opencode-ai/plugin"
_TIMEOUT = 60
"""Seconds. The wrapper starts a few tools for each thing that is not as it should be."""


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
        """Whether OpenCode would find what it needs, after what the next start does."""
        return all(finding.state != "wrong" for finding in self.findings)


def examine(environ: Mapping[str, str], cwd: Path, cache: Path | None = None) -> Report:
    """Look at the directories of the user whose environment this is, started in `cwd`.

    `cache` is the one that the next start will use; without it, it is the one that the directory leads to.
    Raises BadInputError where HOME is no absolute path, or `cache` is no cache.
    """
    directory, used = in_use(environ)
    caches = [cache.resolve()] if cache else used
    findings: list[Finding] = list(_kept(directory))
    held: list[tuple[Path, Manifest]] = []
    for one in caches:
        try:
            held.append((one, manifests.read(one)))
        except BadInputError as error:
            if cache:
                raise
            fix = "start an OpenCode with its cache that is installed, or build the cache again"
            findings.append(Finding(state="wrong", what=str(one), detail=str(error), next=fix))
    if not caches:
        detail, fix = "no cache has been put here yet", "the first start sets it up"
        findings.append(Finding(state="pending", what=str(directory), detail=detail, next=fix))
    for one, manifest in held:
        findings += _Start(directory, one, manifest, environ).findings()
    findings += (
        Finding(state=state, what=where, detail=problem, next=fix)
        for state, where, problem, fix in configured.findings(environ, cwd, directory, held)
    )
    return Report(
        directory=str(directory), caches=tuple(map(str, caches)), findings=tuple(dict.fromkeys(findings))
    )


def in_use(environ: Mapping[str, str]) -> tuple[Path, list[Path]]:
    """OpenCode's cache directory, and the caches that the last starts put into it. Raises BadInputError."""
    directory = _root(environ) / "opencode"
    pointers = [directory / ".nix" / layout for layout, _, _ in versions.LAYOUTS]
    return directory, [path.resolve() for path in pointers if path.is_symlink()]


def _root(environ: Mapping[str, str]) -> Path:
    own = environ.get("XDG_CACHE_HOME", "")
    if own.startswith("/"):
        return Path(own)
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise BadInputError(f"HOME is {home!r}, not an absolute path; set HOME, or XDG_CACHE_HOME")
    return Path(home) / ".cache-nix"


def _kept(directory: Path) -> Iterator[Finding]:
    for kept in sorted(directory.glob("**/*.before-nix-*")):
        detail = "was yours, and in the way of the cache"
        yield Finding(state="note", what=str(kept), detail=detail, next="delete it when you do not need it")


def next_start(manifest: Manifest, cache: Path, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the wrapper of that cache would do, as (verb, name): see `oc_does` in `wrapper.sh`.

    Raises BadInputError with the wrapper's own sentence where it would not start.
    """
    # Neither the program nor what it preloads is looked at before they are used.
    text = render.render(manifest, cache, cache / "opencode", cache / "preload.js")
    env = {name: value for name, value in environ.items() if name != "OPENCODE_SERVER_PASSWORD"}
    env["OPENCODE_CACHE_TRACE"] = "dry-run"
    with files.scratch() as directory:
        script = directory / "wrapper.sh"
        script.write_text(text, encoding="utf-8", errors="surrogateescape")
        try:
            done = subprocess.run(
                [render.SHELL, script],
                env=env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadInputError(
                f"{render.SHELL}: the wrapper cannot be asked ({error}); try again"
            ) from error
    if done.returncode != 0:
        message = os.fsdecode(done.stderr).strip()
        raise BadInputError(message.removeprefix("opencode: ") or f"the wrapper ended with {done.returncode}")
    records = (line.partition("\t") for line in os.fsdecode(done.stdout).split("\n") if line)
    return [(verb, name) for verb, _, name in records]


class _Start:
    """The next start with one cache."""

    def __init__(self, directory: Path, cache: Path, manifest: Manifest, environ: Mapping[str, str]) -> None:
        self.directory, self.cache, self.manifest, self.environ = directory, cache, manifest, environ
        self.does: dict[str, list[str]] = {}

    def findings(self) -> Iterator[Finding]:
        try:
            does = next_start(self.manifest, self.cache, self.environ)
        except BadInputError as error:
            detail, _, fix = str(error).rpartition("; ")
            yield Finding(state="wrong", what=str(self.directory), detail=detail or str(error), next=fix)
            return
        for verb, name in does:
            self.does.setdefault(verb, []).append(name)
        yield from self._leftovers()
        yield self._pointer()
        if self.manifest.layout == versions.EXPERIMENTAL:
            detail = "is an experiment: of 2.x, only 2.0.15 for x86_64-linux could be had to try"
            fix = "let `opencode-cache verify` decide"
            yield Finding(state="note", what=f"OpenCode {self.manifest.opencode}", detail=detail, next=fix)
        links = self.does.get("link", [])
        yield from map(self._link, links)
        right = len(self.manifest.links) - len(links)
        if right:
            detail = f"{right} of {len(self.manifest.links)} lead to the cache"
            yield Finding(state="ok", what="links", detail=detail)
        yield from map(self._copy, self.manifest.copies)
        for newer in layouts.named(self.manifest.layout).newer(self.directory, self.manifest.links):
            detail = "was installed by OpenCode itself, and counts before the cache's"
            yield Finding(state="note", what=newer, detail=detail, next="delete it to have the cache's")
        if self.manifest.layout == "packages" and self.manifest.config:
            yield from self._config()

    def _leftovers(self) -> Iterator[Finding]:
        for stage in self.does.get("tidy", []):
            detail = "left by a start that was killed"
            yield Finding(state="pending", what=stage, detail=detail, next="the next start removes it")
        for link in self.does.get("remove", []):
            detail = "links to another cache, and this one does not have it"
            yield Finding(state="pending", what=link, detail=detail, next="the next start removes it")
        for name in self.does.get("keep", []):
            if name not in self.manifest.links:
                yield self._in_the_way(name)

    def _in_the_way(self, name: str) -> Finding:
        fix = f"the next start keeps it as {Path(name).name}.before-nix-<n>"
        return Finding(state="pending", what=name, detail="is not the cache's", next=fix)

    def _pointer(self) -> Finding:
        name = f"OpenCode {self.manifest.opencode}"
        if "turn" not in self.does:
            return Finding(state="ok", what=name, detail=f"{self.cache}, {self.manifest.layout} layout")
        used = (self.directory / ".nix" / self.manifest.layout).is_symlink()
        detail = f"{self.cache}: {'another cache was used last' if used else 'has not been used here'}"
        return Finding(state="pending", what=name, detail=detail, next="the next start turns to it")

    def _link(self, name: str) -> Finding:
        if name in self.does.get("keep", []):
            return self._in_the_way(name)
        path = self.directory / name
        detail = "leads to another cache, or to nothing" if path.is_symlink() else "is missing"
        return Finding(state="pending", what=name, detail=detail, next="the next start links it")

    def _copy(self, name: str) -> Finding:
        path = self.directory / name
        if name == "version" and self.manifest.layout == "bun":
            return self._version(path)
        if name in self.does.get("copy", []):
            detail = "is empty" if path.is_file() else "is missing"
            return Finding(state="pending", what=name, detail=detail, next="the next start copies it")
        if name in self.does.get("recopy", []):
            detail = "is what another cache put here"
            return Finding(state="pending", what=name, detail=detail, next="the next start replaces it")
        if name not in self.does.get("own", []) and _bytes(path) == _bytes(self.cache / name):
            return Finding(state="ok", what=name, detail="is the cache's")
        return Finding(state="note", what=name, detail="was changed by OpenCode or by you, and stays")

    def _version(self, path: Path) -> Finding:
        actual, wanted = _bytes(path), self.manifest.cache_version
        if "write" not in self.does:
            return Finding(state="ok", what=path.name, detail=f"{wanted}, as this OpenCode wants it")
        shown = None if actual is None else actual[:20].decode(errors="replace")
        detail = "is missing" if shown is None else f"says {shown!r} and should say {wanted!r}"
        fix = "the next start puts it right"
        return Finding(state="pending", what=path.name, detail=f"{detail}; {_BAD_VERSION}", next=fix)

    def _config(self) -> Iterator[Finding]:
        """The user's config directory: OpenCode 1.14 and later wants @opencode-ai/plugin there."""
        config = configuration.directory(self.environ)
        if config is None:
            return
        (task,) = self.does.get("config", ["right"])
        state, detail, fix = self._about_config(config, task)
        yield Finding(state=state, what=str(config), detail=detail, next=fix)

    def _about_config(self, config: Path, task: str) -> tuple[State, str, str]:
        if task == "own" and not (config / "node_modules").is_dir():
            detail = (
                "package-lock.json is a link that leads nowhere" if config.is_dir() else "is not a directory"
            )
            return "note", detail, _WAITS
        if task == "own":
            complete = (config / _PLUGIN).exists() and (config / "package-lock.json").exists()
            return "ok" if complete else "note", "node_modules is yours and stays", "" if complete else _WAITS
        findings: dict[str, tuple[State, str, str]] = {
            "right": ("ok", "node_modules links to the cache", ""),
            "link": ("pending", "has no node_modules", "the next start links the plugin API"),
            "renew": (
                "pending",
                "links are of another cache, or package-lock.json is missing",
                "the next start puts them right",
            ),
            "unwritable": ("note", "cannot be written to; OpenCode then does without", ""),
            "dependencies": (
                "note",
                "package.json there has dependencies of yours, so it is left alone",
                f"{_WAITS}; run npm install there",
            ),
        }
        return findings[task]


def _bytes(path: Path) -> bytes | None:
    """Of a file that is no larger than a catalogue may be; None for anything else."""
    try:
        return files.read_bytes(path, files.DOCUMENT)
    except OSError:
        return None
