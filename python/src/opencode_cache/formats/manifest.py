"""`manifest.json` in the cache: what is there, who asked for it, and what the wrapper links or copies.

The wrapper, `list` and `verify` read this file and nothing else about how the cache was made.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import Model, RelativePath, first_problem
from opencode_cache.catalogue.document import Catalogue
from opencode_cache.formats import redistribution
from opencode_cache.formats.accept import Accepted
from opencode_cache.formats.lock import Kind, Module, Name, Signatures, Spec, TreeId, Unavailable, Version
from opencode_cache.opencode import versions

if TYPE_CHECKING:
    from pathlib import Path

FILE = "manifest.json"
NOT_STATED = "not stated"


class Entry(Model):
    """One request that the cache answers."""

    spec: Spec
    kind: Kind
    name: Name
    requested: str
    version: Version
    tree: TreeId
    """Directory that holds the tree's `node_modules`, relative to the cache; "." is the cache itself."""
    note: str | None = None
    """What a user should know of this version."""

    @property
    def modules(self) -> str:
        """The tree's `node_modules`, relative to the cache."""
        return "node_modules" if self.tree == "." else f"{self.tree}/node_modules"

    @property
    def path(self) -> str:
        """The package's directory, relative to the cache: `packages/x/node_modules/x`."""
        return f"{self.modules}/{self.name}"


class CachedPackage(Model):
    """One npm package in the cache. `specs` are the requests whose trees hold it."""

    name: str
    version: str
    integrity: str
    license: str | None = None
    github: str | None = None
    """`owner/repo#commit`, for what comes from there and not from a registry."""
    specs: tuple[str, ...]


class Manifest(Model):
    """What a cache holds."""

    manifest_version: Literal[1] = 1
    builder: str
    """Version of the program that made the cache."""
    opencode: Version
    opencode_integrity: str | None = None
    """Of the npm package that carries this version of the binary, where the lock has it."""
    opencode_sha256: str | None = None
    """Of the file with OpenCode's own code that the cache was built with: what its proof is of."""
    layout: versions.LayoutName
    cache_version: str | None = None
    sdk_major: int | None = None
    bundled: tuple[Module, ...] = ()
    """Provider SDKs that are compiled into the binary."""
    system: str
    kept_all: bool = False
    catalogue: Catalogue | None = None
    catalogue_why: str = ""
    """Why the cache has that catalogue, or none and OpenCode reads its own."""
    catalogue_date: dt.date | None = None
    """The newest day in the catalogue that OpenCode reads with this cache, where the build looked."""
    models_revision: str | None = None
    """Revision of models.dev's sources that the build was given, taken or not."""
    tui: RelativePath | None = None
    links: tuple[RelativePath, ...]
    """Entries of OpenCode's cache directory that the wrapper links, relative to the cache."""
    copies: tuple[RelativePath, ...] = ()
    """Entries that OpenCode writes to: the wrapper copies them."""
    config: RelativePath | None = None
    """Directory with `node_modules` and `package-lock.json` for OpenCode's config directories."""
    requests: tuple[Entry, ...]
    packages: tuple[CachedPackage, ...]
    unavailable: tuple[Unavailable, ...] = ()
    languages: tuple[str, ...] = ()
    """Languages that the interface shows in colours from the cache."""
    languages_fetched: tuple[str, ...] = ()
    """Languages without a pin: the interface asks GitHub when it first shows one."""
    signatures: Signatures | None = None
    """What npm found of the registry's signatures when the lock was made."""
    accept: Accepted | None = None
    """Plugin, or `*` -> hosts that the plan lets it ask for, where it does."""
    urls: dict[str, str] | None = None
    """Address -> sha256 of the text that OpenCode gets from the cache, where the plan names some."""
    files: int
    bytes: int
    """Content of all regular files of the cache, manifest.json apart."""


def licences(manifest: Manifest, entry: Entry) -> list[str]:
    """The licences of a request's whole tree, each once, sorted; `not stated` where a package says none."""
    inside = (package for package in manifest.packages if entry.spec in package.specs)
    return sorted({redistribution.licence(package) or NOT_STATED for package in inside}, key=str.casefold)


def read(cache: Path) -> Manifest:
    """The manifest of a cache directory. Raises BadInputError where there is none or it is damaged."""
    path = cache / FILE
    try:
        return Manifest.model_validate_json(files.read_bytes(path, files.DOCUMENT))
    except OSError as error:
        raise BadInputError(
            f"{cache}: not a cache made by `opencode-cache build` ({FILE}: {error.strerror}); give one"
        ) from error
    except ValidationError as error:
        raise BadInputError(f"{path}: {first_problem(error)}; build the cache again") from error


def dumps(manifest: Manifest) -> str:
    """The text of `manifest.json`: sorted keys, two spaces, a newline at the end."""
    return _text(manifest.model_dump(mode="json", exclude_none=True))


def dumps_with_licences(manifest: Manifest) -> str:
    """The same with `licences` in each request: those of its whole tree. What `list --json` prints."""
    data = manifest.model_dump(mode="json", exclude_none=True)
    for shown, entry in zip(data["requests"], manifest.requests, strict=True):
        shown["licences"] = licences(manifest, entry)
    return _text(data)


def _text(data: object) -> str:
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
