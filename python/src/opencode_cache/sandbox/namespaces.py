"""Namespaces, and the user namespace that whoever is not root needs for them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from opencode_cache.sandbox import mounts

# linux/sched.h
NEWNS, NEWUSER, NEWNET = 0x00020000, 0x10000000, 0x40000000


def unshare(libc: ctypes.CDLL, kinds: int) -> None:
    """Put this process into namespaces, as root directly, else in a user namespace too. RefusedError."""
    if os.geteuid() == 0 and libc.unshare(kinds) == 0:
        return
    # Also for a root without CAP_SYS_ADMIN, as in a container.
    unshare_user(libc, kinds)


def unshare_user(libc: ctypes.CDLL, kinds: int, inside: tuple[int, int] | None = None) -> None:
    """The same in a user namespace, in which the user has the own uid and gid, or others. RefusedError."""
    uid, gid = os.geteuid(), os.getegid()
    inner_uid, inner_gid = inside or (uid, gid)
    if libc.unshare(NEWUSER | kinds) != 0:
        raise mounts.refused("unprivileged user and other namespaces", ctypes.get_errno())
    try:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{inner_uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{inner_gid} {gid} 1", encoding="ascii")
    except OSError as error:
        raise mounts.refused("a uid map in a user namespace", error.errno or 0) from error
