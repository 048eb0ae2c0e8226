"""Downloads GitHub's archive of one commit of a repository, by hash."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import requests

from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.fetch.tarballs import integrity
from opencode_cache.npm.repository import Pin, pin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opencode_cache.formats.lock import Package


_CHUNK = 1 << 16


_TIMEOUT = (10, 60)


def download(pinned: Pin, to: Path) -> Path:
    """The archive in a file of its own in `to`. Raises NetworkError or BadInputError."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".github-", suffix=".part", dir=to)
    except OSError as error:
        raise BadInputError(f"{to}: cannot be written ({error.strerror}); choose another place") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _receive(pinned, file)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, requests.RequestException):
            raise NetworkError(
                f"{pinned.source}: GitHub cannot be reached ({type(error).__name__}); see your proxy settings"
            ) from error
        if isinstance(error, OSError):
            raise BadInputError(f"{to}: cannot be written ({error.strerror}); free some space") from error
        raise
    return part


def _receive(pinned: Pin, file: BinaryIO) -> None:
    with requests.get(pinned.url, stream=True, timeout=_TIMEOUT) as answer:
        _check(pinned, answer.status_code)
        file.writelines(answer.iter_content(_CHUNK))


def _check(pinned: Pin, status: int) -> None:
    if status == requests.codes.not_found:
        raise BadInputError(
            f"{pinned.source}: GitHub shows no such commit to the public; mend the plugin's spec"
        )
    if status != requests.codes.ok:
        raise NetworkError(f"{pinned.source}: GitHub answers {status}; try again later")


def fetch(packages: Iterable[Package], to: Path) -> None:
    """Make sure that `to` holds the archive of each package that comes from GitHub. Raises NetworkError."""
    for package in packages:
        archive = to / package.tarball
        pinned = pin(f"github:{package.github}")
        if pinned is None or (archive.exists() and integrity(archive) == package.integrity):
            continue
        part = download(pinned, to)
        try:
            found = integrity(part)
            if found != package.integrity:
                raise NetworkError(
                    f"{package.key}: GitHub's archive has {found}, the lock {package.integrity}; lock again"
                )
            part.replace(archive)
        finally:
            part.unlink(missing_ok=True)
