"""Makes an air-gap bundle: OpenCode, its cache, the wrapper and an installer as one `.tar.zst`.

`file_format` says what is in the file and how it is covered. The same input, day and serial give the same
bytes on every machine and with every number of threads; SOURCE_DATE_EPOCH names the day. Another version of
the library zstd may compress otherwise; what is in the bundle, and its generation's name, stays even then.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import zstandard

from opencode_cache import __version__
from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest as manifests
from opencode_cache.ship import parts, policy, signing, source_date
from opencode_cache.ship import since as older
from opencode_cache.ship.file_format import (
    BLOCK,
    CONTENTS,
    DATA_MODE,
    END,
    INFO,
    INSTALLER,
    MAX_LIST,
    MAX_SERIAL,
    PROGRAM_MODE,
    SIGNATURE,
    SUMS,
    TRAILER,
    BundleInfo,
    Entry,
    Listing,
    Rest,
    document_header,
    in_order,
)
from opencode_cache.ship.installation import Choices, installation
from opencode_cache.ship.items import Item, needs_avx2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO


LEVEL = 9
"""Measured with OpenCode 1.18.33 and its cache, 269 MB, two cores: level 3 makes 67 MB in 0.5 s, 9 makes
59 MB in 2 s, 15 makes 58 MB in 24 s, 19 makes 52 MB in 49 s."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written."""

    file: Path
    sha256: str
    """Of the whole file, hexadecimal."""
    packed: int
    """The file's length, in bytes."""
    infos: tuple[BundleInfo, ...]
    """Of each system."""
    listing: Listing
    step: bool
    """Whether it has only what has changed since an older one."""
    signed: bool


@dataclass(frozen=True)
class Tree:
    """What one system gets: all but the lists."""

    info: BundleInfo
    items: Mapping[str, Item]
    cache: Path


def tree(cache: Path, opencode: Path, choices: Choices | None = None, *, serial: int = 0) -> Tree:
    """What a bundle has of a cache and an OpenCode program.

    `serial` tells bundles of one day apart. Raises BadInputError for a directory that is not a whole cache,
    for a program that runs nowhere else, for a proof of something else, for names that cannot be in a bundle,
    and for a SOURCE_DATE_EPOCH that is no time.
    """
    if not 0 <= serial <= MAX_SERIAL:
        raise BadInputError(f"--serial {serial}: give a number from 0 to {MAX_SERIAL}")
    choices = choices or Choices()
    manifest = manifests.read(cache)
    info = BundleInfo(
        builder=__version__,
        date=source_date.today(),
        serial=serial,
        opencode=manifest.opencode,
        system=manifest.system,
        ripgrep=choices.ripgrep is not None,
        node=choices.node is not None,
        avx2=needs_avx2(opencode),
    )
    return Tree(info, {**_documents(info), **installation(manifest, cache, opencode, choices)}, cache)


def bundle(
    trees: Sequence[Tree], out: Path, *, since: Path | None = None, sign_key: Path | None = None
) -> Bundle:
    """Write the bundle of one or more systems' trees to `out`, at once or not at all.

    `since` is an older bundle, or an installed generation: what is in it stays out. `sign_key` is a private
    key of SSH's or of minisign's. Raises BadInputError for names that cannot be in a bundle, for trees that
    cannot be in one together, and where `out` cannot be written.
    """
    if out.is_dir():
        raise BadInputError(
            f"{out}: is a directory; give the name of a file, such as {out / 'opencode.tar.zst'}"
        )
    with _explained(out), files.beside(out) as beside:
        whole = since is None and len(trees) == 1
        items = trees[0].items if whole else _in_parts(trees, since, beside)
        listing = _listing(items, trees[0].cache)
        signature = signing.sign(listing.sums, sign_key, beside) if sign_key else None
        sha256, packed = _write(listing, items, signature, beside / "bundle")
        (beside / "bundle").replace(out)
    infos = tuple(tree.info for tree in trees)
    return Bundle(out, sha256, packed, infos, listing, since is not None, signature is not None)


def _in_parts(trees: Sequence[Tree], since: Path | None, scratch: Path) -> dict[str, Item]:
    first = trees[0].info
    by_system = {tree.info.system: (_listing(tree.items, tree.cache), tree.items) for tree in trees}
    if len(by_system) < len(trees) or any(tree.info.opencode != first.opencode for tree in trees):
        named = ", ".join(f"OpenCode {tree.info.opencode} for {tree.info.system}" for tree in trees)
        raise BadInputError(f"{named}: cannot be in one bundle; give one OpenCode, and each system once")
    step = older.Step()
    if since is not None:
        step = older.step(older.read(since, list(by_system), scratch / "older"), by_system, scratch)
    info = parts.PartsInfo(
        builder=first.builder,
        date=first.date,
        serial=first.serial,
        opencode=first.opencode,
        systems=tuple(sorted(by_system)),
        since=dict(sorted(step.keys.items())),
    )
    return {**_documents(info), **parts.items(by_system, step.left_out, step.patches)}


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Turn the system's errors into a sentence."""
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{out}: the bundle cannot be made ({error.filename or out}: {error.strerror}); "
            "make room there, or choose another place"
        ) from error


def _documents(info: BundleInfo | parts.PartsInfo) -> dict[str, Item]:
    installer = resources.files(__package__).joinpath("install.sh").read_bytes()
    return {
        INFO: Item(data=(info.model_dump_json(indent=2) + "\n").encode(), mode=DATA_MODE),
        INSTALLER: Item(data=installer, mode=PROGRAM_MODE),
    }


def _listing(items: Mapping[str, Item], cache: Path) -> Listing:
    try:
        policy.check_count(len(items))
        entries = in_order(_entry(path, item) for path, item in items.items())
        digest, size = hashlib.sha256(), 0
        for piece in _rest(entries, items):
            digest.update(piece)
            size += len(piece)
        listing = Listing(entries, Rest(size, digest.hexdigest()))
    except ValueError as error:
        raise BadInputError(f"{cache}: cannot be bundled ({error}); build the cache without it") from error
    if max(len(listing.sums), len(listing.contents)) > MAX_LIST:
        raise BadInputError(f"{cache}: {len(entries)} files are too many for a bundle; leave some out")
    return listing


def _entry(path: str, item: Item) -> Entry:
    if item.file is None and item.data is None:
        return Entry(kind="l" if item.target else "d", mode=item.mode, path=path, target=item.target)
    digest, size = hashlib.sha256(), 0
    for piece in item.pieces():
        digest.update(piece)
        size += len(piece)
    return Entry(kind="f", mode=item.mode, size=size, path=path, sha256=digest.hexdigest())


def _write(listing: Listing, items: Mapping[str, Item], signature: bytes | None, to: Path) -> tuple[str, int]:
    """Write the file, with the mode that every new file of that user has; its sha256 and its length."""
    with to.open("xb") as file:
        packed = _Hashed(file)
        for piece in compressed(_tar(listing, items, signature)):
            packed.write(piece)
        packed.write(TRAILER)
        packed.write(packed.digest.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())
    return packed.digest.hexdigest(), packed.length


class _Hashed:
    """Writes to a file and knows what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.length = 0

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self.digest.update(piece)
        self.length += len(piece)


def compressed(pieces: Iterator[bytes], threads: int | None = None) -> Iterator[bytes]:
    """One zstd frame with a checksum, the same for every number of threads (facebook/zstd#2238)."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, threads=threads or os.cpu_count() or 1, write_checksum=1, write_content_size=0, write_dict_id=0
    )
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _tar(listing: Listing, items: Mapping[str, Item], signature: bytes | None) -> Iterator[bytes]:
    documents = {
        SUMS: listing.sums,
        **({SIGNATURE: signature} if signature else {}),
        CONTENTS: listing.contents,
    }
    for name, data in documents.items():
        yield document_header(name, len(data)) + data + bytes(-len(data) % BLOCK)
    yield from _rest(listing.entries, items)


def _rest(entries: Iterable[Entry], items: Mapping[str, Item]) -> Iterator[bytes]:
    for entry in entries:
        yield entry.header
        if entry.kind == "f":
            yield from _body(entry, items[entry.path])
    yield END


def _body(entry: Entry, item: Item) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for piece in item.pieces():
        digest.update(piece)
        size += len(piece)
        yield piece
    if (digest.hexdigest(), size) != (entry.sha256, entry.size):
        raise BadInputError(f"{item.file}: changed while it was read; bundle again")
    yield bytes(-size % BLOCK)
