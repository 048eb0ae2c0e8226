"""What there is for a configuration, and what becomes of one of its entries."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from opencode_cache import layouts
from opencode_cache.npm.spec import public, split_spec
from opencode_cache.opencode import bundled
from opencode_cache.opencode.versions import layout_name

if TYPE_CHECKING:
    from pathlib import Path

    from opencode_cache.config.entries import Entry
    from opencode_cache.formats.lock import Kind, Lock
    from opencode_cache.formats.manifest import Manifest
    from opencode_cache.opencode.versions import LayoutName

Word = Literal["cached", "bundled", "not needed", "not covered"]


@dataclass(frozen=True)
class Have:
    """One request that is answered."""

    kind: Kind
    name: str
    spec: str


@dataclass(frozen=True)
class Offer:
    """What there is. `requests`: what a cache or a lock answers; None: all that can be locked will be.

    `installed`: OpenCode's cache directory, where it may have installed more by itself.
    """

    opencode: str
    requests: tuple[Have, ...] | None = None
    installed: Path | None = None
    compiled_in: frozenset[str] = frozenset()
    """SDKs that the binary bundles, as it was asked when the lock was made."""
    urls: frozenset[str] = frozenset()
    """Addresses that are answered."""

    def bundles(self, sdk: str) -> bool:
        """Whether that npm field of a provider is answered by the program itself."""
        return sdk in self.compiled_in or (sdk in bundled.NAMES and self.layout == "packages")

    @property
    def layout(self) -> LayoutName:
        """Of this OpenCode's cache."""
        return layout_name(self.opencode)

    @property
    def bun(self) -> bool:
        """Whether this OpenCode is one of 1.0 to 1.3."""
        return self.layout == "bun"

    def has(self, kind: Kind, spec: str) -> bool:
        """Whether OpenCode takes that spec for installed: compared as it compares it."""
        if self.requests is None:
            return True
        name, version = split_spec(spec)
        if self.bun:
            same = [one.spec for one in self.requests if one.name == name]
            return spec in same or (bool(same) and version in ("", "latest"))
        tree = self._tree(kind, spec)
        others = (one for one in self.requests if one.kind != "config")
        if any(self._tree(one.kind, one.spec) == tree for one in others):
            return True
        # Not Path.exists, which raises for a name that is too long.
        installed = self.installed and self.installed / tree / "node_modules" / name
        return installed is not None and os.path.exists(installed)  # noqa: PTH110

    def _tree(self, kind: Kind, spec: str) -> str:
        return layouts.for_version(self.opencode).place(self.opencode, kind, spec, "").tree

    def has_dependency(self, name: str) -> bool:
        """Whether config directories find a package of that name."""
        return self.requests is None or any(
            one.kind == "config" and one.name == name for one in self.requests
        )


def of_cache(manifest: Manifest, installed: Path | None = None) -> Offer:
    """What a cache offers, beside what OpenCode itself has put into its directory."""
    requests = tuple(Have(one.kind, one.name, one.spec) for one in manifest.requests)
    texts = frozenset(manifest.urls or ())
    return Offer(manifest.opencode, requests, installed, frozenset(manifest.bundled), texts)


def of_lock(lock: Lock) -> Offer:
    """What a cache that is built from a lock will offer."""
    requests = tuple(Have(one.kind, one.name, one.spec) for one in lock.requests)
    compiled_in, texts = frozenset(lock.opencode.bundled), frozenset(lock.urls)
    return Offer(lock.opencode.version, requests, compiled_in=compiled_in, urls=texts)


@dataclass(frozen=True)
class Judgement:
    """What becomes of an entry.

    `plan`: the key of a plan, and the specs there, that stand for it. `certain`: whether OpenCode surely does
    without it; else the machine may have it in another way.
    """

    entry: Entry
    word: Word
    reason: str
    fix: str = ""
    plan: tuple[str, tuple[str, ...]] | None = None
    certain: bool = True

    @property
    def shown(self) -> str:
        """The entry for a person, without what may be secret in it."""
        if self.entry.words:
            return f"{self.entry.key} {' '.join(map(public, self.entry.words[:3]))!r}"
        return f"{self.entry.key} {public(self.entry.value)!r}" if self.entry.value else self.entry.key
