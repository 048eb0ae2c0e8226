"""What an archive of files may hold, whoever packed it: paths, kinds, sizes, duplicates. One policy for all.

npm's tarballs, GitHub's archives and bundles are unpacked by it. What climbs out, is absolute, is a device or
a bomb is refused, never put right: an honest packer makes none of that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

MAX_MEMBERS = 200_000
MAX_BYTES = 1 << 30
"""Unpacked length of one archive, in bytes. The largest npm packages known to run code are half of it."""
MAX_RATIO = 250
"""Unpacked bytes per packed byte, counted from RATIO_FROM on. Real packages stay below 30; deflate ends at
1032."""
RATIO_FROM = 8 << 20
MAX_META = 1 << 20
"""Longest extended header or long name, in bytes: node-tar's maxMetaEntrySize."""
MAX_DEPTH = 1024
"""Components of a member's path: node-tar's maxDepth."""
_SHOWN = 80
_DRIVE = re.compile(r"[A-Za-z]:")


class Kind(Enum):
    """What a member is, as far as npm cares."""

    FILE = "file"
    DIRECTORY = "directory"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"
    OTHER = "other"
    """A type flag that node-tar does not know and passes over."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive. `mode` is None where the header has none that can be read."""

    path: str
    kind: Kind
    mode: int | None
    size: int
    link: str


class RefusedError(ValueError):
    """The archive holds what it has no business to hold; `str()` says what, to stand behind "holds"."""


def below(path: str, what: str = "a path") -> str:
    """The path without its first component, "" for that itself. Raises RefusedError, which calls it `what`.

    npm and GitHub put everything into one directory, whatever its name.
    """
    parts = path.replace("\\", "/").split("/")
    if ".." in parts:
        raise RefusedError(f"{what} that climbs out ({path[:_SHOWN]!r})")
    # "package//x" and "./package/x" are odd and harmless: node-tar drops the empty components as well.
    kept = [part for part in path.split("/")[1:] if part not in ("", ".")]
    if path[0] in "/\\" or _DRIVE.match(path) or (kept and (kept[0][0] == "\\" or _DRIVE.match(kept[0]))):
        raise RefusedError(f"{what} that is absolute ({path[:_SHOWN]!r})")
    if len(kept) > MAX_DEPTH:
        raise RefusedError(f"{what} with more than {MAX_DEPTH} components ({path[:_SHOWN]!r}…)")
    return "/".join(kept)


def check_link(member: Member) -> None:
    """Raises RefusedError for a link that leaves the archive's one directory."""
    if member.kind is Kind.HARD_LINK:
        below(member.link, f"a hard link ({member.path[:_SHOWN]!r}) to a path")
        return
    target = member.link.replace("\\", "/")
    depth = len(below(member.path).split("/")) - 1
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            break
    if depth < 0 or target.startswith("/") or _DRIVE.match(target):
        raise RefusedError(
            f"a symbolic link ({member.path[:_SHOWN]!r}) that leaves the package ({member.link[:_SHOWN]!r})"
        )


class Names:
    """The files of an archive so far: none is a directory too, and each but those of `again` stands once."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, path: str, *, again: bool) -> None:
        """Note a file and the folders above it. `again`: it may stand there twice, and the last one counts.

        Raises RefusedError.
        """
        folder = path.rpartition("/")[0]
        while folder and folder not in self._folders:
            if folder in self._files:
                raise RefusedError(f"{folder[:_SHOWN]!r} both as a file and as a directory")
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]
        if path in self._folders:
            raise RefusedError(f"{path[:_SHOWN]!r} both as a file and as a directory")
        if path in self._files and not again:
            raise RefusedError(f"{path[:_SHOWN]!r} twice")
        self._files.add(path)
