"""Ends what a program leaves behind: language servers detach themselves, and would outlive the proof."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36
_TIMEOUT = 5
_PAUSE = 0.01


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """At the end, every process that was started inside, and whatever those started, is killed.

    For programs about to end: no child of this process survives. Does nothing where the system is not Linux.
    """
    if sys.platform == "linux":
        # Whose parent is gone becomes a child of this process, and not of the system's first one.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        if sys.platform == "linux":
            _kill_all()


def _kill_all() -> None:
    limit = time.monotonic() + _TIMEOUT
    while (left := _children(os.getpid())) and time.monotonic() < limit:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(_PAUSE)


def _children(parent: int) -> list[int]:
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in parentheses, may hold anything.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == parent:
                children.append(int(path.parent.name))
    return children
