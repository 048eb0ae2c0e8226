"""Lays a lock's packages out as a private npm registry keeps them: to fill one that reaches no other.

Verdaccio (6: `@verdaccio/local-storage`, a directory a package with `package.json`, its document, beside
`NAME-VERSION.tgz`) takes the directory as its storage; other packages and versions that are there stay.
Artifactory's layout `npm-default` has the tarballs in the same places, and makes the documents itself.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import semver

from opencode_cache.base import archive, files
from opencode_cache.base.errors import BadInputError
from opencode_cache.build.unpack.tar import Kind, Reader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opencode_cache.formats.lock import Package

_DOCUMENT = "package.json"
_NOWHERE = "http://localhost"
"""A registry puts its own address there, and looks at nothing but the file's name."""


def write(packages: Iterable[Package], tarballs: Path, to: Path) -> int:
    """Add the packages, whose tarballs are in `tarballs`, to the storage `to`; how many there are.

    Raises BadInputError for what cannot be written, for a tarball that is not the lock's, and for a version
    that is there already with other bytes. What was there stays as it was until its document is replaced.
    """
    by_name: dict[str, list[Package]] = {}
    for package in packages:
        by_name.setdefault(package.name, []).append(package)
    try:
        for name, same in sorted(by_name.items()):
            _add(name, same, tarballs, to / name)
    except OSError as error:
        raise BadInputError(
            f"{to}: cannot be written ({error.strerror}); make room there, or choose another --to"
        ) from error
    return sum(map(len, by_name.values()))


def _add(name: str, packages: Iterable[Package], tarballs: Path, directory: Path) -> None:
    document = _document(name, directory / _DOCUMENT)
    directory.mkdir(parents=True, exist_ok=True)
    for package in packages:
        file = f"{name.rpartition('/')[2]}-{package.version}.tgz"
        there = document["versions"].get(package.version)
        if there is not None and there["dist"].get("integrity") != package.integrity:
            raise BadInputError(
                f"{directory / _DOCUMENT}: has another {package.key} than the lock; choose another --to"
            )
        manifest, sha1 = _read(package, tarballs / package.tarball)
        with files.beside(directory / file) as beside:
            (beside / file).write_bytes((tarballs / package.tarball).read_bytes())
            (beside / file).chmod(0o644)
            (beside / file).replace(directory / file)
        document["versions"][package.version] = manifest | {
            "_id": package.key,
            "name": name,
            "version": package.version,
            "dist": {
                "integrity": package.integrity,
                "shasum": sha1,
                "tarball": f"{_NOWHERE}/{name}/-/{file}",
            },
        }
        document["_attachments"][file] = {"shasum": sha1, "version": package.version}
    document["dist-tags"]["latest"] = max(document["versions"], key=_precedence)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    files.write_atomically(directory / _DOCUMENT, text + "\n")


def _document(name: str, path: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "_id": name,
        "name": name,
        "_rev": "",
        "readme": "",
        **{key: {} for key in ("versions", "dist-tags", "time", "_uplinks", "_distfiles", "_attachments")},
    }
    try:
        document: Any = json.loads(files.read_text(path, files.DOCUMENT))
        right = isinstance(document, dict) and all(
            isinstance(document.get(key, {}), dict) for key in ("versions", "dist-tags", "_attachments")
        )
    except FileNotFoundError:
        return empty
    except (ValueError, RecursionError):
        right = False
    if not right or not all(isinstance(one.get("dist"), dict) for one in document["versions"].values()):
        raise BadInputError(f"{path}: is not a document of a registry; remove it, or choose another --to")
    return {**empty, **document}


def _read(package: Package, tarball: Path) -> tuple[dict[str, Any], str]:
    """The package.json of a tarball, which is read to its end and has the lock's hash; the tarball's sha1."""
    manifest = None
    with files.open_regular(tarball) as file:
        reader = Reader(file, package, tarball)
        for member in reader:
            if member.kind is not Kind.FILE or archive.below(member.path) != _DOCUMENT:
                continue
            if member.size <= files.SETTINGS:
                manifest = b"".join(reader.chunks())
    try:
        parsed = json.loads((manifest or b"").decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadInputError(
            f"{package.key}: its package.json cannot be read; lock another version"
        ) from error
    if not isinstance(parsed, dict):
        raise BadInputError(f"{package.key}: its package.json is no table; lock another version of it")
    return parsed, hashlib.sha1(tarball.read_bytes(), usedforsecurity=False).hexdigest()


def _precedence(version: str) -> tuple[bool, semver.Version]:
    """A version that is no preview is newer than every preview, as npm's `latest` has it."""
    if not semver.Version.is_valid(version):
        return False, semver.Version(0)
    parsed = semver.Version.parse(version)
    return not parsed.prerelease, parsed
