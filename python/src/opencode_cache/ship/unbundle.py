"""Installs an air-gap bundle: checks who signed it, unpacks it beside, and has `install.sh` do the rest.

The installer is the one that a bundle brings for machines without Python, here from this package. It checks
every file where that lies on the disk, and knows all about prefixes: what is in use, what was, the way back.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.files import remove
from opencode_cache.base.model import first_problem
from opencode_cache.npm import platforms
from opencode_cache.ship import from_parts, installer, parts, reader, signing
from opencode_cache.ship.file_format import INFO, PROGRAM, BundleInfo
from opencode_cache.ship.policy import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opencode_cache.ship.reader import Archive


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
    allow_older: bool = False,
) -> Installed:
    """Install a bundle below `prefix` and make it the current generation.

    `trusted`: an allowed_signers file, or minisign's public key, of whom one must have signed the bundle.
    `system`: what the bundle must be for, this machine's by default. `keep`: how many generations to keep,
    all by default. `allow_older`: also where what is installed has a later date or serial. Raises
    BadInputError for a bundle that is damaged, not signed by them, older, or for another system, and where
    `prefix` cannot be written; what was installed before is then untouched.
    """
    if keep is not None and keep < 1:
        raise BadInputError(f"--keep {keep}: the current one always stays; give 1 or more")
    wanted = platforms.named(system).name if system else platforms.current().name
    prefix = prefix.absolute()
    before = _current(prefix)
    with reader.opened(file) as archive:
        if trusted:
            name = signing.check(archive.sums, archive.required_signature(), trusted, file)
            console.step(f"{file}: signed by {name}")
        elif archive.signature:
            console.step(f"{file}: signed, but not checked; pass --trusted FILE")
        with _umask(0o022), _stage(prefix) as stage:
            tree = stage / "tree"
            if parts.systems(archive.listing.entries):
                from_parts.unpack(archive, wanted, stage, prefix)
            else:
                from_parts.check_room(prefix, archive.listing.entries)
                archive.unpack(tree)
            info = _info(tree, archive, wanted)
            words = ["--system", wanted, *(["--keep", str(keep)] if keep else [])]
            words += ["--allow-older"] if allow_older else []
            installer.run([*words, "--tree", str(tree)], prefix)
    generation = _current(prefix)
    if generation is None:
        raise BadInputError(f"{prefix}: somebody else has removed what was installed there; install it again")
    return Installed(program(prefix), generation, info, generation != before)


def undo(prefix: Path) -> Path:
    """Go back to the generation before; it. Raises CheckFailedError where there is none."""
    installer.run(["--undo"], prefix.absolute())
    return (prefix / "lib" / "opencode-cache" / "current").resolve()


def program(prefix: Path) -> Path:
    """Where the program of a prefix is."""
    return prefix.absolute() / PROGRAM


def _current(prefix: Path) -> Path | None:
    link = prefix / "lib" / "opencode-cache" / "current"
    return link.resolve() if os.path.exists(link) else None  # noqa: PTH110 - False where nobody may look


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _stage(prefix: Path) -> Iterator[Path]:
    """A directory of one's own where `install.sh` looks for it; what is left in it goes in the end.

    Directories that were made for it and are empty in the end go again. Turns the system's errors into
    BadInputError.
    """
    base = prefix / "lib" / "opencode-cache"
    stage = base / f".new-{os.getpid()}"
    created: list[Path] = []
    try:
        for missing in reversed([path for path in (base, *base.parents) if not path.exists()]):
            missing.mkdir(exist_ok=True)
            created.append(missing)
        if stage.exists():
            remove(stage)  # of a process that had our number
        stage.mkdir(mode=0o700)
        try:
            yield stage
        finally:
            _clear(stage)
    except OSError as error:
        raise BadInputError(
            f"{prefix}: cannot be written ({error.filename or prefix}: {error.strerror}); "
            "make room there, or choose another --to"
        ) from error
    finally:
        for path in reversed(created):
            with contextlib.suppress(OSError):
                path.rmdir()


def _clear(stage: Path) -> None:
    try:
        remove(stage)
    except BaseException:
        remove(stage)  # An interrupt that comes now is not to leave half of it.
        raise


def _info(tree: Path, archive: Archive, wanted: str) -> BundleInfo:
    try:
        info = BundleInfo.model_validate_json((tree / INFO).read_bytes())
    except (OSError, ValidationError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else "is missing"
        raise archive.refused(shown(f"{INFO}: {why}")) from error
    if info.system != wanted:
        raise BadInputError(
            f"the bundle is for {shown(info.system)}, this machine is {wanted}; "
            f"get another one, or say --system {shown(info.system)}"
        )
    return info
