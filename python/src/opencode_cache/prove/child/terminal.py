"""OpenCode's full-screen interface in a pseudo-terminal: whether it comes up, and stays up."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

from opencode_cache.base.errors import CheckFailedError, TooSlowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FIRST_SCREEN = 30.0
_WATCHED = 4.0
_STOP_TIMEOUT = 5
_ROWS, _COLUMNS = 40, 120
_SCREENFUL = 50
# CSI, OSC and the two-character escapes of ECMA-48, and DCS/APC strings.
_ESCAPES = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[P_^X][^\x1b]*\x1b\\|[ -/]*[0-~])"
)


def watch(
    program: Path,
    home: Path,
    environment: Mapping[str, str],
    first_screen: float = FIRST_SCREEN,
    arguments: Sequence[str] = (),
) -> str:
    """Run the interface in `home`/work until it has drawn itself, and some seconds more; what was seen.

    Raises CheckFailedError where it ends early, TooSlowError where it draws nothing within `first_screen`
    seconds.
    """
    outside, inside = pty.openpty()
    try:
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        with subprocess.Popen(
            [program, *arguments],
            cwd=home / "work",
            env=dict(environment) | {"TERM": "xterm-256color"},
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        ) as process:
            try:
                drawn = _read(outside, process, first_screen)
                ended = process.poll()
            finally:
                _stop(process)
    finally:
        os.close(inside)
        os.close(outside)
    text = _visible(drawn)
    if ended is not None:
        raise CheckFailedError(f"it ended with {ended} at once: {text[-300:] or 'it said nothing'}")
    if len(text) < _SCREENFUL:
        raise TooSlowError(f"it drew nothing within {first_screen:.0f} s")
    return f"draws its screen and stays up ({_WATCHED:.0f} s watched)"


def _visible(drawn: bytes) -> str:
    return " ".join(_ESCAPES.sub(b" ", drawn).decode("utf-8", "replace").split())


def _read(terminal: int, process: subprocess.Popen[bytes], first_screen: float) -> bytes:
    """What it draws up to some seconds after the first screenful: update checks come a little later."""
    drawn = b""
    limit = time.monotonic() + first_screen
    is_up = False
    while (left := limit - time.monotonic()) > 0:
        ended = process.poll() is not None
        if not is_up and len(_visible(drawn)) >= _SCREENFUL:
            is_up, limit = True, time.monotonic() + _WATCHED
        # What it said last may still be in the terminal when it has ended.
        if select.select([terminal], [], [], 0 if ended else min(left, 0.2))[0]:
            try:
                drawn += os.read(terminal, 65536)
            except OSError as error:
                # Linux reports the end of a terminal so.
                if error.errno != errno.EIO:
                    raise
                break
        elif ended:
            break
    return drawn


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
