"""The narHash of a release: from GitHub's archive, from npm's identical bits, or from both, if they agree.

GitHub's archives and npm's `opencode-<system>` packages hold the same program (compared for eight archives of
OpenCode 1.18, all of them equal); the flake's input is a directory with nothing but it, named `opencode`.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opencode_cache.base import console, store
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.build.unpack import tar
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.formats.lock import Package
from opencode_cache.npm import client as npm
from opencode_cache.resolve import resolver as resolve
from opencode_cache.resolve.choose_version import UnavailableError
from opencode_cache.update import nar
from opencode_cache.update.door import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opencode_cache.update.github import GitHub, Release

PROGRAM = "opencode"
_EXTENSIONS = (".tar.gz", ".zip")
_PIECE = 1 << 20
_MAX_DIRECTORY = 1 << 20
_UNREADABLE = (
    BadInputError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
_END = b"PK\x05\x06"
_END_LENGTH = 22


@dataclass(frozen=True)
class Pinned:
    """A release's narHash, and who was asked for it."""

    nar_hash: str
    sources: tuple[str, ...]


class CannotPinError(Exception):
    """There is no source for the hash; the text says what each of them lacks."""


def package_name(archive: str) -> str:
    """The npm package with the bits of a release archive: its name without the extension."""
    for extension in _EXTENSIONS:
        if archive.endswith(extension):
            return archive.removesuffix(extension)
    raise BadInputError(
        f"{archive}: is neither {' nor '.join(_EXTENSIONS)}; mend the address of this release in flake.nix"
    )


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
            hashes["GitHub"] = of_archive(github.archive(version, asset, store.downloads()))
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
        package = resolve.package_from(entries[0], name)
    except (UnavailableError, ValidationError, AttributeError, TypeError) as error:
        raise NetworkError(f"the npm registry's answer for {name}@{version} cannot be used") from error
    if package.version != version:
        raise NetworkError(f"the npm registry answers {package.version!r} when asked for {name}@{version}")
    return package


def of_package(package: Package) -> str:
    """The narHash of the program in an npm package, which is downloaded if it is not there yet."""
    place = store.downloads()
    if not (place / package.tarball).exists():
        console.step(f"fetching {package.key}")
    with console.downloading(1, package.size or 0) as on_bytes:
        tarball.fetch([package], place, on_bytes=on_bytes)
    # npm makes its bins executable when it installs them, whatever their mode in the tarball.
    try:
        return _of_tar(package, place / package.tarball, f"package/bin/{PROGRAM}", executable=True)
    except ValueError as error:
        raise NetworkError(f"{package.key}: is not what is released as OpenCode ({error})") from error


def of_archive(path: Path) -> str:
    """The narHash of a release archive. Raises NetworkError where it holds anything but the program."""
    try:
        if path.name.endswith(".zip"):
            return _of_zip(path)
        # The reader of npm's tarballs, bounded and strict; the hash that it wants is the file's own.
        package = Package(name=PROGRAM, version="0.0.0", integrity=tarball.integrity(path))
        return _of_tar(package, path, PROGRAM, executable=None)
    except _UNREADABLE as error:
        path.unlink(missing_ok=True)  # so that the next run downloads it anew
        why = str(error).partition(";")[0]
        raise NetworkError(f"{path.name}: cannot be used ({why}); run `update` again") from error


def _of_tar(package: Package, path: Path, wanted: str, *, executable: bool | None) -> str:
    found = None
    with path.open("rb", buffering=0) as file:
        reader = tar.Reader(file, package, path)
        for member in reader:
            name = member.path.removeprefix("./")
            if name == wanted and member.kind is tar.Kind.FILE and found is None:
                runs = bool((member.mode or 0) & stat.S_IXUSR) if executable is None else executable
                found = nar.directory_with_file(PROGRAM, member.size, reader.chunks(), executable=runs)
            elif executable is None and name not in ("", "."):
                raise ValueError(f"it holds {member.path!r} beside the program")
    if found is None:
        raise ValueError(f"it has no {wanted}")
    return found


def _of_zip(path: Path) -> str:
    _check_directory(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if [member.filename for member in members] != [PROGRAM]:
            raise ValueError(f"it holds {', '.join(repr(m.filename) for m in members[:3]) or 'nothing'}")
        member = members[0]
        mode = member.external_attr >> 16
        if member.file_size > tar.MAX_BYTES or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            raise ValueError("the program in it is no file, or too long")
        return nar.directory_with_file(
            PROGRAM, member.file_size, _pieces(archive, member), executable=bool(mode & stat.S_IXUSR)
        )


def _pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(member) as file:
        while piece := file.read(_PIECE):
            yield piece


def _check_directory(path: Path) -> None:
    """zipfile reads the whole list of members into memory, so its length is looked at first."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_LENGTH))
        end = file.read()
    if end[:4] != _END or int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY:
        raise ValueError("it is no zip file with a short list of members")
