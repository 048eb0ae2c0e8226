"""Writes the grammars of a lock's languages into a cache, where OpenTUI looks for them first.

They are `tree-sitter/{languages,queries}/`, under OpenTUI's own names, and `tree-sitter/files.json` says
which file stands for which URL: language -> URL -> path beside it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.build.unpack.tar import Kind, Reader
from opencode_cache.formats.grammar import DIRECTORY, INDEX, split
from opencode_cache.opencode.highlighting import why_not

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from opencode_cache.formats.grammar import Grammar
    from opencode_cache.formats.lock import Package
    from opencode_cache.opencode.highlighting import Remote


_NOTHING_MORE = b"; what this stands for is in the first of the queries\n"
"""OpenTUI joins the queries of a language, and takes an empty file for one that is not there."""


def missing(known: Mapping[str, Remote], pinned: Collection[str]) -> list[str]:
    """The languages that the interface will ask GitHub for when it first shows them, sorted."""
    return sorted(name for name in known if name not in pinned)


def install(
    pins: Mapping[str, Grammar],
    known: Mapping[str, Remote],
    locked: Mapping[str, Package],
    tarballs: Path,
    cache: Path,
) -> None:
    """Write the pinned languages into a cache.

    `known` is what the binary at hand fetches, `locked` has the packages by key, `tarballs` holds files named
    `Package.tarball`. Raises BadInputError where the binary never fetches a language, a package is not in the
    lock, a tarball is damaged or has no such file, and OSError where the cache cannot be written.
    """
    for name in pins:
        if name not in known:
            raise BadInputError(f"languages: {why_not(name, known, ())}, or lock again")
    if not pins:
        return
    content = _read(pins.values(), locked, tarballs)
    written: dict[str, bytes] = {}
    for name, pin in pins.items():
        remote = known[name]
        queries = [content[file] for file in pin.queries]
        written[remote.language_file] = content[pin.wasm]
        for url, where in remote.query_files.items():
            written[where] = b"\n".join(queries) if url == remote.highlights[0] else _NOTHING_MORE
    index = {name: known[name].files for name in pins}
    written[INDEX] = (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
    for where, body in sorted(written.items()):
        path = cache / DIRECTORY / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        path.chmod(0o644)
        for directory in (path.parent, cache / DIRECTORY):
            directory.chmod(0o755)


def _read(pins: Iterable[Grammar], locked: Mapping[str, Package], tarballs: Path) -> dict[str, bytes]:
    """The content of every file of the pins. Each tarball is read once, and its hash checked."""
    wanted: dict[str, dict[str, str]] = {}
    for pin in pins:
        for file in (pin.wasm, *pin.queries):
            package, path = split(file)
            wanted.setdefault(package, {})[path] = file
    content: dict[str, bytes] = {}
    for key, paths in sorted(wanted.items()):
        if key not in locked:
            raise BadInputError(f"languages: the lock has no package {key}; lock again")
        texts = _take(locked[key], tarballs / locked[key].tarball, paths)
        for path, file in paths.items():
            if not texts.get(path):
                raise BadInputError(f"languages: {key} has no file {path!r}, or an empty one; pin another")
            content[file] = texts[path]
    return content


def _take(package: Package, tarball: Path, paths: Collection[str]) -> dict[str, bytes]:
    texts = {}
    try:
        with files.open_regular(tarball) as file:
            reader = Reader(file, package, tarball)
            for member in reader:
                # npm takes the first part for the package's own directory, whatever it is called.
                path = member.path.partition("/")[2]
                if member.kind is Kind.FILE and path in paths:
                    texts[path] = b"".join(reader.chunks())
    except OSError as error:
        raise BadInputError(
            f"{package.key}: {tarball} cannot be read ({error.strerror}); run `opencode-cache fetch` first"
        ) from error
    return texts
