"""A network namespace of one's own: nothing but loopback, the own DNS server, read-only directories.

`python -m opencode_cache.sandbox.netns --read-only DIR -- COMMAND ARGS` enters it and becomes COMMAND;
`enter()` does the same for the calling process. No program is needed: the kernel is called through libc.
`--confined` takes the rest of the machine away too (`confine.py`); DIR then is what stays in sight.
As root the namespaces are made directly, else in a user namespace in which the user keeps the own uid.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache.base import files, python
from opencode_cache.base.errors import BadInputError, CheckFailedError
from opencode_cache.sandbox import bare as bare_root
from opencode_cache.sandbox import mounts, namespaces
from opencode_cache.sandbox.confine import confine

if TYPE_CHECKING:
    from collections.abc import Sequence

# linux/sockios.h, linux/if.h, linux/prctl.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_PR_SET_PDEATHSIG = 1

_RESOLVERS = {
    "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n",
    # Without these two a resolver daemon of the machine, or a line in hosts, could answer in DNS's stead.
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
_RESOLVER_SOCKETS = ("/run/nscd", "/run/systemd/resolve")
_PROBE_TIMEOUT = 30


@dataclass(frozen=True)
class Capability:
    """Whether this machine can do it; `why` is a sentence where it cannot, else empty."""

    ok: bool
    why: str = ""


@cache
def available() -> Capability:
    """Whether `enter` works here, confined too, found by doing it in a child."""
    if sys.platform != "linux":
        return Capability(
            ok=False, why=f"network namespaces are a thing of Linux, and this is {sys.platform}"
        )
    try:
        with python.empty() as empty:
            done = subprocess.run(
                command([], python.command("-c", ""), confined=True),
                cwd=empty,
                env=os.environ | python.path(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PROBE_TIMEOUT,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Capability(ok=False, why=f"a network namespace could not be tried ({error})")
    if done.returncode == 0:
        return Capability(ok=True)
    return Capability(ok=False, why=done.stderr.strip() or f"the trial ended with {done.returncode}")


def command(
    read_only: Sequence[Path], arguments: Sequence[str | Path], *, confined: bool = False
) -> list[str]:
    """The command line that runs `arguments` isolated: a Python of ours, and to be started as such."""
    options = ["--confined"] if confined else []
    options += [word for path in read_only for word in ("--read-only", str(path.absolute()))]
    return python.command("-m", __name__, *options, "--", *arguments)


def enter(read_only: Sequence[Path] = (), *, confined: bool = False, bare: Path | None = None) -> None:
    """Put this process, and all its children, into new user (unless root), network and mount namespaces.

    `confined`: everything is read-only and the user's HOME is not there, but for `read_only` (`confine.py`).
    `bare`: an installation, and next to nothing of this machine is in sight but that (`bare.py`).
    To be called before any thread is started. The process gets SIGTERM when its parent ends. Raises
    CheckFailedError with a sentence where the kernel does not allow it, BadInputError where a directory is
    not there.
    """
    if sys.platform != "linux":
        raise mounts.RefusedError(available().why)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise mounts.refused("prctl(PR_SET_PDEATHSIG)", ctypes.get_errno())
    namespaces.unshare(libc, namespaces.NEWNS | namespaces.NEWNET)
    mounts.mount(libc, None, Path("/"), mounts.RECURSIVE | mounts.PRIVATE)
    for path in read_only:
        try:
            mounts.bind_read_only(libc, path, path)
        except OSError as error:
            raise BadInputError(
                f"{path}: cannot be mounted read-only ({error.strerror}); name a directory"
            ) from error
    _loopback_up()
    # So that a program started in here may serve DNS though it is not root. Where /proc/sys is read-only
    # (some containers) only the process that entered may: it holds the capability until it becomes another.
    with contextlib.suppress(OSError):
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("53", encoding="ascii")
    if bare:
        bare_root.enter(libc, bare, _RESOLVERS)
    if confined or bare:
        try:
            confine(libc, [bare_root.PLACE] if bare else read_only)
        except OSError as error:
            raise mounts.refused(f"a directory of one's own ({error.filename})", error.errno or 0) from error
    _own_resolver(libc)


def _own_resolver(libc: ctypes.CDLL) -> None:
    for name, text in _RESOLVERS.items():
        # A file that is missing, or a link to nowhere, means the C library's default: DNS at 127.0.0.1.
        if not Path(name).exists():
            continue
        with files.scratch() as directory:
            file = directory / "text"
            file.write_text(text, encoding="ascii")
            file.chmod(0o644)
            mounts.bind_read_only(libc, file, Path(name))
    for name in _RESOLVER_SOCKETS:
        if Path(name).is_dir() and not Path("/etc/resolv.conf").resolve().is_relative_to(name):
            mounts.mount(libc, None, Path(name), 0, b"tmpfs")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        try:
            flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
        except OSError as error:
            raise mounts.refused("to bring up the loopback interface", error.errno or 0) from error


def main(arguments: Sequence[str]) -> int:
    """Enter the namespaces and become the command. Returns only where that fails, with the exit status."""
    parser = argparse.ArgumentParser(prog="python -m opencode_cache.sandbox.netns", description=__doc__)
    parser.add_argument("--read-only", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--confined", action="store_true")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args(arguments)
    try:
        enter([path.absolute() for path in options.read_only], confined=options.confined)
        os.execvp(options.command[0], options.command)  # noqa: S606 - becoming the command is the point
    except (CheckFailedError, BadInputError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    except OSError as error:
        sys.stderr.write(f"{options.command[0]}: cannot be run ({error.strerror}); name a program\n")
        return BadInputError.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
