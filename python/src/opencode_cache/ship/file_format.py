"""The air-gap bundle's format: one `.tar.zst`, every byte of which is covered by something that is checked.

    SHA256SUMS        sha256 of every file but the next one, CONTENTS first; `sha256sum -c` reads it
    SHA256SUMS.sig    optional: OpenSSH's or minisign's signature of SHA256SUMS
    CONTENTS          length and sha256 of the rest of the tar; then kind, mode, size, path and link target of
                      everything in it, one line each
    bin/ bundle.json cache/ install.sh libexec/ …    sorted, directory by directory

The signature covers SHA256SUMS, which covers CONTENTS and all content. CONTENTS covers the rest of the tar
byte for byte: modes, owners, kinds, order, and that there is nothing else. So a reader knows that all of it
is what was signed before any of it is parsed; the three documents themselves are found by their place alone.

The tar is one zstd frame. A second, skippable frame ends the file, which every zstd passes over: the sha256,
in hex, of all bytes before these 64 digits.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from opencode_cache.base.model import Model
from opencode_cache.ship import policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUMS, SIGNATURE, CONTENTS = "SHA256SUMS", "SHA256SUMS.sig", "CONTENTS"
INFO = "bundle.json"
INSTALLER = "install.sh"
PROGRAM = "bin/opencode"
OPENCODE = "libexec/opencode"
TOOLS = "libexec/path"
CACHE = "cache"
DATA_MODE, PROGRAM_MODE, DIRECTORY_MODE, LINK_MODE = 0o444, 0o555, 0o755, 0o777
"""The only modes there are. Not every tar can fill a directory that nobody may write to."""
MAX_LIST = 32 << 20
"""Longest SHA256SUMS or CONTENTS, in bytes: some 200 000 files."""
MAX_SIGNATURE = 1 << 16
MAX_WINDOW = 1 << 27
"""Memory that a zstd frame may ask for, in bytes: zstd's own default limit."""
MAX_SERIAL = 999_999_999
TRAILER = struct.pack("<II", 0x184D2A50, 64)
"""Head of the skippable frame (zstd_compression_format.md, "Skippable Frames")."""
DIGITS = 64
BLOCK = 512
END = bytes(10240)
"""What ends the tar: two empty blocks are the rule, GNU tar likes a whole record."""
_MTIME = 1
_FLAGS = {"f": b"0", "l": b"2", "d": b"5"}
_MODES = {"d": (DIRECTORY_MODE,), "f": (DATA_MODE, PROGRAM_MODE), "l": (LINK_MODE,)}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _day(value: str) -> str:
    if dt.date.fromisoformat(value).isoformat() != value:  # Python 3.11 reads other spellings as well
        raise ValueError("is not a day such as 2026-11-26")
    return value


class BundleInfo(Model):
    """`bundle.json`: what the bundle is. `install.sh` reads it line by line."""

    model_config = ConfigDict(strict=True)

    bundle_version: Literal[2] = 2
    builder: str
    """Version of the program that made the bundle."""
    date: Annotated[str, AfterValidator(_day)]
    """The day (UTC) that SOURCE_DATE_EPOCH names, else of the making. No older one is installed over it."""
    serial: Annotated[int, Field(ge=0, le=MAX_SERIAL)]
    """Tells bundles of one day apart, the later one has the larger one."""
    opencode: str
    system: str
    ripgrep: bool
    """Whether it brings ripgrep, which OpenCode downloads otherwise."""
    node: bool = False
    """Whether it brings Node.js, which npm tools are programs of."""
    avx2: bool = False
    """Whether OpenCode was built for processors with AVX2 only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of CONTENTS: a directory (`d`), a file (`f`) with its sha256, or a symbolic link (`l`).

    Raises ValueError, in one line, for what cannot be in a bundle.
    """

    kind: Literal["d", "f", "l"]
    mode: int
    size: int = 0
    path: str
    target: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        policy.check_path(self.path)
        policy.check_size(self.path, self.size)
        if self.kind == "l":
            policy.check_target(self.path, self.target)
        fits = self.mode in _MODES.get(self.kind, ()) and (self.size == 0 or self.kind == "f")
        digest_fits = bool(_DIGEST.fullmatch(self.sha256)) if self.kind == "f" else not self.sha256
        if not fits or not digest_fits or bool(self.target) != (self.kind == "l"):
            raise ValueError(f"the entry {policy.shown(self.path)} contradicts itself")
        if self.path in (SUMS, SIGNATURE, CONTENTS):
            raise ValueError(f"{self.path} cannot be an entry")

    @property
    def parts(self) -> list[str]:
        """The order: what is in a directory follows it at once, as every tar likes it."""
        return self.path.split("/")

    @property
    def line(self) -> str:
        """Its line in CONTENTS."""
        size = str(self.size) if self.kind == "f" else "-"
        fields = (self.kind, f"{self.mode:o}", size, self.path, *([self.target] if self.target else []))
        return "\t".join(fields) + "\n"

    @property
    def header(self) -> bytes:
        """Its header in the tar."""
        return tar_header(self.path, _FLAGS[self.kind], self.mode, self.size, self.target)


@dataclass(frozen=True, slots=True)
class Rest:
    """The tar after CONTENTS, to its last byte: how long it is, in bytes, and its sha256."""

    size: int
    sha256: str

    @property
    def line(self) -> str:
        """The first line of CONTENTS."""
        return f"t\t-\t{self.size}\t{self.sha256}\n"


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a bundle: CONTENTS and SHA256SUMS as one. Raises ValueError for what cannot be one."""

    entries: tuple[Entry, ...]
    rest: Rest

    def __post_init__(self) -> None:
        policy.check_count(len(self.entries))
        policy.check_order((entry.path, entry.kind == "d") for entry in self.entries)

    @property
    def contents(self) -> bytes:
        """The text of CONTENTS."""
        return (self.rest.line + "".join(entry.line for entry in self.entries)).encode()

    @property
    def sums(self) -> bytes:
        """The text of SHA256SUMS, as `sha256sum --check` reads it."""
        digests = {CONTENTS: hashlib.sha256(self.contents).hexdigest()}
        digests |= {entry.path: entry.sha256 for entry in self.entries if entry.kind == "f"}
        return "".join(f"{digest}  {path}\n" for path, digest in digests.items()).encode()

    @property
    def bytes(self) -> int:
        """Content of all files together."""
        return sum(entry.size for entry in self.entries)

    @property
    def key(self) -> str:
        """Names what is in the bundle: 32 hex digits of SHA256SUMS' sha256."""
        return hashlib.sha256(self.sums).hexdigest()[:32]


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries as they follow each other in a bundle."""
    return tuple(sorted(entries, key=lambda entry: entry.parts))


def parse(sums: bytes, contents: bytes) -> Listing:
    """The listing of the two documents, which must be just as `Listing` would write them.

    Raises ValueError, in one line, for anything else, and for more than there may be before it is looked at.
    """
    for text in (sums, contents):
        policy.check_count(text.count(b"\n") - 1)
    digests = _digests(sums)
    if digests.pop(CONTENTS, "") != hashlib.sha256(contents).hexdigest():
        raise ValueError(f"{CONTENTS}: checksum mismatch")
    first, *lines = _lines(contents)
    listing = Listing(tuple(_entry(line, digests) for line in lines), _rest(first))
    if (listing.contents, listing.sums) != (contents, sums):
        raise ValueError(f"{SUMS} and {CONTENTS} do not belong together")
    return listing


def _lines(text: bytes) -> list[str]:
    # Not `splitlines`, to which half a dozen characters that a name may have end a line, too.
    return text.decode().removesuffix("\n").split("\n")


def _digests(text: bytes) -> dict[str, str]:
    lines = (line.partition("  ") for line in _lines(text))
    return {path: digest for digest, _, path in lines}


def _rest(line: str) -> Rest:
    kind, _, size, digest = (line.split("\t") + [""] * 4)[:4]
    if kind != "t" or not _NUMBER.fullmatch(size) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"{CONTENTS} does not begin with what the tar is ({policy.shown(line)})")
    return Rest(int(size), digest)


def _entry(line: str, digests: Mapping[str, str]) -> Entry:
    fields = line.split("\t")
    if len(fields) not in (4, 5):
        raise ValueError(f"a line has {len(fields)} fields ({policy.shown(line)})")
    kind, mode, size, path = fields[:4]
    if kind not in _MODES or not _NUMBER.fullmatch(mode) or not _NUMBER.fullmatch(size.replace("-", "0")):
        raise ValueError(f"a line cannot be read ({policy.shown(line)})")
    return Entry(
        kind=kind,  # type: ignore[arg-type] # one of _MODES
        mode=int(mode, 8) if set(mode) <= set("01234567") else -1,
        size=0 if size == "-" else int(size),
        path=path,
        target="".join(fields[4:]),
        sha256=digests.get(path, "") if kind == "f" else "",
    )


def document_header(name: str, size: int) -> bytes:
    """The tar header of one of the three documents that come first."""
    return tar_header(name, b"0", DATA_MODE, size)


def tar_header(path: str, flag: bytes, mode: int, size: int, target: str = "") -> bytes:
    """POSIX.1-2001 (pax interchange format), with an extended header only where ustar cannot say it.

    Not `tarfile`'s: its bytes differ between Python versions, and readers compare every byte.
    """
    name, link = path.encode() + (b"/" if flag == b"5" else b""), target.encode()
    prefix, short = _split(name)
    records = b""
    if not (path.isascii() and short):
        records += _record(b"path", name)
        prefix, short = b"", name[:100]
    if not target.isascii() or len(link) > 100:  # noqa: PLR2004 - ustar's field
        records += _record(b"linkpath", link)
    own = _block(short, prefix, flag, mode, size, link[:100])
    if not records:
        return own
    extended = _block(b"././@PaxHeader", b"", b"x", 0, len(records), b"")
    return extended + records + bytes(-len(records) % BLOCK) + own


def _split(name: bytes) -> tuple[bytes, bytes]:
    """ustar's two fields, 155 bytes and 100; nothing where the name does not fit."""
    if len(name) <= 100:  # noqa: PLR2004
        return b"", name
    cut = name.rfind(b"/", 0, 156)
    rest = name[cut + 1 :]
    return (name[:cut], rest) if cut > 0 and 0 < len(rest) <= 100 else (b"", b"")  # noqa: PLR2004


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    total = length + len(str(length))
    total = length + len(str(total))
    return b"%d %s=%s\n" % (total, key, value)


def _block(name: bytes, prefix: bytes, flag: bytes, mode: int, size: int, link: bytes) -> bytes:
    fields = (name, b"%07o" % mode, b"%07o" % 0, b"%07o" % 0, b"%011o" % size, b"%011o" % _MTIME)
    rest = (flag, link, b"ustar\x0000", b"", b"", b"%07o" % 0, b"%07o" % 0, prefix)
    layout = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
    total = sum(layout.pack(*fields, b" " * 8, *rest))
    return layout.pack(*fields, b"%06o\0 " % total, *rest)


def size_in(block: bytes) -> int:
    """The size that a header states; -1 where that is no number."""
    digits = block[124:135]
    return int(digits, 8) if re.fullmatch(rb"[0-7]{11}", digits) else -1


def mode_of(status: int) -> int:
    """The mode that a file of that status has in a bundle."""
    return PROGRAM_MODE if status & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH) else DATA_MODE
