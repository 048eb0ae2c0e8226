"""Reading an air-gap bundle: whole, announced, and never a byte outside the directory given.

The reader parses nothing but the two lists at the bundle's beginning (`file_format`), and these only once
they are asked for: a signature is checked before. From them it knows each byte of the tar but for the files'
content; a name, a kind, a size that was not announced ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, cast

import zstandard

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.ship.file_format import (
    BLOCK,
    CONTENTS,
    DATA_MODE,
    DIGITS,
    END,
    MAX_LIST,
    MAX_SIGNATURE,
    MAX_WINDOW,
    SIGNATURE,
    SUMS,
    TRAILER,
    Listing,
    Rest,
    document_header,
    parse,
    size_in,
)
from opencode_cache.ship.policy import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO, BinaryIO

    from opencode_cache.ship.file_format import Entry

_CHUNK = 1 << 20
_MAGIC = b"\x28\xb5\x2f\xfd"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The bundle in a file. Raises BadInputError where it is none."""
    try:
        file = files.open_regular(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror}); give a bundle") from error
    with file:
        yield Archive(path, file)


class Archive:
    """A bundle that is whole: SHA256SUMS and its signature. Raises BadInputError where it is not."""

    sums: bytes
    signature: bytes

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        length = self._check_digits(file)
        file.seek(0)
        unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._tar = unpacker.stream_reader(cast("IO[bytes]", _Part(file, length)), read_across_frames=False)
        self._taken, self._digest = 0, hashlib.sha256()
        self.sums = self._document(SUMS, MAX_LIST, self._take(BLOCK))
        self._header = self._take(BLOCK)
        self.signature = b""
        if self._header.startswith(SIGNATURE.encode() + b"\0"):
            self.signature = self._document(SIGNATURE, MAX_SIGNATURE, self._header)
            self._header = self._take(BLOCK)

    @cached_property
    def listing(self) -> Listing:
        """What is in it. Raises BadInputError where that cannot be, or is more than there may be."""
        contents = self._document(CONTENTS, MAX_LIST, self._header)
        self._taken, self._digest = 0, hashlib.sha256()
        try:
            return parse(self.sums, contents)
        except ValueError as error:
            raise self.refused(str(error)) from error

    def refused(self, why: str) -> BadInputError:
        """The error for a bundle that is not as it was made."""
        return BadInputError(f"{self._path}: damaged, nothing was installed ({why}); copy the bundle again")

    def required_signature(self) -> bytes:
        """Raises BadInputError where the bundle has none."""
        if not self.signature:
            raise BadInputError(
                f"{self._path}: not signed, and --trusted asks for it; get one made with `bundle --sign-key`"
            )
        return self.signature

    def unpack(self, to: Path) -> None:
        """Write everything below `to`, which does not exist. Raises BadInputError for what is not listed."""
        contents = self.listing.contents
        to.mkdir(mode=0o755)
        for name, data in ((SUMS, self.sums), (SIGNATURE, self.signature), (CONTENTS, contents)):
            if data:
                self._write(to / name, len(data), DATA_MODE, data)
        self.extract(lambda entry: to / entry.path)

    def extract(self, where: Callable[[Entry], Path | None]) -> None:
        """Write each entry to the path that `where` gives, or nowhere.

        Raises BadInputError for what is not listed.
        """
        for entry in self.listing.entries:
            if self._take(len(entry.header)) != entry.header:
                raise self.refused(f"{shown(entry.path)} is not what the list says")
            path = where(entry)
            if entry.kind == "f":
                self._write(path, entry.size, entry.mode)
                self._padding(entry.size)
            elif path and entry.kind == "l":
                path.symlink_to(entry.target)
            elif path:
                path.mkdir(mode=0o755, exist_ok=True)
        if self._take(len(END)) != END or self._read(1):
            raise self.refused("something follows the last file")
        if Rest(self._taken, self._digest.hexdigest()) != self.listing.rest:
            raise self.refused("checksum mismatch")

    def _check_digits(self, file: BinaryIO) -> int:
        """Compare the sha256 at the end; the length of what zstd has to see."""
        size = os.fstat(file.fileno()).st_size
        end = size - DIGITS
        if end > len(TRAILER):
            file.seek(end - len(TRAILER))
        tail = file.read(len(TRAILER) + DIGITS)
        digest, left = hashlib.sha256(), end
        file.seek(0)
        while left > 0 and (piece := file.read(min(left, _CHUNK))):
            digest.update(piece)
            left -= len(piece)
        file.seek(0)
        if file.read(len(_MAGIC)) != _MAGIC:
            raise self.refused("it does not even begin as one")
        stated = tail[len(TRAILER) :]
        if not hmac.compare_digest(stated, digest.hexdigest().encode()) or not tail.startswith(TRAILER):
            raise self.refused("checksum mismatch")
        return end - len(TRAILER)

    def _document(self, name: str, longest: int, header: bytes) -> bytes:
        size = size_in(header)
        if not 0 < size <= longest or header != document_header(name, size):
            raise self.refused(f"{name} is not in its place")
        data = self._take(size)
        self._padding(size)
        return data

    def _take(self, size: int) -> bytes:
        """Just so many bytes."""
        data = b""
        while len(data) < size and (piece := self._read(size - len(data))):
            data = data + piece if data else piece
        if len(data) != size:
            raise self.refused("it ends too early")
        self._taken += size
        self._digest.update(data)
        return data

    def _read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        try:
            return self._tar.read(size)
        except (zstandard.ZstdError, MemoryError) as error:
            raise self.refused(f"zstd: {error}") from error

    def _padding(self, size: int) -> None:
        if self._take(-size % BLOCK).strip(b"\0"):
            raise self.refused("something is between two files")

    def _write(self, path: Path | None, size: int, mode: int, data: bytes | None = None) -> None:
        pieces = (
            (self._take(min(left, _CHUNK)) for left in range(size, 0, -_CHUNK)) if data is None else [data]
        )
        if path is None:
            for _ in pieces:
                pass
            return
        handle = os.open(path, _NEW, 0o600)
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            os.fchmod(handle, mode)
        os.utime(path, (1, 1))


class _Part:
    """The first bytes of a file, for zstd to read."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._left = length

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data
