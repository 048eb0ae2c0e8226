"""What GitHub knows: releases of OpenCode with their archives, and the newest commit of a branch.

Where to ask can be set, for mirrors and tests: OPENCODE_CACHE_GITHUB_API, and OPENCODE_CACHE_GITHUB for the
archives. GITHUB_TOKEN (or GH_TOKEN) goes to the first of them alone.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.model import first_problem
from opencode_cache.update.door import Door, checked_base

if TYPE_CHECKING:
    from pathlib import Path

_T = TypeVar("_T")
OPENCODE = "anomalyco/opencode"
VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}", re.ASCII)
"""The only form of a version that reaches a path, an address or a file."""
MAX_ARCHIVE = 512 << 20
_TAG = re.compile(rf"v({VERSION.pattern})", re.ASCII)
_PAGES, _PER_PAGE = 3, 30


class Asset(BaseModel):
    """One file of a release. `size` in bytes; `digest` is `sha256:<hex>`, which old releases lack."""

    name: Annotated[str, Field(max_length=200)]
    size: Annotated[int, Field(ge=0)]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None


class Release(BaseModel):
    """A release, as GitHub's REST API tells it (`/repos/{owner}/{repo}/releases`, version 2022-11-28)."""

    tag_name: str
    draft: bool = False
    prerelease: bool = False
    assets: list[Asset] = []

    @property
    def version(self) -> str | None:
        """The version that the tag names; None for tags of other things."""
        match = _TAG.fullmatch(self.tag_name)
        return match[1] if match else None

    def asset(self, name: str) -> Asset | None:
        return next((asset for asset in self.assets if asset.name == name), None)


class _Person(BaseModel):
    date: AwareDatetime


class _CommitData(BaseModel):
    committer: _Person


class _Commit(BaseModel):
    sha: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    commit: _CommitData


@dataclass(frozen=True)
class Revision:
    """A commit, and when it was committed (seconds since 1970, Nix's `lastModified`)."""

    rev: str
    last_modified: int

    @property
    def day(self) -> str:
        return datetime.fromtimestamp(self.last_modified, timezone.utc).date().isoformat()


@dataclass(frozen=True)
class GitHub:
    """GitHub behind one door. Everything raises UnreachableError, AbsentError, or NetworkError."""

    door: Door = field(default_factory=lambda: Door(on_wait=console.step))
    api: str = field(default_factory=lambda: _setting("OPENCODE_CACHE_GITHUB_API", "https://api.github.com"))
    archives: str = field(default_factory=lambda: _setting("OPENCODE_CACHE_GITHUB", "https://github.com"))

    def releases(self) -> list[Release]:
        """The newest releases of OpenCode, without drafts, pre-releases and other things; newest first."""
        found: dict[str, Release] = {}
        for page in range(1, _PAGES + 1):
            told = self._ask(f"repos/{OPENCODE}/releases?per_page={_PER_PAGE}&page={page}", list[Release])
            found |= {r.version: r for r in told if r.version and not r.draft and not r.prerelease}
            if found or len(told) < _PER_PAGE:
                break
        return sorted(found.values(), key=lambda release: numbers(release.version or ""), reverse=True)

    def release(self, version: str) -> Release:
        return self._ask(f"repos/{OPENCODE}/releases/tags/v{_plain(version)}", Release)

    def newest(self, owner: str, repo: str, ref: str | None) -> Revision:
        """The newest commit of a branch, of the default one where `ref` is None."""
        commit = self._ask(f"repos/{owner}/{repo}/commits/{ref or 'HEAD'}", _Commit)
        return Revision(commit.sha, int(commit.commit.committer.date.timestamp()))

    def archive(self, version: str, asset: Asset, to: Path) -> Path:
        """The archive of a release, in that directory; one that is there already is not downloaded again."""
        name = f"{OPENCODE.replace('/', '+')}-v{_plain(version)}-{_file_name(asset.name)}"
        target, part = to / name, to / f"{name}.part"
        if asset.size > MAX_ARCHIVE:
            raise NetworkError(f"{target.name} has {asset.size} bytes; more than {MAX_ARCHIVE} are not taken")
        if target.is_file() and _whole(target, asset):
            return target
        url = f"{self.archives}/{OPENCODE}/releases/download/v{version}/{asset.name}"
        try:
            to.mkdir(parents=True, exist_ok=True)
            console.step(f"fetching {asset.name} {version} from GitHub")
            with part.open("a+b") as file, console.downloading(1, asset.size) as on_bytes:
                self.door.save(url, file, asset.size, on_bytes)
            if not _whole(part, asset):
                part.unlink()
                raise NetworkError(f"{url} is not what GitHub's list of the release says; run `update` again")
            part.replace(target)
        except OSError as error:
            raise BadInputError(
                f"{to}: cannot be written ({error.strerror}); free some space there"
            ) from error
        return target

    def _ask(self, path: str, shape: type[_T]) -> _T:
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = self.door.read(f"{self.api}/{path}", headers)
        try:
            return TypeAdapter(shape).validate_json(body)
        except ValidationError as error:
            raise NetworkError(
                f"{self.api}/{path} does not answer as GitHub does ({first_problem(error)}); "
                "nothing was changed"
            ) from error


def numbers(version: str) -> tuple[int, ...]:
    """For comparing two plain versions."""
    return tuple(int(part) for part in _plain(version).split("."))


def _plain(version: str) -> str:
    if not VERSION.fullmatch(version):
        raise BadInputError(f"{version!r} is not an OpenCode version; write it like 1.18.33")
    return version


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise NetworkError(f"{name!r} is no file name for a release archive; nothing was taken")
    return name


def _whole(path: Path, asset: Asset) -> bool:
    if path.stat().st_size != asset.size:
        return False
    if asset.digest is None:
        return True  # the archive's own checksum has to do
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return asset.digest == f"sha256:{digest.hexdigest()}"


def _setting(name: str, default: str) -> str:
    return checked_base(os.environ.get(name) or default, name)
