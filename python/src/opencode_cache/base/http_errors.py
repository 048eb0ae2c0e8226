"""What goes wrong between us and a host, by kind, so that whoever asked can say the fix that fits."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from opencode_cache.base.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator

Why = Literal["certificate", "name", "proxy", "proxy login", "connection"]


class UnreachableError(NetworkError):
    """No connection to the host. `why`: its certificate is not trusted, no name, the proxy, nobody there."""

    def __init__(self, text: str, why: Why = "connection", detail: str = "") -> None:
        super().__init__(text)
        self.why = why
        self.detail = detail


class AbsentError(NetworkError):
    """The host answered, and does not have it."""


class RefusedError(NetworkError):
    """The host, or a proxy before it, wants another login: 401, 403 or 407."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class PassingError(NetworkError):
    """Worth another try."""


class LimitedError(NetworkError):
    """Asked too often. `seconds`: how long to wait, where the host tells."""

    def __init__(self, text: str, seconds: float | None) -> None:
        super().__init__(text)
        self.seconds = seconds


def explain(error: BaseException, url: str) -> None:
    """Raise what an error of requests, of urllib3 or of a URL means; others are left as they are."""
    host = urlsplit(url).hostname or url
    if isinstance(error, requests.ReadTimeout):
        raise PassingError(f"{host} did not answer in time ({url})") from error
    if isinstance(error, requests.ConnectTimeout) or _not_connected(error):
        why, detail = _why(error)
        more = f": its certificate is not trusted ({detail})" if why == "certificate" else ""
        raise UnreachableError(f"{host} cannot be reached{more}", why, detail) from error
    if isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError, ValueError)):
        # Not its text: that may hold a header with a secret.
        raise PassingError(f"{host} gave no complete answer ({url})") from error


def _not_connected(error: BaseException) -> bool:
    """Whether nobody was reached at all, in difference to a connection that broke."""
    if not isinstance(error, requests.ConnectionError):
        return False
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, (requests.exceptions.ProxyError, requests.exceptions.SSLError)) or isinstance(
        reason, urllib3.exceptions.NewConnectionError
    )


def _why(error: BaseException) -> tuple[Why, str]:
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return "certificate", one.verify_message
    if any(isinstance(one, OSError) and "407" in str(one) for one in chain):
        return "proxy login", ""
    if isinstance(error, requests.exceptions.ProxyError):
        return "proxy", ""
    if any(isinstance(one, socket.gaierror) for one in chain):
        return "name", ""
    return "connection", ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made of: requests and urllib3 keep that in three places."""
    left, seen = [error], set[int]()
    while left:
        part = left.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        inner = (part.__cause__, part.__context__, getattr(part, "reason", None), *part.args)
        left += [cause for cause in inner if isinstance(cause, BaseException)]
