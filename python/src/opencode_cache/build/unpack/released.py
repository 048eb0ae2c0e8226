"""The program in a release of OpenCode, out of npm's tarball or GitHub's archive, hashed as Nix does."""

from __future__ import annotations

import stat
import zipfile
import zlib
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.build.unpack import tar
from opencode_cache.fetch import tarballs
from opencode_cache.formats import nar
from opencode_cache.formats.lock import Package

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "opencode"
_PIECE = 1 << 20
_MAX_DIRECTORY = 1 << 20
_UNREADABLE = (BadInputError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
_END = b"PK\x05\x06"
_END_LENGTH = 22


def of_package(package: Package, path: Path) -> str:
    """The narHash of the program in an npm package. Raises ValueError where it has none, BadInputError."""
    # npm makes its bins executable when it installs them, whatever their mode in the tarball.
    return _of_tar(package, path, f"package/bin/{PROGRAM}", executable=True)


def of_archive(path: Path) -> str:
    """The narHash of a release archive. Raises NetworkError where it holds anything but the program."""
    try:
        if path.name.endswith(".zip"):
            return _of_zip(path)
        # The reader of npm's tarballs, bounded and strict; the hash that it wants is the file's own.
        package = Package(name=PROGRAM, version="0.0.0", integrity=tarballs.integrity(path))
        return _of_tar(package, path, PROGRAM, executable=None)
    except _UNREADABLE as error:
        path.unlink(missing_ok=True)  # so that the next run downloads it anew
        why = str(error).partition(";")[0]
        raise NetworkError(f"{path.name}: cannot be used ({why}); run `update` again") from error


def _of_tar(package: Package, path: Path, wanted: str, *, executable: bool | None) -> str:
    nar_hash = None
    with path.open("rb", buffering=0) as file:
        reader = tar.Reader(file, package, path)
        for member in reader:
            name = member.path.removeprefix("./")
            if name == wanted and member.kind is tar.Kind.FILE and nar_hash is None:
                runs = bool((member.mode or 0) & stat.S_IXUSR) if executable is None else executable
                nar_hash = nar.directory_with_file(PROGRAM, member.size, reader.chunks(), executable=runs)
            elif executable is None and name not in ("", "."):
                raise ValueError(f"it holds {member.path!r} beside the program")
    if nar_hash is None:
        raise ValueError(f"it has no {wanted}")
    return nar_hash


def _of_zip(path: Path) -> str:
    _check_directory(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if [member.filename for member in members] != [PROGRAM]:
            raise ValueError(f"it holds {', '.join(repr(m.filename) for m in members[:3]) or 'nothing'}")
        member = members[0]
        mode = member.external_attr >> 16
        if member.file_size > tar.MAX_BYTES or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            raise ValueError("the program in it is not a file, or is too long")
        with archive.open(member) as file:
            pieces = iter(lambda: file.read(_PIECE), b"")
            runs = bool(mode & stat.S_IXUSR)
            return nar.directory_with_file(PROGRAM, member.file_size, pieces, executable=runs)


def _check_directory(path: Path) -> None:
    """zipfile reads the whole list of members into memory, so its length is looked at first."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_LENGTH))
        end = file.read()
    if end[:4] != _END or int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY:
        raise ValueError("it is not a zip file with a short list of members")
