"""Specs that name a commit of a GitHub repository.

OpenCode 1.14 to 1.18 hands a spec such as `github:owner/repo#REV` or `name@github:owner/repo#REV` to npm
as it is. It counts as installed (`packages/opencode/src/npm/index.ts`, `Npm.add`; tried on 1.18.33) when
`packages/<spec>/node_modules/<name>` exists, where the name is the one before the `@`, else the whole spec.
npm itself would take the same archive and, with scripts ignored, nothing but it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from opencode_cache.base.errors import BadInputError
from opencode_cache.npm.spec import LONGEST_PART, is_name

ARCHIVES = "OPENCODE_CACHE_GITHUB_ARCHIVES"
"""Environment: the base of `<base>/<owner>/<repo>/tar.gz/<commit>`, for mirrors."""


_DEFAULT = "https://codeload.github.com"


_SPEC = re.compile(r"(?:(?P<name>(?:@[^/@]+/)?[^/@:]+)@)?github:(?P<rest>.*)")


_REST = re.compile(
    r"(?P<owner>[A-Za-z0-9-]+)/(?P<repo>(?!\.{1,2}#)[A-Za-z0-9_.-]+?)(?:\.git)?#(?P<commit>[0-9a-f]{40})"
)


_OTHER = re.compile(
    r"(?:git\+|git:|https?:|gitlab:|bitbucket:|gist:)|@(?:git\+|git:|https?:)|\A[\w-][\w.-]*/[\w.-]+(?:#|\Z)"
)
"""The last one is npm's short form for GitHub, `owner/repo`."""


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
    if rest and max(map(len, spec.split("/"))) > LONGEST_PART:
        raise BadInputError(f"plugins: {spec[:LONGEST_PART]!r}… is too long for the name of a directory")
    if rest is None:
        where = match["rest"].partition("#")[0]
        raise BadInputError(
            f"plugins: {spec!r} names no commit; write '{spec.partition('#')[0]}#COMMIT' here and in "
            f"opencode.json, with the 40 hex digits of `git ls-remote https://github.com/{where} HEAD`"
        )
    if match["name"] is not None and not is_name(match["name"]):
        raise BadInputError(f"plugins: {spec!r}: {match['name']!r} names no npm package; write another")
    return Pin(rest["owner"], rest["repo"], rest["commit"], match["name"])


def is_pin(spec: str) -> bool:
    """Whether a spec names one commit of a GitHub repository, as `pin` takes it."""
    try:
        return pin(spec) is not None
    except BadInputError:
        return False
