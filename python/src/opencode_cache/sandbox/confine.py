"""What a program in the namespace may touch: a HOME and a TMPDIR of its own, and everything else to read.

Plugins run with the rights of whoever proves a cache. In here `/` is read-only, the user's own HOME, the
machine's temporary directories, its devices and the sockets in /run are not there, and root has lost the
powers by which it could take that back.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.sandbox import mounts

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable, Iterator

_REMOUNT_READ_ONLY = mounts.REMOUNT | mounts.BIND | mounts.READ_ONLY | mounts.NOSUID | mounts.NODEV
TEMPORARY = Path("/tmp")  # noqa: S108 - a new one, which nobody else sees
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "fd/0",
    "stdout": "fd/1",
    "stderr": "fd/2",
}
_RUN = ("current-system", "booted-system", "opengl-driver", "wrappers")
"""Of /run: what NixOS has on PATH and in LD_LIBRARY_PATH."""
_PROGRAMS = ("rg", "node", "git")
"""On PATH they may be links to anywhere."""
# linux/prctl.h, linux/capability.h
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITIES = 64
_KEPT_CAPABILITIES = frozenset({0, 1, 3, 5, 6, 7, 10})
"""chown, dac_override, fowner, kill, setgid, setuid, net_bind_service: what root has over files in reach."""


@dataclass
class _Sight:
    """What stays in sight: real path -> a handle on it, and other names -> the real path."""

    handles: dict[Path, int]
    links: dict[Path, Path]

    def close(self) -> None:
        for handle in self.handles.values():
            os.close(handle)


def confine(libc: ctypes.CDLL, visible: Iterable[Path]) -> None:
    """Confine this process, in a mount namespace of its own. Raises mounts.RefusedError.

    `visible` are files and directories that are to be seen wherever they lie; this Python and what PATH
    names are so too. Afterwards the working directory and TMPDIR are an empty directory, writable and gone
    with the namespace.
    """
    hidden = _hidden()
    sight = _sight([*visible, *_own()], hidden)
    try:
        mounts.all_read_only(libc)
        for directory in hidden:
            inside = {path: handle for path, handle in sight.handles.items() if directory in path.parents}
            _hide(libc, directory, inside)
        for link, real in sight.links.items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(real)
    finally:
        sight.close()
    for directory in hidden:
        if directory != TEMPORARY.resolve():
            mounts.mount(libc, None, directory, _REMOUNT_READ_ONLY)
    os.environ["TMPDIR"] = str(TEMPORARY)
    tempfile.tempdir = None
    os.chdir(TEMPORARY)
    _drop_powers(libc)


def _hidden() -> list[Path]:
    """The directories that are not to be seen, outermost only."""
    homes = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):  # a user whom the machine does not know has no other HOME
        homes.append(pwd.getpwuid(os.getuid()).pw_dir)
    other = (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/var/tmp")  # noqa: S108
    named = [*homes, *other, "/run", "/dev", str(TEMPORARY)]
    directories = {Path(name).resolve() for name in named if name.startswith("/")}
    directories = {directory for directory in directories if directory.is_dir() and directory != Path("/")}
    return sorted(directory for directory in directories if not directories & set(directory.parents))


def _own() -> Iterator[Path]:
    """What this process and the programs that it starts are made of."""
    yield from map(Path, (sys.prefix, sys.base_prefix, *sys.path, __file__))
    for name in ("PATH", "LD_LIBRARY_PATH", "LOCALE_ARCHIVE"):
        yield from map(Path, filter(None, os.environ.get(name, "").split(os.pathsep)))
    for program in _PROGRAMS:
        path = shutil.which(program)
        if path:
            yield Path(path)
    yield from (Path("/dev", name) for name in _DEVICES)
    yield from (Path("/run", name) for name in _RUN)


def _sight(paths: Iterable[Path], hidden: list[Path]) -> _Sight:
    """Those of the paths that lie in a hidden directory, opened before it is hidden; outermost only."""
    names = {path: path.resolve() for path in paths if path.is_absolute() and os.access(path, os.F_OK)}
    inside = {real for real in names.values() if set(hidden) & set(real.parents)}
    outermost = {real for real in inside if not inside & set(real.parents)}
    links = {
        path: real
        for path, real in names.items()
        if set(hidden) & set(path.parents) and not outermost & {path, *path.parents}
    }
    return _Sight({real: os.open(real, os.O_PATH | os.O_CLOEXEC) for real in sorted(outermost)}, links)


def _hide(libc: ctypes.CDLL, directory: Path, handles: dict[Path, int]) -> None:
    mounts.mount(libc, None, directory, mounts.NOSUID | mounts.NODEV, b"tmpfs", b"mode=0755")
    for path, handle in handles.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            path.mkdir()
        else:
            path.touch()
        mounts.mount(libc, Path(f"/proc/self/fd/{handle}"), path, mounts.BIND | mounts.RECURSIVE)
    if directory == Path("/dev"):
        _terminals_and_memory(libc)


def _terminals_and_memory(libc: ctypes.CDLL) -> None:
    own = (("shm", b"tmpfs", b"mode=1777"), ("pts", b"devpts", b"newinstance,ptmxmode=0666"))
    for name, kind, options in own:
        directory = Path("/dev", name)
        directory.mkdir()
        mounts.mount(libc, None, directory, mounts.NOSUID, kind, options)
    for name, target in _DEVICE_LINKS.items():
        Path("/dev", name).symlink_to(target)


def _drop_powers(libc: ctypes.CDLL) -> None:
    """Whatever is started from here on cannot undo a mount, not even as root."""
    for capability in range(_CAPABILITIES):
        if capability not in _KEPT_CAPABILITIES:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # what this kernel does not have, it refuses
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
