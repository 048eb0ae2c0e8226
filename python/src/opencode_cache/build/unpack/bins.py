"""`.bin` links: the commands of the packages in a tree, as npm makes them.

The rules are those of npm 11: npm-normalize-package-bin 5 (`lib/index.js`), bin-links 6.0
(`lib/link-bins.js`, `lib/link-gently.js`, `lib/fix-bin.js`) and Arborist (`lib/arborist/rebuild.js`: the
order of the packages, and with it who wins a contested name).
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.build.unpack.destination import MTIME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opencode_cache.formats.lock import Package

_MODE = 0o755
_HASH_BANG = re.compile(rb"(#![^\n]+)\r\n")
_LOOKED_AT = 2048
"""Bytes at the start of a file in which npm looks for a line end of Windows."""

_ORDER = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"
"""ASCII in the order of the root collation of Unicode, which npm sorts paths by (localeCompare, "en")."""
_RANK = {character: rank for rank, character in enumerate(_ORDER)}


def link_bins(root: Path, nodes: Mapping[str, Package]) -> None:
    """Make the `.bin` links of a tree: `nodes` maps paths like `node_modules/a/node_modules/b` to packages.

    A link is relative and lies in the `.bin` beside the package; its target becomes executable and loses a
    Windows line end after `#!`. A command whose target is not there gets no link, and of two packages with
    one command the first in npm's order has it. Every `.bin` and `node_modules` directory gets the time 1.
    Raises BadInputError where a link or a file cannot be written.
    """
    taken: set[str] = set()
    try:
        for path in sorted(nodes, key=_order):
            folder = _modules(path)
            for command, target in normalized(nodes[path]).items():
                link = f"{folder}/.bin/{command}"
                # npm counts a name as taken even where the target turns out to be missing.
                if link not in taken:
                    taken.add(link)
                    _link(root / link, root / path / target)
        for folder in {_modules(path) for path in nodes}:
            for directory in (root / folder / ".bin", root / folder):
                if directory.is_dir():
                    os.utime(directory, (MTIME, MTIME))
    except OSError as error:
        raise BadInputError(
            f"{error.filename or root}: the commands of the packages cannot be linked ({error.strerror}); "
            "start with an empty directory"
        ) from error


def normalized(package: Package) -> dict[str, str]:
    """The commands of a package: names without directories, targets that stay below the package."""
    clean = {}
    for name, target in package.bin.items():
        # As paths below "/": `..` cannot climb there.
        command = _below_slash(posixpath.basename(re.sub(r"[\\:]", "/", name).rstrip("/")))
        file = _below_slash(target.replace("\\", "/"))
        if command and file and "\0" not in command + file:
            clean[command] = file
    return clean


def _below_slash(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/")


def _modules(path: str) -> str:
    """The `node_modules` directory that a package's path lies in, past its scope."""
    parent = posixpath.dirname(path)
    return parent if posixpath.basename(parent) == "node_modules" else posixpath.dirname(parent)


def _order(path: str) -> tuple[int, list[int], list[bool]]:
    """Arborist's sortNodes: by depth in the tree, then by path, lower case first where all else is equal."""
    ranks = [_RANK.get(character, len(_ORDER) + ord(character)) for character in path.lower()]
    return path.count("node_modules/"), ranks, [character.isupper() for character in path]


def _link(link: Path, target: Path) -> None:
    try:
        status = target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(status.st_mode):
        raise BadInputError(
            f"{target}: a command that is a symbolic link, which no unpacked package has; unpack again"
        )
    link.parent.mkdir(mode=0o755, exist_ok=True)
    link.parent.chmod(0o755)
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink() or link.exists():
        link.unlink()
    link.symlink_to(relative)
    os.utime(link, (MTIME, MTIME), follow_symlinks=False)
    target.chmod(_MODE)
    if stat.S_ISREG(status.st_mode):
        _fix_hash_bang(target)
    os.utime(target, (MTIME, MTIME))


def _fix_hash_bang(target: Path) -> None:
    with target.open("rb") as file:
        start = file.read(_LOOKED_AT)
    if _HASH_BANG.match(start):
        content = target.read_bytes()
        # npm reads and writes the file as text: bytes that are not UTF-8 become U+FFFD there.
        text = _HASH_BANG.sub(rb"\1\n", content, count=1).decode("utf-8", "replace")
        target.write_bytes(text.encode())
