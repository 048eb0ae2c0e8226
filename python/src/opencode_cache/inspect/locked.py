"""What a cache of a lock would have on one system, told by the lock alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.base.model import Model
from opencode_cache.formats import contents, lock, urls
from opencode_cache.formats.lock import Signatures, Unavailable
from opencode_cache.formats.manifest import CachedPackage, Entry
from opencode_cache.npm import platforms
from opencode_cache.opencode import versions

if TYPE_CHECKING:
    from pathlib import Path


class LockedPackage(CachedPackage):
    """One package, and how long its tarball is, in bytes, where the lock tells it."""

    packed: int | None = None


class Locked(Model):
    """The requests of a lock, and the packages that a build for `system` would take."""

    opencode: str
    layout: versions.LayoutName
    system: str
    requests: tuple[Entry, ...]
    packages: tuple[LockedPackage, ...]
    unavailable: tuple[Unavailable, ...] = ()
    signatures: Signatures | None = None
    urls: dict[str, str] | None = None
    """Address -> sha256 of the text that OpenCode gets from the cache."""

    @property
    def packed(self) -> int:
        """Bytes of its tarballs, as far as the registry says."""
        return sum(package.packed or 0 for package in self.packages)


def read(path: Path, system: str | None = None) -> Locked:
    """Of a lock file, for the system of that name (this machine's by default). Raises BadInputError."""
    given = lock.read(path)
    chosen = platforms.named(system) if system else platforms.current()
    cached = contents.cached(given, contents.selected(given, chosen))
    return Locked(
        opencode=given.opencode.version,
        layout=given.opencode.layout,
        system=chosen.name,
        requests=contents.entries(given),
        packages=tuple(
            LockedPackage(
                **package.model_dump(), packed=given.packages[f"{package.name}@{package.version}"].size
            )
            for package in cached
        ),
        unavailable=given.unavailable,
        signatures=given.signatures,
        urls=urls.digests(given.urls) or None,
    )
