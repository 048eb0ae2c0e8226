"""Writing files at once or not at all, and removing trees that may be read-only."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from opencode_cache.base.errors import BadInputError


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Put `text` at `path` at once or not at all. Raises BadInputError where that cannot be done.

    Paths in the text may hold any byte: what `os.fsdecode` made of them is written as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
        beside.chmod(mode)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BadInputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove a tree that may be read-only."""
    for directory, directories, _ in os.walk(path):
        for name in directories:
            inner = Path(directory) / name
            if not inner.is_symlink():
                inner.chmod(0o755)
    if path.is_dir():
        path.chmod(0o755)
        shutil.rmtree(path)
