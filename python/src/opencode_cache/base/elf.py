"""ELF programs: which loader the kernel is to start them with."""

from __future__ import annotations

import struct
from pathlib import Path

_ELF64_LITTLE = b"\x7fELF\x02\x01"
_HEADER = 64
_PROGRAM_HEADERS = struct.Struct("<Q14xHH")
"""At byte 32: where the program headers are; at 54 and 56: the size of one, and how many."""
_SEGMENT = struct.Struct("<I4xQ16xQ")
"""Type, offset and size in the file of what a program header is about."""
_INTERPRETER = 3
_MOST_HEADERS = 64
_LONGEST_PATH = 4096


def loader(path: Path) -> Path | None:
    """The loader that an ELF program names; None where it names none or is no such program."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
        if len(header) < _HEADER or not header.startswith(_ELF64_LITTLE):
            return None
        start, size, count = _PROGRAM_HEADERS.unpack_from(header, 32)
        if size < _SEGMENT.size or count > _MOST_HEADERS:
            return None
        file.seek(start)
        table = file.read(size * count)
        for number in range(len(table) // size):
            kind, offset, length = _SEGMENT.unpack_from(table, number * size)
            if kind == _INTERPRETER and length < _LONGEST_PATH:
                file.seek(offset)
                return Path(file.read(length).rstrip(b"\0").decode(errors="surrogateescape"))
    return None
