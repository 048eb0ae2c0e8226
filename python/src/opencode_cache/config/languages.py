"""Which npm tools OpenCode would start in a project, once `lsp` or `formatter` is on.

Upstream (anomalyco/opencode `packages/opencode/src/lsp/server.ts` and `src/format/formatter.ts`; 1.18.33): a
server starts for the endings of its files; `typescript` and Astro's only where the project has `typescript`;
prettier where a package.json names it, Biome where there is a biome.json. oxfmt needs a switch of its own.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from opencode_cache.base import files
from opencode_cache.opencode.tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from opencode_cache.opencode.tools import Tool

_SKIPPED = frozenset({"node_modules", "vendor", "target", "dist", "build", "__pycache__"})
_MOST = 20_000
"""Files that are looked at in a project: the languages of a larger one show before that."""
_BIOME = ("biome.json", "biome.jsonc")


def tools(section: str, projects: Sequence[Path], off: Collection[str]) -> list[str]:
    """The packages of the tools, without those of the servers or formatters that are off."""
    packages: list[str] = []
    for project in projects:
        names = set(_names(project))
        for package, tool in TOOLS.items():
            name = tool.server if section == "lsp" else tool.formatter
            wanted = _serves(tool, names, project) if section == "lsp" else _formats(package, names, project)
            if name and name not in off and wanted and package not in packages:
                packages.append(package)
    return packages


def _serves(tool: Tool, names: Collection[str], project: Path) -> bool:
    if tool.package == "@biomejs/biome":
        return any(name in names for name in _BIOME)
    if tool.project and not _has(project, tool.project):
        return False
    return any(name.endswith(tool.files) for name in names) if tool.files else False


def _formats(package: str, names: Collection[str], project: Path) -> bool:
    if package == "@biomejs/biome":
        return any(name in names for name in _BIOME)
    return package == "prettier" and _has(project, "prettier")


def _names(project: Path) -> Iterator[str]:
    seen = 0
    for _, directories, names in os.walk(project):
        directories[:] = sorted(name for name in directories if name not in _SKIPPED and name[0] != ".")
        yield from names
        seen += len(names)
        if seen > _MOST:
            return


def _has(project: Path, package: str) -> bool:
    if (project / "node_modules" / package / "package.json").is_file():
        return True
    try:
        document = json.loads(files.read_text(project / "package.json", files.SETTINGS))
    except (OSError, ValueError, RecursionError):
        return False
    sections = document.values() if isinstance(document, dict) else ()
    return any(isinstance(section, dict) and package in section for section in sections)
