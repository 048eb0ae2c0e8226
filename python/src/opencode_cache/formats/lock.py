"""The lock file: every tree and every tarball that the pure steps may read, named by hash.

A lock is sorted, stable and free of registry hosts, so that it reads well in a diff. Shape:

* `opencode`: version, layout, and per system the npm package that carries the binary;
* `requests`: what OpenCode asks for, the string it compares (`requested`), and the version on disk;
* `trees`: for each tree (its directory in the cache), place of a package below it -> its key, `name@version`;
* `packages`: for each key, integrity, size, platform fields, bins and licence;
* `unavailable`: what was asked for and could not be locked, with the reason;
* `warmup`, `files`, `urls`, `catalogue`, `accept`: what the plan says of build and proof, where it does.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import Model, RelativePath, first_problem, safe_relative
from opencode_cache.formats import ages, user_files
from opencode_cache.formats.accept import Accepted
from opencode_cache.formats.grammar import Grammar
from opencode_cache.formats.urls import Urls
from opencode_cache.npm import repository
from opencode_cache.npm import spec as npm_spec
from opencode_cache.npm.spec import NAME
from opencode_cache.opencode import versions

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["provider", "plugin", "tool", "command", "config"]
"""Who asks: a model provider's SDK, a plugin, an npm tool (LSP, formatter), a command of the configuration
that starts with `npx` or the like (MCP server, formatter), or a config directory."""

_HOME = re.compile(rf"node_modules/{NAME}(?:/node_modules/{NAME})*")
_GIT_KEY = re.compile(r"git-[A-Za-z0-9._-]+-[0-9a-f]{12}/1")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]*")


def _name(value: str) -> str:
    if not re.fullmatch(NAME, value):
        raise ValueError(f"{value!r} is not an npm package name")
    return value


def _version(value: str) -> str:
    if not _VERSION.fullmatch(value):
        raise ValueError(f"{value!r} is not a version")
    return value


def _integrity(value: str) -> str:
    algorithm, _, digest = value.partition("-")
    try:
        size = len(base64.b64decode(digest, validate=True))
    except binascii.Error:
        size = 0
    if algorithm != "sha512" or size != 64:  # noqa: PLR2004 - a sha512 digest is 64 bytes
        raise ValueError(f"{value!r} is not a sha512 integrity")
    return value


def _spec(value: str) -> str:
    if not npm_spec.is_spec(value) and not repository.is_repository(value):
        raise ValueError(f"{value!r} is neither an npm spec nor a GitHub repository")
    return value


def _tree_id(value: str) -> str:
    if value in (".", "config"):
        return value
    below, slash, spec = value.partition("/")
    if below == "npm" and spec.endswith("/1"):
        if not _GIT_KEY.fullmatch(spec):
            _spec(spec.removesuffix("/1"))
        return safe_relative(value)
    if below != "packages" or not slash:
        raise ValueError(f"{value!r} is not a tree: those are '.', 'config', 'packages/SPEC' and 'npm/KEY/1'")
    # A path has one slash where an address has two.
    _spec(re.sub(r":/(?!/)", "://", spec, count=1))
    return safe_relative(value)


def _commit(value: str) -> str:
    if not repository.is_repository(f"github:{value}") or not repository.pin(f"github:{value}"):
        raise ValueError(f"{value!r} is not OWNER/REPO#COMMIT")
    return value


Name = Annotated[str, AfterValidator(_name)]
Version = Annotated[str, AfterValidator(_version)]
Integrity = Annotated[str, AfterValidator(_integrity)]
Module = Annotated[str, Field(pattern=r"^[@A-Za-z0-9~._/-]+$")]
"""What a program imports: a package, or a file of one (`@ai-sdk/google-vertex/anthropic`)."""
Spec = Annotated[str, AfterValidator(_spec)]
"""What OpenCode asks for: an npm spec, or a GitHub repository. Directories are named by it."""
TreeId = Annotated[str, AfterValidator(_tree_id)]
"""Directory that holds a tree's `node_modules`, relative to the cache; "." is the cache itself."""


class Package(Model):
    """One npm tarball. `size` is its length in bytes, where the registry told it."""

    name: Name
    version: Version
    integrity: Integrity
    size: int | None = Field(default=None, ge=0)
    license: str | None = None
    os: tuple[str, ...] = ()
    cpu: tuple[str, ...] = ()
    libc: tuple[str, ...] = ()
    bin: dict[str, str] = Field(default_factory=dict)  # bins.py leaves out what climbs, as npm does
    """Command name -> path in the package."""
    github: Annotated[str, AfterValidator(_commit)] | None = None
    """`owner/repo#commit` where the tarball is GitHub's archive of that commit, not the registry's."""

    @model_validator(mode="after")
    def _has_a_file_name(self) -> Package:
        if len(self.name) > npm_spec.LONGEST_NAME or len(self.key) > npm_spec.LONGEST_PART:
            raise ValueError(f"{self.key[:80]!r}… is too long for the name of a file")
        return self

    @property
    def key(self) -> str:
        """`name@version`, its name in the lock's `packages` and `trees`."""
        return f"{self.name}@{self.version}"

    @property
    def tarball(self) -> str:
        """The file name under which `fetch` keeps the tarball and `build` looks for it."""
        return f"{self.name.replace('/', '+')}@{self.version}.tgz"


class Request(Model):
    """One thing that OpenCode asks for. `requested` is the string it compares, `version` what it gets."""

    spec: Spec
    kind: Kind
    name: Name
    requested: str
    version: Version
    tree: TreeId
    note: str | None = None
    """What a user should know of this version."""


class Unavailable(Model):
    """A request that could not be locked, and why."""

    spec: str
    kind: Kind | Literal["language", "url"]
    reason: str


class Signatures(Model):
    """What npm found of the registry's signatures when the lock was made. A wrong one makes no lock."""

    verified: int = Field(default=0, ge=0)
    """How many of the packages carry a signature that npm verified."""
    missing: tuple[str, ...] = ()
    """Packages without one, of a registry that signs."""
    keys: dict[str, str] = Field(default_factory=dict)
    """The registry's keys then, as far as it shows them: name -> sha256."""
    unchecked: str | None = None
    """Why nothing could be verified, where nothing could."""


class Opencode(Model):
    """The OpenCode that this lock is for."""

    version: Version
    layout: versions.LayoutName
    cache_version: str | None = None
    """bun layout: the content of the file `version`; anything else makes OpenCode wipe the cache."""
    sdk_major: int | None = None
    """The newest major of @ai-sdk/provider that the binary speaks."""
    bundled: tuple[Module, ...]
    """Provider SDKs that are compiled into the binary, as it says when it is asked."""
    binaries: dict[str, Package]
    """System -> the npm package whose `bin/opencode` is the program."""
    missing: dict[str, str] = Field(default_factory=dict)
    """System -> why there is no binary for it."""


def _check_layout(opencode: Opencode) -> None:
    try:
        name = versions.layout_name(opencode.version)
    except BadInputError as error:
        raise ValueError(str(error)) from error
    if name != opencode.layout:
        raise ValueError(f"opencode: {opencode.version} has the layout {name!r}")


def _check_trees(trees: dict[str, dict[str, str]], packages: dict[str, Package]) -> None:
    for key, package in packages.items():
        if key != package.key:
            raise ValueError(f"packages: the key {key!r} holds {package.key}")
    for tree, nodes in trees.items():
        for path, key in nodes.items():
            if key not in packages:
                raise ValueError(f"trees: {tree}: {path} names {key!r}, which is not in packages")
            if not _HOME.fullmatch(path) or {".", ".."} & set(path.split("/")):
                raise ValueError(f"trees: {tree}: {path!r} is not a package's place below node_modules/")


def _check_languages(languages: dict[str, Grammar], packages: dict[str, Package]) -> None:
    for name, pin in languages.items():
        for key in pin.packages:
            if key not in packages:
                raise ValueError(f"languages: {name} names {key!r}, which is not in packages")


def _check_requests(lock: Lock) -> None:
    for request in lock.requests:
        key = lock.trees.get(request.tree, {}).get(f"node_modules/{request.name}")
        if key is None:
            raise ValueError(f"requests: {request.spec}: tree {request.tree!r} has no {request.name}")
        if lock.packages[key].version != request.version:
            raise ValueError(f"requests: {request.spec}: version {request.version} but the tree has {key}")


class Lock(Model):
    """A whole lock file."""

    lock_version: Literal[1] = 1
    opencode: Opencode
    requests: tuple[Request, ...]
    trees: dict[TreeId, dict[RelativePath, str]]
    packages: dict[str, Package]
    unavailable: tuple[Unavailable, ...] = ()
    signatures: Signatures | None = None
    require_signatures: bool = False
    """Whether the plan wanted each package signed; then each one is."""
    min_age: Annotated[str, Field(pattern=ages.PATTERN)] | None = None
    """How old each version had to be."""
    warmup: tuple[str, ...] | None = None
    """OpenCode's arguments, one string for each start, that must work without asking the registry."""
    files: dict[Annotated[RelativePath, AfterValidator(user_files.place)], str] = Field(default_factory=dict)
    """Place below the cache -> content of a text file of the user's own."""
    urls: Urls = Field(default_factory=dict)
    """Address that the configuration names, or that leads on from there -> the text."""
    languages: dict[str, Grammar] = Field(default_factory=dict)
    """Language of the interface -> where its grammar and queries come from, which `packages` has."""
    catalogue: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """sha256 of the `models.json` that a build has to be given."""
    accept: Accepted = Field(default_factory=dict)
    """Plugin, or `*` -> hosts that it may ask for."""

    @model_validator(mode="after")
    def _whole(self) -> Lock:
        _check_layout(self.opencode)
        _check_trees(self.trees, self.packages)
        _check_languages(self.languages, self.packages)
        _check_requests(self)
        if self.require_signatures and (
            self.signatures is None or self.signatures.unchecked or self.signatures.missing
        ):
            raise ValueError("require_signatures: not every package's signature was verified")
        return self


def read(path: Path) -> Lock:
    """Read a lock file. Raises BadInputError that names the file, the place and the value."""
    try:
        text = files.read_text(path, files.DOCUMENT)
    except OSError as error:
        raise BadInputError(
            f"{path}: cannot be read as a lock file ({error.strerror}); make one with `lock`"
        ) from error
    try:
        return Lock.model_validate_json(text)
    except ValidationError as error:
        raise BadInputError(
            f"{path}: {first_problem(error)}; restore the file or make it again with `opencode-cache lock`"
        ) from error


def dumps(lock: Lock) -> str:
    """The text of a lock file: sorted keys, two spaces, a newline at the end."""
    data = lock.model_dump(mode="json", exclude_defaults=True) | {"lock_version": lock.lock_version}
    data["requests"] = sorted(data["requests"], key=lambda r: (r["kind"], r["spec"]))
    data["unavailable"] = sorted(data.get("unavailable", []), key=lambda u: (u["kind"], u["spec"]))
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
