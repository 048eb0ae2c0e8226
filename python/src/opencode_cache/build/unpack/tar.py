"""Reading npm tarballs: gzip and tar as a stream, in bounded memory, with the hash of what was read.

The rules are those of node-tar 7.5 (`src/header.ts`, `src/parse.ts`, `src/pax.ts`), which npm unpacks with,
but where node-tar warns and goes on (a bad checksum, no path, a cut archive) this reader refuses.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from opencode_cache.formats.lock import Package

BLOCK = 512
MAX_MEMBERS = 200_000
MAX_BYTES = 1 << 30
"""Unpacked length of one tarball, in bytes. The largest npm packages known to run code are half of it."""
MAX_RATIO = 250
"""Unpacked bytes per packed byte, counted from RATIO_FROM on. Real packages stay below 30; deflate ends at
1032."""
RATIO_FROM = 8 << 20
MAX_META = 1 << 20
"""Longest extended header or long name, in bytes: node-tar's maxMetaEntrySize."""
_READ = 1 << 17
_INFLATE = 1 << 20
_OCTAL = re.compile(rb"[0-7]+")
_USTAR = b"ustar\x0000"
_ZEROS = bytes(BLOCK)
_POSITIVE, _NEGATIVE = 0x80, 0xFF
"""First bytes of a number in base 256."""


class Kind(Enum):
    """What a member is, as far as npm cares."""

    FILE = "file"
    DIRECTORY = "directory"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"
    OTHER = "other"
    """A type flag that node-tar does not know and passes over."""


# "" is how pre-POSIX tar marks a file, "7" a contiguous file, "D" GNU's directory with a listing as its body.
_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMBOLIC_LINK,
    b"5": Kind.DIRECTORY,
    b"D": Kind.DIRECTORY,
}
_REFUSED = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"M": "a part of another archive",
    b"S": "a sparse file",
}
_PAX, _PAX_GLOBAL, _LONG_PATH, _LONG_LINK = (b"x", b"X"), (b"g",), (b"L", b"N"), (b"K",)


@dataclass(frozen=True)
class Member:
    """One entry of a tarball. `mode` is None where the header has none that can be read."""

    path: str
    kind: Kind
    mode: int | None
    size: int
    link: str


class Reader:
    """The members of a tarball, in order and once: iterate, and take a body with `chunks` before the next.

    Iterating to the end checks the whole: gzip's and tar's own ends, and the sha512 of the package's
    integrity. Raises BadInputError, with the package and the file, for anything that is not a whole, honest
    npm tarball.
    """

    def __init__(self, file: BinaryIO, package: Package, tarball: Path) -> None:
        self._file = file
        self._package = package
        self._tarball = tarball
        self._hash = hashlib.sha512()
        self._inflate = zlib.decompressobj(wbits=31)
        self._packed = b""
        self._packed_bytes = 0
        self._unpacked_bytes = 0
        self._buffer = memoryview(b"")
        self._left = 0
        self._padding = 0

    def damaged(self, why: str) -> BadInputError:
        """The error for a tarball that is not what the registry once gave."""
        return BadInputError(
            f"{self._package.key}: {self._tarball} {why}; "
            "remove it and fetch it again with `opencode-cache fetch`"
        )

    def hostile(self, why: str) -> BadInputError:
        """The error for a tarball that is whole, but holds what an npm package has no business to hold."""
        return BadInputError(
            f"{self._package.key}: {self._tarball} holds {why}, which is refused; lock another version of it"
        )

    def __iter__(self) -> Iterator[Member]:
        own: dict[str, str] = {}
        shared: dict[str, str] = {}
        members = 0
        ended = False
        while (block := self._header()) is not None:
            if block == _ZEROS:
                if ended:
                    break
                ended = True  # One empty block alone is not the end (node-tar: nullBlock, then eof).
                continue
            ended = False
            members += 1
            if members > MAX_MEMBERS:
                raise self.hostile(f"more than {MAX_MEMBERS} members")
            flag = self._checked_flag(block)
            if flag in _PAX or flag in _PAX_GLOBAL:
                records = self._records(self._meta(block))
                (own if flag in _PAX else shared).update(records)
            elif flag in _LONG_PATH or flag in _LONG_LINK:
                name = self._meta(block).rstrip(b"\0")
                own["path" if flag in _LONG_PATH else "linkpath"] = self._text(name)
            else:
                yield self._member(block, flag, own, shared)
                own = {}
                self._skip()
        self._finish()

    def chunks(self) -> Iterator[memoryview]:
        """What is left of the current member's body, in pieces of at most 1 MiB."""
        while self._left:
            if not self._buffer and not self._more():
                raise self.damaged("ends in the middle of a file")
            piece = self._buffer[: self._left]
            self._buffer = self._buffer[len(piece) :]
            self._left -= len(piece)
            yield piece

    # Headers

    def _header(self) -> bytes | None:
        if len(self._buffer) >= BLOCK:
            block = bytes(self._buffer[:BLOCK])
            self._buffer = self._buffer[BLOCK:]
            return block
        block = self._take(BLOCK)
        if not block or (len(block) < BLOCK and not block.strip(b"\0")):
            return None  # No end mark: node-tar takes that, and the hash says that nothing was cut.
        if len(block) < BLOCK:
            raise self.damaged("ends in the middle of a header")
        return block

    def _checked_flag(self, block: bytes) -> bytes:
        total = sum(block) - sum(block[148:156]) + 8 * 0x20
        if self._number(block[148:156]) != total:
            raise self.damaged("has a header whose checksum is wrong")
        return block[156:157]

    def _member(self, block: bytes, flag: bytes, own: dict[str, str], shared: dict[str, str]) -> Member:
        path = own.get("path")
        if path is None:
            path = self._text(_until_nul(block[:100]))
            # With a NUL at its end the prefix has 130 bytes, and old star archives keep two times after it.
            prefix = _until_nul(block[345 : 500 if block[475] else 475]) if block[257:265] == _USTAR else b""
            path = f"{self._text(prefix)}/{path}" if prefix else path
        if flag in _REFUSED:
            raise self.hostile(f"{_REFUSED[flag]} ({path!r})")
        kind = _KINDS.get(flag, Kind.OTHER)
        if kind is Kind.FILE and path.endswith("/"):
            kind = Kind.DIRECTORY
        link = own.get("linkpath") or self._text(_until_nul(block[157:257]))
        if not path:
            raise self.damaged("has a member without a path")
        if (kind in (Kind.HARD_LINK, Kind.SYMBOLIC_LINK)) != bool(link) and kind is not Kind.OTHER:
            raise self.damaged(
                f"has the member {path!r} with a link target where none belongs, or without one"
            )
        size = 0 if kind is Kind.DIRECTORY and flag != b"D" else self._size(block, own, shared)
        if size > MAX_BYTES:
            raise self.hostile(f"{path!r} with {size} bytes (the limit is {MAX_BYTES})")
        self._left, self._padding = size, -size % BLOCK
        mode = own.get("mode", shared.get("mode"))
        return Member(path, kind, self._number(block[100:108]) if mode is None else _int(mode), size, link)

    def _size(self, block: bytes, own: dict[str, str], shared: dict[str, str]) -> int:
        text = own.get("size", shared.get("size"))
        size = self._number(block[124:136]) if text is None else _int(text)
        if size is None or size < 0:
            raise self.damaged("has a member whose size cannot be read")
        return size

    def _meta(self, block: bytes) -> bytes:
        size = self._number(block[124:136])
        if size is None or not 0 <= size <= MAX_META:
            raise self.hostile(f"an extended header of {size} bytes (the limit is {MAX_META})")
        data = self._take(size + -size % BLOCK)
        if len(data) < size:
            raise self.damaged("ends in the middle of an extended header")
        return data[:size]

    def _records(self, data: bytes) -> dict[str, str]:
        """The records of a pax header, each a line `LENGTH KEY=VALUE`."""
        records = {}
        while data.strip(b"\0"):
            digits, blank, _ = data[:20].partition(b" ")
            length = int(digits) if blank and digits.isdigit() else 0
            record = data[len(digits) + 1 : length]
            key, equals, value = record[:-1].partition(b"=")
            if not equals or length > len(data) or record[-1:] != b"\n":
                raise self.damaged("has an extended header that cannot be read")
            data = data[length:]
            if key in (b"path", b"linkpath", b"size", b"mode"):
                if b"\n" in value:
                    raise self.hostile(f"a name with a line break ({value!r})")
                records[key.decode()] = self._text(value)
        return records

    def _text(self, raw: bytes) -> str:
        if b"\0" in raw:
            raise self.hostile(f"a name with a NUL ({raw!r})")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.hostile(f"a name that is not UTF-8 ({raw!r})") from error

    def _number(self, field: bytes) -> int | None:
        """A number in octal digits, or in base 256 where the first bit is set."""
        if field[0] & 0x80:
            if field[0] not in (_POSITIVE, _NEGATIVE):
                raise self.damaged("has a header with a number that cannot be read")
            negative = field[0] == _NEGATIVE
            return int.from_bytes(field if negative else field[1:], "big", signed=negative)
        digits = _OCTAL.match(_until_nul(field).strip())
        return int(digits.group(), 8) if digits else None

    # Bytes

    def _skip(self) -> None:
        for _ in self.chunks():
            pass
        while self._padding:
            if not self._buffer and not self._more():
                raise self.damaged("ends in the middle of a file")
            step = min(self._padding, len(self._buffer))
            self._buffer = self._buffer[step:]
            self._padding -= step

    def _take(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        data = bytearray()
        while len(data) < size and (self._buffer or self._more()):
            piece = self._buffer[: size - len(data)]
            self._buffer = self._buffer[len(piece) :]
            data += piece
        return bytes(data)

    def _more(self) -> bool:
        """Inflate the next piece into the empty buffer; False at the end."""
        while True:
            if self._inflate.eof and not self._next_gzip_member():
                return False
            packed = self._packed or self._read()
            if not packed:
                raise self.damaged("is cut off")
            try:
                data = self._inflate.decompress(packed, _INFLATE)
            except zlib.error as error:
                raise self.damaged(f"is not a gzip file or is damaged ({error})") from error
            self._packed = self._inflate.unconsumed_tail
            if data:
                break
        self._unpacked_bytes += len(data)
        if self._unpacked_bytes > MAX_BYTES:
            raise self.hostile(f"more than {MAX_BYTES} bytes")
        if self._unpacked_bytes > max(RATIO_FROM, MAX_RATIO * self._packed_bytes):
            raise self.hostile(f"more than {MAX_RATIO} times its own length")
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
            raise self.damaged("has something after its end")
        self._inflate = zlib.decompressobj(wbits=31)
        self._packed = rest
        return True

    def _read(self) -> bytes:
        data = self._file.read(_READ)
        self._hash.update(data)
        self._packed_bytes += len(data)
        return data

    def _finish(self) -> None:
        while self._buffer or self._more():
            if bytes(self._buffer).strip(b"\0"):
                raise self.damaged("has something after its end")
            self._buffer = memoryview(b"")
        want = base64.b64decode(self._package.integrity.partition("-")[2])
        if not hmac.compare_digest(self._hash.digest(), want):
            have = base64.b64encode(self._hash.digest()).decode()
            raise self.damaged(f"has the integrity sha512-{have}, the lock says {self._package.integrity}")


def _until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _int(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
