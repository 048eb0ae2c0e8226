"""One npm tarball on its way to its destinations: which members, under which names, with which modes.

The rules are those of npm 11: pacote 21.5 (`lib/fetcher.js`, `#extract` and `#tarxOptions`: strip one
component, no links and no empty directories, `.gitignore` becomes `.npmignore`, modes) and node-tar 7.5
(`src/unpack.ts`: which paths, which kinds). What node-tar sanitises or passes over with a warning because it
climbs out, is absolute, or is a device, is refused here. Two of npm's effects are not repeated: the set-id
bits of a member's mode, and times (every time is 1 here).

A file that `prune` may leave out is held back in a spool until the whole tarball has been seen, so that
what is left out is never written. `package.json` is written last: a destination without it is not whole.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import archive, files
from opencode_cache.base.errors import BadInputError
from opencode_cache.build.unpack import prune
from opencode_cache.build.unpack.destination import Destination
from opencode_cache.build.unpack.tar import Kind, Member, Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opencode_cache.formats.lock import Package

_SMALL = 1 << 20
_SPOOL = 32 << 20
_LINKS = (Kind.HARD_LINK, Kind.SYMBOLIC_LINK)
_MANIFEST = "package.json"


class Policy(Enum):
    """What of a package goes to a destination."""

    ALL = "everything, as npm does"
    WHOLE = "everything but source maps"
    DECLARED = "what a program can load, and type declarations"
    LOADABLE = "what a program can load"


@dataclass(frozen=True)
class Stats:
    """What was written and what was left out, over all destinations: numbers of files, lengths in bytes."""

    files: int = 0
    bytes: int = 0
    dropped_files: int = 0
    dropped_bytes: int = 0

    def __add__(self, other: Stats) -> Stats:
        return Stats(
            self.files + other.files,
            self.bytes + other.bytes,
            self.dropped_files + other.dropped_files,
            self.dropped_bytes + other.dropped_bytes,
        )


@dataclass(frozen=True)
class Target:
    """A destination's policy, and the paths below it that are the homes of other packages."""

    policy: Policy
    homes: frozenset[str] = frozenset()

    def owns(self, path: str) -> bool:
        """False in the home of a package that is unpacked on its own: what this one bundles gives way."""
        return not any(f"{path}/".startswith(f"{home}/") for home in self.homes)

    def takes_at_once(self, path: str) -> bool:
        """Whether a file is written as it comes by: nothing that is yet to be known decides about it."""
        if path == _MANIFEST or not self.owns(path):
            return False
        if self.policy is Policy.ALL:
            return True
        if self.policy is Policy.WHOLE:
            return not prune.is_source_map(path)
        return not prune.useless(path) and not prune.held(path)


def extract(package: Package, tarball: Path, targets: Mapping[Path, Target]) -> Stats:
    """Read a tarball once and write it to each target; see `tree.unpack` for the errors."""
    with _reading(package, tarball) as reader, tempfile.SpooledTemporaryFile(_SPOOL) as spool:
        unpacking = _Unpacking(reader, package, targets, spool)
        for member in reader:
            unpacking.take(member)
        return unpacking.finish()


@contextmanager
def _reading(package: Package, tarball: Path) -> Iterator[Reader]:
    try:
        file = files.open_regular(tarball)
    except FileNotFoundError as error:
        raise BadInputError(
            f"{package.key}: {tarball} is not there; "
            "run `opencode-cache fetch` with the same lock and directory"
        ) from error
    except OSError as error:
        raise BadInputError(
            f"{package.key}: {tarball} cannot be read ({error.strerror}); check it"
        ) from error
    with file:
        yield Reader(file, package, tarball)


@dataclass
class _File:
    """A file of the package. `offset` is its place in the spool if it is held back."""

    size: int
    mode: int
    offset: int | None


class _Unpacking:
    """The state of one tarball on its way to its destinations."""

    def __init__(
        self,
        reader: Reader,
        package: Package,
        targets: Mapping[Path, Target],
        spool: tempfile.SpooledTemporaryFile[bytes],
    ) -> None:
        self._reader = reader
        self._spool = spool
        self._package = package
        self._by_target: dict[Target, list[Destination]] = {}
        for path, target in targets.items():
            self._by_target.setdefault(target, []).append(Destination(path, package))
        self._files: dict[str, _File] = {}
        self._names = archive.Names()
        self._ignore_files: set[str] = set()

    def take(self, member: Member) -> None:
        """Deal with one member of the tarball: write it, hold it back, or leave it out as npm does.

        pacote's filter lets files through and nothing else: a directory is made for a file in it.
        """
        try:
            path = archive.below(member.path)
            if member.kind in _LINKS:
                archive.check_link(member)
                return
            renamed = self._npmignore(member.path, path) if member.kind is Kind.FILE and path else None
            if renamed:
                # npm writes the second of two members over the first.
                self._names.add(renamed, again=True)
        except archive.RefusedError as error:
            raise self._reader.hostile(str(error)) from error
        if renamed:
            self._store(renamed, member)

    def finish(self) -> Stats:
        """Write what was held back and is wanted, and `package.json` as the last one."""
        total = Stats()
        everything = sum(file.size for file in self._files.values())
        for target, destinations in self._by_target.items():
            wanted = self._wanted(target, destinations[0])
            size = sum(self._files[path].size for path in wanted)
            for destination in destinations:
                with destination.explained():
                    self._complete(destination, target, wanted)
                total += Stats(len(wanted), size, len(self._files) - len(wanted), everything - size)
        return total

    def _npmignore(self, raw: str, path: str) -> str | None:
        """pacote's rule: `.gitignore` is renamed, unless a `.npmignore` beside it came first."""
        folder, _, name = raw.rpartition("/")
        if name == ".npmignore":
            self._ignore_files.add(folder)
        elif name == ".gitignore":
            return None if folder in self._ignore_files else path.removesuffix(".gitignore") + ".npmignore"
        return path

    def _store(self, path: str, member: Member) -> None:
        before = self._files.get(path)
        # The first one's mode stays, as npm has it.
        mode = before.mode if before else ((0o666 if member.mode is None else member.mode) | 0o666) & 0o755
        pruned = any(target.policy in (Policy.LOADABLE, Policy.DECLARED) for target in self._by_target)
        held = path == _MANIFEST or (pruned and prune.held(path))
        now = [d for target, all_ in self._by_target.items() if target.takes_at_once(path) for d in all_]
        pieces: Iterable[bytes | memoryview] = self._reader.chunks()
        offset = None
        if held:
            offset = self._spool.seek(0, os.SEEK_END)
            pieces = self._spooled(pieces)
        if member.size <= _SMALL:
            pieces = [b"".join(pieces)]
        self._files[path] = _File(member.size, mode, offset)
        source = ""
        for destination in now:
            with destination.explained():
                if source:
                    with Path(source).open("rb") as first:
                        destination.write(
                            path, mode, iter(lambda: first.read(_SMALL), b""), again=bool(before)
                        )
                else:
                    full = destination.write(path, mode, pieces, again=bool(before))
                    source = full if member.size > _SMALL else ""
        if not now:
            for _ in pieces:
                pass

    def _spooled(self, pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        for piece in pieces:
            try:
                self._spool.write(piece)
            except OSError as error:
                raise BadInputError(
                    f"{tempfile.gettempdir()}: {self._package.key} cannot be spooled ({error.strerror}); "
                    "make room there or set TMPDIR to another place"
                ) from error
            yield piece

    def _wanted(self, target: Target, destination: Destination) -> set[str]:
        """The files of the package that this target gets."""
        files = {path for path in self._files if target.owns(path)}
        if target.policy is Policy.ALL:
            return files
        if target.policy is Policy.WHOLE:
            return {path for path in files if not prune.is_source_map(path)}
        return prune.keep(
            files,
            self._manifest(),
            lambda path: self._content(path, destination),
            declarations=target.policy is Policy.DECLARED,
        )

    def _manifest(self) -> object:
        """What `package.json` says, None where it says nothing that can be read."""
        file = self._files.get(_MANIFEST)
        if file is None or file.size > _SPOOL:
            return None
        try:
            return json.loads(b"".join(self._held(file)).decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return None

    def _held(self, file: _File) -> Iterator[bytes]:
        start = file.offset or 0
        for offset in range(start, start + file.size, _SMALL):
            self._spool.seek(offset)
            yield self._spool.read(min(_SMALL, start + file.size - offset))

    def _content(self, path: str, destination: Destination) -> bytes | mmap.mmap | None:
        """A file's content for `prune.keep`, None where it is held back and too long for memory."""
        file = self._files[path]
        if file.offset is not None:
            return b"".join(self._held(file)) if file.size <= _SPOOL else None
        folder, _, name = path.rpartition("/")
        with Path(destination.make(folder), name).open("rb") as on_disk:
            if file.size <= _SMALL:
                return on_disk.read()
            return mmap.mmap(on_disk.fileno(), 0, access=mmap.ACCESS_READ)

    def _complete(self, destination: Destination, target: Target, wanted: set[str]) -> None:
        destination.make("")
        late = [path for path in wanted if not target.takes_at_once(path)]
        for path in sorted(late, key=lambda path: (path == _MANIFEST, path)):
            file = self._files[path]
            destination.write(path, file.mode, self._held(file), again=False)
        destination.settle()
