"""Servers on 127.0.0.1 that stand in for the outside world: a model API and an npm registry.

Each is a context manager, records everything that it is asked, and is gone when the context ends.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from opencode_cache.sandbox import dialects
from opencode_cache.sandbox.dialects import ANSWER

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["ANSWER", "NO_SUCH_PATH", "ModelRequest", "ModelServer", "TripwireRegistry"]

NO_SUCH_PATH = "the loopback model has no such path"
_LARGEST_BODY = 64 * 1024 * 1024
_SOCKET_TIMEOUT = 30
_POLL = 0.02


class _TooLargeError(Exception):
    """The request's body is larger than any that OpenCode sends."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _SOCKET_TIMEOUT
    server: _HttpServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: what matters is recorded."""

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts, total = [], 0
            while size := int(self.rfile.readline(100).split(b";")[0].strip() or b"0", 16):
                total += size
                if total > _LARGEST_BODY:
                    raise _TooLargeError
                parts.append(self.rfile.read(size))
                self.rfile.readline(100)
            self.rfile.readline(100)
            return b"".join(parts)
        length = int(self.headers.get("content-length") or 0)
        if not 0 <= length <= _LARGEST_BODY:
            raise _TooLargeError
        return self.rfile.read(length)

    def _answer(self) -> None:
        try:
            status, content_type, body = self.server.owner.answer(self.command, self.path, self._body())
        except _TooLargeError:
            self.close_connection = True
            status, content_type, body = 413, "application/json", b'{"error":"the body is too large"}'
        except ValueError:
            # A length that is no number: what follows on this connection cannot be told apart.
            self.close_connection = True
            status, content_type, body = 400, "application/json", b'{"error":"not an HTTP body"}'
        try:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except ConnectionError:
            # OpenCode hangs up on a title request when it ends; what it asked is recorded already.
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_CONNECT = _answer  # noqa: N815


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    # A thread that waits on an idle keep-alive connection must not hold up the end of the server.
    block_on_close = False
    request_queue_size = 128

    def __init__(self, owner: _Loopback) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is no news."""


class _Loopback(ABC):
    """An HTTP server on a free port of 127.0.0.1 while the context lasts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _HttpServer | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at the end; "" before the context begins."""
        return self._url

    def __enter__(self) -> Self:
        self._server = _HttpServer(self)
        self._url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(_POLL,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    @abstractmethod
    def answer(self, method: str, target: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body for one request."""


@dataclass(frozen=True)
class ModelRequest:
    method: str
    path: str
    model: str
    """"" where the request is none of a model API that the server speaks."""
    tools: tuple[str, ...] = ()
    """The names of the tools that were offered."""


class ModelServer(_Loopback):
    """A model API that answers every prompt with `LOOPBACK-OK`, in the dialect of the request's path.

    `RUN:command:END` in a prompt makes it ask for that command by the bash tool once, if the tool is offered.
    """

    def __init__(self) -> None:
        super().__init__()
        self._requests: list[ModelRequest] = []
        self._tool_results: list[tuple[str, str]] = []

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """What was asked until now, in order."""
        with self._lock:
            return tuple(self._requests)

    @property
    def tool_results(self) -> tuple[str, ...]:
        """What the tools gave back, in the order of arrival."""
        with self._lock:
            return tuple(text for _, text in self._tool_results)

    def tool_results_of(self, model: str) -> tuple[str, ...]:
        """What the tools gave back to one model."""
        with self._lock:
            return tuple(text for name, text in self._tool_results if name == model)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body for a request; 404 for what is no model API."""
        path = unquote(urlsplit(target).path)
        dialect = dialects.for_path(path) if method == "POST" else None
        try:
            document = json.loads(body) if dialect else None
        except ValueError:
            document = None
        if dialect is None or not isinstance(document, dict):
            with self._lock:
                self._requests.append(ModelRequest(method, path, ""))
            return 404, "application/json", json.dumps({"error": {"message": NO_SUCH_PATH}}).encode()
        ask = dialect.read(path, document)
        with self._lock:
            self._requests.append(ModelRequest(method, path, ask.model, ask.tools))
            self._tool_results += [(ask.model, result) for result in ask.tool_results]
        answer = dialect.write(ask)
        return 200, answer.content_type, answer.body


class TripwireRegistry(_Loopback):
    """An npm registry that has nothing to give and remembers who asked.

    As an HTTP proxy it gives nothing either: `hosts` are those that clients wanted to reach through it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._requests: list[tuple[str, str]] = []
        self._security: list[tuple[str, str]] = []
        self._hosts: list[str] = []

    @property
    def requests(self) -> tuple[tuple[str, str], ...]:
        """(method, path) of everything but audits, in the order of arrival."""
        with self._lock:
            return tuple(self._requests)

    @property
    def security_requests(self) -> tuple[tuple[str, str], ...]:
        """(method, path) of npm's audits, which ask about packages that are there."""
        with self._lock:
            return tuple(self._security)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts asked for through this server as a proxy, in the order of arrival."""
        with self._lock:
            return tuple(self._hosts)

    @property
    def asked(self) -> set[str]:
        """Names of the packages asked for: `/@scope%2fname` and its tarballs are `@scope/name`."""
        with self._lock:
            names = {_package(path) for method, path in self._requests if method != "CONNECT"}
        return {name for name in names if name}

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, str, bytes]:  # noqa: ARG002 - its content tells nothing
        """404 for everything; what was asked for is kept, by kind."""
        parts = urlsplit(target if "://" in target or target.startswith("/") else f"//{target}")
        with self._lock:
            if parts.hostname:
                self._hosts.append(parts.hostname)
            elif parts.path.startswith("/-/npm/v1/security/"):
                self._security.append((method, parts.path))
            else:
                self._requests.append((method, parts.path))
        return 404, "application/json", b'{"error":"Not found"}'


def _package(path: str) -> str:
    parts = unquote(path).strip("/").split("/")
    return "" if parts[0] in ("", "-") else "/".join(parts[: 2 if parts[0].startswith("@") else 1])
