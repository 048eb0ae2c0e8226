"""Programs of another system on this machine: by an emulator, or with the C library that they ask for.

Both hold for this process and what it starts, and for nobody else: in a user namespace of its own an emulator
is registered with the kernel (binfmt_misc, which knows of namespaces since Linux 6.7), so that a program of
the other system is started like any other, whoever starts it; and libraries stand where its loader looks.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.sandbox import mounts, namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSROOT = "QEMU_LD_PREFIX"
"""Environment: where qemu looks for the other system's files first."""

_AT = Path("/.sysroot")
_OWN = Path("/.own")
"""Where the machine's own /lib is to be found, if another one stands in its place."""
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_LIBRARIES = {"lib": ("lib", "usr/lib"), "lib64": ("lib64", "usr/lib64")}
"""Directory of the machine -> those of the sysroot whose entries it gets where it has none of that name."""
# elf(5), linux/elf-em.h: 64 bits, little-endian; an executable file, or a shared object, for a machine.
_ELF64 = struct.Struct("<7s9xHH")
_MAGIC = b"\x7fELF\x02\x01\x01"
_EXECUTABLE = 2
_MACHINES = {"x86_64": 62, "aarch64": 183}


def enter(system: str, emulator: Path | None, sysroot: Path | None) -> None:
    """Have programs of that system run, in this process and in what it starts from now on.

    `emulator` is a program of qemu-user's kind, static; `sysroot` has the libraries of that system. To be
    called before any thread is started. Raises BadInputError for what is none, CheckFailedError where the
    kernel does not allow it.
    """
    if sys.platform != "linux":
        raise BadInputError(
            f"--emulator and --sysroot are for Linux, and this is {sys.platform}; leave them out"
        )
    if emulator and not (emulator.is_file() and os.access(emulator, os.X_OK)):
        raise BadInputError(f"--emulator {emulator}: not a program; give one such as qemu-aarch64-static")
    if sysroot and not (sysroot / "lib").is_dir():
        raise BadInputError(f"--sysroot {sysroot}: has no lib in it; give a root directory of {system}")
    emulator, sysroot = emulator and emulator.resolve(), sysroot and sysroot.resolve()
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.geteuid(), os.getegid()
    # Only who is root there may register anything.
    namespaces.unshare_user(libc, namespaces.NEWNS, (0, 0))
    mounts.mount(libc, None, Path("/"), mounts.RECURSIVE | mounts.PRIVATE)
    if sysroot:
        _root(libc, sysroot, merged=emulator is None)
    if emulator:
        _register(libc, system, emulator)
        if sysroot:
            os.environ[SYSROOT] = str(_AT)
    if own != (0, 0):
        namespaces.unshare_user(libc, 0, own)


def _root(libc: ctypes.CDLL, sysroot: Path, *, merged: bool) -> None:
    """A root with all that there was, the sysroot beside, its libraries among the others if `merged`."""
    cwd = Path.cwd()
    own = {name: Path("/", name).resolve() for name in _LIBRARIES if Path("/", name).is_dir()}
    with mounts.new_root(libc) as old:
        for path in old.iterdir():
            if not (merged and path.name in _LIBRARIES):
                mounts.show(libc, path, Path("/", path.name))
        mounts.show(libc, old / sysroot.relative_to("/"), _AT)
        for name, others in _LIBRARIES.items() if merged else ():
            if name in own:
                mounts.show(libc, old / own[name].relative_to("/"), _OWN / name)
            Path("/", name).mkdir()
            for path in _merged([_OWN / name, *(_AT / other for other in others)]):
                Path("/", name, path.name).symlink_to(path)
    os.chdir(cwd)


def _merged(directories: list[Path]) -> Iterator[Path]:
    """What is in a directory that has all entries of several, of one name the first one."""
    seen: set[str] = set()
    for directory in directories:
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if path.name not in seen:
                seen.add(path.name)
                yield path


def _register(libc: ctypes.CDLL, system: str, emulator: Path) -> None:
    """`:name:M:offset:magic:mask:interpreter:flags` (Documentation/admin-guide/binfmt-misc.rst).

    Flag F: the program is opened now, so that it need not be in sight where it is used.
    """
    machine = _MACHINES[system.partition("-")[0]]
    magic = _ELF64.pack(_MAGIC, _EXECUTABLE, machine)
    # The byte of the operating system's ABI and the padding may be anything; 2 and 3 are executable.
    mask = _ELF64.pack(b"\xff" * len(_MAGIC), 0xFFFE, 0xFFFF)
    fields = [b"", b"opencode-cache", b"M", b"", _escaped(magic), _escaped(mask), os.fsencode(emulator), b"F"]
    try:
        mounts.mount(libc, None, _BINFMT, 0, b"binfmt_misc")
        with (_BINFMT / "register").open("wb", buffering=0) as file:
            file.write(b":".join(fields))
    except (OSError, CheckFailedError) as error:
        raise CheckFailedError(
            f"--emulator {emulator}: the kernel takes none from this user (Linux 6.7 and newer do: {error}); "
            "have root register it with binfmt_misc, and leave --emulator out"
        ) from error


def _escaped(data: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in data)
