"""What has changed since an older bundle: which files stay out of a step, and which are differences."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opencode_cache.base import console, files
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats.proof import sha256
from opencode_cache.ship import parts, reader
from opencode_cache.ship.file_format import CONTENTS, INFO, MAX_LIST, SUMS, BundleInfo, Listing, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from opencode_cache.ship.file_format import Entry
    from opencode_cache.ship.items import Item

LARGE = 4 << 20
"""Bytes from which on a file is worth a difference."""
_LEVEL = 3
"""From OpenCode 1.18.32 to .33, 185 MB: 0.3 MB in 3 s; level 9 takes 23 s for as much."""
_SMALLER = 4
"""A difference is a quarter of the file at most: compressed, OpenCode is hardly more than that itself."""


@dataclass(frozen=True)
class Old:
    """An older bundle: the lists of each system's tree, and where its large files are, if that is known."""

    listings: Mapping[str, Listing]
    places: Mapping[str, tuple[Path, ...]]
    """System -> directories that may have them, by their path in the tree."""

    def file(self, system: str, entry: Entry) -> Path | None:
        """A large file of it. Raises BadInputError where it is not what the list says."""
        for directory in self.places.get(system, ()):
            path = directory / entry.path
            if path.is_file():
                if sha256(path) != entry.sha256:
                    raise BadInputError(f"{path}: is not what the list beside it says; give --since another")
                return path
        return None


@dataclass
class Step:
    """What a step from an older bundle leaves out of each system's tree, and what stands for some of it."""

    keys: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    patches: dict[str, dict[str, Path]] = field(default_factory=dict)


def step(old: Old, trees: Mapping[str, tuple[Listing, Mapping[str, Item]]], scratch: Path) -> Step:
    """The step from `old` to the trees; differences are files below `scratch`.

    Raises BadInputError where there is none to any of them.
    """
    new_step = Step()
    for system, (listing, items) in trees.items():
        before = old.listings.get(system)
        if before is None:
            console.step(f"the older bundle has nothing for {system}: all of that is in the new one")
            continue
        known = {entry.path: entry for entry in before.entries}
        new_step.keys[system] = before.key
        changed = [entry for entry in listing.entries if entry.kind == "f"]
        new_step.left_out[system] = [entry.path for entry in changed if known.get(entry.path) == entry]
        new_step.patches[system] = {}
        for entry in changed:
            last, file = known.get(entry.path), items[entry.path].file
            if last is None or last == entry or file is None or min(last.size, entry.size) < LARGE:
                continue
            base = old.file(system, last)
            if base is None:
                console.step(f"{entry.path} is whole in it: --since has only the list of the older one")
                continue
            patch = scratch / f"{len(new_step.patches)}-{len(new_step.patches[system])}.zst"
            if _patch(base, file, patch) and patch.stat().st_size < entry.size // _SMALLER:
                new_step.patches[system][entry.path] = patch
    if not new_step.keys:
        raise BadInputError(
            f"--since: the older bundle is for {', '.join(old.listings)} only; make a whole one, without it"
        )
    return new_step


def _patch(base: Path, file: Path, to: Path) -> bool:
    """Write the difference of two files. The library that Python has cannot find what is far away."""
    program = shutil.which("zstd")
    if program is None:
        console.step(
            "zstd is not on PATH, so large files are whole in the step; install zstd for a small one"
        )
        return False
    words = [program, f"-{_LEVEL}", "-q", "--single-thread", "--long=31", "--no-check"]
    done = subprocess.run(
        [*words, f"--patch-from={base.absolute()}", str(file.absolute()), "-o", str(to.absolute())],
        cwd=to.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it ended without a word"]
        console.step(f"zstd cannot make a difference ({said[-1]}), so {file.name} is whole in the step")
    return done.returncode == 0


def read(path: Path, systems: Sequence[str], scratch: Path) -> Old:
    """An older bundle: a file, an installed generation, or a directory with its SHA256SUMS and CONTENTS.

    `systems` are those of the new one; large files of the old one go below `scratch`. Raises BadInputError.
    """
    directory = path.parent if path.name == CONTENTS else path
    if directory.is_dir():
        return _of_directory(directory, systems)
    with reader.opened(path) as archive:
        names = parts.systems(archive.listing.entries)
        archive.extract(lambda entry: _place(entry, names, scratch))
        if not names:
            system = _info(scratch).system
            return Old({system: archive.listing}, {system: (scratch,)})
    listings = {name: _listing(scratch / name, path) for name in names}
    return Old(listings, {name: (scratch / name, scratch / parts.ALL) for name in names})


def _place(entry: Entry, names: Collection[str], scratch: Path) -> Path | None:
    lists = {f"{name}/{document}" for name in names for document in (SUMS, CONTENTS)} or {INFO}
    if entry.kind != "f" or not (entry.size >= LARGE or entry.path in lists):
        return None
    path = scratch / entry.path
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _of_directory(directory: Path, systems: Sequence[str]) -> Old:
    listing = _listing(directory, directory)
    if (directory / INFO).is_file():
        system = _info(directory).system
    elif len(systems) == 1:
        (system,) = systems
    else:
        raise BadInputError(f"{directory}: does not say which system it is for; give the bundle itself")
    return Old({system: listing}, {system: (directory,)})


def _info(directory: Path) -> BundleInfo:
    try:
        return BundleInfo.model_validate_json((directory / INFO).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInputError(f"{directory / INFO}: is no bundle's; give --since another") from error


def _listing(directory: Path, named: Path) -> Listing:
    try:
        documents = [files.read_bytes(directory / name, MAX_LIST) for name in (SUMS, CONTENTS)]
        return parse(*documents)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadInputError(
            f"{named}: its {SUMS} and {CONTENTS} cannot be read ({why}); give --since a bundle"
        ) from error
