"""Small text files of the user's own below the cache: they travel in the lock, with their content.

The pure steps are given nothing but the lock, on every path alike, so what they write has to be in it. Such
files are for settings of a few kilobytes; the wrapper links them, so OpenCode reads them and cannot write.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LARGEST = 64 * 1024
_MOST_SOURCES = 100_000
"""Files of a catalogue's sources; models.dev has a twentieth of that."""
_OURS = frozenset(
    {
        "bin",
        "bun.lock",
        "config",
        "manifest.json",
        "models.json",
        "node_modules",
        "npm",
        "package.json",
        "packages",
        "tree-sitter",
        "tui",
        "urls",
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
    texts = {}
    for where, source in sources.items():
        try:
            text = files.read_text(Path(source), files.SETTINGS)
        except OSError as error:
            raise BadInputError(
                f"files: {source}: cannot be read as UTF-8 text ({error.strerror}); give a text file"
            ) from error
        size = len(text.encode())
        if size > _LARGEST:
            raise BadInputError(f"files: {source}: has {size} bytes; a lock carries files up to {_LARGEST}")
        texts[where] = text
    for where in texts:
        inside = next((other for other in texts if where.startswith(f"{other}/")), None)
        if inside:
            raise BadInputError(
                f"files: {where!r} lies below {inside!r}, which is a file; choose another place"
            )
    return texts


def sources(names: Iterable[str]) -> Iterator[Path]:
    """The files that a plan reads: those that it names, and models.dev's in the directories that it names.

    Raises BadInputError for a directory that is no such one.
    """
    for name in names:
        top, seen = Path(name), 0
        if top.is_file():
            yield top
        for directory, directories, inside in os.walk(top):
            directories.sort()
            seen += len(inside) + len(directories)
            if seen > _MOST_SOURCES:
                raise BadInputError(
                    f"{top}: holds more than {_MOST_SOURCES} files; give models.dev's sources"
                )
            yield from (path for one in sorted(inside) if (path := Path(directory, one)).is_file())


def expanded(name: str) -> Path:
    """A path as a person writes it, `~` too. Raises BadInputError for a user that there is not."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise BadInputError(f"{name}: there is no such user; write the path in full") from error
