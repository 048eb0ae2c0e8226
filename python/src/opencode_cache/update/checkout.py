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

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import first_problem
from opencode_cache.formats import lock
from opencode_cache.npm import platforms
from opencode_cache.update import github

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FLAKES = ("flake.nix", "opencode/flake.nix")
FLAKE_LOCKS = ("flake.lock", "opencode/flake.lock")
RELEASES = "nix/releases.json"
NPM_LOCKS = "nix/locks"
MAIN_LOCK = f"{NPM_LOCKS}/opencode-cache.lock.json"
CHANGELOG = "CHANGELOG.md"
PLAN = "python/src/opencode_cache/formats/plan.py"

_OWNER = r"^[A-Za-z0-9][A-Za-z0-9-]*$"
_REPO = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class Release(BaseModel):
    """An entry of nix/releases.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: str
    version: Annotated[str, Field(pattern=rf"^{github.VERSION.pattern}$")]


class Source(BaseModel):
    """A GitHub input's `original` in flake.lock (Nix, `src/libfetchers/github.cc`)."""

    owner: Annotated[str, Field(pattern=_OWNER)]
    repo: Annotated[str, Field(pattern=_REPO)]
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

    def github_inputs(self) -> dict[str, tuple[Source, Locked]]:
        """Name of an input -> where it comes from, and its pin; inputs that name a revision are left out."""
        nodes = self.flake_lock["nodes"]
        found = {}
        for name, node in sorted((self.flake_lock["nodes"]["root"].get("inputs") or {}).items()):
            given = nodes[node] if isinstance(node, str) else {}
            if given.get("locked", {}).get("type") != "github":
                continue
            try:
                source = Source.model_validate(given.get("original"))
                pinned = Locked.model_validate(given["locked"])
            except ValidationError as error:
                raise BadInputError(
                    f"{self.root / FLAKE_LOCKS[0]}: {name}: {first_problem(error)}; restore it with git"
                ) from error
            if source.rev is None:
                found[str(node)] = (source, pinned)
        return found


def find(start: Path) -> Path:
    """The root of the repository around a directory. Raises BadInputError where there is none."""
    for place in (start, *start.parents):
        if (place / FLAKES[0]).is_file() and (place / RELEASES).is_file():
            return place
    raise BadInputError(
        f"{start}: neither it nor a directory above it has {FLAKES[0]} and {RELEASES}; "
        "run `update` in a checkout of this project"
    )


def read(root: Path) -> Checkout:
    """Read and check a repository. Raises BadInputError with the file and what is wrong in it."""
    names = [*FLAKES, *FLAKE_LOCKS, RELEASES, CHANGELOG, PLAN]
    paths = sorted((root / NPM_LOCKS).glob("*.lock.json"))
    npm_locks = {path.relative_to(root).as_posix(): lock.read(path) for path in paths}
    texts = {name: _text(root / name) for name in [*names, *npm_locks]}
    if texts[FLAKE_LOCKS[0]] != texts[FLAKE_LOCKS[1]]:
        raise BadInputError(
            f"{root / FLAKE_LOCKS[1]}: differs from {FLAKE_LOCKS[0]}; copy the right one over the other"
        )
    if MAIN_LOCK not in npm_locks:
        raise BadInputError(f"{root / MAIN_LOCK}: is not there; restore it with git")
    found = Checkout(root, texts, _releases(root, texts[RELEASES]), _flake_lock(root, texts), npm_locks)
    for system, release in found.releases.items():
        _check_release(found, system, release)
    found.github_inputs()
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read ({error}); restore it with git") from error


def _releases(root: Path, text: str) -> dict[str, Release]:
    try:
        found = TypeAdapter(dict[str, Release]).validate_json(text)
    except ValidationError as error:
        raise BadInputError(f"{root / RELEASES}: {first_problem(error)}; restore it with git") from error
    for name in found:
        platforms.named(name)
    return dict(sorted(found.items()))


def _flake_lock(root: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(texts[FLAKE_LOCKS[0]])
        whole = isinstance(found["nodes"]["root"], dict)
    except (ValueError, RecursionError, KeyError, TypeError):
        whole = False
    if not whole:
        raise BadInputError(f"{root / FLAKE_LOCKS[0]}: is no lock file of a flake; restore it with git")
    return dict(found)


def _check_release(checkout: Checkout, system: str, release: Release) -> None:
    """nix/releases.json has the version of the address, and the address stands once in each flake.nix."""
    root = checkout.root
    try:
        url = checkout.url(system)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"{root / FLAKE_LOCKS[0]}: has no pin with an address for {release.input}; restore it with git"
        ) from error
    if f"/v{release.version}/" not in url:
        raise BadInputError(
            f"{root / RELEASES}: {system} is {release.version}, but {release.input} in {FLAKE_LOCKS[0]} "
            f"is {url}; make the two agree"
        )
    for name in FLAKES:
        if checkout.texts[name].count(f'"{url}"') != 1:
            raise BadInputError(f"{root / name}: does not have the address {url} exactly once; mend it")
