"""mount(2) and mount_setattr(2), called through libc."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import CheckFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/mount.h
READ_ONLY, NOSUID, NODEV, REMOUNT, BIND, RECURSIVE, PRIVATE = 0x1, 0x2, 0x4, 0x20, 0x1000, 0x4000, 0x40000
# Flags of a mount that a user namespace may not take away; statvfs and mount(2) number one of them apart.
_LOCKED_FLAGS = os.ST_NOSUID | 0x4 | 0x8 | 0x400 | 0x800 if sys.platform == "linux" else 0
_ST_RELATIME, _MS_RELATIME = 0x1000, 0x200000
# asm/unistd.h (one number on all architectures), linux/fcntl.h, linux/mount.h
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = 442, -100, 0x8000, 0x1
_PIVOT_ROOT, _MNT_DETACH = {"x86_64": 155, "aarch64": 41}, 2  # its number is not
_OVER = Path("/proc")
"""Every machine has it, and what is below is not needed while the new root is filled."""


class RefusedError(CheckFailedError):
    """A namespace, mount or interface could not be had."""


def refused(what: str, number: int) -> RefusedError:
    """The error for something that the kernel does not do for this user."""
    return RefusedError(f"the kernel refuses {what} to uid {os.getuid()} ({os.strerror(number)})")


def mount(
    libc: ctypes.CDLL,
    source: Path | None,
    target: Path,
    flags: int,
    kind: bytes | None = None,
    data: bytes | None = None,
) -> None:
    """What libc calls mount. Raises RefusedError."""
    source_bytes = os.fsencode(source) if source else kind
    if libc.mount(source_bytes, os.fsencode(target), kind, ctypes.c_ulong(flags), data) != 0:
        raise refused(f"a mount on {target}", ctypes.get_errno())


def show(libc: ctypes.CDLL, source: Path, target: Path) -> None:
    """A file or directory at another place too, with all that is below; a link as it is. RefusedError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))  # noqa: PTH115 - its text as it is
        return
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    mount(libc, source, target, BIND | RECURSIVE)


@contextlib.contextmanager
def new_root(libc: ctypes.CDLL) -> Iterator[Path]:
    """Give this mount namespace an empty root, to be filled from what is in sight at the path yielded.

    Afterwards that is gone. Raises RefusedError.
    """
    # No directory is made for it, which would have to be removed with mounts in it: it lies over one.
    mount(libc, None, _OVER, NOSUID, b"tmpfs", b"mode=0755")
    os.chdir(_OVER)
    Path("old").mkdir()
    if libc.syscall(_PIVOT_ROOT.get(platform.machine(), -1), b".", b"old") != 0:
        raise refused("another root", ctypes.get_errno())
    os.chdir("/")
    old = Path("/old")
    yield old
    if libc.umount2(os.fsencode(old), _MNT_DETACH) != 0:
        raise refused("to leave the old root", ctypes.get_errno())
    old.rmdir()


def bind_read_only(libc: ctypes.CDLL, source: Path, target: Path) -> None:
    """Show `source` at `target`, read-only. Raises OSError where it is not there, RefusedError."""
    held = os.statvfs(source).f_flag
    mount(libc, source, target, BIND | RECURSIVE)
    _remount_read_only(libc, target, held)


def _remount_read_only(libc: ctypes.CDLL, target: Path, held: int) -> None:
    flags = held & _LOCKED_FLAGS | (_MS_RELATIME if held & _ST_RELATIME else 0)
    mount(libc, None, target, REMOUNT | BIND | READ_ONLY | flags)


def all_read_only(libc: ctypes.CDLL) -> None:
    """Make every mount that there is read-only. Raises RefusedError."""
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY, 0, 0, 0)
    where = (_AT_FDCWD, b"/", _AT_RECURSIVE)
    if libc.syscall(_MOUNT_SETATTR, *where, ctypes.byref(attributes), ctypes.sizeof(attributes)) != 0:
        one_by_one(libc)  # before Linux 5.12


def one_by_one(libc: ctypes.CDLL) -> None:
    """The same for kernels without mount_setattr. Raises RefusedError."""
    for target in _mounted():
        try:
            _remount_read_only(libc, target, os.statvfs(target).f_flag)
        except (OSError, RefusedError):
            # Out of this user's reach, or hidden under another one: then nothing can be written there either.
            with contextlib.suppress(OSError):
                if os.access(target, os.W_OK) and not os.statvfs(target).f_flag & os.ST_RDONLY:
                    raise refused(f"to make {target} read-only", errno.EPERM) from None


def _mounted() -> Iterator[Path]:
    """Every mount point of this namespace (proc_pid_mountinfo(5): the fifth field, octal escapes)."""
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        escaped = line.split(b" ")[4]
        yield Path(os.fsdecode(escaped.decode("latin-1").encode().decode("unicode_escape").encode("latin-1")))
