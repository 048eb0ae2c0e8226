"""What the packages of a cache say of themselves: who made them, under which text, what they import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base import files
from opencode_cache.inspect import node_modules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opencode_cache.formats.manifest import CachedPackage, Manifest

_LICENCE = re.compile(r"^(?:un)?licen[cs]e|^copying", re.IGNORECASE)
_MAX_TEXT = 256 << 10
_MAX_NAME = 200


@dataclass(frozen=True)
class Facts:
    """What one package says. The file is relative to the cache."""

    supplier: str | None
    licence_file: str | None
    licence_text: str | None


@dataclass(frozen=True)
class Found:
    """What all packages of a cache say."""

    facts: Mapping[CachedPackage, Facts]
    depends: Mapping[CachedPackage, set[CachedPackage]]


def read(cache: Path, manifest: Manifest) -> Found:
    """Look at every package on disk. What is there no more, or cannot be read, says nothing."""
    known = {f"{package.name}@{package.version}": package for package in manifest.packages}
    for package in manifest.packages:
        # What came from GitHub has its commit in the manifest's version, and not in its own.
        known.setdefault(f"{package.name}@{package.version.partition('+')[0]}", package)
    facts: dict[CachedPackage, Facts] = {}
    depends: dict[CachedPackage, set[CachedPackage]] = {}
    for name in sorted({entry.tree for entry in manifest.requests}):
        tree = cache / name
        package_at = {path: known[key] for path, key in node_modules.on_disk(tree) if key in known}
        for path, package in package_at.items():
            if package not in facts:
                facts[package] = _facts(cache, tree / path)
            inside = (package_at.get(other) for other in node_modules.imports(tree, path))
            depends.setdefault(package, set()).update(one for one in inside if one and one != package)
    return Found(facts, depends)


def _facts(cache: Path, package: Path) -> Facts:
    document = node_modules.document(package) or {}
    texts = sorted(path for path in package.iterdir() if _LICENCE.match(path.name))
    for path in texts:
        if path.is_symlink() or not path.is_file():
            continue
        try:
            text = files.read_text(path, _MAX_TEXT, errors="replace")
        except (OSError, ValueError):
            continue
        return Facts(_supplier(document), path.relative_to(cache).as_posix(), _plain(text))
    return Facts(_supplier(document), None, None)


def _supplier(document: Mapping[str, object]) -> str | None:
    """The author, without an address; else the owner of the repository."""
    author = document.get("author")
    if isinstance(author, dict):
        author = author.get("name")
    name = re.split(r"[<(]", author)[0] if isinstance(author, str) else ""
    name = " ".join(_plain(name).split())
    if name:
        return name[:_MAX_NAME]
    repository = document.get("repository")
    if isinstance(repository, dict):
        repository = repository.get("url")
    owner = isinstance(repository, str) and re.search(
        r"(?:github\.com[/:]|^(?:github:)?)([A-Za-z0-9][A-Za-z0-9-]*)/[\w.-]+$", repository
    )
    return f"github.com/{owner[1]}" if owner else None


def _plain(text: str) -> str:
    """Without what steers a terminal, and without what is no character."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")
