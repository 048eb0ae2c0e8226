"""Plugins out of GitHub repositories: pinned by commit, fetched as GitHub's archive of that commit, by hash.

OpenCode 1.14 to 1.18 hands a spec such as `github:owner/repo#REV` or `name@github:owner/repo#REV` to npm
as it is. It counts as installed (`packages/opencode/src/npm/index.ts`, `Npm.add`; tried on 1.18.33) when
`packages/<spec>/node_modules/<name>` exists, where the name is the one before the `@`, else the whole spec.
npm itself would take the same archive and, with scripts ignored, nothing but it.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import requests
from pydantic import ValidationError

from . import specs
from .entries import bins, licence
from .errors import BadInputError, NetworkError
from .lock import Package, first_problem
from .tarball import integrity

if TYPE_CHECKING:
    from collections.abc import Iterable

ARCHIVES = "OPENCODE_CACHE_GITHUB_ARCHIVES"
"""Environment: the base of `<base>/<owner>/<repo>/tar.gz/<commit>`, for mirrors."""

_DEFAULT = "https://codeload.github.com"
_SPEC = re.compile(r"(?:(?P<name>(?:@[^/@]+/)?[^/@:]+)@)?github:(?P<rest>.*)")
_REST = re.compile(r"(?P<owner>[A-Za-z0-9-]+)/(?P<repo>[A-Za-z0-9_.-]+?)(?:\.git)?#(?P<commit>[0-9a-f]{40})")
_OTHER = re.compile(
    r"(?:git\+|git:|https?:|gitlab:|bitbucket:|gist:)|@(?:git\+|git:|https?:)|\A[\w-][\w.-]*/[\w.-]+(?:#|\Z)"
)
"""The last one is npm's short form for GitHub, `owner/repo`."""
_CHUNK = 1 << 16
_TIMEOUT = (10, 60)


@dataclass(frozen=True)
class Pin:
    """One commit of a repository, and the name that the spec gives the package, if it does."""

    owner: str
    repo: str
    commit: str
    name: str | None = None

    @property
    def source(self) -> str:
        """As a lock has it: `owner/repo#commit`."""
        return f"{self.owner}/{self.repo}#{self.commit}"

    @property
    def url(self) -> str:
        base = os.environ.get(ARCHIVES) or _DEFAULT
        return f"{base.rstrip('/')}/{self.owner}/{self.repo}/tar.gz/{self.commit}"


def pin(spec: str) -> Pin | None:
    """The commit that a spec names; None for a spec of the npm registry.

    Raises BadInputError for a GitHub spec without a whole commit, and for other kinds of repositories.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        if _OTHER.search(spec):
            raise BadInputError(
                f"plugins: {spec!r} cannot be locked; write 'github:OWNER/REPO#COMMIT' or an npm name"
            )
        return None
    rest = _REST.fullmatch(match["rest"])
    if rest is None:
        where = match["rest"].partition("#")[0]
        raise BadInputError(
            f"plugins: {spec!r} names no commit; write '{spec.partition('#')[0]}#COMMIT' here and in "
            f"opencode.json, with the 40 hex digits of `git ls-remote https://github.com/{where} HEAD`"
        )
    return Pin(rest["owner"], rest["repo"], rest["commit"], match["name"])


def _download(pinned: Pin, to: Path) -> Path:
    """The archive in a file of its own in `to`. Raises NetworkError or BadInputError."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".github-", suffix=".part", dir=to)
    except OSError as error:
        raise BadInputError(f"{to}: cannot be written ({error.strerror}); choose another place") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _receive(pinned, file)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, requests.RequestException):
            raise NetworkError(
                f"{pinned.source}: GitHub cannot be reached ({type(error).__name__}); see your proxy settings"
            ) from error
        if isinstance(error, OSError):
            raise BadInputError(f"{to}: cannot be written ({error.strerror}); free some space") from error
        raise
    return part


def _receive(pinned: Pin, file: BinaryIO) -> None:
    with requests.get(pinned.url, stream=True, timeout=_TIMEOUT) as answer:
        _check(pinned, answer.status_code)
        file.writelines(answer.iter_content(_CHUNK))


def _check(pinned: Pin, status: int) -> None:
    if status == requests.codes.not_found:
        raise BadInputError(
            f"{pinned.source}: GitHub shows no such commit to the public; mend the plugin's spec"
        )
    if status != requests.codes.ok:
        raise NetworkError(f"{pinned.source}: GitHub answers {status}; try again later")


def take(pinned: Pin, to: Path) -> tuple[Package, Path]:
    """Download a commit for the first time: the package for the lock, and its archive under the lock's name.

    The version is that of its package.json and, behind a `+`, the commit. Raises NetworkError, BadInputError.
    """
    part = _download(pinned, to)
    try:
        document = _manifest(part, pinned)
        version = str(document.get("version") or "0.0.0").partition("+")[0]
        name = pinned.name or document.get("name")
        if not isinstance(name, str):
            raise BadInputError(f"{pinned.source}: its package.json has no name; write 'NAME@github:…'")
        if not specs.is_name(name):
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


def fetch(packages: Iterable[Package], to: Path) -> None:
    """Make sure that `to` holds the archive of each package that comes from GitHub. Raises NetworkError."""
    for package in packages:
        archive = to / package.tarball
        pinned = pin(f"github:{package.github}")
        if pinned is None or (archive.exists() and integrity(archive) == package.integrity):
            continue
        part = _download(pinned, to)
        try:
            found = integrity(part)
            if found != package.integrity:
                raise NetworkError(
                    f"{package.key}: GitHub's archive has {found}, the lock {package.integrity}; lock again"
                )
            part.replace(archive)
        finally:
            part.unlink(missing_ok=True)
