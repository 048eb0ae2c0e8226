"""The one HTTP client: an answer in bounded time, memory and disk, from where we may go, or one sentence.

https, and http to this machine or to a host that the user's own settings name with http. No netrc, no
cookies, no compression; a redirect leads to nothing less safe, and no login goes with it to another host.

A host that cannot be connected to is `UnreachableError`: there may be ways around it. An answer that is slow,
cut, refused or not what was asked for is another NetworkError: nobody should go on from there.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import requests

from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.base.http_errors import (
    AbsentError,
    LimitedError,
    PassingError,
    RefusedError,
    UnreachableError,
)
from opencode_cache.base.http_exchange import (
    Answer,
    Settings,
    Work,
    allowed,
    blocks,
    host,
    number,
    within,
    without_login,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

__all__ = [
    "MOST",
    "AbsentError",
    "Client",
    "RefusedError",
    "UnreachableError",
    "checked_base",
    "host",
    "without_login",
]

MOST = 512 << 20
"""Bytes of a download whose length nobody has told: four times the longest package of OpenCode."""
_T = TypeVar("_T")


def checked_base(url: str, setting: str) -> str:
    """An address to ask below: https, or loopback. Raises BadInputError that names the setting."""
    if not allowed(url, frozenset()):
        raise BadInputError(f"{setting} is {url!r}; give an https address, or one on this machine")
    return url.rstrip("/")


@dataclass(frozen=True)
class Client(Settings):
    """Also how often to ask. Times are in seconds, lengths in bytes."""

    total: float = 120
    """Longest time for an answer that is held in memory."""
    longest_pause: float = 15
    """Longest `Retry-After` that is waited for."""
    tries: int = 4
    most: int = 16 << 20
    """Longest answer that is held in memory."""
    on_wait: Callable[[str], None] = field(default=lambda _: None)

    def read(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The body at an address. Raises UnreachableError, AbsentError, RefusedError, other NetworkErrors."""
        url = without_login(url)

        def once(work: Work) -> bytes:
            body = bytearray()
            with Answer(self, "GET", url, dict(headers or {}), work) as answer:
                for block in blocks(answer, work, self.most):
                    body += block
            return bytes(body)

        return self._tried(url, once, time.monotonic() + self.total, threading.Event())

    def length(self, url: str, headers: Mapping[str, str] | None = None) -> int | None:
        """The length in bytes of what is at an address; None where it is not told."""
        url = without_login(url)

        def once(work: Work) -> str:
            with Answer(self, "HEAD", url, dict(headers or {}), work) as answer:
                return answer.headers.get("content-length", "")

        try:
            answered = within(self, url, once, time.monotonic() + self.total, threading.Event())
        except NetworkError:
            return None
        return number(answered)

    def save(
        self,
        url: str,
        file: BinaryIO,
        *,
        most: int,
        size: int | None = None,
        headers: Mapping[str, str] | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
        stop: threading.Event | None = None,
    ) -> None:
        """Append the body at an address to a file; what the file has is kept where the host knows ranges.

        The file will have `size` bytes where that is known, and never more than `most`. Once `stop` is set
        this returns with what has come. Raises as `read` does, with what had arrived in the file.
        """
        told = False
        url = without_login(url)

        def once(work: Work) -> None:
            nonlocal told
            done = file.seek(0, 2)
            if size is not None and done >= size:
                return
            ranged = {"Range": f"bytes={done}-"} if done else {}
            with Answer(self, "GET", url, dict(headers or {}) | ranged, work) as answer:
                if answer.status_code == requests.codes.requested_range_not_satisfiable:
                    return  # all of it is there already
                if answer.status_code != requests.codes.partial_content:
                    done = 0
                    file.truncate(0)
                    file.seek(0)
                if not told:
                    told = True
                    on_bytes(done)
                for block in blocks(answer, work, most - done):
                    file.write(block)
                    done += len(block)
                    on_bytes(len(block))
            file.flush()
            if size is not None and done < size and not work.stop.is_set():
                raise PassingError(f"{host(url)} sent {done} of {size} bytes ({url})")

        self._tried(url, once, None, stop or threading.Event())

    def _tried(self, url: str, once: Callable[[Work], _T], until: float | None, stop: threading.Event) -> _T:
        attempt = 0
        while True:
            attempt += 1
            try:
                return within(self, url, once, until, stop)
            except LimitedError as limited:
                wait = limited.seconds
                if wait is None or wait > self.longest_pause or attempt == self.tries:
                    raise NetworkError(str(limited)) from limited
            except UnreachableError:
                if attempt == self.tries or host(url) not in self.answered:
                    raise
                wait = self.pause * 2.0 ** (attempt - 1)
            except PassingError as error:
                if attempt == self.tries:
                    raise NetworkError(f"{error}; try again later") from error
                wait = self.pause * 2.0 ** (attempt - 1)
            if until is not None and time.monotonic() + wait >= until:
                raise NetworkError(f"{host(url)} did not answer in time ({url}); try again later")
            self.on_wait(f"{host(url)} does not answer as it should; asking again in {wait:.0f} s")
            if stop.wait(wait):
                raise NetworkError(f"the download from {host(url)} was stopped ({url}); try again later")
