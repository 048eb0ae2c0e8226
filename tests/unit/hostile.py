"""A server on loopback that says byte for byte what a test wants, over http or, with a private CA, https."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Hostile:
    """Every request is answered by `answer(connection, head)`; `asked` has the heads, as text."""

    def __init__(
        self, answer: Callable[[socket.socket, str], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer = answer
        self.tls = tls
        self.asked: list[str] = []
        self.sent = 0
        self.closed = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def header(self, name: str) -> list[str | None]:
        """That header of every request."""
        lines = [
            dict(line.split(": ", 1) for line in head.splitlines() if ": " in line) for head in self.asked
        ]
        return [one.get(name) for one in lines]

    def close(self) -> None:
        self.closed.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # for the thread that waits in accept()
        self.socket.close()

    def _serve(self) -> None:
        while not self.closed.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.settimeout(5)
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                block = connection.recv(4096)
                if not block:
                    return
                head += block
            self.asked.append(head.decode("latin-1"))
            self.answer(connection, self.asked[-1])
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)


def says(status: str, body: bytes = b"", *lines: str) -> Callable[[socket.socket, str], None]:
    """An answer with these header lines and this body, and nothing else."""

    def answer(connection: socket.socket, _: str) -> None:
        head = "".join(
            f"{line}\r\n" for line in (*lines, f"Content-Length: {len(body)}", "Connection: close")
        )
        connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    return answer


def in_turn(*answers: Callable[[socket.socket, str], None]) -> Callable[[socket.socket, str], None]:
    """One answer after the other."""
    left = list(answers)

    def answer(connection: socket.socket, head: str) -> None:
        left.pop(0)(connection, head)

    return answer


def certificates(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A private CA and a server's context with a certificate of 127.0.0.1 by it: (context, the CA's file)."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl on PATH")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256")
    openssl(
        *new,
        "-x509",
        "-days",
        "2",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=A Bank's own CA",
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    openssl(*new, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=127.0.0.1")
    (directory / "names").write_text(
        "subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n", encoding="utf-8"
    )
    openssl(
        *("x509", "-req", "-days", "2", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-extfile", "names", "-out", "cert.pem"),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context, directory / "ca.pem"
