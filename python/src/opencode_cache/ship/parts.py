"""Bundles of several systems, and steps from one bundle to the next: the same format, with trees in parts.

    bundle.json          which systems, and for each of a step the generation that it is a step from
    install.sh           as in every bundle
    all/…                what is the same in the trees of all systems
    SYSTEM/SHA256SUMS    the lists of that system's whole tree, byte for byte those of a bundle for it alone
    SYSTEM/CONTENTS
    SYSTEM/…             what is this system's own
    patches/SYSTEM/…     files as differences (`zstd --patch-from`) to those of the generation of before

A tree is `all/` and `SYSTEM/` over each other, what `patches/` gives, and, of a step, all that is listed and
still missing, out of the generation of before. So its generation has the name that it always has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from opencode_cache.base.model import Model
from opencode_cache.ship import policy
from opencode_cache.ship.file_format import (
    CONTENTS,
    DATA_MODE,
    PROGRAM,
    SUMS,
    Entry,
    Listing,
    in_order,
)
from opencode_cache.ship.items import Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

ALL, PATCHES = "all", "patches"
KEY = "^[0-9a-f]{32}$"


class PartsInfo(Model):
    """`bundle.json` of such a bundle. `install.sh` reads it line by line."""

    model_config = ConfigDict(strict=True)

    bundle_version: Literal[3] = 3
    builder: str
    date: str
    serial: int
    opencode: str
    systems: tuple[str, ...]
    since: dict[str, Annotated[str, Field(pattern=KEY)]]
    """System -> the key of the generation over which alone it is installed; a step has these."""


def systems(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The systems whose trees are there in parts; none in a bundle that is one tree."""
    paths = [entry.path for entry in entries if entry.kind == "f"]
    if PROGRAM in paths:
        return ()
    return tuple(path.partition("/")[0] for path in paths if path.partition("/")[2] == CONTENTS)


def tree_path(path: str, system: str) -> str:
    """Where an entry goes in the tree of a system; the empty string for what does not."""
    part, _, rest = path.partition("/")
    return rest if part in (ALL, system) else ""


def tree_entries(entries: Iterable[Entry], system: str) -> tuple[Entry, ...]:
    """What a bundle has of a system's tree, without the tree's lists.

    Raises ValueError, in one line, where that is no tree: nothing in it leads out of it.
    """
    by_path: dict[str, Entry] = {}
    for entry in entries:
        path = tree_path(entry.path, system)
        if not path or path in (SUMS, CONTENTS):
            continue
        own = Entry(
            kind=entry.kind,
            mode=entry.mode,
            size=entry.size,
            path=path,
            target=entry.target,
            sha256=entry.sha256,
        )
        if by_path.get(path, own) != own or (path in by_path and own.kind != "d"):
            raise ValueError(f"{policy.shown(path)} is there twice")
        by_path[path] = own
    ordered = in_order(by_path.values())
    policy.check_order((entry.path, entry.kind == "d") for entry in ordered)
    return ordered


def items(
    trees: Mapping[str, tuple[Listing, Mapping[str, Item]]],
    left_out: Mapping[str, Iterable[str]],
    patches: Mapping[str, Mapping[str, Path]],
) -> dict[str, Item]:
    """The items of the trees in parts, but for `bundle.json` and `install.sh`.

    `left_out`: system -> paths that are not to be in it; `patches`: system -> path -> what is there instead.
    """
    parts: dict[str, Item] = {ALL: Item()}
    left = {
        system: {
            entry.path: entry
            for entry in listing.entries
            if entry.path not in {*left_out.get(system, ()), *patches.get(system, {})}
        }
        for system, (listing, _) in trees.items()
    }
    first, *others = left.values()
    shared = {path for path, entry in first.items() if all(other.get(path) == entry for other in others)}
    for system, (listing, tree) in trees.items():
        parts[system] = Item()
        parts[f"{system}/{SUMS}"] = Item(data=listing.sums, mode=DATA_MODE)
        parts[f"{system}/{CONTENTS}"] = Item(data=listing.contents, mode=DATA_MODE)
        for path in left[system]:
            parts[f"{ALL if path in shared else system}/{path}"] = tree[path]
        for path, file in patches.get(system, {}).items():
            parts[f"{PATCHES}/{system}/{path}"] = Item(file=file, mode=DATA_MODE)
    for path in list(parts):
        above = path.rpartition("/")[0]
        while above and above not in parts:
            parts[above] = Item()
            above = above.rpartition("/")[0]
    return parts
