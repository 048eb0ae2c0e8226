"""The narHash of an unpacked release archive: Nix's own serialisation, hashed while it is read.

Format: Nix, `src/libutil/archive.cc` (`dumpPath`); hashes compared with `nix hash path` of 2.26.3 and 2.34.8.
A string is its length in eight bytes, little-endian, its bytes, and zeros up to a multiple of eight.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = 8


def _length(number: int) -> bytes:
    return number.to_bytes(_WORD, "little")


def _padding(size: int) -> bytes:
    return bytes(-size % _WORD)


def _strings(*texts: str) -> bytes:
    raw = (text.encode() for text in texts)
    return b"".join(_length(len(data)) + data + _padding(len(data)) for data in raw)


def directory_with_file(
    name: str, size: int, content: Iterable[bytes | memoryview], *, executable: bool
) -> str:
    """`sha256-<base64>` of a directory that holds nothing but this one file.

    Raises ValueError where `content` is not `size` bytes long.
    """
    digest = hashlib.sha256(
        _strings("nix-archive-1", "(", "type", "directory", "entry", "(", "name", name, "node")
        + _strings("(", "type", "regular", *(("executable", "") if executable else ()), "contents")
        + _length(size)
    )
    left = size
    for piece in content:
        digest.update(piece)
        left -= len(piece)
    if left:
        raise ValueError(f"{name} is not {size} bytes long")
    digest.update(_padding(size) + _strings(")", ")", ")"))
    return "sha256-" + base64.b64encode(digest.digest()).decode()
