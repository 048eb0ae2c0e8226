"""What of the local store, the downloads, proofs and locks nobody uses, and its removal.

In use is what a link leads to that `--link` or `install` left, the cache that the user's OpenCode directory
points to, what a running process was started with, and the newest wrapped programs; and of each of these all
that it needs. Downloads may go at any time: those of caches that stay are kept, so that a change of this
program needs no network.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import roots, store
from opencode_cache.base.errors import BadInputError, OpencodeCacheError
from opencode_cache.formats import contents, lock, manifest
from opencode_cache.npm import platforms
from opencode_cache.prove import on_file
from opencode_cache.ship.remove import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opencode_cache.formats.manifest import Manifest

_WRAPPED = "-opencode-with-cache-"


@dataclass(frozen=True)
class Unused:
    """What can go."""

    entries: tuple[Path, ...]
    """Of the store; those that need others come first."""
    files: tuple[Path, ...]
    """Downloads, proofs and locks."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, in the order in which they are removed."""
        return (*self.entries, *self.files)


def unused(keep: int, environ: Mapping[str, str]) -> Unused:
    """What nobody uses, with the `keep` newest wrapped programs in use as well. Changes nothing."""
    if keep < 0:
        raise BadInputError(f"--keep {keep}: give 0 or more")
    cache_store = store.default()
    entries = cache_store.entries()
    wrapped = [entry for entry in entries if _WRAPPED in entry.name]
    needs = {entry: {entry, *_needs(entry, cache_store, entries)} for entry in wrapped}
    # Not the time of the files, which is the same for all; a store's entry is renamed once.
    newest = sorted(wrapped, key=lambda entry: entry.lstat().st_ctime_ns)[-keep:] if keep else []
    seeds = {*newest, *_roots(cache_store, environ), *_running(cache_store)}
    used = set(seeds)
    for wrapper, needed in needs.items():
        # Whoever has a cache started a program that names it.
        if wrapper in seeds or any(one in seeds and (one / manifest.FILE).is_file() for one in needed):
            used |= needed
    for entry in list(used):
        used |= _tui(entry, cache_store)
    gone = [entry for entry in entries if entry not in used]
    held = {entry: cache_manifest for entry in used if (cache_manifest := _manifest(entry))}
    files = (*_downloads(held.values()), *_proofs(held), *_locks(held.values()))
    return Unused(tuple(sorted(gone, key=lambda entry: _WRAPPED not in entry.name)), files)


def remove(what: Unused) -> None:
    """Remove it. Raises BadInputError where that cannot be done; what is left is whole then, too."""
    if what.entries:
        store.default().remove(what.entries)
    for path in what.files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise BadInputError(f"{path}: cannot be removed ({error.strerror}); see whose it is") from error


def size(path: Path) -> int:
    """Of the content of a file, or of all files below a directory, in bytes."""
    if not path.is_dir():
        return path.lstat().st_size
    return sum(
        Path(directory, name).lstat().st_size for directory, _, names in os.walk(path) for name in names
    )


def _roots(cache_store: store.Store, environ: Mapping[str, str]) -> Iterator[Path]:
    caches = [places(environ).cache, Path(environ.get("HOME") or "/", ".cache-nix", "opencode")]
    pointers = [pointer for cache in caches for pointer in cache.glob(".nix/*") if pointer.is_symlink()]
    for link in (*roots.links(cache_store), *pointers):
        if entry := cache_store.entry(link):
            yield entry


def _running(cache_store: store.Store) -> Iterator[Path]:
    """What processes of this user were started from, where there is a /proc."""
    root = os.fsencode(cache_store.root.resolve()) + b"/"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry := cache_store.entry(process / "exe"):
                yield entry
            for piece in (process / "environ").read_bytes().split(root)[1:]:
                entry = cache_store.root / os.fsdecode(piece.split(b"/")[0].split(b"\0")[0].split(b":")[0])
                if entry.is_dir():
                    yield entry


def _needs(wrapped: Path, cache_store: store.Store, entries: Iterable[Path]) -> set[Path]:
    """The entries that a wrapped program names: it has their paths in its text."""
    text = b"".join(path.read_bytes() for path in wrapped.glob("*/*") if path.is_file())
    named = {entry for entry in entries if os.fsencode(entry.name) in text} - {wrapped}
    return named.union(*(_tui(entry, cache_store) for entry in named))


def _tui(entry: Path, cache_store: store.Store) -> set[Path]:
    """Of a cache: the program that `tui/` leads to."""
    return {linked for link in entry.glob("tui/*") if (linked := cache_store.entry(link))}


def _manifest(entry: Path) -> Manifest | None:
    with contextlib.suppress(OpencodeCacheError):
        return manifest.read(entry)
    return None


def _downloads(held: Iterable[Manifest]) -> Iterator[Path]:
    wanted = {
        f"{package.name.replace('/', '+')}@{package.version}.tgz"
        for cache_manifest in held
        for package in cache_manifest.packages
    }
    programs = {f"@{cache_manifest.opencode}.tgz" for cache_manifest in held}
    for path in _files(store.downloads()):
        program = path.name.startswith("opencode-") and any(path.name.endswith(end) for end in programs)
        if path.name not in wanted and not program:
            yield path


def _proofs(held: Mapping[Path, Manifest]) -> Iterator[Path]:
    """Those of caches that go."""
    kept = tuple(
        on_file.identity(cache, cache_manifest).file_name().removesuffix(".json")
        for cache, cache_manifest in held.items()
        if cache_manifest.opencode_sha256
    )
    return (path for path in _files(store.data_home() / "proofs") if not path.name.startswith(kept))


def _locks(held: Iterable[Manifest]) -> Iterator[Path]:
    """Locks that were made for a plan, and whose cache does not stay. One that cannot be read does."""
    known = [
        (cache_manifest.opencode, cache_manifest.requests, cache_manifest.packages) for cache_manifest in held
    ]
    for path in _files(store.data_home() / "locks"):
        with contextlib.suppress(OpencodeCacheError):
            cache_lock = lock.read(path)
            packages = contents.cached(cache_lock, contents.selected(cache_lock, platforms.current()))
            if (cache_lock.opencode.version, contents.entries(cache_lock), packages) not in known:
                yield path


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_file()) if directory.is_dir() else []
