"""Every address outside that is asked for in a network of one's own: a packet socket on loopback.

DNS tells only names. A cloud's metadata service is asked by its address, and so is whoever an address was
compiled into a program for. Where all addresses lead back (`own_network.py`) each first packet of a
connection, each datagram and each ping passes loopback, over IPv4 and IPv6 alike, and is noted here.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.sandbox import own_network

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_ALL_PROTOCOLS = 0x0003
_SO_ATTACH_FILTER = 26
_ENOUGH = 128
"""Bytes of a packet that are looked at: more than the headers of IPv6 and TCP."""
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_SYN, _ACK = 0x02, 0x10
_PINGS = {_ICMP: 8, _ICMPV6: 128}
_LAST_WAIT = 30
_POLL = 0.1

# linux/bpf_common.h: load word or byte at a fixed place, mask it, compare it, give an answer.
_LD_W, _LD_B, _AND, _JEQ, _RET = 0x20, 0x30, 0x54, 0x15, 0x06
_PACKET_TYPE, _OUTGOING = 0xFFFFF004, 4
_TAKE, _LEAVE = (_RET, 0, 0, _ENOUGH), (_RET, 0, 0, 0)
_FILTER = (
    (_LD_W, 0, 0, _PACKET_TYPE),  # each packet passes loopback twice, out and in
    (_JEQ, 0, 13, _OUTGOING),
    (_LD_B, 0, 0, 0),
    (_AND, 0, 0, 0xF0),
    (_JEQ, 0, 2, 0x40),
    (_LD_B, 0, 0, 16),  # IPv4: 127.0.0.0/8 is this machine
    (_JEQ, 8, 9, 127),
    (_LD_W, 0, 0, 24),  # IPv6: ::1 is
    (_JEQ, 0, 7, 0),
    (_LD_W, 0, 0, 28),
    (_JEQ, 0, 5, 0),
    (_LD_W, 0, 0, 32),
    (_JEQ, 0, 3, 0),
    (_LD_W, 0, 0, 36),
    (_JEQ, 0, 1, 1),
    _LEAVE,
    _TAKE,
)


@dataclass(frozen=True)
class Asked:
    """One connection, datagram or ping."""

    address: str
    port: str
    """`tcp/80`, `udp/53` or `icmp`."""


class AddressLogger:
    """Notes what is sent to addresses outside this machine, in the calling thread's own network.

    To be entered by the thread whose network it is, before anything is started there.
    """

    def __init__(self) -> None:
        self.unseen: tuple[str, ...] = ()
        """What this kernel does not let it see, each a sentence."""
        self._lock = threading.Lock()
        self._asked: list[Asked] = []
        self._stop = threading.Event()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def asked(self) -> tuple[Asked, ...]:
        """In the order of sending."""
        with self._lock:
            return tuple(self._asked)

    def __enter__(self) -> Self:
        unseen = list(own_network.lead_everything_back())
        try:
            self._socket = _open()
        except OSError as error:
            why = f"the kernel refuses a packet socket ({error.strerror})"
            unseen = [f"addresses that were asked for without a name are not seen: {why}"]
        else:
            self._thread = threading.Thread(target=self._listen, args=(self._socket,), daemon=True)
            self._thread.start()
        self.unseen = tuple(unseen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._socket and self._thread:
            self._thread.join(_LAST_WAIT)
            self._socket.close()

    def _listen(self, packets: socket.socket) -> None:
        while True:
            try:
                packet = packets.recv(_ENOUGH)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            asked = _read(packet)
            if asked:
                with self._lock:
                    self._asked.append(asked)


def _open() -> socket.socket:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    try:
        code = b"".join(struct.pack("=HBBI", *line) for line in _FILTER)
        held = ctypes.create_string_buffer(code, len(code))
        packets.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("@HP", len(_FILTER), ctypes.addressof(held)),
        )
        packets.bind(("lo", _ALL_PROTOCOLS))
        packets.settimeout(_POLL)
    except BaseException:
        packets.close()
        raise
    return packets


def _read(packet: bytes) -> Asked | None:
    """Who is asked by a packet (RFC 791, 8200, 9293, 768); None for answers, and for what is cut off."""
    try:
        if packet[0] >> 4 == 4:  # noqa: PLR2004 - the version
            address = socket.inet_ntop(socket.AF_INET, packet[16:20])
            protocol, rest = packet[9], packet[(packet[0] & 0x0F) * 4 :]
        else:
            address = socket.inet_ntop(socket.AF_INET6, packet[24:40])
            protocol, rest = packet[6], packet[40:]
        if protocol == _TCP and rest[13] & (_SYN | _ACK) == _SYN:
            return Asked(address, f"tcp/{int.from_bytes(rest[2:4], 'big')}")
        if protocol == _UDP:
            return Asked(address, f"udp/{int.from_bytes(rest[2:4], 'big')}")
        if _PINGS.get(protocol) == rest[0]:
            return Asked(address, "icmp")
    except (IndexError, ValueError, OSError):
        pass
    return None
