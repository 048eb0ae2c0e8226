"""Gzip as a stream: in bounded memory and length, with the hash of the packed bytes."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

from opencode_cache.base.archive import MAX_BYTES, MAX_RATIO, RATIO_FROM

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_READ = 1 << 17
_INFLATE = 1 << 20


class Stream:
    """The unpacked bytes of a file, in order and once. `damaged` and `hostile` make errors of a sentence."""

    def __init__(
        self, file: BinaryIO, damaged: Callable[[str], Exception], hostile: Callable[[str], Exception]
    ) -> None:
        self._file = file
        self._damaged = damaged
        self._hostile = hostile
        self._hash = hashlib.sha512()
        self._inflate = zlib.decompressobj(wbits=31)
        self._packed = b""
        self._packed_bytes = 0
        self._unpacked_bytes = 0
        self._buffer = memoryview(b"")

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        if len(self._buffer) >= size:
            data = bytes(self._buffer[:size])
            self._buffer = self._buffer[size:]
            return data
        pieces = bytearray()
        while len(pieces) < size and (piece := self.piece(size - len(pieces))):
            pieces += piece
        return bytes(pieces)

    def piece(self, most: int) -> memoryview:
        """Some of the next bytes, at most 1 MiB; none at the end."""
        if not self._buffer and not self._more():
            return self._buffer
        data = self._buffer[:most]
        self._buffer = self._buffer[len(data) :]
        return data

    def finish(self) -> bytes:
        """Nothing but zeros may be left. Returns the sha512 of the whole file."""
        while self._buffer or self._more():
            if bytes(self._buffer).strip(b"\0"):
                raise self._damaged("has something after its end")
            self._buffer = memoryview(b"")
        return self._hash.digest()

    def _more(self) -> bool:
        """Inflate the next piece into the empty buffer; False at the end."""
        while True:
            if self._inflate.eof and not self._next_gzip_member():
                return False
            packed = self._packed or self._read()
            if not packed:
                raise self._damaged("is cut off")
            try:
                data = self._inflate.decompress(packed, _INFLATE)
            except zlib.error as error:
                raise self._damaged(f"is not a gzip file or is damaged ({error})") from error
            self._packed = self._inflate.unconsumed_tail
            if data:
                break
        self._unpacked_bytes += len(data)
        if self._unpacked_bytes > MAX_BYTES:
            raise self._hostile(f"more than {MAX_BYTES} bytes")
        if self._unpacked_bytes > max(RATIO_FROM, MAX_RATIO * self._packed_bytes):
            raise self._hostile(f"more than {MAX_RATIO} times its own length")
        self._buffer = memoryview(data)
        return True

    def _next_gzip_member(self) -> bool:
        """Whether another gzip member follows; zeros may follow too, and nothing else."""
        rest = self._inflate.unused_data.lstrip(b"\0")
        while not rest and (packed := self._read()):
            rest = packed.lstrip(b"\0")
        if not rest:
            return False
        if not b"\x1f\x8b".startswith(rest[:2]):
            raise self._damaged("has something after its end")
        self._inflate = zlib.decompressobj(wbits=31)
        self._packed = rest
        return True

    def _read(self) -> bytes:
        data = self._file.read(_READ)
        self._hash.update(data)
        self._packed_bytes += len(data)
        return data
