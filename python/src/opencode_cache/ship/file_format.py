"""The air-gap bundle's format: one `.tar.zst`, every byte of which is covered by something that is checked.

    SHA256SUMS        sha256 of every file but the next one, CONTENTS first; `sha256sum -c` reads it
    SHA256SUMS.sig    optional: OpenSSH's or minisign's signature of SHA256SUMS
    CONTENTS          kind, mode, size, path and link target of everything that follows, one line each
    bin/ bundle.json cache/ install.sh libexec/ …    sorted, directory by directory

The signature covers SHA256SUMS, which covers CONTENTS and all content; CONTENTS covers the rest: modes,
links, directories, and that there is nothing else. A reader knows each of the tar's bytes before it comes,
but for the content, so nothing in it has to be parsed with care: what is not as announced is refused.

The tar is one zstd frame. A second, skippable frame ends the file, which every zstd passes over: the sha256,
in hex, of all bytes before these 64 digits: `head -c -64 FILE | sha256sum` and `tail -c 64 FILE` agree.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from opencode_cache.base.model import RelativePath, first_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUMS, SIGNATURE, CONTENTS = "SHA256SUMS", "SHA256SUMS.sig", "CONTENTS"
INFO = "bundle.json"
INSTALLER = "install.sh"
PROGRAM = "bin/opencode"
OPENCODE = "libexec/opencode"
DATA_MODE, PROGRAM_MODE, DIRECTORY_MODE, LINK_MODE = 0o444, 0o555, 0o755, 0o777
"""The only modes there are. Not every tar can fill a directory that nobody may write to."""
INSTALLED_MODE = 0o555
"""Of a directory, once it is installed."""
MAX_LIST = 32 << 20
"""Longest SHA256SUMS or CONTENTS, in bytes: some 200 000 files."""
MAX_SIGNATURE = 1 << 16
MAX_WINDOW = 1 << 27
"""Memory that a zstd frame may ask for, in bytes: zstd's own default limit."""
TRAILER = struct.pack("<II", 0x184D2A50, 64)
"""Head of the skippable frame (zstd_compression_format.md, "Skippable Frames")."""
DIGITS = 64
BLOCK = 512
END = bytes(10240)
"""What ends the tar: two empty blocks are the rule, GNU tar likes a whole record."""
_MTIME = 1
_MAX_FILE = 8**11
_ODD = re.compile(r"[\x00-\x1f\x7f\\]")
_FLAGS = {"f": b"0", "l": b"2", "d": b"5"}


def _plain(value: str) -> str:
    """What `sha256sum` and a shell's `read` take as it is."""
    if _ODD.search(value):
        raise ValueError(f"{value!r} has a backslash or a control character")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"{value!r} is not UTF-8")
    return value


def _inside(path: str, target: str) -> bool:
    """Whether a link at `path` with that target stays in the bundle, by the letter."""
    depth = path.count("/")
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return False
    return not target.startswith("/")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BundleInfo(_Model):
    """`bundle.json`: what the bundle is."""

    bundle_version: Literal[1] = 1
    builder: str
    """Version of the program that made the bundle."""
    opencode: str
    system: str
    ripgrep: bool
    """Whether it brings ripgrep, which OpenCode downloads otherwise."""
    node: bool = False
    """Whether it brings Node.js, which npm tools are programs of."""


class Entry(_Model):
    """One line of CONTENTS: a directory (`d`), a file (`f`) with its sha256, or a symbolic link (`l`)."""

    kind: Literal["d", "f", "l"]
    mode: int
    size: Annotated[int, Field(ge=0, lt=_MAX_FILE)] = 0
    path: Annotated[RelativePath, AfterValidator(_plain)]
    target: Annotated[str, AfterValidator(_plain)] = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""

    @model_validator(mode="after")
    def _fits(self) -> Entry:
        modes = {"d": (DIRECTORY_MODE,), "f": (DATA_MODE, PROGRAM_MODE), "l": (LINK_MODE,)}
        fits = self.mode in modes[self.kind] and (self.size == 0 or self.kind == "f")
        if not fits or bool(self.sha256) != (self.kind == "f") or bool(self.target) != (self.kind == "l"):
            raise ValueError(f"the entry {self.path} contradicts itself")
        if self.kind == "l" and not _inside(self.path, self.target):
            raise ValueError(f"the link {self.path} leaves the bundle ({self.target})")
        if self.path in (SUMS, SIGNATURE, CONTENTS):
            raise ValueError(f"{self.path} cannot be an entry")
        return self

    @property
    def parts(self) -> list[str]:
        """The order: what is in a directory follows it at once, as every tar likes it."""
        return self.path.split("/")

    @property
    def line(self) -> str:
        size = str(self.size) if self.kind == "f" else "-"
        fields = (self.kind, f"{self.mode:o}", size, self.path, *([self.target] if self.target else []))
        return "\t".join(fields) + "\n"

    @property
    def header(self) -> bytes:
        return tar_header(self.path, _FLAGS[self.kind], self.mode, self.size, self.target)


class Listing(_Model):
    """What is in a bundle: CONTENTS and SHA256SUMS as one. Raises ValidationError for what cannot be one."""

    entries: tuple[Entry, ...]

    @model_validator(mode="after")
    def _ordered(self) -> Listing:
        directories = {""}
        last: list[str] = []
        for entry in self.entries:
            if entry.parts <= last:
                raise ValueError(f"{entry.path} is not in its place")
            if entry.path.rpartition("/")[0] not in directories:
                raise ValueError(f"the directory of {entry.path} is missing")
            if entry.kind == "d":
                directories.add(entry.path)
            last = entry.parts
        return self

    @property
    def contents(self) -> bytes:
        return "".join(entry.line for entry in self.entries).encode()

    @property
    def sums(self) -> bytes:
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
        return key_of(self.sums)


def key_of(sums: bytes) -> str:
    return hashlib.sha256(sums).hexdigest()[:32]


def listing(entries: Iterable[Entry]) -> Listing:
    """Entries in their order. Raises ValueError, in one line, for what cannot be in a bundle."""
    try:
        return Listing(entries=tuple(sorted(entries, key=lambda entry: entry.parts)))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error


def parse(sums: bytes, contents: bytes) -> Listing:
    """The listing of the two documents, which must be just as `Listing` would write them.

    Raises ValueError, in one line, for anything else.
    """
    try:
        digests = _digests(sums)
        if digests.pop(CONTENTS, "") != hashlib.sha256(contents).hexdigest():
            raise ValueError(f"{CONTENTS} has another checksum than {SUMS} says")
        found = Listing(entries=tuple(_entry(line, digests) for line in _lines(contents)))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    if (found.contents, found.sums) != (contents, sums):
        raise ValueError(f"{SUMS} and {CONTENTS} do not belong together")
    return found


def _lines(text: bytes) -> list[str]:
    # Not `splitlines`, to which half a dozen characters that a name may have end a line, too.
    return text.decode().removesuffix("\n").split("\n")


def _digests(text: bytes) -> dict[str, str]:
    lines = (line.partition("  ") for line in _lines(text))
    return {path: digest for digest, _, path in lines}


def _entry(line: str, digests: Mapping[str, str]) -> Entry:
    kind, mode, size, path, *target = line.split("\t")
    if len(target) > 1:
        raise ValueError(f"a line has too many fields ({line!r})")
    return Entry.model_validate(
        {
            "kind": kind,
            "mode": int(mode, 8),
            "size": 0 if size == "-" else int(size),
            "path": path,
            "target": "".join(target),
            "sha256": digests.get(path, "") if kind == "f" else "",
        }
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
