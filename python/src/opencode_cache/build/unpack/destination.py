"""One directory that a package is written to: plain files, no links followed, set times and modes."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from opencode_cache.formats.lock import Package

MTIME = 1
"""Seconds since the epoch: the time of everything in a cache, as in a Nix store."""
DIRECTORY_MODE = 0o755
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Destination:
    """One destination: makes directories and files below it, and never follows a link on the way."""

    def __init__(self, root: Path, package: Package) -> None:
        self._root = root
        self._package = package
        self._made: dict[str, str] = {}

    def make(self, relative: str) -> str:
        """The full path of a directory of the package, made if it is not there."""
        full = self._made.get(relative)
        if full is not None:
            return full
        if relative:
            parent, _, name = relative.rpartition("/")
            full = f"{self.make(parent)}/{name}"
        else:
            full = str(self._root)
            self._root.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        # Strings and `os`, here and below: a Path for each of 30 000 files is a third of the time.
        try:
            os.mkdir(full, DIRECTORY_MODE)  # noqa: PTH102
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(full).st_mode):
                raise
        os.chmod(full, DIRECTORY_MODE)  # noqa: PTH101 - whatever the umask is
        self._made[relative] = full
        return full

    def write(self, relative: str, mode: int, pieces: Iterable[bytes | memoryview], *, again: bool) -> str:
        """Write a file and return its full path. `again`: this package has written it before."""
        parent, _, name = relative.rpartition("/")
        full = f"{self.make(parent)}/{name}"
        handle = os.open(full, _AGAIN if again else _NEW, mode)
        try:
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    left = left[os.write(handle, left) :]
            if not again:
                os.fchmod(handle, mode)
            os.utime(handle, (MTIME, MTIME))
        finally:
            os.close(handle)
        return full

    def settle(self) -> None:
        """Give every directory that was made the one time that all files of a cache have."""
        for full in self._made.values():
            os.utime(full, (MTIME, MTIME))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the system's errors into a sentence."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                free = shutil.disk_usage(
                    next(path for path in (self._root, *self._root.parents) if path.is_dir())
                )
                raise BadInputError(
                    f"{self._root}: no space left on device: {self._package.key} does not fit, "
                    f"free {free.free} bytes; make room there or choose another place"
                ) from error
            raise BadInputError(
                f"{self._package.key}: {error.filename or self._root} cannot be written ({error.strerror}); "
                "start with an empty directory"
            ) from error
