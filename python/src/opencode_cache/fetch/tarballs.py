"""Downloads tarballs by hash: in parallel, resumable, checked before they count.

A finished tarball stands under its final name; an unfinished one under `.part`, from which the next
run goes on. Nothing else is ever in the directory.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from opencode_cache.base import files, http
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.npm import client as npm
from opencode_cache.npm import failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from opencode_cache.formats.lock import Package

_CHUNK = 1 << 16
_WORKERS = 8


def integrity(path: Path) -> str:
    """The sha512 of a file in npm's notation (`sha512-<base64>`)."""
    digest = hashlib.sha512()
    with files.open_regular(path) as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return "sha512-" + base64.b64encode(digest.digest()).decode()


def client() -> http.Client:
    """The HTTP client as npm's configuration has it."""
    registry = npm.registry()
    return http.Client(
        verify=registry.cafile or registry.verify, plain=registry.plain_hosts, proxies=registry.proxies_for
    )


class _Downloads:
    def __init__(self, to: Path, on_bytes: Callable[[int], None]) -> None:
        self.to = to
        self.on_bytes = on_bytes
        self.stop = threading.Event()

    @cached_property
    def client(self) -> http.Client:
        return client()

    def whole(self, package: Package) -> bool:
        """Whether the tarball is there with the right hash; a damaged one is removed."""
        target = self.to / package.tarball
        if not target.exists():
            return False
        try:
            if integrity(target) == package.integrity:
                return True
        except OSError as error:
            raise BadInputError(
                f"{package.key}: {target} cannot be read ({error.strerror}); remove it"
            ) from error
        target.unlink()  # damaged since: it was whole when it got this name
        return False

    def fetch(self, package: Package) -> None:
        part = self.to / f"{package.tarball}.part"
        digest = ""
        for again in (False, True):  # a part of an earlier run may be damaged
            self._download(package, part)
            if self.stop.is_set():
                return
            digest = integrity(part)
            if digest == package.integrity:
                part.replace(self.to / package.tarball)
                return
            part.unlink()
            if again:
                break
        raise NetworkError(
            f"{package.key}: checksum mismatch: the registry's tarball has {digest}, the lock says "
            f"{package.integrity}; check the registry, or lock again"
        )

    def _download(self, package: Package, part: Path) -> None:
        registry = npm.registry()
        url = registry.tarball(package.name, package.version)
        most = http.MOST if package.size is None else package.size
        try:
            with part.open("a+b") as file:
                self.client.save(
                    url,
                    file,
                    most=most,
                    headers=registry.headers(url),
                    on_bytes=self.on_bytes,
                    stop=self.stop,
                )
        except NetworkError as error:
            if part.stat().st_size == 0:
                part.unlink()
            if not self.stop.is_set():
                why = failures.of_download(error, url, package.name, registry)
                raise NetworkError(f"{package.key}: {why}") from error


def fetch(
    packages: Iterable[Package],
    to: Path,
    *,
    on_bytes: Callable[[int], None] = lambda _: None,
    on_done: Callable[[Package], None] = lambda _: None,
) -> None:
    """Make sure that `to` holds the tarball of every package, whole and with the right hash.

    `on_bytes` is told of bytes as they arrive, `on_done` of every package that is there; both are called
    from several threads. Raises NetworkError (nothing that had arrived is lost) or BadInputError where
    the directory cannot be written.
    """
    wanted = sorted({package.key: package for package in packages}.values(), key=lambda p: -(p.size or 0))
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{to}: cannot be made ({error.strerror}); choose another --to") from error
    with _alone_in(to):
        _fetch_all(wanted, _Downloads(to, on_bytes), on_done)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Two fetches into one directory would cut each other's parts: the second waits for the first."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _missing(
    pool: ThreadPoolExecutor, wanted: list[Package], downloads: _Downloads, on_done: Callable[[Package], None]
) -> list[Package]:
    there = list(zip(wanted, pool.map(downloads.whole, wanted), strict=True))
    for package, whole in there:
        if whole:
            on_done(package)
    return [package for package, whole in there if not whole]


def _fetch_all(wanted: Iterable[Package], downloads: _Downloads, on_done: Callable[[Package], None]) -> None:

    def fetch_one(package: Package) -> None:
        if downloads.stop.is_set():
            return
        downloads.fetch(package)
        if not downloads.stop.is_set():
            on_done(package)

    with ThreadPoolExecutor(_WORKERS) as pool:
        missing = _missing(pool, list(wanted), downloads, on_done)
        if missing:
            npm.registry()  # asked once, before the threads want it; npm need not be there when all else is
        futures = [pool.submit(fetch_one, package) for package in missing]
        try:
            # Waiting in slices keeps Ctrl-C prompt.
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
        except OSError as error:
            raise BadInputError(
                f"{downloads.to}: cannot be written ({error.strerror}); "
                "free some space or choose another place"
            ) from error
        finally:
            downloads.stop.set()
            for future in futures:
                future.cancel()


def sizes(packages: Iterable[Package]) -> dict[str, int]:
    """Length in bytes of each tarball, by key; those that the registry does not tell are left out."""
    asking, registry = client(), npm.registry()

    def size_of(package: Package) -> tuple[str, int | None]:
        url = registry.tarball(package.name, package.version)
        return package.key, asking.length(url, registry.headers(url))

    with ThreadPoolExecutor(_WORKERS * 2) as pool:
        return {key: size for key, size in pool.map(size_of, packages) if size is not None}
