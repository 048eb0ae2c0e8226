"""The repository that `update` works on: its files as they were read, and what they say.

| file | what |
|---|---|
| `flake.nix`, `opencode/flake.nix` | the addresses of the release archives, literally |
| `flake.lock`, `opencode/flake.lock` | the pins of all inputs; the same bytes |
| `nix/releases.json` | system -> input and version of its release |
| `nix/locks/*.lock.json` | one lock for each version of OpenCode; `opencode-cache.lock.json` is the newest |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import Model, first_problem
from opencode_cache.formats import lock, shipped
from opencode_cache.npm import platforms
from opencode_cache.opencode import versions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FLAKES = ("flake.nix", "opencode/flake.nix")
FLAKE_LOCKS = ("flake.lock", "opencode/flake.lock")
RELEASES = "nix/releases.json"
NPM_LOCKS = "nix/locks"
MAIN_LOCK = f"{NPM_LOCKS}/{shipped.MAIN}"
CHANGELOG = "CHANGELOG.md"


class Release(Model):
    """An entry of nix/releases.json."""

    input: str
    version: Annotated[str, Field(pattern=f"^{versions.RELEASE}$")]


class Source(BaseModel):
    """A GitHub input's `original` in flake.lock (Nix, `src/libfetchers/github.cc`)."""

    owner: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")]
    repo: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    ref: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] | None = None
    rev: str | None = None


class Locked(BaseModel):
    """A GitHub input's `locked`."""

    rev: str
    last_modified: Annotated[int, Field(alias="lastModified")]


@dataclass(frozen=True)
class Checkout:
    """All files as texts, by path relative to `root`, and what they mean."""

    root: Path
    texts: Mapping[str, str]
    releases: Mapping[str, Release]
    flake_lock: dict[str, Any]
    npm_locks: Mapping[str, lock.Lock]
    """By path relative to `root`."""

    def url(self, system: str) -> str:
        """The address of the release archive for a system."""
        return str(self.flake_lock["nodes"][self.releases[system].input]["locked"]["url"])

    def archive(self, system: str) -> str:
        """The name of the archive for a system, the same in every version."""
        return self.url(system).rpartition("/")[2]

    def github_inputs(self) -> dict[str, tuple[Source, Locked]]:
        """Name of an input -> where it comes from, and its pin; inputs that name a revision are left out."""
        nodes = self.flake_lock["nodes"]
        inputs = {}
        for name, node in sorted((nodes["root"].get("inputs") or {}).items()):
            given = nodes[node] if isinstance(node, str) else {}
            if given.get("locked", {}).get("type") != "github":
                continue
            try:
                source = Source.model_validate(given.get("original"))
                pinned = Locked.model_validate(given["locked"])
            except ValidationError as error:
                raise _damaged(self.root / FLAKE_LOCKS[0], f"{name}: {first_problem(error)}") from error
            if source.rev is None:
                inputs[str(node)] = (source, pinned)
        return inputs


def _damaged(path: Path, why: str) -> BadInputError:
    return BadInputError(f"{path}: {why}; restore it with git")


def find(start: Path) -> Path:
    """The root of the repository around a directory. Raises BadInputError where there is none."""
    for directory in (start, *start.parents):
        if (directory / FLAKES[0]).is_file() and (directory / RELEASES).is_file():
            return directory
    raise BadInputError(
        f"{start}: neither it nor a directory above it has {FLAKES[0]} and {RELEASES}; "
        "run `update` in a checkout of this project"
    )


def read(root: Path) -> Checkout:
    """Read and check a repository. Raises BadInputError with the file and what is wrong in it."""
    paths = sorted((root / NPM_LOCKS).glob("*.lock.json"))
    npm_locks = {path.relative_to(root).as_posix(): lock.read(path) for path in paths}
    names = [*FLAKES, *FLAKE_LOCKS, RELEASES, CHANGELOG, *npm_locks]
    texts = {}
    for name in names:
        try:
            texts[name] = (root / name).read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(root / name, f"cannot be read ({error})") from error
    if texts[FLAKE_LOCKS[0]] != texts[FLAKE_LOCKS[1]]:
        raise BadInputError(
            f"{root / FLAKE_LOCKS[1]}: differs from {FLAKE_LOCKS[0]}; copy the right one over the other"
        )
    if MAIN_LOCK not in npm_locks:
        raise _damaged(root / MAIN_LOCK, "is not there")
    try:
        releases = TypeAdapter(dict[str, Release]).validate_json(texts[RELEASES])
    except ValidationError as error:
        raise _damaged(root / RELEASES, first_problem(error)) from error
    try:
        flake_lock = dict(json.loads(texts[FLAKE_LOCKS[0]]))
        whole = isinstance(flake_lock["nodes"]["root"], dict)
    except (ValueError, RecursionError, KeyError, TypeError):
        whole = False
    if not whole:
        raise _damaged(root / FLAKE_LOCKS[0], "is not a flake's lock file")
    checkout = Checkout(root, texts, dict(sorted(releases.items())), flake_lock, npm_locks)
    for system, release in checkout.releases.items():
        _check_release(checkout, system, release)
    checkout.github_inputs()
    return checkout


def _check_release(checkout: Checkout, system: str, release: Release) -> None:
    """nix/releases.json has the version of the address, and the address stands once in each flake.nix."""
    root = checkout.root
    platforms.named(system)
    try:
        url = checkout.url(system)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(root / FLAKE_LOCKS[0], f"has no pin with an address for {release.input}") from error
    if f"/v{release.version}/" not in url:
        raise BadInputError(
            f"{root / RELEASES}: {system} is {release.version}, but {release.input} in {FLAKE_LOCKS[0]} "
            f"is {url}; make the two agree"
        )
    for name in FLAKES:
        if checkout.texts[name].count(f'"{url}"') != 1:
            raise BadInputError(f"{root / name}: does not have the address {url} exactly once; fix it")
