"""The `packages` layout of OpenCode 1.14 to 1.18: a tree of its own for every spec.

Upstream rule (anomalyco/opencode `packages/opencode/src/npm/index.ts`, `Npm.add`; read in and tried on
1.14.34, 1.15.0, 1.17.0 and 1.18.33): a package counts as installed when
`<cache>/packages/<spec>/node_modules/<name>` exists. No version, lock or package.json is looked at.
A provider's spec is its bare npm field, a plugin named without a version gets `@latest`, an npm tool's is
its bare name, and it needs `node_modules/.bin` as well (`Npm.which`; see `tools.py`).

Config directories have another rule (`packages/opencode/src/config/config.ts`): `node_modules` exists and
`package-lock.json` names `@opencode-ai/plugin` among the root's dependencies; the version is not compared.
"""

from __future__ import annotations

import json
import os
import posixpath
from typing import TYPE_CHECKING

from opencode_cache.base import files
from opencode_cache.layouts.layout import Place, trees
from opencode_cache.npm import repository
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode import tools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opencode_cache.formats.lock import Kind, Lock
    from opencode_cache.formats.manifest import Entry
    from opencode_cache.npm.platforms import System
    from opencode_cache.opencode.versions import LayoutName

CONFIG = "config"
"""The tree for config directories, beside `packages/`."""


class _Packages:
    name: LayoutName = "packages"
    alone: tuple[str, ...] = ()

    def binaries(self, system: System) -> tuple[str, ...]:
        return system.binaries

    def accepts(self, locked: str, actual: str) -> bool:
        # What is asked for changes with the series; the bundled SDKs and the SDK generation with it.
        return locked.split(".")[:2] == actual.split(".")[:2]

    def place(self, opencode: str, kind: Kind, spec: str, resolved: str) -> Place:  # noqa: ARG002
        # A `command` is no matter of OpenCode's: the wrapper finds it under the text of its spec.
        if kind == "config":
            return Place(CONFIG, resolved)
        name, asked = split_spec(spec)
        if kind == "tool":
            return Place(f"packages/{name}", asked or "latest")
        # Repositories and aliases (name@npm:other@1) are as they are written.
        if ":" in spec or repository.is_repository(spec):
            # Joined to a path by OpenCode, which makes one slash of two.
            return Place(posixpath.normpath(f"packages/{spec}"), asked or spec)
        if kind == "plugin" and not asked:
            return Place(f"packages/{spec}@latest", "latest")
        return Place(f"packages/{spec}", asked or "latest")

    def write_metadata(self, cache: Path, lock: Lock) -> None:
        _link_bare_plugins(cache, lock)
        _link_servers(cache, lock)
        _link_repositories(cache, lock)
        wanted = {r.name: r.version for r in lock.requests if r.tree == CONFIG}
        if not wanted:
            return
        root = {"name": "opencode-config", "dependencies": wanted}
        document = {"name": "opencode-config", "lockfileVersion": 3, "requires": True, "packages": {"": root}}
        (cache / CONFIG / "package-lock.json").write_text(
            json.dumps(document, indent=2) + "\n", encoding="utf-8"
        )

    def links(self, cache: Path) -> tuple[str, ...]:
        paths = [path.relative_to(cache) for path in trees(cache / "packages")]
        paths += [path.relative_to(cache) for path in (cache / "bin").glob("*")]
        names = [path.as_posix() for path in paths]
        return tuple(sorted(names + (["tui"] if (cache / "tui").is_dir() else [])))

    def copies(self, cache: Path) -> tuple[str, ...]:
        return ("models.json",) if (cache / "models.json").is_file() else ()

    def installed(self, cache: Path, entry: Entry, opencode: str) -> tuple[bool, str]:  # noqa: ARG002
        if entry.kind == "command":
            there = (cache / entry.path).is_dir()
            return (
                there,
                f"{entry.path}, from where the wrapper starts it, {'is' if there else 'is not'} there",
            )
        if entry.kind == "tool":
            command = _which(cache / entry.modules, entry.name)
            looked = f"{entry.modules}/.bin" + (f"/{command}" if command else "")
            return bool(
                command
            ), f"{looked} {'is what it starts' if command else 'has nothing in it to start'}"
        if entry.kind == "config":
            listed = _root_dependencies(cache / CONFIG / "package-lock.json")
            there = entry.name in listed and (cache / entry.path).is_dir()
            return there, f"{CONFIG}/package-lock.json {'names' if there else 'does not name'} it"
        name = posixpath.normpath(entry.spec) if repository.is_nameless(entry.spec) else entry.name
        path = f"{entry.modules}/{name}"
        there = (cache / path).exists()
        return there, f"{path} {'is there' if there else 'is not there'}"

    def newer(self, directory: Path, links: Sequence[str]) -> list[str]:  # noqa: ARG002
        return []

    def tolerated(self, opencode: str) -> frozenset[str]:  # noqa: ARG002
        return frozenset()


def _link_bare_plugins(cache: Path, lock: Lock) -> None:
    """`packages/<name>` beside `packages/<name>@latest`.

    1.18.33's second plugin loader (`config-plugin`, part of `run` and the TUI) looks for the spec as it is
    written in opencode.json, and asks the registry where it finds nothing.
    """
    for request in lock.requests:
        bare = cache / "packages" / request.name
        named_bare = request.kind == "plugin" and request.tree == f"packages/{request.name}@latest"
        if named_bare and not bare.exists():
            bare.symlink_to(f"{bare.name}@latest")


def _which(modules: Path, name: str) -> str | None:
    """The command that `Npm.which` starts, by the rule in `tools.py`."""
    links = modules / ".bin"
    there = sorted(link.name for link in links.iterdir()) if links.is_dir() else []
    tool = tools.TOOLS.get(name)
    if tool is not None:
        return tool.command if tool.command in there else None
    return there[0] if there else None


def _root_dependencies(package_lock: Path) -> dict[str, str]:
    try:
        document = json.loads(files.read_text(package_lock, files.DOCUMENT))
        return dict(document["packages"][""]["dependencies"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _link_repositories(cache: Path, lock: Lock) -> None:
    """`node_modules/github:owner/repo#commit` beside the package's own name.

    Where a spec has no name in it, OpenCode takes the whole of it for the name.
    """
    for request in lock.requests:
        if request.kind == "plugin" and repository.is_nameless(request.spec):
            modules = cache / request.tree / "node_modules"
            link = modules / request.spec
            link.parent.mkdir(parents=True, exist_ok=True)
            link.parent.chmod(0o755)
            link.symlink_to(os.path.relpath(modules / request.name, link.parent))


def _link_servers(cache: Path, lock: Lock) -> None:
    """`bin/<command>` for language servers: OpenCode looks there before it thinks of npm."""
    for request in lock.requests:
        tool = tools.TOOLS.get(request.name) if request.kind == "tool" else None
        if tool is None or not tool.server or not tool.linked:
            continue
        command = f"{request.tree}/node_modules/.bin/{tool.command}"
        if (cache / command).exists():
            (cache / "bin").mkdir(exist_ok=True)
            (cache / "bin" / tool.command).symlink_to(f"../{command}")


PACKAGES = _Packages()

__all__ = ["CONFIG", "PACKAGES"]
