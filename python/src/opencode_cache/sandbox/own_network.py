"""A network of a thread's own, in which every address of the world leads back to the thread itself.

A network namespace belongs to a thread and to what it starts, so several steps run side by side and what each
asked for can be told apart. All of IPv4 and IPv6 is made local (the kernel's AnyIP: a route of type `local`
for every address): whoever connects is refused at once, as nobody listens, and the packet can be seen.

Messages are those of rtnetlink(7): linux/rtnetlink.h, linux/if_link.h. Tried on Linux 6.1 and 6.18, as root
and in a user namespace.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.sandbox import namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

_RTM_NEWLINK, _RTM_NEWROUTE = 16, 24
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_IFF_UP = 1
_LOCAL_TABLE, _STATIC, _SCOPE_HOST, _SCOPE_LINK = 255, 4, 254, 253
_UNICAST, _LOCAL = 1, 2
_RTA_DST, _RTA_OIF = 1, 4
_LOOPBACK = 1
"""The index of `lo` in every network namespace."""


class RefusedError(CheckFailedError):
    """The kernel does not let this thread have a network of its own."""


@dataclass(frozen=True)
class _Route:
    family: int
    prefix: str
    bits: int
    kind: int
    scope: int


_EVERYWHERE = (
    _Route(socket.AF_INET, "0.0.0.0", 0, _LOCAL, _SCOPE_HOST),  # noqa: S104 - all addresses is what is meant
    # Nothing that is asked of a group can be local; this way the packet is sent, and seen.
    _Route(socket.AF_INET, "224.0.0.0", 4, _UNICAST, _SCOPE_LINK),
    _Route(socket.AF_INET6, "::", 0, _LOCAL, _SCOPE_HOST),
)


def enter() -> None:
    """Give the calling thread, and what it starts from now on, a network with nothing but loopback.

    Raises RefusedError where the kernel does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(namespaces.NEWNET) != 0:
        raise RefusedError(f"the kernel refuses a network namespace ({os.strerror(ctypes.get_errno())})")
    # struct ifinfomsg: family, type, index, flags, which of the flags change
    _ask("to bring up loopback", _RTM_NEWLINK, struct.pack("=BxHiII", 0, 0, _LOOPBACK, _IFF_UP, _IFF_UP))


def lead_everything_back() -> Iterator[str]:
    """Make every address local to the calling thread's network; a sentence for each kind that cannot be."""
    for route in _EVERYWHERE:
        try:
            _add(route)
        except RefusedError as error:
            if route.family == socket.AF_INET6 and not _speaks_ipv6():
                continue  # then nobody can ask through it either
            what = "IPv6 addresses" if route.family == socket.AF_INET6 else "addresses"
            yield f"{what} that were asked for without a name are not seen: {error}"


def _speaks_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


def _add(route: _Route) -> None:
    # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
    message = struct.pack(
        "=BBBBBBBBI", route.family, route.bits, 0, 0, _LOCAL_TABLE, _STATIC, route.scope, route.kind, 0
    )
    address = socket.inet_pton(route.family, route.prefix)
    message += struct.pack("=HH", 4 + len(address), _RTA_DST) + address
    message += struct.pack("=HHi", 8, _RTA_OIF, _LOOPBACK)
    _ask(f"a route for {route.prefix}/{route.bits}", _RTM_NEWROUTE, message)


def _ask(what: str, kind: int, message: bytes) -> None:
    """One request to the kernel, and its answer. Raises RefusedError."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
            flags = _REQUEST | _ACK | (_CREATE | _REPLACE if kind == _RTM_NEWROUTE else 0)
            # struct nlmsghdr: length, type, flags, sequence, port
            link.send(struct.pack("=IHHII", 16 + len(message), kind, flags, 1, 0) + message)
            answer = link.recv(4096)
            number = -struct.unpack_from("=i", answer, 16)[0]
    except OSError as error:
        raise RefusedError(f"the kernel refuses {what} ({error.strerror})") from error
    if number:
        raise RefusedError(f"the kernel refuses {what} ({os.strerror(number)})")
