"""The proofs that were made on this machine, in the local store's `proofs/`, each named by what it is of."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base import files, store
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import proof as proofs
from opencode_cache.formats import shipped
from opencode_cache.opencode import run as opencode

if TYPE_CHECKING:
    from pathlib import Path

    from opencode_cache.formats.manifest import Manifest
    from opencode_cache.formats.proof import Identity, Proof


@dataclass(frozen=True)
class Found:
    """A proof that speaks for a cache and a program."""

    proof: Proof
    here: bool
    """Whether it was made on this machine; else it came along."""


def identity(cache: Path, manifest: Manifest, binary: Path | None = None) -> Identity:
    """What a proof of a cache with a program has to name; by default the program that it was built with.

    Raises BadInputError where the digest of neither is known.
    """
    if binary is not None:
        return proofs.of(cache, proofs.sha256(opencode.image(binary)))
    if manifest.opencode_sha256 is None:
        raise BadInputError(
            f"{cache}: does not say which OpenCode program it was built with; give it with --opencode"
        )
    return proofs.of(cache, manifest.opencode_sha256)


def of(proof: Proof) -> Identity:
    """What a proof says that it is of."""
    return proofs.Identity(manifest_sha256=proof.manifest_sha256, binary_sha256=proof.binary_sha256)


def find(wanted: Identity, cache: Path | None = None) -> Found | None:
    """The proof of those digests: this machine's own, else one that came with this program or that cache."""
    own = of_installation(wanted, None)
    if own is not None:
        return Found(own, here=True)
    other = travelled(wanted, cache)
    return Found(other, here=False) if other else None


def of_installation(wanted: Identity, installation_sha256: str | None) -> Proof | None:
    """The proof made here of those digests and of what ships with them; None: as they lie here."""
    try:
        return _read(_directory() / wanted.file_name(installation_sha256), wanted)
    except BadInputError:  # no HOME
        return None


def travelled(wanted: Identity, cache: Path | None = None) -> Proof | None:
    """The proof of those digests that came with this program, or with that cache out of a bundle or image."""
    return shipped.proof_of(wanted) or (_read(cache.parent / proofs.FILE, wanted) if cache else None)


def _read(path: Path, wanted: Identity) -> Proof | None:
    """A complete proof of those digests. One that cannot be read counts as none."""
    try:
        proof = proofs.read(path) if path.exists() else None
    except BadInputError:  # of another version of this program
        return None
    return proof if proof is not None and proof.complete and wanted.is_of(proof) else None


def put(proof: Proof) -> None:
    """File a proof of a complete cache; one of a cache that is not takes an earlier one of the same away.

    Where the machine was only too slow nothing changes. Without a HOME that can be written, as in a build
    of Nix, nothing is filed: the proof itself is what was asked for.
    """
    try:
        path = _directory() / of(proof).file_name(proof.installation_sha256)
    except BadInputError:
        return
    if proof.complete:
        with contextlib.suppress(BadInputError):
            files.write_atomically(path, dumps(proof))
    elif not proof.too_slow:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def given(path: Path, cache: Path, manifest: Manifest, binary: Path | None = None) -> Found:
    """A proof out of a file, which has to be of that cache and program. Raises BadInputError."""
    proof = proofs.read(path)
    version = opencode.version(binary) if binary is not None else manifest.opencode
    wanted = identity(cache, manifest, binary)
    proofs.check(proof, path, version, wanted)
    own = find(wanted)
    return Found(proof, here=own is not None and own.here and own.proof.time == proof.time)


def dumps(proof: Proof) -> str:
    """The text of a proof as it is filed, and as it travels."""
    return proof.model_dump_json(indent=2, exclude_none=True) + "\n"


def _directory() -> Path:
    return store.data_home() / "proofs"
