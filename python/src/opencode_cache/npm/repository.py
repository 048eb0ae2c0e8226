"""Specs that name a GitHub repository, as npm takes them.

OpenCode 1.14 to 1.18 hands such a spec (`github:owner/repo#REF`,
`name@git+https://github.com/owner/repo.git`, the short `owner/repo`) to npm as it is. It counts as installed
(`packages/opencode/src/npm/index.ts`, `Npm.add`; tried on 1.14.34 and 1.18.33) when
`packages/<spec>/node_modules/<name>` exists, where the name is the one before the `@`, else the whole spec.
npm itself would take GitHub's archive of the commit and, with scripts ignored, nothing but it. What may be
written is npm-package-arg's (13.0, `fromURL`, `fromHostedGit`): without a REF it is the default branch.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from opencode_cache.base.errors import BadInputError
from opencode_cache.npm.spec import LONGEST_PART, is_name, public

ARCHIVES = "OPENCODE_CACHE_GITHUB_ARCHIVES"
"""Environment: the base of `<base>/<owner>/<repo>/tar.gz/<commit>`, for mirrors."""
GITHUB = "OPENCODE_CACHE_GITHUB"
"""Environment: the base of `<base>/<owner>/<repo>`, which git asks for branches and tags."""

_DEFAULT = "https://codeload.github.com"
_DEFAULT_GITHUB = "https://github.com"

_NAMED = re.compile(r"(?:(?P<name>(?:@[^/@]+/)?[^/@:]+)@)?(?P<rest>.*)", re.DOTALL)
_HOSTED = re.compile(
    r"(?:github:|git\+https?://github\.com/|git\+ssh://git@github\.com[/:]|git://github\.com/"
    r"|ssh://git@github\.com/|https://github\.com/|)"
    r"(?P<owner>[A-Za-z0-9-]+)/(?P<repo>[A-Za-z0-9_.-]+?)(?:\.git)?/?(?:#(?P<ref>.*))?"
)
_OTHER = re.compile(r"(?:git\+|git:|ssh:|https?:|gitlab:|bitbucket:|gist:|github:)")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


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
        """Of the commit's archive, at GitHub, or at the address that the environment gives in its place."""
        base = os.environ.get(ARCHIVES) or _DEFAULT
        return f"{base.rstrip('/')}/{self.owner}/{self.repo}/tar.gz/{self.commit}"


@dataclass(frozen=True)
class Source:
    """A repository, and what of it: a branch, a tag, a whole commit, or "" for the default branch."""

    owner: str
    repo: str
    ref: str
    name: str | None = None

    @property
    def url(self) -> str:
        """Where git asks for its branches and tags."""
        return f"{(os.environ.get(GITHUB) or _DEFAULT_GITHUB).rstrip('/')}/{self.owner}/{self.repo}"

    @property
    def pin(self) -> Pin | None:
        """The commit, where the spec names a whole one."""
        return self.at(self.ref) if _COMMIT.fullmatch(self.ref) else None

    def at(self, commit: str) -> Pin:
        """The same repository at one commit, 40 hexadecimal digits."""
        return Pin(self.owner, self.repo, commit, self.name)


def source(spec: str) -> Source | None:
    """The repository that a spec names; None for a spec of the npm registry.

    Raises BadInputError for repositories elsewhere, and for what git cannot have a branch or tag of.
    """
    parts = _NAMED.fullmatch(spec)
    if parts is None:
        return None
    name, rest = parts["name"], parts["rest"]
    if name is None and rest.startswith("@"):
        return None  # @scope/name
    match = _HOSTED.fullmatch(rest)
    if match is None:
        if _OTHER.match(rest):
            raise BadInputError(
                f"plugins: {public(spec)!r} cannot be locked; write 'github:OWNER/REPO#COMMIT' or an npm name"
            )
        return None
    if match["repo"] in (".", ".."):
        raise BadInputError(f"plugins: {spec!r} names no repository; write 'github:OWNER/REPO'")
    if max(map(len, spec.split("/"))) > LONGEST_PART:
        raise BadInputError(
            f"plugins: {spec[:LONGEST_PART]!r}… is too long for the name of a directory; shorten it"
        )
    if name is not None and not is_name(name):
        raise BadInputError(f"plugins: {spec!r}: {name!r} is not an npm package name; write another")
    ref = match["ref"] or ""
    if ref and not _REF.fullmatch(ref):
        raise BadInputError(
            f"plugins: {spec!r}: {ref!r} is not a branch, tag or commit; write '{spec.partition('#')[0]}#TAG'"
        )
    return Source(match["owner"], match["repo"], ref, name)


def pin(spec: str) -> Pin | None:
    """The commit that a spec names; None where it names none. Raises BadInputError as `source` does."""
    repository = source(spec)
    return repository.pin if repository else None


def is_nameless(spec: str) -> bool:
    """Whether a spec names a repository and not the package in it."""
    try:
        repository = source(spec)
    except BadInputError:
        return False
    return repository is not None and repository.name is None


def is_repository(spec: str) -> bool:
    """Whether a spec names a GitHub repository, as `source` takes it."""
    try:
        return source(spec) is not None
    except BadInputError:
        return False
