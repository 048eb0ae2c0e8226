"""The `bun` layout of OpenCode 1.0 to 1.3: one `node_modules` for all, installed by the embedded Bun.

Upstream rules (sst/opencode `packages/opencode/src/bun/index.ts`, `BunProc.install`, and
`packages/opencode/src/global/index.ts`; read in and tried on the binaries of 1.0.61, 1.0.98, 1.0.152,
1.1.27, 1.1.53 and 1.3.2):

* a package counts as installed when `<cache>/package.json` has it among its dependencies with the very
  string that was asked for: `"latest"` for SDKs and bare plugins up to 1.1.27; from 1.1.53 on any string
  will do as long as `node_modules/<name>` is there;
* `<cache>/version` must hold the number compiled into the binary, or the whole cache is deleted at start.

`bun.lock` is read by Bun alone, when the user adds a package (oven-sh/bun
`src/install/lockfile/bun.lock.zig`, lockfileVersion 1, compared with what Bun 1.3.2 writes).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.layouts.layout import Place
from opencode_cache.npm.spec import split_spec
from opencode_cache.opencode.versions import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opencode_cache.formats.lock import Kind, Lock, Package
    from opencode_cache.formats.manifest import Entry
    from opencode_cache.npm.platforms import System
    from opencode_cache.opencode.versions import LayoutName

_TREE = "."
_LAST_VERBATIM_LATEST = (1, 1, 27)
_FIRST_BUN_INFO = (1, 1, 53)
_LINKED = ("node_modules", "package.json", "bun.lock", "tui")
_COPIED = ("models.json", "version")


class _Bun:
    name: LayoutName = "bun"
    alone: tuple[str, ...] = ()

    def binaries(self, system: System) -> tuple[str, ...]:
        return system.binaries

    def accepts(self, locked: str, actual: str) -> bool:
        # The built-in plugins are asked for by exact version, and they change with patch releases.
        return locked == actual

    def place(self, opencode: str, kind: Kind, spec: str, resolved: str) -> Place:
        if kind in ("config", "tool", "command"):
            raise BadInputError(
                f"{spec}: OpenCode {opencode} installs {kind} packages outside its cache; "
                "take it out of the plan"
            )
        asked = split_spec(spec)[1] or "latest"
        if asked == "latest" and numbers(opencode) > _LAST_VERBATIM_LATEST:
            asked = resolved
        return Place(_TREE, asked)

    def write_metadata(self, cache: Path, lock: Lock) -> None:
        wanted = {request.name: request.requested for request in sorted(lock.requests, key=lambda r: r.name)}
        (cache / "package.json").write_text(
            json.dumps({"dependencies": wanted}, indent=2) + "\n", encoding="utf-8"
        )
        nodes = {path: lock.packages[key] for path, key in lock.trees.get(_TREE, {}).items()}
        (cache / "bun.lock").write_text(_bun_lock(cache, wanted, nodes), encoding="utf-8")
        if not lock.opencode.cache_version:
            raise BadInputError(
                f"the lock has no cache_version for OpenCode {lock.opencode.version}; "
                "make it again with `lock`"
            )
        # No newline: OpenCode compares the whole content.
        (cache / "version").write_text(lock.opencode.cache_version, encoding="utf-8")

    def links(self, cache: Path) -> tuple[str, ...]:
        return tuple(name for name in _LINKED if (cache / name).exists())

    def copies(self, cache: Path) -> tuple[str, ...]:
        return tuple(name for name in _COPIED if (cache / name).exists())

    def installed(self, cache: Path, entry: Entry, opencode: str) -> tuple[bool, str]:
        listed = _manifest(cache / "package.json").get("dependencies")
        installed = listed.get(entry.name) if isinstance(listed, dict) else None
        if installed is None:
            return False, "package.json does not name it"
        if self.asks_again(opencode):
            there = (cache / entry.path).is_dir()
            return there, f"package.json names it, and {entry.path} {'is there' if there else 'is not there'}"
        wanted = split_spec(entry.spec)[1] or "latest"
        return installed == wanted, f"package.json has {installed!r} for it, {wanted!r} is what it asks for"

    def newer(self, directory: Path, links: Sequence[str]) -> list[str]:  # noqa: ARG002
        return []

    def tolerated(self, opencode: str) -> frozenset[str]:  # noqa: ARG002
        # Every start runs `bun add` for it, installed or not; it fails at once and nothing depends on it.
        return frozenset({"@opencode-ai/plugin"})

    def asks_again(self, opencode: str) -> bool:
        """Whether this version looks up each installed package in the registry (`bun info`) at start."""
        return numbers(opencode) >= _FIRST_BUN_INFO


def _bun_lock(cache: Path, wanted: dict[str, str], nodes: dict[str, Package]) -> str:
    """Bun's text lock file for these nodes: an entry is [name@version, registry, info, integrity].

    The registry is left empty, which Bun reads as "the one that is configured".
    """
    lines = ["{", '  "lockfileVersion": 1,', '  "configVersion": 1,', '  "workspaces": {', '    "": {']
    lines.append('      "dependencies": {')
    lines += [f"        {json.dumps(name)}: {json.dumps(value)}," for name, value in wanted.items()]
    lines += ["      },", "    },", "  },", '  "packages": {']
    entries = {
        path.removeprefix("node_modules/").replace("/node_modules/", "/"): (path, package)
        for path, package in nodes.items()
    }
    for index, (key, (path, package)) in enumerate(sorted(entries.items())):
        if index:
            lines.append("")
        entry = [package.key, "", _info(cache / path / "package.json", package), package.integrity]
        lines.append(f"    {json.dumps(key)}: {json.dumps(entry, ensure_ascii=False)},")
    return "\n".join([*lines, "  }", "}", ""])


def _manifest(package_json: Path) -> dict[str, Any]:
    """A package's own manifest; nothing of one that npm can live with and we cannot read."""
    try:
        document = json.loads(files.read_text(package_json, files.SETTINGS).removeprefix("\ufeff"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _info(package_json: Path, package: Package) -> dict[str, Any]:
    info: dict[str, Any] = {}
    document = _manifest(package_json)
    if document:
        for field in ("dependencies", "optionalDependencies", "peerDependencies"):
            value = document.get(field)
            if isinstance(value, dict) and value:
                info[field] = value
        # npm's publishing copies optional dependencies into the ordinary ones; Bun's lock has them once.
        for name in info.get("optionalDependencies", {}):
            info.get("dependencies", {}).pop(name, None)
        if not info.get("dependencies", True):
            del info["dependencies"]
        meta = document.get("peerDependenciesMeta")
        peers = meta.items() if isinstance(meta, dict) else ()
        optional = [name for name, value in peers if isinstance(value, dict) and value.get("optional")]
        if optional:
            info["optionalPeers"] = optional
    for field in ("os", "cpu"):
        words = list(getattr(package, field))
        if words:
            info[field] = words[0] if len(words) == 1 else words
    if package.bin:
        info["bin"] = package.bin
    return info


BUN = _Bun()
