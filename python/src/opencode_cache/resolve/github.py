"""Plugins out of GitHub repositories: pinned by commit, fetched as GitHub's archive of that commit, by hash.

OpenCode 1.14 to 1.18 hands a spec such as `github:owner/repo#REV` or `name@github:owner/repo#REV` to npm
as it is. It counts as installed (`packages/opencode/src/npm/index.ts`, `Npm.add`; tried on 1.18.33) when
`packages/<spec>/node_modules/<name>` exists, where the name is the one before the `@`, else the whole spec.
npm itself would take the same archive and, with scripts ignored, nothing but it.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.model import first_problem
from opencode_cache.fetch.github import download
from opencode_cache.fetch.tarballs import integrity
from opencode_cache.formats.lock import Package
from opencode_cache.npm import spec as npm_spec
from opencode_cache.npm.answers import licence
from opencode_cache.resolve.metadata import bins

if TYPE_CHECKING:
    from opencode_cache.npm.repository import Pin


def take(pinned: Pin, to: Path) -> tuple[Package, Path]:
    """Download a commit for the first time: the package for the lock, and its archive under the lock's name.

    The version is that of its package.json and, behind a `+`, the commit. Raises NetworkError, BadInputError.
    """
    part = download(pinned, to)
    try:
        document = _manifest(part, pinned)
        version = str(document.get("version") or "0.0.0").partition("+")[0]
        name = pinned.name or document.get("name")
        if not isinstance(name, str):
            raise BadInputError(f"{pinned.source}: its package.json has no name; write 'NAME@github:…'")
        if not npm_spec.is_name(name):
            raise BadInputError(f"{pinned.source}: its name {name!r} cannot be used; write 'NAME@github:…'")
        package = Package(
            name=name,
            version=f"{version}+{pinned.commit[:12]}",
            integrity=integrity(part),
            size=part.stat().st_size,
            license=licence(document.get("license")),
            bin=bins(name, document.get("bin")),
            github=pinned.source,
        )
        archive = to / package.tarball
        part.replace(archive)
    except ValueError as error:
        why = first_problem(error) if isinstance(error, ValidationError) else error
        raise BadInputError(f"{pinned.source}: its package.json cannot be used ({why})") from error
    finally:
        part.unlink(missing_ok=True)
    return package, archive


def _manifest(archive: Path, pinned: Pin) -> dict[str, Any]:
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                if PurePosixPath(member.name).parts[1:] == ("package.json",) and member.isfile():
                    content = packed.extractfile(member)
                    document = json.load(content) if content else None
                    if isinstance(document, dict):
                        return document
    except (tarfile.TarError, OSError, EOFError) as error:
        # tarfile has a line for each compression that it has tried.
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise NetworkError(f"{pinned.source}: what came is no archive ({why}); try again") from error
    raise BadInputError(f"{pinned.source}: has no package.json, so it is no plugin that npm could install")
