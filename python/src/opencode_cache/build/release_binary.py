"""The OpenCode program of a release, out of its npm package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.base import store
from opencode_cache.base.errors import BadInputError
from opencode_cache.build import assemble

if TYPE_CHECKING:
    from pathlib import Path

    from opencode_cache.formats.lock import Package


def in_store(package: Package, tarballs: Path, cache_store: store.Store) -> Path:
    """The OpenCode program out of its npm package, in the store."""
    entry = cache_store.add(
        store.key("opencode", package.integrity),
        f"{package.name}-{package.version}",
        lambda out: _unpack_binary(package, tarballs, out),
    )
    return entry / "bin" / "opencode"


def _unpack_binary(package: Package, tarballs: Path, out: Path) -> None:
    out.mkdir(parents=True)
    assemble.unpack(package, tarballs / package.tarball, [out], keep_all=True)
    program = out / "bin" / "opencode"
    if not program.is_file():
        raise BadInputError(f"{package.key}: has no bin/opencode; lock again")
    program.chmod(0o755)
