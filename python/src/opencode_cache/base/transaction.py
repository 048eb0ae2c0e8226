"""Several files at once, or none of them: whatever ends the program, and whenever.

All files are written beside each other first, as they were and as they shall be, and one rename of their
directory is the moment of truth. Before it nothing has happened; after it `complete` can always finish:

    PLACE/journal     decided: `new/PATH` goes to its place, what only `old/PATH` has is removed

What is being written lies in a directory that `files.beside` makes and sweeps.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PLACE = ".cache/update"
"""Below the repository, so on its file system, and ignored by git."""
_JOURNAL = "journal"


@dataclass(frozen=True)
class Change:
    """One file: its bytes as they were read, and as they shall be. None: no file."""

    old: bytes | None
    new: bytes | None


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """One update at a time in a repository. Raises BadInputError where another one is at work."""
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInputError(f"{root}: another update is at work there; wait for it to end") from error
        yield
    finally:
        os.close(handle)


def waiting(root: Path) -> bool:
    """Whether an update was interrupted between its decision and its end."""
    return (root / PLACE / _JOURNAL).is_dir()


def replace(root: Path, changes: Mapping[str, Change]) -> None:
    """Make all of the changes, by path relative to `root`, or none.

    Ctrl-C while files are put in place takes effect when all of them are. Raises BadInputError where a file
    is no longer what was read, or cannot be written; then nothing has changed.
    """
    for name, change in changes.items():
        if _content(root / name) != change.old:
            raise BadInputError(f"{root / name}: was changed while `update` worked; run it again")
    journal = root / PLACE / _JOURNAL
    try:
        with files.beside(journal) as beside:
            staging = beside / _JOURNAL
            staging.mkdir()
            for name, change in changes.items():
                for side, content in (("old", change.old), ("new", change.new)):
                    if content is not None:
                        _write(staging / side / name, content, root / name)
            with _undisturbed():
                staging.rename(journal)
                files.sync_directory(journal.parent)
                complete(root)
    except OSError as error:
        then = "; run `update` again to finish it" if waiting(root) else "; nothing was changed"
        raise BadInputError(
            f"{error.filename or journal.parent}: cannot be written ({error.strerror}){then}"
        ) from error


def complete(root: Path) -> list[str]:
    """Finish what an interrupted update had decided; the files it put in place (or removed), in order.

    Raises BadInputError where one of them was changed by somebody else since.
    """
    journal = root / PLACE / _JOURNAL
    files.sweep(journal.parent)
    sides = {
        side: [path for path in (journal / side).rglob("*") if path.is_file()] for side in ("old", "new")
    }
    names = sorted({path.relative_to(journal / side).as_posix() for side in sides for path in sides[side]})
    for name in names:
        if _content(root / name) not in [_content(journal / side / name) for side in sides]:
            raise BadInputError(
                f"{root / name}: was changed after an update was interrupted; restore it with git, "
                f"or remove {journal} to keep the files as they are"
            )
    if names:
        with files.beside(journal) as beside:
            for name in names:
                new = _content(journal / "new" / name)
                if new is None:
                    (root / name).unlink(missing_ok=True)
                else:
                    _write(beside / "file", new, journal / "new" / name)
                    (beside / "file").replace(root / name)
                files.sync_directory((root / name).parent)
            journal.rename(beside / "done")
    return names


def _write(path: Path, data: bytes, like: Path) -> None:
    """A file on the disk, with the mode of another where that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), like.stat().st_mode & 0o777 if like.exists() else 0o644)
        os.fsync(file.fileno())
    files.sync_directory(path.parent)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits: what follows takes milliseconds, and its half would need a second run."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signalled in came:
            os.kill(os.getpid(), signalled)
