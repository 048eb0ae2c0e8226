"""Several files at once, or none of them: whatever ends the program, and whenever.

All new files are staged in one directory with a journal that names them; one rename of that directory is the
moment of truth. Before it, nothing has happened; after it, `complete` can always finish, in the next run too:

    .cache/update/staging-*   being written; worth nothing
    .cache/update/journal     decided; its files go to their places, then it is removed
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import stat
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import safe_relative

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

PLACE = ".cache/update"
"""Below the repository, so on its file system, and ignored by git."""
_JOURNAL = "journal"
_LIST = "files.json"
_STAGING = "staging-"


@dataclass(frozen=True)
class Change:
    """One file: its bytes as they were read, and as they shall be. None: no file."""

    old: bytes | None
    new: bytes | None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, AfterValidator(safe_relative)]
    staged: str | None
    """Name beside the journal; None: the file is to go."""
    old: str | None
    new: str | None
    """sha256 of the content, in hex."""


class _Journal(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[_File, ...]


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
    place = root / PLACE
    try:
        place.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=place))
        try:
            _stage(root, staging, changes)
            with _undisturbed():
                staging.rename(place / _JOURNAL)
                _sync(place)
                complete(root)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        then = "; run `update` again to finish it" if waiting(root) else "; nothing was changed"
        raise BadInputError(
            f"{error.filename or place}: cannot be written ({error.strerror}){then}"
        ) from error


def complete(root: Path) -> list[str]:
    """Finish what an interrupted update had decided; the files it put in place (or removed), in order.

    Raises BadInputError where one of them was changed by somebody else since.
    """
    place = root / PLACE
    for left in place.glob(f"{_STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)
    journal = place / _JOURNAL
    if not journal.is_dir():
        return []
    try:
        found = _Journal.model_validate_json((journal / _LIST).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInputError(
            f"{journal / _LIST}: cannot be read; restore the repository's files with git and remove {journal}"
        ) from error
    for file in found.files:
        content = _content(root / file.path)
        if _hash(content) not in (file.old, file.new):
            raise BadInputError(
                f"{root / file.path}: was changed after an update was interrupted; restore it with git, "
                f"or remove {journal} to keep the files as they are"
            )
    for file in found.files:
        _put(root / file.path, journal / file.staged if file.staged else None)
    done = place / f"{_STAGING}done-{os.getpid()}"
    journal.rename(done)
    shutil.rmtree(done, ignore_errors=True)
    return [file.path for file in found.files]


def _put(target: Path, staged: Path | None) -> None:
    if staged is None:
        target.unlink(missing_ok=True)
    elif staged.exists():  # else it is in its place already
        staged.replace(target)
    _sync(target.parent)


def _stage(root: Path, staging: Path, changes: Mapping[str, Change]) -> None:
    files = []
    for number, (name, change) in enumerate(sorted(changes.items())):
        staged = None if change.new is None else str(number)
        if staged is not None:
            target = root / name
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
            _write(staging / staged, change.new or b"", mode)
        files.append(_File(path=name, staged=staged, old=_hash(change.old), new=_hash(change.new)))
    _write(staging / _LIST, _Journal(files=tuple(files)).model_dump_json(indent=2).encode(), 0o644)
    _sync(staging)


def _write(path: Path, data: bytes, mode: int) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _hash(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits: what follows takes milliseconds, and its half would need a second run."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signalled in came:
            os.kill(os.getpid(), signalled)
