"""Downloads GitHub's archive of one commit of a repository, by hash."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from opencode_cache.base import files, http
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.fetch.tarballs import integrity
from opencode_cache.npm import repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from opencode_cache.formats.lock import Package
    from opencode_cache.npm.repository import Pin


@contextmanager
def downloaded(pinned: Pin, to: Path, most: int = http.MOST) -> Iterator[Path]:
    """The archive, of `most` bytes, on the disk that `to` is on, until it is renamed.

    Raises NetworkError or BadInputError.
    """
    url = http.checked_base(pinned.url, repository.ARCHIVES)
    with ExitStack() as stack:
        try:
            part = stack.enter_context(files.beside(to / "archive")) / "archive"
            with part.open("xb") as file:
                http.Client().save(url, file, most=most)
        except http.AbsentError as error:
            raise BadInputError(
                f"{pinned.source}: GitHub shows no such commit to the public; fix the plugin's spec"
            ) from error
        except NetworkError as error:
            see = "; see your proxy settings" if isinstance(error, http.UnreachableError) else ""
            raise NetworkError(f"{pinned.source}: {error}{see}") from error
        except OSError as error:
            raise BadInputError(
                f"{to}: cannot be written ({error.strerror}); free some space, or choose another place"
            ) from error
        yield part


def fetch(packages: Iterable[Package], to: Path) -> None:
    """Make sure that `to` holds the archive of each package that comes from GitHub. Raises NetworkError."""
    files.sweep(to)
    for package in packages:
        archive = to / package.tarball
        pinned = repository.pin(f"github:{package.github}")
        if pinned is None or (archive.exists() and integrity(archive) == package.integrity):
            continue
        with downloaded(pinned, to, http.MOST if package.size is None else package.size) as part:
            digest = integrity(part)
            if digest != package.integrity:
                raise NetworkError(
                    f"{package.key}: checksum mismatch: GitHub's archive has {digest}, the lock says "
                    f"{package.integrity}; lock again"
                )
            part.replace(archive)
