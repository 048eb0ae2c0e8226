"""Writes a lock's files of the user's own into a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write(files: Mapping[str, str], cache: Path) -> None:
    """Write a lock's files into the cache. Raises OSError."""
    for where, text in sorted(files.items()):
        path = cache / where
        path.parent.mkdir(parents=True, exist_ok=True)
        for directory in path.relative_to(cache).parents:
            (cache / directory).chmod(0o755)
        path.write_bytes(text.encode())
        path.chmod(0o644)
