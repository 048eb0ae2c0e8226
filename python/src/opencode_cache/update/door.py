"""The one door to GitHub: an answer in bounded time and memory, from where we may be sent, or one sentence.

A host that cannot be connected to is `UnreachableError`: there are ways around it. An answer that is slow,
cut, refused or not what was asked for is a NetworkError: nobody should go on from there.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from opencode_cache.base.errors import BadInputError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

_T = TypeVar("_T")
_CHUNK = 1 << 16
_SLICE = 0.2
_REDIRECTS = 5
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LIMITED = (requests.codes.forbidden, requests.codes.too_many_requests)


class UnreachableError(NetworkError):
    """No connection to the host: no name, no route, nobody there."""


class AbsentError(NetworkError):
    """The host answered, and does not have it."""


class _PassingError(NetworkError):
    """Worth another try."""


def checked_base(url: str, setting: str) -> str:
    """An address to ask below: https, or loopback. Raises BadInputError that names the setting."""
    if not _allowed(url):
        raise BadInputError(f"{setting} is {url!r}; give an https address, or one on this machine")
    return url.rstrip("/")


def _allowed(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))


@dataclass(frozen=True)
class Door:
    """How long and how often to ask. Times are in seconds, lengths in bytes."""

    connect: float = 10
    silence: float = 30
    """Longest time without a byte, and longest for 64 KiB."""
    total: float = 120
    """Longest time for an answer that is held in memory."""
    total_to_file: float = 1800
    longest_pause: float = 15
    """Longest `Retry-After` that is waited for."""
    tries: int = 3
    pause: float = 1
    most: int = 16 << 20
    """Longest answer that is held in memory."""
    on_wait: Callable[[str], None] = field(default=lambda _: None)

    def read(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The body at an address. Raises UnreachableError, AbsentError, NetworkError."""

        def once(work: _Work) -> bytes:
            body = bytearray()
            with _opened(self, url, dict(headers or {}), work) as answer:
                for block in _blocks(answer, work):
                    body += block
                    if len(body) > self.most:
                        raise NetworkError(f"{_host(url)} answers with more than {self.most} bytes ({url})")
            return bytes(body)

        return self._tried(url, once, self.total)

    def save(self, url: str, file: BinaryIO, size: int, on_bytes: Callable[[int], None]) -> None:
        """Append the body at an address to a file that will then have `size` bytes; what it has is kept.

        Raises as `read` does. What had arrived stays in the file.
        """

        def once(work: _Work) -> None:
            done = file.seek(0, 2)
            if done >= size:
                return
            headers = {"Range": f"bytes={done}-"} if done else {}
            with _opened(self, url, headers, work) as answer:
                if done and answer.status_code != requests.codes.partial_content:
                    file.truncate(0)
                    file.seek(0)
                    done = 0
                on_bytes(done)
                for block in _blocks(answer, work):
                    done += len(block)
                    if done > size:
                        raise NetworkError(
                            f"{_host(url)} gives more than the {size} bytes it spoke of ({url})"
                        )
                    file.write(block)
                    on_bytes(len(block))
            file.flush()
            if done < size:
                raise _PassingError(f"{_host(url)} gave {done} of {size} bytes ({url})")

        self._tried(url, once, self.total_to_file)

    def _tried(self, url: str, once: Callable[[_Work], _T], total: float) -> _T:
        until = time.monotonic() + total
        for attempt in range(self.tries):
            try:
                return _within(self, url, once, until)
            except _LimitedError as limited:
                wait = limited.seconds
                if wait is None or wait > self.longest_pause or attempt == self.tries - 1:
                    raise NetworkError(str(limited)) from limited
            except _PassingError as error:
                if attempt == self.tries - 1:
                    raise NetworkError(f"{error}; try again later") from error
                wait = self.pause * 2**attempt
            if time.monotonic() + wait >= until:
                break
            self.on_wait(f"{_host(url)} does not answer as it should; asking again in {wait:.0f} s")
            time.sleep(wait)
        raise NetworkError(f"{_host(url)} did not answer within {total:.0f} s ({url}); try again later")


class _LimitedError(NetworkError):
    """Asked too often. `seconds`: how long to wait, where the host tells."""

    def __init__(self, text: str, seconds: float | None) -> None:
        super().__init__(text)
        self.seconds = seconds


class _Work:
    """What the thread that asks and the one that waits know of each other."""

    def __init__(self) -> None:
        self.moved = time.monotonic()
        self.stop = False


def _within(door: Door, url: str, once: Callable[[_Work], _T], until: float) -> _T:
    """Ask in a thread of its own: a host that sends a byte now and then keeps no socket's timeout busy."""
    work = _Work()
    result: list[_T] = []
    failure: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            result.append(once(work))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            failure.append(error)
        finally:
            ended.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        while not ended.wait(_SLICE):
            now = time.monotonic()
            if now > until:
                raise NetworkError(f"{_host(url)} did not end its answer in time ({url}); try again later")
            if now - work.moved > door.silence + door.connect:
                raise NetworkError(f"{_host(url)} is too slow ({url}); try again later")
    finally:
        work.stop = True
    if failure:
        raise failure[0]
    return result[0]


class _opened:  # noqa: N801 - reads as what it is where it is used
    """The answer behind an address, after redirects; closed at the end, its errors as ours."""

    def __init__(self, door: Door, url: str, headers: dict[str, str], work: _Work) -> None:
        self.door = door
        self.url = url
        self.headers = headers
        self.work = work
        self.session = requests.Session()
        self.session.auth = _as_it_is  # or ~/.netrc would have a say

    def __enter__(self) -> requests.Response:
        try:
            return self._follow()
        except BaseException as error:
            self.session.close()
            self._explain(error)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.session.close()
        if error is not None:
            self._explain(error)

    def _follow(self) -> requests.Response:
        url, headers = self.url, self.headers
        for _ in range(_REDIRECTS + 1):
            answer = self.session.get(
                url,
                headers={"Accept-Encoding": "identity", "User-Agent": "opencode-cache"} | headers,
                timeout=(self.door.connect, self.door.silence),
                allow_redirects=False,
                stream=True,
            )
            self.work.moved = time.monotonic()
            if not answer.is_redirect:
                _judge(answer, self.url)
                return answer
            answer.close()
            target = urljoin(url, answer.headers["location"])
            # From GitHub nobody is sent to this machine's own services.
            loops = _host(target) in _LOOPBACK and _host(self.url) not in _LOOPBACK
            if not _allowed(target) or loops:
                raise NetworkError(f"{_host(self.url)} sends to an address that is not https ({self.url})")
            if _host(target) != _host(url):
                headers = {key: value for key, value in headers.items() if key != "Authorization"}
            url = target
        raise NetworkError(f"{_host(self.url)} sends from one address to the next without end ({self.url})")

    def _explain(self, error: BaseException) -> None:
        host = _host(self.url)
        if isinstance(error, requests.ReadTimeout):
            raise NetworkError(f"{host} did not answer in time ({self.url}); try again later") from error
        if isinstance(error, requests.ConnectTimeout) or _not_connected(error):
            raise UnreachableError(f"{host} cannot be reached") from error
        if isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError, ValueError)):
            # Not its text: that may hold a header with a secret.
            raise _PassingError(f"{host} broke off its answer ({self.url})") from error


def _not_connected(error: BaseException) -> bool:
    """Whether nobody was reached at all, in difference to a connection that broke."""
    if not isinstance(error, requests.ConnectionError):
        return False
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, (requests.exceptions.ProxyError, requests.exceptions.SSLError)) or isinstance(
        reason, urllib3.exceptions.NewConnectionError
    )


def _judge(answer: requests.Response, url: str) -> None:
    status, host = answer.status_code, _host(url)
    if status in (requests.codes.ok, requests.codes.partial_content):
        return
    spent = answer.headers.get("x-ratelimit-remaining") == "0"
    after = answer.headers.get("retry-after", "")
    if status == requests.codes.too_many_requests or (status in _LIMITED and (spent or after)):
        # ASCII, so that int() takes it; a date, or nothing, is not waited for.
        seconds = int(after) if after.isascii() and after.isdigit() and len(after) < 7 else None  # noqa: PLR2004
        when = f"; it says: wait {seconds} s" if seconds is not None else ""
        raise _LimitedError(
            f"{host} limits how often it may be asked ({status}){when}; try again later, or set GITHUB_TOKEN",
            seconds,
        )
    if status in (requests.codes.not_found, requests.codes.gone):
        raise AbsentError(f"{host} has nothing at {url}")
    if status >= requests.codes.server_error:
        raise _PassingError(f"{host} answers {status} ({url})")
    raise NetworkError(f"{host} answers {status} ({url}); check GITHUB_TOKEN and the proxy settings")


def _blocks(answer: requests.Response, work: _Work) -> Iterator[bytes]:
    for block in answer.iter_content(_CHUNK):
        if work.stop:
            return  # nobody waits any more
        work.moved = time.monotonic()
        yield block


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
