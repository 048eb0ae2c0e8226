"""The narHash of a release: from GitHub's archive, from npm's identical bits, or from both, if they agree.

GitHub's archives and npm's `opencode-<system>` packages hold the same program (compared for eight archives of
OpenCode 1.18, all of them equal); the flake's input is a directory with nothing but it, named `opencode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base import console, store
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.http import UnreachableError
from opencode_cache.build.unpack import released
from opencode_cache.fetch import tarballs
from opencode_cache.npm import client as npm
from opencode_cache.resolve import metadata
from opencode_cache.resolve.choose_version import UnavailableError

if TYPE_CHECKING:
    from opencode_cache.formats.lock import Package
    from opencode_cache.update.github import GitHub, Release


@dataclass(frozen=True)
class Pinned:
    """A release's narHash, and who was asked for it."""

    nar_hash: str
    sources: tuple[str, ...]


class CannotPinError(Exception):
    """There is no source for the hash; the text says what each of them lacks."""


def package_name(archive: str) -> str:
    """The npm package with the bits of a release archive: its name without the extension."""
    name = archive.removesuffix(".tar.gz").removesuffix(".zip")
    if name == archive:
        raise BadInputError(f"{archive}: is neither .tar.gz nor .zip; fix its address in flake.nix")
    return name


def pin(version: str, archive: str, github: GitHub, release: Release | str) -> Pinned:
    """The narHash of the archive of that name; `release` is GitHub's, or why GitHub cannot be asked.

    Raises CannotPinError where neither has it, or GitHub says that it does not; NetworkError where the two
    differ or one of them answers as it should not.
    """
    name = package_name(archive)
    hashes: dict[str, str] = {}
    reasons: list[str] = []
    if isinstance(release, str):
        reasons.append(release)
    else:
        asset = release.asset(archive)
        if asset is None:  # then the address in the flake would lead nowhere, whatever npm has
            raise CannotPinError(f"the release on GitHub has no {archive}")
        try:
            hashes["GitHub"] = released.of_archive(github.archive(version, asset, store.downloads()))
        except UnreachableError as error:
            reasons.append(str(error))
    try:
        hashes["npm"] = of_package(npm_package(name, version))
    except npm.NotInRegistryError:
        reasons.append(f"the npm registry has no {name}@{version}")
    if not hashes:
        raise CannotPinError(" and ".join(reasons))
    if len(set(hashes.values())) > 1:
        raise NetworkError(
            f"OpenCode {version}: {archive} on GitHub has the narHash {hashes['GitHub']}, "
            f"npm's {name}@{version} has {hashes['npm']}; one of them is not what was released, "
            "so nothing was changed"
        )
    return Pinned(next(iter(hashes.values())), tuple(hashes))


def npm_package(name: str, version: str) -> Package:
    """npm's package of that very version. Raises NotInRegistryError, NetworkError."""
    entries = npm.view(f"{name}@{version}")
    if not entries:
        raise npm.NotInRegistryError(f"the npm registry has no {name}@{version}")
    try:
        package = metadata.package_from(entries[0], name)
    except UnavailableError as error:
        raise NetworkError(f"the npm registry's answer for {name}@{version} cannot be used") from error
    if package.version != version:
        raise NetworkError(f"the npm registry answers {package.version!r} when asked for {name}@{version}")
    return package


def of_package(package: Package) -> str:
    """The narHash of the program in an npm package, which is downloaded if it is not there yet."""
    path = store.downloads() / package.tarball
    if not path.exists():
        console.step(f"fetching {package.key}")
    with console.downloading(1, package.size or 0) as on_bytes:
        tarballs.fetch([package], path.parent, on_bytes=on_bytes)
    try:
        return released.of_package(package, path)
    except ValueError as error:
        raise NetworkError(f"{package.key}: is not what is released as OpenCode ({error})") from error
