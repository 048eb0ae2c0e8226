"""What can be told of a cache without starting OpenCode: its manifest, sizes on disk, the last proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest as manifests
from opencode_cache.inspect import node_modules
from opencode_cache.inspect.sbom import on_disk
from opencode_cache.prove import on_file

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from pathlib import Path

    from opencode_cache.formats.manifest import CachedPackage, Entry, Manifest
    from opencode_cache.formats.proof import Proof
    from opencode_cache.inspect.sbom.on_disk import Facts
    from opencode_cache.prove.on_file import Found


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
        """The sizes of its packages, in all."""
        return sum(self.sizes.values())


@dataclass(frozen=True)
class Inventory:
    """What a cache holds, and what is known of it."""

    manifest: Manifest
    trees: tuple[Tree, ...]
    catalogue_date: dt.date | None = None
    """The newest day in the catalogue that OpenCode reads, where the manifest has it."""
    proof: Proof | None = None
    proved_here: bool = False
    """Whether the proof was made on this machine, as far as its own file of proofs tells."""
    facts: Mapping[CachedPackage, Facts] = field(default_factory=dict)
    """What the packages say of themselves, their licences' texts too."""

    @property
    def other(self) -> int:
        """Bytes of what belongs to no package: metadata, the catalogue, files of the user's."""
        return max(0, self.manifest.bytes - sum(tree.bytes for tree in self.trees))

    def size(self, package: CachedPackage) -> int:
        """Bytes of all copies of a package."""
        return sum(tree.sizes.get(package, 0) for tree in self.trees)


def take(cache: Path, proof: Path | None = None, opencode: Path | None = None) -> Inventory:
    """Look at a cache. `proof` and `opencode` as for `proved`.

    Raises BadInputError for what is no cache, for a proof that is none or of something else.
    """
    manifest = manifests.read(cache)
    try:
        trees = _trees(cache, manifest)
        facts = on_disk.read(cache, manifest).facts
    except OSError as error:
        raise BadInputError(
            f"{error.filename}: cannot be read ({error.strerror}); build the cache again"
        ) from error
    last_proof = proved(cache, manifest, proof, opencode)
    return Inventory(
        manifest=manifest,
        trees=trees,
        catalogue_date=manifest.catalogue_date,
        proof=last_proof.proof if last_proof else None,
        proved_here=last_proof is not None and last_proof.here,
        facts=facts,
    )


def _trees(cache: Path, manifest: Manifest) -> tuple[Tree, ...]:
    asking: dict[str, list[Entry]] = {}
    for entry in manifest.requests:
        asking.setdefault(entry.tree, []).append(entry)
    known = {f"{package.name}@{package.version}": package for package in manifest.packages}
    for package in manifest.packages:
        # What came from GitHub has its commit in the manifest's version, and not in its own.
        known.setdefault(f"{package.name}@{package.version.partition('+')[0]}", package)
    return tuple(
        Tree(path, tuple(entries), _sizes(cache / path, known)) for path, entries in sorted(asking.items())
    )


def _sizes(tree: Path, known: Mapping[str, CachedPackage]) -> dict[CachedPackage, int]:
    sizes: dict[CachedPackage, int] = {}
    owners: dict[str, CachedPackage] = {}
    for path, key in node_modules.on_disk(tree):
        # A package that came inside another one's tarball counts as a part of that.
        above = owners.get(path.rpartition("/node_modules/")[0])
        package = known.get(key, above)
        if package is not None:
            owners[path] = package
            sizes[package] = sizes.get(package, 0) + node_modules.size(tree / path)
    return sizes


def proved(
    cache: Path, manifest: Manifest, proof: Path | None = None, opencode: Path | None = None
) -> Found | None:
    """The proof of a cache: the given one, else the one that is on file or came along.

    With `opencode`, of that program; else of the one that the cache was built with. Raises BadInputError for
    a given proof that is of something else.
    """
    if proof is not None:
        return on_file.given(proof, cache, manifest, opencode)
    if opencode is None and manifest.opencode_sha256 is None:
        return None
    return on_file.find(on_file.identity(cache, manifest, opencode), cache)
