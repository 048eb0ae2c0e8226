"""No bars on a terminal that cannot move its cursor, as the one that is a build log."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

SHOW = "from opencode_cache.base import console\nwith console.counting('unpacking', 3) as done: done(None)"


@pytest.mark.parametrize(("term", "drawn"), [("dumb", False), ("xterm-256color", True)])
def test_a_dumb_terminal_gets_no_bar(term, drawn):
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": term}
    for name in ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR", "NO_COLOR"):
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", SHOW], stderr=theirs, env=environment, check=True)
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:
        pass  # the end, as Linux says it
    os.close(ours)
    assert (b"unpacking" in said) is drawn
