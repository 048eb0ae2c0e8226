"""A directory beside a file that is being made, which the next run removes if this one was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def workspace(file: Path) -> Iterator[Path]:
    """An empty directory on the file system of `file`, whose directory is made.

    Its maker holds a lock on it, which goes with the process, however that ends: one that can be locked by
    somebody else is of no use to anybody, and goes.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{file.name}.opencode-cache-"
    for left in file.parent.iterdir():
        if left.name.startswith(prefix) and left.is_dir() and not left.is_symlink():
            _sweep(left)
    directory, handle = _locked(file.parent, prefix)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(handle)


def _locked(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        directory.chmod(0o700)  # whatever the umask
        with contextlib.suppress(FileNotFoundError):  # another run swept it before it was locked
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if directory.exists():
                return directory, handle
            os.close(handle)


def _sweep(left: Path) -> None:
    # Where it cannot be told whether somebody is at work, it stays.
    with contextlib.suppress(OSError):
        handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
        finally:
            os.close(handle)
