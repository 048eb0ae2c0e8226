"""The interface that the layouts share: where things go, and what makes OpenCode take them for installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from opencode_cache.formats.lock import Kind, Lock
    from opencode_cache.formats.manifest import Entry
    from opencode_cache.npm.platforms import System
    from opencode_cache.opencode.versions import LayoutName


@dataclass(frozen=True)
class Place:
    """Where a request's tree stands, and the string that OpenCode compares."""

    tree: str
    """Directory that holds `node_modules`, relative to the cache; "." is the cache itself."""
    requested: str


class Layout(Protocol):
    """One generation of OpenCode's cache directory."""

    @property
    def name(self) -> LayoutName:
        """As locks and manifests write it."""

    @property
    def alone(self) -> tuple[str, ...]:
        """Arguments with which a command asks no service, which may be anybody's, but a child of its own."""

    def binaries(self, system: System) -> tuple[str, ...]:
        """npm packages of the OpenCode binary for a system, best first."""

    def accepts(self, locked: str, actual: str) -> bool:
        """Whether a cache locked for one version of OpenCode is right for another."""

    def place(self, opencode: str, kind: Kind, spec: str, resolved: str) -> Place:
        """Where OpenCode `opencode` looks for `spec`, of which npm chose the version `resolved`."""

    def write_metadata(self, cache: Path, lock: Lock) -> None:
        """Write what this layout's "already installed?" test reads, beside the unpacked trees."""

    def links(self, cache: Path) -> tuple[str, ...]:
        """Entries of the cache directory that may be links into a read-only store."""

    def copies(self, cache: Path) -> tuple[str, ...]:
        """Entries that OpenCode writes to, so that the user needs copies."""

    def installed(self, cache: Path, entry: Entry, opencode: str) -> tuple[bool, str]:
        """OpenCode's own test on a cache: whether a request counts as installed, and what was looked at."""

    def newer(self, directory: Path, links: Sequence[str]) -> list[str]:
        """What OpenCode has installed in the user's directory by itself and takes instead of our links."""

    def tolerated(self, opencode: str) -> frozenset[str]:
        """Names of packages that this version asks the registry for whatever the cache holds."""


def trees(directory: Path) -> Iterator[Path]:
    """The directories below that hold a `node_modules`: a scope or a `/` in a spec makes them lie deeper."""
    for path in directory.iterdir() if directory.is_dir() else ():
        if (path / "node_modules").is_dir():
            yield path
        elif path.is_dir():
            yield from trees(path)
