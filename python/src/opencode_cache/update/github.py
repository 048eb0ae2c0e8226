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

from pydantic import AliasPath, AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from opencode_cache.base import console, http
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.model import first_problem
from opencode_cache.opencode import versions

if TYPE_CHECKING:
    from pathlib import Path

_T = TypeVar("_T")
OPENCODE = "anomalyco/opencode"
_PAGES, _PER_PAGE = 3, 30
_JSON = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


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
        match = re.fullmatch(rf"v({versions.RELEASE})", self.tag_name)
        return match[1] if match else None

    def asset(self, name: str) -> Asset | None:
        """The file of that name in the release, or None."""
        return next((asset for asset in self.assets if asset.name == name), None)


class _Commit(BaseModel):
    sha: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    date: Annotated[AwareDatetime, Field(validation_alias=AliasPath("commit", "committer", "date"))]


@dataclass(frozen=True)
class Revision:
    """A commit, and when it was committed (seconds since 1970, Nix's `lastModified`)."""

    rev: str
    last_modified: int

    @property
    def day(self) -> str:
        """The revision's day in UTC: `2026-11-26`."""
        return datetime.fromtimestamp(self.last_modified, timezone.utc).date().isoformat()


@dataclass(frozen=True)
class GitHub:
    """GitHub. Everything raises http's UnreachableError, AbsentError, or another NetworkError."""

    client: http.Client = field(
        default_factory=lambda: http.Client(login="GITHUB_TOKEN", on_wait=console.step)
    )
    api: str = field(default_factory=lambda: _setting("OPENCODE_CACHE_GITHUB_API", "https://api.github.com"))
    archives: str = field(default_factory=lambda: _setting("OPENCODE_CACHE_GITHUB", "https://github.com"))

    def releases(self) -> list[Release]:
        """The newest releases of OpenCode, without drafts, pre-releases and other things; newest first."""
        by_version: dict[str, Release] = {}
        for page in range(1, _PAGES + 1):
            told = self._ask(f"repos/{OPENCODE}/releases?per_page={_PER_PAGE}&page={page}", list[Release])
            by_version |= {r.version: r for r in told if r.version and not r.draft and not r.prerelease}
            if by_version or len(told) < _PER_PAGE:
                break
        return [by_version[version] for version in sorted(by_version, key=versions.numbers, reverse=True)]

    def release(self, version: str) -> Release:
        """The release of an OpenCode version. Raises NetworkError where it cannot be had."""
        return self._ask(f"repos/{OPENCODE}/releases/tags/v{versions.release(version)}", Release)

    def newest(self, owner: str, repo: str, ref: str | None) -> Revision:
        """The newest commit of a branch, of the default one where `ref` is None."""
        commit = self._ask(f"repos/{owner}/{repo}/commits/{ref or 'HEAD'}", _Commit)
        return Revision(commit.sha, int(commit.date.timestamp()))

    def archive(self, version: str, asset: Asset, to: Path) -> Path:
        """The archive of a release, in that directory; one that is there already is not downloaded again."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", asset.name):
            raise NetworkError(f"{asset.name!r} is not a file name for a release archive; nothing was taken")
        target = to / f"{OPENCODE.replace('/', '+')}-v{versions.release(version)}-{asset.name}"
        part = target.with_name(f"{target.name}.part")
        if asset.size > http.MOST:
            raise NetworkError(f"{target.name} has {asset.size} bytes; more than {http.MOST} are not taken")
        if target.is_file() and _whole(target, asset):
            return target
        url = f"{self.archives}/{OPENCODE}/releases/download/v{version}/{asset.name}"
        try:
            to.mkdir(parents=True, exist_ok=True)
            console.step(f"fetching {asset.name} {version} from GitHub")
            with part.open("a+b") as file, console.downloading(1, asset.size) as on_bytes:
                self.client.save(url, file, most=asset.size, size=asset.size, on_bytes=on_bytes)
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
        token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
        login = {"Authorization": f"Bearer {token}"} if token else {}
        body = self.client.read(f"{self.api}/{path}", _JSON | login)
        try:
            return TypeAdapter(shape).validate_json(body)
        except ValidationError as error:
            raise NetworkError(
                f"{self.api}/{path} does not answer as GitHub does ({first_problem(error)}); "
                "nothing was changed"
            ) from error


def _whole(path: Path, asset: Asset) -> bool:
    """Whether it is what the list says; where that has no digest, the archive's own checksum has to do."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return file.tell() == asset.size and asset.digest in (None, f"sha256:{digest.hexdigest()}")


def _setting(name: str, default: str) -> str:
    return http.checked_base(os.environ.get(name) or default, name)
