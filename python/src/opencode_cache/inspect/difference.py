"""What is different in a cache since an older one, or since an older lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from opencode_cache.formats import manifest as manifests
from opencode_cache.formats.manifest import NOT_STATED
from opencode_cache.inspect import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from opencode_cache.formats.lock import Package
    from opencode_cache.formats.manifest import CachedPackage, Manifest
    from opencode_cache.inspect.locked import Locked

What = Literal["OpenCode", "request", "package", "licence", "content", "text", "signature key", "unavailable"]


@dataclass(frozen=True)
class Change:
    """One thing that is different. `old` and `new` are versions, licences, digests, …; None: not there."""

    what: What
    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Difference:
    """All that is different. `since` is the name of what it is compared with."""

    since: str
    changes: tuple[Change, ...]

    @property
    def replaced(self) -> tuple[Change, ...]:
        """Versions that have other bytes than before, which no registry should ever do."""
        return tuple(change for change in self.changes if change.what == "content")


def take(manifest: Manifest, old: Path) -> Difference:
    """What a cache has that `old`, a lock or another cache, has not, and the reverse.

    Raises BadInputError for what is neither.
    """
    before = manifests.read(old) if old.is_dir() else locked.read(old, manifest.system)
    return Difference(old.name, tuple(_changes(before, manifest)))


def _changes(old: Locked | Manifest, new: Manifest) -> list[Change]:
    then, now = ({"OpenCode": one.opencode} for one in (old, new))
    rows = _rows("OpenCode", then, now)
    then, now = ({f"{e.kind} {e.spec}": e.version for e in one.requests} for one in (old, new))
    rows += _rows("request", then, now)
    rows += _rows("package", *(by_name(one.packages, lambda p: p.version) for one in (old, new)))
    then, now = (by_name(one.packages, lambda p: p.license or NOT_STATED) for one in (old, new))
    rows += _rows("licence", *_in_both(then, now))
    then, now = ({f"{p.name}@{p.version}": p.integrity for p in one.packages} for one in (old, new))
    rows += _rows("content", *_in_both(then, now))
    then, now = (one.urls or {} for one in (old, new))
    rows += _rows("text", then, now)
    then, now = (one.signatures.keys if one.signatures else {} for one in (old, new))
    rows += _rows("signature key", then, now)
    then, now = ({f"{u.kind} {u.spec}": u.reason for u in one.unavailable} for one in (old, new))
    return rows + _rows("unavailable", then, now)


def _in_both(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Without what only one of them has, of which another row tells."""
    names = then.keys() & now.keys()
    return {name: then[name] for name in names}, {name: now[name] for name in names}


def _rows(what: What, then: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    return [Change(what, name, then.get(name), now.get(name)) for name in names_of_changes(then, now)]


def names_of_changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The keys, sorted, that are in one of both alone or stand for something else."""
    return [name for name in sorted(then.keys() | now.keys()) if then.get(name) != now.get(name)]


def by_name(
    packages: Iterable[CachedPackage | Package], say: Callable[[CachedPackage | Package], str]
) -> dict[str, str]:
    """Name -> what is said of all its versions, sorted, in one text."""
    texts: dict[str, set[str]] = {}
    for package in packages:
        texts.setdefault(package.name, set()).add(say(package))
    return {name: ", ".join(sorted(words)) for name, words in texts.items()}
