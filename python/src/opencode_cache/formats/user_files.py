"""Small text files of the user's own below the cache: they travel in the lock, with their content.

The pure steps are given nothing but the lock, on every path alike, so what they write has to be in it. Such
files are for settings of a few kilobytes; the wrapper links them, so OpenCode reads them and cannot write.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST = 64 * 1024
_OURS = frozenset(
    {
        "bin",
        "bun.lock",
        "config",
        "manifest.json",
        "models.json",
        "node_modules",
        "package.json",
        "packages",
        "tree-sitter",
        "tui",
        "version",
    }
)
"""First parts of paths that the cache itself fills."""


def place(value: str) -> str:
    """A relative path below the cache at which a file of the user's may stand. Raises ValueError."""
    parts = value.split("/")
    if not value.isprintable():
        raise ValueError(f"{value!r} has a control character; choose another place")
    # Some file systems take `Packages` for `packages`.
    if parts[0].casefold() in _OURS or any(part.startswith(".") for part in parts):
        raise ValueError(f"{value!r} is a place that the cache fills itself, or hidden; choose another")
    return value


def read(sources: Mapping[str, str]) -> dict[str, str]:
    """Place below the cache -> content, for a plan's place -> source path. Raises BadInputError."""
    found = {}
    for where, source in sources.items():
        try:
            text = files.read_text(Path(source), files.SETTINGS)
        except OSError as error:
            raise BadInputError(
                f"files: {source}: cannot be read as UTF-8 text ({error.strerror})"
            ) from error
        size = len(text.encode())
        if size > _LARGEST:
            raise BadInputError(f"files: {source}: has {size} bytes; a lock carries files up to {_LARGEST}")
        found[where] = text
    for where in found:
        inside = next((other for other in found if where.startswith(f"{other}/")), None)
        if inside:
            raise BadInputError(
                f"files: {where!r} lies below {inside!r}, which is a file; choose another place"
            )
    return found
