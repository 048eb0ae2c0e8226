"""One request of the HTTP client: its redirects, its watch, its body."""

from __future__ import annotations

import http.cookiejar
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

import requests

from opencode_cache.base.errors import NetworkError
from opencode_cache.base.http_errors import AbsentError, LimitedError, PassingError, RefusedError, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_CHUNK = 1 << 14
_SLICE = 0.2
_REDIRECTS = 5
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST_NUMBER = 15
_DENIED = (
    requests.codes.unauthorized,
    requests.codes.forbidden,
    requests.codes.proxy_authentication_required,
)
_IDENTITY = {"Accept-Encoding": "identity", "User-Agent": "opencode-cache"}
_T = TypeVar("_T")


def host(url: str) -> str:
    """The host of an address, for a sentence."""
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def allowed(url: str, plain: frozenset[str]) -> bool:
    """Whether an address may be asked: https, or http to this machine or to one of the hosts in `plain`."""
    try:
        parts = urlsplit(url)
        name = parts.hostname
    except ValueError:
        return False
    near = parts.scheme == "http" and name in {*_LOOPBACK, *plain}
    return bool(name) and (parts.scheme == "https" or near)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def number(text: str) -> int | None:
    """What a header says in digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


def without_login(url: str) -> str:
    """The address without what is before an `@` in it, which no sentence may hold."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _session(client: Settings) -> requests.Session:
    """One that is nobody else's, perhaps with open connections; without netrc and cookies."""
    try:
        return client.idle.pop()
    except IndexError:
        session = requests.Session()
        session.auth = _as_it_is  # else ~/.netrc would have a say
        session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


@dataclass(frozen=True)
class Settings:
    """Whom to ask, and how long. Times are in seconds."""

    verify: bool | str = True
    """As requests takes it: a file with certificates of authorities, or whether to look at them at all."""
    plain: frozenset[str] = frozenset()
    """Hosts that may be asked over http, beside this machine: the user's settings name them so."""
    proxies: Callable[[str], Mapping[str, str]] = field(default=lambda _: {})
    """For an address; an empty answer leaves it to the environment."""
    login: str = ""
    """The environment variable with the login, for sentences."""
    connect: float = 10
    silence: float = 30
    """Longest time for 16 KiB, which is the floor of speed."""
    pause: float = 1
    """Before the second try; then twice as long, and so on."""
    idle: list[requests.Session] = field(default_factory=list, repr=False, compare=False)
    """Sessions that nobody uses: requests does not promise that two threads may share one."""
    answered: set[str] = field(default_factory=set, repr=False, compare=False)
    """Hosts that were reached before: where one of them cannot be, that may pass."""


class Work:
    """What the thread that asks and the one that waits know of each other."""

    def __init__(self) -> None:
        self.bytes = 0
        self.hops = 0
        self.stop = threading.Event()


def within(
    client: Settings, url: str, once: Callable[[Work], _T], until: float | None, stop: threading.Event
) -> _T:
    """Ask in a thread of its own: a host that sends a byte now and then keeps every socket's timeout off."""
    work = Work()
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
    since, seen = time.monotonic() + client.connect, (0, 0)
    try:
        while not ended.wait(_SLICE):
            now = time.monotonic()
            if stop.is_set():
                work.stop.set()
                if ended.wait(_SLICE):
                    break
                raise NetworkError(f"the download from {host(url)} was stopped ({url})")
            if until is not None and now > until:
                raise NetworkError(f"{host(url)} did not finish its answer in time ({url}); try again later")
            if work.hops > seen[1] or work.bytes - seen[0] >= _CHUNK:
                since, seen = now, (work.bytes, work.hops)
            elif now - since > client.silence:
                raise NetworkError(f"{host(url)} is too slow ({url}); try again later")
    finally:
        work.stop.set()
    if failure:
        raise failure[0]
    return result[0]


class Answer:
    """The answer behind an address, after redirects; its errors as ours."""

    def __init__(self, client: Settings, method: str, url: str, headers: dict[str, str], work: Work) -> None:
        self.client, self.method, self.url, self.headers, self.work = client, method, url, headers, work
        self.session = _session(client)
        self.answer: requests.Response | None = None

    def __enter__(self) -> requests.Response:
        try:
            self.answer = self._follow()
            self._judge(self.answer)
        except BaseException as error:
            self.session.close()
            explain(error, self.url)
            raise
        return self.answer

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.answer is not None:
            self.answer.close()  # gives the connection back where the body was read to its end
        if error is not None:
            self.session.close()
            explain(error, self.url)
        else:
            self.client.idle.append(self.session)

    def _follow(self) -> requests.Response:
        url, headers, name = self.url, self.headers, host(self.url)
        if not allowed(url, self.client.plain):
            raise NetworkError(f"{url} is not an https address; nothing was asked for")
        for _ in range(_REDIRECTS + 1):
            answer = self.session.request(
                self.method,
                url,
                headers=_IDENTITY | headers,
                timeout=(self.client.connect, self.client.silence),
                allow_redirects=False,
                stream=True,
                proxies=dict(self.client.proxies(url)),
                verify=self.client.verify,
            )
            self.work.hops += 1
            self.client.answered.add(host(url))
            if not answer.is_redirect:
                return answer
            answer.close()
            target = urljoin(url, answer.headers["location"])
            # From elsewhere nobody is sent to this machine's own services, and from https not to http.
            loops = host(target) in _LOOPBACK and host(url) not in _LOOPBACK
            weaker = urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"
            if not allowed(target, self.client.plain) or loops or weaker:
                raise NetworkError(f"{name} redirects to an address that is not https ({self.url})")
            if _origin(target) != _origin(url):
                headers = {key: value for key, value in headers.items() if key != "Authorization"}
            url = target
        raise NetworkError(f"{name} redirects too many times ({self.url})")

    def _judge(self, answer: requests.Response) -> None:
        status, name, url = answer.status_code, host(self.url), self.url
        encoding = answer.headers.get("content-encoding", "identity")
        whole = status in (requests.codes.ok, requests.codes.partial_content)
        if whole and encoding.strip().lower() not in ("", "identity"):
            raise NetworkError(
                f"{name} sent a compressed answer ({encoding[:30]!r}) that was not asked for ({url})"
            )
        if whole or ("Range" in self.headers and status == requests.codes.requested_range_not_satisfiable):
            return
        spent = answer.headers.get("x-ratelimit-remaining") == "0"
        after = answer.headers.get("retry-after", "")
        limited = status == requests.codes.forbidden and (spent or after)
        if status == requests.codes.too_many_requests or limited:
            seconds = number(after)  # a date is not waited for
            when = f"; it says: wait {seconds} s" if seconds is not None else ""
            if not after and not spent:
                seconds = int(self.client.pause)
            mine = f", or set {self.client.login}" if self.client.login else ""
            raise LimitedError(
                f"{name} limits how often it may be asked ({status}){when}; try again later{mine}", seconds
            )
        check = f"check {self.client.login or 'the login'} and the proxy settings"
        if status in (requests.codes.not_found, requests.codes.gone):
            raise AbsentError(f"{name} has nothing at {url} ({status})")
        if status in _DENIED:
            raise RefusedError(f"{name} answers {status} ({url}); {check}", status)
        if status >= requests.codes.server_error or status == requests.codes.request_timeout:
            raise PassingError(f"{name} answers {status} ({url})")
        raise NetworkError(f"{name} answers {status} ({url}); {check}")


def blocks(answer: requests.Response, work: Work, most: int) -> Iterator[bytes]:
    """The body, until nobody waits for it any more. Raises NetworkError before a byte more than `most`."""
    left = most
    announced = number(answer.headers.get("content-length", "")) or 0
    for block in answer.iter_content(_CHUNK) if announced <= most else ():
        if work.stop.is_set():
            return
        work.bytes += len(block)
        left -= len(block)
        if left < 0:
            break
        yield block
    if left < 0 or announced > most:
        raise NetworkError(f"{host(answer.url)} sent more than the expected {most} bytes ({answer.url})")
