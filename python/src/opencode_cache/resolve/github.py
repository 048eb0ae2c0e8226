"""Plugins out of GitHub repositories: pinned by commit, fetched as GitHub's archive of that commit, by hash.

OpenCode 1.14 to 1.18 hands a spec such as `github:owner/repo#REV` or `name@github:owner/repo#REV` to npm
as it is. It counts as installed (`packages/opencode/src/npm/index.ts`, `Npm.add`; tried on 1.18.33) when
`packages/<spec>/node_modules/<name>` exists, where the name is the one before the `@`, else the whole spec.
npm itself would take the same archive and, with scripts ignored, nothing but it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from opencode_cache.base import archive as policy
from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.model import first_problem, parsed_json
from opencode_cache.build.unpack.tar import DamagedError, HostileError, Kind, Member, Reader
from opencode_cache.fetch.github import downloaded
from opencode_cache.fetch.tarballs import integrity
from opencode_cache.formats.lock import Package
from opencode_cache.npm import spec as npm_spec
from opencode_cache.npm.answers import licence
from opencode_cache.resolve.metadata import bins

if TYPE_CHECKING:
    from pathlib import Path

    from opencode_cache.npm.repository import Pin


def take(pinned: Pin, to: Path) -> tuple[Package, Path]:
    """Download a commit for the first time: the package for the lock, and its archive under the lock's name.

    The version is that of its package.json and, behind a `+`, the commit. Raises NetworkError, BadInputError.
    """
    try:
        with downloaded(pinned, to) as part:
            package = _package(pinned, part)
            archive = to / package.tarball
            part.replace(archive)
    except (ValueError, TypeError, RecursionError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else error
        raise BadInputError(
            f"{pinned.source}: its package.json cannot be used ({why}); name another commit"
        ) from error
    return package, archive


def _package(pinned: Pin, part: Path) -> Package:
    digest = integrity(part)
    document = _manifest(part, pinned, digest)
    version = str(document.get("version") or "0.0.0").partition("+")[0]
    name = pinned.name or document.get("name")
    if not isinstance(name, str):
        raise BadInputError(f"{pinned.source}: its package.json has no name; write 'NAME@github:…'")
    if not npm_spec.is_name(name):
        raise BadInputError(f"{pinned.source}: its name {name!r} cannot be used; write 'NAME@github:…'")
    return Package(
        name=name,
        version=f"{version}+{pinned.commit[:12]}",
        integrity=digest,
        size=part.stat().st_size,
        license=licence(document.get("license")),
        bin=bins(name, document.get("bin")),
        github=pinned.source,
    )


def _manifest(archive: Path, pinned: Pin, digest: str) -> dict[str, Any]:
    """The package.json of an archive, which is read to its end by the rules for all archives."""
    # Errors speak of it; what it is really called stands in it.
    unnamed = Package(name="archive", version="0.0.0", integrity=digest)
    document = None
    try:
        with archive.open("rb", buffering=0) as file:
            reader = Reader(file, unnamed, archive)
            for member in reader:
                if member.kind is Kind.FILE and policy.below(member.path) == "package.json":
                    document = _parsed(reader, member)
    except DamagedError as error:
        raise NetworkError(
            f"{pinned.source}: what GitHub sent is not an archive ({_why(error)}); try again"
        ) from error
    except (HostileError, policy.RefusedError) as error:
        raise BadInputError(f"{pinned.source}: its archive {_why(error)}; it cannot be used") from error
    if document is None:
        raise BadInputError(
            f"{pinned.source}: has no package.json, so npm cannot install it; name another plugin"
        )
    return document


def _why(error: Exception) -> str:
    """What is wrong, without the name of a file that is gone by then."""
    reason = (
        str(error).partition(" ")[2].partition(" ")[2]
        if isinstance(error, BadInputError)
        else f"holds {error}"
    )
    return reason.rpartition("; ")[0].removesuffix(", which is refused") or reason


def _parsed(reader: Reader, member: Member) -> dict[str, Any]:
    """A package.json. Raises ValueError where it cannot be used."""
    if member.size > files.SETTINGS:
        raise ValueError(f"it has more than {files.SETTINGS} bytes")
    try:
        document = parsed_json(b"".join(reader.chunks()).decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(document, dict):
        raise TypeError("it is not a JSON object")
    return document
