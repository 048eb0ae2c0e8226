"""Reading with bounds, writing at once or not at all (also over a power cut), removing what is read-only."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

DOCUMENT = 64 << 20
"""Bytes of the longest document of ours that is read: a hundred times the longest there is."""
SETTINGS = 4 << 20
"""Bytes of the longest file that people write by hand."""
PROGRAM = 2 << 30
"""Bytes of the longest program."""
DIRECTORY_MODE = 0o755
_PIECE = 16 << 20
_MAKING = ".making-opencode-"
_SCRATCH = "making-opencode-"
"""In TMPDIR, where programs are started that may leave hidden directories out."""
_RANDOM = "?" * 8
"""What `tempfile.mkdtemp` adds."""
_TRIES = 100


def open_regular(path: Path) -> BinaryIO:
    """A file that somebody names, opened to read, unbuffered; a pipe or a device hangs nobody.

    Raises OSError, whose `strerror` is what is wrong in words.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL in it, or half a surrogate pair
        raise OSError(errno.EINVAL, f"is not a path ({error})", str(path)) from error
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        what = "a directory" if stat.S_ISDIR(kind) else "a device, a pipe or a socket"
        raise OSError(errno.EINVAL, f"is {what}, not a file", str(path))
    return os.fdopen(handle, "rb", buffering=0)


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file that somebody names: a regular one of at most `limit` bytes.

    Raises OSError, whose `strerror` is what is wrong in words.
    """
    with open_regular(path) as file:
        # Files of /proc have no size, and a file may grow.
        pieces, left = [], limit + 1
        while left and (piece := file.read(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise OSError(errno.EFBIG, f"has more than {limit} bytes", str(path))
        return b"".join(pieces)


def read_text(path: Path, limit: int, *, errors: str = "strict") -> str:
    """The same as text. Raises OSError for what is not UTF-8, too, unless `errors` replaces that."""
    try:
        return read_bytes(path, limit).decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, f"is not UTF-8 (byte {error.start})", str(path)) from error


def make_directories(path: Path) -> None:
    """Make a directory, and what is missing above it, for all to read whatever the umask. Raises OSError."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for one in missing:
        with contextlib.suppress(PermissionError):  # somebody else made it in the meantime
            one.chmod(DIRECTORY_MODE)


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Put `text` at `path` at once or not at all. Raises BadInputError where that cannot be done.

    Paths in the text may hold any byte: what `os.fsdecode` made of them is written as it was.
    """
    try:
        with beside(path) as directory:
            new = directory / "file"
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
                file.flush()
                os.fchmod(handle, mode)
                os.fsync(handle)
            new.replace(path)
            sync_directory(path.parent)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A new directory in the directory of `path`, to make something in that is then renamed to `path`.

    The directory of `path` is made where it is missing. The new one is gone afterwards, and so is what a
    killed process has left of such a one. Raises OSError.
    """
    make_directories(path.parent)
    with _held(path.parent, _MAKING) as held:
        yield held


@contextmanager
def scratch() -> Iterator[Path]:
    """The same in TMPDIR, for what nobody keeps. Raises OSError."""
    with _held(Path(tempfile.gettempdir()), _SCRATCH) as held:
        yield held


@contextmanager
def _held(directory: Path, prefix: str) -> Iterator[Path]:
    _sweep(directory, prefix)
    held, handle = _claimed(directory, prefix)
    try:
        yield held
    finally:
        try:
            remove(held)
        except OSError:  # a process that was started in it still writes; the next sweep removes what stays
            shutil.rmtree(held, ignore_errors=True)
        os.close(handle)


def sweep(directory: Path) -> None:
    """Remove what killed processes left in a directory: what `beside` made, and nobody holds."""
    _sweep(directory, _MAKING)


def sweep_scratch() -> None:
    """The same in TMPDIR: what `scratch` made."""
    _sweep(Path(tempfile.gettempdir()), _SCRATCH)


def _sweep(directory: Path, prefix: str) -> None:
    for left in directory.glob(f"{prefix}{_RANDOM}"):
        with contextlib.suppress(OSError):  # it is another user's, or gone
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_uid == os.geteuid():
                    remove(left)
            finally:
                os.close(handle)


def _claimed(directory: Path, prefix: str) -> tuple[Path, int]:
    """A new directory and a lock on it, which goes with this process however it ends."""
    for _ in range(_TRIES):
        claimed = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
        with contextlib.suppress(FileNotFoundError):
            claimed.chmod(0o700)  # whatever the umask
            handle = os.open(claimed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # a file system without locks: then nobody else sweeps, either
                fcntl.flock(handle, fcntl.LOCK_EX)
            # Another process may have taken it for a left one before it was locked.
            if claimed.exists() and os.path.samestat(os.fstat(handle), claimed.stat()):
                return claimed, handle
            os.close(handle)
    raise OSError(errno.EBUSY, "other processes remove what is made there", str(directory))


def sync_tree(root: Path) -> None:
    """Wait until everything below a directory is on the disk. Raises OSError."""
    handle = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if sys.platform == "linux":
            # One call for thousands of files; to sync each of them takes several times as long.
            if ctypes.CDLL(None, use_errno=True).syncfs(handle) == 0:
                return
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(root))
        for directory, _, names in os.walk(root):
            for name in names:
                _sync(Path(directory, name))
            _sync(Path(directory))
    finally:
        os.close(handle)


def sync_directory(path: Path) -> None:
    """Wait until a directory's entries are on the disk: a rename into it, for one. Raises OSError."""
    _sync(path)


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync this kind of thing
            raise
    finally:
        os.close(handle)


def sizes(root: Path) -> str:
    """A digest of what lies at a path: names, kinds, lengths, targets of links. Raises OSError."""
    digest = hashlib.sha256()
    waiting = [(os.fspath(root), "")]
    while waiting:
        path, name = waiting.pop()
        status = os.lstat(path)
        kind, length, target = stat.S_IFMT(status.st_mode), status.st_size, ""
        if stat.S_ISDIR(status.st_mode):
            length = 0
            inside = sorted(os.listdir(path), reverse=True)  # noqa: PTH208 - a third of the time of a Path's
            waiting += [(f"{path}/{one}", f"{name}/{one}") for one in inside]
        elif stat.S_ISLNK(status.st_mode):
            target = os.readlink(path)  # noqa: PTH115
        digest.update(f"{name}\0{kind}\0{length}\0{target}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


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
