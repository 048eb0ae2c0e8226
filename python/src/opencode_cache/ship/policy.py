"""What an archive may have in it: one small function for each rule, whatever the kind of archive.

Each raises ValueError, in one line that can be shown as it is, for what may not be. Nothing here touches a
disk.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ENTRIES = 200_000
MAX_PATH, MAX_NAME = 1024, 255
"""In bytes: what macOS and Linux can both have."""
MAX_FILE = 8**11 - 1
"""What ustar's size field holds, in bytes."""
_ODD = re.compile(r"[\x00-\x1f\x7f\\]")
_SHOWN = 120


def shown(text: str) -> str:
    """Text from elsewhere, for a terminal: nothing that steers it, and not without end."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)


def check_count(entries: int) -> None:
    """To be asked before the entries are looked at."""
    if entries > MAX_ENTRIES:
        raise ValueError(f"{entries} entries are more than the {MAX_ENTRIES} that there may be")


def check_text(value: str) -> None:
    """What `sha256sum` and a shell's `read` take as it is, in a name as in a link's target."""
    if _ODD.search(value):
        raise ValueError(f"{shown(value)} has a backslash or a control character")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"{shown(value)} is not UTF-8")
    if len(value.encode()) > MAX_PATH:
        raise ValueError(f"{shown(value)} is longer than {MAX_PATH} bytes")


def check_path(path: str) -> None:
    """A relative path, written in the one way that it can be written, which leads down only."""
    check_text(path)
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"{shown(path) or 'nothing'} is not a relative path without `..`")
        if len(part.encode()) > MAX_NAME:
            raise ValueError(f"{shown(path)} has a name of more than {MAX_NAME} bytes")


def check_target(path: str, target: str) -> None:
    """The target of a symbolic link at `path`: relative, and by the letter nowhere outside on its way."""
    check_text(target)
    depth = path.count("/")
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            break
    if depth < 0 or not target or target.startswith("/"):
        raise ValueError(f"the link {shown(path)} leads outside ({shown(target)})")


def check_size(path: str, size: int) -> None:
    """Raises ValueError for a size, in bytes, that no file of a bundle has."""
    if not 0 <= size <= MAX_FILE:
        raise ValueError(f"{shown(path)} cannot have {size} bytes")


def check_order(entries: Iterable[tuple[str, bool]]) -> None:
    """Paths, and whether each is a directory: sorted by their parts, each once, below a directory of before.

    So nothing is below a link or a file, and nothing is written twice.
    """
    directories = {""}
    last: list[str] = []
    for path, is_directory in entries:
        parts = path.split("/")
        if parts <= last:
            raise ValueError(f"{shown(path)} is {'there twice' if parts == last else 'not in its place'}")
        if path.rpartition("/")[0] not in directories:
            raise ValueError(f"the directory of {shown(path)} is missing")
        if is_directory:
            directories.add(path)
        last = parts
