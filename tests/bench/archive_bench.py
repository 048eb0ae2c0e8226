"""Our reader of tarballs beside Python's tarfile: everything read, hashed, and thrown away."""

from __future__ import annotations

import hashlib
import tarfile
from typing import TYPE_CHECKING

from opencode_cache.build.unpack.tar import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

    from opencode_cache.formats.lock import Package

_PIECE = 1 << 20


class _Hashed:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha512()

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        return data


def ours(packages: Iterable[Package], tarballs: Path) -> None:
    for package in packages:
        with (tarballs / package.tarball).open("rb", buffering=0) as file:
            reader = Reader(file, package, tarballs / package.tarball)
            for _ in reader:
                for _piece in reader.chunks():
                    pass


def tarfiles(packages: Iterable[Package], tarballs: Path) -> None:
    for package in packages:
        with (tarballs / package.tarball).open("rb", buffering=0) as file:
            hashed = _Hashed(file)
            with tarfile.open(fileobj=hashed, mode="r|gz") as archive:  # type: ignore[call-overload]
                for member in archive:
                    content = archive.extractfile(member) if member.isfile() else None
                    while content and content.read(_PIECE):
                        pass
            while hashed.read(_PIECE):
                pass
