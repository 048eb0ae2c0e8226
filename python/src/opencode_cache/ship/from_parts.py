"""Makes a system's tree of a bundle in parts: out of its parts, differences, and the generation of before."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

import zstandard
from pydantic import ValidationError

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import first_problem
from opencode_cache.ship import parts
from opencode_cache.ship.file_format import CONTENTS, INFO, SUMS, parse
from opencode_cache.ship.policy import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from opencode_cache.ship.file_format import Entry
    from opencode_cache.ship.reader import Archive

_CHUNK = 1 << 20
_WINDOW = 1 << 31
"""Bytes of memory at most for a difference: zstd's own limit with `--long=31`."""


def unpack(archive: Archive, system: str, stage: Path, prefix: Path) -> None:
    """Write the tree of that system to `stage/tree`; a step's needs its generation below `prefix`.

    Raises BadInputError where the bundle has no such tree or is damaged, and where the generation of before
    is not there or is damaged.
    """
    entries = archive.listing.entries
    names = parts.systems(entries)
    if system not in names:
        raise BadInputError(
            f"the bundle is for {shown(', '.join(names))}, this machine is {system}; get another one, "
            f"or say --system {shown(names[0])}"
        )
    try:
        listed = parts.tree_entries(entries, system)
    except ValueError as error:
        raise archive.refused(str(error)) from error
    check_room(prefix, listed)
    tree, rest = stage / "tree", stage / "rest"
    tree.mkdir(mode=0o755)

    def place(entry: Entry) -> Path | None:
        if path := parts.tree_path(entry.path, system):
            return tree / path
        if entry.kind == "f" and (entry.path == INFO or entry.path.startswith(f"{parts.PATCHES}/{system}/")):
            (rest / entry.path).parent.mkdir(parents=True, exist_ok=True)
            return rest / entry.path
        return None

    archive.extract(place)
    try:
        listing = parse((tree / SUMS).read_bytes(), (tree / CONTENTS).read_bytes())
        info = parts.PartsInfo.model_validate_json((rest / INFO).read_bytes())
    except (OSError, ValueError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else error
        raise archive.refused(shown(str(why))) from error
    if not set(listed) <= set(listing.entries):
        raise archive.refused(f"what it has is not what {system}/{CONTENTS} says")
    there = {entry.path for entry in listed}
    missing = [entry for entry in listing.entries if entry.path not in there]
    if not missing:
        return
    if system not in info.since:
        raise archive.refused(f"{shown(missing[0].path)} is missing")
    check_room(prefix, missing)
    _complete(missing, tree, _generation(prefix, info.since[system]), rest / parts.PATCHES / system)


def check_room(prefix: Path, entries: Iterable[Entry]) -> None:
    """Raises BadInputError where there is no room for these below the stage in `prefix`."""
    needed = sum(entry.size + 4096 for entry in entries)
    free = shutil.disk_usage(prefix / "lib" / "opencode-cache").free
    if needed > free:
        raise BadInputError(
            f"{prefix}: {needed} bytes are needed and {free} are free; "
            "make room there, or choose another --to"
        )


def _generation(prefix: Path, key: str) -> Path:
    """Where the generation of before is. Raises BadInputError."""
    for path in sorted((prefix / "lib" / "opencode-cache" / "generations").glob(f"{key}*"), reverse=True):
        return path
    raise BadInputError(
        f"{prefix}: the bundle is a step from the generation {shown(key)}, which is not there; "
        "take the steps in their order, or a whole bundle"
    )


def _complete(missing: Iterable[Entry], tree: Path, before: Path, patches: Path) -> None:
    for entry in missing:
        if entry.kind != "f":
            raise _unfit(before, entry)
        source, to, patch = before / entry.path, tree / entry.path, patches / entry.path
        digest = hashlib.sha256()
        try:
            with to.open("xb") as file:
                for piece in _patched(source, patch, entry.size) if patch.is_file() else _pieces(source):
                    digest.update(piece)
                    file.write(piece)
                os.fchmod(file.fileno(), entry.mode)
        except (zstandard.ZstdError, MemoryError, FileNotFoundError) as error:
            raise _unfit(before, entry) from error
        if digest.hexdigest() != entry.sha256:
            raise _unfit(before, entry)
        os.utime(to, (1, 1))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _patched(source: Path, patch: Path, size: int) -> Iterator[bytes]:
    base = zstandard.ZstdCompressionDict(source.read_bytes(), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    unpacker = zstandard.ZstdDecompressor(dict_data=base, max_window_size=_WINDOW)
    left = size
    with patch.open("rb") as file, unpacker.stream_reader(file) as reader:
        while left and (piece := reader.read(min(left, _CHUNK))):
            yield piece
            left -= len(piece)


def _unfit(before: Path, entry: Entry) -> BadInputError:
    return BadInputError(
        f"{before}: {shown(entry.path)} is not what the step is from, so nothing was installed; "
        "install a whole bundle"
    )
