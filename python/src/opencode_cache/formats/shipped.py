"""What comes with this program: locks of the default plan, each with the proofs that were made of it."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import lock, proof

if TYPE_CHECKING:
    from opencode_cache.formats.proof import Identity, Proof

LOCK = ".lock.json"
PROOF = ".proof.json"


def lock_for(version: str) -> Path | None:
    """The lock of the default plan for that OpenCode version, if there is one."""
    for directory in _directories():
        for path in sorted(directory.glob(f"*{LOCK}")):
            if lock.read(path).opencode.version == version:
                return path
    return None


def proof_of(wanted: Identity) -> Proof | None:
    """The proof of those very digests, if one came along. One that cannot be read counts as none."""
    for directory in _directories():
        for path in sorted(directory.glob(f"*{PROOF}")):
            try:
                found = proof.read(path)
            except BadInputError:  # of another version of this program
                continue
            if found.ok and wanted.is_of(found):
                return found
    return None


def proof_path(lock_path: Path, system: str) -> Path:
    """Where the proof of a shipped lock lies: beside it, one for each system."""
    return lock_path.with_name(f"{lock_path.name.removesuffix(LOCK)}.{system}{PROOF}")


def _directories() -> list[Path]:
    given = os.environ.get("OPENCODE_CACHE_LOCKS")
    if given:
        return [Path(given)]
    return [Path(str(resources.files("opencode_cache"))) / "locks", _in_the_repository()]


def _in_the_repository() -> Path:
    return Path(__file__).resolve().parents[4] / "nix" / "locks"
