"""Installs an air-gap bundle into a prefix: unpack beside, verify everything, then one switch."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import first_problem
from opencode_cache.npm import platforms
from opencode_cache.ship import signing
from opencode_cache.ship.file_format import (
    CONTENTS,
    INFO,
    INSTALLED_MODE,
    SIGNATURE,
    SUMS,
    BundleInfo,
    Listing,
)
from opencode_cache.ship.generations import Generations
from opencode_cache.ship.reader import Archive

if TYPE_CHECKING:
    from typing import BinaryIO

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Installed:
    """What stands in the prefix."""

    program: Path
    generation: Path
    info: BundleInfo
    changed: bool
    """False where it was the current one before."""


def unbundle(
    file: Path,
    prefix: Path,
    *,
    trusted: Path | None = None,
    system: str | None = None,
    keep: int | None = None,
) -> Installed:
    """Install a bundle below `prefix` and make it the current generation.

    `trusted`: an allowed_signers file, or minisign's public key, of whom one must have signed the bundle.
    `system`: what the bundle must be for, this machine's by default. `keep`: how many generations to keep,
    all by default. Raises BadInputError for a bundle that is damaged, not signed by them, or for another
    system, and where `prefix` cannot be written; what was installed before is then untouched.
    """
    if keep is not None and keep < 1:
        raise BadInputError(f"--keep {keep}: the current one always stays; give 1 or more")
    generations = Generations(prefix)
    generations.check()
    with _opened(file) as raw:
        archive = Archive(file, raw)
        if trusted:
            name = signing.check(archive.sums, archive.required_signature(), trusted, file)
            console.step(f"{file}: signed by {name}")
        elif archive.signature:
            console.step(f"{file}: signed, and nobody asked by whom; --trusted FILE does")
        with generations.locked(), generations.stage() as stage:
            listing, tree = archive.listing, stage / "tree"
            generation = generations.find(listing.key, lambda one: not differences(one, listing))
            if generation.exists():
                info = _info(generation, archive, system)
            else:
                _enough_room(generations.base, archive)
                archive.unpack(tree)
                wrong = differences(tree, listing)
                if wrong:
                    raise archive.refused(f"{wrong}, once unpacked")
                info = _info(tree, archive, system)
                generations.place(tree, generation)
            changed = generations.switch(generation, stage)
            if keep:
                generations.forget(keep, stage)
    return Installed(generations.program, generation, info, changed)


def undo(prefix: Path) -> Path:
    """Go back to the generation before; it. Raises CheckFailedError where there is none."""
    generations = Generations(prefix)
    if generations.number() is None:
        raise BadInputError(f"{prefix}: nothing is installed there; give the --to of an `unbundle`")
    with generations.locked(), generations.stage() as stage:
        return generations.undo(stage)


def differences(tree: Path, listing: Listing) -> str:
    """The first thing in which a directory differs from a listing; empty where it is just that.

    Looks at every name, kind, mode, link target and byte, SHA256SUMS and CONTENTS included.
    """
    wanted = {entry.path: entry for entry in listing.entries}
    documents = {SUMS: listing.sums, CONTENTS: listing.contents}
    found = set()
    for path in _walk(tree):
        name = path.relative_to(tree).as_posix()
        status = path.lstat()
        if name == SIGNATURE and stat.S_ISREG(status.st_mode):
            continue
        found.add(name)
        entry = wanted.get(name)
        if entry is None:
            if (
                name not in documents
                or not stat.S_ISREG(status.st_mode)
                or path.read_bytes() != documents[name]
            ):
                return f"{name} does not belong there"
            continue
        kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(stat.S_IFMT(status.st_mode))
        modes = (entry.mode, INSTALLED_MODE) if kind == "d" else (entry.mode,)
        same = kind == entry.kind and (kind == "l" or stat.S_IMODE(status.st_mode) in modes)
        if kind == "f" and same:
            same = status.st_size == entry.size and _sha256(path) == entry.sha256
        if not same or (kind == "l" and os.readlink(path) != entry.target):  # noqa: PTH115 - its text
            return f"{name} is not what the list says"
    missing = sorted((wanted.keys() | documents.keys()) - found)
    return f"{missing[0]} is missing" if missing else ""


def _walk(tree: Path) -> list[Path]:
    return [
        Path(directory, name)
        for directory, directories, names in os.walk(tree)
        for name in (*directories, *names)
    ]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise BadInputError(f"{file}: cannot be read ({error.strerror}); give a bundle") from error


def _enough_room(base: Path, archive: Archive) -> None:
    needed = archive.listing.bytes + 4096 * len(archive.listing.entries)
    free = shutil.disk_usage(base).free
    if needed > free:
        raise BadInputError(
            f"{base}: {needed} bytes are needed and {free} are free; make room there, or choose another --to"
        )


def _info(tree: Path, archive: Archive, system: str | None) -> BundleInfo:
    try:
        info = BundleInfo.model_validate_json((tree / INFO).read_bytes())
    except ValidationError as error:
        raise archive.refused(f"{INFO}: {first_problem(error)}") from error
    wanted = platforms.named(system).name if system else platforms.current().name
    if info.system != wanted:
        raise BadInputError(
            f"the bundle is for {info.system}, and this is to be {wanted}; "
            f"get another one, or say --system {info.system}"
        )
    return info


def program(prefix: Path) -> Path:
    """Where the program of a prefix is."""
    return Generations(prefix).program
