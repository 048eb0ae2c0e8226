"""The local store: read-only entries under `$XDG_DATA_HOME/opencode-cache/store`, for machines without Nix.

An entry is made in a directory that the store does not name, is on the disk before it appears by one rename,
and has a record of the sizes in it: one that a crash, a full disk or a person has spoiled is made again. A
crash leaves at most a `.making-*` directory, which the next `sweep` removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_RECORDS = ".records"
_RECORD = 64
"""Hex digits of a record."""


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
        """Where the entry with that key lies, or would lie. It makes nothing."""
        return self.root / f"{key}-{name.replace('/', '+')}"

    def whole(self, entry: Path) -> bool:
        """Whether an entry is there, and every file in it has the length that it was made with."""
        try:
            record = files.read_bytes(self._record(entry), _RECORD)
            return record.decode("ascii", "replace") == files.sizes(entry)
        except OSError:
            return False

    def add(self, key: str, name: str, make: Callable[[Path], None]) -> Path:
        """The entry, made by `make(path)` if it is not there whole. `path` does not exist then.

        Whatever `make` raises, the store is then as it was, but for an entry that was broken. Raises
        BadInputError where it cannot be written.
        """
        entry = self.path(key, name)
        if self.whole(entry):
            return entry
        with self._locked():
            if self.whole(entry):  # somebody else made it while we waited
                return entry
            with ExitStack() as stack:
                with self._written():
                    directory = stack.enter_context(files.beside(entry))
                new = directory / entry.name
                make(new)
                with self._written():
                    self._put(new, entry)
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
                with files.beside(entry) as aside:
                    entry.chmod(0o755)  # of another's, only root could rename it
                    entry.rename(aside / entry.name)
                    self._record(entry).unlink(missing_ok=True)

    def _put(self, new: Path, entry: Path) -> None:
        _read_only(new)
        # A directory without write permission cannot be renamed by anybody but root.
        new.chmod(0o755)
        files.sync_tree(new.parent)
        if os.path.lexists(entry):
            entry.chmod(0o755)
            entry.rename(new.with_name(".broken"))
        files.write_atomically(self._record(entry), files.sizes(new))
        new.rename(entry)
        entry.chmod(0o555)
        files.sync_directory(self.root)

    def sweep(self) -> None:
        """Remove what an interrupted run left behind."""
        files.sweep(self.root)

    def _record(self, entry: Path) -> Path:
        return self.root / _RECORDS / entry.name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One maker at a time; the lock goes with the process, however it ends."""
        with self._written():
            files.make_directories(self.root)
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


def sweep() -> None:
    """Remove what killed runs left wherever we make things, also where nothing has to be made now."""
    files.sweep_scratch()
    for directory in (data_home() / name for name in ("store", f"store/{_RECORDS}", "locks", "proofs")):
        files.sweep(directory)
    for directory in (downloads(), cache_home() / "npm-projects"):
        files.sweep(directory)


def default() -> Store:
    """The user's store."""
    return Store(data_home() / "store")


def _read_only(root: Path) -> None:
    """For all to read, for nobody to write, whatever the umask was."""
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(directory) / name
            if not path.is_symlink():
                _readable(path)
        Path(directory).chmod(0o555)
    if root.is_file():
        _readable(root)


def _readable(file: Path) -> None:
    program = stat.S_IMODE(file.stat().st_mode) & 0o100
    file.chmod(0o555 if program else 0o444)
