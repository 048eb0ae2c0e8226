"""What can be told of a cache without starting OpenCode: its manifest, sizes on disk, the last proof."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opencode_cache import layouts
from opencode_cache.base import files, store
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import first_problem
from opencode_cache.formats import manifest as manifests
from opencode_cache.formats.proof import Proof
from opencode_cache.inspect import node_modules

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from pathlib import Path

    from opencode_cache.formats.manifest import CachedPackage, Entry, Manifest


@dataclass(frozen=True)
class Tree:
    """One directory of the cache with a `node_modules`, and the requests that it answers."""

    path: str
    """Relative to the cache; "." is the cache itself."""
    entries: tuple[Entry, ...]
    sizes: Mapping[CachedPackage, int]
    """Bytes of a package's files in this tree, all its copies there together."""

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


@dataclass(frozen=True)
class Inventory:
    """What a cache holds, and what is known of it."""

    manifest: Manifest
    trees: tuple[Tree, ...]
    catalogue_date: dt.date | None = None
    """The newest day in the catalogue that OpenCode reads, where the manifest has it."""
    proof: Proof | None = None
    proof_kept: bool = False
    """Whether the proof is the one that `run` made and kept, and not one that was given."""

    @property
    def other(self) -> int:
        """Bytes of what belongs to no package: metadata, the catalogue, files of the user's."""
        return max(0, self.manifest.bytes - sum(tree.bytes for tree in self.trees))

    def size(self, package: CachedPackage) -> int:
        """Bytes of all copies of a package."""
        return sum(tree.sizes.get(package, 0) for tree in self.trees)


def take(cache: Path, proof: Path | None = None) -> Inventory:
    """Look at a cache. `proof` is what `verify --json` wrote; None for the one that `run` kept, if it did.

    Raises BadInputError for what is no cache, for a proof that is none or of another OpenCode.
    """
    made = manifests.read(cache)
    try:
        trees = _trees(cache, made)
    except OSError as error:
        raise BadInputError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return Inventory(
        manifest=made,
        trees=trees,
        catalogue_date=made.catalogue_date,
        proof=_given(proof, made) if proof else _kept(cache),
        proof_kept=proof is None,
    )


def _trees(cache: Path, made: Manifest) -> tuple[Tree, ...]:
    asking: dict[str, list[Entry]] = {}
    for entry in made.requests:
        asking.setdefault(entry.tree, []).append(entry)
    known = {f"{package.name}@{package.version}": package for package in made.packages}
    for package in made.packages:
        # What came from GitHub has its commit in the manifest's version, and not in its own.
        known.setdefault(f"{package.name}@{package.version.partition('+')[0]}", package)
    return tuple(
        Tree(path, tuple(entries), _sizes(cache / path, known)) for path, entries in sorted(asking.items())
    )


def _sizes(tree: Path, known: Mapping[str, CachedPackage]) -> dict[CachedPackage, int]:
    sizes: dict[CachedPackage, int] = {}
    owners: dict[str, CachedPackage] = {}
    for place, key in node_modules.on_disk(tree):
        # A package that came inside another one's tarball counts as a part of that.
        above = owners.get(place.rpartition("/node_modules/")[0])
        package = known.get(key, above)
        if package is not None:
            owners[place] = package
            sizes[package] = sizes.get(package, 0) + node_modules.size(tree / place)
    return sizes


def _given(path: Path, made: Manifest) -> Proof:
    try:
        proof = Proof.model_validate_json(files.read_bytes(path, files.DOCUMENT))
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read as a proof ({error.strerror})") from error
    except ValidationError as error:
        raise BadInputError(
            f"{path}: {first_problem(error)}; make it with `opencode-cache verify --json`"
        ) from error
    if not layouts.named(made.layout).accepts(made.opencode, proof.opencode):
        raise BadInputError(
            f"{path}: is a proof with OpenCode {proof.opencode}, and the cache is for {made.opencode}; "
            "make it with `opencode-cache verify --json`"
        )
    return proof


def _kept(cache: Path) -> Proof | None:
    """The newest proof that `run` keeps for this cache: named like the store's wrapper that starts it."""
    try:
        home = store.data_home()
    except BadInputError:  # without a HOME nothing is kept
        return None
    line = f"oc_cache={shlex.quote(str(cache.resolve()))}"
    stamps = [
        stamp
        for program in sorted((home / "store").glob("*-opencode-with-cache-*/bin/opencode"))
        if (stamp := home / "proofs" / f"{program.parents[1].name.partition('-')[0]}.json").is_file()
        and line in program.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    ]
    if not stamps:
        return None
    try:
        return Proof.model_validate_json(max(stamps, key=lambda path: path.stat().st_mtime).read_bytes())
    except ValidationError:  # another version's
        return None
