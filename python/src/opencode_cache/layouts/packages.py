"""The `packages` layout of OpenCode 1.14 to 1.18: a tree of its own for every spec.

Upstream rule (anomalyco/opencode `packages/opencode/src/npm/index.ts`, `Npm.add`; read in and tried on
1.14.34, 1.15.0, 1.17.0 and 1.18.33): a package counts as installed when
`<cache>/packages/<spec>/node_modules/<name>` exists. No version, lock or package.json is looked at.
A provider's spec is its bare npm field, a plugin named without a version gets `@latest`, an npm tool
needs `node_modules/.bin` as well (`Npm.which`).

Config directories have another rule (`packages/opencode/src/config/config.ts`): `node_modules` exists and
`package-lock.json` names `@opencode-ai/plugin` among the root's dependencies; the version is not compared.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .layout import Place, split_spec

if TYPE_CHECKING:
    from pathlib import Path

    from ..eras import LayoutName
    from ..lock import Kind, Lock

CONFIG = "config"
"""The tree for config directories, beside `packages/`."""


class _Packages:
    name: LayoutName = "packages"

    def accepts(self, locked: str, found: str) -> bool:
        # What is asked for changes with the series; the bundled SDKs and the SDK generation with it.
        return locked.split(".")[:2] == found.split(".")[:2]

    def place(self, opencode: str, kind: Kind, spec: str, resolved: str) -> Place:  # noqa: ARG002
        if kind == "config":
            return Place(CONFIG, resolved)
        asked = split_spec(spec)[1]
        if kind == "plugin" and not asked:
            return Place(f"packages/{spec}@latest", "latest")
        return Place(f"packages/{spec}", asked or "latest")

    def write_metadata(self, cache: Path, lock: Lock) -> None:
        _link_bare_plugins(cache, lock)
        wanted = {r.name: r.version for r in lock.requests if r.tree == CONFIG}
        if not wanted:
            return
        root = {"name": "opencode-config", "dependencies": wanted}
        document = {"name": "opencode-config", "lockfileVersion": 3, "requires": True, "packages": {"": root}}
        (cache / CONFIG / "package-lock.json").write_text(
            json.dumps(document, indent=2) + "\n", encoding="utf-8"
        )

    def links(self, cache: Path) -> tuple[str, ...]:
        packages = cache / "packages"
        found = [path.parent.relative_to(cache) for path in packages.glob("*/node_modules")]
        found += [path.parent.relative_to(cache) for path in packages.glob("@*/*/node_modules")]
        names = [path.as_posix() for path in found]
        return tuple(sorted(names + (["tui"] if (cache / "tui").is_dir() else [])))

    def copies(self, cache: Path) -> tuple[str, ...]:
        return ("models.json",) if (cache / "models.json").is_file() else ()

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


PACKAGES = _Packages()

__all__ = ["CONFIG", "PACKAGES"]
