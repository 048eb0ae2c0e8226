"""Which release of OpenCode to go to: the one that was named, or the newest that every needed source has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base import console
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.http import AbsentError, UnreachableError
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms
from opencode_cache.opencode import versions
from opencode_cache.update import archives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opencode_cache.update.checkout import Checkout
    from opencode_cache.update.github import GitHub, Release

_PLUGIN = "@opencode-ai/plugin"
"""What the default plan has in OpenCode's own version."""
_MOST_LOOKED_AT = 10


@dataclass(frozen=True)
class Chosen:
    """A version, and GitHub's release of it or why GitHub cannot be asked."""

    version: str
    release: Release | str


def named(version: str, github: GitHub) -> Chosen:
    """The release that was asked for. Raises BadInputError where there is none, NetworkError."""
    versions.check_experimental(versions.release(version))
    if versions.layout_name(version) != "packages":
        raise BadInputError(
            f"--opencode-version {version}: its releases had other names; `update` knows 1.14 and newer"
        )
    try:
        release = github.release(version)
    except UnreachableError as error:
        console.step(f"{error}; going on with npm alone")
        return Chosen(version, str(error))
    except AbsentError as error:
        raise BadInputError(f"OpenCode {version} has no release on GitHub; choose another version") from error
    if release.version != version:
        raise NetworkError(
            f"GitHub answers {release.tag_name[:60]!r} when asked for v{version}; nothing was changed"
        )
    return Chosen(version, release)


def newest(checkout: Checkout, wanted: Sequence[str], github: GitHub) -> Chosen:
    """The newest release that GitHub has for all of those systems, and npm what the lock needs.

    Raises NetworkError where GitHub cannot be asked, or none of its newest releases will do.
    """
    try:
        releases = github.releases()
    except UnreachableError as error:
        raise NetworkError(
            f"{error}, so the newest OpenCode is not known; nothing was changed; "
            f"name one with --opencode-version{_known_to_npm(checkout, wanted)}"
        ) from error
    for release in releases[:_MOST_LOOKED_AT]:
        version = release.version or ""
        why = _unfit(checkout, wanted, release, version)
        if why is None:
            return Chosen(version, release)
        console.step(f"passing over OpenCode {version}: {why}")
    raise NetworkError("none of GitHub's newest releases of OpenCode can be had whole; nothing was changed")


def _unfit(checkout: Checkout, wanted: Sequence[str], release: Release, version: str) -> str | None:
    try:
        versions.check_experimental(version)
    except BadInputError:
        return f"only {versions.SUPPORTED} are supported"
    for archive in map(checkout.archive, wanted):
        if release.asset(archive) is None:
            return f"GitHub has no {archive} of it yet"
    for names in (platforms.current().binaries, (_PLUGIN,)):
        if not any(_versions(f"{name}@{version}") for name in names):
            return f"npm has no {' or '.join(names)} of it yet"
    return None


def _versions(spec: str) -> set[str]:
    try:
        return {str(entry["version"]) for entry in npm.view(spec)}
    except npm.NotInRegistryError:
        return set()


def _known_to_npm(checkout: Checkout, wanted: Sequence[str]) -> str:
    """A hint: the newest version that npm has for all of those systems."""
    names = [archives.package_name(checkout.archive(system)) for system in wanted]
    try:
        common = set.intersection(*(_versions(f"{name}@>=0") for name in names))
    except NetworkError:
        return ""
    plain = [version for version in common if re.fullmatch(versions.RELEASE, version)]
    return f" (npm has {max(plain, key=versions.numbers)})" if plain else ""
