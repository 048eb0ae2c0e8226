"""Downloads GitHub's archive of one commit of a repository, by hash."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import http
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.fetch.tarballs import integrity
from opencode_cache.npm import repository

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opencode_cache.formats.lock import Package
    from opencode_cache.npm.repository import Pin


def download(pinned: Pin, to: Path, most: int = http.MOST) -> Path:
    """The archive, of `most` bytes, in a file of its own in `to`. Raises NetworkError or BadInputError."""
    url = http.checked_base(pinned.url, repository.ARCHIVES)
    try:
        to.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".github-", suffix=".part", dir=to)
    except OSError as error:
        raise BadInputError(f"{to}: cannot be written ({error.strerror}); choose another place") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            http.Client().save(url, file, most=most)
    except http.AbsentError as error:
        part.unlink(missing_ok=True)
        raise BadInputError(
            f"{pinned.source}: GitHub shows no such commit to the public; fix the plugin's spec"
        ) from error
    except NetworkError as error:
        part.unlink(missing_ok=True)
        see = "; see your proxy settings" if isinstance(error, http.UnreachableError) else ""
        raise NetworkError(f"{pinned.source}: {error}{see}") from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BadInputError(f"{to}: cannot be written ({error.strerror}); free some space") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def fetch(packages: Iterable[Package], to: Path) -> None:
    """Make sure that `to` holds the archive of each package that comes from GitHub. Raises NetworkError."""
    for package in packages:
        archive = to / package.tarball
        pinned = repository.pin(f"github:{package.github}")
        if pinned is None or (archive.exists() and integrity(archive) == package.integrity):
            continue
        part = download(pinned, to, http.MOST if package.size is None else package.size)
        try:
            digest = integrity(part)
            if digest != package.integrity:
                raise NetworkError(
                    f"{package.key}: checksum mismatch: GitHub's archive has {digest}, the lock says "
                    f"{package.integrity}; lock again"
                )
            part.replace(archive)
        finally:
            part.unlink(missing_ok=True)
