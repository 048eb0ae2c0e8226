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

import requests

from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.npm import client as npm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from opencode_cache.formats.lock import Package

_CHUNK = 1 << 16
_TIMEOUT = (10, 30)
_TRIES = 4
_WORKERS = 8
_PASSING = (requests.codes.request_timeout, requests.codes.too_many_requests)


def integrity(path: Path) -> str:
    """The sha512 of a file in npm's notation (`sha512-<base64>`)."""
    digest = hashlib.sha512()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return "sha512-" + base64.b64encode(digest.digest()).decode()


class _Sessions(threading.local):
    """A connection pool per thread: requests does not promise that one may be shared."""

    def __init__(self) -> None:
        found = npm.registry()
        self.session = requests.Session()
        self.session.verify = found.cafile or found.verify
        # Else requests would put what ~/.netrc says in place of npm's own credentials.
        self.session.auth = _as_it_is


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _Downloads:
    def __init__(self, to: Path, on_bytes: Callable[[int], None]) -> None:
        self.to = to
        self.on_bytes = on_bytes
        self.stop = threading.Event()

    @cached_property
    def sessions(self) -> _Sessions:
        return _Sessions()

    def whole(self, package: Package) -> bool:
        """Whether the tarball is there with the right hash; a damaged one is removed."""
        target = self.to / package.tarball
        if not target.exists():
            return False
        if integrity(target) == package.integrity:
            return True
        target.unlink()  # damaged since: it was whole when it got this name
        return False

    def fetch(self, package: Package) -> None:
        target = self.to / package.tarball
        part = self.to / f"{package.tarball}.part"
        wrong = False
        for attempt in range(_TRIES):
            if self.stop.wait(attempt and 2**attempt / 2):
                return
            try:
                self._download(package, part, fresh=wrong, first=attempt == 0)
            except requests.RequestException as error:
                if attempt == _TRIES - 1:
                    raise NetworkError(
                        f"{package.key}: {_reason(error)}; run the same command again to resume"
                    ) from error
                continue
            if self.stop.is_set():
                return
            found = integrity(part)
            if found == package.integrity:
                part.replace(target)
                return
            part.unlink()
            if wrong:
                raise NetworkError(
                    f"{package.key}: the registry's tarball has {found}, the lock says {package.integrity}; "
                    "check the registry, or lock again"
                )
            wrong = True
        raise NetworkError(
            f"{package.key}: the download never came whole; run the same command again to resume"
        )

    def _download(self, package: Package, part: Path, *, fresh: bool, first: bool) -> None:
        done = part.stat().st_size if part.exists() and not fresh else 0
        url = npm.registry().tarball(package.name, package.version)
        headers = npm.registry().headers(url) | ({"Range": f"bytes={done}-"} if done else {})
        proxies = npm.registry().proxies_for(url)
        with self.sessions.session.get(
            url, headers=headers, stream=True, timeout=_TIMEOUT, proxies=proxies
        ) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                return  # all of it is there already
            if answer.status_code in (
                requests.codes.not_found,
                requests.codes.unauthorized,
                requests.codes.forbidden,
            ):
                raise NetworkError(
                    f"{package.key}: the registry answers {answer.status_code}; "
                    "check npm's registry and login, or lock again"
                )
            if answer.status_code >= requests.codes.bad_request:
                status = f"{package.key}: the registry answers {answer.status_code}"
                if answer.status_code in _PASSING or answer.status_code >= requests.codes.server_error:
                    raise requests.HTTPError(status)
                raise NetworkError(f"{status}; check npm's registry setting")
            resumed = answer.status_code == requests.codes.partial_content
            if resumed and first:
                self.on_bytes(done)
            with part.open("ab" if resumed else "wb") as file:
                for block in answer.iter_content(_CHUNK):
                    if self.stop.is_set():
                        return
                    file.write(block)
                    self.on_bytes(len(block))


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the registry did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "the registry cannot be reached"
    return f"the download failed ({error or type(error).__name__})"


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


def _fetch_all(wanted: Iterable[Package], downloads: _Downloads, on_done: Callable[[Package], None]) -> None:

    def one(package: Package) -> None:
        downloads.fetch(package)
        if not downloads.stop.is_set():
            on_done(package)

    with ThreadPoolExecutor(_WORKERS) as pool:
        ordered = list(wanted)
        missing = []
        for package, there in zip(ordered, pool.map(downloads.whole, ordered), strict=True):
            if there:
                on_done(package)
            else:
                missing.append(package)
        if missing:
            npm.registry()  # asked once, before the threads want it; npm need not be there when all else is
        futures = [pool.submit(one, package) for package in missing]
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
    sessions, registry = _Sessions(), npm.registry()

    def one(package: Package) -> tuple[str, int | None]:
        url = registry.tarball(package.name, package.version)
        try:
            answer = sessions.session.head(
                url,
                headers=registry.headers(url),
                timeout=_TIMEOUT,
                allow_redirects=True,
                proxies=registry.proxies_for(url),
            )
        except requests.RequestException:
            return package.key, None
        length = answer.headers.get("content-length", "")
        return package.key, int(length) if answer.ok and length.isdigit() else None

    with ThreadPoolExecutor(_WORKERS * 2) as pool:
        return {key: size for key, size in pool.map(one, packages) if size is not None}
