"""A DNS server on 127.0.0.1 that stands in for the world's: it knows no name, and records each question."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_LARGEST_PACKET = 4096
_LAST_WAIT = 30
_NXDOMAIN = 3
_REFUSED = 5
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV"}
_TYPES |= {64: "SVCB", 65: "HTTPS", 255: "ANY"}


class DnsLogger:
    """A DNS server on 127.0.0.1 that knows no name (NXDOMAIN) and records each question; TCP is refused.

    `port` 0 takes a free one. Raises OSError on entry where the port cannot be had.
    """

    def __init__(self, port: int = 53) -> None:
        self.port = port
        self._lock = threading.Lock()
        self._names: list[tuple[str, str]] = []
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """(name in lower case without the last dot, type as `A` or `AAAA`), in the order of arrival."""
        with self._lock:
            return tuple(self._names)

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(("127.0.0.1", self.port))
        except OSError:
            self._socket.close()
            raise
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(self._socket,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket and self._thread:
            self._stopping = True
            # Any packet wakes the thread, which then sees that it is to stop.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", ("127.0.0.1", self.port))
            self._thread.join(_LAST_WAIT)
            self._socket.close()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            packet, client = listening.recvfrom(_LARGEST_PACKET)
            if self._stopping:
                return
            answer = self._answer(packet)
            if answer:
                # A client that is gone, or a source port of 0, gets no answer and does no harm.
                with contextlib.suppress(OSError):
                    listening.sendto(answer, client)

    def _answer(self, packet: bytes) -> bytes | None:
        """The answer to a query, or None where the packet is none (RFC 1035, section 4.1)."""
        question = _question(packet)
        if question is None:
            return None
        name, kind, end = question
        with self._lock:
            self._names.append((name, _TYPES.get(kind, str(kind))))
        opcode_and_recursion = packet[2] & 0x79
        flags = bytes([0x80 | opcode_and_recursion, 0x80 | (_REFUSED if packet[2] & 0x78 else _NXDOMAIN)])
        return packet[:2] + flags + b"\0\1\0\0\0\0\0\0" + packet[12:end]


def _question(packet: bytes) -> tuple[str, int, int] | None:
    """Name, type and end of the only question of a query; None for anything else."""
    header, largest_label, longest_name = 12, 63, 255
    if len(packet) < header or packet[2] & 0x80 or packet[4:6] != b"\0\1":
        return None
    labels: list[str] = []
    at = header
    while at < len(packet) and packet[at]:
        size = packet[at]
        if size > largest_label or at + 1 + size >= len(packet) or at - header > longest_name:
            return None
        labels.append(packet[at + 1 : at + 1 + size].decode("ascii", "backslashreplace").lower())
        at += 1 + size
    if at + 5 > len(packet):
        return None
    return ".".join(labels), int.from_bytes(packet[at + 1 : at + 3], "big"), at + 5
