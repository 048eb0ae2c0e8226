"""The local store: read-only entries under `$XDG_DATA_HOME/opencode-cache/store`, for machines without Nix.

An entry is made in a directory that the store does not name and appears by one rename; a crash leaves
at most a `.making-*` directory, which the next `sweep` removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.files import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MAKING = ".making-"


def _xdg(variable: str, fallback: str) -> Path:
    # The XDG base directory specification: a relative value is to be ignored.
    value = os.environ.get(variable, "")
    if value.startswith("/"):
        return Path(value)
    home = os.environ.get("HOME", "")
    if not home.startswith("/"):
        raise BadInputError(f"HOME is {home!r}, not a directory; set HOME or {variable}")
    return Path(home) / fallback


def data_home() -> Path:
    """`$XDG_DATA_HOME/opencode-cache`."""
    return _xdg("XDG_DATA_HOME", ".local/share") / "opencode-cache"


def cache_home() -> Path:
    """`$XDG_CACHE_HOME/opencode-cache`: what may be deleted at any time."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "opencode-cache"


def downloads() -> Path:
    """Where tarballs are kept between runs."""
    return cache_home() / "tarballs"


def key(*parts: str | bytes) -> str:
    """A name for what goes into an entry: 32 hex digits of a sha256 over the parts and their lengths."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Store:
    """A directory of finished entries, named `<key>-<name>`."""

    root: Path

    def path(self, key: str, name: str) -> Path:
        return self.root / f"{key}-{name}"

    def add(self, key: str, name: str, make: Callable[[Path], None]) -> Path:
        """The entry, made by `make(place)` if it is not there. `place` does not exist when `make` is called.

        Whatever `make` raises, the store is then as it was. Raises BadInputError where it cannot be written.
        """
        entry = self.path(key, name)
        if entry.exists():
            return entry
        with self._locked():
            if entry.exists():  # somebody else made it while we waited
                return entry
            with self._written():
                making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=self.root))
            try:
                make(making / name)
                with self._written():
                    _read_only(making / name)
                    # A directory without write permission cannot be renamed by anybody but root.
                    (making / name).chmod(0o755)
                    (making / name).rename(entry)
                    entry.chmod(0o555)
            finally:
                remove(making)
        return entry

    def entries(self) -> list[Path]:
        """Every finished entry."""
        return sorted(path for path in self.root.glob("*-*") if not path.name.startswith("."))

    def entry(self, path: Path) -> Path | None:
        """The entry that a path leads to or into; None where it leads elsewhere, or nowhere."""
        try:
            below = path.resolve(strict=True).relative_to(self.root.resolve())
        except (OSError, RuntimeError, ValueError):
            return None
        return self.root / below.parts[0] if below.parts else None

    def remove(self, entries: Iterable[Path]) -> None:
        """Remove entries, each at once or not at all. Raises BadInputError where that cannot be done."""
        with self._locked(), self._written():
            for entry in entries:
                going = self.root / f"{_MAKING}{entry.name}"
                entry.rename(going)
                remove(going)

    def sweep(self) -> None:
        """Remove what an interrupted run left behind."""
        for left in self.root.glob(f"{_MAKING}*"):
            remove(left)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One maker at a time; the lock goes with the process, however it ends."""
        with self._written():
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with self._written():
                self.sweep()
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BadInputError(
                f"{self.root}: cannot be written ({error.strerror}); "
                "free some space there, or set XDG_DATA_HOME to a writable directory"
            ) from error


def default() -> Store:
    """The user's store."""
    return Store(data_home() / "store")


def _read_only(root: Path) -> None:
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(directory) / name
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
        Path(directory).chmod(0o555)
    if root.is_file():
        root.chmod(stat.S_IMODE(root.stat().st_mode) & ~0o222)
