"""The `generations` layout of OpenCode 2.x: for every spec a directory of numbered trees. Experimental.

Upstream rule (anomalyco/opencode, branch v2, `packages/util/src/npm.ts`; read at 073a584, run under Bun, and
tried on 2.0.15 for x86_64-linux, the one 2.x program that could be had): a package counts as installed when
`<cache>/npm/<key>/<generation>/node_modules/<name>` exists, where the generation is the largest number there,
be it a link. `key` says how a spec becomes one. A spec that has no name in it (`github:owner/repo`), or is an
alias, takes its name from the generation's `package.json`; a repository's commit is read in its
`package-lock.json`; a tool's command in `node_modules/.bin`.

OpenCode names what it installs itself by the time in milliseconds. The generation of a cache is always 1: no
update of ours is ever another one, and a later install of the user's wins. That is why the wrapper links
`npm/<key>/1` and nothing above it, all by way of `.nix/generations`: `npm`, scopes and keys are real
directories, where OpenCode puts generations of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.layouts.layout import Place, trees
from opencode_cache.npm import repository
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import tools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opencode_cache.formats.lock import Kind, Lock, Request
    from opencode_cache.formats.manifest import Entry
    from opencode_cache.npm.platforms import System
    from opencode_cache.opencode.versions import LayoutName

_OURS = "1"
_SHORT = 12
"""Digits of the hash in a repository's key. Some builds have all 64: those get a link."""


def key(spec: str, digits: int = _SHORT) -> str:
    """The directory below `npm` for a spec, as OpenCode 2.x names it."""
    if repository.is_repository(spec):
        address = re.sub(r"\.git$", "", spec.partition("#")[0], flags=re.IGNORECASE)
        name = re.split("[/:]", address)[-1].strip("-")
        return f"git-{name or 'repository'}-{hashlib.sha256(spec.encode()).hexdigest()[:digits]}"
    name, at, version = spec[1:].partition("@")
    return f"{spec[:1]}{name}@{version or ('*' if at else 'latest')}"


def _tree(spec: str) -> str:
    return f"npm/{key(spec)}/{_OURS}"


class _Generations:
    name: LayoutName = "generations"
    alone: tuple[str, ...] = ("--standalone",)

    def binaries(self, system: System) -> tuple[str, ...]:
        return tuple(f"@opencode/cli-{name.removeprefix('opencode-')}" for name in system.binaries)

    def accepts(self, locked: str, actual: str) -> bool:
        return locked.split(".")[:2] == actual.split(".")[:2]

    def place(self, opencode: str, kind: Kind, spec: str, resolved: str) -> Place:  # noqa: ARG002
        if kind == "config":
            raise BadInputError(
                f"{spec}: OpenCode {opencode} installs nothing into config directories; "
                "take it out of the plan"
            )
        name, asked = split_spec(spec)
        if kind == "tool":  # asked for by its bare name
            return Place(_tree(name), asked or "latest")
        return Place(_tree(spec), spec if repository.is_nameless(spec) else asked or "latest")

    def write_metadata(self, cache: Path, lock: Lock) -> None:
        for request in lock.requests:
            if repository.is_repository(request.spec):
                _write_commit(cache, request, lock)
            if repository.is_repository(request.spec) or request.requested.startswith("npm:"):
                _write(cache / request.tree / "package.json", {"dependencies": {request.name: request.spec}})

    def links(self, cache: Path) -> tuple[str, ...]:
        trees_there = [path.relative_to(cache).as_posix() for path in trees(cache / "npm")]
        return tuple(
            sorted([*trees_there, *(name for name in ("models.json", "tui") if (cache / name).exists())])
        )

    def copies(self, cache: Path) -> tuple[str, ...]:  # noqa: ARG002
        # The catalogue is read where OPENCODE_MODELS_PATH says, and never written there.
        return ()

    def installed(self, cache: Path, entry: Entry, opencode: str) -> tuple[bool, str]:  # noqa: ARG002
        if entry.kind == "tool":
            commands = cache / entry.modules / ".bin"
            there = sorted(path.name for path in commands.iterdir()) if commands.is_dir() else []
            tool = tools.TOOLS.get(entry.name)
            started = tool.command in there if tool else bool(there)
            return started, f"{entry.modules}/.bin {'has' if started else 'has not'} what it starts"
        there_is = (cache / entry.path).exists()
        return there_is, f"{entry.path} {'is there' if there_is else 'is not there'}"

    def newer(self, directory: Path, links: Sequence[str]) -> list[str]:
        parents = {link.rpartition("/")[0] for link in links if link.startswith("npm/")}
        return sorted(
            path.relative_to(directory).as_posix()
            for parent in parents
            for path in (directory / parent).glob("*")
            if re.fullmatch("[0-9]+", path.name) and int(path.name) > int(_OURS)
        )

    def tolerated(self, opencode: str) -> frozenset[str]:  # noqa: ARG002
        return frozenset()


def _write_commit(cache: Path, request: Request, lock: Lock) -> None:
    """The commit, where OpenCode reads it; and a link for the builds with the long key."""
    package = lock.packages[lock.trees[request.tree][f"node_modules/{request.name}"]]
    place, _, commit = (package.github or "").partition("#")
    resolved = f"git+ssh://git@github.com/{place}.git#{commit}"
    packages = {f"node_modules/{request.name}": {"version": package.version, "resolved": resolved}}
    _write(cache / request.tree / "package-lock.json", {"lockfileVersion": 3, "packages": packages})
    long = cache / "npm" / key(request.spec, 64) / _OURS
    long.parent.mkdir(exist_ok=True)
    long.symlink_to(f"../{key(request.spec)}/{_OURS}")


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    path.chmod(0o644)


GENERATIONS = _Generations()

__all__ = ["GENERATIONS", "key"]
