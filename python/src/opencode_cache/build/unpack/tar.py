"""Reading npm tarballs as a stream, in bounded memory, with the hash of what was read.

The rules are those of node-tar 7.5 (`src/header.ts`, `src/parse.ts`, `src/pax.ts`), which npm unpacks with,
but where node-tar warns and goes on (a bad checksum, no path, a cut archive) this reader refuses. Python's
own tarfile ends there without a word, and is slower (`./dev bench archives`).
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import TYPE_CHECKING

from opencode_cache.base.archive import MAX_BYTES, MAX_MEMBERS, MAX_META, Kind, Member
from opencode_cache.base.errors import BadInputError
from opencode_cache.build.unpack.gunzip import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from opencode_cache.formats.lock import Package

__all__ = ["BLOCK", "MAX_BYTES", "MAX_MEMBERS", "DamagedError", "HostileError", "Kind", "Member", "Reader"]

BLOCK = 512
_DIGITS = 20
_OCTAL = re.compile(rb"[0-7]+")
_USTAR = b"ustar\x0000"
_ZEROS = bytes(BLOCK)
_POSITIVE, _NEGATIVE = 0x80, 0xFF
"""First bytes of a number in base 256."""

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


class DamagedError(BadInputError):
    """The archive is not what was once packed."""


class HostileError(BadInputError):
    """The archive is whole, and holds what is refused."""


class Reader:
    """The members of a tarball, in order and once: iterate, and take a body with `chunks` before the next.

    Iterating to the end checks the whole: gzip's and tar's own ends, and the sha512 of the package's
    integrity. Raises BadInputError, with the package and the file, for anything that is not a whole, honest
    npm tarball.
    """

    def __init__(self, file: BinaryIO, package: Package, tarball: Path) -> None:
        self._package = package
        self._tarball = tarball
        self._stream = Stream(file, self.damaged, self.hostile)
        self._left = 0
        self._padding = 0

    def damaged(self, why: str) -> DamagedError:
        """The error for a tarball that is not what the registry once gave."""
        return DamagedError(
            f"{self._package.key}: {self._tarball} {why}; "
            "remove it and fetch it again with `opencode-cache fetch`"
        )

    def hostile(self, why: str) -> HostileError:
        """The error for a tarball that is whole, but holds what an npm package has no business to hold."""
        return HostileError(
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
            piece = self._stream.piece(self._left)
            if not piece:
                raise self.damaged("ends in the middle of a file")
            self._left -= len(piece)
            yield piece

    # Headers

    def _header(self) -> bytes | None:
        block = self._stream.take(BLOCK)
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
        data = self._stream.take(size + -size % BLOCK)
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

    def _skip(self) -> None:
        for _ in self.chunks():
            pass
        if len(self._stream.take(self._padding)) < self._padding:
            raise self.damaged("ends in the middle of a file")

    def _finish(self) -> None:
        digest = self._stream.finish()
        if not hmac.compare_digest(digest, base64.b64decode(self._package.integrity.partition("-")[2])):
            actual = base64.b64encode(digest).decode()
            raise self.damaged(f"has the integrity sha512-{actual}, the lock says {self._package.integrity}")


def _until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _int(text: str) -> int | None:
    # Python refuses to read a number of thousands of digits, and no size has more than these.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None
