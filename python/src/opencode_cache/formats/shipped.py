"""What comes with this program: locks, the main one of which names the default OpenCode, and proofs."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import lock, proof
from opencode_cache.opencode import versions

if TYPE_CHECKING:
    from opencode_cache.formats.proof import Identity, Proof

LOCKS = "OPENCODE_CACHE_LOCKS"
"""Environment: a directory with locks that stand for the shipped ones."""
MAIN = "opencode-cache.lock.json"


LOCK = ".lock.json"
PROOF = ".proof.json"


def _all(end: str = LOCK) -> list[Path]:
    given = os.environ.get(LOCKS)
    package = Path(str(resources.files("opencode_cache")))
    directories = [Path(given)] if given else [package / "locks", package.parents[2] / "nix" / "locks"]
    return [path for directory in directories for path in sorted(directory.glob(f"*{end}"))]


def lock_for(version: str) -> Path | None:
    """The lock for the default plan of that OpenCode version, if there is one."""
    return next((path for path in _all() if _version(path) == version), None)


def proof_of(wanted: Identity) -> Proof | None:
    """The proof of those very digests, if one came along. One that cannot be read counts as none."""
    for path in _all(PROOF):
        try:
            shipped = proof.read(path)
        except BadInputError:  # of another version of this program
            continue
        if shipped.ok and wanted.is_of(shipped):
            return shipped
    return None


def proof_path(lock_path: Path, system: str) -> Path:
    """Where the proof of a shipped lock lies: beside it, one for each system."""
    return lock_path.with_name(f"{lock_path.name.removesuffix(LOCK)}.{system}{PROOF}")


def default_version() -> str:
    """The OpenCode of the main lock; of the newest one where a directory of locks has no main one.

    Raises BadInputError where there is no lock.
    """
    paths = _all()
    main = [path for path in paths if path.name == MAIN][:1] or paths
    if not main:
        raise BadInputError(
            "no lock came with this program, so there is no default version; name one with "
            f"--opencode-version, or set {LOCKS} to nix/locks of a checkout"
        )
    return max((_version(path) for path in main), key=versions.numbers)


def _version(path: Path) -> str:
    """Without the checks of the whole lock, which whoever uses it makes."""
    try:
        version = json.loads(path.read_bytes())["opencode"]["version"]
        versions.numbers(version)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, BadInputError):
        return lock.read(path).opencode.version  # which says what is wrong with it
    return str(version)
